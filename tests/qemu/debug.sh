#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# debug.sh debug-NAME DIR - a kernel that watches itself, in DIR as kernel.sh's
#
# Built from Debian's package of the source, with debug.config and
# debug-NAME.config; and again only if those or the compiler have changed.
# Takes ten minutes of two CPUs, more than one of them if they have time.
#
# Exit status 77: it can't be had here; the last line says why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"

name=$1 dir=$2
made_of=$({
	cat "$here/debug.config" "$here/$name.config"
	cc --version
} | sha256sum)
[ ! -f "$dir/complete" ] || [ "$(cat "$dir/complete")" != "$made_of" ] ||
	exit 0
for program in bison flex bc; do
	command -v $program >/dev/null ||
		no "no $program; scripts/install-deps.sh debug names the packages"
done
rm -rf "$dir"
mkdir -p "$dir/source"
dir=$(cd "$dir" && pwd)
packages_from 6.1 "$dir"
packages_get linux-source-6.1
dpkg-deb --fsys-tarfile "$dir"/deb/linux-source-*.deb |
	tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc |
	tar -x -C "$dir/source" --strip-components=1
packages_done

kbuild()
{
	# MAKEFLAGS carries our O=, which means something else there.
	MAKEFLAGS='' nice -n 19 make -s -C "$dir/source" O="$dir/build" "$@" \
		>>"$dir/log" 2>&1 || {
		tail -n 20 "$dir/log"
		exit 1
	}
}

cat "$here/debug.config" "$here/$name.config" >"$dir/config"
KCONFIG_ALLCONFIG=$dir/config
export KCONFIG_ALLCONFIG
kbuild allnoconfig
# Names come and go, and what lacks something it depends on goes silently.
while read -r line; do
	case $line in
	CONFIG_*=n) ;;
	CONFIG_*) grep -qxF "$line" "$dir/build/.config" || {
			echo "this source has no $line, or not with the rest"
			exit 1
		} ;;
	esac
done <"$dir/config"
# Races and undefined behaviour of the kernel's own are not what is looked for;
# modules are compiled without these words.  But the order that locks make must
# be known.
echo 'KCSAN_INSTRUMENT_BARRIERS := y' >>"$dir/source/kernel/locking/Makefile"
kbuild -j"${JOBS-2}" KCSAN_SANITIZE=n UBSAN_SANITIZE=n bzImage modules
kbuild INSTALL_MOD_PATH="$dir/root" modules_install

# What modules are built with stays; the rest is large.
ln -sfn "$dir/build" "$dir/root/build"
# Started any other way a kernel with KASAN does not come far.
cp "$dir/build/arch/x86/boot/bzImage" "$dir/vmlinux"
find "$dir/build" -name scripts -prune -o -name tools -prune -o \
	\( -name '*.o' -o -name '*.a' -o -name 'vmlinux*' -o -name 'bzImage' \) \
	-type f -print | xargs rm
ls "$dir/root/lib/modules" >"$dir/release"
echo "$made_of" >"$dir/complete"
