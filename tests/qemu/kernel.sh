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

. "$(dirname "$0")/packages.sh"

version=$1 dir=$2
[ ! -f "$dir/complete" ] || exit 0
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
packages_from "$version" "$dir"

# What an empty package depends on is the current one.
image=$(packages_needed linux-image-amd64 | grep '^linux-image-' || :)
release=${image#linux-image-}
[ -n "$release" ] || no "no linux-image-amd64 for $version on $mirror"
headers=linux-headers-$release
packages_get "$image" "$headers" \
	$(packages_needed "$headers" | grep -e '-common$' -e '^linux-kbuild')
for deb in "$dir"/deb/*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
packages_done

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
# Its last four bytes are a length, of no use to the decompressors.
tail -c +$((offset + 1)) "$vmlinuz" | head -c $(($(number 588 4) - 4)) \
	>"$dir/payload"
case $(od -An -tx4 -N4 "$dir/payload" | tr -d ' ') in
587a37fd) xz -dc <"$dir/payload" >"$dir/vmlinux" ;;
fd2fb528) zstd -qdc <"$dir/payload" >"$dir/vmlinux" ;;
*) no "$image is compressed in a way that is not known here" ;;
esac
rm "$dir/payload"

depmod -b "$dir/root" "$release"
echo "$release" >"$dir/release"
touch "$dir/complete"
