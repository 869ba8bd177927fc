// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pair.c - measure two sides in turns
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

/*
 * A batch is long against the clock's own cost, short against a time slice, so
 * that most batches run undisturbed even where CPUs are scarce.
 */
#define BATCH_NS 100000
#define PAIRS_MIN 5
#define PAIRS_MAX 2000

uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How often this thread's CPU was given to somebody else. */
static long preempted(void)
{
	struct rusage usage = { .ru_nivcsw = 0 };

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

uint64_t bench_batch(bench_fn fn, void *ctx, unsigned int n)
{
	int tries = 10;
	uint64_t ns;
	long before;

	do {
		before = preempted();
		ns = fn(ctx, n);
	} while (preempted() != before && --tries);
	return ns;
}

/* How many operations make a batch; also warms up. */
static unsigned int batch(const struct bench_side *side)
{
	unsigned int n = 1, max = side->max ? side->max : 1u << 20;

	while (n < max && side->fn(side->ctx, n) < BATCH_NS)
		n = n * 2 < max ? n * 2 : max;
	return n;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double quantile(const double *sorted, unsigned int nr, double q)
{
	double at = q * (nr - 1);
	unsigned int i = (unsigned int)at;

	if (i + 1 >= nr)
		return sorted[nr - 1];
	return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

static double once(const struct bench_side *side, unsigned int n)
{
	uint64_t ns = bench_batch(side->fn, side->ctx, n);

	return (ns ? (double)ns : 1) / n;
}

void bench_pair(struct bench_line *line, const struct bench_side *ours,
		const struct bench_side *floor)
{
	static double ratio[PAIRS_MAX], a[PAIRS_MAX], b[PAIRS_MAX];
	unsigned int i, n_ours = batch(ours), n_floor = batch(floor);
	uint64_t end = bench_now() + bench_options.ms * 1000000ull;

	for (i = 0; i < PAIRS_MAX && (i < PAIRS_MIN || bench_now() < end);
	     i++) {
		/* Neither side always comes first. */
		if (i & 1)
			b[i] = once(floor, n_floor);
		a[i] = once(ours, n_ours);
		if (!(i & 1))
			b[i] = once(floor, n_floor);
		ratio[i] = a[i] / b[i];
	}
	qsort(ratio, i, sizeof(*ratio), compare);
	qsort(a, i, sizeof(*a), compare);
	qsort(b, i, sizeof(*b), compare);
	line->ratio = quantile(ratio, i, .5);
	line->q1 = quantile(ratio, i, .25);
	line->q3 = quantile(ratio, i, .75);
	line->ns = quantile(a, i, .5);
	line->floor_ns = quantile(b, i, .5);
	line->pairs = i;
}
