# SPDX-License-Identifier: MIT OR GPL-2.0
#
# What the library shows is what libhmm.map says: no less (a function that was
# forgotten) and no more (a name that a program of the user's may have as well).
set -eu
tmp=$O/gen/symbols
mkdir -p "$tmp"

sed -n 's/^\t\([a-z_]*\);$/\1/p' libhmm.map | sort >"$tmp/map"
nm -D --defined-only "$O"/libhmm.so | awk '$2 != "A" { print $3 }' |
	sed 's/@.*//' | sort >"$tmp/so"
nm -g --defined-only "$O"/libhmm.a | awk 'NF == 3 { print $3 }' |
	sort >"$tmp/a"
# Every function of the public header that is not inline is in the map.
${CC-gcc} -E -P -Iinclude include/hmm.h | tr '\n' ' ' | tr ';{}' '\n\n\n' |
	grep -v -e 'static inline' -e '=' -e return |
	grep -oE '\b(hmm|mmap)_[a-z_]+ ?\([^()]*(\([^()]*\)[^()]*)*\) *$' |
	sed 's/ *(.*//' | sort -u >"$tmp/header"
diff -u "$tmp/map" "$tmp/so"
diff -u "$tmp/map" "$tmp/a"
diff -u "$tmp/map" "$tmp/header"
echo "$(wc -l <"$tmp/map") symbols"
