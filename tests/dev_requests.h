/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* dev_requests.h - what tests ask /dev/hmm for, and what it has to say */
#ifndef TESTS_DEV_REQUESTS_H
#define TESTS_DEV_REQUESTS_H

#include "dev_support.h"

#define PRESENT (1ull << 63)
#define PFN_MASK ((1ull << 55) - 1)

static inline bool is_root(void)
{
	return !geteuid();
}

static inline struct hmm_dev_range entries(const void *p, unsigned long pages,
					   uint64_t *pfns)
{
	struct hmm_dev_range r = {
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + pages * PAGE,
		.pfns = (uintptr_t)pfns,
		.nr = pages,
		.options = 0,
		.pfn_shift = DEV_SHIFT,
	};

	memcpy(r.flags, dev_flags, sizeof(r.flags));
	memcpy(r.values, dev_values, sizeof(r.values));
	return r;
}

/* Until nothing comes in between. */
static inline int walk(int fd, bool fault, struct hmm_dev_range *r)
{
	int tries = 100, ret;

	if (fault)
		r->options = HMM_DEV_BLOCK;
	do {
		ret = req(fd, fault ? HMM_DEV_FAULT : HMM_DEV_SNAPSHOT, r);
	} while (ret == -EBUSY && --tries);
	return ret;
}

static inline void read_pagemap(pid_t pid, const void *p, unsigned long pages,
				uint64_t *map)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/pagemap", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, map, pages * 8, (uintptr_t)p / PAGE * 8),
			 pages * 8);
	close(fd);
}

/* pages at p of a process are what its pagemap says. */
static inline void check_against_pagemap(int fd, pid_t pid, const void *p,
					 unsigned long pages)
{
	uint64_t pfns[64], map[64];
	struct hmm_dev_range r = entries(p, pages, pfns);
	unsigned long i;

	assert_true(pages <= 64);
	assert_int_equal(walk(fd, false, &r), 0);
	assert_int_equal(r.nr, pages);
	read_pagemap(pid, p, pages, map);
	for (i = 0; i < pages; i++) {
		if (!(map[i] & PRESENT)) {
			assert_int_equal(pfns[i], DEV_NONE);
			continue;
		}
		assert_int_equal(pfns[i] & DEV_VALID, DEV_VALID);
		if (is_root())
			assert_int_equal(pfns[i] >> DEV_SHIFT,
					 map[i] & PFN_MASK);
	}
}

static inline struct hmm_dev_vma vma_at(int fd, const void *p)
{
	struct hmm_dev_vma vma = { .addr = (uintptr_t)p, .pad = 7 };

	assert_int_equal(req(fd, HMM_DEV_VMA, &vma), 0);
	assert_int_equal(vma.pad, 0);
	return vma;
}

static inline uint32_t registered(int fd, const void *p, unsigned long pages)
{
	struct hmm_dev_register r = {
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + pages * PAGE,
	};

	assert_int_equal(req(fd, HMM_DEV_REGISTER, &r), 0);
	assert_int_not_equal(r.id, 0);
	return r.id;
}

#endif
