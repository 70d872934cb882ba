#!/usr/bin/env bash
# Every source file is as clang-format leaves it.
cd "$(dirname "$0")/../.." && git ls-files '*.cpp' '*.h' | grep -v '_tables\.' | xargs clang-format-19 --dry-run --Werror
