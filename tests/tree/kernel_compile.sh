# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The modules compile and link for the kernels whose headers are installed,
# the core unchanged and with no warning: kbuild fails on a symbol that modules
# don't get.
set -u
ret=77

for kernel in /lib/modules/*/build; do
	[ -f "$kernel/Module.symvers" ] || continue
	[ $ret != 77 ] || ret=0
	release=$(basename "$(dirname "$kernel")")
	$MAKE O="$O" KERNEL="$kernel" MODULES="$O/modules-$release" \
		KCFLAGS=-Werror modules ||
		ret=1
done
[ $ret != 77 ] ||
	echo "no kernel headers in /lib/modules; install linux-headers-amd64"
exit $ret
