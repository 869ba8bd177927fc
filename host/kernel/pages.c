// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pages.c - read page tables and fault pages in, by the kernel's own walker
 *
 * <linux/hmm.h> has names that our hmm.h has too, so this file includes the
 * former alone and is called through walker.h.
 *
 * hmm_range_fault() wants a notifier to see whether it has to begin anew.  It
 * gets one that is in no tree and never changes: the core knows better what
 * has changed, and looks after the walk.  It is not asked to fault.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>

#include "compat/memremap.h"
#include "walker.h"

static u64 to_cpu(unsigned long pfn, const void *owner)
{
	u64 cpu;

	if (pfn & HMM_PFN_ERROR)
		return HMM_WALKER_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return 0;
	cpu = (u64)(pfn & ~HMM_PFN_FLAGS) << HMM_WALKER_PFN_SHIFT;
	cpu |= owner && hmm_compat_is_private(pfn & ~HMM_PFN_FLAGS, owner)
		       ? HMM_WALKER_DEVICE
		       : HMM_WALKER_PRESENT;
	return pfn & HMM_PFN_WRITE ? cpu | HMM_WALKER_WRITE : cpu;
}

int hmm_walker_read(struct mm_struct *mm, unsigned long start,
		    unsigned long end, void *owner, u64 *cpu)
{
	struct mmu_interval_notifier notifier = { .mm = mm };
	unsigned long pfns[HMM_WALKER_PAGES];
	struct hmm_range range = {
		.notifier = &notifier,
		.start = start,
		.end = end,
		.hmm_pfns = pfns,
		.dev_private_owner = owner,
	};
	unsigned long i, n = (end - start) >> PAGE_SHIFT;
	int ret;

	/* What was in there would be taken for requests, or be kept. */
	for (i = 0; i < n; i++)
		pfns[i] = 0;
	ret = hmm_range_fault(&range);
	for (i = 0; i < n && !ret; i++)
		cpu[i] = to_cpu(pfns[i], owner);
	return ret;
}

static int fault_one(struct mm_struct *mm, struct vm_area_struct *vma,
		     unsigned long addr, unsigned int flags)
{
	vm_fault_t fault = handle_mm_fault(vma, addr, flags, NULL);

	/* The lock is gone, whatever NOWAIT says. */
	if (fault & VM_FAULT_COMPLETED)
		return -EAGAIN;
	if (fault & VM_FAULT_RETRY) {
		if (flags & FAULT_FLAG_RETRY_NOWAIT)
			mmap_read_unlock(mm);
		return -EAGAIN;
	}
	if (fault & VM_FAULT_OOM)
		return -ENOMEM;
	return fault & VM_FAULT_ERROR ? -EFAULT : 0;
}

/*
 * A fault may have found somebody else at the entry, and done nothing.  What is
 * still not there the core sees; what may be written it takes our word for.
 */
static int check_writable(struct mm_struct *mm, unsigned long start,
			  unsigned long end)
{
	u64 cpu[HMM_WALKER_PAGES];
	unsigned long i;
	int ret = hmm_walker_read(mm, start, end, NULL, cpu);

	for (i = 0; i < (end - start) >> PAGE_SHIFT && !ret; i++)
		ret = cpu[i] & HMM_WALKER_WRITE ? 0 : -EBUSY;
	return ret;
}

/*
 * Not by the kernel's hmm_range_fault(), which goes on until it has the page.
 * Some never come: what is registered with a userfaultfd that is being closed
 * comes once that has the mmap lock for write, which is held here.
 */
int hmm_walker_fault(struct mm_struct *mm, unsigned long start,
		     unsigned long end, bool write, bool block)
{
	struct vm_area_struct *vma = find_vma(mm, start);
	unsigned int flags = FAULT_FLAG_REMOTE;
	unsigned long addr;
	int ret = 0;

	if (!vma || vma->vm_start > start)
		return -EBUSY;
	if (write)
		flags |= FAULT_FLAG_WRITE;
	/* Start what I/O it takes, and don't wait for it. */
	if (!block)
		flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT;
	for (addr = start; addr < end && !ret; addr += PAGE_SIZE)
		ret = fatal_signal_pending(current)
			      ? -EINTR
			      : fault_one(mm, vma, addr, flags);
	return !ret && write ? check_writable(mm, start, end) : ret;
}

int hmm_walker_bring(struct mm_struct *mm, unsigned long addr, bool write)
{
	struct vm_area_struct *vma = find_vma(mm, addr);
	unsigned int flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY |
			     FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE;

	if (!vma || vma->vm_start > addr || vma->vm_flags & (VM_IO | VM_PFNMAP))
		return -EFAULT;
	if (!(vma->vm_flags & VM_READ) ||
	    (write && !(vma->vm_flags & VM_WRITE)))
		return -EPERM;
	if (write)
		flags |= FAULT_FLAG_WRITE;
	return fault_one(mm, vma, addr, flags);
}
