/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* device.h - what the tests of the software device share */
#ifndef TESTS_DEVICE_H
#define TESTS_DEVICE_H

#include "support.h"

#include "dmirror.h"
#include "migrations.h"

/* When the first device was made; of which level the last one's source is. */
static uint64_t migrations_before, reclaims_before;
static int device_level;

static inline struct dmirror *device(struct mm_struct *mm,
				     const struct dmirror_opts *opts)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	struct dmirror *dm = NULL;

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	device_level = info.level;
	if (!migrations_before) {
		migrations_before = migrations();
		reclaims_before = reclaims();
	}
	assert_int_equal(dmirror_create(&dm, mm, opts), 0);
	return dm;
}

static inline struct dmirror_stats stats_of(struct dmirror *dm)
{
	struct dmirror_stats stats;

	dmirror_stats(dm, &stats);
	return stats;
}

/* As long as a callback runs, if this takes more than the library waits. */
static inline int device_destroy(struct dmirror *dm)
{
	int ret;

	do
		ret = dmirror_destroy(dm);
	while (ret == -ETIMEDOUT);
	return ret;
}

/* A driver gives up when a change takes longer than a second to end. */
static inline int run_patiently(struct dmirror *dm, struct dmirror_op *op)
{
	int ret;

	do
		ret = dmirror_run(dm, op);
	while (ret == -ETIMEDOUT);
	return ret;
}

static inline int dev_read(struct dmirror *dm, const void *p, void *buf,
			   size_t len)
{
	struct dmirror_op op = { .type = DMIRROR_READ,
				 .addr = (unsigned long)p,
				 .len = len,
				 .buf = buf };

	return run_patiently(dm, &op);
}

static inline int dev_write(struct dmirror *dm, const void *p, void *buf,
			    size_t len)
{
	struct dmirror_op op = { .type = DMIRROR_WRITE,
				 .addr = (unsigned long)p,
				 .len = len,
				 .buf = buf };

	return run_patiently(dm, &op);
}

static inline int dev_fill(struct dmirror *dm, const void *p, uint8_t value,
			   size_t len)
{
	struct dmirror_op op = { .type = DMIRROR_FILL,
				 .addr = (unsigned long)p,
				 .len = len,
				 .value = value };

	return run_patiently(dm, &op);
}

static inline int dev_copy(struct dmirror *dm, void *dst, const void *src,
			   size_t len)
{
	struct dmirror_op op = { .type = DMIRROR_COPY,
				 .addr = (unsigned long)src,
				 .dst = (unsigned long)dst,
				 .len = len };

	return run_patiently(dm, &op);
}

static inline int dev_checksum(struct dmirror *dm, const void *p, size_t len,
			       uint64_t *sum)
{
	struct dmirror_op op = { .type = DMIRROR_CHECKSUM,
				 .addr = (unsigned long)p,
				 .len = len };
	int ret = run_patiently(dm, &op);

	*sum = op.result;
	return ret;
}

static inline int dev_add(struct dmirror *dm, const void *p, uint64_t value,
			  uint64_t *old)
{
	struct dmirror_op op = { .type = DMIRROR_ADD,
				 .addr = (unsigned long)p,
				 .len = 8,
				 .value = value };
	int ret = run_patiently(dm, &op);

	*old = op.result;
	return ret;
}

/* Wait until the mirrors have been told of all that has been done so far. */
static inline void settle(struct mm_struct *mm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t started;

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	started = info.started;
	while (info.told < started) {
		usleep(1000);
		assert_int_equal(hmm_mm_query(mm, &info), 0);
	}
}

/* What the kernel does with pages, a source of level 1 does not see. */
static inline bool moved_unseen(void)
{
	return device_level < 2 &&
	       (moved_since(migrations, migrations_before) ||
		moved_since(reclaims, reclaims_before));
}

/* The oracle has nothing against the device, and has looked. */
static inline void assert_not_stale(struct dmirror *dm)
{
	struct dmirror_stats stats;

	assert_true(dmirror_verify(dm, ~0ul) >= 0);
	stats = stats_of(dm);
	if (stats.stale && moved_unseen()) {
		print_message("%lu translations of pages that were moved\n",
			      stats.stale);
		return;
	}
	if (stats.stale)
		print_message("stale: %#lx entry %#lx pagemap %#lx started %lu "
			      "told %lu access %d\n",
			      stats.last_stale.addr, stats.last_stale.entry,
			      stats.last_stale.pagemap,
			      stats.last_stale.started, stats.last_stale.told,
			      stats.last_stale.access);
	assert_int_equal(stats.stale, 0);
}

#endif
