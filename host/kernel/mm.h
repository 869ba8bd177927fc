/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* mm.h - the parts of hmm.ko, for one another */
#ifndef HMM_KERNEL_MM_H
#define HMM_KERNEL_MM_H

#include <linux/list.h>

#include "host.h"

/**
 * struct hmm_listener - is told of starts and of ends
 * @node: private
 * @told: under the marks' lock, with the core's state already saying so; may
 *	not sleep and not fail.  ends: false at the start
 * @gone: likewise, once: there is no address space any more
 */
struct hmm_listener {
	struct list_head node;
	void (*told)(struct hmm_listener *listener, unsigned long start,
		     unsigned long end, enum hmm_change_kind kind, bool ends);
	void (*gone)(struct hmm_listener *listener);
};

/**
 * struct hmm_told - the update that each mirror is given, and what goes with it
 * @update: what it sees
 * @began: in jiffies, when the first mirror was called
 * @has_file_locks: who makes the change may have some, whatever its kind
 */
struct hmm_told {
	struct hmm_update update;
	unsigned long began;
	bool has_file_locks;
};

/**
 * hmm_listen() - be told
 * @hmm: the caller has a reference, from hmm_host_get(), until hmm_unlisten()
 * @listener: told and gone set
 * @limit: how many may listen, with this one
 *
 * One who comes when the address space is gone is told that at once.
 *
 * Return: 0; -EUSERS there are that many.
 */
int hmm_listen(struct hmm *hmm, struct hmm_listener *listener,
	       unsigned int limit);

/**
 * hmm_unlisten() - the opposite
 * @hmm: as for hmm_listen()
 * @listener: is not told any more once this returns
 */
void hmm_unlisten(struct hmm *hmm, struct hmm_listener *listener);

/**
 * hmm_marks_lock() - have no change start or end
 * @hmm: as for hmm_listen()
 *
 * Context: a spinlock, outside hmm->lock.
 */
void hmm_marks_lock(struct hmm *hmm);

/**
 * hmm_marks_unlock() - the opposite
 * @hmm: locked
 */
void hmm_marks_unlock(struct hmm *hmm);

/**
 * hmm_mms_exit() - wait until no mm is known any more
 *
 * Context: may sleep; nobody may register a mirror or a range meanwhile.
 */
void hmm_mms_exit(void);

/**
 * hmm_dev_init() - make /dev/hmm
 *
 * Context: in the task that loads the module, see dev_bind.c.
 * Return: 0, or what misc_register() said.
 */
int hmm_dev_init(void);

/**
 * hmm_dev_exit() - take it away; nobody has it open
 */
void hmm_dev_exit(void);

#endif
