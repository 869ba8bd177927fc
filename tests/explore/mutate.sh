#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# mutate.sh - apply one mutation to a copy of the file that it names, and see
# that the explorer finds what it breaks
#
#	mutate.sh mutations/NAME.sed
#
# A mutation is a sed script.  Its first lines are comments:
#	# file: core/NAME.c
#	# explorer: native (the default)
#	# opens: what is wrong then
set -u
XO=${XO:?} CC=${CC:?} CFLAGS=${CFLAGS:?}
script=$1
name=$(basename "$script" .sed)
tag()
{
	sed -n "s/^# $1: //p" "$script"
}
file=$(tag file)
explorer=$(tag explorer)
explorer=${explorer:-native}
dir=$XO/mutants/$name

mkdir -p "$dir"
sed -f "$script" "$file" >"$dir/$(basename "$file")"
if cmp -s "$file" "$dir/$(basename "$file")"; then
	echo "DOES NOT APPLY: $name to $file"
	exit 1
fi
others=$(tr ' ' '\n' <"$XO/$explorer.objs" | grep -v "/${file%.c}\.o\$")
# What is left unused by a mutant is not the point.
if ! $CC $CFLAGS -O1 -g0 -w -c -o "$dir/mutant.o" \
	"$dir/$(basename "$file")" ||
	! $CC -o "$dir/explorer" $others "$dir/mutant.o"; then
	echo "DOES NOT BUILD: $name"
	exit 1
fi
if "$dir/explorer" --bound 2 --expect "" >"$dir/log"; then
	echo "killed: $name ($(tag opens))"
	echo "        $(cat "$dir/log")"
	rm -rf "$dir"
	exit 0
fi
echo "SURVIVES: $name ($(tag opens))"
exit 1
