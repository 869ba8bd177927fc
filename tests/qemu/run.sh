#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# run.sh O VERSION... - boot stock Debian kernels under QEMU, test in them
#
# With GUEST=NAME in the environment NAME.sh runs in them, not the tests.
#
# Emulated, so it needs no virtualisation of the machine's.  A test is a case
# of a unit test, or a script's line "ok", "not ok" or "skip"; a warning or a
# worse message of the kernel fails the test that it came in.
set -u
cd "$(dirname "$0")/../.." || exit 1
O=$1
shift
mkdir -p "$O/qemu"
O=$(cd "$O" && pwd)

# What has no business in a kernel's log.
SPLAT='WARNING:|BUG:|Oops|Call Trace|general protection|INFO: |KASAN|KCSAN|UBSAN'
SPLAT="$SPLAT|suspicious RCU|possible .*(deadlock|locking|recursion)|leak"

skip()
{
	echo "skip $1: $2"
}

need()
{
	for command; do
		command -v "$command" >/dev/null || {
			skip qemu "no $command; scripts/install-deps.sh names the packages"
			return 1
		}
	done
}

# initramfs DIR: busybox, init, and what it takes to mount the host's files
initramfs()
{
	ram=$1/ram
	rm -rf "$ram"
	mkdir -p "$ram/bin" "$ram/modules"
	cp "$(command -v busybox)" "$ram/bin/busybox"
	cp tests/qemu/init "$ram/init"
	chmod 755 "$ram/init"
	for module in 9pnet_virtio 9p virtio_pci; do
		modprobe -d "$1/root" -S "$(cat "$1/release")" \
			--show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
	while read -r file; do
		name=$(basename "$file" .xz)
		case $file in
		*.xz) xz -dc "$file" >"$ram/modules/$name" ;;
		*) cp "$file" "$ram/modules/$name" ;;
		esac
		echo "$name"
	done >"$ram/modules/order"
	(cd "$ram" && find . | cpio -o -H newc --quiet) >"$1/initramfs"
	rm -rf "$ram"
}

# Without memory, as for kernel_nomem, kmemleak looks at more than it must.
complaints()
{
	grep -E "$1" | grep -v 'kmemleak: Cannot allocate a scan area'
}

# splats OUT NAME: what the kernel had to complain about during a test
splats()
{
	sed -n "/qemu: begin $2\$/,/qemu: end $2\$/p" "$1/console" |
		complaints "$SPLAT"
}

# One line a case: from what cmocka prints, or from a script's own lines.
cases()
{
	awk -v rc="$2" -v test="$3" '
	function result(what) {
		if (what == "skip")
			sub(/^ *(skip(ped)?: *)?/, "", why)
		print what " " test ": " name (what == "skip" ? ": " why : "")
		name = ""; n++
		if (what == "not ok") bad++
	}
	BEGIN		   { why = "no reason given" }
	/^\[ RUN      \]/  { if (name) result("not ok"); name = $4
			     why = "no reason given"; next }
	/^\[       OK \]/  { if (name) result("ok"); next }
	/^\[  SKIPPED \]/  { if (name) result("skip"); next }
	/^\[  FAILED  \]/  { if (name) result("not ok"); next }
	/^ok /		   { name = substr($0, 4); result("ok"); next }
	/^not ok /	   { name = substr($0, 8); result("not ok"); next }
	/^skip [^:]*: /	   { i = index($0, ": "); name = substr($0, 6, i - 6)
			     why = substr($0, i + 2); result("skip"); next }
	NF		   { why = $0 }
	END {
		if (name) result("not ok")
		name = "exit status " rc
		if (rc == 77 && !n) { name = "all"; result("skip") }
		else if (rc != 0 && !bad) result("not ok")
		else if (!n) result("ok")
	}' "$1"
}

report()
{
	version=$1 out=$2
	for rc in "$out"/*.rc; do
		[ -f "$rc" ] || continue
		test=$(basename "$rc" .rc)
		log=$out/$test.log
		cases "$log" "$(cat "$rc")" "$version $test" >"$out/cases"
		splats "$out" "$test" >"$out/splats" &&
			echo "not ok $version $test: the kernel's log" \
				>>"$out/cases"
		grep -v '^not ok' "$out/cases"
		if grep -q '^not ok' "$out/cases"; then
			# Right before the names, for who wants to know why.
			grep -vE '^(# )?(ok|skip) | OK |RUN  ' "$log" |
				tail -n 40 | sed 's/^/    /'
			sed 's/^/    /' "$out/splats"
			grep '^not ok' "$out/cases"
		fi
	done
	# Between the tests, after the last one, and whether there was an end.
	sed '/qemu: begin/,/qemu: end/d' "$out/console" |
		complaints "$SPLAT|qemu: no" >"$out/splats"
	if [ ! -f "$out/done" ] || [ -s "$out/splats" ]; then
		tail -n 60 "$out/console" | sed 's/^/    /'
		echo "not ok $version: the guest did not end well"
	fi
}

# test_kernel VERSION: a line for each test, and of failures what they said
test_kernel()
{
	version=$1 kernel=$O/qemu/$1
	why=$(sh tests/qemu/kernel.sh "$version" "$kernel")
	case $? in
	0) ;;
	77)
		skip "Linux $version" "$(echo "$why" | tail -n 1)"
		return
		;;
	*)
		echo "not ok $version: no kernel"
		echo "$why" | sed 's/^/    /'
		return
		;;
	esac
	if ! ${MAKE-make} KERNEL="$kernel/root/build" MODULES="$kernel/modules" \
		KCFLAGS=-Werror modules >"$kernel/modules.log" 2>&1; then
		echo "not ok $version: the modules don't compile"
		sed 's/^/    /' "$kernel/modules.log" | tail -n 40
		return
	fi
	initramfs "$kernel"
	tests/qemu/boot.sh "$O" "$kernel" "$kernel/out"
	report "$version" "$kernel/out"
}

# lane VERSION...: those that no other lane has taken
lane()
{
	for version; do
		mkdir "$O/qemu/taken/$version" 2>/dev/null || continue
		test_kernel "$version" >"$O/qemu/taken/$version/report"
		cat "$O/qemu/taken/$version/report"
	done
}

rm -rf "$O/qemu/taken"
mkdir "$O/qemu/taken"
if ! need qemu-system-x86_64 busybox cpio depmod modprobe xz zstd; then
	echo "qemu: 0 passed, 0 failed, 1 skipped"
	exit 0
fi
# The same for every kernel; without it the guest says what is skipped.
sh tests/qemu/hmm-tests.sh 6.1 "$O/qemu/hmm-tests" || :
# An emulated machine keeps one CPU busy.
lane "$@" &
lane "$@"
wait

count()
{
	cat "$O"/qemu/taken/*/report | grep -c "^$1"
}
failed=$(count 'not ok ')
echo "qemu: $(count 'ok ') passed, $failed failed, $(count 'skip ') skipped"
[ "$failed" = 0 ]
