/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* mmap_lock.h - the mmap lock's assertions, for kernels with DEBUG_VM */
#ifndef HMM_COMPAT_MMAP_LOCK_H
#define HMM_COMPAT_MMAP_LOCK_H

#include <linux/lockdep.h>
#include <linux/mmap_lock.h>
#include <linux/mmdebug.h>

/* Until 6.10 they print the whole mm, by a function that modules don't get. */
#ifdef CONFIG_DEBUG_VM
#define mmap_assert_locked(mm)                                 \
	do {                                                   \
		lockdep_assert_held(&(mm)->mmap_lock);         \
		VM_BUG_ON(!rwsem_is_locked(&(mm)->mmap_lock)); \
	} while (0)
#define mmap_assert_write_locked(mm)                           \
	do {                                                   \
		lockdep_assert_held_write(&(mm)->mmap_lock);   \
		VM_BUG_ON(!rwsem_is_locked(&(mm)->mmap_lock)); \
	} while (0)
#endif

#endif
