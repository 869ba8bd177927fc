# SPDX-License-Identifier: MIT OR GPL-2.0
#
#   make            libhmm, the hmm command, examples
#   make deps       install what building and testing needs (Debian, root)
#   make demo       run real programs under a software device
#   make check      all tests; says what it skipped, and why
#   make install    to DESTDIR and PREFIX
#
# Variants: SAN=asan or SAN=tsan builds with sanitizers, DEBUG=1 with
# assertions; each goes to a directory of its own under build/.

VERSION := 0.1.0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
CC = gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

SAN ?=
DEBUG ?=
O := build$(if $(SAN),/$(SAN))$(if $(DEBUG),/debug)

SAN_FLAGS := $(if $(filter asan,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined)
comma := ,
SAN_FLAGS := $(if $(filter asan,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined)
SAN_FLAGS += $(if $(filter tsan,$(SAN)),-fsanitize=thread)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -pthread -fPIC \
	$(WARN) $(if $(DEBUG)$(SAN),-DHMM_DEBUG) $(SAN_FLAGS) $(CFLAGS) \
	-Iinclude -Icore -Ihost/user -Idevice -I$O/gen -MMD -MP
ALL_LDFLAGS = -pthread $(SAN_FLAGS) $(LDFLAGS)
LIBS := -lbpf -lelf -lz

LIB_SRC := $(wildcard core/*.c) $(filter-out %.bpf.c %_monitor.c,$(wildcard host/user/*.c))
LIB_ASM := $(wildcard host/user/*.S)
DEV_SRC := $(wildcard device/*.c)
AGENT_SRC := $(wildcard tools/agent*.c)
TOOL_SRC := $(filter-out $(AGENT_SRC),$(wildcard tools/*.c))
TEST_SRC := $(wildcard tests/unit/*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)

obj = $(patsubst %,$O/obj/%.o,$(basename $(1)))
LIB_OBJ := $(call obj,$(LIB_SRC) $(LIB_ASM))
DEV_OBJ := $(call obj,$(DEV_SRC))
TOOL_OBJ := $(call obj,$(TOOL_SRC))
AGENT_OBJ := $(call obj,$(AGENT_SRC))
TESTS := $(patsubst tests/unit/%.c,$O/tests/%,$(TEST_SRC))
EXAMPLES := $(patsubst examples/%.c,$O/examples/%,$(EXAMPLE_SRC))

LIB_SO := $O/libhmm.so.$(VERSION)
LIB_A := $O/libhmm.a

.PHONY: all
all: $(LIB_SO) $(LIB_A) $(if $(TOOL_SRC),$O/hmm) $(if $(AGENT_SRC),$O/libhmm-agent.so) $(EXAMPLES)

.SECONDARY:
.DELETE_ON_ERROR:

# ---- the library ----------------------------------------------------------

$O/obj/%.o: %.c | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$O/obj/%.o: %.S | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -I$O -c -o $@ $<

$(LIB_SO): $(LIB_OBJ) libhmm.map
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libhmm.so.0 \
		-Wl,--version-script=libhmm.map -o $@ $(LIB_OBJ) $(LIBS)
	ln -sf $(@F) $O/libhmm.so.0
	ln -sf libhmm.so.0 $O/libhmm.so

$(LIB_A): $(LIB_OBJ)
	rm -f $@ && ar rcs $@ $^

# Generated: the BPF program's skeleton.  Everything compiled waits for it.
.PHONY: gen
gen: $O/gen/source_kvm.skel.h

$O/gen/source_kvm.bpf.o: host/user/source_kvm.bpf.c $(wildcard host/user/source_kvm*.h)
	@mkdir -p $(@D)
	$(CLANG) -g -O2 -target bpf -D__TARGET_ARCH_x86 -Wall -Werror \
		-I/usr/include/x86_64-linux-gnu -Ihost/user -c -o $@ $<

$O/gen/source_kvm.skel.h: $O/gen/source_kvm.bpf.o
	$(BPFTOOL) gen skeleton $< name source_kvm_bpf > $@

# The uffd monitor is a program of its own, carried inside the library.
$O/uffd-monitor: host/user/uffd_monitor.c $(wildcard host/user/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -g0 -s -Iinclude -Icore -Ihost/user -o $@ $<

$(call obj,host/user/uffd_monitor_blob.S): $O/uffd-monitor

# ---- the device, the command, the agent -----------------------------------

$O/libdmirror.a: $(DEV_OBJ)
	rm -f $@ && ar rcs $@ $^

$O/hmm: $(TOOL_OBJ) $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljson-c $(LIBS) -lm

$O/libhmm-agent.so: $(AGENT_OBJ) $O/libdmirror.a $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,--exclude-libs,ALL -o $@ $^ -ljson-c $(LIBS) -lm

$O/examples/%: examples/%.c $(LIB_A) $O/libdmirror.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $O/libdmirror.a $(LIB_A) $(LIBS)

# ---- tests: each file of tests/unit is a program ----------------------------

$O/tests/%: tests/unit/%.c $(LIB_A) $O/libdmirror.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests $(ALL_LDFLAGS) -o $@ $< \
		$O/libdmirror.a $(LIB_A) -lcmocka $(LIBS)

.PHONY: tests
tests: $(TESTS)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $O/obj $O/tests -name '*.d' 2>/dev/null)
