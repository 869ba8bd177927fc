// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_kvm.c - the kvm source alone: what it says, and when
 *
 * check: kvm root no-tsan (its children start threads, too)
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include "kvm_support.h"
#include "source_kvm.h"

static int map_file(char **p, size_t pages)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, pages * PAGE_SIZE), 0);
	*p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		  fd, 0);
	assert_ptr_not_equal(*p, MAP_FAILED);
	memset(*p, 1, pages * PAGE_SIZE);
	return fd;
}

static void expect_change(const void *addr, size_t size,
			  enum hmm_change_kind kind)
{
	struct seen seen = { 0 };
	const struct hmm_event *event;

	drain_all(&seen);
	event = find_kind(&seen, addr, size, kind);
	if (!event)
		fail_msg("%s was not told", hmm_change_kind_name(kind));
	assert_int_equal(event->start % PAGE_SIZE, 0);
	assert_int_equal(event->end % PAGE_SIZE, 0);
	if (event->phase == HMM_EVENT_OPEN)
		assert_int_equal(event->owner, gettid());
}

static void changes_have_kind_and_owner(void **state)
{
	const size_t pages = 4, size = pages * PAGE_SIZE;
	char *p, *q;
	pid_t pid;
	int fd;

	(void)state;
	need_source();
	printf("attached: %s\n", src->mechanism);

	p = map_pages(pages);
	forget();
	mprotect(p, size, PROT_READ);
	expect_change(p, size, HMM_CHANGE_PROTECT);
	mprotect(p, size, PROT_READ | PROT_WRITE);
	forget();
	madvise(p, size, MADV_DONTNEED);
	expect_change(p, size, HMM_CHANGE_DISCARD);

	/* The zero page, then a page of its own. */
	assert_int_equal(*(volatile char *)p, 0);
	forget();
	*(volatile char *)p = 1;
	expect_change(p, PAGE_SIZE, HMM_CHANGE_COW);

	pid = fork();
	if (!pid)
		_exit(0);
	expect_change(p, PAGE_SIZE, HMM_CHANGE_FORK);
	waitpid(pid, NULL, 0);

	q = map_pages(pages);
	munmap(q, size);
	forget();
	assert_ptr_equal(
		mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, q), q);
	expect_change(p, size, HMM_CHANGE_REMAP);
	munmap(q, size);
	expect_change(q, size, HMM_CHANGE_UNMAP);

	fd = map_file(&p, pages);
	forget();
	assert_int_equal(ftruncate(fd, 0), 0);
	expect_change(p, size, HMM_CHANGE_TRUNCATE);
	close(fd);
	munmap(p, size);
}

static void other_process_changes_ours(void **state)
{
	struct seen seen = { 0 };
	const struct hmm_event *event;
	int fd, go[2];
	char byte = 0;
	pid_t pid;
	char *p;

	(void)state;
	need_source();
	fd = map_file(&p, 4);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid) {
		munmap(p, 4 * PAGE_SIZE);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		_exit(ftruncate(fd, 0) != 0);
	}
	forget();
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(go[0]);
	close(go[1]);
	drain_all(&seen);
	event = find_kind(&seen, p, 4 * PAGE_SIZE, HMM_CHANGE_TRUNCATE);
	assert_non_null(event);
	assert_int_equal(event->owner, 0);
	munmap(p, 4 * PAGE_SIZE);
	close(fd);
}

/* What other processes do to their own memory is not our business. */
static void other_process_changes_its_own(void **state)
{
	const unsigned int times = 2000;
	int go[2], done[2], status;
	uint64_t before;
	char byte = 0;
	pid_t pid;

	(void)state;
	need_source();
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork();
	if (!pid) {
		unsigned int i;
		char *p;

		alarm(WATCHDOG);
		close(go[1]);
		src->ops->forked(src);
		if (hmm_source_kvm.attach(&src, why, sizeof(why)))
			_exit(1);
		p = map_pages(1);
		if (write(done[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(2);
		for (i = 0; i < times; i++)
			madvise(p, PAGE_SIZE, MADV_DONTNEED);
		/* It does see them itself. */
		if (*src->started < times)
			_exit(3);
		_exit(write(done[1], &byte, 1) != 1);
	}
	close(go[0]);
	close(done[1]);
	assert_int_equal(read(done[0], &byte, 1), 1);
	before = hmm_load_acquire(src->started);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(read(done[0], &byte, 1), 1);
	assert_true(hmm_load_acquire(src->started) - before < times);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(go[1]);
	close(done[0]);
}

static bool armed;

/* Not before, since then nobody need be woken; and then most likely asleep. */
static void *change_later(void *arg)
{
	while (!READ_ONCE(armed))
		usleep(1000);
	usleep(50 * 1000);
	madvise(arg, PAGE_SIZE, MADV_DONTNEED);
	return NULL;
}

static void armed_source_wakes_who_polls(void **state)
{
	struct pollfd pfd = { .events = POLLIN };
	struct seen seen = { 0 };
	pthread_t thread;
	char *p;
	int i;

	(void)state;
	need_source();
	pfd.fd = src->event_fd;
	p = map_pages(1);
	for (i = 0; i < 3; i++) {
		WRITE_ONCE(armed, false);
		assert_int_equal(pthread_create(&thread, NULL, change_later, p),
				 0);
		for (;;) {
			drain_all(&seen);
			if (src->ops->arm(src, true))
				break;
		}
		WRITE_ONCE(armed, true);
		assert_int_equal(poll(&pfd, 1, -1), 1);
		pthread_join(thread, NULL);
		drain_all(&seen);
		assert_non_null(find(&seen, p, PAGE_SIZE));
	}
	munmap(p, PAGE_SIZE);
	/* Nothing has been taken since: there is no reason to sleep. */
	assert_false(src->ops->arm(src, true));
}

static void *change_many(void *arg)
{
	unsigned int i;

	usleep(50 * 1000);
	for (i = 0; i < KVM_MANY / sizeof(struct kvm_record); i++)
		madvise(arg, PAGE_SIZE, MADV_DONTNEED);
	return NULL;
}

static void many_records_wake_who_polls(void **state)
{
	struct pollfd pfd = { .events = POLLIN };
	struct seen seen = { 0 };
	pthread_t thread;
	char *p;

	(void)state;
	need_source();
	pfd.fd = src->event_fd;
	p = map_pages(1);
	do
		drain_all(&seen);
	while (!src->ops->arm(src, false));
	assert_int_equal(pthread_create(&thread, NULL, change_many, p), 0);
	assert_int_equal(poll(&pfd, 1, -1), 1);
	pthread_join(thread, NULL);
	munmap(p, PAGE_SIZE);
}

static void overflow_is_one_loss(void **state)
{
	struct seen seen = { 0 };
	int i;
	char *p;

	(void)state;
	need_source();
	p = map_pages(1);
	forget();
	for (i = 0; i < 100 * 1000; i++)
		madvise(p, PAGE_SIZE, MADV_DONTNEED);
	drain_all(&seen);
	assert_int_equal(seen.lost, 1);
	assert_true(seen.nr < 100 * 1000);
	assert_true(seen.consumed >= 100 * 1000);
	assert_int_equal(seen.open, 0);

	/* And it goes on as if nothing had been. */
	memset(&seen, 0, sizeof(seen));
	madvise(p, PAGE_SIZE, MADV_DONTNEED);
	drain_all(&seen);
	assert_non_null(find(&seen, p, PAGE_SIZE));
	assert_int_equal(seen.lost, 0);
	assert_int_equal(seen.open, 0);
	munmap(p, PAGE_SIZE);
}

/* ---- The barrier -------------------------------------------------------- */

#define CHURN_PAGES 8192

struct churn {
	char *p;
	int fd;
	bool stop;
	unsigned long rounds;
};

static void *churn(void *arg)
{
	struct churn *c = arg;

	while (!READ_ONCE(c->stop)) {
		madvise(c->p, CHURN_PAGES * PAGE_SIZE, MADV_POPULATE_WRITE);
		usleep(200);
		madvise(c->p, CHURN_PAGES * PAGE_SIZE, MADV_DONTNEED);
		WRITE_ONCE(c->rounds, c->rounds + 1);
	}
	return NULL;
}

static bool present(int pagemap, const char *p)
{
	uint64_t entry;

	assert_int_equal(pread(pagemap, &entry, sizeof(entry),
			       (uintptr_t)p / PAGE_SIZE * sizeof(entry)),
			 sizeof(entry));
	return entry >> 63;
}

/*
 * Accept what is read as the host would: nothing new was counted since before
 * the barrier.  Stale is what then vanishes although nothing starts.
 */
static void snapshots(struct churn *c, bool barrier, unsigned int ms,
		      unsigned long wanted, unsigned long *accepted,
		      unsigned long *stale)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const char *last = c->p + (CHURN_PAGES - 1) * PAGE_SIZE;
	uint64_t started, until = hmm_now_ms() + ms;
	bool was, is = true;
	int i;

	assert_true(pagemap >= 0);
	*accepted = *stale = 0;
	while (*accepted < wanted && hmm_now_ms() < until) {
		started = hmm_load_acquire(src->started);
		if (barrier)
			assert_int_equal(
				src->ops->barrier(src, why, sizeof(why)), 0);
		was = present(pagemap, last);
		if (!was || hmm_load_acquire(src->started) != started)
			continue;
		++*accepted;
		for (i = 0; i < 200; i++) {
			is = present(pagemap, last);
			if (hmm_load_acquire(src->started) != started) {
				is = true;
				break;
			}
			if (!is)
				break;
		}
		if (!is)
			++*stale;
		forget();
	}
	close(pagemap);
}

static void barrier_waits_for_changes(void **state)
{
	unsigned long accepted, stale;
	struct churn c = { 0 };
	pthread_t thread;
	int tries;

	(void)state;
	need_source();
	c.fd = map_file(&c.p, CHURN_PAGES);
	assert_int_equal(pthread_create(&thread, NULL, churn, &c), 0);

	/* It must be able to go wrong, else going right proves nothing. */
	for (tries = stale = 0; tries < 20 && !stale; tries++)
		snapshots(&c, false, 300, ~0ul, &accepted, &stale);
	printf("without barrier: %lu of %lu snapshots stale\n", stale,
	       accepted);
	if (stale) {
		snapshots(&c, true, 20 * 1000, 500, &accepted, &stale);
		printf("with barrier: %lu of %lu snapshots stale, %lu "
		       "changes\n",
		       stale, accepted, READ_ONCE(c.rounds));
	} else {
		accepted = 0;
	}
	WRITE_ONCE(c.stop, true);
	pthread_join(thread, NULL);
	munmap(c.p, CHURN_PAGES * PAGE_SIZE);
	close(c.fd);
	if (!accepted) {
		printf("skipped: no change was caught in the middle\n");
		skip();
	}
	assert_int_equal(stale, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_TEST(changes_have_kind_and_owner),
		SOURCE_TEST(other_process_changes_ours),
		SOURCE_TEST(other_process_changes_its_own),
		SOURCE_TEST(armed_source_wakes_who_polls),
		SOURCE_TEST(many_records_wake_who_polls),
		SOURCE_TEST(overflow_is_one_loss),
		SOURCE_TEST(barrier_waits_for_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
