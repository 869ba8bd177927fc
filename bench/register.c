// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * register.c - register and unregister, among many
 *
 * The floor is what libc has for a sorted set, the red-black tree of
 * tsearch(), with the same keys and in the same order.
 */
#include <malloc.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#include "setup.h"
#include "team.h"

struct place {
	struct herd herd;
	size_t next;
	bool scattered;
	void *tree;
};

/* Some range: in order, or any. */
static struct hmm_range *pick(struct place *p)
{
	size_t i = p->next++;

	return &p->herd.range[(p->scattered ? scatter(i) : i) % p->herd.nr];
}

static uint64_t register_again(void *ctx, unsigned int n)
{
	struct place *p = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct hmm_range *range = pick(p);

		hmm_range_unregister(range);
		if (hmm_range_register(range, p->herd.mm, range->start,
				       range->end))
			abort();
	}
	return bench_now() - begin;
}

static int compare(const void *a, const void *b)
{
	const struct hmm_range *x = a, *y = b;

	/* Equal starts happen; both trees keep all of them. */
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x < y ? -1 : x > y;
}

static uint64_t search_again(void *ctx, unsigned int n)
{
	struct place *p = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct hmm_range *range = pick(p);

		tdelete(range, &p->tree, compare);
		if (!tsearch(range, &p->tree, compare))
			abort();
	}
	return bench_now() - begin;
}

/* The least that a set of several threads needs: a lock. */
static struct {
	pthread_mutex_t lock;
	void *tree;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t search_locked(void *ctx, unsigned int n)
{
	struct place *p = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct hmm_range *range = pick(p);

		pthread_mutex_lock(&shared.lock);
		tdelete(range, &shared.tree, compare);
		pthread_mutex_unlock(&shared.lock);
		pthread_mutex_lock(&shared.lock);
		if (!tsearch(range, &shared.tree, compare))
			abort();
		pthread_mutex_unlock(&shared.lock);
	}
	return bench_now() - begin;
}

/* Cold, as it is found: the first access to it is the caller's. */
static uint64_t touch_again(void *ctx, unsigned int n)
{
	struct place *p = ctx;
	uint64_t begin = bench_now(), sum = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		/* Nothing, but the next one isn't known before this one is there. */
		p->next += sum >> 63;
		sum = ((volatile struct hmm_range *)pick(p))->seq;
	}
	return bench_now() - begin;
}

static void nothing(void *node)
{
	(void)node;
}

static void one(struct mm_struct *mm, size_t nr, bool scattered)
{
	struct place p = { .scattered = scattered };
	struct bench_line *line;
	size_t i;

	line = bench_line_of(scattered ? "register + unregister, scattered"
				       : "register + unregister, in order",
			     "tsearch() + tdelete()", (double)nr, "ranges");
	line->goal_ns = 1000;
	if (!herd_start(&p.herd, mm, nr, scattered)) {
		bench_skip(line, "no memory");
		return;
	}
	for (i = 0; i < nr; i++)
		tsearch(&p.herd.range[i], &p.tree, compare);
	bench_pair(line, &(struct bench_side){ register_again, &p, 0 },
		   &(struct bench_side){ search_again, &p, 0 });
	if (scattered) {
		line = bench_line_of("register + unregister, cold",
				     "a look at any of the ranges", (double)nr,
				     "ranges");
		bench_pair(line, &(struct bench_side){ register_again, &p, 0 },
			   &(struct bench_side){ touch_again, &p, 0 });
	}
	tdestroy(p.tree, nothing);
	herd_stop(&p.herd);
}

/* Each has 1,000 ranges of its own, in one set. */
static void by_threads(struct mm_struct *mm, unsigned int nr)
{
	struct bench_line *line =
		bench_line_of("register + unregister",
			      "tsearch() + tdelete(), locked", nr, "threads");
	static struct place p[BENCH_TEAM];
	void *ctx[BENCH_TEAM];
	struct bench_team a, b;
	unsigned int i;
	size_t k;

	for (i = 0; i < nr; i++) {
		p[i] = (struct place){ .scattered = true };
		ctx[i] = &p[i];
		if (!herd_start(&p[i].herd, mm, 1000, true)) {
			bench_skip(line, "no memory");
			return;
		}
		for (k = 0; k < 1000; k++)
			tsearch(&p[i].herd.range[k], &shared.tree, compare);
	}
	bench_team_start(&a, register_again, ctx, nr);
	bench_team_start(&b, search_locked, ctx, nr);
	bench_pair(line, &(struct bench_side){ bench_team_run, &a, 0 },
		   &(struct bench_side){ bench_team_run, &b, 0 });
	bench_team_stop(&a);
	bench_team_stop(&b);
	tdestroy(shared.tree, nothing);
	shared.tree = NULL;
	for (i = 0; i < nr; i++)
		herd_stop(&p[i].herd);
}

/* What a registered range takes, besides the driver's pfns. */
static void memory(struct mm_struct *mm)
{
	struct bench_line *line = bench_line("memory of a range", "128 bytes");
	size_t nr = 100000, before = mallinfo2().uordblks, after;
	struct herd herd;

	line->goal = 1;
	if (!herd_start(&herd, mm, nr, true)) {
		bench_skip(line, "no memory");
		return;
	}
	/* The array of ranges is mapped, and in neither. */
	after = mallinfo2().uordblks;
	bench_value(line,
		    (double)sizeof(struct hmm_range) +
			    (double)(after - before) / (double)nr,
		    128);
	herd_stop(&herd);
}

void bench_register(void)
{
	static const size_t nr[] = { 1, 1000, 100000, 1000000 };
	char why[192] = "";
	struct mm_struct *mm = bench_attach(NULL, why, sizeof(why));
	unsigned int i;

	if (!mm) {
		bench_skip(bench_line("register + unregister", ""), "%s", why);
		return;
	}
	for (i = 0; i < 4; i++) {
		if (bench_options.quick && nr[i] == 100000)
			continue;
		one(mm, nr[i], false);
		one(mm, nr[i], true);
	}
	for (i = 1; i <= BENCH_TEAM; i *= 2)
		by_threads(mm, i);
	memory(mm);
	hmm_mm_detach(mm);
}
