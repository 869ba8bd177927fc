// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * known_vma.c - what is remembered of a vma, and of KSM, must be what holds now
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "attached.h"

#define GIB (1ul << 30)

/* Memory with no page table near it: its mprotect() tells nobody. */
static char *map_alone(size_t pages, int flags, int fd)
{
	char *area = mmap(NULL, 3 * GIB, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *p = (char *)(((uintptr_t)area + 2 * GIB - 1) & ~(GIB - 1));

	assert_ptr_not_equal(area, MAP_FAILED);
	munmap(area, 3 * GIB);
	p = mmap(p, pages * PAGE, PROT_READ | PROT_WRITE,
		 flags | MAP_FIXED_NOREPLACE, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Twice: the second time with what the first has learnt. */
static void snapshot_twice(struct hmm_range *range, long pages)
{
	assert_int_equal(range_snapshot(range, mm), pages);
	assert_int_equal(range_snapshot(range, mm), pages);
}

static void permissions_go(void **state)
{
	char *p = map_touched(2);
	struct hmm_range range;
	uint64_t pfns[2];

	(void)state;
	range_start(&range, mm, p, 2, pfns, 0);
	snapshot_twice(&range, 2);
	assert_int_equal(mprotect(p, 2 * PAGE, PROT_READ), 0);
	snapshot_twice(&range, 2);
	assert_true(pfns[0] & DEV_VALID);
	assert_false(pfns[0] & DEV_WRITE);
	range.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(range_fault(&range, mm), -EPERM);
	range.default_flags = 0;
	snapshot_twice(&range, 2);
	/* Of a part: the range is in two vmas then. */
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	assert_int_equal(range_snapshot(&range, mm), -EPERM);
	hmm_range_unregister(&range);
	munmap(p, 2 * PAGE);
}

static void permissions_come(void **state)
{
	char *p = map_pages(1, PROT_READ);
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	assert_int_equal(*(volatile char *)p, 0);
	range_start(&range, mm, p, 1, &pfn, 0);
	snapshot_twice(&range, 1);
	range.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(range_fault(&range, mm), -EPERM);
	assert_int_equal(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	assert_true(pfn & DEV_WRITE);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

static void other_memory_comes(void **state)
{
	char *p = map_touched(1);
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, 0);
	snapshot_twice(&range, 1);
	munmap(p, PAGE);
	assert_int_equal(range_snapshot(&range, mm), 1);
	assert_int_equal(pfn, DEV_NONE);
	assert_ptr_equal(mmap(p, PAGE, PROT_READ,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			      -1, 0),
			 p);
	assert_int_equal(*(volatile char *)p, 0);
	snapshot_twice(&range, 1);
	assert_true(pfn & DEV_VALID);
	assert_false(pfn & DEV_WRITE);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

/* Nothing is told of it, and the range stays valid. */
static void permissions_go_silently(void **state)
{
	char *p = map_alone(2, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct hmm_range range;
	uint64_t pfns[2];

	(void)state;
	range_start(&range, mm, p, 2, pfns, 0);
	snapshot_twice(&range, 2);
	assert_int_equal(pfns[0], DEV_NONE);
	assert_int_equal(mprotect(p, 2 * PAGE, PROT_NONE), 0);
	assert_int_equal(range_snapshot(&range, mm), -EPERM);
	hmm_range_unregister(&range);
	munmap(p, 2 * PAGE);
}

/* The same, and then there are pages; that tells nothing either. */
static void writing_goes_silently(void **state)
{
	struct hmm_range range;
	uint64_t pfn;
	char *p;
	int fd;

	(void)state;
	fd = memfd_create("hmm", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = map_alone(1, MAP_SHARED, fd);
	range_start(&range, mm, p, 1, &pfn, 0);
	snapshot_twice(&range, 1);
	assert_int_equal(mprotect(p, PAGE, PROT_READ), 0);
	assert_int_equal(*(volatile char *)p, 0);
	snapshot_twice(&range, 1);
	assert_true(pfn & DEV_VALID);
	assert_false(pfn & DEV_WRITE);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	close(fd);
}

/* ---- KSM ------------------------------------------------------------------ */

static long ksm_read(const char *name)
{
	char path[64], buf[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) <= 0)
		skip();
	close(fd);
	return atol(buf);
}

static void ksm_write(const char *name, long value)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		print_message("skip: KSM can't be turned on: be root\n");
		skip();
	}
	dprintf(fd, "%ld\n", value);
	close(fd);
}

/* By a range that knows nothing yet. */
static bool may_write(const char *p)
{
	struct hmm_range range;
	uint64_t pfn;

	range_start(&range, mm, p, 1, &pfn, 0);
	assert_int_equal(range_snapshot(&range, mm), 1);
	hmm_range_unregister(&range);
	return pfn & DEV_WRITE;
}

/* The one who protects it wants to be asked, by a device as well. */
static void userfaultfd_protects(void **state)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = {
		.mode = UFFDIO_WRITEPROTECT_MODE_WP
	};
	char *p = quiet_mmap(PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1);
	int fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_CLOEXEC);

	(void)state;
	if (source_is(mm, "uffd") || fd < 0) {
		print_message("skip: needs a userfaultfd of its own\n");
		skip();
	}
	if (ioctl(fd, UFFDIO_API, &api)) {
		print_message("skip: shared memory can't be protected here\n");
		skip();
	}
	assert_ptr_not_equal(p, MAP_FAILED);
	*p = 1;
	assert_true(may_write(p));
	reg.range.start = (uintptr_t)p;
	reg.range.len = PAGE;
	protect.range = reg.range;
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(ioctl(fd, UFFDIO_WRITEPROTECT, &protect), 0);
	assert_false(may_write(p));
	close(fd);
	munmap(p, PAGE);
}

/* Not pages_shared alone: that may be of others, which is no change of ours. */
static bool are_one(const char *p)
{
	struct hmm_range range;
	uint64_t pfns[2];

	range_start(&range, mm, p, 2, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), 2);
	hmm_range_unregister(&range);
	return pfns[0] & DEV_VALID && pfns[0] == pfns[1];
}

static void ksm_is_noticed(void **state)
{
	char *p = map_touched(1), *same = map_touched(2);
	long run = ksm_read("run"), pages = ksm_read("pages_to_scan");
	time_t until = time(NULL) + 10 * slowness();
	bool promised, shared = false;

	(void)state;
	if (source_is(mm, "module")) {
		print_message("skip: this source need not guess\n");
		skip();
	}
	memset(same, 1, 2 * PAGE);
	if (!may_write(p)) {
		print_message("skip: swap or KSM is in use already\n");
		skip();
	}
	assert_int_equal(madvise(same, 2 * PAGE, MADV_MERGEABLE), 0);
	/* If it runs already, somebody else will turn it off. */
	if (!run) {
		ksm_write("run", 1);
		/* There may be others' memory, to be gone through twice. */
		ksm_write("pages_to_scan", 50000);
	}
	while (!shared && time(NULL) < until) {
		usleep(1000);
		/* They are one first, and counted then. */
		shared = are_one(same) && ksm_read("pages_shared");
	}
	promised = may_write(p);
	/* First of all, for it is everybody's: 2 takes away what 0 leaves. */
	if (!run) {
		ksm_write("run", 2);
		ksm_write("run", 0);
		ksm_write("pages_to_scan", pages);
	}
	if (!shared) {
		print_message("skip: KSM does not merge: turned off again?\n");
		skip();
	}
	assert_false(promised);
	munmap(p, PAGE);
	munmap(same, 2 * PAGE);
}

#define KNOWN(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KNOWN(permissions_go),        KNOWN(permissions_come),
		KNOWN(other_memory_comes),    KNOWN(permissions_go_silently),
		KNOWN(writing_goes_silently), KNOWN(userfaultfd_protects),
		KNOWN(ksm_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
