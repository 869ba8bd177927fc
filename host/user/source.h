/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * source.h - what tells libhmm that the process's page table changes
 *
 * Every source is a counter, a ring and a barrier.
 *
 *  - The counter counts up, in memory that we can read, before a change begins
 *    (a weaker source: before the one who makes it goes on).
 *  - The ring has a record of each change, in order.  Counter first, then
 *    record: with the counter read and every record taken that it counts,
 *    nothing has started that we don't know of.
 *  - The barrier returns once every change that was counted before it was
 *    called has ended.
 */
#ifndef HMM_SOURCE_H
#define HMM_SOURCE_H

#include "port.h"

/* What a record says about the life of its change. */
enum hmm_event_phase {
	HMM_EVENT_OPEN,  /* it started; nobody will tell when it ends */
	HMM_EVENT_START, /* it started; an HMM_EVENT_END will follow */
	HMM_EVENT_END, /* the end of an HMM_EVENT_START; of none that was lost */
	HMM_EVENT_PAST, /* it started and ended */
};

/**
 * struct hmm_event - one record, as the host takes it from a source
 * @start: page aligned
 * @end: page aligned, exclusive; [0, ~0ul) if records were lost
 * @owner: for HMM_EVENT_OPEN the thread (gettid()) that makes the change: it
 *	has ended once that thread runs in user space again.  0 if not known
 * @phase: see above
 * @kind: the cause, if known
 */
struct hmm_event {
	unsigned long start, end;
	uint64_t owner;
	enum hmm_event_phase phase;
	enum hmm_change_kind kind;
};

struct hmm_source;
struct hmm_vma;

/**
 * struct hmm_attach_to - what only some sources can do
 * @pidfd: of another process, 0 for the calling one
 * @wait: changes wait until the mirrors were told
 */
struct hmm_attach_to {
	int pidfd;
	bool wait;
};

typedef void (*hmm_event_fn)(void *ctx, const struct hmm_event *event);

/**
 * struct hmm_source_ops - a source
 * @name: for HMM_SOURCE
 * @misses: what it does not see, a sentence for the user; "" if nothing
 * @level: see struct hmm_mm_info
 */
struct hmm_source_ops {
	const char *name;
	const char *misses;
	int level;

	/*
	 * Attach to the calling process.  why: room for a sentence for the user
	 * (what is missing, what to do) if this fails.  0 or -errno.
	 */
	int (*attach)(struct hmm_source **srcp, char *why, size_t size);
	/* The same to something else.  NULL if it can't. */
	int (*attach_to)(struct hmm_source **srcp,
			 const struct hmm_attach_to *to, char *why,
			 size_t size);
	void (*detach)(struct hmm_source *src);
	/*
	 * Before detach, which may be long after, when the last range is gone:
	 * nobody listens any more, let go of what others may want.  Or NULL.
	 */
	void (*quit)(struct hmm_source *src);
	/*
	 * In a fork's child: close what the child inherited, without touching
	 * what is the parent's.  Called in pthread_atfork()'s child handler by
	 * the only thread; must not take locks that another thread may have held.
	 */
	void (*forked)(struct hmm_source *src);

	/*
	 * Hand every record that is ready to fn, in order, and set *consumed to
	 * the counter's value up to which this and earlier calls did.  Lost
	 * records are one event over everything (kind HMM_CHANGE_LOST), and, if
	 * there may be ends among them, then one HMM_EVENT_END for each
	 * HMM_EVENT_START that has none yet.  Called under the host's drain
	 * lock; neither sleeps nor calls the library.
	 * 0; -ESRCH if the address space is gone; another -errno if the source
	 * has failed: nothing it says counts any more.
	 */
	int (*drain)(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		     uint64_t *consumed);

	/*
	 * Have event_fd become readable at the next record, once: otherwise it
	 * may stay silent until there are many, which spares the one who makes a
	 * change the wake-up.  NULL if it is readable at each.  With soon false
	 * nobody is in a hurry, and many will do.  Called under the drain lock,
	 * after drain.
	 * True: nothing is left, poll.  False: drain again, without polling.
	 */
	bool (*arm)(struct hmm_source *src, bool soon);

	/*
	 * May sleep, and does as long as a change does; called by one thread at
	 * a time, never under a lock.  0 or -errno: then nothing was learnt.
	 * NULL if there never is an HMM_EVENT_OPEN.
	 */
	int (*barrier)(struct hmm_source *src, char *why, size_t size);

	/*
	 * Changes of [start, end), mapped memory, must be seen from now on.
	 * NULL if all are anyway.  May sleep; called by several threads at a
	 * time, before each read of entries.  0; -EBUSY if some of it is not
	 * mapped any more; -errno.
	 */
	int (*cover)(struct hmm_source *src, unsigned long start,
		     unsigned long end);

	/*
	 * With attach_to's wait: the mirrors were told of all that drain had
	 * handed on when position was that.  Changes wait from the first call
	 * on, until let_go; not from pause to the next call.  Under the drain
	 * lock; told by the watcher alone, whose own changes don't wait.
	 */
	void (*told)(struct hmm_source *src, uint64_t position);
	void (*pause)(struct hmm_source *src);
	void (*let_go)(struct hmm_source *src);

	/*
	 * What hmm_host_vma(), hmm_host_read() and hmm_host_fault() are, but
	 * that fault leaves the mmap lock alone whatever it says.  All or none;
	 * without them /proc/self and madvise() do it.
	 */
	int (*vma)(struct hmm_source *src, unsigned long addr,
		   struct hmm_vma *vma);
	int (*read)(struct hmm_source *src, unsigned long start,
		    unsigned long end, uint64_t *cpu);
	int (*fault)(struct hmm_source *src, unsigned long start,
		     unsigned long end, bool write, bool block);
};

/* The public part of a source; the source's own struct begins with it. */
struct hmm_source {
	const struct hmm_source_ops *ops;
	const char *mechanism;   /* how it is attached, in a few words */
	const uint64_t *started; /* the counter */
	int event_fd;            /* polls readable when there are records */
	uint64_t position;       /* of drain, for told */
	bool waits;              /* attached with attach_to's wait */
	const uint64_t *late;    /* with waits: changes that waited in vain */
	bool pfns_virtual;       /* read's entries have no pfns */
};

/* All of them, best first; ends with NULL. */
extern const struct hmm_source_ops *const hmm_sources[];
extern const struct hmm_source_ops hmm_source_module;
extern const struct hmm_source_ops hmm_source_kvm;
extern const struct hmm_source_ops hmm_source_uffd;

#endif
