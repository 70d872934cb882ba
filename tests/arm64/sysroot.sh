#!/usr/bin/env bash
# Unpacks the arm64 libraries that the core needs into build/arm64-sysroot. Debian's packages come
# through apt with lists and cache of its own, so nothing of the system changes and no root is needed.
# The C and C++ libraries themselves come with the cross compiler (g++-aarch64-linux-gnu).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sysroot=$root/build/arm64-sysroot
packages=(libfmt-dev libfmt9 libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2 libsentencepiece-dev
  libsentencepiece0 libgtest-dev
  libgmock-dev nlohmann-json3-dev libyaml-cpp-dev libyaml-cpp0.7 libzip-dev libzip4
  libbz2-1.0 libssl-dev libssl3 zlib1g)
stamp=$sysroot/packages
[[ $(cat "$stamp" 2>/dev/null) == "${packages[*]}" ]] && exit 0

work=$root/build/arm64-apt
rm -rf "$sysroot" "$work"
mkdir -p "$sysroot" "$work"/{lists/partial,cache/archives/partial,debs}
options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
  -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status=/dev/null
  -o Dir::Cache="$work/cache" -o Acquire::Languages=none
  -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
  -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false)
# Other people's repositories on this machine rarely have arm64, and are not needed.
for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  if grep -qs debian "$list"; then
    options+=(-o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=-)
    break
  fi
done
echo "Fetching Debian's arm64 packages ..." >&2
apt-get "${options[@]}" update
(cd "$work/debs" && apt-get "${options[@]}" download "${packages[@]}")
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$sysroot"; done
rm -rf "$work"
printf '%s\n' "${packages[*]}" >"$stamp"
