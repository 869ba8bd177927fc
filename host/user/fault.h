/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* fault.h - faults that would wait are left to a thread */
#ifndef HMM_FAULT_H
#define HMM_FAULT_H

#include <pthread.h>

#include "port.h"

struct mm_struct;

#define HMM_FAULT_JOBS 64

enum hmm_fault_state { FAULT_FREE, FAULT_QUEUED, FAULT_RUNNING, FAULT_FAILED };

/*
 * struct hmm_fault_job - a run of pages to be faulted in by the thread
 *
 * A job that succeeded leaves nothing behind, since the pages are there.  One
 * that failed stays until someone asks for the same again, and is told, or
 * until its slot is needed.
 */
struct hmm_fault_job {
	unsigned long start, end;
	enum hmm_fault_state state;
	bool write;
	int error;
};

struct hmm_faulter {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct hmm_fault_job job[HMM_FAULT_JOBS];
	pthread_t thread;
	bool running, stop;
};

void hmm_faulter_init(struct hmm_faulter *f);
/* Ends the thread; a job that waits for I/O is waited for. */
void hmm_faulter_stop(struct hmm_faulter *f);

#endif
