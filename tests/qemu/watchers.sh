#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# watchers.sh begin|end - in the guest: what only the kernel can tell
#
# Called before the modules are loaded and after they are gone.  A stock kernel
# counts objects; a debug kernel (debug.sh) also looks for what nothing points
# to any more, and at the order of locks and at races, which must not have been
# given up on the way.
set -u
debug=/sys/kernel/debug

# Objects of a kind that are in use.  No process in between: what a CPU keeps
# to allocate from counts as used.
objects()
{
	echo 1 >"/sys/kernel/slab/$1/shrink"
	read -r n _ <"/sys/kernel/slab/$1/objects"
	echo "$n"
}

CACHES='mm_struct vm_area_struct'

begin()
{
	for cache in $CACHES; do
		objects $cache >"/tmp/objects.$cache"
	done
	if [ -f $debug/kmemleak ]; then
		echo scan >$debug/kmemleak
		echo clear >$debug/kmemleak
	fi
}

# A few more than before may be anybody's, one for each use of ours is not.
count()
{
	before=$(cat "/tmp/objects.$1") now=$(objects "$1")
	# What is freed after a grace period takes its time.
	for i in 1 2 3 4 5; do
		[ "$now" -gt $((before + $2)) ] || break
		sleep 2
		now=$(objects "$1")
	done
	if [ "$now" -gt $((before + $2)) ]; then
		echo "not ok as many $1 as before: $before, now $now"
	else
		echo "ok as many $1 as before"
	fi
}

leaks()
{
	[ -f $debug/kmemleak ] || return 0
	echo scan >$debug/kmemleak
	# It waits to be sure.
	sleep 8
	echo scan >$debug/kmemleak
	cat $debug/kmemleak >leaks
	sed 's/^/# /' leaks
	if [ -s leaks ]; then
		echo "not ok nothing leaked"
	else
		echo "ok nothing leaked"
	fi
}

locks()
{
	[ -f /proc/lockdep_stats ] || return 0
	if grep -q 'debug_locks: *1$' /proc/lockdep_stats; then
		echo "ok locks were watched to the end"
	else
		echo "not ok locks were watched to the end"
	fi
}

races()
{
	[ -f $debug/kcsan ] || return 0
	sed 's/^/# /' $debug/kcsan
	if awk '/^enabled: 1/ { enabled = 1 }
		/^setup_watchpoints:/ { watched = $2 }
		/^data_races:/ { races = $2 }
		END { exit !(enabled && watched > 1000 && races == 0) }' \
		$debug/kcsan; then
		echo "ok no data race"
	else
		echo "not ok no data race"
	fi
}

end()
{
	count mm_struct 4
	count vm_area_struct 200
	leaks
	locks
	races
}

$1
