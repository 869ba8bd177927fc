# SPDX-License-Identifier: MIT OR GPL-2.0
# hmm run: the program must not notice, and the numbers must come
. tests/cli/common

change=$TMP/change
${CC-gcc} -O2 -D_GNU_SOURCE -o "$change" tests/cli/change.c || exit 1
available=$(sources)
[ "$available" ] || { echo "no source is available here"; exit 77; }

# ---- Usage and errors -------------------------------------------------------

for options in "" "--" "--engines 0 -- true" "--engines x -- true" \
	"--engines 65 -- true" "--source nonsense -- true" "--source"; do
	try "$HMM" run $options
	check "run $options: status 2" status_is 2
done
try "$HMM" run -- "$TMP/nonsense"
check "not found: status 127" status_is 127
check "not found: said" has err "can't run" "No such file"
try "$HMM" run -- /etc/passwd
check "not executable: status 126" status_is 126
try "$HMM" run -o /nonexistent/file -- touch "$TMP/ran"
check "an output that can't be written: status 1" status_is 1
check "and the program has not run" [ ! -e "$TMP/ran" ]
for source in $("$HMM" info | awk '/^  [a-z]+ +level/ { name = $1 }
	/^          not available/ { print name }'); do
	try "$HMM" run --source $source -- touch "$TMP/ran"
	check "$source, which can't be used: status 1" status_is 1
	check "$source, which can't be used: said" \
		has err "source $source can't be used here: "
	check "$source, which can't be used: not run" [ ! -e "$TMP/ran" ]
done

# ---- With each source -------------------------------------------------------

at_least()
{
	value=$(json "$TMP/json" "$1")
	[ "${value:-0}" -ge "$2" ] || { echo "$1 is $value"; false; }
}

device_worked()
{
	at_least faults 1
}

all_was_done()
{
	device_worked && at_least verified 1 &&
		at_least effective_invalidations 1
}

three_mirrored()
{
	at_least mirrored 3
}

for source in $available; do
	run="$HMM run --source $source --verify --json -o $TMP/json"

	patiently all_was_done $run -- "$change" 3 exit
	check "$source: exit status" status_is 7
	check "$source: output" [ "$(wc -l <"$TMP/out")" = 3 ]
	check "$source: nothing on stderr" [ ! -s "$TMP/err" ]
	check "$source: one process" [ "$(json "$TMP/json" mirrored)" = 1 ]
	check "$source: the source" has "$TMP/json" "\"source\":\"$source\""
	check "$source: the device worked" device_worked
	check "$source: the oracle looked" at_least verified 1
	check "$source: unmapping was seen" at_least effective_invalidations 1
	level=$(json "$TMP/json" level)
	if [ "$level" -ge 2 ]; then
		check "$source: no stale translation" \
			[ "$(json "$TMP/json" stale)" = 0 ]
	fi

	patiently device_worked $run -- "$change" 3 _exit
	check "$source: _exit() keeps the status" status_is 7
	check "$source: _exit() keeps the numbers" device_worked
	patiently device_worked $run -- "$change" 3 kill
	check "$source: killed: status 137" status_is 137
	check "$source: killed: the numbers are kept" device_worked

	patiently three_mirrored $run -- \
		sh -c "$change 2 & $change 2 & wait; exec $change 2"
	check "$source: children and exec count" three_mirrored

	echo "some input" | try $run -- cat
	check "$source: stdin and stdout" [ "$(cat "$TMP/out")" = "some input" ]
	# Under the first name, in its own table: none but what sh has.
	try sh -c 'sleep 0.5; ls /proc/$$/fd'
	mv "$TMP/out" "$TMP/bare"
	try $run -- sh -c 'sleep 0.5; ls /proc/$$/fd'
	check "$source: no descriptor is visible" cmp "$TMP/out" "$TMP/bare"
	try $run -- bash -c 'sleep 0.5; wait -n; echo $?; jobs; trap'
	check "$source: no child is visible" [ "$(cat "$TMP/out")" = 127 ]
	try $run -- bash -c 'trap "echo got; exit 5" TERM; sleep 0.5 & kill $$; wait'
	check "$source: signals arrive" has out got
	check "$source: status of a handler" status_is 5
	try $run -- bash -c 'sleep 0.4; exec 3</dev/null; echo /proc/$$/fd/3;
		readlink /proc/$$/fd/3; (exec 4</dev/null; echo x >&4) 2>/dev/null
		ulimit -n 16; ls / >/dev/null; echo $?'
	check "$source: lowest descriptors, and few" has out /dev/null 0
done

# ---- What can't be mirrored -------------------------------------------------

if echo 'int main(void) { return 4; }' |
	${CC-gcc} -static -x c -o "$TMP/static" - 2>/dev/null; then
	try "$HMM" run -- "$TMP/static"
	check "static: runs" status_is 4
	case $available in
	module*) ;;
	*) check "static: said in one line" \
		has err "0: it is statically linked" ;;
	esac
else
	echo "skip a static program: no static libc"
fi
case $available in
module*)
	if ${CC-gcc} -static -O2 -D_GNU_SOURCE -o "$TMP/static" \
		tests/cli/change.c 2>/dev/null; then
		patiently all_was_done "$HMM" run --verify --json \
			-o "$TMP/json" -- "$TMP/static" 6
		check "static, module: exit status" status_is 7
		check "static, module: output" [ "$(wc -l <"$TMP/out")" = 6 ]
		check "static, module: nothing on stderr" [ ! -s "$TMP/err" ]
		check "static, module: mirrored" \
			[ "$(json "$TMP/json" mirrored)" = 1 ]
		check "static, module: the device worked" \
			[ "$(json "$TMP/json" faults)" -gt 0 ]
		check "static, module: the oracle looked" \
			[ "$(json "$TMP/json" verified)" -gt 0 ]
		check "static, module: unmapping was seen" \
			[ "$(json "$TMP/json" effective_invalidations)" -gt 0 ]
		check "static, module: no stale translation" \
			[ "$(json "$TMP/json" stale)" = 0 ]
		try "$HMM" watch -o "$TMP/lines" -- "$TMP/static" 3
		check "static, module: watched from its first instruction" \
			sh -c '[ $(grep -c "unmap *123400000000" '"$TMP/lines"') -ge 3 ]'
	fi
	;;
esac
if echo 'int main(void) { return 4; }' |
	${CC-gcc} -fsanitize=address -x c -o "$TMP/asan" - 2>/dev/null; then
	# It refuses to start behind a library that is not ours, too.
	try env -u LD_PRELOAD "$HMM" run -- "$TMP/asan"
	check "a program with AddressSanitizer runs" status_is 4
else
	echo "skip AddressSanitizer: this compiler has none"
fi
if [ "$(id -u)" = 0 ]; then
	as_nobody_dir
	cp /bin/true "$TMP/nobody/suid"
	chmod 4755 "$TMP/nobody/suid"
	try ${NOBODY% --no-new-privs} "$NOBODY_HMM" run -- "$TMP/nobody/suid"
	check "set-user-ID: runs" status_is 0
	check "set-user-ID: said in one line" has err "0: it is set-user-ID"

	cp "$change" "$TMP/nobody/change"
	chmod 755 "$TMP/nobody/change"
	case $available in
	module*) theirs="module, level 2" ;;
	*) theirs="uffd, level 1" ;;
	esac
	their_table()
	{
		has err "$theirs" "memory mirrored" "only for presence" \
			"stale translations used"
	}
	patiently their_table $NOBODY "$NOBODY_HMM" run --verify -- \
		"$TMP/nobody/change" 3
	check "as nobody: status" status_is 7
	check "as nobody: the table" their_table
else
	echo "skip set-user-ID, and another user: not root"
fi
try env LD_PRELOAD=libm.so.6 "$HMM" run -- sh -c 'echo $LD_PRELOAD'
case $available in
module*) check "preloaded libraries stay" [ "$(cat "$TMP/out")" = libm.so.6 ] ;;
*) check "other preloaded libraries stay" \
	has out "libhmm-agent.so:libm.so.6" ;;
esac

# ---- What is printed --------------------------------------------------------

table()
{
	has err "processes mirrored" "memory mirrored" "device accesses" \
		"device page faults" "waits for changes" "p99" \
		"invalidations" "unmap" "translations verified" \
		"stale translations used" "level" "$TMP/report.html"
}
pictures()
{
	has "$TMP/report.html" "<svg" "Time line" "Address space of change" \
		"stale translations used" "</html>"
}
table_and_pictures()
{
	table && pictures
}
patiently table_and_pictures "$HMM" run --verify \
	--report "$TMP/report.html" -- "$change" 3
check "table" table
check "report: pictures" pictures
check "report: needs nothing else" \
	sh -c "! grep -iE '<script|<img|<link|https?:' '$TMP/report.html'"
exit $bad
