#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# lint.sh - format, clang's warnings, cppcheck, clang-tidy; all, then a verdict
set -u
cd "$(dirname "$0")/.." || exit 1
O=${O-build}
MAKE=${MAKE-make}
JOBS=$(nproc)
failed=

step()
{
	echo "== $1"
	shift
	"$@" || failed="$failed $1"
}

code=$(find include core host device tools examples tests bench -name '*.[ch]' | sort)
# What is analysed is what is installed, as the user's compiler sees it: not the
# kernel's side, not BPF programs.  Tests are run, with sanitizers.
user=$(echo "$code" | grep '\.c$' |
	grep -v -e '/kernel/' -e '\.bpf\.c$' -e '^tests/' -e '^bench/')
flags="-std=gnu11 -D_GNU_SOURCE -Iinclude -Icore -Ihost/user -Idevice -Itests
	-I$O/gen"

format()
{
	clang-format --dry-run -Werror $code
}

clang_warnings()
{
	$MAKE -j"$JOBS" O="$O/clang" CC=clang all tests >"$O/clang.log" 2>&1 ||
		{ cat "$O/clang.log"; return 1; }
}

cpp_check()
{
	cppcheck --quiet -j"$JOBS" --std=c11 --error-exitcode=1 --inline-suppr \
		--enable=warning,portability,performance \
		--suppress=missingIncludeSystem --suppress=unknownMacro \
		--suppress=comparePointers --suppress=objectIndex \
		-D__x86_64__ -D__linux__ \
		-Iinclude -Icore -Ihost/user -Idevice $user
}

clang_tidy()
{
	$MAKE O="$O" gen >/dev/null || return
	echo "$user" | xargs -P "$JOBS" -n 4 sh -c \
		'flags=$1; shift; clang-tidy --quiet "$@" -- $flags 2>/dev/null' \
		clang-tidy "$flags"
}

scripts()
{
	for script in scripts/*.sh tests/*/*.sh .ci/run; do
		[ ! -f "$script" ] || sh -n "$script" || return 1
	done
}

mkdir -p "$O"
step "clang-format" format
step "clang -Wall -Wextra" clang_warnings
step "cppcheck" cpp_check
step "clang-tidy" clang_tidy
step "sh -n" scripts

if [ -n "$failed" ]; then
	echo "lint: failed:$failed"
	exit 1
fi
echo "lint: clean"
