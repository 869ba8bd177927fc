// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * exclusive.c - EXCLUSIVE: have pages to ourselves, until the CPU wants them
 *
 * The kernel puts an entry in the CPU page table that makes the CPU fault, and
 * tells mirrors before it takes that back; so a translation may be used for as
 * long as it stays in the device page table, like any other.
 *
 * To install it hmm_range_valid() is no help: making the entry is itself a
 * change.  So the claim says who makes it; the mirror's callback marks the
 * claim if anyone else changes the page.  As with a range, whoever is not
 * marked at the time of installing is either current or about to be told.
 */
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "compat/exclusive.h"
#include "dmirror.h"

/* Of one page, by one task.  Under L. */
struct dm_claim {
	unsigned long addr;
	struct task_struct *by;
	bool spoilt;
};

void dm_claim_told(struct dmirror *dm, const struct hmm_update *update)
{
	struct dm_claim *claim = dm->claim;

	lockdep_assert_held(&dm->lock);
	if (claim && claim->by != current && claim->addr >= update->start &&
	    claim->addr < update->end)
		claim->spoilt = true;
}

static int stake(struct dmirror *dm, unsigned long start, const u64 *pfns,
		 unsigned long n, void *claim)
{
	lockdep_assert_held(&dm->lock);
	dm->claim = claim;
	return 0;
}

static int install(struct dmirror *dm, unsigned long addr, struct page *page)
{
	u64 entry = (u64)page_to_pfn(page) << PTE_PFN_SHIFT;

	entry |= PTE_VALID | PTE_WRITE | PTE_EXCLUSIVE;
	return dm_map(dm, addr, &entry, 1);
}

/* The mm is pinned, dm->claiming is held.  -EAGAIN: somebody changed it. */
static int claim_page(struct dmirror *dm, unsigned long addr)
{
	struct dm_claim claim = { .addr = addr, .by = current };
	struct page *page;
	u64 pfn;
	int ret;

	ret = dm_look(dm, addr, addr + PAGE_SIZE, &pfn, stake, &claim);
	if (ret)
		return ret;
	mmap_read_lock(dm->mm);
	page = hmm_compat_make_exclusive(dm->mm, addr, dm->device);
	mmap_read_unlock(dm->mm);
	/* Locked, the page can't be given back to the CPU. */
	mutex_lock(&dm->lock);
	dm->claim = NULL;
	if (IS_ERR(page))
		ret = PTR_ERR(page) == -EBUSY ? -EAGAIN : PTR_ERR(page);
	else
		ret = claim.spoilt ? -EAGAIN : install(dm, addr, page);
	mutex_unlock(&dm->lock);
	if (!IS_ERR(page)) {
		unlock_page(page);
		put_page(page);
	}
	return ret;
}

int dm_claim(struct dmirror *dm, unsigned long start, unsigned long end)
{
	int tries = DM_RETRIES, ret = -EFAULT;
	unsigned long addr;

	if (!mmget_not_zero(dm->mm))
		return ret;
	mutex_lock(&dm->claiming);
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		do {
			ret = claim_page(dm, addr);
		} while (ret == -EAGAIN && --tries);
		if (ret)
			break;
		cond_resched();
	}
	mutex_unlock(&dm->claiming);
	mmput(dm->mm);
	return ret == -EAGAIN ? -EBUSY : ret;
}

int dm_check_exclusive(struct dmirror *dm, struct dmirror_cmd *cmd)
{
	unsigned long addr, end = cmd->addr + (cmd->npages << PAGE_SHIFT);
	int ret = 0;

	mutex_lock(&dm->lock);
	for (addr = pt_next(&dm->pt, cmd->addr); addr < end && !ret;
	     addr = pt_next(&dm->pt, addr + PAGE_SIZE))
		if (pt_lookup(&dm->pt, addr) & PTE_EXCLUSIVE)
			ret = -EPERM;
	mutex_unlock(&dm->lock);
	return ret;
}
