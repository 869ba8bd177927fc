#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# kernel.sh VERSION DIR - a stock Debian kernel and its headers, in DIR
#
# Nothing is installed: the packages are unpacked below DIR.  Afterwards there
# are DIR/release (as uname -r says it), DIR/vmlinux (uncompressed, which boots
# several times as fast under emulation), DIR/root (modules, depmod run) and
# DIR/root/build (what kbuild wants to be called in).
#
# Exit status 77: it can't be had here; the last line says why.
set -eu

version=$1 dir=$2
mirror=http://deb.debian.org
key=/usr/share/keyrings/debian-archive-keyring.gpg

no()
{
	echo "$*"
	exit 77
}

[ ! -f "$dir/complete" ] || exit 0
command -v apt-get >/dev/null || no "no apt-get to download a kernel with"
[ -f $key ] || no "no $key to check a kernel's signature with"
rm -rf "$dir"
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/deb"
dir=$(cd "$dir" && pwd)

case $version in
6.1)	cat <<-LIST
	deb [signed-by=$key] $mirror/debian bookworm main
	deb [signed-by=$key] $mirror/debian bookworm-updates main
	deb [signed-by=$key] $mirror/debian-security bookworm-security main
	LIST
	;;
6.12)	echo "deb [signed-by=$key] $mirror/debian bookworm-backports main" ;;
*)	no "no Debian suite is known to have Linux $version" ;;
esac >"$dir/apt/sources.list"

# The lists and the cache of our own; proxies and the like as the machine has.
set -- -qq -o Dir::Etc::SourceList="$dir/apt/sources.list" \
	-o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$dir/apt/lists" \
	-o Dir::Cache="$dir/apt/cache" -o Acquire::Languages=none \
	-o APT::Architecture=amd64 -o APT::Sandbox::User=root \
	-o Acquire::http::Timeout=20 -o Acquire::Retries=1

apt-get "$@" update >"$dir/apt/log" 2>&1 ||
	no "$mirror can't be reached (see $dir/apt/log)"

# What an empty package depends on is the current one.
current()
{
	apt-cache "$@" 2>>"$dir/apt/log" | sed -n 's/^ *Depends: //p'
}
image=$(current "$@" depends linux-image-amd64 | grep '^linux-image-' || :)
release=${image#linux-image-}
[ -n "$release" ] || no "no linux-image-amd64 for $version on $mirror"
headers=linux-headers-$release
common=$(current "$@" depends "$headers" | grep -- '-common$')
kbuild=$(current "$@" depends "$headers" | grep '^linux-kbuild')

(cd "$dir/deb" && apt-get "$@" download "$image" "$headers" "$common" \
	"$kbuild") >>"$dir/apt/log" 2>&1 ||
	no "$image can't be downloaded (see $dir/apt/log)"
for deb in "$dir"/deb/*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
rm -r "$dir/deb" "$dir/apt"

# The packages' build directories know each other by absolute names.
build=$dir/root/usr/src/$headers
sed -i "s|/usr/src/|$dir/root/usr/src/|g" "$build/Makefile"
ln -sfn "$build" "$dir/root/build"

# The payload of a bzImage: its offset and length are in the header.
number()
{
	od -An -t"u$2" -j"$1" -N"$2" "$vmlinuz" | tr -d ' '
}
vmlinuz=$dir/root/boot/vmlinuz-$release
offset=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
tail -c +$((offset + 1)) "$vmlinuz" | head -c "$(number 588 4)" \
	>"$dir/payload"
# Four bytes of length follow what the decompressors know.
case $(od -An -tx4 -N4 "$dir/payload" | tr -d ' ') in
587a37fd) xz -dc --single-stream <"$dir/payload" >"$dir/vmlinux" ;;
*) no "$image is compressed in a way that is not known here" ;;
esac
rm "$dir/payload"

depmod -b "$dir/root" "$release"
echo "$release" >"$dir/release"
touch "$dir/complete"
