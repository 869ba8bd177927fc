# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Fault injection: each call that the library makes fails in turn.
#
#   make inject-check	each call with one of its errors
#   make inject		each with all of them

XI := tests/inject
XIO := $O/inject
# No instrumentation: the leak checker's allocator, and that's all.
XI_CFLAGS := -std=gnu11 -D_GNU_SOURCE -pthread -O1 -g $(WARN) -U_FORTIFY_SOURCE \
	-Iinclude -Icore -Ihost/user -I$O/gen -MMD -MP
XI_OBJ := $(patsubst %,$(XIO)/%.o,main bench feet wrap)

# Where lint finds it, too.
gen: $O/gen/inject_calls.h
$O/gen/inject_calls.h: $(XI)/calls.list $(XI)/calls.awk
	@mkdir -p $(@D)
	awk -v what=table -f $(XI)/calls.awk $< > $@

$(XIO)/wraps: $(XI)/calls.list $(XI)/calls.awk
	@mkdir -p $(@D)
	awk -v what=wrap -f $(XI)/calls.awk $< > $@

$(XIO)/%.o: $(XI)/%.c $O/gen/inject_calls.h | gen
	@mkdir -p $(@D)
	$(CC) $(XI_CFLAGS) -c -o $@ $<

# The library, with our functions instead of those that it calls; and a monitor
# in it of which the same is true.
XI_BLOB := $(call obj,host/user/uffd_monitor_blob.S)
XI_MONITOR_CALLS := setsid chdir mlock poll send recv read write mmap ioctl \
	prctl syscall

$(XIO)/monitor.o: host/user/uffd_monitor.c $(wildcard host/user/*.h)
	@mkdir -p $(@D)
	$(CC) $(XI_CFLAGS) -c -o $@.all $<
	$(LD) -r $(addprefix --wrap=,$(XI_MONITOR_CALLS)) -o $@ $@.all

$(XIO)/blob/uffd-monitor: $(XIO)/monitor.o $(XIO)/monitor_wrap.o
	@mkdir -p $(@D)
	$(CC) -s -o $@ $^

$(XIO)/blob.o: host/user/uffd_monitor_blob.S $(XIO)/blob/uffd-monitor
	$(CC) -I$(XIO)/blob -c -o $@ $<

$(XIO)/hmm.o: $(filter-out $(XI_BLOB),$(LIB_OBJ)) $(XIO)/blob.o $(XIO)/wraps
	$(LD) -r $$(cat $(XIO)/wraps) -o $@ $(filter %.o,$^)

$(XIO)/inject: $(XI_OBJ) $(XIO)/hmm.o
	$(CC) -pthread -fsanitize=leak -o $@ $^ $(LIBS)

.PHONY: inject-check inject
inject-check: $(XIO)/inject
	sh $(XI)/check.sh $(XIO)/hmm.o
	sh $(XI)/run.sh $(XIO)/inject -q

inject: $(XIO)/inject
	sh $(XI)/check.sh $(XIO)/hmm.o
	sh $(XI)/run.sh $(XIO)/inject

-include $(wildcard $(XIO)/*.d)
