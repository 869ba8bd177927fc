/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* addr_set.h - a set of addresses */
#ifndef HMM_ADDR_SET_H
#define HMM_ADDR_SET_H

#include "interval.h"

/* Zeroed is empty.  The caller has a lock. */
struct addr_set {
	struct hmm_interval_tree tree;
	struct hmm_interval *spare; /* unused nodes, by their left */
	unsigned int spares;
	unsigned int nr; /* intervals in the tree */
};

/* Is all of [start, end) in it? */
bool addr_set_contains(const struct addr_set *set, unsigned long start,
		       unsigned long end);

/* As many are kept for later. */
#define ADDR_SET_SPARES 64

/* Have room for one more.  False: there is enough, node is the caller's. */
bool addr_set_give(struct addr_set *set, struct hmm_interval *node);

/*
 * Without room a set holds less than it should: for what is known, where not to
 * know costs time only.  Neither of these allocates or frees: the application's
 * allocator may be waiting for a fork, which waits for the caller's lock, or
 * unmap memory.
 */
void addr_set_add(struct addr_set *set, unsigned long start, unsigned long end);
void addr_set_remove(struct addr_set *set, unsigned long start,
		     unsigned long end);

/* Empty it, and give its memory back. */
void addr_set_free(struct addr_set *set);

#endif
