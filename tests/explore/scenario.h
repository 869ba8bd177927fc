/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* scenario.h - a few tasks that meet */
#ifndef EXPLORE_SCENARIO_H
#define EXPLORE_SCENARIO_H

#include <stdbool.h>

#include "fiber.h"

struct scenario {
	const char *name;
	const char *what;
	void (*setup)(void);
	struct {
		const char *name;
		fiber_fn fn;
		void *arg;
		bool daemon; /* a schedule ends when only these are left */
	} tasks[FIBERS + 1];
	/* After the last task has ended, besides the oracle's own checks. */
	void (*end)(void);
	unsigned int faults; /* how many things may go wrong in a schedule */
	bool timeouts;       /* a wait that times out is one of them */
	bool large;          /* so many schedules: one preemption less */
};

extern const struct scenario *const scenarios[];

#endif
