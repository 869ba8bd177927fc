// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_uffd.c - the unprivileged source, by itself: what it sees
 *
 * check: uffd timeout=120
 */
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "uffd_ring.h"
#include "uffd_support.h"

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

/* Another userfaultfd that watches these two pages. */
static int watch_two(const char *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	reg.range.start = (unsigned long)p;
	reg.range.len = 2 * PAGE;
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}

static void test_second_userfaultfd(void **state)
{
	char *p = map(2 * PAGE);
	int fd = watch_two(p);

	(void)state;
	assert_int_equal(cover(source, p, 2 * PAGE), -EOPNOTSUPP);
	close(fd);
	assert_int_equal(cover(source, p, 2 * PAGE), 0);
	munmap(p, 2 * PAGE);
}

static unsigned int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned int n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n++;
	fclose(maps);
	return n;
}

static unsigned long max_map_count(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long max = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &max), 1);
	fclose(f);
	return max < 65530 ? max : 65530;
}

/*
 * Each page that is watched by itself splits a vma, and a process may have some
 * 65,000: most of them are left to the application.
 */
static void test_many_pieces(void **state)
{
	const unsigned long max = max_map_count();
	const unsigned int pieces = (unsigned int)(max / 10);
	const size_t size = (2 * (size_t)pieces + 2) * PAGE;
	struct seen seen = { 0 };
	char *p = map(size), *last = p + (size_t)2 * (pieces - 1) * PAGE;
	unsigned int i, before = count_maps();
	int fd = watch_two(p + size - 2 * PAGE);

	(void)state;
	for (i = 0; i < pieces; i++)
		assert_int_equal(cover(source, p + (size_t)2 * i * PAGE, PAGE),
				 0);
	assert_true(count_maps() - before < max / 6);
	assert_int_equal(drain(source, &seen), 0);
	/* What is near can't be watched, and it can. */
	munmap(last, PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, last, PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
	close(fd);
	munmap(p, size);
}

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
		TEST(test_many_pieces),
	};

	return cmocka_run_group_tests_name("source_uffd", tests, NULL, NULL);
}
