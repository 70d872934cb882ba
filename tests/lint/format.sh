#!/usr/bin/env bash
# Every source file is as clang-format leaves it.
cd "$(dirname "$0")/../.." && git ls-files '*.cpp' '*.h' | grep -v -P '_tables\.|src/hardware/amd/navi31/(?!pm4_writer|sdma_writer)' | xargs clang-format-19 --dry-run --Werror
