# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The man pages format without a warning, and every public function has one.
set -u
ret=0
command -v man >/dev/null || { echo "no man; install man-db"; exit 77; }

for page in man/*.[1-8]; do
	if grep -q '^\.so ' "$page"; then
		to=man/$(sed -n 's|^\.so man3/||p' "$page")
		[ -f "$to" ] || { echo "$page: no $to"; ret=1; }
		continue
	fi
	out=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l -Tutf8 -Z "$page" \
		2>&1 >/dev/null)
	[ -z "$out" ] || { echo "$page: $out"; ret=1; }
done
for symbol in $(sed -n 's/^\t\([a-z_]*\);$/\1/p' libhmm.map) \
	hmm_range_valid hmm_vma_range_done hmm_pfn_to_pfn; do
	[ "$symbol" = hmm_range_recheck ] && continue
	[ -f "man/$symbol.3" ] || { echo "no man/$symbol.3"; ret=1; }
done
exit $ret
