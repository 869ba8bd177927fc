// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * team.c - a side of a pair that several threads do at the same time
 */
#include <stdlib.h>
#include <string.h>

#include "team.h"

static void *member(void *arg)
{
	struct bench_member *m = arg;
	struct bench_team *team = m->team;

	for (;;) {
		pthread_barrier_wait(&team->begin);
		if (!team->n)
			return NULL;
		m->ns = team->fn(m->ctx, team->n);
		pthread_barrier_wait(&team->end);
	}
}

void bench_team_start(struct bench_team *team, bench_fn fn, void **ctx,
		      unsigned int nr)
{
	unsigned int i;

	memset(team, 0, sizeof(*team));
	team->fn = fn;
	team->nr = nr;
	pthread_barrier_init(&team->begin, NULL, nr + 1);
	pthread_barrier_init(&team->end, NULL, nr + 1);
	for (i = 0; i < nr; i++) {
		struct bench_member *m = &team->member[i];

		m->team = team;
		m->ctx = ctx[i];
		if (pthread_create(&m->thread, NULL, member, m))
			abort();
	}
}

uint64_t bench_team_run(void *arg, unsigned int n)
{
	struct bench_team *team = arg;
	uint64_t sum = 0;
	unsigned int i;

	team->n = n;
	pthread_barrier_wait(&team->begin);
	pthread_barrier_wait(&team->end);
	for (i = 0; i < team->nr; i++)
		sum += team->member[i].ns;
	return sum / team->nr;
}

void bench_team_stop(struct bench_team *team)
{
	unsigned int i;

	team->n = 0;
	pthread_barrier_wait(&team->begin);
	for (i = 0; i < team->nr; i++)
		pthread_join(team->member[i].thread, NULL);
	pthread_barrier_destroy(&team->begin);
	pthread_barrier_destroy(&team->end);
}
