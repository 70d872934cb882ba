#!/usr/bin/env bash
# The .deb of a build, installed in a Debian 12 where nothing else is, and used there.
#   deb.sh BUILD MODEL.gguf     as root, with debootstrap and a Debian mirror
set -euo pipefail

build=$1 model=$2
if [[ $(id -u) != 0 ]] || ! command -v debootstrap >/dev/null; then
  echo "skipped: needs root and debootstrap" >&2
  exit 77
fi
work=$(mktemp -d)
trap 'umount "$work/root/proc" 2>/dev/null || true; rm -rf "$work"' EXIT
(cd "$build" && cpack -G DEB -B "$work/packages" >/dev/null)
package=$(ls "$work"/packages/*.deb)
dpkg-deb --info "$package"
dpkg-deb --contents "$package" | awk '{print $6}' >"$work/contents"
for wanted in usr/bin/outboard usr/share/man/man1/outboard-run.1 usr/share/bash-completion/completions/outboard; do
  grep -q "$wanted" "$work/contents" || { echo "$wanted is missing in the package" >&2; exit 1; }
done
mirror=$(awk '/^deb /{print $2; exit} /^URIs:/{print $2; exit}' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
[[ -n $mirror ]] || { echo "this machine's apt lists name no mirror to take Debian 12 from" >&2; exit 1; }
debootstrap --variant=minbase bookworm "$work/root" "$mirror" >"$work/log" || { tail "$work/log"; exit 1; }
cp /etc/apt/apt.conf.d/*proxy* "$work/root/etc/apt/apt.conf.d/" 2>/dev/null || true
cp "$package" "$model" "$work/root/tmp/"
mount -t proc proc "$work/root/proc" || true
inside() { chroot "$work/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
inside apt-get install -y -qq --no-install-recommends "/tmp/$(basename "$package")" >/dev/null
inside outboard --version
inside outboard run "/tmp/$(basename "$model")" -p "Why is the sky blue?" --temp 0 -n 24 --device cpu | tee "$work/said"
grep -qE "[Ss]ky|[Bb]lue|light" "$work/said"
inside apt-get remove -y -qq outboard >/dev/null
! inside which outboard
