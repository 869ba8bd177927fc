# SPDX-License-Identifier: MIT OR GPL-2.0
# hmm watch
. tests/cli/common

change=$TMP/change
${CC-gcc} -O2 -D_GNU_SOURCE -o "$change" tests/cli/change.c || exit 1
available=$(sources)
[ "$available" ] || { echo "no source is available here"; exit 77; }

try "$HMM" watch
check "no command: status 2" status_is 2
try "$HMM" watch --source nonsense -- true
check "an unknown source: status 2" status_is 2
try "$HMM" watch -- "$TMP/nonsense"
check "not found: status 127" status_is 127
for number in 0 99999999999999999999; do
	try "$HMM" watch $number
	check "$number is no process id: status 2" status_is 2
done
# What is opened must not get the number that messages go to.
try sh -c 'exec "$@" 2>&-' sh "$HMM" watch -- \
	sh -c 'readlink /proc/$PPID/fd/2; [ -e /proc/$$/fd/2 ] || echo closed'
check "stderr closed: messages go nowhere, the command has it closed" \
	[ "$(cat "$TMP/out")" = "/dev/null
closed" ]

# unmappings N: so many lines, with all they should say
unmappings()
{
	[ "$(grep -cE "unmap +123400000000-123400100000 +1 MiB +[0-9.]+ [mun]?s  \[anonymous\]" \
		"$TMP/lines")" -ge "$1" ]
}

two_unmappings()
{
	unmappings 2
}

as_json()
{
	has "$TMP/lines" '"kind":"unmap"' '"start":"0x123400000000"' \
		'"stable_after_ns":'
}

for source in $available; do
	patiently two_unmappings \
		"$HMM" watch --source $source -o "$TMP/lines" -- "$change" 4
	check "$source: exit status" status_is 7
	check "$source: output" [ "$(wc -l <"$TMP/out")" = 4 ]
	check "$source: unmappings are lines, with their times" two_unmappings
	check "$source: what it is worth" has err "changes shown" "0 dropped" \
		"source $source"

	patiently as_json "$HMM" watch --source $source --json \
		-o "$TMP/lines" -- "$change" 4
	check "$source: json" as_json
done

# ---- A process that runs ----------------------------------------------------

try "$HMM" watch 4194304
check "no such process: status 1" status_is 1
check "no such process: said" has err "there is no process 4194304"
# Ours, which we may trace.
sleep 60 &
sleeper=$!
if ! echo "$available" | grep -qx module; then
	try "$HMM" watch $sleeper
	check "PID without the module: status 1" status_is 1
	check "PID without the module: what to do" has err "load hmm.ko"
	kill $sleeper
	exit $bad
fi
kill $sleeper
try "$HMM" watch --source uffd $$
check "PID with another source: what to do" has err "load hmm.ko"
if [ "$(cat /proc/2/comm 2>/dev/null) $(id -u)" = "kthreadd 0" ]; then
	try "$HMM" watch 2
	check "PID of a kernel thread: status 1" status_is 1
	check "PID of a kernel thread: said" has err "kernel thread"
fi

# watch_begin PID: until it is ended; it keeps no fifo open
watch_begin()
{
	rm -f "$TMP/lines"
	"$HMM" watch -o "$TMP/lines" $1 2>"$TMP/err" 8>&- &
	hmm=$!
}

# shows N: so many processes, or more, have unmapped the place by now
shows()
{
	[ "$(grep -s 'unmap *123400000000' "$TMP/lines" | awk '{ print $2 }' |
		sort -u | wc -l)" -ge "$1" ]
}

# mebibytes N: so many times, or more, was one unmapped by now
mebibytes()
{
	[ "$(grep -csE " unmap .* 1 MiB " "$TMP/lines")" -ge "$1" ]
}

# watch_pid NAME PROGRAM: it takes no preloaded library, and need not
watch_pid()
{
	"$2" 9999 >"$TMP/printed" &
	pid=$!
	await is $pid "${2##*/}"
	watch_begin $pid
	await unmappings 4
	check "$1: each unmapping is a line" unmappings 4
	kill -USR1 $pid
	wait $pid
	check "$1: its exit status" [ $? = 7 ]
	wait $hmm
	check "$1: ends with it" [ $? = 0 ]
	check "$1: what it is worth" has err "changes shown" "0 dropped" \
		"source module"
}

watch_pid "PID" "$change"
if ${CC-gcc} -static -O2 -D_GNU_SOURCE -o "$TMP/static" tests/cli/change.c \
	2>/dev/null; then
	watch_pid "PID, static" "$TMP/static"
else
	echo "skip PID, static: no static libc"
fi
if [ -x "$O/cli/goroutines" ]; then
	mkfifo "$TMP/go"
	"$O/cli/goroutines" 0 <"$TMP/go" >"$TMP/printed" &
	pid=$!
	exec 8>"$TMP/go"
	await is $pid goroutines
	watch_begin $pid
	await mebibytes 4
	check "PID, Go: each unmapping is a line" mebibytes 4
	exec 8>&-
	wait $pid
	check "PID, Go: its exit status" [ $? = 0 ]
	check "PID, Go: its output" [ "$(cat "$TMP/printed")" = done ]
	wait $hmm
	check "PID, Go: ends with it" [ $? = 0 ]
	check "PID, Go: what it is worth" has err "0 dropped" "source module"
else
	echo "skip PID, Go: no Go compiler was there"
fi

# What it forks from now on; each is there until it is found.
sh -c "sleep 1; for i in 1 2; do $change 9999 & echo \$!; done; wait; exit 6" \
	>"$TMP/printed" &
pid=$!
watch_begin $pid
await shows 2
check "PID has children: they are watched" shows 2
kill $(grep -v 123400000000 "$TMP/printed")
wait $pid
check "PID has children: its exit status" [ $? = 6 ]
wait $hmm
check "PID has children: ends with it" [ $? = 0 ]

# Each takes some descriptors, of which there are to be enough.
sh -c 'sleep 1; for i in $(seq 30); do sleep 3 & done; wait' &
try sh -c 'ulimit -Sn 64; exec "$@"' sh "$HMM" watch -o "$TMP/lines" $!
check "PID has many children: all are watched" \
	sh -c '! grep "could not be watched" '"$TMP/err"
check "PID has many children: no complaints" lacks err "can't look"

# Left alone again.
"$change" 9999 >"$TMP/printed" &
pid=$!
watch_begin $pid
await shows 1
kill -INT $hmm
wait $hmm
check "PID, interrupted: status" [ $? = 0 ]
check "PID, interrupted: the lines are there" shows 1
kill -USR1 $pid
wait $pid
check "PID, interrupted: it is not harmed" [ $? = 7 ]

# Faster than lines are made.
cat >"$TMP/churn.c" <<END
#include <sys/mman.h>
int main(void)
{
	char *p = mmap(0, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (!madvise(p, 4096, MADV_DONTNEED))
		*p = 1;
}
END
${CC-gcc} -O2 -D_GNU_SOURCE -o "$TMP/churn" "$TMP/churn.c" || exit 1
"$TMP/churn" &
pid=$!
watch_begin $pid
await has_lines 1000 "$TMP/lines"
kill -INT $hmm
await has_ended $hmm
check "PID changes all the time, interrupted: ends" has_ended $hmm
kill -KILL $hmm $pid 2>/dev/null

# Another program in the same process.
sh -c "sleep 1; exec $change 9999" >/dev/null &
pid=$!
watch_begin $pid
await shows 1
check "PID executes another program: goes on" shows 1
kill $pid
wait $hmm
check "PID executes another program: ends with it" [ $? = 0 ]
if [ "$(id -u)" = 0 ]; then
	as_nobody_dir
	try $NOBODY "$NOBODY_HMM" watch $$
	check "PID of another user: what is missing" has err CAP_SYS_PTRACE

	# Yama leaves a user's own processes to their parents, then to root.
	scope=/proc/sys/kernel/yama/ptrace_scope
	case $(cat $scope 2>/dev/null) in
	[012]) levels="0 1 2" ;;
	*) levels='' && echo "skip PID under Yama: not in this kernel, or for good" ;;
	esac
	before=$(cat $scope 2>/dev/null)
	[ -z "$levels" ] || trap 'echo $before >$scope; rm -rf "$TMP"' EXIT
	for level in $levels; do
		echo $level >$scope
		$NOBODY sleep 600 &
		pid=$!
		# Until it has changed its user it is nobody's to trace.
		await is $pid sleep
		if [ $level = 0 ]; then
			$NOBODY "$NOBODY_HMM" watch $pid 2>"$TMP/err" &
			hmm=$!
			await watches $hmm
			kill $pid
			wait $hmm
			check "PID of the same user: ends with it" [ $? = 0 ]
			continue
		fi
		try $NOBODY "$NOBODY_HMM" watch $pid
		check "PID under Yama's level $level: status 1" status_is 1
		check "PID under Yama's level $level: what is missing" has err \
			"kernel.yama.ptrace_scope is $level" CAP_SYS_PTRACE
		kill $pid
	done
fi
exit $bad
