/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * port.h - the kernel's names that the core uses, each a scheduling point
 *
 * What a task does between two points happens at once, as seen by the others.
 * So a point stands before everything that another task may see or wait for.
 */
#ifndef HMM_PORT_H
#define HMM_PORT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hooks.h"

#include "hmm.h"
#include "schedule.h"

/* As libhmm's port.h does. */
#include <stdlib.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define TASK_SIZE ((1ul << 47) - PAGE_SIZE)

#define READ_ONCE(x)                                   \
	({                                             \
		sched_point("read " #x, &(x));         \
		*(const volatile __typeof__(x) *)&(x); \
	})
#define WRITE_ONCE(x, v)                               \
	do {                                           \
		sched_point("write " #x, &(x));        \
		*(volatile __typeof__(x) *)&(x) = (v); \
	} while (0)

#define ERR_PTR(err) ((void *)(intptr_t)(err))
#define PTR_ERR(ptr) ((long)(intptr_t)(ptr))
#define IS_ERR(ptr) ((uintptr_t)(ptr) >= (uintptr_t)-4095)

/* ---- Locks --------------------------------------------------------------- */

/* Who holds it, counted from 1; SIM_FREED: it is in memory that was freed. */
typedef struct {
	int holder;
} spinlock_t;

#define SIM_FREED 0x5a5a5a5a

#define spin_lock_init(lock) ((void)((lock)->holder = 0))
#define spin_lock(lock) sim_spin_lock(lock, "lock " #lock)
#define spin_unlock(lock) sim_spin_unlock(lock, "unlock " #lock)
void sim_spin_lock(spinlock_t *lock, const char *what);
void sim_spin_unlock(spinlock_t *lock, const char *what);
bool sim_spin_held(const spinlock_t *lock);

#define lockdep_assert_held(lock) \
	(sim_spin_held(lock) ? (void)0 : sched_fail("%s is not held", #lock))

void mmap_assert_locked(struct mm_struct *mm);
void mmap_assert_write_locked(struct mm_struct *mm);

/* ---- Waiting ------------------------------------------------------------- */

/* Counts wake-ups: who read it before the condition can't miss one. */
typedef struct {
	uint32_t seq;
} wait_queue_head_t;

#define init_waitqueue_head(wq) ((void)((wq)->seq = 0))
void wake_up_all(wait_queue_head_t *wq);
uint32_t sim_wait_begin(wait_queue_head_t *wq);
/* False: the simulated time is over. */
bool sim_wait_sleep(wait_queue_head_t *wq, uint32_t seq, const char *what);

#define msecs_to_jiffies(ms) (ms)
#define wait_event_timeout(wq, condition, timeout)                            \
	({                                                                    \
		bool done_;                                                   \
		(void)(timeout);                                              \
		for (;;) {                                                    \
			uint32_t seq_ = sim_wait_begin(&(wq));                \
			done_ = (condition);                                  \
			if (done_ || !sim_wait_sleep(&(wq), seq_,             \
						     "wait for " #condition)) \
				break;                                        \
		}                                                             \
		done_ ? true : (condition);                                   \
	})

/* ---- The rest ------------------------------------------------------------ */

#define GFP_KERNEL_ACCOUNT 0
#define __GFP_NOWARN 0
#define kvmalloc_array(n, size, gfp) sim_alloc((n) * (size))
#define kvfree(p) sim_free(p)
void *sim_alloc(size_t size);
void sim_free(void *p);

#define current ((void *)(intptr_t)(sched_self() + 1))

bool mmget_not_zero(struct mm_struct *mm);
void mmput(struct mm_struct *mm);

/* What a driver did wrong on purpose is said here. */
#define pr_warn(...) ((void)(0 && printf(__VA_ARGS__)))
#define pr_err pr_warn
#define pr_info pr_warn
#define pr_debug pr_warn

#endif
