// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * snapshot.c - SNAPSHOT: say of each page what is in the CPU page table
 */
#include <linux/memremap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dmirror.h"

/* What SNAPSHOT says, a byte a page */
#define PROT_SEEN_ERROR 0xff
#define PROT_SEEN_NONE 0x00
#define PROT_SEEN_READ 0x01
#define PROT_SEEN_WRITE 0x02
#define PROT_SEEN_PMD 0x04
#define PROT_SEEN_ZERO 0x10
#define PROT_SEEN_PRIVATE_LOCAL 0x20
#define PROT_SEEN_COHERENT_LOCAL 0x40
#define PROT_SEEN_COHERENT_REMOTE 0x50

struct view {
	u64 pfns[DM_CHUNK];
	u8 prots[DM_CHUNK];
};

/* One huge page, all of it mapped, with the same permissions. */
static bool is_pmd(const u64 *pfns, unsigned long n)
{
	unsigned long pfn = pfns[0] >> PTE_PFN_SHIFT, i;

	if (n != PT_HUGE_PAGES || !(pfns[0] & PTE_VALID) || (pfn & (n - 1)))
		return false;
	for (i = 1; i < n; i++)
		if (pfns[i] != pfns[0] + (i << PTE_PFN_SHIFT))
			return false;
	return compound_order(compound_head(pfn_to_page(pfn))) >=
	       PMD_SHIFT - PAGE_SHIFT;
}

static u8 prot_seen(const struct dmirror *dm, u64 entry)
{
	unsigned long pfn = entry >> PTE_PFN_SHIFT;
	u8 prot = entry & PTE_WRITE ? PROT_SEEN_WRITE : PROT_SEEN_READ;

	if (entry & (PTE_ERROR | PTE_SPECIAL))
		return PROT_SEEN_ERROR;
	if (!(entry & PTE_VALID))
		return PROT_SEEN_NONE;
	if (entry & PTE_DEVICE)
		return prot | PROT_SEEN_PRIVATE_LOCAL;
	if (is_zero_pfn(pfn))
		return prot | PROT_SEEN_ZERO;
	if (dm_memory_has(dm->device->memory, pfn))
		return prot | PROT_SEEN_COHERENT_LOCAL;
	if (is_device_coherent_page(pfn_to_page(pfn)))
		return prot | PROT_SEEN_COHERENT_REMOTE;
	return prot;
}

/* L held: the pages stay what they are while they are looked at. */
static int see(struct dmirror *dm, unsigned long start, const u64 *pfns,
	       unsigned long n, void *arg)
{
	u8 pmd = is_pmd(pfns, n) ? PROT_SEEN_PMD : 0;
	struct view *view = arg;
	unsigned long i;

	for (i = 0; i < n; i++)
		view->prots[i] = prot_seen(dm, pfns[i]) | pmd;
	return 0;
}

/* How far memory from addr on is of one kind, and whether it can be seen. */
static bool readable(struct dmirror *dm, unsigned long addr, unsigned long *end)
{
	struct vm_area_struct *vma;
	bool ret = false;

	mmap_read_lock(dm->mm);
	vma = find_vma(dm->mm, addr);
	if (vma && vma->vm_start > addr) {
		*end = min(*end, vma->vm_start);
	} else if (vma) {
		*end = min(*end, vma->vm_end);
		ret = vma->vm_flags & VM_READ;
	}
	mmap_read_unlock(dm->mm);
	return ret;
}

/* Of [start, *end), or up to where memory of one kind ends: *end. */
static int look(struct dmirror *dm, struct view *view, unsigned long start,
		unsigned long *end)
{
	int ret = -EPERM;

	if (readable(dm, start, end))
		ret = dm_look(dm, start, *end, view->pfns, see, view);
	if (ret != -EPERM)
		return ret;
	memset(view->prots, PROT_SEEN_ERROR, (*end - start) >> PAGE_SHIFT);
	return 0;
}

int dm_snapshot(struct dmirror *dm, struct dmirror_cmd *cmd)
{
	unsigned long addr = cmd->addr, stop, n;
	unsigned long end = addr + (cmd->npages << PAGE_SHIFT);
	u8 __user *user = u64_to_user_ptr(cmd->ptr);
	struct view *view;
	int ret = -EFAULT;

	view = kvzalloc(sizeof(*view), GFP_KERNEL);
	if (!view)
		return -ENOMEM;
	/* A dead mm has no mmap lock to take; ranges pin it, this does as well. */
	if (!mmget_not_zero(dm->mm))
		goto out;
	for (; addr < end; addr = stop) {
		/* Up to where a huge page would end. */
		stop = min(end, ALIGN(addr + 1, PMD_SIZE));
		ret = look(dm, view, addr, &stop);
		if (ret)
			break;
		n = (stop - addr) >> PAGE_SHIFT;
		ret = -EFAULT;
		if (copy_to_user(user + cmd->cpages, view->prots, n))
			break;
		ret = 0;
		cmd->cpages += n;
		cond_resched();
	}
	mmput(dm->mm);
out:
	kvfree(view);
	return ret;
}
