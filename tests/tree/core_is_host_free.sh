# SPDX-License-Identifier: MIT OR GPL-2.0
#
# core/ includes only its own headers, the public one and its host's port.h,
# knows no host by name, and calls no system.
set -u
ret=0

no()
{
	found=$(grep -nE "$1" core/*.[ch]) || return
	echo "$2:"
	echo "$found"
	ret=1
}

no '^[ 	]*#[ 	]*include[ 	]*<' 'a header of the system'
no '^[ 	]*#[ 	]*if(n?def)?.*(__KERNEL__|__linux__|_GNU_SOURCE)' \
	'the core asks where it is'
no '\b(malloc|calloc|realloc|free|printf|fprintf|memcpy|syscall|errno) ?[(=]' \
	'a function of libc'
exit $ret
