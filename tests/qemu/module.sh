#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# module.sh MODULES O load|use_and_unload - in the guest: the modules
set -u
modules=$1 O=$2

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

no_memory()
{
	! insmod "$modules/hmm_dmirror.ko" spm_addr_dev0="$1" \
		${2+spm_addr_dev1="$2"}
}

load()
{
	ok "load hmm" insmod "$modules/hmm.ko"
	# One alone, the kernel's own memory, the same twice, thin air, a byte off.
	for spm in "0x40000000" "0x10000000 0x44000000" \
		"0x40000000 0x42000000" "0x40000000 0x7000000000" \
		"0x40000000 0x44000001"; do
		ok "refuse memory at $spm" no_memory $spm
	done
	# 64 MiB for each of two devices, as run.sh has hidden them.
	ok "load hmm_dmirror" insmod "$modules/hmm_dmirror.ko" \
		spm_addr_dev0=0x40000000 spm_addr_dev1=0x44000000
	ok "load hmm_selftest" insmod "$modules/hmm_selftest.ko"
	ok "load hmm_gup" insmod "$modules/hmm_gup.ko"
}

# Device after device, each opened, used and closed by a process that is killed.
users()
{
	until [ -e stop ]; do
		timeout -s KILL 1 env HMM_SOURCE=module \
			"$O/tests/driver_loop" >/dev/null 2>&1
	done
}

# Who is killed closes his files when he gets round to it.
unused()
{
	for i in $(seq 600); do
		[ "$(cat /sys/module/hmm/refcnt)" != 0 ] || break
		sleep 0.1
	done
}

use_and_unload()
{
	rm -f stop
	ok "unload hmm_gup" rmmod hmm_gup
	ok "unload hmm_selftest" rmmod hmm_selftest
	ok "unload hmm_dmirror" rmmod hmm_dmirror
	users &
	sleep 5
	touch stop
	wait
	unused
	ok "unload hmm" rmmod hmm
	ok "load again" insmod "$modules/hmm.ko"
	ok "unload again" rmmod hmm
	# What dev_access then expects.
	ok "load with unprivileged_hold=0" \
		insmod "$modules/hmm.ko" unprivileged_hold=0
	ok "changes wait for root only" env HMM_SOURCE=module \
		"$O/tests/dev_access"
	unused
	ok "unload at last" rmmod hmm
}

$3
