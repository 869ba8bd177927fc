/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* port.h - the kernel has every name that the core wants; here they are */
#ifndef HMM_PORT_H
#define HMM_PORT_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "compat/mmap_lock.h"

/* Who asks may be a program of 32 bits, and whom it is about one of 64. */
#undef TASK_SIZE
#define TASK_SIZE TASK_SIZE_MAX

/* The kernel's takes 32 bits; the largest it takes for "as long as it takes". */
static inline unsigned long hmm_port_jiffies(unsigned long ms)
{
	return msecs_to_jiffies((unsigned int)min(ms, (unsigned long)UINT_MAX));
}
#define msecs_to_jiffies hmm_port_jiffies

/* A range may be unregistered under a spinlock, and its pin be the last one. */
#define mmput mmput_async

#endif
