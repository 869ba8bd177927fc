// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_module.c - the module source alone, and /dev/hmm when it is abused
 *
 * check: once
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "hmm_dev.h"
#include "source.h"
#include "support.h"

#define MANY 256
#define NOBODY 65534

struct seen {
	struct hmm_event event[MANY];
	unsigned int nr, lost;
	int open;
	uint64_t consumed;
};

static struct hmm_source *src;
static char why[256];

static void note(void *ctx, const struct hmm_event *event)
{
	struct seen *seen = ctx;

	if (event->kind == HMM_CHANGE_LOST)
		seen->lost++;
	if (event->phase == HMM_EVENT_START)
		seen->open++;
	if (event->phase == HMM_EVENT_END)
		seen->open--;
	seen->event[seen->nr++ % MANY] = *event;
}

/* What there is now.  Nothing else in this program changes its memory. */
static struct seen look(void)
{
	struct seen seen = { 0 };

	assert_int_equal(src->ops->drain(src, note, &seen, &seen.consumed), 0);
	assert_int_equal(seen.consumed, hmm_load_acquire(src->started));
	return seen;
}

static const struct hmm_event *find(const struct seen *seen,
				    enum hmm_event_phase phase, const void *p)
{
	unsigned int i;

	for (i = 0; i < seen->nr && i < MANY; i++)
		if (seen->event[i].phase == phase &&
		    seen->event[i].start <= (unsigned long)p &&
		    seen->event[i].end > (unsigned long)p)
			return &seen->event[i];
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	src = NULL;
	if (hmm_source_module.attach(&src, why, sizeof(why))) {
		print_message("skip: %s\n", why);
		src = NULL;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (src)
		src->ops->detach(src);
	watchdog(0);
	return 0;
}

static void need_source(void)
{
	if (!src)
		skip();
}

static void starts_and_ends_are_told(void **state)
{
	const struct hmm_event *start, *end;
	uint64_t started;
	struct seen seen;
	char *p;

	(void)state;
	need_source();
	p = map_touched(2);
	look();
	started = hmm_load_acquire(src->started);
	munmap(p, 2 * PAGE);
	assert_int_equal(hmm_load_acquire(src->started), started + 1);
	seen = look();
	start = find(&seen, HMM_EVENT_START, p);
	end = find(&seen, HMM_EVENT_END, p);
	assert_non_null(start);
	assert_non_null(end);
	assert_true(start < end);
	assert_int_equal(start->start, (unsigned long)p);
	assert_int_equal(start->end, (unsigned long)p + 2 * PAGE);
	assert_int_equal(start->kind, HMM_CHANGE_UNMAP);
	assert_int_equal(end->start, start->start);
	assert_int_equal(end->end, start->end);
	assert_int_equal(seen.open, 0);
}

static void overflow_is_one_loss(void **state)
{
	struct seen seen;
	char *p;
	int i;

	(void)state;
	need_source();
	p = map_pages(1, PROT_READ | PROT_WRITE);
	look();
	for (i = 0; i < 2 * HMM_DEV_RECORDS; i++) {
		*p = 1;
		madvise(p, PAGE, MADV_DONTNEED);
	}
	seen = look();
	assert_int_equal(seen.lost, 1);
	assert_int_equal(seen.open, 0);
	/* And on it goes. */
	munmap(p, PAGE);
	seen = look();
	assert_int_equal(seen.lost, 0);
	assert_non_null(find(&seen, HMM_EVENT_START, p));
	assert_int_equal(seen.open, 0);
}

static int in_a_child(int (*run)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		watchdog(20);
		_exit(run(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int punch(void *arg)
{
	return ftruncate(*(int *)arg, 0) ? 1 : 0;
}

static int unmap_own(void *arg)
{
	(void)arg;
	munmap(map_touched(8), 8 * PAGE);
	return 0;
}

static void others_change_our_memory_but_not_theirs(void **state)
{
	struct seen seen;
	char *p;
	int fd;

	(void)state;
	need_source();
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	*p = 1;
	look();
	assert_int_equal(in_a_child(punch, &fd), 0);
	seen = look();
	assert_non_null(find(&seen, HMM_EVENT_START, p));
	assert_int_equal(seen.open, 0);

	/* The fork itself is a change of ours; what the child does is not. */
	assert_int_equal(in_a_child(unmap_own, NULL), 0);
	seen = look();
	for (unsigned int i = 0; i < seen.nr && i < MANY; i++)
		assert_int_not_equal(seen.event[i].kind, HMM_CHANGE_UNMAP);
	munmap(p, PAGE);
	close(fd);
}

static bool readable(void)
{
	struct pollfd pollfd = { .fd = src->event_fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

static void armed_file_becomes_readable_once(void **state)
{
	char *p;

	(void)state;
	need_source();
	p = map_touched(3);
	look();
	assert_true(src->ops->arm(src, true));
	assert_false(readable());
	munmap(p, PAGE);
	assert_true(readable());
	/* Something is there: not armed. */
	assert_false(src->ops->arm(src, true));
	look();
	assert_false(readable());
	munmap(p + PAGE, PAGE);
	assert_false(readable());
	munmap(p + 2 * PAGE, PAGE);
}

static int attach_as_nobody(void *arg)
{
	struct hmm_source *other;

	(void)arg;
	if (setgid(NOBODY) || setuid(NOBODY))
		return 1;
	if (hmm_source_module.attach(&other, why, sizeof(why)))
		return 2;
	other->ops->detach(other);
	return 0;
}

static void anyone_may_open_it(void **state)
{
	(void)state;
	need_source();
	if (getuid())
		skip();
	assert_int_equal(in_a_child(attach_as_nobody, NULL), 0);
}

static void cannot_be_written(void **state)
{
	char *page;

	(void)state;
	need_source();
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    src->event_fd, 0);
	assert_ptr_equal(page, MAP_FAILED);
	page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, src->event_fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), -1);
	munmap(page, PAGE);
}

static void bad_requests_are_refused(void **state)
{
	int fd;

	(void)state;
	need_source();
	fd = src->event_fd;
	assert_int_equal(ioctl(fd, HMM_DEV_SYNC, NULL), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ioctl(fd, HMM_DEV_SYNC, -1ul), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ioctl(fd, HMM_DEV_ARM, 8), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ioctl(fd, _IO('h', 0x9f), 0), -1);
	assert_int_equal(errno, ENOTTY);
	/* More than there is, from elsewhere, and nothing. */
	assert_ptr_equal(mmap(NULL, 1ul << 30, PROT_READ, MAP_SHARED, fd, 0),
			 MAP_FAILED);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1l << 40),
			 MAP_FAILED);
	look();
}

static void many_at_a_time(void **state)
{
	struct hmm_source *more[32];
	struct seen seen;
	unsigned int i;
	char *p;

	(void)state;
	need_source();
	for (i = 0; i < 32; i++)
		assert_int_equal(hmm_source_module.attach(&more[i], why,
							  sizeof(why)),
				 0);
	look();
	p = map_touched(1);
	munmap(p, PAGE);
	for (i = 0; i < 32; i++) {
		seen = (struct seen){ 0 };
		assert_int_equal(more[i]->ops->drain(more[i], note, &seen,
						     &seen.consumed),
				 0);
		assert_non_null(find(&seen, HMM_EVENT_START, p));
	}
	seen = look();
	assert_non_null(find(&seen, HMM_EVENT_START, p));
	for (i = 0; i < 32; i++)
		more[i]->ops->detach(more[i]);
}

/* Killed with files open and changes in flight: the kernel's log would tell. */
static void *churn(void *arg)
{
	char *p = map_pages(16, PROT_READ | PROT_WRITE);

	for (;;) {
		memset(p, 1, 16 * PAGE);
		madvise(p, 16 * PAGE, MADV_DONTNEED);
	}
	return arg;
}

static int churn_until_killed(void *arg)
{
	struct hmm_source *own;
	struct seen seen = { 0 };
	pthread_t thread;

	if (hmm_source_module.attach(&own, why, sizeof(why)))
		return 1;
	if (pthread_create(&thread, NULL, churn, NULL))
		return 2;
	while (hmm_load_acquire(own->started) < 200)
		own->ops->drain(own, note, &seen, &seen.consumed);
	kill(getpid(), SIGKILL);
	return *(int *)arg;
}

static void killed_in_the_middle(void **state)
{
	int i, status, never = 3;

	(void)state;
	need_source();
	for (i = 0; i < 5; i++) {
		status = in_a_child(churn_until_killed, &never);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	look();
}

/* ---- Signals ------------------------------------------------------------ */

static atomic_bool attached;

static void *send_signals(void *thread)
{
	while (!attached)
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
}

#define AREAS 2000ul

static void attach_while_signals_come(void **state)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t self = pthread_self(), sender;
	int i, ret = 0;
	char *p;

	(void)state;
	need_source();
	src->ops->detach(src);
	src = NULL;
	/* What takes its time can be interrupted. */
	p = map_pages(AREAS, PROT_READ);
	for (i = 0; i < (int)AREAS; i += 2)
		assert_int_equal(mprotect(p + i * PAGE, PAGE, PROT_NONE), 0);
	sigaction(SIGUSR1, &action, NULL);
	attached = false;
	assert_int_equal(pthread_create(&sender, NULL, send_signals, &self), 0);
	for (i = 0; i < 20 && !ret; i++) {
		ret = hmm_source_module.attach(&src, why, sizeof(why));
		if (!ret)
			src->ops->detach(src);
	}
	src = NULL;
	attached = true;
	pthread_join(sender, NULL);
	munmap(p, AREAS * PAGE);
	if (ret)
		fail_msg("%s", why);
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_TEST(starts_and_ends_are_told),
		SOURCE_TEST(overflow_is_one_loss),
		SOURCE_TEST(others_change_our_memory_but_not_theirs),
		SOURCE_TEST(armed_file_becomes_readable_once),
		SOURCE_TEST(anyone_may_open_it),
		SOURCE_TEST(cannot_be_written),
		SOURCE_TEST(bad_requests_are_refused),
		SOURCE_TEST(many_at_a_time),
		SOURCE_TEST(killed_in_the_middle),
		SOURCE_TEST(attach_while_signals_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
