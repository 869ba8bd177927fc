// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_entries.c - /dev/hmm: read entries and vmas, fault pages in
 *
 * check: once
 */
#include <sys/syscall.h>

#include "dev_opened.h"
#include "dev_requests.h"

static void snapshot_is_what_pagemap_says(void **state)
{
	uint64_t pfns[8];
	struct hmm_dev_range r;
	char *p, sum = 0;
	int i;

	(void)state;
	p = map_pages(8, PROT_READ | PROT_WRITE);
	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	p[0] = p[3 * PAGE] = 1;
	sum += p[4 * PAGE];
	munmap(p + 6 * PAGE, PAGE);
	check_against_pagemap(dev.fd, getpid(), p, 8);

	r = entries(p, 8, pfns);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	for (i = 0; i < 8; i++) {
		bool written = i == 0 || i == 3;

		assert_int_equal(!!(pfns[i] & DEV_VALID), written || i == 4);
		assert_int_equal(!!(pfns[i] & DEV_WRITE), written);
	}
	munmap(p, 8 * PAGE);
	assert_int_equal(sum, 0);
}

static void fault_brings_in_what_is_asked_for(void **state)
{
	uint64_t pfns[4] = { 0, DEV_VALID, DEV_VALID | DEV_WRITE, DEV_WRITE };
	struct hmm_dev_range r;
	uint64_t map[4];
	char *p;

	(void)state;
	p = map_pages(4, PROT_READ | PROT_WRITE);
	madvise(p, 4 * PAGE, MADV_NOHUGEPAGE);
	r = entries(p, 4, pfns);
	r.pfn_flags_mask = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(dev.fd, true, &r), 0);
	read_pagemap(getpid(), p, 4, map);
	/* Without VALID nothing is asked for. */
	assert_int_equal(pfns[0], DEV_NONE);
	assert_int_equal(pfns[3], DEV_NONE);
	assert_false(map[0] & PRESENT || map[3] & PRESENT);
	assert_int_equal(pfns[1] & (DEV_VALID | DEV_WRITE), DEV_VALID);
	assert_int_equal(pfns[2] & (DEV_VALID | DEV_WRITE),
			 DEV_VALID | DEV_WRITE);
	assert_true(map[1] & PRESENT && map[2] & PRESENT);
	munmap(p, 4 * PAGE);
}

static void default_flags_are_for_all(void **state)
{
	uint64_t pfns[3] = { 0 };
	struct hmm_dev_range r;
	char *p;
	int i;

	(void)state;
	p = map_pages(3, PROT_READ | PROT_WRITE);
	r = entries(p, 3, pfns);
	r.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(dev.fd, true, &r), 0);
	for (i = 0; i < 3; i++)
		assert_true(pfns[i] & DEV_WRITE);
	check_against_pagemap(dev.fd, getpid(), p, 3);
	munmap(p, 3 * PAGE);
}

/* Every device has bits of its own. */
static void entries_come_in_the_callers_format(void **state)
{
	uint64_t pfns[3], map[2];
	struct hmm_dev_range r;
	char *p;

	(void)state;
	p = map_touched(3);
	munmap(p + 2 * PAGE, PAGE);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_READ), 0);
	r = entries(p, 3, pfns);
	r.flags[HMM_PFN_VALID] = 1ull << 63;
	r.flags[HMM_PFN_WRITE] = 1ull << 62;
	r.values[HMM_PFN_NONE] = 0x1234;
	r.pfn_shift = 3;
	assert_int_equal(walk(dev.fd, false, &r), 0);
	read_pagemap(getpid(), p, 2, map);
	if (!is_root()) {
		map[0] = (uintptr_t)p / PAGE;
		map[1] = (uintptr_t)p / PAGE + 1;
	}
	assert_int_equal(pfns[0], (map[0] & PFN_MASK) << 3 | 3ull << 62);
	assert_int_equal(pfns[1], (map[1] & PFN_MASK) << 3 | 1ull << 63);
	assert_int_equal(pfns[2], 0x1234);
	munmap(p, 2 * PAGE);
}

static void huge_page_is_one_entry(void **state)
{
	const size_t huge = 2ul << 20;
	uint64_t pfn = 0, map;
	struct hmm_dev_range r;
	char *p;

	(void)state;
	p = mmap(NULL, huge, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED) {
		print_message("skip: no huge pages: vm.nr_hugepages is 0\n");
		skip();
	}
	*p = 1;
	r = entries(p, huge / PAGE, &pfn);
	r.page_shift = 21;
	r.nr = 1;
	if (!is_root()) {
		assert_int_equal(walk(dev.fd, false, &r), -EPERM);
		munmap(p, huge);
		return;
	}
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.nr, 1);
	read_pagemap(getpid(), p, 1, &map);
	assert_true(pfn & DEV_VALID && pfn & DEV_WRITE);
	assert_int_equal(pfn >> DEV_SHIFT, map & PFN_MASK);
	munmap(p, huge);
}

/* More than there are: what was begun is undone, and that is a change. */
static void huge_pages_that_are_not_there(void **state)
{
	(void)state;
	assert_ptr_equal(mmap(NULL, 1ul << 40, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0),
			 MAP_FAILED);
}

/* Small pages are no block, and nothing is written when that is found. */
static void small_pages_are_no_block(void **state)
{
	uint64_t pfns[2] = { 7, 8 };
	struct hmm_dev_range r;
	char *p;

	(void)state;
	p = map_touched(4);
	p[PAGE] = 1;
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	r = entries(p, 4, pfns);
	r.page_shift = 13;
	r.nr = 2;
	assert_int_equal(walk(dev.fd, false, &r), is_root() ? -EINVAL : -EPERM);
	assert_int_equal(pfns[0], 7);
	assert_int_equal(pfns[1], 8);
	munmap(p, 4 * PAGE);
}

static void errors_write_nothing(void **state)
{
	uint64_t pfns[4] = { DEV_VALID, DEV_VALID, DEV_VALID, DEV_VALID };
	struct hmm_dev_range r, before;
	unsigned int i;
	char *p;

	(void)state;
	p = map_touched(4);
	r = entries(p, 4, pfns);
	r.pfn_flags_mask = ~0ull;

	/* A page without read permission. */
	assert_int_equal(mprotect(p + 2 * PAGE, PAGE, PROT_NONE), 0);
	before = r;
	assert_int_equal(walk(dev.fd, false, &r), -EPERM);
	assert_memory_equal(&r, &before, sizeof(r));
	/* A page that may not be written. */
	assert_int_equal(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
	r.default_flags = DEV_WRITE;
	assert_int_equal(walk(dev.fd, true, &r), -EPERM);
	/* A hole. */
	munmap(p + 3 * PAGE, PAGE);
	r.default_flags = 0;
	before = r;
	before.options = HMM_DEV_BLOCK;
	assert_int_equal(walk(dev.fd, true, &r), -ENXIO);
	assert_memory_equal(&r, &before, sizeof(r));
	for (i = 0; i < 4; i++)
		assert_int_equal(pfns[i], DEV_VALID);
	munmap(p, 3 * PAGE);
}

/* Some VM_PFNMAP or VM_IO memory; the vDSO's data may be. */
static unsigned long special_address(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, special = 0;
	char line[512];

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (strchr(line, '-') && !strstr(line, ":  "))
			start = strtoul(line, NULL, 16);
		if (!strncmp(line, "VmFlags:", 8) &&
		    (strstr(line, " pf") || strstr(line, " io")))
			special = start;
	}
	if (smaps)
		fclose(smaps);
	return special;
}

static void special_memory_is_special(void **state)
{
	unsigned long start = special_address();
	uint64_t pfn = DEV_VALID;
	struct hmm_dev_range r;

	(void)state;
	if (!start) {
		print_message("skip: no special memory in this process\n");
		skip();
	}
	assert_true(vma_at(dev.fd, (void *)start).flags & HMM_DEV_VM_SPECIAL);
	r = entries((void *)start, 1, &pfn);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(pfn, DEV_SPECIAL);
	r.default_flags = DEV_VALID;
	assert_int_equal(walk(dev.fd, true, &r), -ENXIO);
	assert_int_equal(pfn, DEV_SPECIAL);
}

/* As get_user_pages() has it, for drivers in the kernel. */
static void secret_memory_is_special(void **state)
{
	uint64_t pfn = DEV_VALID;
	struct hmm_dev_range r;
	char *p;

	(void)state;
	p = map_secret();
	assert_true(vma_at(dev.fd, p).flags & HMM_DEV_VM_SPECIAL);
	r = entries(p, 1, &pfn);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(pfn, DEV_SPECIAL);
	r.default_flags = DEV_VALID;
	assert_int_equal(walk(dev.fd, true, &r), -ENXIO);
	munmap(p, PAGE);
}

/* Nonblocking: in the end the same. */
static void fault_without_block_gets_there(void **state)
{
	uint64_t pfn = 0;
	struct hmm_dev_range r;
	int tries = 1000, ret;
	char *p;

	(void)state;
	p = map_pages(1, PROT_READ | PROT_WRITE);
	r = entries(p, 1, &pfn);
	r.default_flags = DEV_VALID | DEV_WRITE;
	do {
		ret = req(dev.fd, HMM_DEV_FAULT, &r);
	} while ((ret == -EBUSY || ret == -EAGAIN) && --tries);
	assert_int_equal(ret, 0);
	assert_true(pfn & DEV_WRITE);
	munmap(p, PAGE);
}

/* What a client goes by that has no ranges here. */
static void stamp_says_what_comes_after(void **state)
{
	uint64_t pfns[2];
	struct hmm_dev_range r;
	char *p, *q;

	(void)state;
	p = map_touched(2);
	q = map_touched(1);
	r = entries(p, 2, pfns);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.started, dev.shared->started);
	assert_int_equal(r.head, dev_head(&dev));

	munmap(q, PAGE);
	assert_true(dev.shared->started > r.started);
	assert_false(dev_recorded(&dev, r.head, p));
	munmap(p + PAGE, PAGE);
	assert_true(dev_recorded(&dev, r.head, p + PAGE));
	munmap(p, PAGE);
}

/* ---- Vmas --------------------------------------------------------------- */

static void vmas_are_found(void **state)
{
	struct hmm_dev_vma vma;
	char *p, *q;

	(void)state;
	p = map_pages(5, PROT_READ | PROT_WRITE);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_READ), 0);
	munmap(p + 2 * PAGE, PAGE);
	assert_int_equal(mprotect(p + 3 * PAGE, PAGE, PROT_NONE), 0);
	assert_int_equal(mprotect(p + 4 * PAGE, PAGE, PROT_READ | PROT_EXEC),
			 0);
	q = quiet_mmap(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1);
	assert_ptr_not_equal(q, MAP_FAILED);

	vma = vma_at(dev.fd, p + 100);
	assert_int_equal(vma.start, (uintptr_t)p);
	assert_int_equal(vma.end, (uintptr_t)p + PAGE);
	assert_int_equal(vma.flags, HMM_DEV_VM_READ | HMM_DEV_VM_WRITE);
	vma = vma_at(dev.fd, p + PAGE);
	assert_int_equal(vma.flags, HMM_DEV_VM_READ);
	/* In a hole: the next one. */
	vma = vma_at(dev.fd, p + 2 * PAGE);
	assert_int_equal(vma.start, (uintptr_t)p + 3 * PAGE);
	assert_int_equal(vma.flags, 0);
	vma = vma_at(dev.fd, p + 4 * PAGE);
	assert_int_equal(vma.flags, HMM_DEV_VM_READ | HMM_DEV_VM_EXEC);
	vma = vma_at(dev.fd, q);
	assert_int_equal(vma.flags, HMM_DEV_VM_READ | HMM_DEV_VM_WRITE |
					    HMM_DEV_VM_SHARED);
	munmap(p, 5 * PAGE);
	munmap(q, PAGE);

	vma.addr = ~0ull;
	assert_int_equal(req(dev.fd, HMM_DEV_VMA, &vma), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_VMA, 8), -EFAULT);
}

/* ---- Bad requests ------------------------------------------------------- */

static void bad_walks_are_refused(void **state)
{
	static const unsigned long requests[] = { HMM_DEV_SNAPSHOT,
						  HMM_DEV_FAULT };
	uint64_t pfns[4];
	struct hmm_dev_range good, r;
	unsigned int i;
	char *p;

	(void)state;
	p = map_touched(4);
	good = entries(p, 4, pfns);
	for (i = 0; i < 2; i++) {
		unsigned long request = requests[i];

		assert_int_equal(req(dev.fd, request, NULL), -EFAULT);
		assert_int_equal(req(dev.fd, request, -1l), -EFAULT);
		r = good;
		r.pfns = 8;
		assert_int_equal(req(dev.fd, request, &r), -EFAULT);
		r = good;
		r.options = 2;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.pad[5] = 1;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.nr = 3;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.pfn_shift = 64;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.page_shift = 11;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.page_shift = 48;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.start += PAGE;
		r.page_shift = 13;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.end = r.start;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.end = r.start - PAGE;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.end = ~0ull;
		assert_int_equal(req(dev.fd, request, &r), -EINVAL);
		r = good;
		r.id = 12345;
		assert_int_equal(req(dev.fd, request, &r), -ENOENT);
		r = good;
		r.end = r.start + (HMM_DEV_PAGES + 1) * PAGE;
		r.nr = HMM_DEV_PAGES + 1;
		assert_int_equal(req(dev.fd, request, &r), -E2BIG);
	}
	r = good;
	r.options = HMM_DEV_BLOCK;
	assert_int_equal(req(dev.fd, HMM_DEV_SNAPSHOT, &r), -EINVAL);
	r = good;
	r.pfns = 8;
	r.pfn_flags_mask = ~0ull;
	assert_int_equal(req(dev.fd, HMM_DEV_FAULT, &r), -EFAULT);
	munmap(p, 4 * PAGE);
}

/* As many pages as one call takes, most of them not there. */
static void largest_walk(void **state)
{
	const unsigned long pages = HMM_DEV_PAGES;
	struct hmm_dev_range r;
	uint64_t *pfns;
	char *p;

	(void)state;
	p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pfns = calloc(pages, sizeof(*pfns));
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_non_null(pfns);
	memset(pfns, 1, pages * sizeof(*pfns));
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	p[0] = p[(pages - 1) * PAGE] = 1;
	r = entries(p, pages, pfns);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.nr, pages);
	assert_true(pfns[0] & DEV_VALID && pfns[pages - 1] & DEV_VALID);
	assert_int_equal(pfns[1], DEV_NONE);
	assert_int_equal(pfns[pages / 2], DEV_NONE);
	free(pfns);
	munmap(p, pages * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(snapshot_is_what_pagemap_says),
		DEV_TEST(fault_brings_in_what_is_asked_for),
		DEV_TEST(default_flags_are_for_all),
		DEV_TEST(entries_come_in_the_callers_format),
		DEV_TEST(huge_page_is_one_entry),
		DEV_TEST(huge_pages_that_are_not_there),
		DEV_TEST(small_pages_are_no_block),
		DEV_TEST(errors_write_nothing),
		DEV_TEST(special_memory_is_special),
		DEV_TEST(secret_memory_is_special),
		DEV_TEST(fault_without_block_gets_there),
		DEV_TEST(stamp_says_what_comes_after),
		DEV_TEST(vmas_are_found),
		DEV_TEST(bad_walks_are_refused),
		DEV_TEST(largest_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
