/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* range.h - what the rest of the core needs of range.c */
#ifndef HMM_RANGE_H
#define HMM_RANGE_H

#include "host.h"

static inline unsigned int hmm_range_shift(const struct hmm_range *range)
{
	return range->page_shift ? range->page_shift : PAGE_SHIFT;
}

/* Under hmm->lock; seq is what hmm_range_valid() reads without it. */
static inline void hmm_range_invalidate(struct hmm_range *range)
{
	range->valid = false;
	WRITE_ONCE(range->seq, HMM_SEQ_NONE);
}

/*
 * hmm_range_register() and hmm_range_unregister() without the pin, for ranges
 * that live as long as something that the address space itself keeps alive.
 * mm is in use when a range is inserted, and when it is walked.
 */
int hmm_range_insert(struct hmm_range *range, struct mm_struct *mm,
		     unsigned long start, unsigned long end);
void hmm_range_remove(struct hmm_range *range);

/*
 * Sample the sequence and become valid, to be taken back by any overlapping
 * change that starts from now on.  Before the first entry is read.
 * 0; -EBUSY a change is in progress; -EFAULT dead.
 */
int hmm_range_arm(struct hmm_range *range);
/* What was read is not to be used. */
void hmm_range_disarm(struct hmm_range *range);

#endif
