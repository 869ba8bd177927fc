# SPDX-License-Identifier: MIT OR GPL-2.0
# hmm info, and the command's own usage
. tests/cli/common

try "$HMM"
check "no command: usage, status 2" sh -c '[ '$status' = 2 ] && [ ! -s '"$TMP/out"' ]'
try "$HMM" nonsense
check "an unknown command: status 2" status_is 2
check "an unknown command is named" has err "'nonsense'" "hmm --help"
try "$HMM" --version
check "--version" has out "hmm 0."
for command in info run watch snapshot; do
	try "$HMM" $command --help
	check "$command --help: on stdout, status 0" has out "Usage: hmm $command"
	try "$HMM" $command --nonsense
	check "$command: an unknown option has status 2" status_is 2
done

try "$HMM" info
check "info: status 0" status_is 0
check "info: the sources and what they miss" \
	has out "kvm " "uffd " "level 2" "level 1" "does not see: nothing" \
	"does not see: mprotect"
check "info: the limits" has out "ulimit -n" "ulimit -l" "vm.max_map_count" \
	"userfaultfd" "CAP_SYS_ADMIN" "CAP_BPF"
for args in info "info --json" "snapshot $$" "snapshot $$ --json" --help; do
	"$HMM" $args >/dev/full 2>"$TMP/err"
	status=$?
	check "$args, to a full disk: status 1" status_is 1
	check "$args, to a full disk: said" \
		has err "can't write all of the output"
done
try "$HMM" info extra
check "info: an operand has status 2" status_is 2
try "$HMM" info --json
check "info --json" has out '"sources":[' '"name":"kvm"' '"misses":' '"limits":{'
try env HMM_SOURCE=nonsense "$HMM" info
check "info: an HMM_SOURCE that does not exist is said" \
	has out "HMM_SOURCE=nonsense"
check "info: and none is used" lacks out "<- used"
if sources | grep -qx uffd; then
	try env HMM_SOURCE=uffd "$HMM" info
	check "info: HMM_SOURCE chooses" \
		sh -c 'grep "^  uffd.*<- used" '"$TMP/out"
fi

if [ "$(id -u)" = 0 ]; then
	if unshare -m mount -t tmpfs none /proc 2>/dev/null; then
		try unshare -m sh -c 'mount -t tmpfs none /proc && exec "$@"' \
			sh "$HMM" info
		check "info without /proc: what is missing" \
			has out "no /proc/self/pagemap" "mount /proc"
	else
		echo "skip info without /proc: mounting is not permitted"
	fi
	as_nobody_dir
	try $NOBODY "$NOBODY_HMM" info
	if [ -e /dev/kvm ]; then
		check "info as nobody: why there is no kvm, and what to do" \
			has out "not available: /dev/kvm" "CAP_BPF"
	else
		echo "skip info as nobody, of kvm: no /dev/kvm"
	fi
	check "info as nobody: no privileges" \
		sh -c 'grep "CAP_SYS_ADMIN  *no" '"$TMP/out"
else
	echo "skip info as nobody: not root"
fi
exit $bad
