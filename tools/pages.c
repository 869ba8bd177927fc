/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * pages.c - read /proc/PID/pagemap
 *
 * PAGEMAP_SCAN (Linux 6.7) skips holes and alone tells huge mappings and the
 * zero page to everybody.  On older kernels every entry is read, and root gets
 * the zero page from /proc/kpageflags.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pages.h"

#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_FILE (1ull << 61)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_PFN ((1ull << 55) - 1)

#define KPF_ZERO_PAGE (1ull << 24)

/* From the kernel's include/uapi/linux/fs.h; Debian 12's headers lack it. */
#define SCAN_IS_PRESENT (1 << 3)
#define SCAN_IS_SWAPPED (1 << 4)
#define SCAN_IS_PFNZERO (1 << 5)
#define SCAN_IS_HUGE (1 << 6)

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages,
		category_inverted, category_mask, category_anyof_mask,
		return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

#define NR_REGIONS 128
#define NR_ENTRIES 4096

/* A run that may still grow, and where it goes. */
struct walk {
	struct pages *pages;
	bool pfns;
	pages_fn fn;
	void *ctx;
	struct pages_run run;
};

static int scan(int fd, unsigned long *start, unsigned long end,
		struct scan_region *regions)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = *start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = NR_REGIONS,
		.category_anyof_mask = SCAN_IS_PRESENT | SCAN_IS_SWAPPED,
		.return_mask = SCAN_IS_PFNZERO | SCAN_IS_HUGE,
	};
	int ret = ioctl(fd, SCAN_IOCTL, &arg);

	if (ret < 0)
		return -errno;
	*start = arg.walk_end;
	return ret;
}

int pages_open(struct pages *pages, pid_t pid)
{
	struct scan_region regions[NR_REGIONS];
	unsigned long none = 0;
	uint64_t entry;
	char path[40];

	*pages = (struct pages){ .kpageflags = -1 };
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pages->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pages->pagemap < 0)
		return -errno;
	pages->knows_huge = !scan(pages->pagemap, &none, 0, regions);
	pages->kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	/* It opens for root in a user namespace too, but reads only for us. */
	pages->knows_pfns = pages->kpageflags >= 0 &&
			    pread(pages->kpageflags, &entry, 8, 8) == 8;
	pages->knows_zero = pages->knows_huge || pages->knows_pfns;
	return 0;
}

void pages_close(struct pages *pages)
{
	close(pages->pagemap);
	if (pages->kpageflags >= 0)
		close(pages->kpageflags);
}

static void flush(struct walk *walk)
{
	if (walk->run.flags)
		walk->fn(walk->ctx, &walk->run);
	walk->run = (struct pages_run){ 0 };
}

static void add_page(struct walk *walk, unsigned long addr, unsigned int flags,
		     uint64_t pfn)
{
	struct pages_run *run = &walk->run;
	unsigned long nr = (addr - run->start) / PAGE_BYTES;

	if (flags != run->flags || addr != run->end ||
	    (walk->pfns && !(flags & PAGES_ZERO) &&
	     pfn != (run->pfn ? run->pfn + nr : 0))) {
		flush(walk);
		*run = (struct pages_run){ addr, addr, flags, pfn };
	}
	run->end = addr + PAGE_BYTES;
}

static bool is_zero_page(struct pages *pages, uint64_t pfn)
{
	uint64_t flags;

	return pfn && pread(pages->kpageflags, &flags, 8, pfn * 8) == 8 &&
	       (flags & KPF_ZERO_PAGE);
}

/* Read the entries of [start, end), whose pages share the flags of known. */
static int read_entries(struct walk *walk, unsigned long start,
			unsigned long end, unsigned int known)
{
	struct pages *pages = walk->pages;
	uint64_t entries[NR_ENTRIES], entry;
	unsigned int flags;
	ssize_t size;
	size_t i;

	while (start < end) {
		size = (end - start) / PAGE_BYTES * 8;
		if (size > (ssize_t)sizeof(entries))
			size = sizeof(entries);
		size = pread(pages->pagemap, entries, size,
			     start / PAGE_BYTES * 8);
		if (size < 0)
			return -errno;
		/* Without its memory, a process that exits reads as empty. */
		if (size < 8)
			return -ESRCH;
		for (i = 0; i < (size_t)size / 8; i++, start += PAGE_BYTES) {
			entry = entries[i];
			if (!(entry & (PM_PRESENT | PM_SWAP)))
				continue;
			flags = known;
			flags |= entry & PM_PRESENT ? PAGES_PRESENT
						    : PAGES_SWAPPED;
			if (entry & PM_FILE)
				flags |= PAGES_FILE;
			if (entry & PM_EXCLUSIVE)
				flags |= PAGES_EXCLUSIVE;
			entry = entry & PM_PRESENT ? entry & PM_PFN : 0;
			if (!pages->knows_huge && pages->knows_zero &&
			    !(flags & (PAGES_EXCLUSIVE | PAGES_FILE)) &&
			    is_zero_page(pages, entry))
				flags |= PAGES_ZERO;
			add_page(walk, start, flags, entry);
		}
	}
	return 0;
}

static int walk_regions(struct walk *walk, unsigned long start,
			unsigned long end)
{
	struct scan_region regions[NR_REGIONS];
	unsigned int known;
	int nr, i, ret;

	while (start < end) {
		nr = scan(walk->pages->pagemap, &start, end, regions);
		if (nr < 0)
			return nr;
		for (i = 0; i < nr; i++) {
			known = 0;
			if (regions[i].categories & SCAN_IS_HUGE)
				known |= PAGES_HUGE;
			if (regions[i].categories & SCAN_IS_PFNZERO)
				known |= PAGES_ZERO;
			ret = read_entries(walk, regions[i].start,
					   regions[i].end, known);
			if (ret)
				return ret;
		}
	}
	return 0;
}

int pages_walk(struct pages *pages, unsigned long start, unsigned long end,
	       bool pfns, pages_fn fn, void *ctx)
{
	struct walk walk = {
		.pages = pages,
		.pfns = pfns,
		.fn = fn,
		.ctx = ctx,
	};
	int ret;

	if (pages->knows_huge)
		ret = walk_regions(&walk, start, end);
	else
		ret = read_entries(&walk, start, end, 0);
	flush(&walk);
	return ret;
}
