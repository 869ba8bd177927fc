#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# broken.sh COMMAND... - in the guest: must find something stale, because what
# it runs with leaves something out.  It takes luck, and the more the slower the
# machine is.
for try in 1 2 3 4 5 6 7 8 9 10; do
	"$@" >broken.log 2>&1
	rc=$?
	grep -v '^STALE' broken.log | tail -n 3
	[ $rc = 1 ] && grep -q '^STALE' broken.log || continue
	echo "ok finds what is stale"
	exit
done
echo "not ok finds what is stale"
