#!/usr/bin/env bash
# Every source file is as clang-format leaves it.
cd "$(dirname "$0")/../.." && git ls-files '*.cpp' '*.h' | grep -v -E '_tables\.|src/devices/amd/hw/' | xargs clang-format-19 --dry-run --Werror
