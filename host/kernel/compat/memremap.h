/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* memremap.h - device memory, whose pages have become folios */
#ifndef HMM_COMPAT_MEMREMAP_H
#define HMM_COMPAT_MEMREMAP_H

#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define hmm_compat_page_free folio_free
#define hmm_compat_page_init(page, pagemap) \
	zone_device_page_init(page, pagemap, 0)
static inline struct page *hmm_compat_freed(struct folio *folio)
{
	return &folio->page;
}
typedef struct folio hmm_compat_freed_t;
#else
#define hmm_compat_page_free page_free
#define hmm_compat_page_init(page, pagemap) zone_device_page_init(page)
static inline struct page *hmm_compat_freed(struct page *page)
{
	return page;
}
typedef struct page hmm_compat_freed_t;
#endif

/*
 * Is the page of this number the owner's private memory?  Not by its struct
 * page: nobody holds a reference to it, and memory can be unplugged.
 */
#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
static inline bool hmm_compat_is_private(unsigned long pfn, const void *owner)
{
	return false;
}
#else
static inline bool hmm_compat_is_private(unsigned long pfn, const void *owner)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	struct dev_pagemap *pagemap = get_dev_pagemap(pfn);
#else
	struct dev_pagemap *pagemap = get_dev_pagemap(pfn, NULL);
#endif
	bool ret = pagemap && pagemap->type == MEMORY_DEVICE_PRIVATE &&
		   pagemap->owner == owner;

	put_dev_pagemap(pagemap);
	return ret;
}
#endif

#endif
