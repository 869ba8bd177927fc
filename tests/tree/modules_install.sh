# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The installed module is found by modprobe once depmod has run; uninstall leaves
# nothing of ours.
set -eu
ret=77
tmp=$(mktemp -d /tmp/hmm-modules.XXXXXX)
trap 'rm -rf "$tmp"' EXIT

for kernel in /lib/modules/*/build; do
	[ -f "$kernel/Module.symvers" ] || continue
	ret=0
	release=$(basename "$(dirname "$kernel")")
	install()
	{
		$MAKE O="$O" KERNEL="$kernel" MODULES="$O/modules-$release" \
			DESTDIR="$tmp" "$1"
	}

	install modules_install
	depmod -b "$tmp" "$release"
	modprobe -d "$tmp" -S "$release" --show-depends hmm |
		grep -q '/hmm\.ko'
	install modules_uninstall
	left=$(find "$tmp" ! -type d ! -path '*/modules.*')
	if [ -n "$left" ]; then
		echo "left behind: $left"
		exit 1
	fi
done
[ $ret != 77 ] ||
	echo "no kernel headers in /lib/modules; install linux-headers-amd64"
exit $ret
