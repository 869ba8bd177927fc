#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# module.sh MODULES O load|use_and_unload - in the guest: the modules
set -u
modules=$1 O=$2

# What upstream's self-test needs no device memory for.
MIRROR_ONLY="open_close anon_read anon_read_prot anon_write anon_write_prot
	anon_write_child anon_write_child_shared anon_write_huge
	anon_write_hugetlbfs file_read file_write anon_read_multiple
	anon_teardown mixedmap compound"

ok()
{
	name=$1
	shift
	if "$@"; then
		echo "ok $name"
	else
		echo "not ok $name"
	fi
}

mirror_only()
{
	case " $(echo $MIRROR_ONLY) " in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

self_test()
{
	timeout 200 "$O/qemu/hmm-tests/hmm-tests" 2>&1 | uniq >self-test.log
	sed 's|^|# |' self-test.log
	for name in $MIRROR_ONLY; do
		ok "hmm-tests $name" \
			grep -q "^ok .*hmm_device_private.$name\$" self-test.log
	done
	sed -n 's/^not ok .*_device_private\.\([a-z_]*\)$/\1/p' self-test.log |
		while read -r name; do
			mirror_only "$name" ||
				echo "skip hmm-tests $name: the device has no memory of its own"
		done
}

load()
{
	ok "load hmm" insmod "$modules/hmm.ko"
	ok "load hmm_dmirror" insmod "$modules/hmm_dmirror.ko"
}

# Device after device, each opened, used and closed by a process that is killed.
users()
{
	while :; do
		timeout -s KILL 1 env HMM_SOURCE=module \
			"$O/tests/driver_loop" >/dev/null 2>&1
	done
}

use_and_unload()
{
	if [ -x "$O/qemu/hmm-tests/hmm-tests" ]; then
		self_test
	else
		echo "skip hmm-tests: the kernel's source can't be had here"
	fi
	ok "unload hmm_dmirror" rmmod hmm_dmirror
	users &
	sleep 5
	kill $!
	# The last of them.
	sleep 2
	ok "unload hmm" rmmod hmm
	ok "load again" insmod "$modules/hmm.ko"
	ok "unload again" rmmod hmm
}

$3
