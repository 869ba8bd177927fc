/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* addr_set.h - a set of addresses */
#ifndef HMM_ADDR_SET_H
#define HMM_ADDR_SET_H

#include "interval.h"

/* Zeroed is empty.  The caller has a lock. */
struct addr_set {
	struct hmm_interval_tree tree;
	struct hmm_interval *spare; /* unused nodes, by their left */
};

/* Is all of [start, end) in it? */
bool addr_set_contains(const struct addr_set *set, unsigned long start,
		       unsigned long end);

/*
 * Without memory a set holds less than it should: for what is known, where not
 * to know costs time only.  Neither of these frees: the application's allocator
 * would be asked to unmap memory with the caller's lock held.
 */
void addr_set_add(struct addr_set *set, unsigned long start, unsigned long end);
void addr_set_remove(struct addr_set *set, unsigned long start,
		     unsigned long end);

/* Empty it, and give its memory back. */
void addr_set_free(struct addr_set *set);

#endif
