// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * memory.c - the device's own memory
 *
 * RAM that the kernel was told at boot to leave alone (memmap=64M$0x40000000)
 * plays the memory of a device that is coherent with the CPU's: processes
 * get pages of it by migration, use them as any other, and the driver is
 * told when the last reference is gone.
 */
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "compat/memremap.h"
#include "dmirror.h"

/*
 * struct dm_memory - owner of its pages, as dev_pagemap means it
 *
 * A page is in the free list, or has references and holds one to the module.
 * Its zone_device_data is the next free page, or whose it is.
 */
struct dm_memory {
	struct dev_pagemap pagemap;
	struct resource *region;
	spinlock_t lock; /* free; a last reference may go in an interrupt */
	struct page *free;
};

static void add_free(struct dm_memory *memory, struct page *page)
{
	unsigned long flags;

	spin_lock_irqsave(&memory->lock, flags);
	page->zone_device_data = memory->free;
	memory->free = page;
	spin_unlock_irqrestore(&memory->lock, flags);
}

static struct page *take_free(struct dm_memory *memory)
{
	unsigned long flags;
	struct page *page;

	spin_lock_irqsave(&memory->lock, flags);
	page = memory->free;
	if (page) {
		memory->free = page->zone_device_data;
		page->zone_device_data = memory;
	}
	spin_unlock_irqrestore(&memory->lock, flags);
	return page;
}

struct page *dm_memory_alloc(struct dm_memory *memory)
{
	struct page *page = take_free(memory);

	if (!page)
		return NULL;
	/* Safe: an open file holds the module. */
	__module_get(THIS_MODULE);
	hmm_compat_page_init(page, &memory->pagemap);
	return page;
}

/* The unload that this allows waits, in memunmap_pages(), until we are out. */
static void page_free(hmm_compat_freed_t *freed)
{
	struct page *page = hmm_compat_freed(freed);

	add_free(page->zone_device_data, page);
	module_put(THIS_MODULE);
}

static const struct dev_pagemap_ops pagemap_ops = {
	.hmm_compat_page_free = page_free,
};

unsigned long dm_memory_start(const struct dm_memory *memory)
{
	return PHYS_PFN(memory->pagemap.range.start);
}

bool dm_memory_has(const struct dm_memory *memory, unsigned long pfn)
{
	return memory && pfn - dm_memory_start(memory) < DM_MEMORY_PAGES;
}

/* Claim hidden RAM: not the kernel's, not a device's, not thin air. */
static struct resource *claim(const char *name, unsigned long long start,
			      size_t size)
{
	struct resource *region = NULL;

	if (start % memremap_compat_align()) {
		pr_err("hmm_dmirror: the memory at %#llx of %s is not aligned "
		       "to %lu MiB\n",
		       start, name, memremap_compat_align() >> 20);
		return ERR_PTR(-EINVAL);
	}
	if (region_intersects(start, size, IORESOURCE_MEM,
			      IORES_DESC_RESERVED) == REGION_INTERSECTS ||
	    region_intersects(start, size, IORESOURCE_MEM,
			      IORES_DESC_SOFT_RESERVED) == REGION_INTERSECTS)
		region = request_mem_region(start, size, name);
	if (region)
		return region;
	pr_err("hmm_dmirror: no hidden memory for %s at %#llx: boot with "
	       "memmap=%zuM$%#llx\n",
	       name, start, size >> 20, start);
	return ERR_PTR(-ENXIO);
}

struct dm_memory *dm_memory_create(const char *name, unsigned long long start)
{
	struct dm_memory *memory = kzalloc(sizeof(*memory), GFP_KERNEL);
	size_t size = DM_MEMORY_PAGES * PAGE_SIZE;
	unsigned long i;
	void *mapped;

	if (!memory)
		return ERR_PTR(-ENOMEM);
	memory->region = claim(name, start, size);
	if (IS_ERR(memory->region)) {
		mapped = memory->region;
		goto out_free;
	}
	spin_lock_init(&memory->lock);
	memory->pagemap.type = MEMORY_DEVICE_COHERENT;
	memory->pagemap.ops = &pagemap_ops;
	memory->pagemap.owner = memory;
	memory->pagemap.nr_range = 1;
	memory->pagemap.range.start = start;
	memory->pagemap.range.end = start + size - 1;
	mapped = memremap_pages(&memory->pagemap, NUMA_NO_NODE);
	if (IS_ERR(mapped))
		goto out_release;
	for (i = DM_MEMORY_PAGES; i--;)
		add_free(memory, pfn_to_page(dm_memory_start(memory) + i));
	return memory;

out_release:
	pr_err("hmm_dmirror: can't map the memory of %s: error %ld\n", name,
	       PTR_ERR(mapped));
	release_mem_region(start, size);
out_free:
	kfree(memory);
	return ERR_CAST(mapped);
}

void dm_memory_destroy(struct dm_memory *memory)
{
	if (!memory)
		return;
	memunmap_pages(&memory->pagemap);
	release_mem_region(memory->pagemap.range.start,
			   DM_MEMORY_PAGES * PAGE_SIZE);
	kfree(memory);
}
