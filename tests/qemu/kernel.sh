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
# A VERSION debug-NAME is built, by debug.sh.
#
# Exit status 77: it can't be had here; the last line says why.
set -eu

. "$(dirname "$0")/packages.sh"

version=$1 dir=$2
case $version in
debug-*) exec "$(dirname "$0")/debug.sh" "$version" "$dir" ;;
esac
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
kbuild=$(packages_needed "$headers" | grep '^linux-kbuild')
# Newer images are in two parts; kbuild's programs may be newer than this
# machine's libraries.
packages_get "$image" "$headers" "$kbuild" \
	$(packages_needed "$image" |
		grep -e '^linux-base-' -e '^linux-binary-' -e '^linux-modules-') \
	$(packages_needed "$headers" | grep -e '-common$') \
	$(packages_needed "$kbuild" | grep '^lib') libzstd1
for deb in "$dir"/deb/*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
packages_done

[ -d "$dir/root/lib/modules" ] || ln -sfn usr/lib "$dir/root/lib"

# The packages' build directories know each other by absolute names.
build=$dir/root/usr/src/$headers
sed -i "s|/usr/src/|$dir/root/usr/src/|g" "$build/Makefile"
ln -sfn "$build" "$dir/root/build"

# Programs for this machine that lack a library here, by the suite's own.
libraries=$dir/root/usr/lib/x86_64-linux-gnu
for program in "$dir"/root/usr/lib/linux-kbuild-*/scripts/mod/modpost*lsb-64 \
	"$dir"/root/usr/lib/linux-kbuild-*/tools/objtool/objtool.real-x86; do
	[ -f "$program" ] || continue
	ldd "$program" 2>&1 | grep -q 'not found' || continue
	mv "$program" "$program.elf"
	printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' \
		"$dir/root/usr/lib64/ld-linux-x86-64.so.2" "$libraries" \
		"$program.elf" >"$program"
	chmod +x "$program"
done

# The compiler that they name may be newer than this machine's, too, and have
# what this one lacks (and no structure's layout depends on).
lacks()
{
	sed -i "/CONFIG_$1[= ]/d" "$build/include/config/auto.conf" \
		"$build/include/generated/autoconf.h"
}
if ! command -v "$(sed -n 's/^CC = .*\(gcc-[0-9]*\)$/\1/p' \
	"$build/.kernelvariables")" >/dev/null; then
	sed -i '/^CC = /s/gcc-[0-9]*$/gcc/' "$build/.kernelvariables"
	gcc -fmin-function-alignment=16 -E -x c /dev/null >/dev/null 2>&1 ||
		lacks CC_HAS_MIN_FUNCTION_ALIGNMENT
	echo 'struct s { int n; char c[] __attribute__((counted_by(n))); };' |
		gcc -Werror -fsyntax-only -x c - >/dev/null 2>&1 ||
		lacks "CC_HAS_COUNTED_BY[A-Z_]*"
fi

# The payload of a bzImage: its offset and length are in the header.
number()
{
	od -An -t"u$2" -j"$1" -N"$2" "$vmlinuz" | tr -d ' '
}
vmlinuz=$dir/root/boot/vmlinuz-$release
[ -f "$vmlinuz" ] || vmlinuz=$dir/root/lib/modules/$release/vmlinuz
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
