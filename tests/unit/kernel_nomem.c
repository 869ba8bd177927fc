// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * kernel_nomem.c - every allocation of the modules fails once, on its own
 *
 * A debug kernel lets the n-th one of a thread fail (/proc/self/fail-nth).  What
 * was called then succeeds or says ENOMEM, and the same works the next time;
 * what it leaks the kernel's own checks find.
 *
 * check: once
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "hmm_dev.h"
#include "kernel/hmm_selftest.h"
#include "support.h"

#define FAIL_NTH "/proc/thread-self/fail-nth"
/* Hundreds of pages make the driver allocate what it has no room for. */
#define PAGES 300
#define MAX_ALLOCATIONS 3000

static char *memory;
static uint64_t pfns[PAGES];

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ret;

	if (fd < 0)
		return false;
	ret = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ret;
}

/* Also those that could wait for memory: they are nearly all there are. */
static bool can_fail(void)
{
	return !access(FAIL_NTH, W_OK) &&
	       put("/sys/kernel/debug/failslab/verbose", "0") &&
	       put("/sys/kernel/debug/fail_page_alloc/verbose", "0") &&
	       put("/sys/kernel/debug/failslab/ignore-gfp-wait", "N") &&
	       put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") &&
	       put("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	memory = map_touched(PAGES);
	memset(pfns, 0, sizeof(pfns));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(memory, PAGES * PAGE);
	watchdog(0);
	return 0;
}

/* ---- What is tried: 0, or a negative errno ------------------------------ */

static long read_entries(int fd, unsigned long request)
{
	struct hmm_dev_range range = {
		.options = request == HMM_DEV_FAULT ? HMM_DEV_BLOCK : 0,
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + PAGES * PAGE,
		.pfns = (unsigned long)pfns,
		.nr = PAGES,
		.flags = { DEV_VALID, DEV_WRITE, DEV_PRIVATE },
		.values = { DEV_ERROR, DEV_NONE, DEV_SPECIAL },
		.default_flags = DEV_VALID,
		.pfn_shift = DEV_SHIFT,
	};

	return ioctl(fd, request, &range) ? -errno : 0;
}

static long use_dev(void)
{
	struct hmm_dev_register reg = {
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + PAGES * PAGE,
	};
	static struct hmm_dev_sync sync;
	int fd = open("/dev/hmm", O_RDWR | O_CLOEXEC);
	void *shared;
	long ret = 0;

	if (fd < 0)
		return -errno;
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED || ioctl(fd, HMM_DEV_REGISTER, &reg) ||
	    ioctl(fd, HMM_DEV_SYNC, &sync))
		ret = -errno;
	if (!ret)
		ret = read_entries(fd, HMM_DEV_SNAPSHOT);
	if (!ret)
		ret = read_entries(fd, HMM_DEV_FAULT);
	if (shared != MAP_FAILED)
		munmap(shared, PAGE);
	close(fd);
	return ret;
}

static long use_driver(void)
{
	struct hmm_selftest_range arg = {
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + 60 * PAGE,
	};
	int fd = open("/dev/hmm_selftest", O_RDWR | O_CLOEXEC);
	long ret = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, ST_BIND) || ioctl(fd, ST_MIRROR) ||
	    ioctl(fd, ST_RANGE, &arg) || ioctl(fd, ST_FAULT, true) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Upstream's test device; see device/kernel/dmirror.h. */
struct dmirror_cmd {
	uint64_t addr, ptr, npages, cpages, faults;
};

#define DMIRROR_READ _IOWR('H', 0, struct dmirror_cmd)
#define DMIRROR_WRITE _IOWR('H', 1, struct dmirror_cmd)
#define DMIRROR_SNAPSHOT _IOWR('H', 4, struct dmirror_cmd)

static long use_dmirror(void)
{
	static char copy[8 * PAGE];
	static const unsigned long requests[] = { DMIRROR_READ, DMIRROR_WRITE,
						  DMIRROR_SNAPSHOT };
	int fd = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	long ret = 0;
	size_t i;

	if (fd < 0)
		return -errno;
	for (i = 0; i < 3 && !ret; i++) {
		struct dmirror_cmd cmd = {
			.addr = (unsigned long)memory,
			.ptr = (unsigned long)copy,
			.npages = 8,
		};

		if (ioctl(fd, requests[i], &cmd))
			ret = -errno;
	}
	close(fd);
	return ret;
}

/* ---- How ---------------------------------------------------------------- */

/* How many allocations were left when all was done; -1 if one has failed. */
static int with_failure(int nth, long (*use)(void), long *ret)
{
	int fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	char left[16] = "";
	char text[16];

	assert_true(fd >= 0);
	snprintf(text, sizeof(text), "%d", nth);
	assert_true(write(fd, text, strlen(text)) > 0);
	*ret = use();
	assert_true(pread(fd, left, sizeof(left) - 1, 0) > 0);
	assert_int_equal(pwrite(fd, "0", 1, 0), 1);
	close(fd);
	return atoi(left) ? atoi(left) : -1;
}

static void fail_each(const char *path, long (*use)(void))
{
	int nth = 0, left, refused = 0;
	long ret;

	if (access(path, R_OK | W_OK)) {
		print_message("skip: no %s\n", path);
		skip();
	}
	if (!can_fail()) {
		print_message("skip: no %s, or not root\n", FAIL_NTH);
		skip();
	}
	assert_int_equal(use(), 0);
	do {
		left = with_failure(++nth, use, &ret);
		if (ret && ret != -ENOMEM)
			print_message("allocation %d: %s\n", nth,
				      strerror((int)-ret));
		assert_true(!ret || ret == -ENOMEM);
		refused += ret == -ENOMEM;
		assert_int_equal(use(), 0);
	} while (left < 0 && nth < MAX_ALLOCATIONS);
	assert_int_equal(ret, 0);
	print_message("%d allocations, %d matter\n", nth - 1, refused);
	assert_true(refused > 0);
}

static void dev_hmm_says_enomem(void **state)
{
	(void)state;
	fail_each("/dev/hmm", use_dev);
}

static void driver_says_enomem(void **state)
{
	(void)state;
	fail_each("/dev/hmm_selftest", use_driver);
}

static void dmirror_says_enomem(void **state)
{
	(void)state;
	fail_each("/dev/hmm_dmirror0", use_dmirror);
}

#define MEMORY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(dev_hmm_says_enomem),
		MEMORY_TEST(driver_says_enomem),
		MEMORY_TEST(dmirror_says_enomem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
