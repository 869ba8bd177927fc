/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * hooks.h - included before anything else: hmm.h's inline loads are
 * scheduling points, too
 */
#ifndef EXPLORE_HOOKS_H
#define EXPLORE_HOOKS_H

#include "schedule.h"

#define hmm_load_acquire(p)                              \
	({                                               \
		sched_point("load " #p, p);              \
		*(const volatile __typeof__(*(p)) *)(p); \
	})

#endif
