# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Debian's kernels, booted under QEMU: tests, and a bench of the modules
#
#   make qemu-check
#   make qemu-torture   /dev/hmm misused for longer, with a new seed
#   make qemu-debug     the same in kernels that watch themselves; builds them,
#                       unless they are there: many minutes
#   make qemu-bench     only the ratios mean something, the guest is emulated

QEMU_KERNELS ?= 6.12 6.1 trixie-backports

QEMU_PROGRAMS = all tests $O/hostile $O/compat32 \
	$(addprefix $O/torture/,torture snapshot torture-mutant)
.PHONY: qemu-check
qemu-check: $(QEMU_PROGRAMS)
	MAKE='$(MAKE)' tests/qemu/run.sh $O $(QEMU_KERNELS)

# One after the other: each build takes all CPUs that nobody wants.
QEMU_DEBUG ?= debug-kasan debug-kcsan

.PHONY: qemu-debug
qemu-debug: $(QEMU_PROGRAMS)
	for kernel in $(QEMU_DEBUG); do \
		tests/qemu/kernel.sh $$kernel $O/qemu/$$kernel || :; \
	done
	MAKE='$(MAKE)' tests/qemu/run.sh $O $(QEMU_DEBUG)

# What /dev/hmm costs, in the first of them.
QEMU_FIRST = $(firstword $(QEMU_KERNELS))
.PHONY: qemu-bench
qemu-bench: $O/bench/bench
	MAKE='$(MAKE)' GUEST=bench tests/qemu/run.sh $O $(QEMU_FIRST)
	cat $O/qemu/$(QEMU_FIRST)/out/bench.log

$O/hostile: $(wildcard tests/qemu/hostile/*.[ch]) include/hmm_dev.h
	$(CC) -std=gnu11 -D_GNU_SOURCE -pthread -O2 -g $(WARN) -Iinclude -o $@ \
		$(filter %.c,$^)

# Of 32 bits, with no library; the headers are those for 64.
$O/compat32: tests/qemu/compat.c include/hmm_dev.h
	$(CC) -std=gnu11 $(WARN) -Iinclude -fsyntax-only $<
	$(CC) -m32 -std=gnu11 -ffreestanding -fno-stack-protector -fno-pic \
		-fomit-frame-pointer -nostdlib -static -no-pie -O2 $(WARN) \
		-Iinclude -idirafter /usr/include/$(shell $(CC) -print-multiarch) \
		-o $@ $<

.PHONY: qemu-torture
qemu-torture: $O/hostile
	MAKE='$(MAKE)' GUEST=torture tests/qemu/run.sh $O $(QEMU_FIRST)
