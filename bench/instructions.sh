#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# instructions.sh HOT_PATHS - user-space instructions of each hot path
#
# What a program that does it TIMES times takes more than one that does it
# never, by callgrind, which repeats exactly on every machine.
set -eu
hot_paths=$1
TIMES=500

command -v valgrind >/dev/null || {
	echo "skipped: valgrind is not installed"
	exit 0
}

instructions()
{
	valgrind --tool=callgrind --callgrind-out-file=/dev/null \
		"$hot_paths" "$@" 2>&1 | sed -n 's/.*Collected : //p'
}

# line NAME WHAT RANGES
line()
{
	none=$(instructions "$2" 0 "$3")
	some=$(instructions "$2" $TIMES "$3")
	printf '%-44s %9s %8d\n' "$1" "$3" $(((some - none) / TIMES))
}

printf '%-44s %9s %8s\n' "instructions in user space of one" ranges instr.
line "valid(), nothing has changed" valid 1
for ranges in 1 1000 100000; do
	line "valid() after a change elsewhere" recheck $ranges
done
for ranges in 1 1000 100000; do
	line "unregister and register" register $ranges
done
for ranges in 1 1000 100000; do
	line "mark what a change overlaps" invalidate_past $ranges
done
line "snapshot of 16 pages" snapshot 1
