# SPDX-License-Identifier: MIT OR GPL-2.0
# hmm snapshot
. tests/cli/common

# tail keeps the last 32 MiB in anonymous memory until its input ends.
mkfifo "$TMP/fifo"
tail -c 33554432 <"$TMP/fifo" >/dev/null &
pid=$!
exec 9>"$TMP/fifo"
head -c 33554432 /dev/urandom >&9
at_least()
{
	value=$(json "$1" "$2")
	[ "${value:-0}" -ge "$3" ] || { echo "$2 is $value"; false; }
}
# total PID NAME BYTES: in all its mappings together
total()
{
	try "$HMM" snapshot --json "$1"
	sed -n '/"total"/,$p' "$TMP/out" >"$TMP/total"
	at_least "$TMP/total" "$2" "$3"
}
await total $pid anonymous 33554432
check "status 0" status_is 0
check "json: the memory is present" at_least "$TMP/total" present 33554432
check "json: and anonymous" at_least "$TMP/total" anonymous 33554432
check "json: and writable" at_least "$TMP/total" writable 33554432
check "json: of libraries, pages of files" at_least "$TMP/total" file 4096
check "json: mappings" has out '"mappings":[' '"perms":"r-xp"' 'libc.so.6"'

try "$HMM" snapshot $pid
check "table" has out "present" "writable" "swapped" "zero" "[stack]" \
	"libc.so.6" "total of "
count=$(grep -c . "/proc/$pid/maps")
check "table: a line a mapping" \
	sh -c '[ $(grep -c "^[0-9a-f]*-[0-9a-f]* " '"$TMP/out"') -ge '$((count - 1))' ]'

range=$(sed -n 's/ .*\[stack\]$//p' "/proc/$pid/maps")
try "$HMM" snapshot $pid "$range"
check "a range: only that" has out "[stack]" "total of 1 mapping "
try "$HMM" snapshot $pid "$range" --pfns
check "--pfns: pages" has out "present anon"
if [ "$(id -u)" = 0 ]; then
	check "--pfns as root: page frame numbers" has out "pfn "
	as_nobody_dir
	$NOBODY sleep 600 &
	theirs=$!
	await is $theirs sleep
	try $NOBODY "$NOBODY_HMM" snapshot $theirs --pfns
	check "--pfns as nobody: why there are none" \
		has out "present" "only with CAP_SYS_ADMIN"
	check "--pfns as nobody: no number" lacks out "pfn "
	kill $theirs
	try $NOBODY "$NOBODY_HMM" snapshot $$
	check "not permitted: status 1" status_is 1
	check "not permitted: what to do" has err "CAP_SYS_PTRACE"
else
	echo "skip snapshot of other users: not root"
fi

# No libc, and threads that the kernel alone knows of.
if [ -x "$O/cli/goroutines" ]; then
	mkfifo "$TMP/go"
	"$O/cli/goroutines" 0 <"$TMP/go" >/dev/null &
	go=$!
	exec 8>"$TMP/go"
	await total $go anonymous 1000000
	check "Go: status 0" status_is 0
	check "Go: its text" has out '"perms":"r-xp"' 'cli\/goroutines"'
	check "Go: its heap" at_least "$TMP/total" anonymous 1000000
	exec 8>&-
	wait $go
	check "Go: it goes on" [ $? = 0 ]
else
	echo "skip Go: no Go compiler was there"
fi

try "$HMM" snapshot $pid 1000-2000
check "a range without mappings is empty" has out "total of 0 mappings"
exec 9>&-
wait $pid

try "$HMM" snapshot $pid
check "no such process: status 1" status_is 1
check "no such process: said" has err "there is no process $pid"
for operands in "" "abc" "0" "-5" "99999999999" "1 2 3" "1 5-4" "1 5" "1 -5" \
	"1 7f0000000000-ffffffffffff0000" "1 zz-yy" "1 1000-1000"; do
	try "$HMM" snapshot $operands
	check "bad operands '$operands': status 2" status_is 2
done
exit $bad
