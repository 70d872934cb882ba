#!/usr/bin/env bash
# run.sh TEST [ARGUMENT ...]: runs build/arm64/TEST, a program for arm64, under qemu.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
test=$1
shift
exec qemu-aarch64 -L /usr/aarch64-linux-gnu \
  -E LD_LIBRARY_PATH="$root/build/arm64-sysroot/usr/lib/aarch64-linux-gnu:$root/build/arm64-sysroot/lib/aarch64-linux-gnu" \
  "$root/build/arm64/$test" "$@"
