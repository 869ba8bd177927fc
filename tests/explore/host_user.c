// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * host_user.c - what libhmm's mm.c and events.c stand on, simulated
 *
 * They are the real ones, compiled against user_hooks.h; their static data
 * lies in a section of its own (see schedule.c), so that it begins anew with
 * each schedule.  vma.c, pagemap.c and fault.c are replaced by sim_mm.c.
 */
#include "host_user.h"

#include <poll.h>
#include <string.h>

#include "mm.h"
#include "user_hooks.h"

#define KICK_FD 3

/* ---- Locks ---------------------------------------------------------------- */

/* The first word of a mutex: its holder, counted from 2. */
static bool mutex_free(void *arg)
{
	return !*(int *)arg;
}

void sim_mutex_lock(pthread_mutex_t *m, const char *what)
{
	int *holder = (int *)m;

	/* Counting users commutes as long as nobody brings them to zero. */
	if (*holder || world.user.ends || strcmp(what, "lock &registry"))
		sched_point(what, m);
	if (*holder == sched_self() + 2)
		sched_fail("%s: held already by this task", what);
	if (*holder)
		sched_block(what, m, mutex_free, m);
	*holder = sched_self() + 2;
}

void sim_mutex_unlock(pthread_mutex_t *m, const char *what)
{
	int *holder = (int *)m;

	if (*holder != sched_self() + 2)
		sched_fail("%s: not held by this task", what);
	*holder = 0;
}

void sim_rwlock_lock(pthread_rwlock_t *m, int write, const char *what)
{
	sim_down((struct sim_rwsem *)m, write, what);
}

void sim_rwlock_unlock(pthread_rwlock_t *m)
{
	struct sim_rwsem *sem = (struct sim_rwsem *)m;

	sim_up(sem, sem->writer);
}

void sim_zero(void *p, size_t size)
{
	memset(p, 0, size);
}

int sim_once(pthread_once_t *once, void (*fn)(void))
{
	int *done = (int *)once;

	if (!*done)
		fn();
	*done = 1;
	return 0;
}

void mmap_assert_locked(struct mm_struct *mm)
{
	const struct sim_rwsem *sem = (struct sim_rwsem *)&mm->mmap_lock;

	if (!mm->forked && !sem->readers && !sem->writer)
		sched_fail("the mmap lock is not held");
}

void mmap_assert_write_locked(struct mm_struct *mm)
{
	if (!mm->forked && !((struct sim_rwsem *)&mm->mmap_lock)->writer)
		sched_fail("the mmap lock is not held for write");
}

/* ---- Threads -------------------------------------------------------------- */

int sim_thread_create(pthread_t *t, void *(*fn)(void *), void *arg)
{
	struct sim_user *u = &world.user;

	if (sched_choose(2, "the thread is not created"))
		return EAGAIN;
	if (u->nr_threads == SIM_THREADS)
		sched_fail("the simulation is out of threads");
	*t = u->nr_threads;
	u->thread[u->nr_threads].fn = fn;
	u->thread[u->nr_threads].arg = arg;
	u->nr_threads++;
	return 0;
}

static bool thread_exists(void *arg)
{
	return ((struct sim_thread *)arg)->fn;
}

void user_thread(void *arg)
{
	struct sim_thread *thread = &world.user.thread[(uintptr_t)arg];

	if (!thread->fn)
		sched_block("wait to be created", thread, thread_exists,
			    thread);
	thread->fn(thread->arg);
	thread->done = true;
}

static bool thread_done(void *arg)
{
	return ((struct sim_thread *)arg)->done;
}

void sim_thread_join(pthread_t t)
{
	struct sim_thread *thread = &world.user.thread[t];

	sched_point("join a thread", thread);
	if (!thread->done)
		sched_block("join a thread", thread, thread_done, thread);
}

int hmm_register_fork(void)
{
	return 0;
}

int hmm_register_fork_begin(void)
{
	return 0;
}

struct fork_child {
	void (*fn)(void *);
	void *arg;
};

static void fork_child(void *arg)
{
	const struct fork_child *child = arg;

	/* MADV_WIPEONFORK */
	world.user.alive = 0;
	hmm_fork_child();
	child->fn(child->arg);
}

void user_fork(void (*child)(void *), void *arg)
{
	struct fork_child c = { .fn = child, .arg = arg };

	hmm_fork_begin();
	hmm_fork_prepare();
	sched_fork(fork_child, &c);
	hmm_fork_parent();
}

/* ---- System calls --------------------------------------------------------- */

struct poll_wait {
	struct pollfd *fds;
	unsigned int n;
};

static bool poll_ready(void *arg)
{
	const struct poll_wait *w = arg;
	bool ready = false;
	unsigned int i;

	for (i = 0; i < w->n; i++) {
		w->fds[i].revents = 0;
		if ((w->fds[i].fd == KICK_FD && world.user.kicks) ||
		    (w->fds[i].fd == SIM_EVENT_FD && ring_polls_readable()))
			w->fds[i].revents = POLLIN;
		ready |= w->fds[i].revents;
	}
	return ready;
}

static bool record_comes(void *arg)
{
	(void)arg;
	return !ring_owes_record();
}

int sim_poll(struct pollfd *fds, unsigned int n, int timeout)
{
	struct poll_wait w = { .fds = fds, .n = n };

	sched_point("poll", fds);
	if (!poll_ready(&w) && timeout)
		sched_block("poll", fds, poll_ready, &w);
	/* Whoever polls in a circle does so until the record is there. */
	else if (!poll_ready(&w) && ring_owes_record())
		sched_block("poll for a record", fds, record_comes, NULL);
	return poll_ready(&w);
}

ssize_t sim_recv(int fd, void *buf, size_t size)
{
	(void)fd;
	(void)buf;
	(void)size;
	sched_point("read the kicks", &world.user.kicks);
	world.user.kicks = 0;
	return 1;
}

ssize_t sim_send(int fd, const void *buf, size_t size)
{
	(void)fd;
	(void)buf;
	sched_point("kick the watcher", &world.user.kicks);
	world.user.kicks = 1;
	return (ssize_t)size;
}

/* Only used to wait for a record that is counted already. */
void sim_yield(void)
{
	if (!ring_owes_record()) {
		world.user.now++;
		world.user.late = false;
	}
	/* A record that is late stays so for whoever else waits for it. */
	if (world.user.late) {
		world.user.now += HMM_RANGE_DEFAULT_TIMEOUT;
		return;
	}
	if (!sched_wait("wait for a record", &world.ring, record_comes, NULL))
		world.user.late = true;
	if (world.user.late)
		world.user.now += HMM_RANGE_DEFAULT_TIMEOUT;
}

uint64_t hmm_now_ms(void)
{
	return world.user.now;
}

void *sim_keep(size_t size)
{
	void *p = sim_alloc(size);

	world.allocations -= !!p;
	return p;
}

void *sim_page(void)
{
	return &world.user.alive;
}

/* ---- The rest of the host ------------------------------------------------- */

void hmm_vmas_open(struct mm_struct *mm)
{
	(void)mm;
}

void hmm_vmas_close(struct mm_struct *mm)
{
	(void)mm;
}

int hmm_pagemap_open(struct mm_struct *mm)
{
	(void)mm;
	return 0;
}

void hmm_pagemap_close(struct mm_struct *mm)
{
	(void)mm;
}

void hmm_faulter_init(struct hmm_faulter *f)
{
	(void)f;
}

void hmm_faulter_stop(struct hmm_faulter *f)
{
	(void)f;
}

int host_copy_page(unsigned int page)
{
	source_change(page, page + 1, CHANGE_REPLACE);
	return 0;
}

bool host_told(unsigned int id)
{
	return world.mm->events.told > world.change[id].ticket;
}

void user_attach(void)
{
	if (hmm_mm_attach(&world.mm, NULL))
		sched_fail("attaching fails without a reason");
}

void user_detach(void)
{
	int ret;

	world.exiting = true;
	ret = hmm_mm_detach(world.mm);
	if (ret)
		sched_fail("detach says %d", ret);
	oracle_dead();
}

void host_end(void)
{
	const struct mm_struct *mm = world.mm;
	const struct sim_rwsem *sem = (const struct sim_rwsem *)&mm->mmap_lock;

	if (sem->readers || sem->writer)
		sched_fail("E: the mmap lock is still held");
	if (mm->hmm.ranges.root || mm->hmm.calls)
		sched_fail("E: a range or a call is left behind");
	if (!world.oracle.dead && mm->pins != 1 + world.user.mirrors)
		sched_fail("E: the mm has %u pins too many", mm->pins - 1);
	if (world.oracle.dead && mm->pins != world.user.mirrors)
		sched_fail("E: a dead mm has %u pins", mm->pins);
	/* Whoever is left to run has run: nothing may be left to tell. */
	if (!mm->hmm.dead && world.user.mirrors &&
	    mm->events.told != world.ring.started)
		sched_fail("E: the mirrors were told of %llu changes of %llu",
			   (unsigned long long)mm->events.told,
			   (unsigned long long)world.ring.started);
}

bool host_constant(const void *obj)
{
	const struct mm_struct *mm = world.mm;

	return obj == &mm->forked || obj == mm->alive;
}

void sim_switched(void)
{
	hmm_events_forget_self();
}
