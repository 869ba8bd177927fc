/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* walker.h - page tables, without a name of either hmm.h */
#ifndef HMM_WALKER_H
#define HMM_WALKER_H

#include <linux/types.h>

struct mm_struct;

/* At most so many pages in one call. */
#define HMM_WALKER_PAGES 64

/* The core's HMM_CPU_*, which vma.c checks. */
#define HMM_WALKER_PRESENT (1ull << 0)
#define HMM_WALKER_WRITE (1ull << 1)
#define HMM_WALKER_ERROR (1ull << 3)
#define HMM_WALKER_PFN_SHIFT 8

/*
 * Read the entries of [start, end), all in one vma that may be read.  mmap
 * lock held for read; may sleep, for a migration to end.  0 or -errno.
 */
int hmm_walker_read(struct mm_struct *mm, unsigned long start,
		    unsigned long end, u64 *cpu);

/* As hmm_host_fault(), of the same vma. */
int hmm_walker_fault(struct mm_struct *mm, unsigned long start,
		     unsigned long end, bool write, bool block);

#endif
