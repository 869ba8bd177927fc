#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# run-tests.sh [PATTERN] - build and run all tests, or those that match
#
# A test is a program of tests/unit (cmocka), a script of tests/cli or
# tests/tree, or a suite of its own (tests/NAME/NAME.mk, target NAME-check).
#
# A unit test runs once for each source that is available, once as nobody, and
# under the sanitizers.  A line " * check: WORDS" in its head comment says
# otherwise:
#	once		it attaches to nothing: one run is as good as six
#	kvm, uffd	only with this source
#	root		not as nobody
#	no-asan, no-tsan
#	timeout=SECONDS	instead of 60, on an idle machine
#
# A script exits 0, or 77 to be skipped with its last line as the reason; or it
# prints "ok NAME", "not ok NAME" and "skip NAME: REASON" for each case.
#
# The watchdog prints the stacks of what does not end in time, and kills it.
# It is patient, since the machine may be slow, or busy with something else.
set -u
# What the user's shell has must not be what is tested.
export LC_ALL=C
umask 022
unset HMM_SOURCE HMM_LOG HMM_TEST_SLOW LD_PRELOAD SOURCES SEED SLOW
cd "$(dirname "$0")/.." || exit 1

PATTERN=${1-.}
O=${O-build}
MAKE=${MAKE-make}
JOBS=$(nproc)
LOGS=$O/logs
NOBODY=65534
PATIENCE=10
passed=0 failed=0 skipped=0

rm -rf "$LOGS"
mkdir -p "$LOGS"
# Where nobody can reach it, whoever owns the tree.
TMP=$(mktemp -d /tmp/hmm-check.XXXXXX)
chmod 755 "$TMP"
trap 'rm -rf "$TMP"' EXIT
trap 'exit 130' INT TERM

# ---- One test ---------------------------------------------------------------

stacks()
{
	command -v gdb >/dev/null || return
	for pid in $(ps -o pid= -g "$1"); do
		echo "watchdog: process $pid, $(cat /proc/"$pid"/comm)"
		timeout 20 gdb -p "$pid" -batch -nx -ex 'thread apply all bt' \
			2>&1 </dev/null | grep -v '^\[New LWP'
	done
}

# watchdog GROUP SECONDS FILE: as long as FILE is there.  It leaves by itself: a
# shell may miss a signal that comes just before it waits.
watchdog()
{
	for second in $(seq "$2"); do
		sleep 1
		[ -e "$3" ] || return
	done
	echo "watchdog: not done after $2 s"
	stacks "$1"
	kill -KILL "-$1"
}

# limited SECONDS LOG COMMAND...: in a process group of its own
limited()
{
	limit_s=$1 limit_log=$2
	shift 2
	setsid "$@" >"$limit_log" 2>&1 </dev/null &
	group=$!
	: >"$TMP/$group.runs"
	watchdog "$group" "$limit_s" "$TMP/$group.runs" >>"$limit_log" 2>&1 &
	wait "$group"
	rc=$?
	rm -f "$TMP/$group.runs"
	# Whatever it left behind has nothing to do there.
	kill -KILL "-$group" 2>/dev/null
	return "$rc"
}

# Read a log, print "passed failed skipped", then "fail NAME", "skip NAME: WHY".
count()
{
	awk -v rc="$2" '
	function result(what) {
		if (what == "pass") p++
		if (what == "fail") list = list "fail " name "\n"
		if (what == "fail") f++
		if (what == "skip") {
			sub(/^ *(skip(ped)?: *)?/, "", why)
			skip[s++] = name ": " why
			if (s > 1 && why != all) same = 0
			all = why
		}
		name = ""
	}
	BEGIN		   { same = 1 }
	/^\[ RUN      \]/  { if (name) result("fail"); name = $4
			     why = "no reason given"; next }
	/^\[       OK \]/  { if (name) result("pass"); next }
	/^\[  SKIPPED \]/  { if (name) result("skip"); next }
	/^\[  (FAILED|ERROR ) / { if (name) result("fail"); next }
	# Skipped by the test'"'"'s setup, which cmocka takes for an error.
	/^Could not run test: .*Skipped!$/ { if (name) { result("skip"); rc-- }
			     next }
	/^ok /		   { name = substr($0, 4); result("pass"); next }
	/^not ok /	   { name = substr($0, 8); result("fail"); next }
	/^skip [^:]*: /    { i = index($0, ": ")
			     name = substr($0, 6, i - 6)
			     why = substr($0, i + 2); result("skip"); next }
	NF		   { why = last = $0 }
	END {
		if (name) result("fail")
		if (rc == 77 && !p && !f && !s) {
			name = "all"; why = last; result("skip")
		} else if (rc != 0 && !f) {
			name = "exit status " rc; result("fail")
		} else if (!p && !f && !s) {
			p++
		}
		printf "%d %d %d\n%s", p, f, s, list
		if (s > 1 && same && !p && !f) {
			print "skip all " s ": " all
			s = 0
		}
		for (i = 0; i < s; i++) print "skip " skip[i]
	}' "$1"
}

# around CASE LOG: what it printed up to its verdict, or all
around()
{
	awk -v name="$1" '
	/^\[ RUN      \]/ { text = "" }
	{ text = text $0 "\n" }
	$0 == "not ok " name { exit }
	/^\[  (FAILED|ERROR )/ && $4 == name { exit }
	/^(ok|skip|not ok) / { text = "" }
	END { printf "%s", text }' "$2"
}

# run NAME SECONDS COMMAND...
run()
{
	name=$1 run_s=$2
	shift 2
	echo "$name" | grep -q -e "$PATTERN" || return 0
	log=$LOGS/$(echo "$name" | tr ' /' '--').log
	run_began=$(date +%s)
	limited "$run_s" "$log" "$@"
	count "$log" $? >"$TMP/count"
	read -r p f s <"$TMP/count"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	verdict=ok
	[ "$s" = 0 ] || verdict="ok, $s skipped"
	[ "$p" != 0 ] || verdict=skipped
	[ "$f" = 0 ] || verdict=FAILED
	printf '%-48s %4d s  %s\n' "$name" $(($(date +%s) - run_began)) \
		"$verdict"
	[ "$f" = 0 ] || sed 's/^/    /' "$log" | tail -n 100
	sed -n "s|^fail ||p" "$TMP/count" | while read -r case; do
		echo "  $name: $case"
		around "$case" "$log" | tail -n 20 | sed 's/^/    | /'
	done >>"$LOGS/failed"
	sed -n "s|^skip |  $name: |p" "$TMP/count" >>"$LOGS/skipped"
}

# What can't even be built fails as one test.
build()
{
	if $MAKE -j"$JOBS" "$@" >"$LOGS/build.log" 2>&1; then
		return 0
	fi
	echo "make $*: FAILED"
	sed 's/^/    /' "$LOGS/build.log" | tail -n 60
	failed=$((failed + 1))
	echo "  make $*" >>"$LOGS/failed"
	return 1
}

# ---- Unit tests -------------------------------------------------------------

# words TEST: the rest of its "check:" line
words()
{
	sed -n 's|^ \* check: ||p' "tests/unit/$1.c"
}

has()
{
	case " $(words "$1") " in *" $2 "*) return 0 ;; esac
	return 1
}

# sources TEST: those to run it with
sources()
{
	if has "$1" once; then
		echo any
	elif has "$1" kvm; then
		echo kvm
	elif has "$1" uffd; then
		echo uffd
	else
		echo kvm uffd
	fi
}

limit()
{
	seconds=$(words "$1" | sed -n 's/.*timeout=\([0-9]*\).*/\1/p')
	echo $((${seconds:-60} * PATIENCE * ${2-1}))
}

as_nobody()
{
	echo setpriv --reuid "$NOBODY" --regid "$NOBODY" --clear-groups \
		--inh-caps=-all --bounding-set=-all env HOME="$TMP/nobody" \
		TMPDIR="$TMP/nobody"
}

unit_tests()
{
	for program in "$O"/tests/*; do
		test=$(basename "$program")
		[ -f "tests/unit/$test.c" ] || continue
		for source in $(sources "$test"); do
			[ "$source" = any ] && set -- || set -- HMM_SOURCE="$source"
			run "$test${1+ $source}" "$(limit "$test")" \
				env "$@" "$program"
		done
	done
}

unit_tests_as_nobody()
{
	[ "$(id -u)" = 0 ] || return
	mkdir -p "$TMP/nobody"
	chmod 777 "$TMP/nobody"
	for program in "$O"/tests/*; do
		test=$(basename "$program")
		[ -f "tests/unit/$test.c" ] || continue
		if has "$test" once || has "$test" root; then
			continue
		fi
		cp "$program" "$TMP"
		chmod 755 "$TMP/$test"
		run "$test as nobody" "$(limit "$test")" \
			$(as_nobody) "$TMP/$test"
	done
}

# The sanitizers' own maps don't stand every layout: no randomisation.
unit_tests_sanitized()
{
	for program in "$O/$1"/tests/*; do
		test=$(basename "$program")
		[ -f "tests/unit/$test.c" ] || continue
		has "$test" "no-$1" && continue
		for source in $(sources "$test"); do
			[ "$source" = any ] && set -- "$1" ||
				set -- "$1" HMM_SOURCE="$source"
			run "$test${2+ $source} $1" "$(limit "$test" 3)" env \
				ASAN_OPTIONS=detect_stack_use_after_return=1 \
				LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp print_suppressions=0" \
				UBSAN_OPTIONS=print_stacktrace=1 \
				TSAN_OPTIONS="die_after_fork=0 second_deadlock_stack=1 suppressions=$PWD/tests/tsan.supp" \
				${2+"$2"} setarch -R "$program"
		done
	done
}

# ---- All of them ------------------------------------------------------------

began=$(date +%s)

build O="$O" all tests && {
	unit_tests
	unit_tests_as_nobody
	for script in tests/cli/*.sh; do
		[ -f "$script" ] &&
			run "${script#tests/}" $((120 * PATIENCE)) \
				env O="$O" sh "$script"
	done
}
for script in tests/tree/*.sh; do
	run "${script#tests/}" $((120 * PATIENCE)) \
		env O="$O" MAKE="$MAKE" sh "$script"
done
for suite in tests/*/*.mk; do
	[ -f "$suite" ] || continue
	target=$(basename "$suite" .mk)-check
	run "$target" $((1800 * PATIENCE)) "$MAKE" O="$O" "$target"
done
for san in asan tsan; do
	build O="$O/$san" SAN=$san tests && unit_tests_sanitized $san
done

echo
if [ -s "$LOGS/skipped" ]; then
	echo "Skipped, and why:"
	cat "$LOGS/skipped"
fi
if [ -s "$LOGS/failed" ]; then
	echo "Failed:"
	cat "$LOGS/failed"
fi
echo "Took $(($(date +%s) - began)) s; the logs are in $LOGS"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
