// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * valid.c - what it costs to ask whether a range still holds
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "setup.h"
#include "team.h"

/* The least that can tell a driver whether anything has changed. */
struct loads {
	volatile uint64_t now, then;
} __attribute__((aligned(64)));

static uint64_t two_loads(void *ctx, unsigned int n)
{
	struct loads *l = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

#pragma GCC unroll 8
	for (i = 0; i < n; i++)
		if (l->now != l->then)
			abort();
	return bench_now() - begin;
}

static uint64_t valid(void *ctx, unsigned int n)
{
	struct watched *w = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	/* What others do may be counted; the range stays armed. */
#pragma GCC unroll 8
	for (i = 0; i < n; i++)
		if (!hmm_range_valid(&w->range) && !w->range.valid)
			abort();
	return bench_now() - begin;
}

/* The change, and then the question. */
static uint64_t change_and_ask(struct watched *w, unsigned int n, bool ask)
{
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++) {
		w->elsewhere[0] = 1;
		madvise(w->elsewhere, BENCH_PAGE, MADV_DONTNEED);
		if (ask)
			hmm_range_valid(&w->range);
	}
	return bench_now() - begin;
}

static uint64_t disjoint(void *ctx, unsigned int n)
{
	return change_and_ask(ctx, n, true);
}

static uint64_t only_change(void *ctx, unsigned int n)
{
	return change_and_ask(ctx, n, false);
}

/* Each asks about a range of its own, and reads the same counter. */
static void by_threads(const char *name, const char *source, unsigned int nr)
{
	struct bench_line *line =
		bench_line_of(name, "two loads", nr, "threads");
	static struct watched w[BENCH_TEAM];
	static struct loads loads[BENCH_TEAM];
	void *ours[BENCH_TEAM], *floor[BENCH_TEAM];
	struct bench_team a, b;
	unsigned int i;

	line->goal = 2;
	for (i = 0; i < nr; i++) {
		if (!watch(&w[i], source, 16, line))
			return;
		loads[i] = (struct loads){ 1, 1 };
		ours[i] = &w[i];
		floor[i] = &loads[i];
	}
	bench_team_start(&a, valid, ours, nr);
	bench_team_start(&b, two_loads, floor, nr);
	bench_pair(line, &(struct bench_side){ bench_team_run, &a, 0 },
		   &(struct bench_side){ bench_team_run, &b, 0 });
	bench_team_stop(&a);
	bench_team_stop(&b);
	for (i = 0; i < nr; i++)
		unwatch(&w[i]);
}

void bench_valid(void)
{
	static const char *const sources[] = { "kvm", "uffd" };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct bench_line *line;
		struct watched w;
		char name[64];
		unsigned int nr;

		snprintf(name, sizeof(name), "valid(), %s", sources[i]);
		for (nr = 1; nr <= BENCH_TEAM; nr *= 2)
			by_threads(name, sources[i], nr);
		snprintf(name, sizeof(name),
			 "change elsewhere, then valid(), %s", sources[i]);
		line = bench_line(name, "the same change");
		if (!watch(&w, sources[i], 16, line))
			continue;
		bench_pair(line, &(struct bench_side){ disjoint, &w, 0 },
			   &(struct bench_side){ only_change, &w, 0 });
		unwatch(&w);
	}
}
