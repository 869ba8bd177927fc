# SPDX-License-Identifier: MIT OR GPL-2.0
#
# calls.awk - the list of calls, for C (what=table) or for ld (what=wrap)
/^#/ || NF < 2 || $2 == "ok" { next }
what == "wrap" { printf "--wrap=%s ", $1; next }
{
	errors = ""
	for (i = 2; i <= NF && $2 != "count"; i++)
		errors = errors ", " $i
	printf "CALL(%s%s)\n", $1, errors
}
