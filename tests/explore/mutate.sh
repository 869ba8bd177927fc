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
#	# explorer: native (the default) or user
#	# scenario: which ones to look at; all if there is no such line
#	# opens: what is wrong then
set -u
XO=${XO:?} CC=${CC:?} XCFLAGS=${XCFLAGS:?} XUSER=${XUSER:?} OBJCOPY=${OBJCOPY:?}
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
mutant=$dir/$(basename "$file")

original=$file
[ "$explorer" = native ] || XCFLAGS="$XUSER $XCFLAGS"
case $explorer:$file in
user:host/*)
	XCFLAGS="$XCFLAGS -include tests/explore/user_hooks.h"
	original=$XO/small/$file
	;;
user:core/*)
	original=$XO/small/$file
	;;
esac

# What is left unused by a mutant is not the point.
build()
{
	$CC $XCFLAGS -O1 -g0 -w -c -o "$dir/mutant.o" "$mutant" || return
	case $file in
	host/*)
		$OBJCOPY --set-section-flags .bss=alloc,load,contents \
			--rename-section .bss=explored \
			--rename-section .data=explored "$dir/mutant.o" ||
			return
	esac
	$CC -o "$dir/explorer" $(tr ' ' '\n' <"$XO/$explorer.objs" |
		grep -v "/${file%.c}\.o\$") "$dir/mutant.o"
}

mkdir -p "$dir"
sed -f "$script" "$original" >"$mutant"
if cmp -s "$original" "$mutant"; then
	echo "DOES NOT APPLY: $name to $file"
	exit 1
fi
if ! build; then
	echo "DOES NOT BUILD: $name"
	exit 1
fi
if "$dir/explorer" --bound 2 --expect "" $(tag scenario) >"$dir/log"; then
	printf 'killed: %s (%s)\n        %s\n' "$name" "$(tag opens)" \
		"$(cat "$dir/log")"
	rm -rf "$dir"
	exit 0
fi
echo "SURVIVES: $name ($(tag opens))"
exit 1
