/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * uncancelled.h - a thread is not cancelled inside the library
 *
 * What a call holds, locks and a range on the caller's stack, nobody would let
 * go.  So what may be a cancellation point runs in a block that begins with
 * this; a request to cancel waits for one of the application's own.
 */
#ifndef HMM_UNCANCELLED_H
#define HMM_UNCANCELLED_H

#include <pthread.h>

static inline int hmm_cancel_off(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void hmm_cancel_restore(const int *state)
{
	int off;

	pthread_setcancelstate(*state, &off);
}

#define HMM_UNCANCELLED                                                \
	const int cancel_state_                                        \
		__attribute__((cleanup(hmm_cancel_restore), unused)) = \
			hmm_cancel_off()

#endif
