/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* pages.h - what the page table of any process holds, page by page */
#ifndef HMM_TOOLS_PAGES_H
#define HMM_TOOLS_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE_BYTES 4096ul

enum {
	PAGES_PRESENT = 1,
	PAGES_SWAPPED = 2,
	PAGES_FILE = 4,      /* of a file or shared memory, not anonymous */
	PAGES_EXCLUSIVE = 8, /* mapped nowhere else */
	PAGES_HUGE = 16,
	PAGES_ZERO = 32, /* the kernel's one page of zeroes */
};

/**
 * struct pages - an open page table
 * @knows_pfns: pfns are real; else they are all 0
 * @knows_zero: PAGES_ZERO is set where it should be
 * @knows_huge: the same for PAGES_HUGE; if false, it is never set
 */
struct pages {
	bool knows_pfns;
	bool knows_zero;
	bool knows_huge;
	/* private */
	int pagemap;
	int kpageflags;
};

/**
 * struct pages_run - neighbours that are alike
 * @pfn: of the first, and the others follow; 0 if not known or not present
 */
struct pages_run {
	unsigned long start, end;
	unsigned int flags;
	uint64_t pfn;
};

typedef void (*pages_fn)(void *ctx, const struct pages_run *run);

/* 0, or -errno of opening /proc/PID/pagemap. */
int pages_open(struct pages *pages, pid_t pid);
void pages_close(struct pages *pages);

/*
 * Call fn for each run of present or swapped pages in [start, end), in order;
 * holes are left out.  Runs are split by pfn only if pfns is set.
 * 0 or -errno; -ESRCH if the process has gone.
 */
int pages_walk(struct pages *pages, unsigned long start, unsigned long end,
	       bool pfns, pages_fn fn, void *ctx);

#endif
