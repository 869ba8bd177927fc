#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# A guest that never comes to its init is booted once more, and no other is.
# The machine here is a script, and says what the test wants.
set -u
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
bad=0

mkdir -p "$TMP/bin" "$TMP/6.1"
cat >"$TMP/bin/qemu-system-x86_64" <<END
#!/bin/sh
echo >>$TMP/boots
. $TMP/boot\$(wc -l <$TMP/boots)
END
chmod +x "$TMP/bin/qemu-system-x86_64"

# guest NAME BOOTS LINES FIRST SECOND: what it does when booted; BOOTS and LINES
# of "again" are what is expected
guest()
{
	rm -f "$TMP/boots"
	echo "$4" >"$TMP/boot1"
	echo "$5" >"$TMP/boot2"
	echo "exit 1" >"$TMP/boot3"
	PATH=$TMP/bin:$PATH EARLY=10 tests/qemu/boot.sh "$TMP" "$TMP/6.1" \
		"$TMP/out" >"$TMP/said"
	if [ "$(wc -l <"$TMP/boots")" = "$2" ] &&
		[ "$(grep -c '^again: 6.1 ' "$TMP/said")" = "$3" ] &&
		[ "$(wc -l <"$TMP/said")" = "$3" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		sed 's/^/# /' "$TMP/boots" "$TMP/said"
		bad=1
	fi
}

dies='echo "PANIC: double fault, error_code: 0x0"'
runs='echo "qemu: init"; echo fine'

guest "runs: once" 1 0 "$runs" "$runs"
guest "dies early: twice" 2 1 "$dies" "$runs"
guest "hangs early: twice" 2 1 "exec sleep 600" "$runs"
guest "dies early each time: twice" 2 1 "$dies" "$dies"
guest "dies later: once" 1 0 "$runs; $dies" "$runs"
guest "fails later: once" 1 0 "$runs; exit 1" "$runs"
guest "takes longer than to init: once" 1 0 "$runs; sleep 12" "$runs"
exit $bad
