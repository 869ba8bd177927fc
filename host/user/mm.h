/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* mm.h - libhmm's address space: a process that is watched by a source */
#ifndef HMM_MM_H
#define HMM_MM_H

#include <pthread.h>

#include "events.h"
#include "fault.h"
#include "host.h"
#include "source.h"
#include "vma.h"

/*
 * struct mm_struct - a process, this one or another, seen through one source
 *
 * The memory of an mm is never given back, only used again: a late call with
 * an mm that was detached finds it dead, not freed.
 *
 * attached counts hmm_mm_attach(); at zero the mm is dead.  pins counts those
 * and whatever else needs it in memory: ranges and mirrors.  The source lives
 * until the last pin is gone, because ranges read its counter.  Both are under
 * the registry's lock in mm.c, as is freeing: the last pin is being dropped.
 */
struct mm_struct {
	struct hmm hmm;
	struct mm_struct *next;
	unsigned int attached;
	unsigned int pins;
	bool freeing;
	bool shared; /* by all who attach to the same */
	struct hmm_source *src;

	/* Zeroed by the kernel in a fork's child: MADV_WIPEONFORK. */
	const unsigned char *alive;
	bool forked;
	bool private_files;
	bool fork_begun; /* by the one who holds forking in mm.c */

	pthread_rwlock_t mmap_lock;
	struct hmm_own_fd pagemap;
	struct hmm_own_fd ksm;
	uint64_t no_ksm_at; /* started, when KSM was seen to share nothing */
	uint64_t shared_at; /* ... when it, or swap, was seen to be in use */
	bool pfns_virtual;

	struct hmm_vmas vmas;
	struct hmm_events events;
	struct hmm_faulter faulter;
};

static inline struct mm_struct *mm_of(struct hmm *hmm)
{
	return hmm->mm;
}

/* False in a child that inherited the mm: nothing watches its memory. */
static inline bool mm_alive(const struct mm_struct *mm)
{
	return !READ_ONCE(mm->forked) &&
	       __atomic_load_n(mm->alive, __ATOMIC_RELAXED);
}

/* atfork.c: have these, of mm.c, run at each fork().  0 or -errno. */
int hmm_register_fork(void);
int hmm_register_fork_begin(void);
void hmm_fork_begin(void);
void hmm_fork_prepare(void);
void hmm_fork_parent(void);
void hmm_fork_child(void);

/* pagemap.c: open it, and learn whether it shows pfns.  0 or -errno. */
int hmm_pagemap_open(struct mm_struct *mm);
void hmm_pagemap_close(struct mm_struct *mm);
/* One entry of /proc/self/pagemap a page, as they are.  0 or -errno. */
int hmm_pagemap_read(struct mm_struct *mm, unsigned long start,
		     unsigned long end, uint64_t *entries);
#define PM_SWAP (1ull << 62)
#define PM_PRESENT (1ull << 63)

#endif
