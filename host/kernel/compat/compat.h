/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* compat.h - the one place that asks which kernel this is */
#ifndef HMM_COMPAT_H
#define HMM_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define hmm_compat_vm_flags_clear vm_flags_clear
#else
static inline void hmm_compat_vm_flags_clear(struct vm_area_struct *vma,
					     unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#endif
