/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* internal.h - what the files of the device share */
#ifndef DMIRROR_INTERNAL_H
#define DMIRROR_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "dmirror.h"
#include "pagetable.h"

struct engine;

/*
 * struct dmirror - the device
 *
 * Locks, none of them held while another one of these is taken but add_lock,
 * which nests in lock:
 *
 * @lock	the lock L of hmm.h.  Held for read around every access through
 *		translations, so that a writer (the mirror's callback above all)
 *		has waited for the accesses in flight, as a device's unmap does.
 *		Held for write to change a translation.
 * @add_lock	makes ADD atomic.
 * @qlock	the queue and the state of commands.
 * @last_lock	stats.last_stale.
 */
struct dmirror {
	struct mm_struct *mm;
	struct hmm_mirror mirror;
	struct dmirror_opts opts;
	pid_t pid;    /* whose engines these are: not those of a fork's child */
	pid_t target; /* whose memory */

	pthread_rwlock_t lock;
	struct pagetable pt;

	pthread_mutex_t add_lock;

	pthread_mutex_t qlock;
	pthread_cond_t work; /* a command came, or stopping */
	pthread_cond_t
		changed; /* one was taken or ended, or the last user left */
	struct dmirror_op *head, **tail;
	unsigned int queued;
	unsigned int users; /* in submit, wait or run now */
	bool stopping;
	struct engine **engines;
	unsigned int nr_engines;

	int pagemap;   /* of another process, as long as this lives */
	bool presence; /* no PFNs to compare: only whether a page is there */
	unsigned long cursor; /* where dmirror_verify() goes on */
	uint64_t last_mark;   /* of a suspect; under lock */

	struct dmirror_stats stats;
	pthread_mutex_t last_lock;
};

/* Counters are independent of each other: no order is needed. */
#define dm_count(dm, field, n) \
	__atomic_fetch_add(&(dm)->stats.field, (uint64_t)(n), __ATOMIC_RELAXED)

/* ---- stats.c ------------------------------------------------------------ */

uint64_t dm_now_ns(void);
void dm_hist_add(struct dmirror_hist *hist, uint64_t ns);
/* Sets the time and tells the hook, if there is one.  No lock held. */
void dm_tell(struct dmirror *dm, struct dmirror_event event);

/* ---- dmirror.c: the driver ---------------------------------------------- */

/*
 * A demand fault: map addr for reading or writing and, as far as that goes, the
 * rest of a command that ends at end, one window at most.  pfns has room for
 * one.  No lock held.  0 or what struct dmirror_op says of its status.
 */
int dm_fault(struct dmirror *dm, unsigned long addr, unsigned long end,
	     bool write, uint64_t *pfns);

/* ---- engine.c ----------------------------------------------------------- */

/* All engines or none.  0, -ENOMEM, -EAGAIN. */
int dm_engines_start(struct dmirror *dm);
/* End and forget every command, wait for engines and waiters. */
void dm_engines_stop(struct dmirror *dm);
/* Is the device that of this process, and not stopping?  Any thread. */
bool dm_engines_stopping(struct dmirror *dm);

/* ---- execute.c ---------------------------------------------------------- */

/* What one engine works with: allocated beforehand. */
#define CHUNK (64 * PT_PAGE_SIZE)

struct engine {
	struct dmirror *dm;
	pthread_t thread;
	uint64_t pfns[PT_HUGE_PAGES];
	unsigned char chunk[CHUNK];
};

/* Do it; sets op->bytes and op->result.  No lock held.  Its status. */
int dm_execute(struct engine *engine, struct dmirror_op *op);
/* Is process_vm_readv() allowed?  0 or -errno. */
int dm_execute_probe(void);

/* ---- oracle.c ----------------------------------------------------------- */

/* Suspects of one look; what is beyond waits for the next look. */
#define SUSPECTS 16

struct suspect {
	unsigned long addr;
	uint64_t mark; /* in the page table, for as long as it is there */
	uint64_t entry, pagemap;
	bool access, write;
};

struct suspects {
	unsigned int nr;
	struct suspect s[SUSPECTS];
};

/* How many were still there when judged, and how many of these stale. */
struct verdict {
	unsigned int left, stale;
};

/* Can pagemap be read, and does it have PFNs?  0 or -errno. */
int dm_oracle_init(struct dmirror *dm);
void dm_oracle_exit(struct dmirror *dm);
/* Compare up to one window from addr on.  L held for write. */
int dm_oracle_look(struct dmirror *dm, unsigned long addr, unsigned long n,
		   struct suspects *suspects);
/* No lock held; sleeps.  Those that are left are unmapped. */
struct verdict dm_oracle_judge(struct dmirror *dm, struct suspects *suspects);
/*
 * An access to addr failed although it had a translation.  No lock held.
 * 0: that is gone meanwhile, fault again; -EFAULT: it stayed.
 */
int dm_oracle_access_failed(struct dmirror *dm, unsigned long addr, bool write);

#endif
