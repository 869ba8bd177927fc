# SPDX-License-Identifier: MIT OR GPL-2.0
#
# run.sh PROGRAM [-q] [SCENARIO...] - all scenarios with all sources, at the same time
#
# Most of it is waiting: the kernel takes its time to attach and to let go.
set -u
program=$1
shift
quick=
[ "${1-}" != -q ] || { quick=-q; shift; }
[ $# != 0 ] || set -- $("$program")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rc=0

for source in kvm uffd; do
	for scenario; do
		"$program" $quick $source "$scenario" \
			>"$tmp/$scenario-$source" 2>&1 &
		echo $! >"$tmp/$scenario-$source.pid"
	done
done
for source in kvm uffd; do
	for scenario; do
		name=$scenario-$source
		wait "$(cat "$tmp/$name.pid")" || {
			rc=1
			grep -q '^not ok' "$tmp/$name" ||
				echo "not ok $name: exit status"
		}
		grep -v '^failed ' "$tmp/$name"
	done
done
echo "Made to fail:"
awk '/^failed / { n[$2] += $3 } END { for (f in n) print "   " f, n[f] }' \
	"$tmp"/* | sort
exit $rc
