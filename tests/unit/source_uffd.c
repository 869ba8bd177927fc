// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_uffd.c - the unprivileged source, by itself
 *
 * What would disturb the test program happens in children: they lower limits,
 * change their user, or get killed.
 *
 * check: uffd timeout=120
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "source.h"
#include "uffd_ring.h"

#define PAGE 4096ul
#define EVENTS 64
#define SKIP 255
#define WATCHDOG_S 100

/* ---- Helpers ------------------------------------------------------------ */

struct seen {
	struct hmm_event event[EVENTS];
	unsigned int nr, losses;
	uint64_t consumed;
};

static struct hmm_source *source;

static struct hmm_source *attach(void)
{
	struct hmm_source *src = NULL;
	char why[256] = "";
	int ret = hmm_source_uffd.attach(&src, why, sizeof(why));

	if (ret)
		print_message("attach: %d, %s\n", ret, why);
	return ret ? NULL : src;
}

static int setup(void **state)
{
	(void)state;
	alarm(WATCHDOG_S);
	source = attach();
	return source ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	if (source)
		hmm_source_uffd.detach(source);
	source = NULL;
	alarm(0);
	return 0;
}

static void see(void *ctx, const struct hmm_event *event)
{
	struct seen *seen = ctx;

	if (seen->nr < EVENTS)
		seen->event[seen->nr] = *event;
	seen->nr++;
	if (event->kind != HMM_CHANGE_LOST)
		return;
	seen->losses++;
	assert_int_equal(event->start, 0);
	assert_int_equal(event->end, ~0ul);
}

static uint64_t started(const struct hmm_source *src)
{
	return __atomic_load_n(src->started, __ATOMIC_ACQUIRE);
}

/* Take all that is counted. */
static int drain(struct hmm_source *src, struct seen *seen)
{
	int ret;

	seen->nr = 0;
	do
		ret = src->ops->drain(src, see, seen, &seen->consumed);
	while (!ret && seen->consumed != started(src) && !sched_yield());
	return ret;
}

static bool saw(const struct seen *seen, const void *start, size_t size,
		enum hmm_event_phase phase, enum hmm_change_kind kind)
{
	const struct hmm_event *e = seen->event;
	unsigned long from = (unsigned long)start;

	for (; e < seen->event + seen->nr && e < seen->event + EVENTS; e++)
		if (e->start == from && e->end == from + size &&
		    e->phase == phase && e->kind == kind)
			return true;
	return false;
}

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static int cover(struct hmm_source *src, const void *p, size_t size)
{
	unsigned long start = (unsigned long)p & ~(PAGE - 1);
	unsigned long end = ((unsigned long)p + size + PAGE - 1) & ~(PAGE - 1);

	return src->ops->cover(src, start, end);
}

static char *map_covered(size_t size)
{
	char *p = map(size);

	memset(p, 1, size);
	assert_int_equal(cover(source, p, size), 0);
	return p;
}

static unsigned int count_entries(const char *path)
{
	unsigned int n = 0;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* The monitor owns the robust futex in the counter. */
static pid_t monitor_of(const struct hmm_source *src)
{
	return (pid_t)(started(src) >> 32);
}

static bool is_alive(pid_t pid)
{
	char path[64], text[512] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	state = strrchr(text, ')');
	return state && state[2] != 'Z' && state[2] != 'X';
}

/* ---- Children ----------------------------------------------------------- */

#define CHECK(x)                                    \
	do {                                        \
		if (!(x))                           \
			child_failed(__LINE__, #x); \
	} while (0)

static void child_failed(int line, const char *what)
{
	fprintf(stderr, "child: line %d: %s (%s)\n", line, what,
		strerror(errno));
	_exit(1);
}

/* Run fn in a child that has nothing of ours; skip the test if it says so. */
static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(WATCHDOG_S);
		if (source)
			hmm_source_uffd.forked(source);
		source = NULL;
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
		skip();
	assert_int_equal(status, 0);
}

static void not_here(const char *reason)
{
	print_message("skipped: %s\n", reason);
	_exit(SKIP);
}

static void attach_in_child(void)
{
	struct hmm_source *src = attach();
	struct seen seen = { 0 };
	uint64_t before;
	char why[256];
	char *p;

	CHECK(src);
	p = map(4 * PAGE);
	CHECK(!cover(src, p, 4 * PAGE));
	before = started(src);
	CHECK(!madvise(p, PAGE, MADV_DONTNEED));
	CHECK(!munmap(p, 4 * PAGE));
	CHECK(started(src) != before);
	CHECK(!drain(src, &seen));
	CHECK(saw(&seen, p, PAGE, HMM_EVENT_OPEN, HMM_CHANGE_DISCARD));
	CHECK(saw(&seen, p, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
	CHECK(!src->ops->barrier(src, why, sizeof(why)));
	hmm_source_uffd.detach(src);
}

static void expect_refusal(int error, const char *hint)
{
	struct hmm_source *src;
	char why[256] = "";
	int ret = hmm_source_uffd.attach(&src, why, sizeof(why));

	print_message("refused: %d, %s\n", ret, why);
	CHECK(ret == error);
	CHECK(strstr(why, hint));
}

/* ---- What is seen ------------------------------------------------------- */

static void test_unmap(void **state)
{
	struct seen seen = { 0 };
	char *p = map_covered(16 * PAGE);

	(void)state;
	munmap(p + 4 * PAGE, 2 * PAGE);
	assert_true(mmap(p, 2 * PAGE, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	assert_true(mremap(p + 6 * PAGE, 10 * PAGE, 8 * PAGE, 0) ==
		    p + 6 * PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_int_equal(seen.nr, 3);
	assert_true(saw(&seen, p + 4 * PAGE, 2 * PAGE, HMM_EVENT_PAST,
			HMM_CHANGE_UNMAP));
	assert_true(saw(&seen, p, 2 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
	assert_true(saw(&seen, p + 14 * PAGE, 2 * PAGE, HMM_EVENT_PAST,
			HMM_CHANGE_UNMAP));
	munmap(p, 16 * PAGE);
}

static void test_remap(void **state)
{
	struct seen seen = { 0 };
	char *p = map_covered(4 * PAGE), *to = map(4 * PAGE);

	(void)state;
	assert_true(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   to) == to);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, p, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_REMAP));
	assert_true(saw(&seen, to, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_REMAP));
	/* What moved is watched where it is now. */
	munmap(to, 4 * PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, to, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
}

static void test_discard(void **state)
{
	static const int advices[] = { MADV_DONTNEED, MADV_FREE };
	char *p = map_covered(4 * PAGE), *s;
	struct seen seen = { 0 };
	char why[256] = "";
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(madvise(p + PAGE, PAGE, advices[i]), 0);
		assert_int_equal(drain(source, &seen), 0);
		assert_true(saw(&seen, p + PAGE, PAGE, HMM_EVENT_OPEN,
				HMM_CHANGE_DISCARD));
		assert_int_equal(source->ops->barrier(source, why, sizeof(why)),
				 0);
	}
	munmap(p, 4 * PAGE);

	s = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s != MAP_FAILED);
	assert_int_equal(cover(source, s, 4 * PAGE), 0);
	*s = 1;
	assert_int_equal(madvise(s, PAGE, MADV_REMOVE), 0);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, s, PAGE, HMM_EVENT_OPEN, HMM_CHANGE_DISCARD));
	munmap(s, 4 * PAGE);
}

/* Memory that nobody asked for costs nothing, and tells nothing. */
static void test_uncovered(void **state)
{
	uint64_t before = started(source);

	(void)state;
	munmap(map(4 * PAGE), 4 * PAGE);
	assert_true(started(source) == before);
}

/* Not a moment of waiting: when the call has returned, the counter differs. */
static void test_counted_on_return(void **state)
{
	struct seen seen = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 5000; i++) {
		char *p = map(2 * PAGE);

		assert_int_equal(cover(source, p, 2 * PAGE), 0);
		assert_int_equal(drain(source, &seen), 0);
		munmap(p, 2 * PAGE);
		assert_true(started(source) != seen.consumed);
		assert_int_equal(drain(source, &seen), 0);
		assert_true(saw(&seen, p, 2 * PAGE, HMM_EVENT_PAST,
				HMM_CHANGE_UNMAP));
	}
}

/* The same, taking records all the time: consumed never says too much. */
static void *unmap_and_compare(void *arg)
{
	uint64_t *told = arg;
	unsigned int i;

	for (i = 0; i < 500; i++) {
		uint64_t before;
		char *p = map(PAGE);

		cover(source, p, PAGE);
		before = started(source);
		munmap(p, PAGE);
		/* Whoever has taken less than this cannot have seen it. */
		if (started(source) == before)
			return "not counted";
		__atomic_store_n(told, (uint64_t)(unsigned long)p,
				 __ATOMIC_RELEASE);
		while (__atomic_load_n(told, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	__atomic_store_n(told, 1, __ATOMIC_RELEASE);
	return NULL;
}

struct find {
	uint64_t start;
	bool found;
	uint64_t last;
};

static void find(void *ctx, const struct hmm_event *event)
{
	struct find *f = ctx;

	f->last = event->start;
}

static void test_consumed_says_what_was_taken(void **state)
{
	uint64_t told = 0, now, p, consumed;
	struct find f = { 0 };
	pthread_t thread;
	void *error;

	(void)state;
	pthread_create(&thread, NULL, unmap_and_compare, &told);
	for (;;) {
		p = __atomic_load_n(&told, __ATOMIC_ACQUIRE);
		now = started(source);
		assert_int_equal(
			source->ops->drain(source, find, &f, &consumed), 0);
		if (p == 1)
			break;
		/* p was unmapped before now was read. */
		if (!p || consumed != now) {
			sched_yield();
			continue;
		}
		assert_true(f.last == p);
		__atomic_store_n(&told, 0, __ATOMIC_RELEASE);
	}
	pthread_join(thread, &error);
	assert_null(error);
}

static void test_event_fd(void **state)
{
	struct pollfd fd = { .fd = source->event_fd, .events = POLLIN };
	struct seen seen = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 500; i++) {
		char *p = map_covered(PAGE);

		munmap(p, PAGE);
		/* Sooner or later each is told to who sleeps. */
		do {
			assert_int_equal(poll(&fd, 1, WATCHDOG_S * 1000), 1);
			assert_int_equal(drain(source, &seen), 0);
		} while (
			!saw(&seen, p, PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
	}
	/* And nobody is kept awake. */
	do
		assert_int_equal(drain(source, &seen), 0);
	while (poll(&fd, 1, 10));
}

/* A ring that nobody empties: nobody waits, and the loss is told once. */
static void test_overflow(void **state)
{
	struct seen seen = { 0 };
	unsigned int i;
	char *p = map_covered(4 * UFFD_RECORDS * PAGE);

	(void)state;
	for (i = 0; i < 2 * UFFD_RECORDS; i++)
		munmap(p + 2 * i * PAGE, PAGE);
	/* The monitor may still be writing what it read last. */
	assert_int_equal(drain(source, &seen), 0);
	assert_in_range(seen.losses, 1, 2);
	assert_in_range(seen.nr, UFFD_RECORDS + 1, UFFD_RECORDS + 8);
	assert_int_equal(drain(source, &seen), 0);
	munmap(p + PAGE, PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_int_equal(seen.nr, 1);
	munmap(p, 4 * UFFD_RECORDS * PAGE);
}

/* The count wraps around after a loss, so that an old count means nothing. */
static void test_wrap(void **state)
{
	union uffd_started *counter = (void *)(uintptr_t)source->started;
	struct seen seen = { 0 };
	unsigned int i;
	pid_t monitor;

	(void)state;
	assert_int_equal(mprotect(counter, PAGE, PROT_READ | PROT_WRITE), 0);
	for (i = 0; i < 2; i++) {
		char *p = map_covered(4 * PAGE);

		__atomic_store_n(&counter->count, 0x7ffffffeu + (i << 31),
				 __ATOMIC_SEQ_CST);
		munmap(p, PAGE);
		assert_int_equal(drain(source, &seen), 0);
		assert_int_equal(seen.losses, i);
		munmap(p + PAGE, PAGE);
		assert_int_equal(drain(source, &seen), 0);
		assert_int_equal(seen.losses, i + 1);
		munmap(p, 4 * PAGE);
	}
	/* Half a turn with nobody looking: rather an end than a lie. */
	monitor = monitor_of(source);
	for (i = 0; i < 2; i++) {
		char *p = map_covered(PAGE);

		__atomic_store_n(&counter->count, 0x7fffffffu + (i << 31),
				 __ATOMIC_SEQ_CST);
		munmap(p, PAGE);
	}
	while (is_alive(monitor))
		usleep(1000);
	assert_int_equal(drain(source, &seen), -EPIPE);
}

/* ---- The end of a discard ----------------------------------------------- */

#define BIG (256ul << 20)

static unsigned long present(const char *p, size_t size)
{
	unsigned long n = 0, i;
	uint64_t entry[512];
	int fd = open("/proc/self/pagemap", O_RDONLY);

	assert_true(fd >= 0);
	for (i = 0; i < size / PAGE; i++) {
		if (!(i % 512))
			assert_int_equal(
				pread(fd, entry, sizeof(entry),
				      (off_t)(((unsigned long)p / PAGE + i) *
					      8)),
				sizeof(entry));
		n += entry[i % 512] >> 63;
	}
	close(fd);
	return n;
}

static int discard_by_madvise(char *p)
{
	return madvise(p, BIG, MADV_DONTNEED);
}

static int discard_by_process_madvise(char *p)
{
	const struct iovec iov = { .iov_base = p, .iov_len = BIG };
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	ssize_t ret =
		syscall(SYS_process_madvise, fd, &iov, 1, MADV_DONTNEED, 0);

	close(fd);
	return ret == (ssize_t)BIG ? 0 : -1;
}

/* By a thread that the kernel creates, and that is never in user space. */
static int discard_by_io_uring(char *p)
{
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params), ret;
	struct io_uring_sqe *sqe;
	unsigned int *tail, *array;
	char *ring;

	if (fd < 0)
		return -1;
	ring = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
	sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
	assert_true(ring != MAP_FAILED && (void *)sqe != MAP_FAILED);
	tail = (unsigned int *)(ring + params.sq_off.tail);
	array = (unsigned int *)(ring + params.sq_off.array);
	*sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_MADVISE,
		.addr = (unsigned long)p,
		.len = BIG,
		.fadvise_advice = MADV_DONTNEED,
	};
	array[0] = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	ret = (int)syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS,
			   NULL, 0);
	munmap(ring, 1 << 16);
	munmap(sqe, PAGE);
	close(fd);
	return ret == 1 ? 0 : -1;
}

static int (*discard_by)(char *p);

static void *discard(void *arg)
{
	char *p = arg;
	long ret = discard_by(p);

	/* Not discarding any more, but never asleep: this can't be mistaken. */
	while (!ret && __atomic_load_n(p, __ATOMIC_RELAXED) != 2)
		;
	return (void *)ret;
}

static void barrier_waits(int (*by)(char *p), const char *what)
{
	char *p = map_covered(BIG);
	struct seen seen = { 0 };
	unsigned long left = 0;
	char why[256] = "";
	pthread_t thread;
	void *error;
	int ret = 0;

	discard_by = by;
	assert_int_equal(madvise(p, BIG, MADV_NOHUGEPAGE), 0);
	memset(p, 1, BIG);
	assert_int_equal(drain(source, &seen), 0);
	pthread_create(&thread, NULL, discard, p);
	/* The record is there before the pages go. */
	do
		assert_int_equal(drain(source, &seen), 0);
	while (!saw(&seen, p, BIG, HMM_EVENT_OPEN, HMM_CHANGE_DISCARD) &&
	       pthread_tryjoin_np(thread, &error));
	if (seen.nr) {
		do
			ret = source->ops->barrier(source, why, sizeof(why));
		while (ret == -ETIMEDOUT);
		left = present(p, BIG);
		__atomic_store_n(p, 2, __ATOMIC_RELAXED);
		pthread_join(thread, &error);
	}
	if (error)
		print_message("not tried: no %s here\n", what);
	munmap(p, BIG);
	assert_int_equal(ret, 0);
	/* But for the one that the thread looks at. */
	assert_in_range(left, 0, 1);
}

static void test_barrier_waits(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		barrier_waits(discard_by_madvise, "madvise");
		barrier_waits(discard_by_process_madvise,
			      "process_madvise(MADV_DONTNEED)");
		barrier_waits(discard_by_io_uring, "io_uring");
	}
}

/* ---- What can be watched ------------------------------------------------ */

static void test_cover(void **state)
{
	char *p = map(8 * PAGE);
	unsigned long vdso = 0;
	char line[256];
	FILE *maps;

	(void)state;
	/* A hole can be filled without a record: it is no success. */
	munmap(p + 2 * PAGE, 2 * PAGE);
	assert_int_equal(cover(source, p, 8 * PAGE), -EBUSY);
	assert_int_equal(cover(source, p + PAGE, 2 * PAGE), -EBUSY);
	assert_int_equal(cover(source, p, 2 * PAGE), 0);
	assert_int_equal(cover(source, p + 4 * PAGE, 4 * PAGE), 0);
	assert_int_equal(cover(source, p + 5 * PAGE, PAGE), 0);
	assert_int_equal(mprotect(p, PAGE, PROT_NONE), 0);
	assert_int_equal(cover(source, p, PAGE), 0);
	munmap(p, 8 * PAGE);

	maps = fopen("/proc/self/maps", "r");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (strstr(line, "[vdso]"))
			sscanf(line, "%lx", &vdso);
	}
	fclose(maps);
	if (vdso)
		assert_int_equal(cover(source, (void *)vdso, PAGE),
				 -EOPNOTSUPP);
}

static void test_second_userfaultfd(void **state)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p = map(2 * PAGE);
	int fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	reg.range.start = (unsigned long)p;
	reg.range.len = 2 * PAGE;
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(cover(source, p, 2 * PAGE), -EOPNOTSUPP);
	close(fd);
	assert_int_equal(cover(source, p, 2 * PAGE), 0);
	munmap(p, 2 * PAGE);
}

/* ---- Who holds what ----------------------------------------------------- */

static unsigned int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	int c;

	assert_non_null(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

static volatile sig_atomic_t sigchlds;

static void on_sigchld(int sig)
{
	(void)sig;
	sigchlds++;
}

static void test_no_traces(void **state)
{
	unsigned int i, fds = 0, maps = 0;
	struct hmm_source *src;

	(void)state;
	alarm(WATCHDOG_S);
	signal(SIGCHLD, on_sigchld);
	for (i = 0; i < 201; i++) {
		src = attach();
		assert_non_null(src);
		/* No child that the application would find. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
		assert_int_equal(errno, ECHILD);
		hmm_source_uffd.detach(src);
		if (!i) {
			fds = count_entries("/proc/self/fd");
			maps = count_maps();
		}
	}
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(count_maps(), maps);
	assert_int_equal(sigchlds, 0);
	signal(SIGCHLD, SIG_DFL);
	alarm(0);
}

/* One whose orphans come to itself must not collect dead monitors. */
static void as_reaper(void)
{
	struct hmm_source *src;

	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	src = attach();
	CHECK(src);
	hmm_source_uffd.detach(src);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

static void test_reaper(void **state)
{
	(void)state;
	in_child(as_reaper);
}

static void test_monitor_holds_nothing_else(void **state)
{
	pid_t monitor;
	char path[64];
	int fds[2];

	(void)state;
	/* Numbers below, between and above those that it keeps. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[0], 200), 200);
	monitor = monitor_of(source);
	hmm_source_uffd.detach(source);
	source = attach();
	assert_non_null(source);
	assert_int_not_equal(monitor_of(source), monitor);
	/* userfaultfd, socket, pidfd, eventfd, "." and ".." */
	snprintf(path, sizeof(path), "/proc/%d/fd", monitor_of(source));
	assert_int_equal(count_entries(path), 6);
	close(200);
	close(fds[0]);
	close(fds[1]);
}

static void test_monitor_ends_with_the_process(void **state)
{
	pid_t pid, monitor = 0, grandchild = 0;
	int fds[2], status;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		struct hmm_source *src = attach();

		CHECK(src);
		monitor = monitor_of(src);
		/* It keeps a copy of all that its parent has open. */
		grandchild = fork();
		if (grandchild) {
			CHECK(write(fds[1], &monitor, sizeof(monitor)) > 0);
			CHECK(write(fds[1], &grandchild, sizeof(pid)) > 0);
		}
		pause();
		_exit(0);
	}
	assert_int_equal(read(fds[0], &monitor, sizeof(monitor)),
			 sizeof(monitor));
	assert_int_equal(read(fds[0], &grandchild, sizeof(grandchild)),
			 sizeof(grandchild));
	close(fds[0]);
	close(fds[1]);
	/* What a terminal or a polite administrator sends does not end it. */
	kill(monitor, SIGINT);
	kill(monitor, SIGTERM);
	kill(monitor, SIGHUP);
	usleep(10000);
	assert_true(is_alive(monitor));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	while (is_alive(monitor))
		usleep(1000);
	assert_true(is_alive(grandchild));
	kill(grandchild, SIGKILL);
}

static void test_fork(void **state)
{
	struct seen seen = { 0 };
	char *p = map_covered(4 * PAGE);

	(void)state;
	/* in_child() calls forked(). */
	in_child(attach_in_child);
	munmap(p, 4 * PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, p, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
}

/* ---- What is refused, and to whom --------------------------------------- */

static void become_nobody(void)
{
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		not_here("not root, so the other tests ran as a user already");
}

static void as_nobody(void)
{
	become_nobody();
	attach_in_child();
	/* As one that was a user's from the beginning. */
	CHECK(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	attach_in_child();
}

static void test_nobody(void **state)
{
	(void)state;
	in_child(as_nobody);
}

static void few_files(void)
{
	const struct rlimit enough = { 1024, 1024 };
	unsigned int fds = count_entries("/proc/self/fd"), n;
	struct hmm_source *src;
	char why[256];
	int ret = -1;

	/* Refused at each of its files in turn, and nothing is left open. */
	for (n = 0; ret && n < 20; n++) {
		struct rlimit limit = { 3 + n, 1024 };

		CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
		*why = '\0';
		ret = hmm_source_uffd.attach(&src, why, sizeof(why));
		CHECK(!setrlimit(RLIMIT_NOFILE, &enough));
		CHECK(!ret || (ret == -EMFILE && strstr(why, "RLIMIT_NOFILE")));
		CHECK(!ret || count_entries("/proc/self/fd") == fds);
	}
	CHECK(!ret && n > 4);
	hmm_source_uffd.detach(src);
}

static void test_few_files(void **state)
{
	(void)state;
	in_child(few_files);
}

static void few_processes(void)
{
	const struct rlimit limit = { 1, 1 };

	become_nobody();
	CHECK(!setrlimit(RLIMIT_NPROC, &limit));
	expect_refusal(-EAGAIN, "RLIMIT_NPROC");
}

static void test_few_processes(void **state)
{
	(void)state;
	in_child(few_processes);
}

static void without_userfaultfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = sizeof(filter) / sizeof(*filter),
		.filter = filter,
	};

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		not_here("no seccomp filters");
	expect_refusal(-EPERM, "seccomp");
}

static void test_without_userfaultfd(void **state)
{
	(void)state;
	in_child(without_userfaultfd);
}

/* The sysctl is one of the pid namespace, and can only be raised. */
static void without_exec_memfd(void)
{
	int fd, status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		not_here("not root: no pid namespace to forbid it in");
	pid = fork();
	if (!pid) {
		fd = open("/proc/sys/vm/memfd_noexec", O_WRONLY);
		if (fd < 0 || write(fd, "2", 1) != 1)
			not_here("no vm.memfd_noexec");
		close(fd);
		expect_refusal(-EACCES, "vm.memfd_noexec");
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void test_without_exec_memfd(void **state)
{
	(void)state;
	in_child(without_exec_memfd);
}

/* ---- Nobody hangs ------------------------------------------------------- */

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* Large and small blocks, so that free() trims and unmaps. */
static void *churn_malloc(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	while (!stopped()) {
		void *block[16];
		unsigned int i;

		for (i = 0; i < 16; i++) {
			size_t size = (size_t)rand_r(&seed) % (256 * 1024) + 1;

			block[i] = malloc(size);
			if (!block[i])
				continue;
			memset(block[i], 1, size);
			cover(source, block[i], size);
		}
		for (i = 0; i < 16; i++)
			free(block[i]);
	}
	return NULL;
}

static void *cover_stack(void *arg)
{
	char here[PAGE];

	memset(here, 1, sizeof(here));
	cover(source, here, sizeof(here));
	return arg;
}

static void *churn_threads(void *arg)
{
	pthread_t thread;

	while (!stopped())
		if (!pthread_create(&thread, NULL, cover_stack, NULL))
			pthread_join(thread, NULL);
	return arg;
}

static void *churn_forks(void *arg)
{
	while (!stopped()) {
		pid_t pid = fork();

		if (!pid) {
			free(malloc(1 << 20));
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return arg;
}

static void *churn_drain(void *arg)
{
	struct seen seen = { 0 };
	uint64_t consumed;

	while (!stopped()) {
		free(malloc(256 * 1024));
		seen.nr = 0;
		source->ops->drain(source, see, &seen, &consumed);
	}
	return arg;
}

static void *churn_barrier(void *arg)
{
	char why[256];

	while (!stopped())
		source->ops->barrier(source, why, sizeof(why));
	return arg;
}

static void churn(unsigned int ms, pid_t victim)
{
	static void *(*const fns[])(void *) = {
		churn_malloc, churn_malloc, churn_threads,
		churn_forks,  churn_drain,  churn_barrier,
	};
	pthread_t threads[6];
	unsigned long i;

	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fns[i],
						(void *)i),
				 0);
	usleep(ms * 1000);
	if (victim)
		kill(victim, SIGKILL);
	usleep(10000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

static void test_churn(void **state)
{
	(void)state;
	/* The top of the heap as well, so that trimming it waits. */
	cover(source, (char *)sbrk(0) - 16 * PAGE, 16 * PAGE);
	churn(2000, 0);
}

/* ---- The monitor dies --------------------------------------------------- */

static void test_killed(void **state)
{
	struct pollfd fd = { .fd = source->event_fd, .events = POLLIN };
	char *p = map_covered(4 * PAGE);
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(drain(source, &seen), 0);
	kill(monitor_of(source), SIGKILL);
	/* Who listens is told; who unmaps does not wait. */
	assert_int_equal(poll(&fd, 1, WATCHDOG_S * 1000), 1);
	assert_true(started(source) != seen.consumed);
	munmap(p, 4 * PAGE);
	assert_int_equal(drain(source, &seen), -EPIPE);
	assert_true(started(source) != seen.consumed);
	p = map(PAGE);
	assert_int_equal(cover(source, p, PAGE), -EPIPE);
	munmap(p, PAGE);
}

static void *kill_soon(void *arg)
{
	const struct timespec pause = { .tv_nsec = (long)(uintptr_t)arg };

	nanosleep(&pause, NULL);
	kill(monitor_of(source), SIGKILL);
	return NULL;
}

/*
 * Kill it at any moment of a loop that unmaps.  The counter has to differ after
 * each munmap(), be it that it was counted or that nobody counts any more.
 */
static void test_killed_at_any_moment(void **state)
{
	unsigned int round, i, seed = 1;

	(void)state;
	for (round = 0; round < 200; round++) {
		char *p = map_covered(4000 * PAGE);
		struct seen seen = { 0 };
		pthread_t killer;

		pthread_create(&killer, NULL, kill_soon,
			       (void *)(uintptr_t)(rand_r(&seed) % 2000000));
		for (i = 0; i < 2000; i++) {
			if (drain(source, &seen))
				break;
			munmap(p + 2 * i * PAGE, PAGE);
			assert_true(started(source) != seen.consumed);
		}
		pthread_join(killer, NULL);
		munmap(p, 4000 * PAGE);
		hmm_source_uffd.detach(source);
		source = attach();
		assert_non_null(source);
	}
}

static void test_killed_in_churn(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		churn(20 + 7 * i, monitor_of(source));
		hmm_source_uffd.detach(source);
		source = attach();
		assert_non_null(source);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_unmap),
		TEST(test_remap),
		TEST(test_discard),
		TEST(test_uncovered),
		TEST(test_counted_on_return),
		TEST(test_consumed_says_what_was_taken),
		TEST(test_event_fd),
		TEST(test_overflow),
		TEST(test_wrap),
		TEST(test_barrier_waits),
		TEST(test_cover),
		TEST(test_second_userfaultfd),
		cmocka_unit_test(test_no_traces),
		cmocka_unit_test(test_reaper),
		TEST(test_monitor_holds_nothing_else),
		TEST(test_monitor_ends_with_the_process),
		TEST(test_fork),
		TEST(test_nobody),
		TEST(test_few_files),
		TEST(test_few_processes),
		TEST(test_without_userfaultfd),
		TEST(test_without_exec_memfd),
		TEST(test_churn),
		TEST(test_killed),
		TEST(test_killed_at_any_moment),
		TEST(test_killed_in_churn),
	};

	return cmocka_run_group_tests_name("source_uffd", tests, NULL, NULL);
}
