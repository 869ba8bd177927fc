// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mark.c - find the ranges that a change overlaps: our tree, the seed's list
 *
 * The seed went through all ranges for each change, with a mutex held.
 */
#include <pthread.h>
#include <stdlib.h>

#include "host.h"
#include "setup.h"

struct listed {
	struct listed *next;
	unsigned long start, end;
	bool valid;
};

struct marks {
	struct hmm hmm;
	struct hmm_range *range;
	size_t nr;
	pthread_mutex_t lock;
	struct listed *list;
	struct listed *entries;
	size_t next;
};

static unsigned long place(size_t i, size_t nr)
{
	/* An odd factor: each of a power of two many, in no order. */
	return ((i * 2654435761u) % nr * 2 + (1 << 20)) * BENCH_PAGE;
}

static uint64_t mark_tree(void *ctx, unsigned int n)
{
	struct marks *m = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++) {
		unsigned long start = place(m->next++, m->nr);

		hmm_invalidate_past(&m->hmm, start, start + BENCH_PAGE);
	}
	return bench_now() - begin;
}

static uint64_t mark_list(void *ctx, unsigned int n)
{
	struct marks *m = ctx;
	uint64_t begin = bench_now();
	struct listed *l;
	unsigned int i;

	for (i = 0; i < n; i++) {
		unsigned long start = place(m->next++, m->nr);
		unsigned long end = start + BENCH_PAGE;

		pthread_mutex_lock(&m->lock);
		for (l = m->list; l; l = l->next)
			if (l->start < end && start < l->end)
				l->valid = false;
		pthread_mutex_unlock(&m->lock);
	}
	return bench_now() - begin;
}

static void one(size_t nr)
{
	struct marks m = { .nr = nr };
	struct bench_line *line = bench_line_of("mark what a change overlaps",
						"the same on the seed's list",
						(double)nr, "ranges");
	size_t i;

	/* To be found in a tree takes a moment more than to be alone. */
	line->goal = nr == 1 ? 3 : 1;
	m.range = calloc(nr, sizeof(*m.range));
	m.entries = calloc(nr, sizeof(*m.entries));
	if (!m.range || !m.entries) {
		bench_skip(line, "no memory");
		goto out;
	}
	pthread_mutex_init(&m.lock, NULL);
	hmm_init(&m.hmm, NULL, NULL);
	for (i = 0; i < nr; i++) {
		unsigned long start = place(i, nr);

		m.range[i].start = start;
		m.range[i].end = start + BENCH_PAGE;
		hmm_interval_insert(&m.hmm.ranges, &m.range[i].node);
		m.entries[i] = (struct listed){
			.next = m.list,
			.start = start,
			.end = start + BENCH_PAGE,
		};
		m.list = &m.entries[i];
	}
	bench_pair(line, &(struct bench_side){ mark_tree, &m, 0 },
		   &(struct bench_side){ mark_list, &m, 0 });
out:
	free(m.range);
	free(m.entries);
}

void bench_mark(void)
{
	size_t nr;

	for (nr = 1; nr <= 1000000; nr *= bench_options.quick ? 1000 : 10)
		one(nr);
}
