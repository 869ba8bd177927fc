#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# install-deps.sh demo|all|debug - install the Debian packages that are missing
#
# This is the one place that names them.  Needs root to install; without it,
# says what to install and fails only if nothing can be built.
set -eu

# To build libhmm and the hmm command.
BUILD='gcc libc6-dev make clang bpftool libbpf-dev libelf-dev zlib1g-dev
	libjson-c-dev'
# What "make demo" runs under the software device, besides the compiler.
DEMO='sqlite3'
# To test: unit tests, stacks of what hangs, the core in the kernel's clothes,
# installed headers, man pages, format and static analysis; and for the torture
# io_uring and other allocators; kernels in QEMU; Go for a program not in C.
CHECK='libcmocka-dev gdb procps linux-headers-amd64 pkg-config man-db valgrind
	clang-format clang-tidy cppcheck liburing-dev libjemalloc2 libmimalloc2.0
	libtcmalloc-minimal4 golang-go
	qemu-system-x86 busybox-static cpio kmod xz-utils zstd dkms'
# To build kernels for "make qemu-debug", which "make check" does without.
DEBUG='bison flex bc'

missing()
{
	for package; do
		case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" \
			2>/dev/null) in
		ii*) ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

case ${1-all} in
demo) wanted="$BUILD $DEMO" ;;
all) wanted="$BUILD $DEMO $CHECK" ;;
debug) wanted="$BUILD $DEMO $CHECK $DEBUG" ;;
*) echo "usage: $0 demo|all|debug" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "This is no Debian; hmm needs what Debian calls:" $wanted
	exit 0
fi
need=$(missing $wanted)
if [ -z "$need" ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "Not root; to install what is missing: apt-get install $need"
	[ -z "$(missing $BUILD)" ]
	exit
fi
echo "Installing $need"
export DEBIAN_FRONTEND=noninteractive
# Lists may be absent (a fresh container) or point to what is gone; a mirror may
# hiccup, or be updated in between, and somebody else be installing.
install()
{
	apt-get -qq -o Acquire::Retries=3 update &&
		apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 \
			install --no-install-recommends -y $need </dev/null
}
for pause in 10 30 60; do
	install && exit
	echo "That failed; again in $pause s"
	sleep $pause
done
install
