# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Everything changes while devices run, and no translation outlives its page.
#
#   make torture-check    short runs, with every source, allocator, sanitizer
#   make torture          a million snapshots, then MINUTES=10 of torture

TDIR := tests/torture
TO := $O/torture
T_OBJ := $(patsubst $(TDIR)/%.c,$(TO)/obj/%.o,\
	$(filter-out $(TDIR)/snapshot.c $(TDIR)/mutant.c,$(wildcard $(TDIR)/*.c)))
# The sources are replaced where mm.c refers to them.
T_MUTANT := -Wl,--wrap=hmm_source_module -Wl,--wrap=hmm_source_kvm \
	-Wl,--wrap=hmm_source_uffd

$(TO)/obj/%.o: $(TDIR)/%.c | gen
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(TO)/torture: $(T_OBJ) $(DEV_A) $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -luring $(LIBS)

$(TO)/snapshot: $(TO)/obj/snapshot.o $(LIB_A)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(TO)/torture-mutant: $(T_OBJ) $(TO)/obj/mutant.o $(DEV_A) $(LIB_ALL)
	$(CC) $(ALL_LDFLAGS) $(T_MUTANT) -o $@ $^ -luring $(LIBS)

$(TO)/snapshot-mutant: $(TO)/obj/snapshot.o $(TO)/obj/mutant.o $(LIB_ALL)
	$(CC) $(ALL_LDFLAGS) $(T_MUTANT) -o $@ $^ $(LIBS)

T_ALL := $(addprefix $(TO)/,torture snapshot torture-mutant snapshot-mutant)

MINUTES ?= 10

.PHONY: torture-check torture torture-sanitized
torture-sanitized:
	+$(MAKE) O=$O/asan SAN=asan $O/asan/torture/torture
	+$(MAKE) O=$O/tsan SAN=tsan $O/tsan/torture/torture

torture-check: $(T_ALL) torture-sanitized
	TO=$(TO) $(TDIR)/check.sh check

torture: $(T_ALL)
	TO=$(TO) MINUTES=$(MINUTES) $(TDIR)/check.sh long

-include $(shell find $(TO) -name '*.d' 2>/dev/null)
