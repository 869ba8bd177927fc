// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * walk.c - snapshot against reading pagemap, fault against populating
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm.h"
#include "setup.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_PAGES 512

struct walk {
	struct mm_struct *mm;
	struct hmm_range range;
	char *memory;
	size_t pages;
	int fd;
	uint64_t (*clock)(void);
};

/* More pages than this take longer than a time slice. */
#define SHORT 512

/* The range's pages, as they are.  A change by others is waited for, untimed. */
static uint64_t snapshot(void *ctx, unsigned int n)
{
	struct walk *w = ctx;
	uint64_t begin, ns = 0;
	unsigned int left = n;
	long ret = 0;

	while (left) {
		hmm_range_wait_until_valid(&w->range,
					   HMM_RANGE_DEFAULT_TIMEOUT);
		mmap_read_lock(w->mm);
		begin = w->clock();
		for (; left; left--) {
			ret = hmm_range_snapshot(&w->range);
			if (ret < 0)
				break;
		}
		ns += w->clock() - begin;
		mmap_read_unlock(w->mm);
		if (ret < 0 && ret != -EBUSY)
			abort();
	}
	return ns;
}

/* As a driver does: it looks again because something has changed. */
static uint64_t snapshot_anew(void *ctx, unsigned int n)
{
	struct walk *w = ctx;
	uint64_t begin, took, ns = 0;
	unsigned int i = 0;
	long ret;

	while (i < n) {
		hmm_invalidate_past(&w->mm->hmm, w->range.start, w->range.end);
		hmm_range_wait_until_valid(&w->range,
					   HMM_RANGE_DEFAULT_TIMEOUT);
		mmap_read_lock(w->mm);
		begin = w->clock();
		ret = hmm_range_snapshot(&w->range);
		took = w->clock() - begin;
		mmap_read_unlock(w->mm);
		if (ret < 0 && ret != -EBUSY)
			abort();
		if (ret < 0)
			continue;
		ns += took;
		i++;
	}
	return ns;
}

static uint64_t raw(void *ctx, unsigned int n)
{
	struct walk *w = ctx;
	size_t size = w->pages * sizeof(uint64_t);
	off_t at = (off_t)((unsigned long)w->memory / BENCH_PAGE *
			   sizeof(uint64_t));
	uint64_t begin = w->clock();
	unsigned int i;

	for (i = 0; i < n; i++)
		if (pread(w->fd, w->range.pfns, size, at) != (ssize_t)size)
			abort();
	return w->clock() - begin;
}

/* Absent before each. */
static uint64_t fault(void *ctx, unsigned int n)
{
	struct walk *w = ctx;
	uint64_t begin, took, ns = 0;
	unsigned int i = 0;
	long ret;

	while (i < n) {
		madvise(w->memory, w->pages * BENCH_PAGE, MADV_DONTNEED);
		hmm_range_wait_until_valid(&w->range,
					   HMM_RANGE_DEFAULT_TIMEOUT);
		mmap_read_lock(w->mm);
		begin = w->clock();
		ret = hmm_range_fault(&w->range, true);
		took = w->clock() - begin;
		mmap_read_unlock(w->mm);
		if (ret < 0 && ret != -EBUSY)
			abort();
		if (ret < 0)
			continue;
		ns += took;
		i++;
	}
	return ns;
}

static uint64_t populate(struct walk *w, unsigned int n, bool look)
{
	uint64_t begin, ns = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		madvise(w->memory, w->pages * BENCH_PAGE, MADV_DONTNEED);
		begin = w->clock();
		if (madvise(w->memory, w->pages * BENCH_PAGE,
			    MADV_POPULATE_WRITE))
			abort();
		if (look)
			raw(w, 1);
		ns += w->clock() - begin;
	}
	return ns;
}

static uint64_t only_populate(void *ctx, unsigned int n)
{
	return populate(ctx, n, false);
}

/* What is the least that tells where the pages are. */
static uint64_t populate_and_look(void *ctx, unsigned int n)
{
	return populate(ctx, n, true);
}

static bool set_up(struct walk *w, size_t pages, struct bench_line *line)
{
	unsigned long start;

	w->pages = pages;
	w->clock = pages > SHORT ? bench_cpu : bench_now;
	w->memory = map(pages);
	range_init(&w->range, calloc(pages, sizeof(*w->range.pfns)));
	if (!w->memory || !w->range.pfns) {
		bench_skip(line, "no memory");
		return false;
	}
	/* Written once, so that reading into it faults on neither side. */
	memset(w->range.pfns, 1, pages * sizeof(*w->range.pfns));
	start = (unsigned long)w->memory;
	return !hmm_range_register(&w->range, w->mm, start,
				   start + pages * BENCH_PAGE);
}

static void tear_down(struct walk *w)
{
	hmm_range_unregister(&w->range);
	munmap(w->memory, w->pages * BENCH_PAGE);
	free(w->range.pfns);
}

/* Place huge pages under the range: it is moved to where they can be. */
static bool make_huge(struct walk *w)
{
	size_t size = w->pages * BENCH_PAGE, huge = HUGE_PAGES * BENCH_PAGE;
	unsigned long start;

	hmm_range_unregister(&w->range);
	munmap(w->memory, size);
	w->memory = mmap(NULL, size + huge, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->memory == MAP_FAILED)
		return false;
	start = ((unsigned long)w->memory + huge - 1) & ~(huge - 1);
	munmap((void *)(start + size), (unsigned long)w->memory + huge - start);
	munmap(w->memory, start - (unsigned long)w->memory);
	w->memory = (char *)start;
	if (madvise(w->memory, size, MADV_HUGEPAGE))
		return false;
	touch(w->memory, w->pages);
	return !hmm_range_register(&w->range, w->mm, start, start + size);
}

enum kind { TOUCHED, UNTOUCHED, HUGE };

static void one_snapshot(struct walk *w, size_t pages, enum kind kind)
{
	static const char *const names[] = {
		"snapshot, touched pages",
		"snapshot, untouched pages",
		"snapshot, huge pages",
	};
	struct bench_line *line =
		bench_line_of(names[kind], "pread() of the same pagemap",
			      (double)pages, "pages");

	line->goal = 1.2;
	if (!set_up(w, pages, line))
		return;
	if (kind == TOUCHED)
		touch(w->memory, pages);
	if (kind == HUGE && !make_huge(w))
		bench_skip(line, "no huge pages");
	else
		bench_pair(line, &(struct bench_side){ snapshot, w, 0 },
			   &(struct bench_side){ raw, w, 0 });
	if (kind == TOUCHED) {
		line = bench_line_of("snapshot after a change, touched pages",
				     "pread() of the same pagemap",
				     (double)pages, "pages");
		bench_pair(line, &(struct bench_side){ snapshot_anew, w, 0 },
			   &(struct bench_side){ raw, w, 0 });
	}
	tear_down(w);
}

static void one_fault(struct walk *w, size_t pages)
{
	struct bench_line *line =
		bench_line_of("fault, for writing", "MADV_POPULATE_WRITE",
			      (double)pages, "pages");

	line->goal = 1.1;
	if (!set_up(w, pages, line))
		return;
	w->range.default_flags =
		bench_flags[HMM_PFN_VALID] | bench_flags[HMM_PFN_WRITE];
	bench_pair(line, &(struct bench_side){ fault, w, 0 },
		   &(struct bench_side){ only_populate, w, 0 });
	line = bench_line_of("fault, for writing, and look",
			     "MADV_POPULATE_WRITE, pread()", (double)pages,
			     "pages");
	bench_pair(line, &(struct bench_side){ fault, w, 0 },
		   &(struct bench_side){ populate_and_look, w, 0 });
	tear_down(w);
}

void bench_walk(void)
{
	static const size_t sizes[] = { 1, 16, 512, 262144 };
	struct walk w = { .fd = open("/proc/self/pagemap",
				     O_RDONLY | O_CLOEXEC) };
	unsigned int i, nr = bench_options.quick ? 3 : 4;
	char why[192] = "";

	w.mm = bench_attach(NULL, why, sizeof(why));
	if (!w.mm || w.fd < 0) {
		bench_skip(bench_line("snapshot", ""), "%s", why);
		return;
	}
	for (i = 0; i < nr; i++)
		one_snapshot(&w, sizes[i], TOUCHED);
	for (i = 0; i < nr; i++)
		one_snapshot(&w, sizes[i], UNTOUCHED);
	for (i = 2; i < nr; i++)
		one_snapshot(&w, sizes[i], HUGE);
	for (i = 0; i < nr; i++)
		one_fault(&w, sizes[i] > 16384 ? 16384 : sizes[i]);
	hmm_mm_detach(w.mm);
}
