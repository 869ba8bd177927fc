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

#endif
