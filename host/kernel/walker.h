/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* walker.h - page tables, without a name of either hmm.h */
#ifndef HMM_WALKER_H
#define HMM_WALKER_H

#include <linux/types.h>

struct mm_struct;

/* At most so many pages in one call. */
#define HMM_WALKER_PAGES 64

/* The core's HMM_CPU_*, which vma.c checks. */
#define HMM_WALKER_PRESENT (1ull << 0)
#define HMM_WALKER_WRITE (1ull << 1)
#define HMM_WALKER_DEVICE (1ull << 2)
#define HMM_WALKER_ERROR (1ull << 3)
#define HMM_WALKER_PFN_SHIFT 8

/**
 * hmm_walker_read() - read page table entries
 * @mm: the address space
 * @start: first byte, page aligned
 * @end: last byte, exclusive; at most HMM_WALKER_PAGES, all in one vma that may
 *	be read
 * @owner: whose private device memory is to be seen, see struct hmm_range
 * @cpu: filled on success, one entry a page
 *
 * Context: mmap lock held for read; may sleep, for a migration to end.
 * Return: 0 or -errno.
 */
int hmm_walker_read(struct mm_struct *mm, unsigned long start,
		    unsigned long end, void *owner, u64 *cpu);

/**
 * hmm_walker_fault() - fault pages in, out of any device's private memory
 * @mm: the address space
 * @start: as for hmm_walker_read()
 * @end: likewise
 * @write: for writing
 * @block: wait for I/O
 *
 * Context: mmap lock held for read; may sleep.
 * Return: as hmm_host_fault(); -EAGAIN: the mmap lock was dropped.
 */
int hmm_walker_fault(struct mm_struct *mm, unsigned long start,
		     unsigned long end, bool write, bool block);

/**
 * hmm_walker_bring() - fault a page in, and wait without the lock
 * @mm: the address space
 * @addr: of the page
 * @write: for writing
 *
 * Context: mmap lock held for read; may sleep.  A fatal signal ends the wait,
 * any signal that for a userfaultfd's user.
 * Return: 0; -EAGAIN the mmap lock was dropped and the page may be there by now;
 * -EFAULT; -EPERM; -ENOMEM.
 */
int hmm_walker_bring(struct mm_struct *mm, unsigned long addr, bool write);

#endif
