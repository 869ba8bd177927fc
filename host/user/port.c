// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * port.c - waiting, in the kernel's terms, on a futex
 */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

uint64_t hmm_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t hmm_wait_begin(wait_queue_head_t *wq)
{
	/*
	 * Sequentially consistent with wake_up_all(): either that sees this
	 * waiter, or the waiter sees its new seq, and with it the condition.
	 */
	__atomic_fetch_add(&wq->waiters, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&wq->seq, __ATOMIC_SEQ_CST);
}

void hmm_wait_end(wait_queue_head_t *wq)
{
	__atomic_fetch_sub(&wq->waiters, 1, __ATOMIC_RELAXED);
}

bool hmm_wait_sleep(wait_queue_head_t *wq, uint32_t seq, uint64_t deadline)
{
	uint64_t now = hmm_now_ms(), left;
	struct timespec timeout;

	if (now >= deadline)
		return false;
	left = deadline - now;
	timeout.tv_sec = (time_t)(left / 1000);
	timeout.tv_nsec = (long)(left % 1000) * 1000000;
	/* Woken, too late, interrupted or timed out: the caller looks again. */
	syscall(SYS_futex, &wq->seq, FUTEX_WAIT_PRIVATE, seq, &timeout, NULL,
		0);
	return true;
}

void wake_up_all(wait_queue_head_t *wq)
{
	/* Pairs with hmm_wait_begin(). */
	__atomic_fetch_add(&wq->seq, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&wq->waiters, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &wq->seq, FUTEX_WAKE_PRIVATE, INT_MAX, NULL,
			NULL, 0);
}
