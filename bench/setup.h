/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* setup.h - memory, and ranges over it */
#ifndef BENCH_SETUP_H
#define BENCH_SETUP_H

#include "bench.h"

extern const uint64_t bench_flags[HMM_PFN_FLAG_MAX];
extern const uint64_t bench_values[HMM_PFN_VALUE_MAX];

/* A range over touched memory of its own, with a snapshot. */
struct watched {
	struct mm_struct *mm;
	struct hmm_range range;
	char *memory;
	size_t pages;
	char *elsewhere; /* a page, away from it */
};

/* False: the line says why. */
bool watch(struct watched *w, const char *source, size_t pages,
	   struct bench_line *line);
void unwatch(struct watched *w);

/* Anonymous memory without huge pages; NULL if there is none. */
char *map(size_t pages);
void touch(char *memory, size_t pages);

/* A VM of this process, for good: the kernel has KVM's notifier in its mm. */
bool bench_vm(void);

/* Set up but for its place. */
void range_init(struct hmm_range *range, uint64_t *pfns);
/* Wait, then snapshot, until it isn't busy. */
long range_snapshot(struct hmm_range *range, struct mm_struct *mm);

/*
 * Registered ranges of a page each, far away from any mapped memory: their
 * addresses ascend, or are scattered.
 */
struct herd {
	struct mm_struct *mm;
	struct hmm_range *range;
	size_t nr;
};
bool herd_start(struct herd *herd, struct mm_struct *mm, size_t nr,
		bool scattered);
void herd_stop(struct herd *herd);

/* A permutation-like hash: the next of a scattered sequence. */
static inline uint64_t scatter(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

#endif
