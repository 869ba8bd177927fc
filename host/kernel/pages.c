// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pages.c - read page tables and fault pages in, by the kernel's own walker
 *
 * <linux/hmm.h> has names that our hmm.h has too, so this file includes the
 * former alone and is called through walker.h.
 *
 * hmm_range_fault() wants a notifier to see whether it has to begin anew.  It
 * gets one that is in no tree and never changes: the core knows better what
 * has changed, and looks after the walk.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>

#include "walker.h"

static int walk(struct mm_struct *mm, unsigned long start, unsigned long end,
		unsigned long request, unsigned long *pfns)
{
	struct mmu_interval_notifier notifier = { .mm = mm };
	struct hmm_range range = {
		.notifier = &notifier,
		.start = start,
		.end = end,
		.hmm_pfns = pfns,
		.default_flags = request,
	};
	unsigned long i, n = (end - start) >> PAGE_SHIFT;

	/* What was in there would be taken for requests, or be kept. */
	for (i = 0; i < n; i++)
		pfns[i] = 0;
	return hmm_range_fault(&range);
}

static u64 to_cpu(unsigned long pfn)
{
	u64 cpu;

	if (pfn & HMM_PFN_ERROR)
		return HMM_WALKER_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return 0;
	cpu = (u64)(pfn & ~HMM_PFN_FLAGS) << HMM_WALKER_PFN_SHIFT;
	cpu |= HMM_WALKER_PRESENT;
	return pfn & HMM_PFN_WRITE ? cpu | HMM_WALKER_WRITE : cpu;
}

int hmm_walker_read(struct mm_struct *mm, unsigned long start,
		    unsigned long end, u64 *cpu)
{
	unsigned long pfns[HMM_WALKER_PAGES], i;
	int ret = walk(mm, start, end, 0, pfns);

	if (ret)
		return ret;
	for (i = 0; i < (end - start) >> PAGE_SHIFT; i++)
		cpu[i] = to_cpu(pfns[i]);
	return 0;
}

static int fault_wait(struct mm_struct *mm, unsigned long start,
		      unsigned long end, bool write)
{
	unsigned long pfns[HMM_WALKER_PAGES];
	unsigned long request = HMM_PFN_REQ_FAULT;

	if (write)
		request |= HMM_PFN_REQ_WRITE;
	return walk(mm, start, end, request, pfns);
}

/* Start what I/O it takes, and don't wait for it. */
static int fault_nowait(struct mm_struct *mm, unsigned long start,
			unsigned long end, bool write)
{
	unsigned int flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT |
			     FAULT_FLAG_REMOTE;
	struct vm_area_struct *vma = find_vma(mm, start);
	unsigned long addr;
	vm_fault_t fault;

	if (!vma || vma->vm_start > start)
		return -EBUSY;
	if (write)
		flags |= FAULT_FLAG_WRITE;
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		fault = handle_mm_fault(vma, addr, flags, NULL);
		/* The lock is gone, whatever NOWAIT says. */
		if (fault & VM_FAULT_COMPLETED)
			return -EAGAIN;
		if (fault & VM_FAULT_RETRY) {
			mmap_read_unlock(mm);
			return -EAGAIN;
		}
		if (fault & VM_FAULT_OOM)
			return -ENOMEM;
		if (fault & VM_FAULT_ERROR)
			return -EFAULT;
	}
	return 0;
}

int hmm_walker_fault(struct mm_struct *mm, unsigned long start,
		     unsigned long end, bool write, bool block)
{
	int ret;

	if (fatal_signal_pending(current))
		return -EINTR;
	ret = block ? fault_wait(mm, start, end, write)
		    : fault_nowait(mm, start, end, write);
	return ret == -EHWPOISON ? -EFAULT : ret;
}
