/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* madvise_wait.h - wait until madvise() calls of this process are over */
#ifndef HMM_MADVISE_WAIT_H
#define HMM_MADVISE_WAIT_H

#include <stddef.h>

#define HMM_DISCARDS 32

/* Memory that somebody is discarding.  Zeroed is empty. */
struct hmm_discards {
	struct {
		unsigned long start, end;
	} range[HMM_DISCARDS];
	unsigned int nr;
};

/* With no room left the set answers for more than was added, never for less. */
void hmm_discards_add(struct hmm_discards *d, unsigned long start,
		      unsigned long end);

/*
 * Return once every call of madvise() on memory in the set that had begun
 * before has ended.  0; -ETIMEDOUT after ms, and why tells which thread could
 * not be seen outside; -errno.  Allocates, sleeps.
 */
int hmm_madvise_wait(const struct hmm_discards *d, unsigned long ms, char *why,
		     size_t size);

#endif
