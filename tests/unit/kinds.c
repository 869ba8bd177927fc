// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * kinds.c - every kind of memory, and every operation that changes it
 *
 * For each pair: mirror it, do it, and compare the kernel's own page table
 * before and after.  Where an entry is another than before, the range must not
 * be valid any more: always with a source of level 2 and above, and for what
 * it claims to see with level 1.
 */
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "support.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define HUGE (2ul << 20)
#define SMALL (4 * PAGE)

static struct mm_struct *mm;
static int level;
static bool pfns_virtual;

/* ---- Kinds --------------------------------------------------------------- */

struct memory {
	char *p;
	size_t len;
	int fd;
	void *base; /* to unmap afterwards, with its length */
	size_t base_len;
	bool kept; /* part of the process: may not be destroyed */
	bool readonly;
};

static bool make_mmap(struct memory *m, size_t len, int prot, int flags, int fd)
{
	m->len = len;
	m->fd = fd;
	m->p = quiet_mmap(len, prot, flags, fd);
	m->base = m->p;
	m->base_len = len;
	return m->p != MAP_FAILED;
}

static bool anon_private(struct memory *m)
{
	return make_mmap(m, SMALL, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static bool anon_shared(struct memory *m)
{
	return make_mmap(m, SMALL, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1);
}

static int filled(int fd, size_t len)
{
	static char buf[PAGE];
	size_t i;

	if (fd < 0)
		return fd;
	memset(buf, 'f', sizeof(buf));
	for (i = 0; i < len; i += PAGE)
		if (write(fd, buf, PAGE) != (ssize_t)PAGE)
			break;
	return fd;
}

static bool memfd_of(struct memory *m, int flags)
{
	int fd = filled((int)syscall(SYS_memfd_create, "kinds", 0), SMALL);

	return fd >= 0 &&
	       make_mmap(m, SMALL, PROT_READ | PROT_WRITE, flags, fd);
}

static bool memfd_shared(struct memory *m)
{
	return memfd_of(m, MAP_SHARED);
}

static bool memfd_private(struct memory *m)
{
	return memfd_of(m, MAP_PRIVATE);
}

static bool file_of(struct memory *m, int flags)
{
	char path[] = "/var/tmp/hmm-kinds-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return filled(fd, SMALL) >= 0 &&
	       make_mmap(m, SMALL, PROT_READ | PROT_WRITE, flags, fd);
}

static bool file_shared(struct memory *m)
{
	return file_of(m, MAP_SHARED);
}

static bool file_private(struct memory *m)
{
	return file_of(m, MAP_PRIVATE);
}

static bool hugetlb_of(struct memory *m, int flags)
{
	/* Of no use if there is no huge page to be had: touching it kills. */
	if (!make_mmap(m, HUGE, PROT_READ | PROT_WRITE,
		       flags | MAP_ANONYMOUS | MAP_HUGETLB, -1))
		return false;
	return !madvise(m->p, HUGE, MADV_POPULATE_WRITE);
}

static bool hugetlb_private(struct memory *m)
{
	return hugetlb_of(m, MAP_PRIVATE);
}

static bool hugetlb_shared(struct memory *m)
{
	return hugetlb_of(m, MAP_SHARED);
}

static bool thp(struct memory *m)
{
	if (!make_mmap(m, 2 * HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1))
		return false;
	m->p = (char *)(((uintptr_t)m->p + HUGE - 1) & ~(HUGE - 1));
	m->len = HUGE;
	madvise(m->p, HUGE, MADV_HUGEPAGE);
	memset(m->p, 1, HUGE);
	return true;
}

static bool sysv_shm(struct memory *m)
{
	int id = shmget(IPC_PRIVATE, SMALL, IPC_CREAT | 0600);

	if (id < 0)
		return false;
	m->p = shmat(id, quiet_address(SMALL), 0);
	shmctl(id, IPC_RMID, NULL);
	m->len = SMALL;
	m->base = m->p;
	m->base_len = SMALL;
	return m->p != (void *)-1;
}

static bool heap(struct memory *m)
{
	char *p = sbrk(2 * (intptr_t)SMALL);

	if (p == (void *)-1)
		return false;
	m->p = (char *)(((uintptr_t)p + PAGE - 1) & ~(PAGE - 1));
	m->len = SMALL;
	return true;
}

static bool stack(struct memory *m)
{
	volatile char *here = __builtin_frame_address(0);
	size_t i;

	/* Far below what is in use: the stack grows to it. */
	for (i = 1; i < 80; i++)
		here[-(ssize_t)(i * PAGE)] = 1;
	m->p = (char *)(((uintptr_t)here & ~(PAGE - 1)) - 64 * PAGE);
	m->len = SMALL;
	m->kept = true;
	return true;
}

static char elf_data[8 * PAGE] = { 1 };

static bool elf_data_segment(struct memory *m)
{
	m->p = (char *)(((uintptr_t)elf_data + PAGE - 1) & ~(PAGE - 1));
	m->len = SMALL;
	m->kept = true;
	return true;
}

static bool elf_text(struct memory *m)
{
	m->p = (char *)((uintptr_t)elf_text & ~(PAGE - 1));
	m->len = PAGE;
	m->kept = true;
	m->readonly = true;
	return true;
}

static bool vdso(struct memory *m)
{
	m->p = (char *)getauxval(AT_SYSINFO_EHDR);
	m->len = PAGE;
	m->kept = true;
	m->readonly = true;
	return m->p;
}

static const struct kind {
	const char *name;
	bool (*make)(struct memory *m);
} kinds[] = {
	{ "private anonymous", anon_private },
	{ "shared anonymous", anon_shared },
	{ "memfd shared", memfd_shared },
	{ "memfd private", memfd_private },
	{ "file shared", file_shared },
	{ "file private", file_private },
	{ "hugetlb private", hugetlb_private },
	{ "hugetlb shared", hugetlb_shared },
	{ "THP", thp },
	{ "SysV shm", sysv_shm },
	{ "heap", heap },
	{ "stack", stack },
	{ "ELF data", elf_data_segment },
	{ "ELF text", elf_text },
	{ "vdso", vdso },
};
#define NR_KINDS (sizeof(kinds) / sizeof(*kinds))

/* ---- Operations: false if it can't be done to this kind ------------------ */

static bool op_munmap(struct memory *m)
{
	return !m->kept && !munmap(m->p, m->len);
}

static bool op_munmap_part(struct memory *m)
{
	return !m->kept && !munmap(m->p, m->len / 2);
}

static bool op_map_fixed(struct memory *m)
{
	return !m->kept && mmap(m->p, m->len, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				0) != MAP_FAILED;
}

static bool op_mremap_move(struct memory *m)
{
	char *to =
		quiet_mmap(m->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	bool done = !m->kept &&
		    mremap(m->p, m->len, m->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			   to) != MAP_FAILED;

	munmap(to, m->len);
	return done;
}

static bool op_mremap_shrink(struct memory *m)
{
	return !m->kept && mremap(m->p, m->len, m->len / 2, 0) != MAP_FAILED;
}

static bool op_dontneed(struct memory *m)
{
	return (!m->kept || m->p == elf_data) &&
	       !madvise(m->p, m->len, MADV_DONTNEED);
}

static bool op_remove(struct memory *m)
{
	return !m->kept && !madvise(m->p, m->len, MADV_REMOVE);
}

static bool op_guard(struct memory *m)
{
	return !m->kept && !madvise(m->p, m->len, MADV_GUARD_INSTALL);
}

static bool op_pageout(struct memory *m)
{
	return !madvise(m->p, m->len, MADV_PAGEOUT);
}

static bool op_collapse(struct memory *m)
{
	return !madvise(m->p, m->len, MADV_COLLAPSE);
}

static bool op_mprotect(struct memory *m)
{
	return !m->kept && !mprotect(m->p, m->len, PROT_NONE);
}

static bool op_write(struct memory *m)
{
	if (m->readonly)
		return false;
	m->p[0]++;
	return true;
}

/* fork(), and a write in the parent while the child has the page, too. */
static bool op_fork_cow(struct memory *m)
{
	int pipefd[2], status;
	pid_t pid;
	char c = 0;

	if (m->readonly || pipe(pipefd))
		return false;
	m->p[0] = 1;
	pid = fork();
	if (!pid) {
		close(pipefd[1]);
		_exit(read(pipefd[0], &c, 1) < 0);
	}
	m->p[0] = 2;
	close(pipefd[0]);
	close(pipefd[1]);
	waitpid(pid, &status, 0);
	return true;
}

static bool op_truncate(struct memory *m)
{
	return m->fd >= 0 && !ftruncate(m->fd, (off_t)PAGE);
}

static bool op_truncate_elsewhere(struct memory *m)
{
	int status;
	pid_t pid;

	if (m->fd < 0)
		return false;
	pid = fork();
	if (!pid)
		_exit(ftruncate(m->fd, 0) != 0);
	waitpid(pid, &status, 0);
	return !status;
}

static bool op_punch_hole(struct memory *m)
{
	return m->fd >= 0 &&
	       !fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			  (off_t)m->len);
}

static bool op_shmdt(struct memory *m)
{
	return !m->kept && !shmdt(m->p);
}

static const struct op {
	const char *name;
	bool (*run)(struct memory *m);
	bool level1; /* seen by a source of level 1, too */
} ops[] = {
	{ "munmap", op_munmap, true },
	{ "munmap of a part", op_munmap_part, true },
	{ "MAP_FIXED", op_map_fixed, true },
	{ "mremap", op_mremap_move, true },
	{ "mremap, shrinking", op_mremap_shrink, true },
	{ "MADV_DONTNEED", op_dontneed, true },
	{ "MADV_REMOVE", op_remove, true },
	{ "MADV_GUARD_INSTALL", op_guard, false },
	{ "MADV_PAGEOUT", op_pageout, false },
	{ "MADV_COLLAPSE", op_collapse, false },
	{ "mprotect", op_mprotect, false },
	{ "a write", op_write, false },
	{ "fork and a write", op_fork_cow, false },
	{ "ftruncate", op_truncate, false },
	{ "ftruncate by another process", op_truncate_elsewhere, false },
	{ "punch hole", op_punch_hole, false },
	{ "shmdt", op_shmdt, false },
};
#define NR_OPS (sizeof(ops) / sizeof(*ops))

/* ---- The test ------------------------------------------------------------ */

#define MAX_ENTRIES (HUGE / PAGE)
#define MOVES 10
/* Present, swapped, and where: not the soft-dirty, file and exclusive bits. */
#define PM_WHERE ((3ull << 62) | ((1ull << 55) - 1))

static void read_pagemap(const void *p, size_t len, uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t size = (ssize_t)(len / PAGE * sizeof(*entries));

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, entries, (size_t)size,
			       (off_t)((uintptr_t)p / PAGE * sizeof(*entries))),
			 size);
	close(fd);
}

static bool same(const uint64_t *a, const uint64_t *b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((a[i] ^ b[i]) & PM_WHERE)
			return false;
	return true;
}

static void destroy(struct memory *m)
{
	if (m->base)
		munmap(m->base, m->base_len);
	if (m->fd >= 0)
		close(m->fd);
}

/* What a fault gives is what the kernel has: presence, and pfns if visible. */
static bool mirrored(const struct memory *m, const uint64_t *pfns,
		     const uint64_t *pagemap)
{
	size_t i;

	for (i = 0; i < m->len / PAGE; i++)
		if (!(pfns[i] & DEV_VALID) || !(pagemap[i] >> 63) ||
		    (!pfns_virtual &&
		     pfns[i] >> DEV_SHIFT != (pagemap[i] & ((1ull << 55) - 1))))
			return false;
	return true;
}

/* -1: can't be done; 0: nothing changed; 1: changed, and was seen or excused */
static int one(const struct kind *kind, const struct op *op)
{
	static uint64_t pfns[MAX_ENTRIES], before[MAX_ENTRIES],
		after[MAX_ENTRIES];
	struct memory m = { .fd = -1 };
	int tries = MOVES;
	struct hmm_range range;
	bool valid, changed;
	long ret;

	if (!kind->make(&m)) {
		destroy(&m);
		return -1;
	}
	range_init(&range, pfns);
	range.default_flags = DEV_VALID;
	assert_int_equal(hmm_range_register(&range, mm, (unsigned long)m.p,
					    (unsigned long)m.p + m.len),
			 0);
	do {
		ret = range_fault(&range, mm);
		if (ret == -EOPNOTSUPP && level == 1) {
			/* It says that it can't watch this. */
			hmm_range_unregister(&range);
			destroy(&m);
			return -1;
		}
		if (ret < 0)
			print_error("%s: %s\n", kind->name,
				    strerror((int)-ret));
		assert_int_equal(ret, m.len / PAGE);
		read_pagemap(m.p, m.len, before);
		/* That a page moves in between is not seen by level 1. */
	} while (!hmm_range_valid(&range) ||
		 (level < 2 && !mirrored(&m, pfns, before) && --tries));
	assert_true(mirrored(&m, pfns, before));

	if (!op->run(&m)) {
		hmm_range_unregister(&range);
		destroy(&m);
		return -1;
	}
	valid = hmm_range_valid(&range);
	read_pagemap(m.p, m.len, after);
	changed = !same(before, after, m.len / PAGE);
	if (changed && valid && (level >= 2 || op->level1)) {
		print_error("%s on %s: an entry changed, and the range is "
			    "still valid\n",
			    op->name, kind->name);
		fail();
	}
	hmm_range_unregister(&range);
	destroy(&m);
	return changed;
}

static void every_kind_and_operation(void **state)
{
	unsigned int changed = 0, unchanged = 0, impossible = 0;
	size_t k, o;

	(void)state;
	for (k = 0; k < NR_KINDS; k++) {
		unsigned int done = 0;

		for (o = 0; o < NR_OPS; o++) {
			int ret = one(&kinds[k], &ops[o]);

			if (ret < 0) {
				impossible++;
				continue;
			}
			done++;
			if (ret)
				changed++;
			else
				unchanged++;
		}
		if (!done)
			print_message("[  NOTE  ] %s: not to be had here, or "
				      "not to be watched\n",
				      kinds[k].name);
	}
	print_message("[  NOTE  ] %u pairs changed an entry, %u did not, %u "
		      "can't be done\n",
		      changed, unchanged, impossible);
	assert_true(changed >= 30);
}

static long huge_pages(void)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r+e");
	long n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) == 1 && n < 4) {
		rewind(f);
		fprintf(f, "4");
	}
	fclose(f);
	return n;
}

static void restore_huge_pages(long n)
{
	FILE *f = n < 0 ? NULL : fopen("/proc/sys/vm/nr_hugepages", "we");

	if (!f)
		return;
	fprintf(f, "%ld", n);
	fclose(f);
}

/* page_shift: one entry for a huge page, an error for small ones. */
static void huge_entries(void **state)
{
	struct memory m = { .fd = -1 }, small = { .fd = -1 };
	struct hmm_range range;
	uint64_t pfn = 0, pagemap[MAX_ENTRIES];

	(void)state;
	if (!thp(&m))
		skip();
	read_pagemap(m.p, m.len, pagemap);
	range_init(&range, &pfn);
	range.default_flags = DEV_VALID | DEV_WRITE;
	range.page_shift = 21;
	assert_int_equal(hmm_range_register(&range, mm, (unsigned long)m.p,
					    (unsigned long)m.p + HUGE),
			 0);
	if (pfns_virtual || (pagemap[MAX_ENTRIES - 1] & PM_WHERE) ==
				    (pagemap[0] & PM_WHERE) + MAX_ENTRIES - 1) {
		assert_int_equal(range_fault(&range, mm), 1);
		assert_true(pfn & DEV_VALID);
	}
	/* With a hole of a page it isn't one any more. */
	madvise(m.p + 5 * PAGE, PAGE, MADV_DONTNEED);
	assert_int_equal(range_snapshot(&range, mm), -EINVAL);
	hmm_range_unregister(&range);
	destroy(&m);
	destroy(&small);
}

static int setup(void **state)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	(void)state;
	watchdog(120);
	mm = attach();
	assert_int_equal(hmm_mm_query(mm, &info), 0);
	level = info.level;
	pfns_virtual = info.pfns_virtual;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(hmm_mm_detach(mm), 0);
	watchdog(0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_kind_and_operation, setup,
						teardown),
		cmocka_unit_test_setup_teardown(huge_entries, setup, teardown),
	};
	long n = huge_pages();
	int ret = cmocka_run_group_tests(tests, NULL, NULL);

	restore_huge_pages(n);
	return ret;
}
