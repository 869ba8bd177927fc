#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# hmm-tests.sh VERSION DIR - upstream's self-test of HMM, as DIR/hmm-tests
#
# Unmodified, from Debian's package of the kernel's source, which is downloaded
# and unpacked as far as needed.  Exit status 77: it can't be had here.
set -eu
here=$(dirname "$0")
. "$here/packages.sh"

version=$1 dir=$2
[ ! -x "$dir/hmm-tests" ] || exit 0
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
packages_from "$version" "$dir"
packages_get "linux-source-$version"

selftests=tools/testing/selftests
dpkg-deb --fsys-tarfile "$dir"/deb/linux-source-*.deb |
	tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc |
	tar -x -C "$dir" --strip-components=1 --wildcards \
		"*/$selftests/*/hmm-tests.c" "*/$selftests/kselftest*.h" \
		'*/lib/test_hmm_uapi.h' '*/mm/gup_test.h'
packages_done
# Its directory was renamed; and it needs no more of libraries than this.
cc -O2 -w -I"$dir" -o "$dir/hmm-tests" "$dir/$selftests"/*/hmm-tests.c \
	"$here/harness_close.c" -Wl,--wrap=close -pthread
