# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The bench: what things cost, over what they can't cost less than.
#
#   make bench          all lines, a few minutes; ARGS="walk wake" for some
#   make bench-quick    the same in less than a minute, less exact
#   make instructions   instructions of the hot paths, which repeat exactly
#
# The table is printed; $O/bench has it as JSON, and the pictures.

BO := $O/bench
BENCH_SRC := $(filter-out bench/hot_paths.c,$(wildcard bench/*.c))
BENCH_CFLAGS := -std=gnu11 -D_GNU_SOURCE -pthread -O2 -g $(WARN) \
	-Iinclude -Icore -Ihost/user -MMD -MP

$(BO)/%.o: bench/%.c | gen
	@mkdir -p $(@D)
	$(CC) $(BENCH_CFLAGS) -c -o $@ $<

$(BO)/bench: $(patsubst bench/%.c,$(BO)/%.o,$(BENCH_SRC)) $(LIB_ALL)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljson-c $(LIBS) -lm -ldl

.PHONY: bench bench-quick
bench: $(BO)/bench
	$(BO)/bench --json $(BO)/bench.json --svg $(BO) $(ARGS)

bench-quick: $(BO)/bench
	$(BO)/bench --quick --json $(BO)/bench.json --svg $(BO) $(ARGS)

# All of the library but its sources.
$(BO)/hot_paths: $(BO)/hot_paths.o $(BO)/setup.o \
		$(filter-out %/source_kvm.o %/source_uffd.o,$(LIB_OBJ))
	$(CC) $(ALL_LDFLAGS) -o $@ $^

.PHONY: instructions
instructions: $(BO)/hot_paths
	bench/instructions.sh $(BO)/hot_paths

-include $(wildcard $(BO)/*.d)
