/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* mm.h - the parts of hmm.ko, for one another */
#ifndef HMM_KERNEL_MM_H
#define HMM_KERNEL_MM_H

#include <linux/list.h>

#include "host.h"

/**
 * struct hmm_listener - is told of starts and of ends
 * @node: private
 * @told: under marks_lock, with the core's state already saying so; may not
 *	sleep and not fail.  ends: false at the start
 */
struct hmm_listener {
	struct list_head node;
	void (*told)(struct hmm_listener *listener, unsigned long start,
		     unsigned long end, enum hmm_change_kind kind, bool ends);
};

/* The caller has a reference to hmm, from hmm_host_get(), for as long. */
void hmm_listen(struct hmm *hmm, struct hmm_listener *listener);
void hmm_unlisten(struct hmm *hmm, struct hmm_listener *listener);

/*
 * Between these two no change starts or ends.  Outside hmm->lock; a spinlock.
 */
void hmm_marks_lock(struct hmm *hmm);
void hmm_marks_unlock(struct hmm *hmm);

/* Wait until no mm is known any more; nobody may register meanwhile. */
void hmm_mms_exit(void);

int hmm_dev_init(void);
void hmm_dev_exit(void);

#endif
