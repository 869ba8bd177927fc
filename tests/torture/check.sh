#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# check.sh check|long - what torture.mk has built, with every source, allocator
# and sanitizer: short, or for $MINUTES
#
# Prints what each run says, and "ok NAME", "not ok NAME" or "skip NAME: WHY".
# A seed is drawn for each run and printed; SEED=n repeats one.
set -u
TO=${TO:?where the programs are}
SEED=${SEED-}
failed=0
log=$TO/run.log
CPU=$(taskset -cp $$ | sed 's/.*[^0-9]//')
TMP=$(mktemp -d /tmp/hmm-torture.XXXXXX)
trap 'rm -rf "$log" "$TMP"' EXIT

# verdict NAME STATUS WANTED
verdict()
{
	if [ "$2" = 77 ]; then
		echo "skip $1: $(sed -n 's/^skip: *//p' "$log" | tail -n 1)"
	elif [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		failed=1
	fi
}

# run NAME COMMAND...: all of it must pass
run()
{
	name=$1
	shift
	echo "== $name"
	env "$@" ${SEED:+-s "$SEED"} >"$log" 2>&1
	rc=$?
	cat "$log"
	verdict "$name" "$rc" 0
}

# broken NAME COMMAND...: without what it leaves out, something must be stale.
# It takes luck to be there when it happens: one round in three, at worst, on one
# CPU or two, idle or busy.  Should it be one in a hundred somewhere, as often as
# it takes for a million such machines to find it.
broken()
{
	name="finds: $1"
	shift
	echo "== $name"
	for try in $(seq 30); do
		env "$@" ${SEED:+-s "$SEED"} >"$log" 2>&1
		rc=$?
		grep -v '^STALE' "$log"
		[ "$rc" = 1 ] && grep -q '^STALE' "$log" && break
		[ "$rc" = 77 ] && break
		rc="no"
	done
	verdict "$name" "$rc" 1
}

# missed SECONDS SOURCE KIND...: each as if it had never been told
missed()
{
	seconds=$1 source=$2
	shift 2
	for kind; do
		broken "no changes of kind $kind, $source" MUTANT="$kind" \
			HMM_SOURCE="$source" "$TO/torture-mutant" -t "$seconds"
	done
}

# too_early MUTANT NAME: a change is taken to be over while it is at work
too_early()
{
	# Long enough for the one who makes it to lose the only CPU there is.
	broken "$2, kvm" MUTANT="$1" HMM_SOURCE=kvm \
		"$TO/snapshot-mutant" -m 64 -n 100
	# Who changes goes on before userfaultfd's message is read here.  Where
	# there is one CPU it can't, and most of a long change is to come.
	broken "$2, uffd" MUTANT="$1" HMM_SOURCE=uffd taskset -c "$CPU" \
		"$TO/snapshot-mutant" -m 64 -n 100
}

library()
{
	for path in /usr/lib/*/"$1" /usr/lib/"$1" /usr/lib64/"$1"; do
		[ -e "$path" ] && echo "$path" && return
	done
}

# allocator NAME LIBRARY COMMAND...
allocator()
{
	path=$(library "$2")
	if [ -z "$path" ]; then
		echo "skip torture, $1: no $2 here"
		return
	fi
	name="torture, $1"
	shift 2
	run "$name" LD_PRELOAD="$path" "$@"
}

# nobody PROGRAM ARGUMENTS...: without any right, where that may write
nobody()
{
	if [ "$(id -u)" != 0 ]; then
		echo "skip $1, nobody: not root, so this is how all of them ran"
		return
	fi
	chmod 777 "$TMP"
	cp "$TO/$1" "$TMP"
	program=$1
	shift
	run "$program, nobody" -C "$TMP" setpriv --reuid 65534 --regid 65534 \
		--clear-groups --inh-caps=-all --bounding-set=-all \
		"$TMP/$program" "$@"
}

# The sanitizers' own maps don't stand every layout: no randomisation.
sanitizer()
{
	run "torture, $1 $2" \
		ASAN_OPTIONS=detect_stack_use_after_return=1 \
		UBSAN_OPTIONS=print_stacktrace=1 \
		TSAN_OPTIONS="second_deadlock_stack=1 suppressions=$PWD/tests/tsan.supp" \
		HMM_SOURCE="$2" setarch -R "$TO/../$1/torture/torture" -t "$3"
}

check()
{
	run "torture, kvm" HMM_SOURCE=kvm "$TO/torture" -t 20
	run "torture, uffd" HMM_SOURCE=uffd "$TO/torture" -t 20
	run "snapshots, kvm" HMM_SOURCE=kvm "$TO/snapshot" -n 300
	run "snapshots, uffd" HMM_SOURCE=uffd "$TO/snapshot" -n 150
	too_early barrier "a barrier that does not wait"
	too_early counter "a counter alone"
	missed 8 kvm truncate
	missed 5 uffd unmap
	run "torture, signals and fork storms" HMM_SOURCE=kvm \
		"$TO/torture" -t 10 -i -f
	run "torture, signals, uffd" HMM_SOURCE=uffd "$TO/torture" -t 5 -i
	nobody torture -t 5
	nobody snapshot -n 50
	allocator jemalloc libjemalloc.so.2 "$TO/torture" -t 5
	allocator mimalloc libmimalloc.so.2.0 "$TO/torture" -t 5
	allocator tcmalloc libtcmalloc_minimal.so.4 "$TO/torture" -t 5
	for san in asan tsan; do
		sanitizer $san kvm 10
		sanitizer $san uffd 5
	done
}

# A million accepted snapshots first, then the rest of the time.
long()
{
	total=$((MINUTES * 60))
	run "snapshots, kvm" HMM_SOURCE=kvm "$TO/snapshot" -n 31250
	run "snapshots, uffd" HMM_SOURCE=uffd "$TO/snapshot" -n 3125
	missed 30 kvm unmap remap protect discard truncate cow fork reclaim \
		merge collapse
	# Not remap: what is moved away is told of as unmapped, too.
	missed 30 uffd unmap discard
	run "torture, kvm" HMM_SOURCE=kvm "$TO/torture" -t $((total * 5 / 10))
	run "torture, kvm, signals and fork storms" HMM_SOURCE=kvm \
		"$TO/torture" -t $((total * 2 / 10)) -i -f
	run "torture, uffd" HMM_SOURCE=uffd "$TO/torture" \
		-t $((total * 3 / 10))
}

"${1:?}"
exit $failed
