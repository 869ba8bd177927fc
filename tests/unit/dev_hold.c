// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_hold.c - /dev/hmm: changes that wait, and those that never do
 *
 * That a change did not wait is seen by the file not having become late: the
 * time it might wait is as long as the watchdog allows.  Nothing here may
 * fault while somebody waits with the mmap lock, hence mlockall().
 *
 * check: once
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "dev_support.h"

/* ms; only root may have more than the default. */
#define LONG HMM_DEV_HOLD_MAX

static struct dev dev;

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	dev_open(&dev);
	if (geteuid()) {
		print_message("skip: holding for long takes root\n");
		skip();
	}
	assert_int_equal(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (dev.shared)
		dev_close(&dev);
	dev.shared = NULL;
	munlockall();
	watchdog(0);
	return 0;
}

/* ---- A thread that makes a change when it is told to --------------------- */

struct worker {
	pthread_t thread;
	void (*op)(void *);
	void *arg;
	int go, done, leave;
};

static void await(const int *flag)
{
	wait_for(__atomic_load_n(flag, __ATOMIC_ACQUIRE));
}

static void set(int *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

static bool is_set(const int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	await(&w->go);
	w->op(w->arg);
	set(&w->done);
	/* A thread's end changes its stack, which is not what is looked at. */
	await(&w->leave);
	return NULL;
}

static void worker_start(struct worker *w, void (*op)(void *), void *arg)
{
	*w = (struct worker){ .op = op, .arg = arg };
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

/* Nothing is held any more. */
static void worker_end(struct worker *w)
{
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, 0), 0);
	set(&w->leave);
	pthread_join(w->thread, NULL);
}

static void discard(void *p)
{
	madvise(p, PAGE, MADV_DONTNEED);
}

static void unmap(void *p)
{
	munmap(p, PAGE);
}

/* With the mmap lock for write, which munmap() has only at first. */
static void protect(void *p)
{
	mprotect(p, PAGE, PROT_READ);
}

/* Memory that can be discarded, though all is locked. */
static char *map_loose(size_t pages)
{
	char *p = map_touched(pages);

	munlock(p, pages * PAGE);
	return p;
}

static bool somebody_waits(void)
{
	return dev_load(&dev.shared->waiting);
}

static void hold(unsigned long ms)
{
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, ms), 0);
}

static int ack_all(const struct dev *d)
{
	return req(d->fd, HMM_DEV_ACK, dev_head(d));
}

/* ---- It waits ----------------------------------------------------------- */

static void change_waits_until_it_is_acknowledged(void **state)
{
	uint64_t from, seen;
	struct worker w;
	int was, early;
	char *p;

	(void)state;
	p = map_loose(1);
	*p = 77;
	worker_start(&w, discard, p);
	hold(LONG);
	from = dev_head(&dev);
	set(&w.go);
	wait_for(somebody_waits());
	seen = dev_head(&dev);
	/* What is there is there; to acknowledge too little does nothing. */
	was = *p;
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, 0), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, from), 0);
	usleep(50000);
	early = is_set(&w.done);
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, seen), 0);
	await(&w.done);
	assert_int_equal(was, 77);
	assert_false(early);
	assert_true(dev_recorded(&dev, from, p));
	assert_int_equal(*p, 0);
	assert_false(somebody_waits());
	assert_int_equal(dev.shared->late, 0);
	worker_end(&w);
	munmap(p, PAGE);
}

static void acknowledged_beforehand_is_not_acknowledged(void **state)
{
	struct worker w;
	char *p;

	(void)state;
	p = map_loose(1);
	worker_start(&w, discard, p);
	hold(LONG);
	assert_int_equal(ack_all(&dev), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, dev_head(&dev) + 1), -EINVAL);
	set(&w.go);
	wait_for(somebody_waits());
	assert_int_equal(ack_all(&dev), 0);
	await(&w.done);
	worker_end(&w);
	munmap(p, PAGE);
}

static void two_files_each_have_to(void **state)
{
	struct dev other;
	struct worker w;
	char *p;
	int early;

	(void)state;
	p = map_loose(1);
	dev_open(&other);
	worker_start(&w, discard, p);
	hold(LONG);
	assert_int_equal(req(other.fd, HMM_DEV_HOLD, LONG), 0);
	set(&w.go);
	wait_for(somebody_waits() || dev_load(&other.shared->waiting));
	if (somebody_waits()) {
		assert_int_equal(ack_all(&dev), 0);
		wait_for(dev_load(&other.shared->waiting));
		early = is_set(&w.done);
		assert_int_equal(ack_all(&other), 0);
	} else {
		assert_int_equal(ack_all(&other), 0);
		wait_for(somebody_waits());
		early = is_set(&w.done);
		assert_int_equal(ack_all(&dev), 0);
	}
	await(&w.done);
	assert_false(early);
	assert_int_equal(dev.shared->late + other.shared->late, 0);
	dev_close(&other);
	worker_end(&w);
	munmap(p, PAGE);
}

static void bad_holds_are_refused(void **state)
{
	(void)state;
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, 0), -EINVAL);
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, HMM_DEV_HOLD_MAX + 1),
			 -EINVAL);
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, ~0ul), -EINVAL);
	hold(0);
	hold(1);
	assert_int_equal(ack_all(&dev), 0);
	hold(0);
	assert_int_equal(ack_all(&dev), -EINVAL);
}

/* ---- Who waits with the mmap lock, and who wants it ---------------------- */

static void acknowledge_first(void **state)
{
	struct hmm_dev_register reg = { 0 };
	struct hmm_dev_range r = { .pfn_shift = DEV_SHIFT, .nr = 1 };
	struct hmm_dev_vma vma = { 0 };
	struct hmm_dev_wait wait = { .ms = 60000 };
	int got[5], after;
	struct worker w;
	uint64_t pfn;
	char *p;

	(void)state;
	p = map_touched(2);
	reg.start = (uintptr_t)p;
	reg.end = reg.start + PAGE;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &reg), 0);
	wait.id = reg.id;
	r.start = reg.start;
	r.end = reg.end;
	r.pfns = (uintptr_t)&pfn;
	memcpy(r.flags, dev_flags, sizeof(r.flags));
	memcpy(r.values, dev_values, sizeof(r.values));
	vma.addr = reg.start + PAGE;
	worker_start(&w, protect, p);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	got[0] = req(dev.fd, HMM_DEV_VMA, &vma);
	got[1] = req(dev.fd, HMM_DEV_SNAPSHOT, &r);
	got[2] = req(dev.fd, HMM_DEV_FAULT, &r);
	got[3] = req(dev.fd, HMM_DEV_WAIT, &wait);
	/* This one takes no lock that it might have. */
	got[4] = req(dev.fd, HMM_DEV_UNREGISTER, reg.id);
	assert_int_equal(ack_all(&dev), 0);
	await(&w.done);
	after = req(dev.fd, HMM_DEV_VMA, &vma);
	assert_int_equal(got[0], -EDEADLK);
	assert_int_equal(got[1], -EDEADLK);
	assert_int_equal(got[2], -EDEADLK);
	assert_int_equal(got[3], -EDEADLK);
	assert_int_equal(got[4], 0);
	assert_int_equal(after, 0);
	assert_int_equal(dev.shared->late, 0);
	worker_end(&w);
	munmap(p, 2 * PAGE);
}

static void on_signal(int sig)
{
	(void)sig;
}

struct interrupt {
	pthread_t whom;
	int stop;
};

static void interrupt(void *arg)
{
	struct interrupt *i = arg;

	while (!is_set(&i->stop)) {
		pthread_kill(i->whom, SIGUSR1);
		usleep(10000);
	}
}

/* Another file's ranges wait for the change, too, and can be interrupted. */
static void wait_for_a_change_that_waits(void **state)
{
	struct sigaction act = { .sa_handler = on_signal }, old;
	struct hmm_dev_range r = { .pfn_shift = DEV_SHIFT, .nr = 1 };
	struct hmm_dev_register reg = { 0 };
	struct hmm_dev_wait wait = { .ms = 30 };
	struct hmm_dev_sync sync;
	struct worker w, interrupter;
	struct interrupt i = { .whom = pthread_self() };
	struct dev other;
	uint64_t pfn;
	int got[5];
	char *p;

	(void)state;
	p = map_loose(1);
	dev_open(&other);
	reg.start = r.start = (uintptr_t)p;
	reg.end = r.end = reg.start + PAGE;
	assert_int_equal(req(other.fd, HMM_DEV_REGISTER, &reg), 0);
	wait.id = reg.id;
	r.pfns = (uintptr_t)&pfn;
	memcpy(r.flags, dev_flags, sizeof(r.flags));
	memcpy(r.values, dev_values, sizeof(r.values));
	worker_start(&w, discard, p);
	worker_start(&interrupter, interrupt, &i);
	sigaction(SIGUSR1, &act, &old);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	got[0] = req(other.fd, HMM_DEV_SNAPSHOT, &r);
	got[1] = req(other.fd, HMM_DEV_WAIT, &wait);
	wait.ms = 0;
	got[2] = req(other.fd, HMM_DEV_WAIT, &wait);
	got[3] = req(other.fd, HMM_DEV_SYNC, &sync);
	set(&interrupter.go);
	wait.ms = 60000;
	got[4] = req(other.fd, HMM_DEV_WAIT, &wait);
	set(&i.stop);
	assert_int_equal(ack_all(&dev), 0);
	await(&w.done);
	worker_end(&w);
	worker_end(&interrupter);
	sigaction(SIGUSR1, &old, NULL);
	assert_int_equal(got[0], -EBUSY);
	assert_int_equal(got[1], -ETIMEDOUT);
	assert_int_equal(got[2], -ETIMEDOUT);
	assert_int_equal(got[3], 0);
	assert_true(sync.nr >= 1);
	assert_int_equal(got[4], -EINTR);
	dev_close(&other);
	munmap(p, PAGE);
}

struct waiter {
	const struct dev *dev;
	uint32_t id;
	int ret;
};

static void wait_for_range(void *arg)
{
	struct waiter *waiter = arg;
	struct hmm_dev_wait wait = { .id = waiter->id, .ms = 60000 };

	waiter->ret = req(waiter->dev->fd, HMM_DEV_WAIT, &wait);
}

static void one_range_serves_one_thread(void **state)
{
	struct hmm_dev_range r = { .pfn_shift = DEV_SHIFT, .nr = 1 };
	struct hmm_dev_register reg = { 0 };
	struct hmm_dev_wait wait = { 0 };
	struct waiter waiter;
	struct worker w, w2;
	struct dev other;
	uint64_t pfn;
	int got[4];
	char *p;

	(void)state;
	p = map_loose(1);
	dev_open(&other);
	reg.start = (uintptr_t)p;
	reg.end = reg.start + PAGE;
	assert_int_equal(req(other.fd, HMM_DEV_REGISTER, &reg), 0);
	r.id = wait.id = reg.id;
	r.pfns = (uintptr_t)&pfn;
	waiter = (struct waiter){ .dev = &other, .id = reg.id };
	worker_start(&w, discard, p);
	worker_start(&w2, wait_for_range, &waiter);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	set(&w2.go);
	wait_for((got[0] = req(other.fd, HMM_DEV_VALID, reg.id)) == -EALREADY);
	got[1] = req(other.fd, HMM_DEV_UNREGISTER, reg.id);
	got[2] = req(other.fd, HMM_DEV_WAIT, &wait);
	got[3] = req(other.fd, HMM_DEV_SNAPSHOT, &r);
	assert_int_equal(ack_all(&dev), 0);
	await(&w2.done);
	assert_int_equal(waiter.ret, 0);
	assert_int_equal(got[1], -EALREADY);
	assert_int_equal(got[2], -EALREADY);
	assert_int_equal(got[3], -EALREADY);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, reg.id), 0);
	worker_end(&w);
	worker_end(&w2);
	dev_close(&other);
	munmap(p, PAGE);
}

/* ---- It does not wait --------------------------------------------------- */

/* A change of p was made, was recorded, and did not have to wait for long. */
static void did_not_wait(const struct dev *d, uint64_t from, const void *p)
{
	assert_true(dev_recorded(d, from, p));
	assert_int_equal(d->shared->late, 0);
	assert_int_equal(dev_load(&d->shared->waiting), 0);
}

static void acknowledging_thread_never_waits(void **state)
{
	uint64_t from;
	char *p;

	(void)state;
	p = map_loose(2);
	hold(LONG);
	from = dev_head(&dev);
	discard(p);
	did_not_wait(&dev, from, p);
	from = dev_head(&dev);
	unmap(p + PAGE);
	did_not_wait(&dev, from, p + PAGE);
	munmap(p, PAGE);
}

static void acknowledge_and_discard(void *p)
{
	ack_all(&dev);
	discard(p);
}

static void who_acknowledges_is_the_one(void **state)
{
	struct worker w, w2;
	uint64_t from;
	char *p;

	(void)state;
	p = map_loose(2);
	worker_start(&w, acknowledge_and_discard, p);
	worker_start(&w2, discard, p + PAGE);
	hold(LONG);
	from = dev_head(&dev);
	set(&w.go);
	await(&w.done);
	did_not_wait(&dev, from, p);
	/* The others do wait, and who acknowledges for them is it again. */
	set(&w2.go);
	wait_for(somebody_waits());
	assert_int_equal(ack_all(&dev), 0);
	await(&w2.done);
	from = dev_head(&dev);
	p[0] = 1;
	discard(p);
	did_not_wait(&dev, from, p);
	worker_end(&w);
	worker_end(&w2);
	munmap(p, 2 * PAGE);
}

static void late_file_makes_nobody_wait(void **state)
{
	struct worker w[3];
	uint64_t from;
	char *p;
	int i;

	(void)state;
	p = map_loose(3);
	for (i = 0; i < 3; i++)
		worker_start(&w[i], discard, p + i * PAGE);
	hold(50);
	set(&w[0].go);
	await(&w[0].done);
	assert_int_equal(dev.shared->late, 1);
	hold(LONG);
	from = dev_head(&dev);
	set(&w[1].go);
	await(&w[1].done);
	assert_true(dev_recorded(&dev, from, p + PAGE));
	/* Part of it is not enough, all is. */
	assert_int_equal(req(dev.fd, HMM_DEV_ACK, dev_head(&dev) - 1), 0);
	discard(p);
	assert_int_equal(ack_all(&dev), 0);
	set(&w[2].go);
	wait_for(somebody_waits());
	assert_int_equal(ack_all(&dev), 0);
	await(&w[2].done);
	assert_int_equal(dev.shared->late, 1);
	for (i = 0; i < 3; i++)
		worker_end(&w[i]);
	munmap(p, 3 * PAGE);
}

static void hold_long(void *arg)
{
	(void)arg;
	hold(LONG);
}

/* One after another they would take ten minutes. */
static void times_of_several_files_do_not_add_up(void **state)
{
	struct worker w;
	int fd[60];
	char *p;
	size_t i;

	(void)state;
	p = map_loose(1);
	worker_start(&w, discard, p);
	for (i = 0; i < sizeof(fd) / sizeof(fd[0]); i++) {
		fd[i] = dev_open_file();
		assert_int_equal(req(fd[i], HMM_DEV_HOLD, LONG), 0);
	}
	alarm(120);
	set(&w.go);
	await(&w.done);
	for (i = 0; i < sizeof(fd) / sizeof(fd[0]); i++)
		close(fd[i]);
	worker_end(&w);
	munmap(p, PAGE);
}

static void thread_that_is_gone_is_not_waited_for(void **state)
{
	struct worker acker;
	uint64_t from;
	char *p;

	(void)state;
	p = map_loose(1);
	worker_start(&acker, hold_long, NULL);
	set(&acker.go);
	await(&acker.done);
	set(&acker.leave);
	pthread_join(acker.thread, NULL);
	from = dev_head(&dev);
	discard(p);
	did_not_wait(&dev, from, p);
	munmap(p, PAGE);
}

static void thread_that_goes_lets_go(void **state)
{
	struct worker acker, w;
	uint64_t from;
	char *p;

	(void)state;
	p = map_loose(1);
	worker_start(&w, discard, p);
	worker_start(&acker, hold_long, NULL);
	set(&acker.go);
	await(&acker.done);
	from = dev_head(&dev);
	set(&w.go);
	wait_for(somebody_waits());
	set(&acker.leave);
	await(&w.done);
	did_not_wait(&dev, from, p);
	worker_end(&w);
	pthread_join(acker.thread, NULL);
	munmap(p, PAGE);
}

static void turned_off_lets_go(void **state)
{
	struct worker w;
	char *p;

	(void)state;
	p = map_loose(1);
	worker_start(&w, discard, p);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	hold(0);
	await(&w.done);
	assert_int_equal(dev.shared->late, 0);
	worker_end(&w);
	munmap(p, PAGE);
}

/* What a fork made copy-on-write would change, and wait, at any time. */
static void after_fork(void)
{
	munlockall();
	assert_int_equal(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
}

static void hold_when_told(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
	if (req(dev.fd, HMM_DEV_HOLD, LONG))
		_exit(1);
	child_at(c, 2);
}

static void killed_process_lets_go(void **state)
{
	struct child *c = child_start(hold_when_told, NULL);
	struct worker w;
	uint64_t from;
	char *p;

	(void)state;
	wait_for(child_is_at(c, 1));
	after_fork();
	p = map_loose(1);
	worker_start(&w, discard, p);
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	from = dev_head(&dev);
	set(&w.go);
	wait_for(somebody_waits());
	child_kill(c);
	await(&w.done);
	did_not_wait(&dev, from, p);
	worker_end(&w);
	munmap(p, PAGE);
}

static void closed_file_lets_go(void **state)
{
	struct dev other;
	struct worker w;
	uint64_t from;
	char *p;

	(void)state;
	p = map_loose(1);
	dev_open(&other);
	worker_start(&w, discard, p);
	assert_int_equal(req(other.fd, HMM_DEV_HOLD, LONG), 0);
	from = dev_head(&other);
	set(&w.go);
	wait_for(dev_load(&other.shared->waiting));
	/* It stays mapped, and so the file is not released. */
	close(other.fd);
	await(&w.done);
	did_not_wait(&other, from, p);
	munmap((void *)other.shared, MAP_SIZE);
	worker_end(&w);
	munmap(p, PAGE);
}

static void close_when_told(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
	close(dev.fd);
	child_at(c, 2);
}

static void closed_by_another_process_is_not_closed(void **state)
{
	struct child *c = child_start(close_when_told, NULL);
	struct worker w;
	int early;
	char *p;

	(void)state;
	wait_for(child_is_at(c, 1));
	after_fork();
	p = map_loose(1);
	worker_start(&w, discard, p);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	usleep(50000);
	early = is_set(&w.done);
	assert_int_equal(ack_all(&dev), 0);
	await(&w.done);
	assert_false(early);
	worker_end(&w);
	child_kill(c);
	munmap(p, PAGE);
}

/* ---- Other processes, and the kernel ------------------------------------ */

static void bind_and_hold(struct dev *d, pid_t pid)
{
	d->fd = dev_open_file();
	assert_int_equal(dev_bind_to(d->fd, pid, O_RDONLY), 0);
	dev_map(d);
	assert_int_equal(req(d->fd, HMM_DEV_HOLD, LONG), 0);
}

static void discard_when_told(struct child *c, void *p)
{
	child_at(c, 1);
	discard(p);
	child_at(c, 2);
}

static void another_process_waits(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	from = dev_head(&other);
	child_let(c, 2);
	/* Copies of what it shares with us may come first. */
	while (!child_is_at(c, 2))
		assert_int_equal(ack_all(&other), 0);
	did_not_wait(&other, from, p);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

static void killed_task_stops_waiting(void **state)
{
	struct child *c;
	struct dev other;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	child_let(c, 2);
	wait_for(dev_load(&other.shared->waiting));
	child_kill(c);
	assert_int_equal(other.shared->late, 0);
	assert_int_equal(dev_load(&other.shared->waiting), 0);
	dev_close(&other);
	munmap(p, PAGE);
}

struct leaver {
	struct child *c;
	int *page;
	int tid;
};

/* The kernel writes to page, where there was nothing, when this has exited. */
static void *leave_when_told(void *arg)
{
	struct leaver *l = arg;

	l->tid = (int)syscall(SYS_gettid);
	syscall(SYS_set_tid_address, l->page);
	child_at(l->c, 1);
	syscall(SYS_exit, 0);
	return NULL;
}

static void lose_a_thread(struct child *c, void *page)
{
	struct leaver l = { .c = c, .page = page };
	pthread_t thread;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) || munlock(page, PAGE) ||
	    madvise(page, PAGE, MADV_DONTNEED) || *(volatile int *)page ||
	    pthread_create(&thread, NULL, leave_when_told, &l))
		_exit(1);
	while (!child_is_at(c, 1))
		usleep(1000);
	while (!syscall(SYS_tgkill, getpid(), l.tid, 0))
		usleep(1000);
	child_at(c, 2);
}

static void exiting_task_never_waits(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(lose_a_thread, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	from = dev_head(&other);
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	did_not_wait(&other, from, p);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

static void reclaim(void *p)
{
	int i;

	for (i = 0; i < 100; i++) {
		memset(p, i, 16 * PAGE);
		madvise(p, 16 * PAGE, MADV_PAGEOUT);
	}
}

static void reclaim_never_waits(void **state)
{
	struct worker w;
	uint64_t from;
	bool recorded;
	char *p;

	(void)state;
	p = map_loose(16);
	worker_start(&w, reclaim, p);
	hold(LONG);
	from = dev_head(&dev);
	set(&w.go);
	await(&w.done);
	if (dev_head(&dev) - from >= HMM_DEV_RECORDS)
		from = dev_head(&dev) - HMM_DEV_RECORDS / 2;
	recorded = dev_recorded(&dev, from, p);
	if (recorded)
		did_not_wait(&dev, from, p);
	worker_end(&w);
	munmap(p, 16 * PAGE);
	if (!recorded) {
		print_message("skip: nothing was swapped out\n");
		skip();
	}
}

static void truncate_when_told(struct child *c, void *fd)
{
	child_at(c, 1);
	if (ftruncate(*(int *)fd, 0))
		_exit(1);
	child_at(c, 2);
}

/* Who may stop everybody else might as well make them wait; nobody else may. */
static void others_wait_for_root_only(void **state)
{
	struct dev unprivileged;
	uint64_t from;
	int root, fd;

	(void)state;
	assert_int_equal(seteuid(NOBODY), 0);
	unprivileged.fd = dev_open_file();
	assert_int_equal(seteuid(0), 0);
	dev_map(&unprivileged);
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	for (root = 0; root < 2; root++) {
		const struct dev *d = root ? &dev : &unprivileged;
		struct child *c = child_start(truncate_when_told, &fd);
		char *p;

		wait_for(child_is_at(c, 1));
		after_fork();
		assert_int_equal(ftruncate(fd, PAGE), 0);
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(p, MAP_FAILED);
		*p = 1;
		assert_int_equal(req(d->fd, HMM_DEV_HOLD,
				     root ? LONG : HMM_DEV_HOLD_DEFAULT),
				 0);
		from = dev_head(d);
		child_let(c, 2);
		if (root) {
			wait_for(somebody_waits());
			assert_false(child_is_at(c, 2));
			/* There may be more of them than one. */
			while (!child_is_at(c, 2))
				assert_int_equal(ack_all(d), 0);
		}
		wait_for(child_is_at(c, 2));
		did_not_wait(d, from, p);
		munmap(p, PAGE);
		child_kill(c);
	}
	close(fd);
	dev_close(&unprivileged);
}

/* ---- Who must not block ------------------------------------------------- */

static bool is_frozen(const char *dir)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/freezer.state", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strcmp(text, "FROZEN\n");
}

static void release_memory(void *pidfd)
{
	if (syscall(SYS_process_mrelease, *(int *)pidfd, 0))
		*(int *)pidfd = -errno;
}

/* Killed, and kept from dying: the OOM killer's way to get its memory. */
static void who_must_not_block_never_waits(void **state)
{
	char mnt[] = "/tmp/freezer-XXXXXX", dir[64], text[16];
	struct child *c;
	struct dev other;
	struct worker w;
	uint64_t from;
	int pidfd;
	char *p;

	(void)state;
	assert_non_null(mkdtemp(mnt));
	if (mount("cgroup", mnt, "cgroup", 0, "freezer")) {
		print_message("skip: cgroup's freezer: %s\n", strerror(errno));
		rmdir(mnt);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/test", mnt);
	assert_int_equal(mkdir(dir, 0755), 0);
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	snprintf(text, sizeof(text), "%d", c->pid);
	assert_true(write_file(dir, "tasks", text));
	pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	assert_true(pidfd >= 0);
	/* Nothing of it shall wait before it is frozen. */
	assert_true(write_file(dir, "freezer.state", "FROZEN"));
	wait_for(is_frozen(dir));
	bind_and_hold(&other, c->pid);
	kill(c->pid, SIGKILL);
	worker_start(&w, release_memory, &pidfd);
	from = dev_head(&other);
	set(&w.go);
	await(&w.done);
	assert_true(pidfd >= 0);
	did_not_wait(&other, from, p);
	worker_end(&w);
	dev_close(&other);
	close(pidfd);
	assert_true(write_file(dir, "freezer.state", "THAWED"));
	child_end(c);
	rmdir(dir);
	umount(mnt);
	rmdir(mnt);
	munmap(p, PAGE);
}

#define HOLD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOLD_TEST(change_waits_until_it_is_acknowledged),
		HOLD_TEST(acknowledged_beforehand_is_not_acknowledged),
		HOLD_TEST(two_files_each_have_to),
		HOLD_TEST(bad_holds_are_refused),
		HOLD_TEST(acknowledge_first),
		HOLD_TEST(wait_for_a_change_that_waits),
		HOLD_TEST(one_range_serves_one_thread),
		HOLD_TEST(acknowledging_thread_never_waits),
		HOLD_TEST(who_acknowledges_is_the_one),
		HOLD_TEST(late_file_makes_nobody_wait),
		HOLD_TEST(times_of_several_files_do_not_add_up),
		HOLD_TEST(thread_that_is_gone_is_not_waited_for),
		HOLD_TEST(thread_that_goes_lets_go),
		HOLD_TEST(turned_off_lets_go),
		HOLD_TEST(killed_process_lets_go),
		HOLD_TEST(closed_file_lets_go),
		HOLD_TEST(closed_by_another_process_is_not_closed),
		HOLD_TEST(another_process_waits),
		HOLD_TEST(killed_task_stops_waiting),
		HOLD_TEST(exiting_task_never_waits),
		HOLD_TEST(reclaim_never_waits),
		HOLD_TEST(others_wait_for_root_only),
		HOLD_TEST(who_must_not_block_never_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
