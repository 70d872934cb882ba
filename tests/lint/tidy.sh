#!/usr/bin/env bash
# tidy.sh [FILE ...]: clang-tidy over the library and program sources, or over these files.
# build/release says how each is compiled; it holds g++'s flags, some of which clang does not know.
cd "$(dirname "$0")/../.." || exit 1
{
  if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else git ls-files 'src/*.cpp'; fi
} | grep -v -E '_test\.cpp|_fuzz\.cpp|_tables|neon' |
  xargs -P "$(nproc)" -n 4 clang-tidy-19 --quiet -p build/release \
    --extra-arg=-Wno-unknown-warning-option 2> >(grep -v -E '^[0-9]+ warnings?( and [0-9]+ errors?)? generated' >&2)
