#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# hostile.sh MODULES O SECONDS TIMES SEED - in the guest: /dev/hmm misused
set -u
modules=$1 O=$2 seconds=$3 times=$4 seed=$5

hostile()
{
	"$O/hostile" --seconds "$seconds" --times "$times" --seed "$seed" \
		--hang $((30 * HMM_TEST_SLOW)) "$@"
}

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

# The kernel's report of a process killed for lack of memory is none of trouble,
# and looks like one.  What else it says meanwhile it says again afterwards.
without_oom_reports()
{
	level=$(cut -f1 /proc/sys/kernel/printk)
	echo 3 >/proc/sys/kernel/printk
	echo "<4>qemu: memory begins" >/dev/kmsg
	"$@"
	dmesg | awk '
		/qemu: memory begins/ { n = 0; skip = 0; next }
		/invoked oom-killer/ { skip = 1 }
		!skip { line[n++] = $0 }
		/out of memory: Killed process/ { skip = 0 }
		END { for (i = 0; i < n; i++) print line[i] }' >oom.log
	echo "$level" >/proc/sys/kernel/printk
	while read -r line; do
		echo "<4>$line" >/dev/kmsg
	done <oom.log
}

users()
{
	until [ -e stop ]; do
		"$O/hostile" --seconds 1 --seed "$seed" fuzz >/dev/null 2>&1
	done
}

refused()
{
	exec 9</dev/hmm
	! rmmod hmm 2>/dev/null
	refused=$?
	exec 9<&-
	return $refused
}

# Whenever nobody has a file open, which is so for moments only: on a slow
# machine there may be none for long.
unload_and_load()
{
	now=$(date +%s) refused=0 unloaded=0
	end=$((now + seconds)) last=$((now + 12 * HMM_TEST_SLOW))
	while [ "$now" -lt "$end" ] ||
		{ [ "$unloaded" = 0 ] && [ "$now" -lt "$last" ]; }; do
		if rmmod hmm 2>/dev/null; then
			unloaded=$((unloaded + 1))
			insmod "$modules/hmm.ko"
			sleep 0.$((unloaded % 10))
		else
			refused=$((refused + 1))
		fi
		now=$(date +%s)
	done
	echo "# unload: refused $refused times, done $unloaded times"
	[ "$unloaded" != 0 ]
}

ok "load hmm" insmod "$modules/hmm.ko" ranges_per_file=1000000
hostile acknowledger changer nobody million files next interrupted processes \
	fuzz
without_oom_reports hostile limit oom-user oom-mirrored
ok "unload refused while in use" refused
rm -f stop
users &
ok "unload and load under load" unload_and_load
# It ends when all that it has forked is gone.
touch stop
wait
ok "unload" timeout 60 rmmod hmm
