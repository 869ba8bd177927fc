# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The examples do what they say, with each source that can be used here.
. tests/cli/common

driver()
{
	has out " is frame " "valid now: no" "forget 0x" ": unmap"
}

# Found again; and after the change never: the second is another registration.
cache()
{
	[ "$(grep -c '^send from 1$' "$TMP/out")" = 2 ] &&
		has out "register 1: 16 pages" "register 2: 16 pages" \
			"send from 2" "release 1" "release 2"
}

for source in $(sources); do
	export HMM_SOURCE="$source"
	patiently driver "$O/examples/minimal_driver"
	check "minimal_driver, $source" status_is 0
	check "minimal_driver, $source: frame, change, callback" driver
	patiently cache "$O/examples/registration_cache"
	check "registration_cache, $source" status_is 0
	check "registration_cache, $source: other memory, another one" cache
done
exit $bad
