# SPDX-License-Identifier: MIT OR GPL-2.0
#
# check.sh OBJECT - the list says of every function that the library calls
# whether it is made to fail, and of no other
set -eu
tmp=$(dirname "$1")

nm -u "$1" | awk '{ sub("^__wrap_", "", $NF); print $NF }' | sort -u \
	>"$tmp/undefined"
awk '!/^#/ && NF { print $1 }' tests/inject/calls.list | sort >"$tmp/listed"
awk '!/^#/ && NF == 1 || $2 == "ok" && NF < 3 { print "no reason: " $1; bad = 1 }
	END { exit bad }' tests/inject/calls.list
# "<" is called and not listed: give it a line, and a wrapper in wrap.c.
if diff "$tmp/undefined" "$tmp/listed"; then
	echo "ok symbols"
else
	echo "not ok symbols"
	exit 1
fi
