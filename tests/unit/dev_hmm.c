// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_hmm.c - /dev/hmm: whom it shows, vmas, ranges, entries, limits
 *
 * check: once
 */
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "dev_support.h"

#define PRESENT (1ull << 63)
#define PFN_MASK ((1ull << 55) - 1)

static struct dev dev;

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	dev_open(&dev);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (dev.shared)
		dev_close(&dev);
	dev.shared = NULL;
	watchdog(0);
	return 0;
}

static bool is_root(void)
{
	return !geteuid();
}

/* ---- Entries ------------------------------------------------------------ */

static struct hmm_dev_range entries(const void *p, unsigned long pages,
				    uint64_t *pfns)
{
	struct hmm_dev_range r = {
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + pages * PAGE,
		.pfns = (uintptr_t)pfns,
		.nr = pages,
		.options = 0,
		.pfn_shift = DEV_SHIFT,
	};

	memcpy(r.flags, dev_flags, sizeof(r.flags));
	memcpy(r.values, dev_values, sizeof(r.values));
	return r;
}

/* Until nothing comes in between. */
static int walk(int fd, bool fault, struct hmm_dev_range *r)
{
	int tries = 100, ret;

	if (fault)
		r->options = HMM_DEV_BLOCK;
	do {
		ret = req(fd, fault ? HMM_DEV_FAULT : HMM_DEV_SNAPSHOT, r);
	} while (ret == -EBUSY && --tries);
	return ret;
}

static void read_pagemap(pid_t pid, const void *p, unsigned long pages,
			 uint64_t *map)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/pagemap", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, map, pages * 8, (uintptr_t)p / PAGE * 8),
			 pages * 8);
	close(fd);
}

/* pages at p of a process are what its pagemap says. */
static void check_against_pagemap(int fd, pid_t pid, const void *p,
				  unsigned long pages)
{
	uint64_t pfns[64], map[64];
	struct hmm_dev_range r = entries(p, pages, pfns);
	unsigned long i;

	assert_true(pages <= 64);
	assert_int_equal(walk(fd, false, &r), 0);
	assert_int_equal(r.nr, pages);
	read_pagemap(pid, p, pages, map);
	for (i = 0; i < pages; i++) {
		if (!(map[i] & PRESENT)) {
			assert_int_equal(pfns[i], DEV_NONE);
			continue;
		}
		assert_int_equal(pfns[i] & DEV_VALID, DEV_VALID);
		if (is_root())
			assert_int_equal(pfns[i] >> DEV_SHIFT,
					 map[i] & PFN_MASK);
	}
}

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
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.nr, 1);
	read_pagemap(getpid(), p, 1, &map);
	assert_true(pfn & DEV_VALID && pfn & DEV_WRITE);
	assert_int_equal(pfn >> DEV_SHIFT,
			 is_root() ? map & PFN_MASK : (uintptr_t)p / PAGE);
	munmap(p, huge);
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
	assert_int_equal(walk(dev.fd, false, &r), -EINVAL);
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

static struct hmm_dev_vma vma_at(int fd, const void *p)
{
	struct hmm_dev_vma vma = { .addr = (uintptr_t)p, .pad = 7 };

	assert_int_equal(req(fd, HMM_DEV_VMA, &vma), 0);
	assert_int_equal(vma.pad, 0);
	return vma;
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

/* ---- Registered ranges -------------------------------------------------- */

static uint32_t registered(int fd, const void *p, unsigned long pages)
{
	struct hmm_dev_register r = {
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + pages * PAGE,
	};

	assert_int_equal(req(fd, HMM_DEV_REGISTER, &r), 0);
	assert_int_not_equal(r.id, 0);
	return r.id;
}

static void range_is_valid_until_it_changes(void **state)
{
	struct hmm_dev_wait wait = { .ms = 1000 };
	uint64_t pfns[2];
	struct hmm_dev_range r;
	uint32_t id;
	char *p, *q;

	(void)state;
	p = map_touched(2);
	q = map_touched(1);
	id = wait.id = registered(dev.fd, p, 2);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), 0);

	r = entries(NULL, 2, pfns);
	r.id = id;
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.start, (uintptr_t)p);
	assert_int_equal(r.end, (uintptr_t)p + 2 * PAGE);
	assert_true(pfns[0] & DEV_VALID && pfns[1] & DEV_VALID);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);

	munmap(q, PAGE);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	/* Only looking again makes it valid again. */
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(pfns[1], DEV_NONE);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);

	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), -ENOENT);
	assert_int_equal(walk(dev.fd, false, &r), -ENOENT);
	munmap(p, 2 * PAGE);
}

/* A change of one file's range is one of the other's, the number is not. */
static void files_share_no_ids(void **state)
{
	struct dev other;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	dev_open(&other);
	id = registered(dev.fd, p, 1);
	assert_int_equal(req(other.fd, HMM_DEV_VALID, id), -ENOENT);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, id), -ENOENT);
	dev_close(&other);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	munmap(p, PAGE);
}

static void ranges_may_be_left_to_close(void **state)
{
	struct dev other;
	char *p;
	int i;

	(void)state;
	p = map_touched(1);
	dev_open(&other);
	for (i = 0; i < 1000; i++)
		registered(other.fd, p, 1);
	dev_close(&other);
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

static void bad_ranges_are_refused(void **state)
{
	struct hmm_dev_register r = { .start = PAGE, .end = 2 * PAGE };

	(void)state;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, 8), -EFAULT);
	r.pad = 1;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	r.pad = 0;
	r.end = PAGE;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	r.end = ~0ull;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, 8), -EFAULT);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, 0), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, ~0ul), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, 1ul << 32), -ENOENT);
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

/* ---- Limits ------------------------------------------------------------- */

static unsigned int parameter(const char *name, unsigned int value)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/module/hmm/parameters/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		print_message("skip: %s: %s\n", path, strerror(errno));
		skip();
	}
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	dprintf(fd, "%u", value);
	close(fd);
	return (unsigned int)strtoul(text, NULL, 10);
}

static void ranges_are_limited(void **state)
{
	struct hmm_dev_register r;
	unsigned int old;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	old = parameter("ranges_per_file", 2);
	r = (struct hmm_dev_register){ .start = (uintptr_t)p,
				       .end = (uintptr_t)p + PAGE };
	registered(dev.fd, p, 1);
	id = registered(dev.fd, p, 1);
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -ENOSPC);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	registered(dev.fd, p, 1);
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -ENOSPC);
	parameter("ranges_per_file", old);
	registered(dev.fd, p, 1);
	munmap(p, PAGE);
}

static void files_of_one_mm_are_limited(void **state)
{
	unsigned int old;
	struct dev second;
	int fd;

	(void)state;
	old = parameter("files_per_mm", 2);
	dev_open(&second);
	fd = open("/dev/hmm", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EUSERS);
	dev_close(&second);
	dev_open(&second);
	dev_close(&second);
	parameter("files_per_mm", old);
}

#define CHARGED_FILES 16
#define CHARGED_RANGES 20000

static void take_memory(struct child *c, void *p)
{
	int fd[CHARGED_FILES], i;

	child_at(c, 1);
	for (i = 0; i < CHARGED_FILES; i++)
		fd[i] = open("/dev/hmm", O_RDONLY);
	child_at(c, 2);
	for (i = 0; i < CHARGED_RANGES; i++)
		registered(fd[0], p, 1);
	child_at(c, 3);
}

static unsigned long charge_of(const char *dir)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/memory.current", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtoul(text, NULL, 10);
}

static void memory_is_charged_to_the_caller(void **state)
{
	char mnt[] = "/tmp/cgroup-XXXXXX", dir[64], text[16];
	unsigned long charge[3];
	struct child *c;
	char *p;
	int i;

	(void)state;
	assert_non_null(mkdtemp(mnt));
	if (mount("cgroup2", mnt, "cgroup2", 0, NULL) ||
	    !write_file(mnt, "cgroup.subtree_control", "+memory")) {
		print_message("skip: cgroup's memory: %s\n", strerror(errno));
		umount(mnt);
		rmdir(mnt);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/test", mnt);
	assert_int_equal(mkdir(dir, 0755), 0);
	p = map_touched(1);
	c = child_start(take_memory, p);
	snprintf(text, sizeof(text), "%d", c->pid);
	assert_true(write_file(dir, "cgroup.procs", text));
	for (i = 0; i < 3; i++) {
		wait_for(child_is_at(c, i + 1));
		charge[i] = charge_of(dir);
		child_let(c, i + 2);
	}
	child_end(c);
	rmdir(dir);
	umount(mnt);
	rmdir(mnt);
	munmap(p, PAGE);
	/* The ring alone, and the range alone. */
	assert_true(charge[1] - charge[0] >= CHARGED_FILES * 12 * PAGE);
	assert_true(charge[2] - charge[1] >= CHARGED_RANGES * 128);
}

/* ---- Other processes ---------------------------------------------------- */

static void change_memory(struct child *c, void *arg)
{
	char *p = arg;

	child_at(c, 1);
	munmap(p + PAGE, PAGE);
	child_at(c, 2);
}

static void a_process_one_may_trace(void **state)
{
	struct child *c;
	struct hmm_dev_vma vma;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(3);
	c = child_start(change_memory, p);
	/* Our own from here on. */
	munmap(p, 3 * PAGE);
	wait_for(child_is_at(c, 1));

	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	assert_int_equal(other.shared->dead, 0);
	check_against_pagemap(other.fd, c->pid, p, 3);
	vma = vma_at(other.fd, p);
	assert_int_equal(vma.start, (uintptr_t)p);
	assert_int_equal(vma.end, (uintptr_t)p + 3 * PAGE);
	from = dev_head(&other);
	/* What we do ourselves is not in it. */
	munmap(map_touched(8), 8 * PAGE);
	assert_false(dev_recorded(&other, from, p));
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	assert_true(dev_recorded(&other, from, p + PAGE));
	assert_false(dev_recorded(&other, from, p));
	check_against_pagemap(other.fd, c->pid, p, 3);
	child_kill(c);

	/* It is gone, and nothing is left but what there was. */
	wait_for(dev_load(&other.shared->dead));
	dev_close(&other);
}

static void is_gone(const struct dev *d)
{
	struct pollfd pollfd = { .fd = d->fd, .events = POLLIN };
	struct hmm_dev_register reg = { .start = PAGE, .end = 2 * PAGE };
	struct hmm_dev_vma vma = { 0 };
	struct hmm_dev_sync sync;
	uint64_t pfn;
	struct hmm_dev_range r = entries((void *)PAGE, 1, &pfn);

	wait_for(dev_load(&d->shared->dead));
	assert_int_equal(poll(&pollfd, 1, 0), 1);
	assert_true(pollfd.revents & POLLHUP);
	assert_int_equal(req(d->fd, HMM_DEV_VMA, &vma), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_REGISTER, &reg), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_SNAPSHOT, &r), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_FAULT, &r), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_HOLD, 100), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_SYNC, &sync), 0);
	assert_int_equal(sync.head, dev_head(d));
	assert_int_equal(sync.nr + sync.unlisted, 0);
}

static void exit_soon(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
}

static void exec_soon(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
	execl("/bin/sleep", "sleep", "100", NULL);
	_exit(1);
}

static void gone_with(void (*run)(struct child *, void *))
{
	struct dev other;
	struct child *c = child_start(run, NULL);

	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	child_let(c, 2);
	is_gone(&other);
	dev_close(&other);
	child_kill(c);
}

static void a_process_that_exits_is_gone(void **state)
{
	(void)state;
	gone_with(exit_soon);
}

static void a_process_that_execs_is_gone(void **state)
{
	(void)state;
	gone_with(exec_soon);
}

/* Unlike one of hmm.h. */
static void registered_range_keeps_nothing(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t pfn;
	struct hmm_dev_wait wait = { .ms = 60000 };
	struct hmm_dev_range r;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(exit_soon, NULL);
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	id = wait.id = registered(other.fd, p, 1);
	r = entries(p, 1, &pfn);
	r.id = id;
	assert_int_equal(walk(other.fd, false, &r), 0);
	child_kill(c);
	is_gone(&other);
	assert_int_equal(req(other.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(req(other.fd, HMM_DEV_WAIT, &wait), -ESRCH);
	assert_int_equal(req(other.fd, HMM_DEV_SNAPSHOT, &r), -ESRCH);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, id), 0);
	dev_close(&other);
	munmap(p, PAGE);
}

static void exit_with_range_and_ring(struct child *c, void *p)
{
	struct dev d;

	d.fd = open("/dev/hmm", O_RDONLY);
	dev_map(&d);
	registered(d.fd, p, 1);
	child_at(c, 1);
}

/* Who is mapped must not keep alive what maps it. */
static void mapped_file_with_ranges_ends_with_the_process(void **state)
{
	struct dev other;
	struct child *c;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(exit_with_range_and_ring, p);
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	child_let(c, 2);
	is_gone(&other);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

/* The other direction: the file goes along, the memory does not. */
static int after_exec(const char *arg)
{
	struct dev d = { .fd = atoi(arg) };
	struct hmm_dev_vma vma = { 0 };
	struct hmm_dev_sync sync;
	char *p;

	watchdog(30);
	d.shared = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, d.fd, 0);
	if (d.shared == MAP_FAILED)
		return 11;
	p = map_touched(1);
	munmap(p, PAGE);
	if (req(d.fd, HMM_DEV_VMA, &vma) != -ESRCH)
		return 12;
	wait_for(dev_load(&d.shared->dead));
	if (req(d.fd, HMM_DEV_SYNC, &sync))
		return 13;
	munmap(p = map_touched(1), PAGE);
	return sync.head == dev_head(&d) ? 0 : 14;
}

static void exec_with_file(struct child *c, void *arg)
{
	int fd = open("/dev/hmm", O_RDONLY);
	char text[16];

	(void)c;
	(void)arg;
	snprintf(text, sizeof(text), "%d", fd);
	execl("/proc/self/exe", "dev_hmm", "after_exec", text, NULL);
	_exit(1);
}

static void ones_own_exec_leaves_a_dead_file(void **state)
{
	(void)state;
	assert_int_equal(child_end(child_start(exec_with_file, NULL)), 0);
}

/* ---- Binding ------------------------------------------------------------ */

static int bind_name(const char *name, int flags)
{
	int fd = dev_open_file(), other = open(name, flags | O_CLOEXEC), ret;

	assert_true(other >= 0);
	ret = req(fd, HMM_DEV_BIND, other);
	close(other);
	close(fd);
	return ret;
}

static void only_proc_pid_mem_binds(void **state)
{
	int fd, mem;

	(void)state;
	assert_int_equal(bind_name("/proc/self/mem", O_RDONLY), 0);
	assert_int_equal(bind_name("/proc/thread-self/mem", O_RDWR), 0);
	assert_int_equal(bind_name("/proc/self/mem", O_WRONLY), -EACCES);
	assert_int_equal(bind_name("/proc/self/mem", O_PATH), -EBADF);
	assert_int_equal(bind_name("/proc/self/maps", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/self/pagemap", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/self/environ", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/version", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/dev/null", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/dev/hmm", O_RDONLY), -EINVAL);

	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_BIND, -1), -EBADF);
	assert_int_equal(req(fd, HMM_DEV_BIND, 12345), -EBADF);
	/* Whatever was refused leaves it as it was. */
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDWR), 0);
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDWR), EBUSY);
	close(fd);

	/* Nothing of ours can be there: kthreadd. */
	mem = open_mem(2, O_RDONLY);
	if (mem >= 0) {
		fd = dev_open_file();
		assert_int_equal(req(fd, HMM_DEV_BIND, mem), -ESRCH);
		close(fd);
		close(mem);
	}
}

static void binding_comes_first(void **state)
{
	struct hmm_dev_vma vma = { 0 };
	int fd;

	(void)state;
	/* It was mapped. */
	assert_int_equal(dev_bind_to(dev.fd, getpid(), O_RDONLY), EBUSY);
	/* Or used. */
	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_VMA, &vma), 0);
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDONLY), EBUSY);
	close(fd);
}

static void bound_file_has_no_history(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	struct dev other;

	(void)state;
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	/* Recorded, and not for whoever is told of the child. */
	munmap(map_touched(8), 8 * PAGE);
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	assert_int_equal(other.shared->started, 0);
	assert_int_equal(dev_head(&other), 0);
	assert_int_equal(other.ring[0].start | other.ring[0].end, 0);
	dev_close(&other);
	child_kill(c);
}

/* At the limit of the other process: it goes on to show ours. */
static void file_that_could_not_be_bound_is_as_before(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	unsigned int old;
	uint64_t from;
	int first, second;
	struct dev d;
	char *p;

	(void)state;
	old = parameter("files_per_mm", 3);
	wait_for(child_is_at(c, 1));
	first = dev_open_file();
	assert_int_equal(dev_bind_to(first, c->pid, O_RDONLY), 0);
	second = dev_open_file();
	assert_int_equal(dev_bind_to(second, c->pid, O_RDONLY), 0);
	parameter("files_per_mm", 2);
	d.fd = dev_open_file();
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), EUSERS);
	close(first);
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), 0);
	close(d.fd);
	first = dev_open_file();
	assert_int_equal(dev_bind_to(first, c->pid, O_RDONLY), 0);

	d.fd = dev_open_file();
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), EUSERS);
	dev_map(&d);
	from = dev_head(&d);
	p = map_touched(1);
	munmap(p, PAGE);
	assert_true(dev_recorded(&d, from, p));
	parameter("files_per_mm", old);
	dev_close(&d);
	close(first);
	close(second);
	child_kill(c);
}

static void process_that_is_gone_cannot_be_bound(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	int fd, mem;

	(void)state;
	mem = open_mem(c->pid, O_RDONLY);
	assert_true(mem >= 0);
	child_kill(c);
	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_BIND, mem), -ESRCH);
	close(mem);
	close(fd);
}

static void writing_takes_a_writable_mem(void **state)
{
	struct child *c;
	uint64_t pfns[2] = { DEV_VALID, DEV_VALID | DEV_WRITE };
	struct hmm_dev_range r;
	char *p;
	int fd;

	(void)state;
	p = map_pages(2, PROT_READ | PROT_WRITE);
	c = child_start(exit_soon, NULL);
	fd = dev_open_file();
	assert_int_equal(dev_bind_to(fd, c->pid, O_RDONLY), 0);
	r = entries(p, 2, pfns);
	r.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(fd, true, &r), -EACCES);
	r.default_flags = 0;
	r.pfn_flags_mask = ~0ull;
	assert_int_equal(walk(fd, true, &r), -EACCES);
	pfns[1] = DEV_VALID;
	assert_int_equal(walk(fd, true, &r), 0);
	assert_int_equal(pfns[0] & (DEV_VALID | DEV_WRITE), DEV_VALID);
	close(fd);

	fd = dev_open_file();
	assert_int_equal(dev_bind_to(fd, c->pid, O_RDWR), 0);
	r.pfn_flags_mask = 0;
	r.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(fd, true, &r), 0);
	assert_true(pfns[0] & DEV_WRITE && pfns[1] & DEV_WRITE);
	check_against_pagemap(fd, c->pid, p, 2);
	close(fd);
	child_kill(c);
	munmap(p, 2 * PAGE);
}

/* ---- Privileges --------------------------------------------------------- */

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(20);
}

/* A _exit() code says which of the questions was answered wrong. */
static void look_as_nobody(struct child *c, void *arg)
{
	struct hmm_dev_range r;
	uint64_t pfn;
	struct dev d;
	char *p;
	int fd;

	(void)c;
	(void)arg;
	become_nobody();
	d.fd = open("/dev/hmm", O_RDONLY);
	if (d.fd < 0)
		_exit(21);
	d.shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, d.fd, 0);
	if (d.shared == MAP_FAILED || !d.shared->pfns_virtual)
		_exit(22);
	p = map_touched(1);
	r = entries(p, 1, &pfn);
	if (walk(d.fd, false, &r) || !(pfn & DEV_VALID) ||
	    pfn >> DEV_SHIFT != (uintptr_t)p / PAGE)
		_exit(23);
	/* A format by which one can't tell that the entry has a pfn. */
	memset(r.flags, 0, sizeof(r.flags));
	memset(r.values, 0, sizeof(r.values));
	r.pfn_shift = 0;
	if (walk(d.fd, false, &r) || pfn != (uintptr_t)p / PAGE)
		_exit(24);
	/* Neither the first process nor who started us. */
	fd = open("/dev/hmm", O_RDONLY);
	if (dev_bind_to(fd, 1, O_RDONLY) != EACCES)
		_exit(25);
	if (dev_bind_to(fd, getppid(), O_RDONLY) != EACCES)
		_exit(26);
	if (req(fd, HMM_DEV_HOLD, HMM_DEV_HOLD_DEFAULT + 1) != -EPERM)
		_exit(27);
}

static void nobody_sees_no_more_than_elsewhere(void **state)
{
	(void)state;
	if (!is_root()) {
		print_message("skip: only root can become nobody\n");
		skip();
	}
	assert_int_equal(child_end(child_start(look_as_nobody, NULL)), 0);
}

/* Judged by who opened the file, as pagemap does. */
static void opener_decides_about_pfns(void **state)
{
	uint64_t pfn, map;
	struct hmm_dev_range r;
	char *p;
	int fd;

	(void)state;
	if (!is_root()) {
		print_message("skip: only root can become nobody\n");
		skip();
	}
	p = map_touched(1);
	r = entries(p, 1, &pfn);
	assert_int_equal(seteuid(NOBODY), 0);
	fd = dev_open_file();
	/* dev.fd is root's. */
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(seteuid(0), 0);
	read_pagemap(getpid(), p, 1, &map);
	assert_int_equal(pfn >> DEV_SHIFT, map & PFN_MASK);
	assert_int_equal(walk(fd, false, &r), 0);
	assert_int_equal(pfn >> DEV_SHIFT, (uintptr_t)p / PAGE);
	close(fd);
	munmap(p, PAGE);
}

#define DEV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(snapshot_is_what_pagemap_says),
		DEV_TEST(fault_brings_in_what_is_asked_for),
		DEV_TEST(default_flags_are_for_all),
		DEV_TEST(entries_come_in_the_callers_format),
		DEV_TEST(huge_page_is_one_entry),
		DEV_TEST(small_pages_are_no_block),
		DEV_TEST(errors_write_nothing),
		DEV_TEST(special_memory_is_special),
		DEV_TEST(fault_without_block_gets_there),
		DEV_TEST(stamp_says_what_comes_after),
		DEV_TEST(range_is_valid_until_it_changes),
		DEV_TEST(files_share_no_ids),
		DEV_TEST(ranges_may_be_left_to_close),
		DEV_TEST(vmas_are_found),
		DEV_TEST(bad_walks_are_refused),
		DEV_TEST(bad_ranges_are_refused),
		DEV_TEST(largest_walk),
		DEV_TEST(ranges_are_limited),
		DEV_TEST(files_of_one_mm_are_limited),
		DEV_TEST(memory_is_charged_to_the_caller),
		DEV_TEST(a_process_one_may_trace),
		DEV_TEST(a_process_that_exits_is_gone),
		DEV_TEST(a_process_that_execs_is_gone),
		DEV_TEST(registered_range_keeps_nothing),
		DEV_TEST(mapped_file_with_ranges_ends_with_the_process),
		DEV_TEST(ones_own_exec_leaves_a_dead_file),
		DEV_TEST(only_proc_pid_mem_binds),
		DEV_TEST(binding_comes_first),
		DEV_TEST(bound_file_has_no_history),
		DEV_TEST(file_that_could_not_be_bound_is_as_before),
		DEV_TEST(process_that_is_gone_cannot_be_bound),
		DEV_TEST(writing_takes_a_writable_mem),
		DEV_TEST(nobody_sees_no_more_than_elsewhere),
		DEV_TEST(opener_decides_about_pfns),
	};

	if (argc == 3 && !strcmp(argv[1], "after_exec"))
		return after_exec(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
