// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * kernel_api.c - hmm.ko's API, by way of a driver that is told what to call
 *
 * For what no user of /dev/hmm can reach; needs hmm_selftest.ko.
 *
 * check: once
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "blocked.h"
#include "kernel/hmm_selftest.h"
#include "support.h"

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

static int dev = -1;

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	dev = open("/dev/hmm_selftest", O_RDWR | O_CLOEXEC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (dev >= 0)
		close(dev);
	watchdog(0);
	return 0;
}

static void need_driver(void)
{
	if (dev >= 0)
		return;
	print_message("skip: no /dev/hmm_selftest, a module that only tests "
		      "in a guest load\n");
	skip();
}

/* 0 or a count, or a negative errno: as the function in the kernel says it. */
static long call(unsigned long request, unsigned long arg)
{
	long ret = ioctl(dev, request, arg);

	return ret < 0 ? -errno : ret;
}

static long call_range(const void *p, size_t pages)
{
	struct hmm_selftest_range range = {
		.start = (unsigned long)p,
		.end = (unsigned long)p + pages * PAGE,
	};

	return call(ST_RANGE, (unsigned long)&range);
}

static struct hmm_selftest_seen seen(void)
{
	struct hmm_selftest_seen seen = { 0 };

	assert_int_equal(call(ST_SEEN, (unsigned long)&seen), 0);
	return seen;
}

/* A mirror of our own memory, and a valid range over [p, p + pages). */
static void mirror_own(const void *p, size_t pages)
{
	assert_int_equal(call(ST_BIND, 0), 0);
	assert_int_equal(call(ST_MIRROR, 0), 0);
	assert_int_equal(call_range(p, pages), 0);
	assert_int_equal(call(ST_WAIT, HMM_RANGE_DEFAULT_TIMEOUT), 1);
	assert_int_equal(call(ST_FAULT, true), pages);
	assert_int_equal(call(ST_PRESENT, 0), pages);
	assert_int_equal(call(ST_VALID, 0), 1);
}

static void range_is_invalid_before_the_callback_runs(void **state)
{
	char *p;

	(void)state;
	need_driver();
	p = map_touched(4);
	mirror_own(p, 4);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	assert_int_equal(seen().calls, 1);
	assert_int_equal(seen().trusting, 0);
	assert_int_equal(call(ST_VALID, 0), 0);
	munmap(p, 4 * PAGE);
	assert_int_equal(seen().calls, 2);
	assert_int_equal(seen().trusting, 0);
}

struct waiter {
	unsigned long ms;
	int go;
	int tid;
	long ret;
	int done;
};

static void *wait_when_told(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w->go, __ATOMIC_ACQUIRE))
		usleep(1000);
	w->ret = call(ST_WAIT, w->ms);
	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *discard_page(void *p)
{
	madvise(p, PAGE, MADV_DONTNEED);
	return NULL;
}

/* What a wait says that began during a change, and could go on after it. */
static long wait_during_a_change(unsigned long ms)
{
	struct waiter w = { .ms = ms };
	pthread_t waits, changes;
	char *p;

	p = map_touched(1);
	mirror_own(p, 1);
	/* No thread can be made while the change has the mmap lock. */
	assert_int_equal(pthread_create(&waits, NULL, wait_when_told, &w), 0);
	while (!__atomic_load_n(&w.tid, __ATOMIC_ACQUIRE))
		usleep(1000);
	call(ST_MODE, ST_STICK_INSIDE);
	assert_int_equal(pthread_create(&changes, NULL, discard_page, p), 0);
	while (!seen().stuck)
		usleep(1000);
	__atomic_store_n(&w.go, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w.done, __ATOMIC_ACQUIRE) &&
	       !is_blocked(w.tid))
		usleep(1000);
	call(ST_UNSTICK, 0);
	pthread_join(waits, NULL);
	pthread_join(changes, NULL);
	munmap(p, PAGE);
	return w.ret;
}

static void wait_of_more_ms_than_32_bits_can_say(void **state)
{
	(void)state;
	need_driver();
	assert_int_equal(wait_during_a_change(1ul << 32), 1);
}

static void wait_for_as_long_as_it_takes(void **state)
{
	(void)state;
	need_driver();
	assert_int_equal(wait_during_a_change(~0ul), 1);
}

static void mirror_is_not_unregistered_inside_its_callback(void **state)
{
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	mirror_own(p, 1);
	call(ST_MODE, ST_UNMIRROR_INSIDE);
	madvise(p, PAGE, MADV_DONTNEED);
	assert_int_equal(seen().inside, -EDEADLK);
	call(ST_MODE, 0);
	/* It still is told, and can be unregistered elsewhere. */
	*p = 1;
	madvise(p, PAGE, MADV_DONTNEED);
	assert_int_equal(seen().calls, 2);
	assert_int_equal(call(ST_UNMIRROR, 0), 0);
	*p = 1;
	madvise(p, PAGE, MADV_DONTNEED);
	assert_int_equal(seen().calls, 2);
	munmap(p, PAGE);
}

static void range_is_unregistered_inside_the_callback(void **state)
{
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	mirror_own(p, 1);
	call(ST_MODE, ST_UNRANGE_INSIDE);
	madvise(p, PAGE, MADV_DONTNEED);
	assert_int_equal(call(ST_VALID, 0), 0);
	assert_int_equal(call(ST_SNAPSHOT, 0), -EINVAL);
	call(ST_MODE, 0);
	assert_int_equal(call_range(p, 1), 0);
	assert_int_equal(call(ST_FAULT, true), 1);
	assert_int_equal(call(ST_VALID, 0), 1);
	munmap(p, PAGE);
}

static void range_without_a_mirror_is_refused(void **state)
{
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	assert_int_equal(call(ST_BIND, 0), 0);
	assert_int_equal(call_range(p, 1), -ENXIO);
	munmap(p, PAGE);
}

/* Nobody answers a fault there: whoever waits for it waits for ever. */
static void fault_that_must_not_block_drops_the_lock(void **state)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p;
	int fd;

	(void)state;
	need_driver();
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		print_message("skip: no userfaultfd: %s\n", strerror(errno));
		skip();
	}
	p = map_touched(2);
	mirror_own(p, 2);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	range.range.start = (unsigned long)p;
	range.range.len = 2 * PAGE;
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &range), 0);

	assert_int_equal(call(ST_FAULT, false), -EAGAIN);
	assert_int_equal(call(ST_VALID, 0), 0);
	/* What does not want a fault is not bothered. */
	assert_int_equal(call(ST_SNAPSHOT, 0), 2);
	assert_int_equal(call(ST_PRESENT, 0), 1);
	close(fd);
	assert_int_equal(call(ST_FAULT, false), 2);
	assert_int_equal(call(ST_PRESENT, 0), 2);
	munmap(p, 2 * PAGE);
}

static pid_t in_a_child(void (*run)(char *), char *p)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	run(p);
	_exit(0);
}

static void bind_only(char *p)
{
	(void)p;
	if (call(ST_BIND, 0))
		_exit(1);
}

static void nothing_can_be_registered_with_the_dead(void **state)
{
	int status;
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	assert_int_equal(waitpid(in_a_child(bind_only, NULL), &status, 0) > 0,
			 1);
	assert_int_equal(status, 0);
	assert_int_equal(call(ST_MIRROR, 0), -EFAULT);
	assert_int_equal(call_range(p, 1), -EFAULT);
	munmap(p, PAGE);
}

static void mirror_and_range(char *p)
{
	if (call(ST_BIND, 0) || call(ST_MIRROR, 0) || call_range(p, 1) ||
	    call(ST_FAULT, true) != 1)
		_exit(1);
}

/* The range is what holds the memory: who lets go under a spinlock frees it. */
static void last_range_is_unregistered_under_a_spinlock(void **state)
{
	int status;
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	assert_int_equal(
		waitpid(in_a_child(mirror_and_range, p), &status, 0) > 0, 1);
	assert_int_equal(status, 0);
	/* Dead, but for us. */
	assert_int_equal(call(ST_SNAPSHOT, 0), 1);
	assert_int_equal(call(ST_PRESENT, 0), 1);
	assert_int_equal(seen().released, 0);
	assert_int_equal(call(ST_UNRANGE, 0), 0);
	while (!seen().released)
		usleep(1000);
	assert_int_equal(call_range(p, 1), -EFAULT);
	assert_int_equal(call(ST_UNMIRROR, 0), 0);
	assert_int_equal(seen().released, 1);
	munmap(p, PAGE);
}

static void get_stuck(char *p)
{
	mirror_and_range(p);
	call(ST_STICK, 0);
}

/*
 * Memory is taken from a killed process by someone who must not wait: the way
 * of the OOM killer, and of process_mrelease().
 */
static void refusal_of_the_reaper_leaves_no_trace(void **state)
{
	int pidfd, status;
	pid_t pid;
	char *p;

	(void)state;
	need_driver();
	p = map_touched(1);
	pid = in_a_child(get_stuck, p);
	assert_true(pid > 0);
	while (!seen().stuck)
		usleep(1000);
	assert_int_equal(call(ST_VALID, 0), 1);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(pidfd >= 0);
	kill(pid, SIGKILL);

	call(ST_MODE, ST_REFUSE);
	assert_int_equal(syscall(SYS_process_mrelease, pidfd, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(seen().refused, 1);
	assert_int_equal(seen().trusting, 0);
	/* The page is there, and no change is thought to be in progress. */
	assert_int_equal(call(ST_VALID, 0), 0);
	assert_int_equal(call(ST_WAIT, HMM_RANGE_DEFAULT_TIMEOUT), 1);
	assert_int_equal(call(ST_SNAPSHOT, 0), 1);
	assert_int_equal(call(ST_PRESENT, 0), 1);
	assert_int_equal(call(ST_VALID, 0), 1);

	call(ST_MODE, 0);
	assert_int_equal(syscall(SYS_process_mrelease, pidfd, 0), 0);
	assert_int_equal(seen().refused, 1);
	assert_int_equal(call(ST_VALID, 0), 0);
	assert_int_equal(call(ST_WAIT, HMM_RANGE_DEFAULT_TIMEOUT), 1);
	assert_int_equal(call(ST_SNAPSHOT, 0), 1);
	assert_int_equal(call(ST_PRESENT, 0), 0);

	call(ST_UNSTICK, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(pidfd);
	munmap(p, PAGE);
}

#define DRIVER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DRIVER_TEST(range_is_invalid_before_the_callback_runs),
		DRIVER_TEST(wait_of_more_ms_than_32_bits_can_say),
		DRIVER_TEST(wait_for_as_long_as_it_takes),
		DRIVER_TEST(mirror_is_not_unregistered_inside_its_callback),
		DRIVER_TEST(range_is_unregistered_inside_the_callback),
		DRIVER_TEST(range_without_a_mirror_is_refused),
		DRIVER_TEST(fault_that_must_not_block_drops_the_lock),
		DRIVER_TEST(nothing_can_be_registered_with_the_dead),
		DRIVER_TEST(last_range_is_unregistered_under_a_spinlock),
		DRIVER_TEST(refusal_of_the_reaper_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
