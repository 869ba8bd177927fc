# SPDX-License-Identifier: MIT OR GPL-2.0
#
# dkms adds, builds, installs and removes what "make dkms-install" puts there;
# in a tree and with a key of the test's own.
set -eu
command -v dkms >/dev/null || { echo "no dkms"; exit 77; }

tmp=$(mktemp -d /tmp/hmm-dkms.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
$MAKE -s DESTDIR="$tmp/dest" dkms-install
source=$(echo "$tmp"/dest/usr/src/hmm-*)
module=hmm/${source##*/hmm-}

export mok_signing_key="$tmp/mok.key" mok_certificate="$tmp/mok.pub"
mkdir "$tmp/tree"
in_tmp()
{
	command=$1
	shift
	dkms "$command" --dkmstree "$tmp/tree" \
		--sourcetree "$tmp/dest/usr/src" \
		--installtree "$tmp/dest/lib/modules" --no-depmod \
		"$module" "$@"
}

# What a later compiler or kernel warns of must not cost the module.
export KCFLAGS=-Wunused-parameter

built=
for kernel in /lib/modules/*/build; do
	[ -f "$kernel/Module.symvers" ] || continue
	release=$(basename "$(dirname "$kernel")")
	mkdir -p "$tmp/dest/lib/modules/$release"
	in_tmp install -k "$release" ||
		{ cat "$tmp"/tree/hmm/*/build/make.log; exit 1; }
	file=$(find "$tmp/dest/lib/modules/$release/updates" -name 'hmm.ko*')
	modinfo -F vermagic "$file" | grep -q "^$release "
	built=yes
done
[ "$built" ] || {
	echo "no kernel headers in /lib/modules; install linux-headers-amd64"
	exit 77
}

in_tmp remove --all
$MAKE -s DESTDIR="$tmp/dest" dkms-uninstall
left=$(find "$tmp/dest" "$tmp/tree" ! -type d)
if [ -n "$left" ]; then
	echo "left behind: $left"
	exit 1
fi
