/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* interval.h - a set of half-open intervals that finds overlaps fast */
#ifndef HMM_INTERVAL_H
#define HMM_INTERVAL_H

#include "hmm.h"

struct hmm_interval_tree {
	struct hmm_interval *root;
};

/* Intervals may be equal or overlap; a node is in at most one tree. */
void hmm_interval_insert(struct hmm_interval_tree *tree,
			 struct hmm_interval *node);
void hmm_interval_remove(struct hmm_interval_tree *tree,
			 struct hmm_interval *node);

/*
 * Visit every node that overlaps [start, end), by ascending start:
 *	for (n = hmm_interval_first(t, s, e); n; n = hmm_interval_next(n, s, e))
 * The first costs O(log n), each further one O(log n) at worst.
 */
struct hmm_interval *hmm_interval_first(const struct hmm_interval_tree *tree,
					unsigned long start, unsigned long end);
struct hmm_interval *hmm_interval_next(struct hmm_interval *node,
				       unsigned long start, unsigned long end);

/* One overlap test for the whole core (rule 11: half open). */
static inline bool hmm_overlap(unsigned long a_start, unsigned long a_end,
			       unsigned long b_start, unsigned long b_end)
{
	return a_start < b_end && b_start < a_end;
}

#endif
