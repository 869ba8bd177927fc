// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * vma.c - vmas and pages of an mm, as the core wants to see them
 */
#include <linux/fs.h>
#include <linux/magic.h>

#include "hmm_dev.h"
#include "host.h"
#include "walker.h"

#define CHUNK (HMM_WALKER_PAGES * PAGE_SIZE)

/*
 * What memfd_secret() makes is kept from everyone but the process's CPUs: no
 * kernel address maps it, and nobody gets it by get_user_pages() either.
 */
static bool is_special(const struct vm_area_struct *vma)
{
	return vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	       (vma->vm_file &&
		file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC);
}

int hmm_host_vma(struct mm_struct *mm, unsigned long addr, struct hmm_vma *vma)
{
	struct vm_area_struct *found;

	mmap_assert_locked(mm);
	found = find_vma(mm, addr);
	if (!found)
		return -ENOENT;
	*vma = (struct hmm_vma){
		.start = found->vm_start,
		.end = found->vm_end,
	};
	if (found->vm_flags & VM_READ)
		vma->flags |= HMM_VMA_READ;
	if (found->vm_flags & VM_WRITE)
		vma->flags |= HMM_VMA_WRITE;
	if (found->vm_flags & VM_EXEC)
		vma->flags |= HMM_DEV_VM_EXEC;
	if (found->vm_flags & VM_SHARED)
		vma->flags |= HMM_DEV_VM_SHARED;
	if (is_special(found))
		vma->flags |= HMM_VMA_SPECIAL;
	return 0;
}

int hmm_host_read(const struct hmm_range *range, struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu)
{
	unsigned long addr, stop;
	int ret;

	static_assert(HMM_WALKER_PRESENT == HMM_CPU_PRESENT &&
		      HMM_WALKER_WRITE == HMM_CPU_WRITE &&
		      HMM_WALKER_DEVICE == HMM_CPU_DEVICE &&
		      HMM_WALKER_ERROR == HMM_CPU_ERROR &&
		      HMM_WALKER_PFN_SHIFT == HMM_CPU_PFN_SHIFT);
	for (addr = start; addr < end; addr = stop) {
		stop = min(end, addr + CHUNK);
		ret = hmm_walker_read(range->hmm->mm, addr, stop,
				      range->dev_private_owner, cpu);
		if (ret)
			return ret;
		cpu += (stop - addr) >> PAGE_SHIFT;
		cond_resched();
	}
	return 0;
}

int hmm_host_fault(struct mm_struct *mm, const struct hmm_vma *vma,
		   unsigned long start, unsigned long end, bool write,
		   bool block)
{
	unsigned long addr, stop;
	int ret;

	for (addr = start; addr < end; addr = stop) {
		stop = min(end, addr + CHUNK);
		ret = hmm_walker_fault(mm, addr, stop, write, block);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}
