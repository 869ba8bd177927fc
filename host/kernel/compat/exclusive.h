/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* exclusive.h - have a page to oneself, where the kernel exports a way to it */
#ifndef HMM_COMPAT_EXCLUSIVE_H
#define HMM_COMPAT_EXCLUSIVE_H

#include <linux/err.h>
#include <linux/rmap.h>
#include <linux/version.h>

/* mmap lock held.  The page, locked and with a reference; ERR_PTR(). */
#if IS_ENABLED(CONFIG_DEVICE_PRIVATE) && \
	LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
static inline struct page *
hmm_compat_make_exclusive(struct mm_struct *mm, unsigned long addr, void *owner)
{
	struct folio *folio;

	return make_device_exclusive(mm, addr, owner, &folio);
}
#else
static inline struct page *
hmm_compat_make_exclusive(struct mm_struct *mm, unsigned long addr, void *owner)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

#endif
