// SPDX-License-Identifier: MIT OR GPL-2.0
/* engines.c - the software device, and its oracle, on all that changes */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dmirror.h"
#include "torture.h"

#define BUF (64 * PAGE)

static struct dmirror *device;
static struct dmirror_stats sum; /* of devices that are gone */
static pthread_mutex_t sum_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tally *ops[DMIRROR_OP_MAX], *devices;

/* What the device's oracle knows no way to do under a source of level 1. */
static bool settle(void *ctx)
{
	(void)ctx;
	return workers_pass();
}

int engines_init(void)
{
	const struct dmirror_opts opts = { .verify = true, .settle = settle };
	enum dmirror_op_type type;

	for (type = 0; type < DMIRROR_OP_MAX; type++)
		ops[type] = tally_new(dmirror_op_name(type));
	devices = tally_new("devices");
	return dmirror_create(&device, t.mm, &opts);
}

/* ---- Commands --------------------------------------------------------------- */

static bool tolerable(int status)
{
	switch (status) {
	case 0:
	case -EFAULT:
	case -EPERM:
	case -EBUSY:
	case -ENOMEM:
	case -ETIMEDOUT:
	case -EOPNOTSUPP:
	case -ECANCELED:
		return true;
	default:
		printf("UNEXPECTED: a command ended with %d\n", status);
		return false;
	}
}

static bool submit(struct dmirror *dm, struct dmirror_op *op)
{
	int ret = dmirror_run(dm, op);

	tally(ops[op->type], !ret);
	if (!tolerable(ret))
		__atomic_fetch_add(&t.shared->stale, 1, __ATOMIC_RELAXED);
	return !ret;
}

static enum dmirror_op_type some_type(struct worker *w, enum flavour flavour)
{
	static const enum dmirror_op_type writing[] = { DMIRROR_WRITE,
							DMIRROR_FILL,
							DMIRROR_ADD };

	if (flavour == ANON)
		return writing[draw(w, 3)];
	return (enum dmirror_op_type)draw(w, DMIRROR_OP_MAX);
}

/* A whole huge page, if there is one there: a block in the device, too. */
static void run_huge(struct worker *w, struct dmirror *dm)
{
	struct window win = window_pick_huge(w);
	bool write = win.zone->flavour == ANON || chance(w, 1, 2);
	struct dmirror_op op = {
		.type = write ? DMIRROR_FILL : DMIRROR_CHECKSUM,
		.addr = (unsigned long)win.p,
		.len = win.len,
		.value = 1 + draw(w, 2),
	};

	submit(dm, &op);
}

static void run_some(struct worker *w, struct dmirror *dm)
{
	static __thread unsigned char buf[BUF];
	struct window win = window_pick(w, BUF / PAGE), to;
	struct dmirror_op op = {
		.type = some_type(w, win.zone->flavour),
		.addr = (unsigned long)win.p + draw(w, PAGE),
		.len = 1 + draw(w, win.len),
		.value = 1 + draw(w, 2),
		.buf = buf,
	};

	if (op.type == DMIRROR_ADD)
		op.len = sizeof(uint64_t);
	if (op.type == DMIRROR_COPY) {
		to = window_pick(w, BUF / PAGE);
		op.dst = (unsigned long)to.p;
		if (op.len > to.len)
			op.len = to.len;
		/* They must not overlap. */
		if (to.zone == win.zone)
			op.type = DMIRROR_CHECKSUM;
	}
	submit(dm, &op);
}

static void submit_step(struct worker *w)
{
	worker_outside(w);
	if (chance(w, 1, 32))
		run_huge(w, device);
	else
		run_some(w, device);
}

const struct role role_submit = { "submit", 2, true, submit_step };

bool engines_run_over(struct worker *w, void *p, size_t len, bool write)
{
	struct dmirror_op op = {
		.type = write ? DMIRROR_FILL : DMIRROR_CHECKSUM,
		.addr = (unsigned long)p,
		.len = len,
		.value = 1 + draw(w, 2),
	};

	bool ret;

	/* The engine's oracle may wait for all who make changes. */
	worker_outside(w);
	ret = submit(device, &op);
	worker_inside(w);
	return ret;
}

/* ---- The oracle ------------------------------------------------------------- */

static void verify_step(struct worker *w)
{
	worker_outside(w);
	dmirror_verify(device, 1 + draw(w, 2048));
	usleep((useconds_t)draw(w, 300));
}

const struct role role_verify = { "verify", 1, true, verify_step };

static void add(struct dmirror *dm)
{
	struct dmirror_stats stats;

	dmirror_stats(dm, &stats);
	pthread_mutex_lock(&sum_lock);
	sum.verified += stats.verified;
	sum.verify_presence += stats.verify_presence;
	sum.suspects += stats.suspects;
	sum.undecided += stats.undecided;
	sum.refused += stats.refused;
	sum.stale += stats.stale;
	sum.faults += stats.faults;
	sum.faulted_pages += stats.faulted_pages;
	sum.retries_busy += stats.retries_busy;
	sum.retries_valid += stats.retries_valid;
	sum.invalidated_pages += stats.invalidated_pages;
	sum.huge_splits += stats.huge_splits;
	/* Which of them were that is not known here. */
	if (t.level < 2 && stats.stale &&
	    (machine_migrates() || machine_reclaims())) {
		__atomic_fetch_add(&t.shared->unseen, stats.stale,
				   __ATOMIC_RELAXED);
		sum.stale -= stats.stale;
	} else if (stats.stale) {
		printf("STALE: device, %#lx entry %#lx pagemap %#lx started "
		       "%lu told %lu access %d\n",
		       stats.last_stale.addr, stats.last_stale.entry,
		       stats.last_stale.pagemap, stats.last_stale.started,
		       stats.last_stale.told, stats.last_stale.access);
	}
	pthread_mutex_unlock(&sum_lock);
}

/* A device that comes and goes: mirrors too, against callbacks. */
static void device_step(struct worker *w)
{
	const struct dmirror_opts opts = {
		.engines = 1,
		.window_pages = 1u << draw(w, 10),
		.max_tables = 4 + (unsigned int)draw(w, 64),
		.verify = chance(w, 1, 2),
		.settle = settle,
	};
	struct dmirror *dm;
	int ret, i, n = 1 + (int)draw(w, 50);

	worker_outside(w);
	ret = dmirror_create(&dm, t.mm, &opts);
	tally(devices, !ret);
	if (ret) {
		usleep(10000);
		return;
	}
	for (i = 0; i < n && !stopping(); i++)
		run_some(w, dm);
	dmirror_verify(dm, ~0ul);
	add(dm);
	while (dmirror_destroy(dm) == -ETIMEDOUT)
		;
}

const struct role role_device = { "device", 1, true, device_step };

uint64_t engines_report(void)
{
	dmirror_verify(device, ~0ul);
	add(device);
	dmirror_destroy(device);
	printf("devices: %lu translations compared%s, %lu suspects, %lu "
	       "refused; %lu faults of %lu pages, %lu -EBUSY, %lu changed "
	       "before they were installed, %lu removed, %lu blocks split\n",
	       sum.verified,
	       sum.verify_presence ? " (whether present, no PFNs)" : "",
	       sum.suspects, sum.refused, sum.faults, sum.faulted_pages,
	       sum.retries_busy, sum.retries_valid, sum.invalidated_pages,
	       sum.huge_splits);
	t.shared->stale += sum.stale;
	t.shared->undecided += sum.undecided;
	return sum.verified;
}
