#!/usr/bin/env bash
# The release archive twice, in folders of different names: the same bytes. Then it configures without
# the compiler of the card's kernels.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/a" "$work/b/further"
TMPDIR=$work/a "$root/packaging/release.sh" HEAD "$work/a"
TMPDIR=$work/b/further "$root/packaging/release.sh" HEAD "$work/b"
archive=$(ls "$work"/a/outboard-*.tar.gz)
cmp "$archive" "$work/b/$(basename "$archive")"
tar -xzf "$archive" -C "$work/b"
source=$work/b/$(basename "$archive" .tar.gz)
cmake -S "$source" -B "$work/build" -G Ninja -DOUTBOARD_TESTS=OFF -DCMAKE_PROGRAM_PATH=/nowhere \
  -DOUTBOARD_LLVM_BIN=/nowhere >"$work/log" || { cat "$work/log" >&2; exit 1; }
ninja -C "$work/build" -t commands outboard >"$work/commands"
! grep -q -- --offload-arch "$work/commands"
grep -q "$source/device_code/matvec.hip.co" "$work/commands"
