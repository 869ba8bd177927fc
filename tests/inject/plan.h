/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* plan.h - which call of the library is to fail, and how */
#ifndef INJECT_PLAN_H
#define INJECT_PLAN_H

#include <stdbool.h>
#include <stddef.h>

/* One for each line of calls.list that isn't "ok"; see wrap.c. */
enum call {
#define CALL(name, ...) CALL_##name,
#include "inject_calls.h"
#undef CALL
	CALL_callback, /* not a symbol: what a mirror's callback returns */
	NR_CALLS
};

#define MAX_ERRORS 8

struct call_info {
	const char *name;
	int errors[MAX_ERRORS]; /* ends with 0 */
};

extern const struct call_info calls[NR_CALLS];

/*
 * struct plan - what is to fail: the n-th call, from 1; with on, all later
 * ones as well.  Only calls between plan_start() and plan_stop() count.
 */
struct plan {
	enum call call;
	int error;
	long n;
	bool on;
};

extern struct plan plan;

void plan_start(enum call call, int error, long n, bool on);
/* How many calls failed: at the end, and so far. */
long plan_stop(void);
long plan_hits(void);
/* Nothing fails from here on; what did is still known. */
void plan_pause(void);

/*
 * Called by the wrapper of a call, with what it does: 0, or the error that it
 * has to fail with, which is in errno as well.
 */
int fails(enum call call);

/* How often each was called while a plan was going on, and failed. */
extern long called[NR_CALLS], failed[NR_CALLS];

/* Bytes that the library has mapped and not unmapped, ever. */
extern long mapped;

/* What the uffd monitor is to do; see monitor_wrap.c. */
enum monitor_fate {
	MONITOR_LIVES,
	MONITOR_BEFORE,
	MONITOR_AFTER,
	MONITOR_FAILS
};

/* At the end of the page that the process writes. */
struct monitor_plan {
	enum monitor_fate fate;
	int error;
	int n;
	int calls;
	int done;
};

extern struct monitor_plan monitor_plan;
/* Where the running monitor's is, NULL without one. */
extern struct monitor_plan *monitor_state;
/* What the last one's was when it had gone. */
extern struct monitor_plan monitor_last;

#endif
