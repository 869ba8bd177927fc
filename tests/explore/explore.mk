# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The explorer: the core as it is, on simulated tasks, in every order.
#
#   make explore-check    all schedules of up to 2 preemptions; the seed's known
#                         defects and our own races, reopened, must be found
#   make explore          the same with up to 3, then random ones (SEED=n)

XDIR := tests/explore
XO := $O/explore
# No sanitizer: they don't follow a change of stacks.
XCFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -U_FORTIFY_SOURCE \
	-I$(XDIR) -Iinclude -Icore -include $(XDIR)/hooks.h -MMD -MP

X_ENGINE := $(addprefix $(XDIR)/,main.c schedule.c state.c fiber.c sim_mm.c \
	oracle.c device.c)
X_NATIVE := $(X_ENGINE) $(addprefix $(XDIR)/,host_native.c scenario_native.c)

xobj = $(patsubst %.c,$(XO)/obj/%.o,$(1))

$(XO)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(XCFLAGS) -c -o $@ $<

$(XO)/native: $(call xobj,$(X_NATIVE) $(XDIR)/native_refused.c $(wildcard core/*.c))
	echo $^ > $@.objs
	$(CC) -o $@ $^

$(XO)/seed: $(call xobj,$(X_NATIVE) $(XDIR)/seed_model.c)
	$(CC) -o $@ $^

# libhmm's host, the real one.  Its limits are lowered in a copy, so that a few
# tasks can reach them; its static data goes into a section of its own.
X_USER := $(X_ENGINE) $(addprefix $(XDIR)/,host_user.c sim_source.c \
	scenario_user.c)
X_SMALL := $(XO)/small
X_COPIED := $(wildcard core/*.[ch]) $(addprefix host/user/,mm.c events.c \
	$(addsuffix .h,mm events own_fd source uncancelled vma fault))
x_user_obj = $(patsubst %.c,$(XO)/user-obj/%.o,$(1))

$(X_SMALL)/%: %
	@mkdir -p $(@D)
	sed -e 's/^#define HMM_CHANGES .*/#define HMM_CHANGES 2/' \
		-e 's/^#define HMM_PENDING .*/#define HMM_PENDING 2/' \
		-e 's/^#define HMM_FAULT_JOBS .*/#define HMM_FAULT_JOBS 1/' $< > $@

X_USER_DIRS := -I$(X_SMALL)/core -I$(X_SMALL)/host/user
X_USER_CFLAGS := $(X_USER_DIRS) $(XCFLAGS) -pthread

$(XO)/user-obj/%.o: %.c | $(addprefix $(X_SMALL)/,$(X_COPIED))
	@mkdir -p $(@D)
	$(CC) $(X_USER_CFLAGS) -c -o $@ $<

$(XO)/user-obj/core/%.o: $(X_SMALL)/core/%.c | $(addprefix $(X_SMALL)/,$(X_COPIED))
	@mkdir -p $(@D)
	$(CC) $(X_USER_CFLAGS) -c -o $@ $<

$(XO)/user-obj/host/user/%.o: $(X_SMALL)/host/user/%.c | $(addprefix $(X_SMALL)/,$(X_COPIED))
	@mkdir -p $(@D)
	$(CC) $(X_USER_CFLAGS) -include $(XDIR)/user_hooks.h -c -o $@ $<
	$(OBJCOPY) --set-section-flags .bss=alloc,load,contents \
		--rename-section .bss=explored \
		--rename-section .data=explored $@

$(XO)/user: $(call x_user_obj,$(X_USER) $(filter %.c,$(X_COPIED)))
	echo $^ > $@.objs
	$(CC) -o $@ $^

X_ALL := $(XO)/native $(XO)/seed $(XO)/user

SEED ?= $(shell date +%s)
EXPLORE_RANDOM ?= 200000

# What check.sh and mutate.sh are told.
X_RUN = CC='$(CC)' OBJCOPY='$(OBJCOPY)' XO=$(XO) XUSER='$(X_USER_DIRS)' \
	XCFLAGS='$(filter-out -MMD -MP,$(XCFLAGS))' $(XDIR)/check.sh

.PHONY: explore-check explore
explore-check: $(X_ALL)
	$(X_RUN) --bound 2

explore: $(X_ALL)
	$(X_RUN) --bound 3 --random $(EXPLORE_RANDOM) --seed $(SEED)

-include $(shell find $(XO) -name '*.d' 2>/dev/null)
