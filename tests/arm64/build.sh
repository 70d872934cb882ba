#!/usr/bin/env bash
# build.sh [TARGET ...]: builds for arm64 Linux in build/arm64; without targets every room's unit
# tests, NEON kernels included.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
"$here/sysroot.sh"

log=$root/build/arm64.log
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "arm64: failed: $*" >&2; exit 1; }; }
if [[ ! -f $root/build/arm64/build.ninja ]]; then
  echo "Configuring (arm64) ..." >&2
  quietly cmake -S "$root" -B "$root/build/arm64" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DOUTBOARD_CLI=OFF -DOUTBOARD_HUB=OFF --toolchain "$here/toolchain.cmake"
fi
echo "Building (arm64) ..." >&2
targets=("$@")
if [[ $# == 0 ]]; then
  for room in support formats text grammar program models hardware devices engine cpu_kernels simulator_compute every_device; do targets+=("${room}_test"); done
fi
quietly ninja -C "$root/build/arm64" "${targets[@]}"
