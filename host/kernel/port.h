/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* port.h - the kernel has every name that the core wants; here they are */
#ifndef HMM_PORT_H
#define HMM_PORT_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
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

/* A range may be unregistered under a spinlock, and its pin be the last one. */
#define mmput mmput_async

#endif
