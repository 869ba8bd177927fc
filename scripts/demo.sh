#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# demo.sh - run real programs while a software device uses their memory
#
# None of them knows: sqlite3 builds and queries a database, sort sorts a file
# with threads, make compiles a copy of this project.  The device's translations
# are compared with the kernel's page table all along.  The tables come at the
# end, the reports are left in $O/demo.
set -eu
cd "$(dirname "$0")/.."
O=${O-build}
HMM=$O/hmm
DEMO=$O/demo
JOBS=$(nproc)
failed=

[ -x "$HMM" ] || { echo "$HMM is not built: run make demo"; exit 1; }
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$DEMO"
mkdir -p "$DEMO"

if [ "$(id -u)" != 0 ]; then
	echo "As an ordinary user: source uffd, which sees what munmap," \
		"mremap, brk and madvise do to mapped addresses, and no more;" \
		"translations are checked for presence. As root: everything."
fi

# mirror NAME COMMAND...
mirror()
{
	name=$1
	shift
	echo "== $*"
	start=$(date +%s)
	if ! "$HMM" run --verify --report "$DEMO/$name.html" \
		-o "$DEMO/$name.txt" -- "$@" >"$DEMO/$name.log" 2>"$TMP/err"
	then
		echo "   failed:"
		tail -n 5 "$DEMO/$name.log" "$TMP/err"
		failed="$failed $name"
		return
	fi
	stale=$(sed -n 's/^  stale translations used *//p' "$DEMO/$name.txt")
	echo "   done in $(($(date +%s) - start)) s," \
		"stale translations used: ${stale:-not known}"
	case $stale in
	0*) ;;
	*)	# Only a source that sees everything promises none.
		! grep -q '^  source .*level [23]' "$DEMO/$name.txt" ||
			failed="$failed $name" ;;
	esac
}

# ---- sqlite3 ----------------------------------------------------------------

cat >"$TMP/demo.sql" <<'SQL'
PRAGMA cache_size = -65536;
CREATE TABLE sample(id INTEGER PRIMARY KEY, name TEXT, value REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
	INSERT INTO sample SELECT i, hex(randomblob(20)), random() / 1e9 FROM n;
CREATE INDEX by_name ON sample(name);
CREATE INDEX by_value ON sample(value);
SELECT count(*), min(name) FROM sample WHERE name LIKE 'A%';
SELECT count(*) FROM sample a JOIN sample b ON b.id = a.id + 1
	WHERE a.value < b.value;
DELETE FROM sample WHERE id % 3 = 0;
VACUUM;
SELECT sum(length(name)) FROM (SELECT name FROM sample ORDER BY value, name);
SQL
mirror sqlite3 sqlite3 "$TMP/demo.db" ".read $TMP/demo.sql"

# ---- sort -------------------------------------------------------------------

awk 'BEGIN { srand(1); for (i = 0; i < 1500000; i++)
	printf "%d %d\n", rand() * 1e9, i }' >"$TMP/numbers"
mirror sort sort --parallel="$JOBS" --buffer-size=64M -k1,1n -k2,2 \
	-T "$TMP" -o "$TMP/sorted" "$TMP/numbers"
sort -c -k1,1n -k2,2 "$TMP/sorted" || failed="$failed sorted"

# ---- This project -----------------------------------------------------------

mkdir "$TMP/hmm"
tar -cf - --exclude=./build --exclude=./.git --exclude="./$O" . |
	tar -xf - -C "$TMP/hmm"
mirror make env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O \
	make -C "$TMP/hmm" -j"$JOBS" all

# -----------------------------------------------------------------------------

for name in sqlite3 sort make; do
	cat "$DEMO/$name.txt"
done
echo "Open the reports in a browser:" "$DEMO"/*.html
if [ -n "$failed" ]; then
	echo "demo: failed:$failed"
	exit 1
fi
