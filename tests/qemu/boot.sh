#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# boot.sh O KERNEL OUT - boot a kernel of kernel.sh's; what it leaves is in OUT
#
# With GUEST=NAME in the environment NAME.sh runs in it, not the tests.
#
# About one guest in fifty dies in early boot under the emulation of QEMU 7.2,
# by a double fault long before there is anything of ours.  So one that ends, or
# makes no progress, before init's first line is booted once more, in a line
# that says so.  From that line on whatever happens is a result.
set -u
O=$1 kernel=$2 out=$3

# A guest hangs that says nothing for so long: longer than any of guest.sh's
# tests may take, on a machine that has a lot else to do.  How long all of them
# take is nobody's business here.
case $kernel in
*/debug-*) machine=q35 memory=3072 limit=9600 ;;
*) machine=pc memory=1536 limit=2400 ;;
esac
early=${EARLY-300}

words="console=ttyS0 loglevel=5 panic=-1 oops=panic nokaslr"
words="$words mitigations=off tsc=reliable no_timer_check"
words="$words cryptomgr.notests random.trust_cpu=on nowatchdog"
words="$words rcupdate.rcu_cpu_stall_timeout=120"
words="$words hmm.project=$PWD hmm.build=$O hmm.kernel=$kernel"
words="$words hmm.script=${GUEST-}"
# The memory of hmm_dmirror2 and 3.
words="$words memmap=128M\$0x40000000"

came_up()
{
	grep -q 'qemu: init' "$out/console"
}

boot()
{
	rm -rf "$out"
	mkdir -p "$out"
	: >"$out/console"
	# Two CPUs in one thread: with more, one may for ever run the breakpoint
	# by which another has the kernel's code patched (seen with 7.2).
	qemu-system-x86_64 -machine $machine \
		-accel tcg,thread=single -cpu max -smp 2 -m $memory \
		-nodefaults -nic none -no-reboot -display none -serial stdio \
		-kernel "$kernel/vmlinux" -initrd "$kernel/initramfs" \
		-append "$words" \
		-virtfs local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path="$out",mount_tag=out,security_model=none \
		</dev/null >"$out/console" 2>&1 &
	guest=$!
	trap 'kill $guest; exit 130' INT TERM
	idle=0 said=0 allowed=$early
	while kill -0 $guest 2>/dev/null; do
		sleep 1
		idle=$((idle + 1)) now=$(wc -c <"$out/console")
		if [ "$now" != "$said" ]; then
			idle=0 said=$now
			! came_up || allowed=$limit
		fi
		[ $idle -lt $allowed ] || kill $guest 2>/dev/null
	done
	wait $guest 2>/dev/null
	[ $idle -lt $allowed ] ||
		echo "qemu: no word for $idle s" >>"$out/console"
	sed -i 's/\r//g' "$out/console"
	came_up
}

boot && exit
last=$(grep . "$out/console" | tail -n 1)
echo "again: $(basename "$kernel") was gone before its init: ${last:-no word}"
boot || :
