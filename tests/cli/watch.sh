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

for source in $available; do
	try "$HMM" watch --source $source -o "$TMP/lines" -- "$change" 4
	check "$source: exit status" status_is 7
	check "$source: output" [ "$(wc -l <"$TMP/out")" = 4 ]
	check "$source: each unmapping is a line, with its time" \
		sh -c '[ $(grep -cE "unmap +123400000000-123400100000 +1 MiB +[0-9.]+ [mun]?s  \[anonymous\]" '"$TMP/lines"') -ge 2 ]'
	check "$source: what it is worth" has err "changes shown" "0 dropped" \
		"source $source"

	try "$HMM" watch --source $source --json -o "$TMP/lines" -- "$change" 4
	check "$source: json" has "$TMP/lines" '"kind":"unmap"' \
		'"start":"0x123400000000"' '"stable_after_ns":'
done
exit $bad
