#!/usr/bin/env bash
# clang-tidy over the library and program sources.
cd "$(dirname "$0")/../.." || exit 1
git ls-files 'src/*.cpp' | grep -v -E '_test\.cpp|_fuzz\.cpp|block_tables|neon' |
  xargs -P "$(nproc)" -n 4 clang-tidy-19 --quiet -p build/release
