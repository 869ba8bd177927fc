# SPDX-License-Identifier: MIT OR GPL-2.0
# hmm run and hmm watch with the source module: nothing is preloaded, and every
# process of the command is looked at from outside
. tests/cli/common

sources | grep -qx module || { echo "no /dev/hmm: load hmm.ko"; exit 77; }

change=$TMP/change family=$TMP/family tracer=$TMP/tracer
${CC-gcc} -O2 -D_GNU_SOURCE -o "$change" tests/cli/change.c || exit 1
${CC-gcc} -O2 -D_GNU_SOURCE -pthread -o "$family" tests/cli/family.c || exit 1
${CC-gcc} -O2 -D_GNU_SOURCE -o "$tracer" tests/cli/tracer.c || exit 1
run="$HMM run --json -o $TMP/json"

# counts MIRRORED EXECUTED: all were looked at, and there were no others
counts()
{
	for pair in mirrored=$1 executed=$2 too_short=0 failed=0 left_out=0 \
		stale=0; do
		value=$(json "$TMP/json" "${pair%=*}")
		[ "$value" = "${pair#*=}" ] || {
			echo "${pair%=*} is $value, expected ${pair#*=}"
			return 1
		}
	done
}

# watched N: so many processes unmapped the place
watched()
{
	n=$(awk '$3 == "unmap" && $4 == "123400000000-123400100000" { print $2 }' \
		"$TMP/lines" | sort -u | wc -l)
	[ "$n" = "$1" ] || { echo "$n processes, expected $1"; false; }
}

# ---- Families ----------------------------------------------------------------

# family NAME PROGRAM: whatever makes a process
family()
{
	for how in "fork 5 0 4 0" "vfork 5 0 4 0" "spawn 5 0 4 0" \
		"threads 5 0 4 0" "exec 1 1 1 5" "chain 1 30 1 5"; do
		set -- "$1" "$2" $how
		expected=$7
		try $run --verify -- "$2" "$3"
		check "$1, $3: runs as ever" status_is $expected
		check "$1, $3: each process was mirrored" counts "$4" "$5"
		try "$HMM" watch -o "$TMP/lines" -- "$2" "$3"
		check "$1, $3: watched, status" status_is $expected
		check "$1, $3: no change was missed" watched "$6"
	done
	try $run -- "$2" signals
	check "$1: no signal is lost, in order" status_is 0
	check "$1, signals: mirrored" counts 2 0
	try $run -- "$2" stop
	check "$1: stopped and continued" status_is 0
	check "$1, stop: mirrored" counts 2 0
}

family dynamic "$family"
if ${CC-gcc} -static -O2 -D_GNU_SOURCE -pthread -o "$TMP/static" \
	tests/cli/family.c 2>/dev/null; then
	family static "$TMP/static"
else
	echo "skip static programs: no static libc"
fi
if [ -x "$O/cli/goroutines" ]; then
	try $run --verify -- "$O/cli/goroutines" 3
	check "Go: runs as ever" status_is 0
	check "Go: output" has out done
	check "Go: mirrored, with its child" counts 2 0
	check "Go: the device worked" [ "$(json "$TMP/json" faults)" -gt 0 ]
	try "$HMM" watch -o "$TMP/lines" -- "$O/cli/goroutines" 3
	check "Go: watched, status" status_is 0
	check "Go: each unmapping is a line" \
		sh -c '[ $(grep -cE " unmap .* 1 MiB " '"$TMP/lines"') -ge 3 ]'
else
	echo "skip Go: no Go compiler was there"
fi

try $run -- sh -c "$change 1 | cat | wc -l; (exit 3)"
check "a pipeline: output" [ "$(cat "$TMP/out")" = 1 ]
check "a pipeline: status" status_is 3
check "a pipeline: each process was mirrored" counts 5 3
try $run -- sh -c 'i=0; while [ $i != 40 ]; do /bin/true; i=$((i + 1)); done'
check "many short ones: each was mirrored" \
	[ "$(json "$TMP/json" mirrored) $(json "$TMP/json" too_short)" = "41 0" ]

# ---- Nothing is to be noticed -----------------------------------------------------

# same NAME COMMAND...: prints what it prints without
same()
{
	name=$1
	shift
	try "$@"
	mv "$TMP/out" "$TMP/bare"
	try $run -- "$@"
	check "$name" cmp "$TMP/out" "$TMP/bare"
}

same "the environment is its own" env
same "signals are as before" env --ignore-signal=CHLD \
	grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status
same "limits are as before" cat /proc/self/limits
same "descriptors are its own" sh -c 'ls /proc/$$/fd'
# At random addresses two mappings are next to each other, and one, at times.
same "nothing is mapped, no thread is made" setarch -R \
	sh -c 'sed "s/.* //" /proc/$$/maps; ls /proc/$$/task | wc -l'
for sig in SEGV TERM KILL ABRT; do
	try $run -- sh -c "kill -$sig \$\$"
	check "SIG$sig: status" status_is $((128 + $(kill -l "$sig" 2>/dev/null ||
		bash -c "kill -l $sig")))
done
try env --ignore-signal=CHLD $run -- "$change" 1
check "SIGCHLD is ignored: status" status_is 7

# ---- The command is interrupted, or dies ----------------------------------------

# start COMMAND...: $hmm leads a process group; it and nobody ignores SIGINT.
# Until it has done something, which the device has seen.
start()
{
	: >"$TMP/out"
	setsid env --default-signal=INT $run -- "$@" >"$TMP/out" 2>"$TMP/err" &
	hmm=$!
	await has_lines 3 "$TMP/out"
}

start "$change" 40
kill -INT -"$hmm"
wait "$hmm"
check "interrupted: status" [ $? = 130 ]
check "interrupted: the numbers are kept" [ "$(json "$TMP/json" faults)" -gt 0 ]
start "$change" 40
kill "$hmm"
wait "$hmm"
check "SIGTERM is handed on: status" [ $? = 143 ]
start "$change" 6
kill -STOP -"$hmm"
sleep 0.5
kill -CONT -"$hmm"
wait "$hmm"
check "all are stopped and go on: status" [ $? = 7 ]
check "all are stopped and go on: output" [ "$(wc -l <"$TMP/out")" = 6 ]
start sh -c "$change 6; echo end"
kill -KILL "$hmm"
await grep -q end "$TMP/out"
check "hmm is killed: the others go on" has out end
check "hmm is killed: they are not harmed" [ "$(wc -l <"$TMP/out")" = 7 ]

try $run -- sh -c "$family orphan $TMP/go >$TMP/orphan"
check "a process that lives on: status" status_is 0
check "a process that lives on: said" \
	[ "$(json "$TMP/json" still_running)" = 1 ]
touch "$TMP/go"
await grep -q alive "$TMP/orphan"
check "a process that lives on is not harmed" grep -q alive "$TMP/orphan"

# ---- What can't be traced ----------------------------------------------------------

try $run -- "$tracer"
check "a program that traces: runs as ever" status_is 7
check "a program that traces: mirrored, with its child" counts 2 0
check "a program that traces: said" has "$TMP/json" "tracer may use ptrace"
try "$HMM" watch -o "$TMP/lines" -- "$tracer"
check "a program that traces, watched: said" has err "tracer may use ptrace"
try "$tracer" "$HMM" run -- "$change" 3
check "traced already: runs as ever" status_is 7
check "traced already: said, and mirrored with an agent" has err \
	"can't be traced" "preloads" "processes mirrored      1"
if command -v gdb >/dev/null; then
	try $run -- gdb -batch -nx -ex run /bin/true
	check "gdb works" has out "exited normally"
else
	echo "skip gdb: not installed"
fi
if [ "$(id -u)" = 0 ]; then
	as_nobody_dir
	cp /usr/bin/id "$TMP/nobody/suid"
	chmod 4755 "$TMP/nobody/suid"
	try ${NOBODY% --no-new-privs} "$NOBODY_HMM" run -- \
		sh -c "$TMP/nobody/suid -u; :"
	check "a set-user-ID child: without its rights" has out 65534
	check "a set-user-ID child: said" \
		has err "suid is set-user-ID, and ran without those rights"
	# Who may not read a program may not look at its memory.
	cp "$change" "$TMP/nobody/secret"
	chmod 711 "$TMP/nobody/secret"
	try $NOBODY "$NOBODY_HMM" run -- sh -c "$TMP/nobody/secret 1; exit 4"
	check "no permission to look: it runs" status_is 4
	check "no permission to look: output" has out 123400000000
	check "no permission to look: why" has err "could not be mirrored   1:" \
		CAP_SYS_PTRACE
else
	echo "skip set-user-ID, and another user: not root"
fi
exit $bad
