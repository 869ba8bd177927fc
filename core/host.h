/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * host.h - what the core asks of a host, and what it gives to one
 *
 * A host is whatever gives the core an address space: a process (host/user),
 * the kernel (host/kernel), a simulation (tests/explore).  Its port.h, found
 * by the include path, supplies under the kernel's own names:
 *
 *	spinlock_t, spin_lock_init, spin_lock, spin_unlock, lockdep_assert_held
 *	wait_queue_head_t, init_waitqueue_head, wake_up_all,
 *	wait_event_timeout(wq, condition, jiffies), msecs_to_jiffies
 *	kvmalloc_array(n, size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN), kvfree
 *	READ_ONCE, WRITE_ONCE, smp_store_release, current
 *	mmget_not_zero(mm), mmput(mm)
 *	mmap_read_lock(mm), mmap_read_unlock(mm), mmap_assert_locked(mm),
 *	mmap_assert_write_locked(mm)
 *	PAGE_SHIFT, PAGE_MASK, TASK_SIZE, IS_ERR, PTR_ERR, pr_warn, errno codes
 */
#ifndef HMM_HOST_H
#define HMM_HOST_H

#include "change.h"
#include "hmm.h"
#include "interval.h"
#include "port.h"

struct hmm_call;

/*
 * struct hmm - the state of one address space
 *
 * lock protects all below it.  It is a leaf: nothing is called with it held
 * but what a port must make safe there (wake_up_all).  The order with the
 * other locks, outermost first:
 *
 *	mmap lock -> the driver's L -> the host's drain lock -> hmm->lock
 *
 * A mirror's callback is called with none of ours held, and takes L.
 */
struct hmm {
	struct mm_struct *mm;
	wait_queue_head_t wq;

	/*
	 * Where the source counts the changes that it saw start, and how far
	 * they have been marked.  A host that marks synchronously, before the
	 * change, points started to consumed and leaves it zero.
	 * consumed is written under the lock, after the marks that it counts.
	 */
	const uint64_t *started;
	uint64_t consumed;

	spinlock_t lock;
	struct hmm_interval_tree ranges;
	struct hmm_changes changes;
	struct hmm_mirror *mirrors;
	struct hmm_call *calls;
	bool dead;
};

/* ---- What a host calls -------------------------------------------------- */

void hmm_init(struct hmm *hmm, struct mm_struct *mm, const uint64_t *started);

/*
 * A change of [start, end) is about to be made: every overlapping range stops
 * being valid, and none can be armed before the change has ended.  Never
 * fails, never sleeps.  For a host that is told the end as well.
 */
void hmm_invalidate_start(struct hmm *hmm, unsigned long start,
			  unsigned long end);
void hmm_invalidate_end(struct hmm *hmm, unsigned long start,
			unsigned long end);

/*
 * The same for a source that never tells an end.  The change stays open until
 * its owner (the thread that made it, if not 0) is seen to be past it, or a
 * barrier begun after it was opened is over.
 */
void hmm_invalidate_open(struct hmm *hmm, unsigned long start,
			 unsigned long end, uint64_t owner);
/* True if some change is still in the set. */
bool hmm_invalidate_close_owner(struct hmm *hmm, uint64_t owner);
/* 0 if nothing is open, and no barrier is needed. */
uint64_t hmm_barrier_begin(struct hmm *hmm);
void hmm_barrier_end(struct hmm *hmm, uint64_t gen);

/* A change that is over already: invalidates, keeps nothing open. */
void hmm_invalidate_past(struct hmm *hmm, unsigned long start,
			 unsigned long end);

/* Everything that the source had counted up to @consumed has been marked. */
void hmm_advance(struct hmm *hmm, uint64_t consumed);

/*
 * Run the mirrors' callbacks.  0, or the first error.  If @update is not
 * blockable no further mirror is told after one, and the change must not be
 * made; otherwise all are told, and the error is a driver's bug.
 */
int hmm_mirrors_sync(struct hmm *hmm, const struct hmm_update *update);
bool hmm_has_mirrors(struct hmm *hmm);
/* A record may be news to someone asleep: to a mirror, or of an awaited end. */
bool hmm_wants_records(struct hmm *hmm);

/*
 * The address space goes away.  hmm_kill() may be called anywhere and more
 * than once; hmm_release() runs the mirrors' release callbacks as well.
 */
void hmm_kill(struct hmm *hmm);
void hmm_release(struct hmm *hmm);

/* Is the calling task inside a callback of this mm? */
bool hmm_in_callback(struct hmm *hmm);
/* Wait until no callback runs; false if that took longer than ms. */
bool hmm_wait_callbacks(struct hmm *hmm, unsigned long ms);

/* ---- What a host supplies ----------------------------------------------- */

/*
 * The hmm of an mm, created if there is none yet; creators are serialised, so
 * both of two that race succeed.  ERR_PTR(-EFAULT) if the mm is dead.
 */
struct hmm *hmm_host_get(struct mm_struct *mm);
void hmm_host_put(struct hmm *hmm);

/*
 * The same for callers that don't hold the mmap lock for write.  A host that
 * can't create one then says ERR_PTR(-ENXIO).
 */
struct hmm *hmm_host_find(struct mm_struct *mm);

/* A mirror was registered: from now on there is someone to tell. */
void hmm_host_mirrors(struct hmm *hmm);

/*
 * Mark the changes that the source has seen.  Short; L may be held.  True if
 * all that had been counted before the call are marked now.
 */
bool hmm_host_sync(struct hmm *hmm);

/* Changes are open that only a barrier closes: have one run.  Does not wait. */
void hmm_host_settle(struct hmm *hmm);

/*
 * Make sure that changes of [start, end), inside a vma, will be seen.  0;
 * -EBUSY if it is not mapped like that any more; -errno.
 */
int hmm_host_cover(struct hmm *hmm, unsigned long start, unsigned long end);

/* HMM_VM_*, where the core needs them */
#define HMM_VMA_READ 0x1u
#define HMM_VMA_WRITE 0x2u
#define HMM_VMA_SPECIAL 0x10u
/*
 * Of pages that were present when the vma was looked up, the flags hold until
 * a change of them is told.  (Of others they may change silently: there is no
 * entry to change.)
 */
#define HMM_VMA_STAYS 0x80u

struct hmm_vma {
	unsigned long start, end;
	unsigned int flags;
};

/* The first vma that ends above addr.  0, -ENOENT, or -errno. */
int hmm_host_vma(struct mm_struct *mm, unsigned long addr, struct hmm_vma *vma);

/* A CPU page table entry as the core sees it, one a page. */
#define HMM_CPU_PRESENT (1ull << 0)
#define HMM_CPU_WRITE (1ull << 1)   /* known to be writable */
#define HMM_CPU_DEVICE (1ull << 2)  /* instead: private memory of a device */
#define HMM_CPU_ERROR (1ull << 3)   /* poisoned, or a guard */
#define HMM_CPU_FAULTED (1ull << 4) /* the core's: write-faulted */
#define HMM_CPU_PFN_SHIFT 8

/*
 * Read the entries of [start, end), all inside vma, as the one whose range it
 * is may see them.  A host may add flags of its own to the vma's: what it learnt
 * about these entries.  0 or -errno.
 */
int hmm_host_read(const struct hmm_range *range, struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu);

/*
 * Fault in [start, end), all inside vma, for reading or writing.
 * 0; -EBUSY try again; -EFAULT can't be had; -EPERM; -ENOMEM; -EINTR;
 * -EAGAIN (not block) it would wait, and the mmap lock was dropped.
 */
int hmm_host_fault(struct mm_struct *mm, const struct hmm_vma *vma,
		   unsigned long start, unsigned long end, bool write,
		   bool block);

#endif
