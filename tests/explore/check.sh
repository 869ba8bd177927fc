#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# check.sh - what explore.mk has built: nothing is found in ours, the known
# defects in the seed's model, and each race of ours that is opened again
#
#	check.sh [--bound N] [--random N] [--seed S]
set -u
XO=${XO:?where the explorers are}
passed=0
failed=0
log=$XO/check.log

verdict()
{
	if [ "$1" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
}

# Each scenario is one that passes or not; as many at a time as there are CPUs.
scenarios()
{
	echo "== $1"
	program=$XO/$2
	shift 2
	"$program" --list | cut -d ' ' -f 1 >"$log.names"
	xargs -P "$(nproc)" -I '{}' "$program" "$@" '{}' <"$log.names" |
		sed -u '/^explore: /d' | tee "$log"
	ok=$(grep -c '^ok ' "$log")
	passed=$((passed + ok))
	failed=$((failed + $(wc -l <"$log.names") - ok))
	rm -f "$log.names"
}

defect()
{
	if "$XO/seed" --bound 2 --expect "$3" "$2" >"$log"; then
		echo "found: $1"
		echo "       $(cat "$log")"
		verdict 0
	else
		echo "NOT FOUND: $1"
		verdict 1
	fi
}

echo "options: $*"
scenarios "our core, told of changes before and after" native "$@"
scenarios "libhmm's host, on a counter, a ring and a barrier" user "$@"

echo "== the seed's algorithm"
defect "1, a stale range is valid" driver-aba "A: valid() is true, and page"
defect "2, a refused change never ends" refuse \
	"E: deadlock, and no change is in progress"
defect "7, a dead range is valid" release "D: valid() is true"
defect "10, a disjoint change holds up a waiter" disjoint \
	"E: deadlock; driver: wait for"

echo "== our core, with one race opened again"
printf '%s\n' tests/explore/mutations/*.sed |
	xargs -P "$(nproc)" -n 1 tests/explore/mutate.sh >"$log"
cat "$log"
killed=$(grep -c '^killed' "$log")
passed=$((passed + killed))
failed=$((failed + $(ls tests/explore/mutations/*.sed | wc -l) - killed))

rm -f "$log"
echo "explore: $passed passed, $failed failed"
[ $failed -eq 0 ]
