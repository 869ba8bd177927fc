// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * kvm_keeper.c - a thread that keeps the VM and the BPF links, and is the barrier
 *
 * It has a file table of its own: there closefrom() doesn't reach what it keeps,
 * a full file table doesn't matter, and no child inherits it.
 *
 * The barrier
 * ===========
 *
 * Needed is: once it returns, every change counted before it was called has
 * ended.  KVM_CREATE_VM is that, because to register a notifier the kernel
 * takes all locks of the mm (mm_take_all_locks()): the mmap lock and every
 * vma's lock for write, i_mmap_rwsem of every mapped file, and the root
 * lock of every anon_vma.  Each kind of change holds one of them, at least
 * shared, from before the notifiers are told of its start until after they were
 * told of its end:
 *
 *  - the mmap lock, or the lock of the vma: munmap and brk (which keep it,
 *    downgraded, until the page tables are freed, so that it does not matter
 *    that the vmas are gone from the tree by then), mmap over, mremap, mprotect,
 *    madvise, mbind, fork, shmdt, page faults and get_user_pages() (COW), KSM
 *    merging, khugepaged, NUMA hinting, soft-dirty, PAGEMAP_SCAN (since 6.8),
 *    userfaultfd, uprobes, the OOM reaper, process_madvise, process_mrelease;
 *  - i_mmap_rwsem: truncation and hole punching, also by MADV_REMOVE, by other
 *    processes and of hugetlb files; writeback; collapse of file pages; and
 *    whatever walks the reverse map of a file's page: reclaim, migration,
 *    compaction, memory failure, splitting of huge pages;
 *  - the anon_vma's root: the same walks for anonymous and KSM pages.
 *
 * A vma that is unmapped, moved or merged while such a walk is at it can't
 * leave the tree unnoticed: unlinking it from file or anon_vma takes the same
 * lock for write, under the mmap lock.
 *
 * Memory whose driver zaps it under a lock of its own is an exception; the only
 * kind known to be mirrorable is a BPF arena.  Waiting for its changes too would
 * mean to wait until no change at all is in progress (setting a memory slot
 * does), which, uninterruptible, threads that keep changing anything can delay
 * for ever.  A VM's in-progress count alone would not do either: it goes up only
 * after the tracepoint.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm_keeper.h"

/* EINTR without a signal to handle: the freezer, a debugger.  Bounded. */
#define KVM_CREATE_TRIES 100

#define KVM_FDS (2 + KVM_LINKS)

void hmm_keeper_init(struct kvm_keeper *k)
{
	int i;

	*k = (struct kvm_keeper){ .kvm_fd = -1, .vm_fd = -1 };
	for (i = 0; i < KVM_LINKS; i++)
		k->link_fd[i] = -1;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->cond, NULL);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Of the calling thread's file table: the keeper has its own. */
static void close_fds(struct kvm_keeper *k)
{
	int i;

	close_fd(&k->kvm_fd);
	close_fd(&k->vm_fd);
	for (i = 0; i < KVM_LINKS; i++)
		close_fd(&k->link_fd[i]);
}

void hmm_keeper_drop(struct kvm_keeper *k)
{
	close_fds(k);
	pthread_cond_destroy(&k->cond);
	pthread_mutex_destroy(&k->lock);
}

static int create_vm(int kvm_fd)
{
	int tries, fd;

	for (tries = 0; tries < KVM_CREATE_TRIES; tries++) {
		fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
		if (fd >= 0 || errno != EINTR)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int hmm_keeper_create_vm(struct kvm_keeper *k)
{
	int ret = create_vm(k->kvm_fd);

	if (ret < 0)
		return ret;
	k->vm_fd = ret;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Give this thread a file table with nothing in it but what it keeps. */
static int keep_only(const struct kvm_keeper *k)
{
	int fds[KVM_FDS] = { k->kvm_fd, k->vm_fd };
	int i, n = 2, first = 0;

	for (i = 0; i < KVM_LINKS; i++)
		if (k->link_fd[i] >= 0)
			fds[n++] = k->link_fd[i];
	qsort(fds, n, sizeof(fds[0]), by_value);
	/* Unshared and shortened in one go. */
	if (close_range(fds[n - 1] + 1, ~0u, CLOSE_RANGE_UNSHARE))
		return -errno;
	for (i = 0; i < n; i++) {
		if (first < fds[i])
			close_range(first, fds[i] - 1, 0);
		first = fds[i] + 1;
	}
	return 0;
}

static void job_done(struct kvm_keeper *k, int result)
{
	pthread_mutex_lock(&k->lock);
	k->result = result;
	k->job = KEEPER_IDLE;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
}

static void *keeper(void *arg)
{
	struct kvm_keeper *k = arg;
	/* Numbers in this thread's file table, not in the process's. */
	int kvm_fd = k->kvm_fd, vm_fd = k->vm_fd;
	enum kvm_keeper_job job;
	int ret, old;

	ret = keep_only(k);
	job_done(k, ret);
	if (ret)
		return NULL;
	for (;;) {
		pthread_mutex_lock(&k->lock);
		while (k->job == KEEPER_IDLE)
			pthread_cond_wait(&k->cond, &k->lock);
		job = k->job;
		pthread_mutex_unlock(&k->lock);
		if (job == KEEPER_EXIT)
			break;
		old = vm_fd;
		ret = create_vm(kvm_fd);
		if (ret >= 0)
			vm_fd = ret;
		job_done(k, ret < 0 ? ret : 0);
		/* With two of them every change is told twice. */
		if (ret >= 0)
			close(old);
	}
	/* A thread that was joined may still have its files for a while. */
	close_range(0, ~0u, 0);
	return NULL;
}

static int wait_job(struct kvm_keeper *k)
{
	int ret;

	pthread_mutex_lock(&k->lock);
	while (k->job != KEEPER_IDLE)
		pthread_cond_wait(&k->cond, &k->lock);
	ret = k->result;
	pthread_mutex_unlock(&k->lock);
	return ret;
}

int hmm_keeper_start(struct kvm_keeper *k)
{
	sigset_t all, old;
	int ret;

	/* Before it is there: it may be done before we look. */
	k->job = KEEPER_START;
	/* KVM_CREATE_VM gives up for a signal. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&k->thread, NULL, keeper, k);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return ret;
	pthread_setname_np(k->thread, "hmm-kvm");
	ret = wait_job(k);
	if (ret)
		pthread_join(k->thread, NULL);
	else
		close_fds(k);
	return ret;
}

int hmm_keeper_barrier(struct kvm_keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->job = KEEPER_BARRIER;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	return wait_job(k);
}

void hmm_keeper_stop(struct kvm_keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->job = KEEPER_EXIT;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	pthread_cond_destroy(&k->cond);
	pthread_mutex_destroy(&k->lock);
}
