#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# guest.sh PROJECT O KERNEL [SCRIPT] - what runs inside the guest, as root
#
# Leaves NAME.log and NAME.rc in /mnt for each test; the marks in the kernel's
# log say which test a message belongs to.
set -u
cd "$1" || exit
O=$2 kernel=$3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp
export LC_ALL=C

# Who watches himself is slow.
case $(uname -r) in
*-kasan | *-kcsan) slow=5 ;;
*) slow=1 ;;
esac
export HMM_TEST_SLOW=$((10 * slow))

# run NAME SECONDS COMMAND...: SECONDS are for what hangs, several times what it
# takes on a machine with a lot else to do; boot.sh allows some more
run()
{
	name=$1 seconds=$(($2 * slow))
	shift 2
	echo "<4>qemu: begin $name" >/dev/kmsg
	echo 124 >"/mnt/$name.rc"
	# Line by line, to see how far it came if it does not end.
	(cd /tmp && timeout -k 5 "$seconds" stdbuf -oL "$@") \
		>"/mnt/$name.log" 2>&1 </dev/null
	echo $? >"/mnt/$name.rc"
	echo "<4>qemu: end $name" >/dev/kmsg
}

load()
{
	modprobe -d "$kernel/root" "$@"
}

# unit_tests SOURCE TEST...
unit_tests()
{
	source=$1
	shift
	for test; do
		run "$source-$test" 900 env HMM_SOURCE="$source" \
			"$O/tests/$test"
	done
}

# Something else than the tests.
if [ "${4-}" ]; then
	. "$1/tests/qemu/$4.sh"
	exit
fi

load zram num_devices=1
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
echo 8 >/proc/sys/vm/nr_hugepages
# At each change such a kernel looks at all vmas that there are.
[ "$slow" = 1 ] || echo 4000 >/proc/sys/vm/max_map_count

# ---- The modules, and libhmm on them ----------------------------------------

module=$1/tests/qemu/module.sh
sh "$1/tests/qemu/watchers.sh" begin
run modules-load 600 sh "$module" "$kernel/modules" "$O" load
unit_tests module dev_entries dev_block dev_ranges dev_processes dev_access \
	dev_hold dev_hold_others
# What can't be executed a shell takes for a script, which says nothing there.
run compat 300 sh -c 'said=$("$0"); rc=$?
	[ "$said" ] || [ $rc -ge 128 ] || { rc=0
		said="skip all: this kernel runs no programs of 32 bits"; }
	echo "$said"; exit $rc' "$O/compat32"
unit_tests module source_module driver_loop other_process other_process_access \
	other_process_waits rules kinds fork fork_waits cancel \
	known_vma mapped_later dmirror dmirror_life dmirror_churn told \
	bad_input closed kernel_api kernel_nomem
torture=$O/torture
run torture 900 env HMM_SOURCE=module "$torture/torture" -t 30 -i
run snapshots 900 env HMM_SOURCE=module "$torture/snapshot" -n 50
run torture-mutant 900 sh "$1/tests/qemu/broken.sh" env HMM_SOURCE=module \
	MUTANT=unmap "$torture/torture-mutant" -t 8
for command in run watch snapshot outside; do
	run "hmm-$command" 1200 sh -c \
		"cd '$1' && O='$O' SOURCES=module sh tests/cli/$command.sh"
done
for test in device_access device_memory device_contended; do
	run "$test" 900 "$O/tests/$test"
done
run hmm-tests 1200 sh "$1/tests/qemu/self_test.sh" "$O"
run modules 600 sh "$module" "$kernel/modules" "$O" use_and_unload
run hostile 1800 sh "$1/tests/qemu/hostile.sh" "$kernel/modules" "$O" 8 4 1
run watchers 300 sh "$1/tests/qemu/watchers.sh" end

# ---- libhmm's kvm source, attached to the notifiers themselves --------------

# Once is enough: nothing in it depends on the version.
case $(uname -r) in
6.1.*-amd64) ;;
*) exit ;;
esac
load kvm_amd
unit_tests kvm source_kvm source_kvm_life driver_loop rules kinds fork

# The tests above must not have passed for another way to attach.
typed()
{
	grep -h '^attached:' /mnt/kvm-source_kvm.log
	if grep -q "^attached: BPF on the mmu notifiers' start and end" \
		/mnt/kvm-source_kvm.log; then
		echo "ok the notifiers' start and end"
	else
		echo "not ok the notifiers' start and end"
	fi
}
typed >/mnt/mechanism.log
echo 0 >/mnt/mechanism.rc
