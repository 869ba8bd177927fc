// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * migrate.c - move memory between the system and the device
 *
 * The kernel isolates pages and puts others in their place, we copy.  Mirrors
 * are told of that as of any change, our own too: nothing is kept on the
 * grounds that it was us who moved it.  What the device has of the pages that
 * ended up in its memory it looks up again (DM_RESIDENT).
 */
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat/mmap_lock.h"
#include "dmirror.h"

/*
 * A page that someone else looks at just then, reclaim for one, can't be moved;
 * a moment later it can.
 */
#define DM_TRIES 10

/* struct migrate_vma's arrays, and how many pages found no room. */
struct moves {
	unsigned long src[DM_CHUNK];
	unsigned long dst[DM_CHUNK];
	unsigned long lacking;
};

static struct page *system_alloc(void)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

	if (page)
		lock_page(page);
	return page;
}

/*
 * Copy each page that can be moved to one of the device's memory, or from there
 * to one of the system's.  Where there is none yet, the device gets an empty
 * one.  How many found no room.
 */
static unsigned long copy_pages(const unsigned long *src, unsigned long *dst,
				unsigned long n, struct dm_memory *memory,
				bool to_device)
{
	struct page *from, *to, *bytes;
	unsigned long i, lacking = 0;

	for (i = 0; i < n; i++) {
		from = migrate_pfn_to_page(src[i]);
		dst[i] = 0;
		if (!(src[i] & MIGRATE_PFN_MIGRATE) || (!from && !to_device))
			continue;
		/* Nothing else moves there, and one can't look into it all. */
		if (from && to_device && !PageAnon(from))
			continue;
		to = to_device ? dm_memory_alloc(memory) : system_alloc();
		if (!to) {
			lacking++;
			continue;
		}
		bytes = dm_memory_bytes(memory, page_to_pfn(to));
		if (from)
			copy_highpage(bytes,
				      dm_memory_bytes(memory,
						      page_to_pfn(from)));
		else
			clear_highpage(bytes);
		dst[i] = migrate_pfn(page_to_pfn(to));
	}
	return lacking;
}

static unsigned long moved(const struct moves *moves, unsigned long n)
{
	unsigned long i, count = 0;

	for (i = 0; i < n; i++)
		count += !!(moves->src[i] & MIGRATE_PFN_MIGRATE);
	return count;
}

/* mmap lock held.  [start, *end), or up to where its vma ends.  How many moved. */
static int migrate_part(struct dmirror *dm, struct moves *moves,
			unsigned long start, unsigned long *end, bool to_device)
{
	struct vm_area_struct *vma = find_vma(dm->mm, start);
	struct dm_memory *memory = dm->device->memory;
	struct migrate_vma args = {
		.vma = vma,
		.src = moves->src,
		.dst = moves->dst,
		.start = start,
		.pgmap_owner = memory,
		.flags = to_device ? MIGRATE_VMA_SELECT_SYSTEM
			 : dm_memory_is_private(memory)
				 ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE
				 : MIGRATE_VMA_SELECT_DEVICE_COHERENT,
	};
	int ret;

	if (!vma || vma->vm_start > start || !(vma->vm_flags & VM_READ))
		return -EINVAL;
	*end = args.end = min(*end, vma->vm_end);
	ret = migrate_vma_setup(&args);
	if (ret)
		return ret;
	moves->lacking += copy_pages(moves->src, moves->dst, args.npages,
				     memory, to_device);
	migrate_vma_pages(&args);
	ret = moved(moves, args.npages);
	migrate_vma_finalize(&args);
	return ret;
}

static int migrate(struct dmirror *dm, struct dmirror_cmd *cmd, bool to_device)
{
	unsigned long addr, stop, end = cmd->addr + (cmd->npages << PAGE_SHIFT);
	struct moves *moves;
	int ret = -EFAULT;

	if (!dm->device->memory)
		return -EOPNOTSUPP;
	moves = kvzalloc(sizeof(*moves), GFP_KERNEL);
	if (!moves)
		return -ENOMEM;
	if (!mmget_not_zero(dm->mm))
		goto out;
	for (addr = cmd->addr; addr < end; addr = stop) {
		stop = min(end, addr + DM_CHUNK * PAGE_SIZE);
		mmap_read_lock(dm->mm);
		ret = migrate_part(dm, moves, addr, &stop, to_device);
		mmap_read_unlock(dm->mm);
		if (ret >= 0)
			cmd->cpages += ret;
		if (ret >= 0 && fatal_signal_pending(current))
			ret = -EINTR;
		if (ret < 0)
			break;
		cond_resched();
	}
	mmput(dm->mm);
	if (ret >= 0)
		ret = moves->lacking ? -ENOMEM : 0;
out:
	kvfree(moves);
	return ret;
}

int dm_migrate_to_device(struct dmirror *dm, struct dmirror_cmd *cmd)
{
	int tries = DM_TRIES, ret;

	do {
		ret = migrate(dm, cmd, true);
		if (ret)
			return ret;
		/* What counts is what is there now, not who has moved it. */
		cmd->cpages = 0;
		ret = dm_access(dm, cmd, DM_RESIDENT);
	} while (ret == -ENOENT && --tries);
	cmd->faults = 0;
	return ret;
}

int dm_migrate_to_system(struct dmirror *dm, struct dmirror_cmd *cmd)
{
	return migrate(dm, cmd, false);
}

/* mmap lock held by the kernel; it has the page locked, with a reference. */
vm_fault_t dm_migrate_to_ram(struct vm_fault *vmf)
{
	struct dm_memory *memory = dm_memory_of(vmf->page);
	unsigned long src = 0, dst = 0, lacking;
	struct migrate_vma args = {
		.vma = vmf->vma,
		.src = &src,
		.dst = &dst,
		.start = vmf->address,
		.end = vmf->address + PAGE_SIZE,
		.pgmap_owner = memory,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};

	if (migrate_vma_setup(&args))
		return VM_FAULT_SIGBUS;
	lacking = copy_pages(&src, &dst, 1, memory, false);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	/* What could not be moved just then the CPU will ask for again. */
	return lacking ? VM_FAULT_OOM : 0;
}

static void evict(struct moves *moves, struct dm_memory *memory,
		  unsigned long pfn, unsigned long n)
{
	migrate_device_range(moves->src, pfn, n);
	copy_pages(moves->src, moves->dst, n, memory, false);
	migrate_device_pages(moves->src, moves->dst, n);
	migrate_device_finalize(moves->src, moves->dst, n);
}

/* Is any of n pages from pfn on in use? */
static bool in_use(unsigned long pfn, unsigned long n)
{
	while (n--)
		if (page_count(pfn_to_page(pfn + n)))
			return true;
	return false;
}

int dm_evict(struct dm_memory *memory)
{
	unsigned long start, i;
	struct moves *moves;
	int tries, ret = -EBUSY;

	if (!memory)
		return -EOPNOTSUPP;
	moves = kvzalloc(sizeof(*moves), GFP_KERNEL);
	if (!moves)
		return -ENOMEM;
	start = dm_memory_start(memory);
	for (tries = DM_TRIES; tries && ret; tries--) {
		for (i = 0; i < DM_MEMORY_PAGES; i += DM_CHUNK) {
			evict(moves, memory, start + i, DM_CHUNK);
			cond_resched();
		}
		ret = in_use(start, DM_MEMORY_PAGES) ? -EBUSY : 0;
		if (ret)
			schedule_timeout_uninterruptible(1);
	}
	kvfree(moves);
	return ret;
}
