#!/usr/bin/env bash
# compile.sh PYTHON: compiles every source file that a Mac builds for arm64 macOS, with the compiler,
# the C++ library and the system headers of the Python package ziglang. Nothing is linked or run.
# The other libraries' headers are this machine's; fmt is compiled as headers alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${1:?usage: compile.sh PYTHON}
out=$root/build/macos
include=$out/include
rm -rf "$out/objects" "$include"
mkdir -p "$out/objects" "$include"
for header in fmt nlohmann CLI pcre2.h utf8proc.h sentencepiece_processor.h histedit.h gumbo.h curl openssl zip.h zipconf.h yaml-cpp boost; do
  for folder in /usr/include /usr/include/"$(uname -m)"-linux-gnu; do
    [[ -e $folder/$header ]] || continue
    if [[ -d $folder/$header ]]; then
      mkdir -p "$include/$header"
      ln -sf "$folder/$header"/* "$include/$header/"
    else
      ln -sf "$folder/$header" "$include/$header"
    fi
  done
done

export ZIG_LOCAL_CACHE_DIR=$out/cache ZIG_GLOBAL_CACHE_DIR=$out/cache
flags=(-target aarch64-macos -std=c++20 -O1 -fPIC -Wall -Wextra -Wshadow -Wpedantic -Werror
  -isystem "$include" -I "$root/src" -DFMT_HEADER_ONLY -DPCRE2_STATIC -DUTF8PROC_STATIC
  -DOUTBOARD_VERSION='"0"'
  # For Debian's Boost 1.74; Homebrew's does without.
  -D_LIBCPP_ENABLE_CXX20_REMOVED_TYPE_TRAITS)
compile() {  # FILE: one object; on failure its messages and a file that marks the failure
  local object=$out/objects/${1//\//_}.o processor=apple_m1
  [[ $1 == */i8mm_* ]] && processor+=+i8mm
  "$python" -m ziglang c++ "${flags[@]}" -mcpu="$processor" -c "$root/$1" -o "$object" >"$object.log" 2>&1 && return
  touch "$object.failed"
  { printf '%s does not compile for macOS:\n' "$1"; cat "$object.log"; }
}

cd "$root"
mapfile -t files < <(git ls-files 'src/*.cpp' | grep -v -E '_test\.cpp$|_fuzz\.cpp$|/avx')
running=0
for file in "${files[@]}"; do
  if [[ $running -ge $(nproc) ]]; then wait -n || true; running=$((running - 1)); fi
  compile "$file" &
  running=$((running + 1))
done
wait
failed=$(find "$out/objects" -name '*.failed' | wc -l)
echo "${#files[@]} files compiled for arm64 macOS, $failed failed"
[[ $failed == 0 && ${#files[@]} -gt 0 ]]
