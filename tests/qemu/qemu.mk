# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Tests in stock Debian kernels, booted under QEMU: make qemu-check

QEMU_KERNELS ?= 6.12 6.1

.PHONY: qemu-check
qemu-check: tests
	MAKE='$(MAKE)' tests/qemu/run.sh $O $(QEMU_KERNELS)
