// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fault.c - fault pages in: by the source, if it can, else this process's
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "mm.h"
#include "uncancelled.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#ifndef EHWPOISON
#define EHWPOISON 133
#endif

/* Also the pages that the non-blocking path looks at in one go. */
#define CHUNK 64

static int populate(unsigned long start, unsigned long end, bool write)
{
	int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
	int tries = 16;

	while (madvise((void *)start, end - start, advice)) {
		switch (errno) {
		case EINTR:
		case EAGAIN:
			if (--tries)
				continue;
			return -EBUSY;
		case EINVAL:
			/* Its permissions are not what they were, or special. */
			return -EPERM;
		case ENOMEM:
			/* No vma any more; or no memory, which looks alike. */
			return msync((void *)start, end - start, MS_ASYNC)
				       ? -EBUSY
				       : -ENOMEM;
		default:
			/* EFAULT: beyond the file's end; EHWPOISON. */
			return -EFAULT;
		}
	}
	return 0;
}

/* ---- Without blocking --------------------------------------------------- */

static void *faulter(void *arg)
{
	struct hmm_faulter *f = arg;
	unsigned int i;

	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		struct hmm_fault_job *job = NULL;
		int ret;

		for (i = 0; i < HMM_FAULT_JOBS && !job; i++)
			if (f->job[i].state == FAULT_QUEUED)
				job = &f->job[i];
		if (!job) {
			pthread_cond_wait(&f->work, &f->lock);
			continue;
		}
		job->state = FAULT_RUNNING;
		pthread_mutex_unlock(&f->lock);
		ret = populate(job->start, job->end, job->write);
		pthread_mutex_lock(&f->lock);
		/* Whoever asks again after -EBUSY finds out by itself. */
		job->error = ret == -EBUSY ? 0 : ret;
		job->state = job->error ? FAULT_FAILED : FAULT_FREE;
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int start_thread(struct hmm_faulter *f)
{
	sigset_t all, old;
	int ret;

	if (f->running)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&f->thread, NULL, faulter, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return ret;
	pthread_setname_np(f->thread, "hmm-faulter");
	f->running = true;
	return 0;
}

/* Leave it to the thread: -EAGAIN, or what became of it the last time. */
static int fault_later(struct hmm_faulter *f, unsigned long start,
		       unsigned long end, bool write)
{
	struct hmm_fault_job *job, *slot = NULL;
	int ret = -EAGAIN;
	unsigned int i;

	pthread_mutex_lock(&f->lock);
	for (i = 0; i < HMM_FAULT_JOBS; i++) {
		job = &f->job[i];
		if (job->state != FAULT_FREE && job->start == start &&
		    job->end == end && job->write == write) {
			if (job->state == FAULT_FAILED) {
				ret = job->error;
				job->state = FAULT_FREE;
			}
			goto out;
		}
		if (job->state == FAULT_FREE ||
		    (job->state == FAULT_FAILED && !slot))
			slot = job;
	}
	/* With every slot busy the caller comes back anyway. */
	if (!slot)
		goto out;
	ret = start_thread(f);
	if (ret) {
		/* Not -EAGAIN: to come back would not help. */
		pr_warn("hmm: no thread for faults that wait (%s): raise "
			"RLIMIT_NPROC, or fault with block = true",
			strerror(-ret));
		ret = -ENOMEM;
		goto out;
	}
	*slot = (struct hmm_fault_job){
		.start = start,
		.end = end,
		.write = write,
		.state = FAULT_QUEUED,
	};
	pthread_cond_signal(&f->work);
	ret = -EAGAIN;
out:
	pthread_mutex_unlock(&f->lock);
	return ret;
}

/* Would faulting [start, end) wait for I/O?  At most CHUNK pages. */
static bool would_wait(struct mm_struct *mm, unsigned long start,
		       unsigned long end)
{
	unsigned long i, n = (end - start) >> PAGE_SHIFT;
	unsigned char resident[CHUNK];
	uint64_t pm[CHUNK];

	if (hmm_pagemap_read(mm, start, end, pm) ||
	    mincore((void *)start, end - start, resident))
		return true;
	for (i = 0; i < n; i++) {
		struct hmm_vma vma;

		if ((pm[i] & PM_PRESENT) || (resident[i] & 1))
			continue;
		if (pm[i] & PM_SWAP)
			return true;
		/* An anonymous page is made of nothing; a file's is read. */
		if (hmm_host_vma(mm, start + (i << PAGE_SHIFT), &vma) ||
		    (vma.flags & HMM_VMA_FILE))
			return true;
	}
	return false;
}

static int fault_nowait(struct mm_struct *mm, unsigned long start,
			unsigned long end, bool write)
{
	unsigned long addr, stop;
	int ret;

	for (addr = start; addr < end; addr = stop) {
		stop = end - addr > CHUNK * PAGE_SIZE ? addr + CHUNK * PAGE_SIZE
						      : end;
		if (would_wait(mm, addr, stop)) {
			ret = fault_later(&mm->faulter, addr, end, write);
			if (ret == -EAGAIN)
				mmap_read_unlock(mm);
			return ret;
		}
		ret = populate(addr, stop, write);
		if (ret)
			return ret;
	}
	return 0;
}

int hmm_host_fault(struct mm_struct *mm, const struct hmm_vma *vma,
		   unsigned long start, unsigned long end, bool write,
		   bool block)
{
	struct hmm_source *src = mm->src;
	int ret;
	HMM_UNCANCELLED;

	if (write && !(vma->flags & HMM_VMA_WRITE))
		return -EPERM;
	if (src->ops->fault) {
		ret = src->ops->fault(src, start, end, write, block);
		if (ret == -EAGAIN)
			mmap_read_unlock(mm);
		return ret;
	}
	return block ? populate(start, end, write)
		     : fault_nowait(mm, start, end, write);
}

/* ---- Life --------------------------------------------------------------- */

void hmm_faulter_init(struct hmm_faulter *f)
{
	*f = (struct hmm_faulter){ .running = false };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->work, NULL);
}

void hmm_faulter_stop(struct hmm_faulter *f)
{
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->work);
	pthread_mutex_unlock(&f->lock);
	if (f->running)
		pthread_join(f->thread, NULL);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->work);
}
