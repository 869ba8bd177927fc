// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * memory.c - the device's own memory
 *
 * Processes get pages of it by migration, and the driver is told when the last
 * reference is gone.  There are two kinds.
 *
 * Coherent: RAM that the kernel was told at boot to leave alone
 * (memmap=64M$0x40000000).  Processes use its pages as any other.
 *
 * Private: the CPU can't reach it, so the kernel moves a page back when the CPU
 * wants it.  Physical addresses that nothing answers to, and struct pages, are
 * all there is of it; what the device would keep in memory of its own is in a
 * page of the system's for each page in use.
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
	struct page **bytes; /* of private memory, those of pages in use */
	spinlock_t lock;     /* free; a last reference may go in an interrupt */
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

static struct page **bytes_of(const struct dm_memory *memory,
			      const struct page *page)
{
	return &memory->bytes[page_to_pfn(page) - dm_memory_start(memory)];
}

struct page *dm_memory_alloc(struct dm_memory *memory)
{
	struct page *bytes = NULL, *page;

	/* Not charged: the page that comes here brings the charge along. */
	if (dm_memory_is_private(memory)) {
		bytes = alloc_page(GFP_HIGHUSER | __GFP_NOWARN);
		if (!bytes)
			return NULL;
	}
	page = take_free(memory);
	if (!page) {
		if (bytes)
			__free_page(bytes);
		return NULL;
	}
	if (bytes)
		*bytes_of(memory, page) = bytes;
	/* Safe: an open file holds the module. */
	__module_get(THIS_MODULE);
	hmm_compat_page_init(page, &memory->pagemap);
	return page;
}

/* The unload that this allows waits, in memunmap_pages(), until we are out. */
static void page_free(hmm_compat_freed_t *freed)
{
	struct page *page = hmm_compat_freed(freed);
	struct dm_memory *memory = dm_memory_of(page);

	if (dm_memory_is_private(memory))
		__free_page(*bytes_of(memory, page));
	add_free(memory, page);
	module_put(THIS_MODULE);
}

static const struct dev_pagemap_ops pagemap_ops = {
	.hmm_compat_page_free = page_free,
	.migrate_to_ram = dm_migrate_to_ram,
};

unsigned long dm_memory_start(const struct dm_memory *memory)
{
	return PHYS_PFN(memory->pagemap.range.start);
}

bool dm_memory_has(const struct dm_memory *memory, unsigned long pfn)
{
	return memory && pfn - dm_memory_start(memory) < DM_MEMORY_PAGES;
}

bool dm_memory_is_private(const struct dm_memory *memory)
{
	return memory->pagemap.type == MEMORY_DEVICE_PRIVATE;
}

struct dm_memory *dm_memory_of(const struct page *page)
{
	return page->zone_device_data;
}

struct page *dm_memory_bytes(const struct dm_memory *memory, unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	if (dm_memory_has(memory, pfn) && dm_memory_is_private(memory))
		return *bytes_of(memory, page);
	return page;
}

/* Claim addresses that nothing answers to. */
static struct resource *claim_nothing(const char *name, size_t size)
{
	struct resource *region;

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		return ERR_PTR(-EOPNOTSUPP);
	region = request_free_mem_region(&iomem_resource, size, name);
	if (IS_ERR(region))
		pr_warn("hmm_dmirror: no addresses for private memory of %s: "
			"error %ld\n",
			name, PTR_ERR(region));
	return region;
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

/* It may be larger than what was asked for. */
static void release(struct resource *region)
{
	release_mem_region(region->start, resource_size(region));
}

static int fill(struct dm_memory *memory)
{
	unsigned long i;
	void *mapped;

	if (dm_memory_is_private(memory)) {
		memory->bytes = kvcalloc(DM_MEMORY_PAGES,
					 sizeof(*memory->bytes), GFP_KERNEL);
		if (!memory->bytes)
			return -ENOMEM;
	}
	mapped = memremap_pages(&memory->pagemap, NUMA_NO_NODE);
	if (IS_ERR(mapped)) {
		kvfree(memory->bytes);
		return PTR_ERR(mapped);
	}
	for (i = DM_MEMORY_PAGES; i--;)
		add_free(memory, pfn_to_page(dm_memory_start(memory) + i));
	return 0;
}

struct dm_memory *dm_memory_create(const char *name, unsigned long long start)
{
	struct dm_memory *memory = kzalloc(sizeof(*memory), GFP_KERNEL);
	size_t size = DM_MEMORY_PAGES * PAGE_SIZE;
	struct resource *region;
	int ret;

	if (!memory)
		return ERR_PTR(-ENOMEM);
	region = start ? claim(name, start, size) : claim_nothing(name, size);
	ret = PTR_ERR_OR_ZERO(region);
	if (ret)
		goto out_free;
	spin_lock_init(&memory->lock);
	memory->pagemap.type =
		start ? MEMORY_DEVICE_COHERENT : MEMORY_DEVICE_PRIVATE;
	memory->pagemap.ops = &pagemap_ops;
	memory->pagemap.owner = memory;
	memory->pagemap.nr_range = 1;
	memory->pagemap.range.start = region->start;
	memory->pagemap.range.end = region->start + size - 1;
	memory->region = region;
	ret = fill(memory);
	if (ret)
		goto out_release;
	return memory;

out_release:
	pr_err("hmm_dmirror: can't map the memory of %s: error %d\n", name,
	       ret);
	release(region);
out_free:
	kfree(memory);
	return ERR_PTR(ret);
}

void dm_memory_destroy(struct dm_memory *memory)
{
	if (!memory)
		return;
	memunmap_pages(&memory->pagemap);
	release(memory->region);
	kvfree(memory->bytes);
	kfree(memory);
}
