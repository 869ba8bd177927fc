// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_hold.c - /dev/hmm: changes that wait, and for how long
 *
 * check: once
 */
#include "dev_holding.h"
#include "dev_requests.h"

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
	struct hmm_dev_wait wait = { .ms = 60000 };
	struct hmm_dev_vma vma;
	struct hmm_dev_range r;
	int got[5], after;
	struct worker w;
	uint64_t pfn;
	char *p;

	(void)state;
	p = map_touched(2);
	wait.id = registered(dev.fd, p, 1);
	r = entries(p, 1, &pfn);
	vma = (struct hmm_dev_vma){ .addr = r.end };
	worker_start(&w, protect, p);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	got[0] = req(dev.fd, HMM_DEV_VMA, &vma);
	got[1] = req(dev.fd, HMM_DEV_SNAPSHOT, &r);
	got[2] = req(dev.fd, HMM_DEV_FAULT, &r);
	got[3] = req(dev.fd, HMM_DEV_WAIT, &wait);
	/* This one takes no lock that it might have. */
	got[4] = req(dev.fd, HMM_DEV_UNREGISTER, wait.id);
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
	struct hmm_dev_wait wait = { .ms = 30 };
	struct hmm_dev_range r;
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
	wait.id = registered(other.fd, p, 1);
	r = entries(p, 1, &pfn);
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
	struct hmm_dev_wait wait = { 0 };
	struct hmm_dev_range r;
	struct waiter waiter;
	struct worker w, w2;
	struct dev other;
	uint64_t pfn;
	int got[4];
	char *p;

	(void)state;
	p = map_loose(1);
	dev_open(&other);
	r = entries(p, 1, &pfn);
	r.id = wait.id = registered(other.fd, p, 1);
	waiter = (struct waiter){ .dev = &other, .id = r.id };
	worker_start(&w, discard, p);
	worker_start(&w2, wait_for_range, &waiter);
	hold(LONG);
	set(&w.go);
	wait_for(somebody_waits());
	set(&w2.go);
	wait_for((got[0] = req(other.fd, HMM_DEV_VALID, r.id)) == -EALREADY);
	got[1] = req(other.fd, HMM_DEV_UNREGISTER, r.id);
	got[2] = req(other.fd, HMM_DEV_WAIT, &wait);
	got[3] = req(other.fd, HMM_DEV_SNAPSHOT, &r);
	assert_int_equal(ack_all(&dev), 0);
	await(&w2.done);
	assert_int_equal(waiter.ret, 0);
	assert_int_equal(got[1], -EALREADY);
	assert_int_equal(got[2], -EALREADY);
	assert_int_equal(got[3], -EALREADY);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, r.id), 0);
	worker_end(&w);
	worker_end(&w2);
	dev_close(&other);
	munmap(p, PAGE);
}

/* ---- It does not wait --------------------------------------------------- */

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
