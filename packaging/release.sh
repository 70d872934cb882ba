#!/usr/bin/env bash
# The release archive: all sources of a commit, and the card's kernels compiled, so that a machine
# without that compiler builds Outboard. The same commit gives the same bytes.
#   packaging/release.sh [COMMIT] [FOLDER]     FOLDER: where it goes (build)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
commit=$(git -C "$root" rev-parse --verify "${1:-HEAD}^{commit}")
out=${2:-$root/build}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(git -C "$root" show "$commit:CMakeLists.txt" | sed -n 's/^project(outboard VERSION \([0-9.]*\).*/\1/p')
name=outboard-$version
git -C "$root" archive --prefix="$name/" "$commit" | tar -x -C "$work"
# Kernels of that commit, whatever lies in the checkout.
cmake -S "$work/$name" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DOUTBOARD_TESTS=OFF -DOUTBOARD_CLI=OFF \
  -DOUTBOARD_HUB=OFF -DOUTBOARD_SAME_EVERYWHERE=ON >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
ninja -C "$work/build" device_code >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mkdir "$work/$name/device_code"
cp "$work"/build/src/devices/gpu/kernels/*.hip.co "$work/$name/device_code"
# Every file of the time of the commit, of nobody, in one order.
tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w,a+X \
  --mtime="@$(git -C "$root" log -1 --format=%ct "$commit")" -C "$work" -cf - "$name" | gzip -9 -n >"$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$out/"
sha256sum "$out/$name.tar.gz"
