#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# self_test.sh O - in the guest: upstream's self-test of HMM, case by case
#
# Its cases run on devices 0 and 1 ("private"), which have memory if the kernel
# has private device memory, and on 2 and 3 ("coherent") if there is hidden
# memory for them.
# Exit status 77: the test could not be built.
set -u
test=$1/qemu/hmm-tests/hmm-tests
[ -x "$test" ] || {
	echo "the kernel's source can't be had here"
	exit 77
}

# Some cases want exactly one fault, while khugepaged moves pages where it likes;
# those that want huge pages ask for them.
thp=/sys/kernel/mm/transparent_hugepage/enabled
was=$(sed 's/.*\[\(.*\)\].*/\1/' $thp)
echo madvise >$thp

# What a failed assertion says it says for ever.
timeout $((60 * HMM_TEST_SLOW)) "$test" 2>&1 | uniq >self-test.log
sed 's|^|# |' self-test.log
echo "$was" >$thp

# What the kernel has no way to do it does not export either.
knows()
{
	grep -q " $1\$" /proc/kallsyms && echo yes
}
# Whatever its name was, it comes with private device memory.
awk -v exclusive="$(knows make_device_exclusive)" \
	-v private="$(knows 'make_device_exclusive.*')" '
# Why a case may fail; "" if it may not.
function excuse(name) {
	if (name ~ /\.exclusive/ && !exclusive)
		return "this kernel exports no make_device_exclusive()"
	if (name ~ /^private\.(migrate|snapshot|double_map|hmm_cow_in_device|hmm_gup_test)/ && !private)
		return "this kernel has no private device memory"
}
function result(passed,   why) {
	why = passed ? skipped : excuse(name)
	if (why)
		print "skip hmm-tests " name ": " why
	else
		print (passed ? "ok" : "not ok") " hmm-tests " name
	n++
}
/^1\.\./	{ planned = substr($0, 4) }
/^#  RUN/	{ name = $3
		  sub(/^hmm2?\.hmm2?_device_/, "", name)
		  skipped = "" }
/^# +SKIP/	{ skipped = $0
		  sub(/^# +SKIP +/, "", skipped) }
/^ok/		{ result(1) }
/^not ok/	{ result(0) }
END		{ print (n && n == planned ? "ok" : "not ok") \
			" hmm-tests: " n " of " planned " cases ended" }
' self-test.log
