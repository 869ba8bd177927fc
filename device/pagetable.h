/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * pagetable.h - the device's page table: 4 levels of 512 entries, 48 bits
 *
 * No locks and no allocation in here: it is changed under the device's lock,
 * and an allocator that unmaps memory there would wait for who waits for that
 * lock.  Only pt_init() and pt_destroy() allocate; they are what differs in
 * user space (table_memory.c) and in the kernel (kernel/table_memory.c).
 */
#ifndef DMIRROR_PAGETABLE_H
#define DMIRROR_PAGETABLE_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#endif

#define PT_PAGE_SIZE 4096ul
#define PT_HUGE_SIZE (2ul << 20)
#define PT_HUGE_PAGES (PT_HUGE_SIZE / PT_PAGE_SIZE)
#define PT_ADDR_END (1ul << 48)

/*
 * An entry, and what hmm_range.flags and .values say of it.  TABLE and HUGE
 * are the page table's own; SUSPECT is the oracle's: such an entry has a mark in
 * the place of its pfn, by which that one knows it from any later one.
 */
#define PTE_VALID (1ull << 0)
#define PTE_WRITE (1ull << 1)
#define PTE_DEVICE (1ull << 2)
#define PTE_HUGE (1ull << 3)
#define PTE_SUSPECT (1ull << 4)
#define PTE_TABLE (1ull << 5)
#define PTE_ERROR (1ull << 8)
#define PTE_SPECIAL (1ull << 9)
#define PTE_PFN_SHIFT 12

/* The table of the top level, in use from the start. */
#define PT_ROOT 0u

/**
 * struct pagetable - counts may be read, the rest is private
 * @mapped: bytes that have a translation; @peak: most there ever were
 * @huge: entries of 2 MiB; @splits: how many of them were split
 * @tables: tables in use, the root included
 */
struct pagetable {
	uint64_t mapped, peak;
	uint64_t huge, splits;
	unsigned int tables;
	/* private */
	unsigned int max, fresh, free;
	uint64_t (*table)[512];
	uint16_t *used;
};

/* Room for max tables, all of it zeroes.  0; -ENOMEM. */
int pt_init(struct pagetable *pt, unsigned int max);
void pt_destroy(struct pagetable *pt);

/*
 * Install n entries of consecutive pages from addr on, those that are valid;
 * a naturally aligned and contiguous run of 2 MiB becomes one.  0; -ENOMEM:
 * some are installed, and every one that is, is right.
 */
int pt_map(struct pagetable *pt, unsigned long addr, const uint64_t *entry,
	   unsigned long n);

/*
 * Remove [start, end), page aligned.  Can't fail: a huge entry that can't be
 * split for lack of a table goes as a whole.  How many pages were removed.
 */
unsigned long pt_unmap(struct pagetable *pt, unsigned long start,
		       unsigned long end);

/* The entry of the page at addr, as if it were a small one; 0: none. */
uint64_t pt_lookup(const struct pagetable *pt, unsigned long addr);

/* The first address from addr on that has an entry; PT_ADDR_END: none. */
unsigned long pt_next(const struct pagetable *pt, unsigned long addr);

/*
 * Set PTE_SUSPECT, and the mark, in the entry of addr, if there is one.  A mark
 * is a multiple of PT_HUGE_PAGES, as the pfn of a huge entry is: pt_lookup()
 * adds which of its pages addr is in.
 */
void pt_suspect(struct pagetable *pt, unsigned long addr, uint64_t mark);

#endif
