/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * dev_holding.h - tests in which changes wait for an acknowledgement
 *
 * That a change did not wait is seen by the file not having become late: the
 * time it might wait is as long as the watchdog allows.  Nothing here may
 * fault while somebody waits with the mmap lock, hence mlockall().
 */
#ifndef TESTS_DEV_HOLDING_H
#define TESTS_DEV_HOLDING_H

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

#define HOLD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- A thread that makes a change when it is told to --------------------- */

struct worker {
	pthread_t thread;
	void (*op)(void *);
	void *arg;
	int go, done, leave;
};

static inline void await(const int *flag)
{
	wait_for(__atomic_load_n(flag, __ATOMIC_ACQUIRE));
}

static inline void set(int *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

static inline bool is_set(const int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static inline void *work(void *arg)
{
	struct worker *w = arg;

	await(&w->go);
	w->op(w->arg);
	set(&w->done);
	/* A thread's end changes its stack, which is not what is looked at. */
	await(&w->leave);
	return NULL;
}

static inline void worker_start(struct worker *w, void (*op)(void *), void *arg)
{
	*w = (struct worker){ .op = op, .arg = arg };
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

/* Nothing is held any more. */
static inline void worker_end(struct worker *w)
{
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, 0), 0);
	set(&w->leave);
	pthread_join(w->thread, NULL);
}

static inline void discard(void *p)
{
	madvise(p, PAGE, MADV_DONTNEED);
}

static inline void unmap(void *p)
{
	munmap(p, PAGE);
}

/* With the mmap lock for write, which munmap() has only at first. */
static inline void protect(void *p)
{
	mprotect(p, PAGE, PROT_READ);
}

/* Memory that can be discarded, though all is locked. */
static inline char *map_loose(size_t pages)
{
	char *p = map_touched(pages);

	munlock(p, pages * PAGE);
	return p;
}

static inline bool somebody_waits(void)
{
	return dev_load(&dev.shared->waiting);
}

static inline void hold(unsigned long ms)
{
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, ms), 0);
}

static inline int ack_all(const struct dev *d)
{
	return req(d->fd, HMM_DEV_ACK, dev_head(d));
}

/* A change of p was made, was recorded, and did not have to wait for long. */
static inline void did_not_wait(const struct dev *d, uint64_t from,
				const void *p)
{
	assert_true(dev_recorded(d, from, p));
	assert_int_equal(d->shared->late, 0);
	assert_int_equal(dev_load(&d->shared->waiting), 0);
}

/* What a fork made copy-on-write would change, and wait, at any time. */
static inline void after_fork(void)
{
	munlockall();
	assert_int_equal(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
}

#endif
