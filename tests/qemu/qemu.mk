# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Stock Debian kernels, booted under QEMU: tests, and a bench of the modules
#
#   make qemu-check
#   make qemu-torture   /dev/hmm misused for longer, with a new seed
#   make qemu-bench     only the ratios mean something, the guest is emulated

QEMU_KERNELS ?= 6.12 6.1 trixie-backports

.PHONY: qemu-check
qemu-check: all tests $O/hostile \
	$(addprefix $O/torture/,torture snapshot torture-mutant)
	MAKE='$(MAKE)' tests/qemu/run.sh $O $(QEMU_KERNELS)

# What /dev/hmm costs, in the first of them.
QEMU_FIRST = $(firstword $(QEMU_KERNELS))
.PHONY: qemu-bench
qemu-bench: $O/bench/bench
	MAKE='$(MAKE)' GUEST=bench tests/qemu/run.sh $O $(QEMU_FIRST)
	cat $O/qemu/$(QEMU_FIRST)/out/bench.log

$O/hostile: $(wildcard tests/qemu/hostile/*.[ch]) include/hmm_dev.h
	$(CC) -std=gnu11 -D_GNU_SOURCE -pthread -O2 -g $(WARN) -Iinclude -o $@ \
		$(filter %.c,$^)

.PHONY: qemu-torture
qemu-torture: $O/hostile
	MAKE='$(MAKE)' GUEST=torture tests/qemu/run.sh $O $(QEMU_FIRST)
