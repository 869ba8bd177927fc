/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* notifier.h - what mmu notifiers are told of huge pages' files */
#ifndef HMM_COMPAT_NOTIFIER_H
#define HMM_COMPAT_NOTIFIER_H

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mmu_notifier.h>
#include <linux/version.h>

/*
 * Until 6.2 a file's huge pages, whoever takes them away, are unmapped with the
 * list of all who map the file locked.  Somebody else may be the one who has
 * locked it: true does not say that it was this change.  (6.3 says no vma.)
 * What could not be mapped is unmapped when it has no file any more.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline bool
hmm_compat_has_file_locks(const struct mmu_notifier_range *range)
{
	struct vm_area_struct *vma = range->vma;

	return vma && vma->vm_file && is_vm_hugetlb_page(vma) &&
	       rwsem_is_locked(&vma->vm_file->f_mapping->i_mmap_rwsem);
}
#else
static inline bool
hmm_compat_has_file_locks(const struct mmu_notifier_range *range)
{
	return false;
}
#endif

#endif
