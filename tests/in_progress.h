/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * in_progress.h - a change that goes on for as long as the test wants
 *
 * Needs mm.h, the library's own, and attached.h.
 */
#ifndef TESTS_IN_PROGRESS_H
#define TESTS_IN_PROGRESS_H

/* Not even a barrier may end it, which others' changes can cause at any time. */
static inline void start_change(unsigned long start, unsigned long end)
{
	struct hmm *hmm = &mm->hmm;
	unsigned int i;

	hmm_invalidate_start(hmm, start, end);
	spin_lock(&hmm->lock);
	for (i = 0; i < hmm->changes.nr; i++)
		if (hmm->changes.slot[i].told)
			hmm->changes.slot[i].gen = ~0ull;
	spin_unlock(&hmm->lock);
}

static inline void end_change(unsigned long start, unsigned long end)
{
	hmm_invalidate_end(&mm->hmm, start, end);
}

#endif
