# SPDX-License-Identifier: MIT OR GPL-2.0
#
#   make             libhmm, the hmm command, the examples
#   make demo        install what is missing, build, run real programs
#   make check       install what is missing, build, run all tests
#   make bench       what things cost, over their floor
#   make lint        format, compiler warnings of clang, static analysis
#   make install     to $(DESTDIR)$(PREFIX); make uninstall takes it back
#   make modules     for the kernel; modules_install, modules_uninstall
#   make dkms-install   dkms builds the module, for later kernels too;
#                    dkms-uninstall
#   make format      run clang-format over the tree
#
# Variants: SAN=asan or SAN=tsan builds with sanitizers, DEBUG=1 with the
# assertions of the core; each goes to a directory of its own under $O.

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man

CC = gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
OBJCOPY ?= objcopy
INSTALL ?= install

SAN ?=
DEBUG ?=
O := build$(if $(SAN),/$(SAN))$(if $(DEBUG),/debug)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined
# TSan does not model fences; where one matters it may report what is none.
SAN_tsan := -fsanitize=thread -Wno-tsan
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -pthread -fPIC $(WARN) \
	$(if $(DEBUG)$(SAN),-DHMM_DEBUG) $(SAN_$(SAN)) $(CPPFLAGS) $(CFLAGS) \
	-Iinclude -Icore -Ihost/user -Idevice -I$O/gen -MMD -MP
ALL_LDFLAGS = -pthread $(SAN_$(SAN)) $(LDFLAGS)
LIBS := -lbpf -lelf -lz

# ---- What is built of what --------------------------------------------------

LIB_SRC := $(wildcard core/*.c) \
	$(filter-out %.bpf.c %_monitor.c,$(wildcard host/user/*.c))
LIB_ASM := $(wildcard host/user/*.S)
DEV_SRC := $(wildcard device/*.c)
AGENT_SRC := $(wildcard tools/agent*.c)
TOOL_SRC := $(filter-out $(AGENT_SRC),$(wildcard tools/*.c))

obj = $(patsubst %,$O/obj/%.o,$(basename $(1)))
LIB_OBJ := $(call obj,$(LIB_SRC) $(LIB_ASM))
DEV_OBJ := $(call obj,$(DEV_SRC))
# The command has an agent, too, for programs that it looks at from outside.
TOOL_OBJ := $(call obj,$(TOOL_SRC) $(filter-out tools/agent.c,$(AGENT_SRC)))
AGENT_OBJ := $(call obj,$(AGENT_SRC) tools/maps.c)
TESTS := $(patsubst tests/unit/%.c,$O/tests/%,$(wildcard tests/unit/*.c))
EXAMPLES := $(patsubst examples/%.c,$O/examples/%,$(wildcard examples/*.c))

LIB_SO := $O/libhmm.so.$(VERSION)
LIB_A := $O/libhmm.a
LIB_ALL := $O/libhmm-internal.a
DEV_A := $O/libdmirror.a
HMM := $(if $(TOOL_SRC),$O/hmm)
AGENT := $(if $(AGENT_SRC),$O/libhmm-agent.so)

.PHONY: all
all: $(LIB_SO) $(LIB_A) $(HMM) $(AGENT) $(EXAMPLES)

.SECONDARY:
.DELETE_ON_ERROR:

# ---- The library ------------------------------------------------------------

$O/obj/%.o: %.c | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$O/obj/%.o: %.S | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -I$O -c -o $@ $<

# What goes through entries is worth vector instructions.
$O/obj/core/walk.o $O/obj/host/user/pagemap.o: CFLAGS += -O3

$(LIB_SO): $(LIB_OBJ) libhmm.map
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libhmm.so.$(SOVERSION) \
		-Wl,-z,nodelete \
		-Wl,--version-script=libhmm.map -o $@ $(LIB_OBJ) $(LIBS)
	ln -sf $(@F) $O/libhmm.so.$(SOVERSION)
	ln -sf $(@F) $O/libhmm.so

# The archive that is installed shows the symbols of libhmm.map and no other,
# as the shared library does; the tests look inside and get all of them.
$(LIB_A): $(LIB_OBJ) libhmm.map
	@mkdir -p $O/gen
	sed -n 's/^\t\([a-z_]*\);$$/\1/p' libhmm.map > $O/gen/public
	$(LD) -r -o $O/gen/libhmm.o $(LIB_OBJ)
	$(OBJCOPY) --keep-global-symbols=$O/gen/public $O/gen/libhmm.o
	rm -f $@ && $(AR) rcs $@ $O/gen/libhmm.o

$(LIB_ALL): $(LIB_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

# Generated headers; everything that is compiled waits for them.
GEN := $(patsubst host/user/%.bpf.c,$O/gen/%.skel.h,$(wildcard host/user/*.bpf.c)) \
	$O/gen/driver_loop.h
.PHONY: gen
gen: $(GEN)

$O/gen/%.bpf.o: host/user/%.bpf.c $(wildcard host/user/*.h)
	@mkdir -p $(@D)
	$(CLANG) -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Werror \
		-I/usr/include/x86_64-linux-gnu -Ihost/user -c -o $@ $<

$O/gen/%.skel.h: $O/gen/%.bpf.o
	{ echo '/* NOLINTBEGIN */'; $(BPFTOOL) gen skeleton $< name $*_bpf && \
		echo '/* NOLINTEND */'; } > $@

# The driver loop of hmm.h's documentation, as code: drop the comment's frame.
$O/gen/driver_loop.h: include/hmm.h
	@mkdir -p $(@D)
	sed -n '/\.\. begin driver loop/,/\.\. end driver loop/{/\.\. /d;s/^ \*\t\{0,1\}//;p}' \
		$< > $@

# The uffd monitor is a program of its own, carried inside the library.
$O/uffd-monitor: host/user/uffd_monitor.c $(wildcard host/user/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -g0 -s \
		-Iinclude -Icore -Ihost/user -o $@ $<

$(call obj,host/user/uffd_monitor_blob.S): $O/uffd-monitor

# ---- The device, the command, the agent, the examples -----------------------

# Where it finds the agent once both are installed.
$(call obj,tools/launch.c): ALL_CFLAGS += -DHMM_LIBDIR='"$(LIBDIR)"'

$(DEV_A): $(DEV_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

$O/hmm: $(TOOL_OBJ) $(DEV_A) $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljson-c $(LIBS) -lm

$O/libhmm-agent.so: $(AGENT_OBJ) $(DEV_A) $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,--exclude-libs,ALL -o $@ $^ \
		-ljson-c $(LIBS) -lm

$O/examples/%: examples/%.c $(LIB_A) $(DEV_A)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(DEV_A) $(LIB_A) $(LIBS)

# ---- Tests ------------------------------------------------------------------

# Each file of tests/unit is a program.
$O/tests/%: tests/unit/%.c $(LIB_ALL) $(DEV_A) | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests $(ALL_LDFLAGS) -o $@ $< \
		$(DEV_A) $(LIB_ALL) -lcmocka $(LIBS)

# A program that is no C, for the tests of the command; without Go they say so.
GO ?= go
CLI_GO := $(if $(shell command -v $(GO)),$(patsubst \
	tests/cli/%.go,$O/cli/%,$(wildcard tests/cli/*.go)))

$O/cli/%: tests/cli/%.go
	@mkdir -p $(@D)
	GOCACHE=$(abspath $O)/cli/cache CGO_ENABLED=0 $(GO) build -o $@ $<

.PHONY: tests
tests: $(TESTS) $(CLI_GO)

# A directory of tests/ with rules of its own has tests/NAME/NAME.mk, with a
# target NAME-check that "make check" runs.
SUITES := $(wildcard tests/*/*.mk)
-include $(SUITES) bench/bench.mk

CODE := include core host device tools examples tests bench

.PHONY: deps check lint format demo
deps:
	scripts/install-deps.sh all

check: deps
	O=$O scripts/run-tests.sh

lint:
	O=$O scripts/lint.sh

format:
	clang-format -i $(shell find $(CODE) -name '*.[ch]')

demo:
	scripts/install-deps.sh demo
	$(MAKE) all
	O=$O scripts/demo.sh

# ---- The kernel modules -----------------------------------------------------

# For the newest installed headers, or KERNEL=.  The sources are copied, since
# kbuild leaves what it makes beside them.
KERNEL ?= $(lastword $(shell ls -d /lib/modules/*/build 2>/dev/null | sort -V))
MODULES ?= $O/modules
HMM_KO = include core host/kernel
PARTS = $(HMM_KO) device/pagetable.[ch] device/kernel bench/kernel tests/kernel
.PHONY: modules
modules:
	mkdir -p $(MODULES)
	cp -pru --parents $(PARTS) $(MODULES)
	cp -pu host/kernel/Kbuild $(MODULES)
	# MAKEFLAGS carries our O=, which means something else there.
	MAKEFLAGS= $(MAKE) -C $(KERNEL) M=$(abspath $(MODULES)) \
		CONFIG_DEBUG_INFO_BTF_MODULES= modules

# Who installs hmm.ko needs no test device.  Distributions keep the key that
# kbuild would sign with to themselves.  depmod is of use only where the other
# modules are.
RELEASE = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' \
	$(KERNEL)/include/generated/utsrelease.h)
RULES := $(wildcard host/kernel/*.rules)
UDEVDIR ?= /usr/lib/udev/rules.d
D = $(DESTDIR)

.PHONY: modules_install modules_uninstall
modules_install: udev-install
	$(MAKE) MODULES=$(MODULES)-installed PARTS='$(HMM_KO)' modules
	MAKEFLAGS= $(MAKE) -C $(KERNEL) M=$(abspath $(MODULES)-installed) \
		$(if $(wildcard $(KERNEL)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=) \
		INSTALL_MOD_PATH=$D INSTALL_MOD_DIR=updates modules_install
	$(if $D,,depmod $(RELEASE))

modules_uninstall: udev-uninstall
	rm -f $D/lib/modules/$(RELEASE)/updates/hmm.ko*
	$(if $D,,depmod $(RELEASE))

# What dkms builds again for each kernel; with DESTDIR, just put there.
SRCDIR ?= /usr/src
DKMS_SRC = $(SRCDIR)/hmm-$(VERSION)
.PHONY: dkms-install dkms-uninstall
dkms-install: udev-install
	$(INSTALL) -d $D$(DKMS_SRC)
	cp -pr --parents $(HMM_KO) $D$(DKMS_SRC)
	$(INSTALL) -m 644 host/kernel/Kbuild $D$(DKMS_SRC)
	sed 's|@VERSION@|$(VERSION)|' host/kernel/dkms.conf.in \
		>$D$(DKMS_SRC)/dkms.conf
	$(if $D,,dkms install hmm/$(VERSION))

dkms-uninstall: udev-uninstall
	$(if $D,,dkms remove hmm/$(VERSION) --all)
	rm -rf $D$(DKMS_SRC)

.PHONY: udev-install udev-uninstall
udev-install:
	$(if $(RULES),$(INSTALL) -d $D$(UDEVDIR))
	$(if $(RULES),$(INSTALL) -m 644 $(RULES) $D$(UDEVDIR))

udev-uninstall:
	rm -f $(patsubst host/kernel/%,$D$(UDEVDIR)/%,$(RULES))

# ---- Install ----------------------------------------------------------------

MAN1 := $(wildcard man/*.1)
MAN3 := $(wildcard man/*.3)
MAN4 := $(wildcard man/*.4)
MAN7 := $(wildcard man/*.7)

$O/libhmm.pc: libhmm.pc.in Makefile
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
		-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(LIBS)|' $< > $@

.PHONY: install uninstall $O/libhmm.pc
install: all $O/libhmm.pc
	$(INSTALL) -d $D$(BINDIR) $D$(LIBDIR)/pkgconfig $D$(LIBDIR)/hmm \
		$D$(INCLUDEDIR) $D$(MANDIR)/man1 $D$(MANDIR)/man3 $D$(MANDIR)/man4 \
		$D$(MANDIR)/man7
	$(INSTALL) -m 644 include/*.h $D$(INCLUDEDIR)
	$(INSTALL) -m 755 $(LIB_SO) $D$(LIBDIR)
	ln -sf libhmm.so.$(VERSION) $D$(LIBDIR)/libhmm.so.$(SOVERSION)
	ln -sf libhmm.so.$(VERSION) $D$(LIBDIR)/libhmm.so
	$(INSTALL) -m 644 $(LIB_A) $D$(LIBDIR)
	$(INSTALL) -m 644 $O/libhmm.pc $D$(LIBDIR)/pkgconfig
	$(if $(HMM),$(INSTALL) -m 755 $(HMM) $D$(BINDIR))
	$(if $(AGENT),$(INSTALL) -m 755 $(AGENT) $D$(LIBDIR)/hmm)
	$(INSTALL) -m 644 $(MAN1) $D$(MANDIR)/man1
	$(INSTALL) -m 644 $(MAN3) $D$(MANDIR)/man3
	$(INSTALL) -m 644 $(MAN4) $D$(MANDIR)/man4
	$(INSTALL) -m 644 $(MAN7) $D$(MANDIR)/man7
	# So that the loader knows it.  Elsewhere the system's directories are not.
	$(if $D,,ldconfig 2>/dev/null || true)

uninstall:
	rm -f $D$(BINDIR)/hmm $D$(LIBDIR)/hmm/libhmm-agent.so \
		$D$(LIBDIR)/libhmm.so* $D$(LIBDIR)/libhmm.a \
		$D$(LIBDIR)/pkgconfig/libhmm.pc \
		$(patsubst include/%,$D$(INCLUDEDIR)/%,$(wildcard include/*.h)) \
		$(patsubst man/%,$D$(MANDIR)/man1/%,$(MAN1)) \
		$(patsubst man/%,$D$(MANDIR)/man3/%,$(MAN3)) \
		$(patsubst man/%,$D$(MANDIR)/man4/%,$(MAN4)) \
		$(patsubst man/%,$D$(MANDIR)/man7/%,$(MAN7))
	rmdir $D$(LIBDIR)/hmm 2>/dev/null || true

.PHONY: clean
clean:
	rm -rf $O

-include $(shell find $O/obj $O/tests $O/examples -name '*.d' 2>/dev/null)
