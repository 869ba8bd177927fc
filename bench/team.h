/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* team.h - a side of a pair that several threads do at the same time */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <pthread.h>

#include "bench.h"

#define BENCH_TEAM 4

struct bench_team;

struct bench_member {
	struct bench_team *team;
	pthread_t thread;
	void *ctx;
	uint64_t ns;
};

struct bench_team {
	bench_fn fn;
	unsigned int nr, n;
	pthread_barrier_t begin, end;
	struct bench_member member[BENCH_TEAM];
};

/* Each of nr threads has a ctx of its own. */
void bench_team_start(struct bench_team *team, bench_fn fn, void **ctx,
		      unsigned int nr);
void bench_team_stop(struct bench_team *team);
/*
 * The side that has all of them do it n times.  What it takes one of them: with
 * as many CPUs as threads, and nothing in common, as long as one alone.
 */
uint64_t bench_team_run(void *team, unsigned int n);

#endif
