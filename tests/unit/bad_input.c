// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * bad_input.c - a user's mistake is an errno: nothing lost, no crash, no hang
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>

#include "attached.h"

/* The address space still does all it should. */
static void assert_usable(void)
{
	char *p = map_touched(2);
	struct hmm_range range;
	uint64_t pfns[2];

	range_start(&range, mm, p, 2, pfns, DEV_VALID);
	assert_int_equal(range_fault_until_valid(&range, mm), 2);
	munmap(p, 2 * PAGE);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
}

static void range_addresses(void **state)
{
	char *p = map_touched(2);
	unsigned long start = (unsigned long)p;
	struct hmm_range range;
	uint64_t pfns[512];

	(void)state;
	range_init(&range, pfns);
	/* Rounded down to pages, both. */
	assert_int_equal(hmm_range_register(&range, mm, start + 1,
					    start + PAGE + 17),
			 0);
	assert_int_equal(range.start, start);
	assert_int_equal(range.end, start + PAGE);
	hmm_range_unregister(&range);

	assert_int_equal(hmm_range_register(&range, mm, start, start), -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, start + 1, start + 9),
			 -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, start + PAGE, start),
			 -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, 0, 0), -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, start, ULONG_MAX),
			 -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, 0xffff800000000000ul,
					    0xffff800000001000ul),
			 -EINVAL);
	assert_int_equal(hmm_range_register(&range, mm, start, 1ul << 47),
			 -EINVAL);
	assert_null(range.hmm);

	range.page_shift = 11;
	assert_int_equal(hmm_range_register(&range, mm, start, start + PAGE),
			 -EINVAL);
	range.page_shift = 64;
	assert_int_equal(hmm_range_register(&range, mm, start, start + PAGE),
			 -EINVAL);
	range.page_shift = 21;
	assert_int_equal(hmm_range_register(&range, mm, PAGE, 3 * PAGE),
			 -EINVAL);
	assert_usable();
	munmap(p, 2 * PAGE);
}

static void null_arguments(void **state)
{
	struct hmm_attach_opts opts = { .size = 1 };
	struct hmm_source_info source = { .size = 1 };
	struct hmm_mm_info info = { .size = 1 };
	struct vm_area_struct vma;
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	range_init(&range, &pfn);
	assert_int_equal(hmm_range_register(NULL, mm, 0, PAGE), -EINVAL);
	assert_int_equal(hmm_range_register(&range, NULL, 0, PAGE), -EINVAL);
	hmm_range_unregister(NULL);
	hmm_range_unregister(&range);
	assert_false(hmm_range_wait_until_valid(NULL, 0));
	assert_false(hmm_range_wait_until_valid(&range, 0));
	assert_int_equal(hmm_range_snapshot(NULL), -EINVAL);
	assert_int_equal(hmm_range_snapshot(&range), -EINVAL);
	assert_int_equal(hmm_range_fault(NULL, true), -EINVAL);
	assert_int_equal(hmm_range_fault(&range, true), -EINVAL);
	assert_int_equal(hmm_vma_fault(NULL, true), -EINVAL);
	assert_int_equal(hmm_vma_fault(&range, true), -EINVAL);
	assert_false(hmm_range_valid(&range));
	assert_false(hmm_vma_range_done(&range));
	assert_int_equal(hmm_find_vma(NULL, 0, &vma), -EINVAL);
	assert_int_equal(hmm_find_vma(mm, 0, NULL), -EINVAL);
	assert_int_equal(hmm_find_vma(mm, ULONG_MAX, &vma), -ENOENT);
	assert_int_equal(hmm_mm_attach(NULL, NULL), -EINVAL);
	assert_int_equal(hmm_mm_attach(&mm, &opts), -EINVAL);
	assert_int_equal(hmm_mm_detach(NULL), -EINVAL);
	assert_int_equal(hmm_mm_query(mm, NULL), -EINVAL);
	assert_int_equal(hmm_mm_query(mm, &info), -EINVAL);
	assert_int_equal(hmm_mm_query(NULL, &info), -EINVAL);
	assert_int_equal(hmm_source_query(0, NULL), -EINVAL);
	assert_int_equal(hmm_source_query(0, &source), -EINVAL);
	source.size = sizeof(source);
	assert_int_equal(hmm_source_query(1000, &source), -ENOENT);
	assert_usable();
}

/* As compiled with an older header, and with a newer one. */
static void other_sizes(void **state)
{
	const size_t shorter = offsetof(struct hmm_mm_info, changes);
	struct {
		struct hmm_mm_info info;
		char more[64];
	} more;
	struct {
		struct hmm_source_info info;
		char more[64];
	} source;
	size_t i;

	(void)state;
	memset(&more, 0x55, sizeof(more));
	more.info.size = shorter;
	assert_int_equal(hmm_mm_query(mm, &more.info), 0);
	assert_int_equal(more.info.size, shorter);
	assert_true(more.info.level >= 1);
	for (i = shorter; i < sizeof(more); i++)
		assert_int_equal(((char *)&more)[i], 0x55);
	more.info.size = sizeof(more);
	assert_int_equal(hmm_mm_query(mm, &more.info), 0);
	assert_int_equal(more.info.size, sizeof(more));
	assert_string_not_equal(more.info.source, "");
	for (i = 0; i < sizeof(more.more); i++)
		assert_int_equal(more.more[i], 0);

	memset(&source, 0x55, sizeof(source));
	source.info.size = offsetof(struct hmm_source_info, error);
	assert_int_equal(hmm_source_query(0, &source.info), 0);
	assert_non_null(source.info.name);
	assert_int_equal(source.info.error, 0x55555555);
	source.info.size = sizeof(source);
	assert_int_equal(hmm_source_query(0, &source.info), 0);
	assert_int_equal(source.more[0], 0);
	/* Nobody has set it. */
	source.info.size = ~0ul;
	assert_int_equal(hmm_source_query(0, &source.info), -EINVAL);
}

/* A range that outlives the attach is in nobody's way. */
static void range_left_behind(void **state)
{
	char *p = map_touched(1);
	struct hmm_range range, other;
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 1);
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_false(hmm_range_valid(&range));
	mm = attach();
	range_start(&other, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(range_fault_until_valid(&other, mm), 1);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&other);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	assert_usable();
}

static char last_line[512];

static void remember(enum hmm_log_level level, const char *line)
{
	if (level <= HMM_LOG_WARN)
		snprintf(last_line, sizeof(last_line), "%s", line);
}

static void unknown_source(void **state)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = "crystal-ball" };
	struct mm_struct *other = NULL;

	(void)state;
	hmm_set_log(remember);
	assert_int_equal(hmm_mm_attach(&other, &opts), -ENOENT);
	hmm_set_log(NULL);
	assert_non_null(strstr(last_line, "crystal-ball"));
	assert_null(other);
}

static void range_twice(void **state)
{
	char *p = map_touched(1);
	unsigned long start = (unsigned long)p;
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(hmm_range_register(&range, mm, start, start + PAGE),
			 -EBUSY);
	hmm_range_unregister(&range);
	hmm_range_unregister(&range);
	/* Without room for the result. */
	range.pfns = NULL;
	assert_int_equal(hmm_range_register(&range, mm, start, start + PAGE),
			 0);
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EINVAL);
	mmap_read_unlock(mm);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	assert_usable();
}

static int nothing(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

static void mirror_arguments(void **state)
{
	static const struct hmm_mirror_ops empty = { .release = NULL };
	static const struct hmm_mirror_ops good = {
		.sync_cpu_device_pagetables = nothing,
	};
	struct hmm_mirror mirror = { .ops = NULL };

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(NULL, mm), -EINVAL);
	assert_int_equal(hmm_mirror_register(&mirror, mm), -EINVAL);
	mirror.ops = &empty;
	assert_int_equal(hmm_mirror_register(&mirror, mm), -EINVAL);
	mirror.ops = &good;
	assert_int_equal(hmm_mirror_register(&mirror, NULL), -EINVAL);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	assert_int_equal(hmm_mirror_register(&mirror, mm), -EBUSY);
	mmap_write_unlock(mm);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mirror_unregister(NULL), 0);
	assert_usable();
}

static bool stuck, release_it;

static int never_returns(struct hmm_mirror *mirror,
			 const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	__atomic_store_n(&stuck, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&release_it, __ATOMIC_ACQUIRE))
		usleep(1000);
	return 0;
}

/* Changes, ranges and other threads go on; who would wait gets an error. */
static void callback_never_returns(void **state)
{
	static const struct hmm_mirror_ops ops = {
		.sync_cpu_device_pagetables = never_returns,
	};
	struct hmm_mirror mirror = { .ops = &ops };
	char *p = map_touched(1);

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	{
		struct hmm_range range;
		uint64_t pfn;

		range_start(&range, mm, p, 1, &pfn, DEV_VALID);
		assert_int_equal(range_snapshot(&range, mm), 1);
		munmap(p, PAGE);
		while (!__atomic_load_n(&stuck, __ATOMIC_ACQUIRE))
			usleep(1000);
		hmm_range_unregister(&range);
	}
	assert_usable();
	assert_int_equal(hmm_mirror_unregister(&mirror), -ETIMEDOUT);
	hmm_set_log(remember);
	assert_int_equal(hmm_mm_detach(mm), -ETIMEDOUT);
	hmm_set_log(NULL);
	assert_non_null(strstr(last_line, "callback did not return"));
	mm = attach();
	assert_usable();
	__atomic_store_n(&release_it, true, __ATOMIC_RELEASE);
	assert_int_equal(mirror_unregister(&mirror), 0);
}

/* Use up every file descriptor, and say how many to give back. */
static int use_up_fds(int *fds, int max)
{
	int n = 0;

	while (n < max && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	return n;
}

static void fds_exhausted(void **state)
{
	struct rlimit old, low = { 256, 0 };
	struct mm_struct *other = NULL;
	int fds[256], n;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &old);
	low.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &low);
	n = use_up_fds(fds, 256);
	/* What is attached goes on working. */
	assert_usable();
	assert_int_equal(hmm_mm_detach(mm), 0);
	mm = NULL;
	while (n < 256 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	hmm_set_log(remember);
	assert_int_not_equal(hmm_mm_attach(&other, NULL), 0);
	hmm_set_log(NULL);
	assert_null(other);
	assert_non_null(strstr(last_line, "RLIMIT_NOFILE"));
	while (n)
		close(fds[--n]);
	setrlimit(RLIMIT_NOFILE, &old);
	mm = attach();
	assert_usable();
}

static void memlock_low(void **state)
{
	struct rlimit old, low = { 0, 0 };

	(void)state;
	assert_int_equal(hmm_mm_detach(mm), 0);
	mm = NULL;
	getrlimit(RLIMIT_MEMLOCK, &old);
	low.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &low);
	mm = attach();
	assert_usable();
	setrlimit(RLIMIT_MEMLOCK, &old);
}

static long max_map_count(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	long n = 0;

	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = 0;
		fclose(f);
	}
	return n;
}

/* With no vma left the process can do little; what there is must go on. */
static void map_count_exhausted(void **state)
{
	long i, n = max_map_count(), ret;
	struct hmm_range range;
	char *p, *first;
	uint64_t pfn;

	(void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	print_message(
		"[  SKIP  ] the sanitizer itself can't do without vmas\n");
	skip();
#endif
	if (n <= 0 || n > 200000)
		skip();
	p = map_touched(1);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	first = mmap(NULL, (size_t)n * 2 * PAGE, PROT_READ,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(first, MAP_FAILED);
	for (i = 0; i < n; i++)
		if (mprotect(first + i * 2 * (long)PAGE, PAGE, PROT_NONE))
			break;
	assert_true(i < n);
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	madvise(p, PAGE, MADV_DONTNEED);
	assert_false(hmm_range_valid(&range));
	ret = range_get_within(&range, mm, true, HMM_RANGE_DEFAULT_TIMEOUT);
	/*
	 * To see the end of this uffd needs memory, which needs a vma, and kvm
	 * takes the locks of all vmas, which takes its time.
	 */
	if (ret != -ETIMEDOUT)
		assert_int_equal(ret, 1);
	munmap(first, (size_t)n * 2 * PAGE);
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	assert_usable();
}

#define BAD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BAD(range_addresses),     BAD(null_arguments),
		BAD(unknown_source),      BAD(range_twice),
		BAD(mirror_arguments),    BAD(callback_never_returns),
		BAD(fds_exhausted),       BAD(memlock_low),
		BAD(map_count_exhausted), BAD(other_sizes),
		BAD(range_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
