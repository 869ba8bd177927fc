# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The core compiles unchanged for the kernel, and what it then needs is
# supplied by a host (hmm_host_*) or exported by the kernel to modules.
set -u

kernel=$(ls -d /lib/modules/*/build 2>/dev/null | sort -V | tail -n 1)
if [ ! -f "$kernel/Module.symvers" ]; then
	echo "no kernel headers in /lib/modules; install linux-headers-amd64"
	exit 77
fi
$MAKE O="$O" KERNEL="$kernel" kernel-compile || exit 1

# What the compiler and the linker supply, whatever is compiled.
builtin='^(__fentry__|__x86_return_thunk|__stack_chk_fail|__x86_indirect_.*)$'
nm -u "$O/kernel/hmm_core.o" | awk '{print $2}' |
	grep -Ev "$builtin|^hmm_host_" |
	while read -r symbol; do
		awk -v s="$symbol" '$2 == s { found = 1 } END { exit !found }' \
			"$kernel/Module.symvers" ||
			echo "needs $symbol, which no module gets"
	done >"$O/kernel/missing"
cat "$O/kernel/missing"
[ ! -s "$O/kernel/missing" ]
