/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* port.h - the kernel's names that the core uses, on pthreads and futexes */
#ifndef HMM_PORT_H
#define HMM_PORT_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "hmm.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
/* The user's half with four levels; five are given only to who asks for it. */
#define TASK_SIZE ((1ul << 47) - PAGE_SIZE)

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

#define ERR_PTR(err) ((void *)(intptr_t)(err))
#define PTR_ERR(ptr) ((long)(intptr_t)(ptr))
#define IS_ERR(ptr) ((uintptr_t)(ptr) >= (uintptr_t)-4095)

/* ---- Locks -------------------------------------------------------------- */

/* A mutex: with fewer CPUs than threads, spinning waits for the preempted. */
typedef struct {
	pthread_mutex_t mutex;
#ifdef HMM_DEBUG
	pthread_t owner;
	bool held;
#endif
} spinlock_t;

static inline void spin_lock_init(spinlock_t *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
}

static inline void spin_lock(spinlock_t *lock)
{
	pthread_mutex_lock(&lock->mutex);
#ifdef HMM_DEBUG
	lock->owner = pthread_self();
	lock->held = true;
#endif
}

static inline void spin_unlock(spinlock_t *lock)
{
#ifdef HMM_DEBUG
	lock->held = false;
#endif
	pthread_mutex_unlock(&lock->mutex);
}

#ifdef HMM_DEBUG
#define lockdep_assert_held(lock)                                     \
	((lock)->held && pthread_equal((lock)->owner, pthread_self()) \
		 ? (void)0                                            \
		 : abort())
void mmap_assert_locked(struct mm_struct *mm);
void mmap_assert_write_locked(struct mm_struct *mm);
#else
#define lockdep_assert_held(lock) ((void)(lock))
#define mmap_assert_locked(mm) ((void)(mm))
#define mmap_assert_write_locked(mm) ((void)(mm))
#endif

/* ---- Waiting ------------------------------------------------------------ */

/*
 * seq counts wake-ups, waiters those who sleep or are about to.  A waiter
 * reads seq, then the condition, then sleeps only if seq is still the same.
 */
typedef struct {
	uint32_t seq;
	uint32_t waiters;
} wait_queue_head_t;

static inline void init_waitqueue_head(wait_queue_head_t *wq)
{
	*wq = (wait_queue_head_t){ 0, 0 };
}

void wake_up_all(wait_queue_head_t *wq);
uint32_t hmm_wait_begin(wait_queue_head_t *wq);
void hmm_wait_end(wait_queue_head_t *wq);
/* Sleep unless woken since seq.  False once deadline (ms) has passed. */
bool hmm_wait_sleep(wait_queue_head_t *wq, uint32_t seq, uint64_t deadline);
uint64_t hmm_now_ms(void);

/* When that time is up; of one that is too long, never. */
static inline uint64_t hmm_deadline(unsigned long ms)
{
	uint64_t now = hmm_now_ms();

	return ms < ~0ull - now ? now + ms : ~0ull;
}

#define msecs_to_jiffies(ms) (ms)

/* Like the kernel's: true if the condition is, also when time is up. */
#define wait_event_timeout(wq, condition, timeout)                  \
	({                                                          \
		uint64_t deadline_ = hmm_deadline(timeout);         \
		bool done_, more_ = true;                           \
		for (;;) {                                          \
			uint32_t seq_ = hmm_wait_begin(&(wq));      \
			done_ = (condition);                        \
			if (!done_ && more_)                        \
				more_ = hmm_wait_sleep(&(wq), seq_, \
						       deadline_);  \
			else                                        \
				more_ = false;                      \
			hmm_wait_end(&(wq));                        \
			if (done_ || !more_)                        \
				break;                              \
		}                                                   \
		done_ ? true : (condition);                         \
	})

/* ---- The rest ----------------------------------------------------------- */

#define GFP_KERNEL_ACCOUNT 0
#define __GFP_NOWARN 0
/* No overflow: there are fewer pages in an address space than 2^36. */
#define kvmalloc_array(n, size, gfp) malloc((n) * (size))
#define kvfree(p) free(p)

#define current ((void *)pthread_self())

bool mmget_not_zero(struct mm_struct *mm);
void mmput(struct mm_struct *mm);

void hmm_log(enum hmm_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#define pr_err(...) hmm_log(HMM_LOG_ERR, __VA_ARGS__)
#define pr_warn(...) hmm_log(HMM_LOG_WARN, __VA_ARGS__)
#define pr_info(...) hmm_log(HMM_LOG_INFO, __VA_ARGS__)
#define pr_debug(...) hmm_log(HMM_LOG_DEBUG, __VA_ARGS__)

#endif
