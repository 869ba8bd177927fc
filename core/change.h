/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* change.h - the changes of a page table that are in progress */
#ifndef HMM_CHANGE_H
#define HMM_CHANGE_H

#include "hmm.h"

/*
 * Room for distinct changes at one time.  A change is never refused: with all
 * slots taken the set answers for more than is true, never for less.
 */
#define HMM_CHANGES 64

struct hmm_change {
	unsigned long start, end;
	uint64_t owner; /* the thread that makes it, 0 if not known */
	uint64_t gen;   /* the barrier generation it was opened in */
	bool told;      /* its end will be */
};

struct hmm_changes {
	/* One more, for the change of everything that takes the others' place. */
	struct hmm_change slot[HMM_CHANGES + 1];
	unsigned int nr;
	unsigned int unlisted; /* started with no slot left: overlap anything */
	uint64_t gen;
};

/* Changes whose end will be told: start and end come in pairs. */
void hmm_changes_start(struct hmm_changes *c, unsigned long start,
		       unsigned long end);
void hmm_changes_end(struct hmm_changes *c, unsigned long start,
		     unsigned long end);

/*
 * Changes whose end nobody tells: open until their owner or a barrier closes
 * them.  [0, ~0ul) says that records were lost, maybe those of ends: the next
 * barrier then closes what it has outlived of the other kind as well.
 */
void hmm_changes_open(struct hmm_changes *c, unsigned long start,
		      unsigned long end, uint64_t owner);
/* True if any was closed. */
bool hmm_changes_close_owner(struct hmm_changes *c, uint64_t owner);
/*
 * Everything opened so far is older than the generation that this returns;
 * 0 if nothing is open.
 */
uint64_t hmm_changes_mark(struct hmm_changes *c);
void hmm_changes_close_before(struct hmm_changes *c, uint64_t gen);

/* Is there one whose end will be told? */
bool hmm_changes_told(const struct hmm_changes *c);

bool hmm_changes_overlap(const struct hmm_changes *c, unsigned long start,
			 unsigned long end);

#endif
