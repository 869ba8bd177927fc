// SPDX-License-Identifier: MIT OR GPL-2.0
/* stats.c - counters, histograms and the event hook */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

uint64_t dm_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void dm_tell(struct dmirror *dm, struct dmirror_event event)
{
	if (!dm->opts.event)
		return;
	event.time = dm_now_ns();
	dm->opts.event(dm->opts.event_ctx, &event);
}

void dm_hist_add(struct dmirror_hist *hist, uint64_t ns)
{
	unsigned int i = ns ? 63 - (unsigned int)__builtin_clzll(ns) : 0;
	uint64_t max = __atomic_load_n(&hist->max, __ATOMIC_RELAXED);

	if (i >= DMIRROR_HIST_BUCKETS)
		i = DMIRROR_HIST_BUCKETS - 1;
	__atomic_fetch_add(&hist->bucket[i], 1, __ATOMIC_RELAXED);
	while (ns > max &&
	       !__atomic_compare_exchange_n(&hist->max, &max, ns, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

uint64_t dmirror_hist_quantile(const struct dmirror_hist *hist, double q)
{
	uint64_t total = 0, below = 0;
	unsigned int i;

	for (i = 0; i < DMIRROR_HIST_BUCKETS; i++)
		total += hist->bucket[i];
	if (!total)
		return 0;
	for (i = 0; i < DMIRROR_HIST_BUCKETS - 1; i++) {
		below += hist->bucket[i];
		if ((double)below >= q * (double)total)
			break;
	}
	return (2ull << i) < hist->max ? 2ull << i : hist->max;
}

const char *dmirror_op_name(enum dmirror_op_type type)
{
	static const char *const names[DMIRROR_OP_MAX] = {
		[DMIRROR_READ] = "read",         [DMIRROR_WRITE] = "write",
		[DMIRROR_COPY] = "copy",         [DMIRROR_FILL] = "fill",
		[DMIRROR_CHECKSUM] = "checksum", [DMIRROR_ADD] = "add",
	};

	return type < DMIRROR_OP_MAX ? names[type] : "?";
}

static void gauges(struct dmirror *dm, struct dmirror_stats *stats)
{
	pthread_mutex_lock(&dm->last_lock);
	stats->last_stale = dm->stats.last_stale;
	pthread_mutex_unlock(&dm->last_lock);

	pthread_rwlock_rdlock(&dm->lock);
	stats->huge_entries = dm->pt.huge;
	stats->huge_splits = dm->pt.splits;
	stats->mapped_bytes = dm->pt.mapped;
	stats->mapped_peak = dm->pt.peak;
	stats->tables = dm->pt.tables;
	pthread_rwlock_unlock(&dm->lock);
}

void dmirror_stats(struct dmirror *dm, struct dmirror_stats *stats)
{
	const size_t words =
		offsetof(struct dmirror_stats, last_stale) / sizeof(uint64_t);
	const uint64_t *from = (const uint64_t *)&dm->stats;
	uint64_t *to = (uint64_t *)stats;
	size_t i;

	memset(stats, 0, sizeof(*stats));
	for (i = 0; i < words; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	/* In a fork's child the locks may be held by who is not there. */
	if (dm->pid == getpid())
		gauges(dm, stats);
}
