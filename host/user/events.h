/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* events.h - from a source's records to the core and to the mirrors */
#ifndef HMM_EVENTS_H
#define HMM_EVENTS_H

#include <pthread.h>

#include "own_fd.h"
#include "source.h"

struct mm_struct;

/* Where a fork is, if changes wait for the mirrors: see hmm_events_fork_begin(). */
enum hmm_fork { FORK_NONE, FORK_BEGUN, FORK_PAUSED, FORK_OVER };

/* Updates that wait for the watcher; beyond these they become one for all. */
#define HMM_PENDING 1024

/*
 * struct hmm_events - who takes records, and who calls back
 *
 * Whoever finds records marks the ranges: under drain_lock, which orders all
 * that follows and is taken with L held.  The watcher alone calls the mirrors,
 * with no lock, from the updates that the marking left in pending.
 */
struct hmm_events {
	pthread_mutex_t drain_lock;
	struct hmm_update pending[HMM_PENDING];
	unsigned int head, tail; /* taken, put; under drain_lock */
	uint64_t told;           /* written by the watcher alone */
	unsigned int reached;    /* the mirrors, as head is; if changes wait */
	enum hmm_fork fork;      /* under drain_lock */
	uint64_t late;           /* forks that did not wait for the mirrors */
	uint64_t taken;          /* records, under drain_lock */
	bool armed;              /* the watcher sleeps until a record */
	uint64_t counts[HMM_CHANGE_KIND_MAX];
	uint64_t barriers;
	int failed;    /* the source's errno once it has failed */
	bool watching; /* the watcher has looked for the first time */

	pthread_t watcher;
	struct hmm_own_fd kicks[2]; /* a pair: there is work for the watcher */
	bool stop;

	/* The barrier thread sleeps on wq until someone wants a barrier. */
	pthread_t barrier;
	wait_queue_head_t wq;
	bool wanted;
};

/* Start the threads.  The mm has a source.  0 or -errno. */
int hmm_events_start(struct mm_struct *mm);
/* Tell them to stop, and wait; false if a callback did not return. */
bool hmm_events_stop(struct mm_struct *mm);
/* Have the counts be of now, and told get on. */
void hmm_events_look(struct mm_struct *mm);
/*
 * Around a fork, if changes wait: begin without a lock; false if it need not
 * wait.  pause under drain_lock.  end after all locks were let go.
 */
bool hmm_events_fork_begin(struct mm_struct *mm);
void hmm_events_fork_pause(struct mm_struct *mm);
void hmm_events_fork_end(struct mm_struct *mm);
/* The calling thread may have become another, by fork. */
void hmm_events_forget_self(void);
/* Free what start made; the threads are gone. */
void hmm_events_free(struct mm_struct *mm);

#endif
