// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * access.c - READ and WRITE: use memory through the device page table
 */
#include <linux/highmem.h>
#include <linux/uaccess.h>

#include "dmirror.h"

static bool allows(const struct dmirror *dm, u64 entry, enum dm_want want)
{
	switch (want) {
	case DM_WRITE:
		return entry & PTE_WRITE;
	case DM_RESIDENT:
		return dm_memory_has(dm->device->memory,
				     entry >> PTE_PFN_SHIFT);
	case DM_EXCLUSIVE:
		return entry & PTE_EXCLUSIVE;
	default:
		return entry & PTE_VALID;
	}
}

/*
 * As far as a fault may reach ahead: the table has room for several of these,
 * so that the first page is still there when the last one is.
 */
#define REACH (64ul << 20)

/*
 * The CPU's entry does not know of the device's writes, and what is clean by that
 * may be dropped: after MADV_FREE, for example.  L held, so that who takes the
 * entry away sees it.  Pages of a file system are dirty for as long as they may
 * be written; for others this sets a flag, and waits for nothing.
 */
static void written(u64 entry)
{
	struct folio *folio = page_folio(pfn_to_page(entry >> PTE_PFN_SHIFT));

	if (!folio_test_dirty(folio))
		folio_mark_dirty(folio);
}

/* One page between the device's view and a buffer; -ENOENT: a device fault. */
static int access_page(struct dmirror *dm, unsigned long addr, void *buffer,
		       enum dm_want want)
{
	void *mapped;
	u64 entry;

	mutex_lock(&dm->lock);
	entry = pt_lookup(&dm->pt, addr);
	if (!allows(dm, entry, want)) {
		mutex_unlock(&dm->lock);
		return -ENOENT;
	}
	/* No reference: while it is in the table the page stays what it is. */
	mapped = kmap_local_page(
		dm_memory_bytes(dm->device->memory, entry >> PTE_PFN_SHIFT));
	if (want == DM_WRITE)
		memcpy(mapped, buffer, PAGE_SIZE);
	else
		memcpy(buffer, mapped, PAGE_SIZE);
	kunmap_local(mapped);
	if (want == DM_WRITE)
		written(entry);
	mutex_unlock(&dm->lock);
	return 0;
}

int dm_access(struct dmirror *dm, struct dmirror_cmd *cmd, enum dm_want want)
{
	unsigned long addr = cmd->addr;
	unsigned long end = addr + (cmd->npages << PAGE_SHIFT);
	char __user *user = u64_to_user_ptr(cmd->ptr);
	void *buffer = (void *)__get_free_page(GFP_KERNEL);
	int ret = 0;

	if (!buffer)
		return -ENOMEM;
	while (addr < end) {
		ret = -EFAULT;
		if (want == DM_WRITE && copy_from_user(buffer, user, PAGE_SIZE))
			break;
		while ((ret = access_page(dm, addr, buffer, want)) == -ENOENT) {
			cmd->faults++;
			ret = dm_fault(dm, addr, min(end, addr + REACH), want);
			if (ret)
				goto out;
			cond_resched();
		}
		ret = -EFAULT;
		if (want != DM_WRITE && copy_to_user(user, buffer, PAGE_SIZE))
			break;
		ret = 0;
		user += PAGE_SIZE;
		addr += PAGE_SIZE;
		cmd->cpages++;
	}
out:
	free_page((unsigned long)buffer);
	return ret;
}
