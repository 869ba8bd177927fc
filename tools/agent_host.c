/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* agent_host.c - what every agent needs, inside a program or outside of it */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define MAX_ATTEMPTS 100

uint64_t agent_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t agent_cost(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void agent_futex_wait(uint32_t *word, uint32_t value, unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &ts, NULL, 0);
}

void agent_futex_set(uint32_t *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

bool agent_stopping(struct agent *a)
{
	return __atomic_load_n(&a->stop, __ATOMIC_ACQUIRE);
}

void agent_sleep(struct agent *a, unsigned int ms)
{
	agent_futex_wait(&a->stop, 0, ms);
}

bool agent_again(struct agent *a, int ret)
{
	if (ret != -EAGAIN || agent_stopping(a) ||
	    a->attempts++ == MAX_ATTEMPTS)
		return false;
	agent_sleep(a, 2);
	return true;
}

const char *agent_proc(const struct agent *a, const char *file, char *path,
		       size_t size)
{
	if (a->pid)
		snprintf(path, size, "/proc/%d/%s", (int)a->pid, file);
	else
		snprintf(path, size, "/proc/self/%s", file);
	return path;
}

void agent_set_state(struct agent *a, enum session_state state)
{
	__atomic_store_n(&a->slot->state, state, __ATOMIC_RELEASE);
}

void agent_publish_mm(struct agent *a)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	struct session_slot *slot = a->slot;

	if (hmm_mm_query(a->mm, &info))
		return;
	if (info.dead) {
		agent_futex_set(&a->stop);
		return;
	}
	memcpy(slot->changes, info.changes, sizeof(slot->changes));
	slot->barriers = info.barriers;
	slot->end_ns = agent_now();
}

void agent_describe_mm(struct agent *a)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	struct session_slot *slot = a->slot;

	hmm_mm_query(a->mm, &info);
	snprintf(slot->source, sizeof(slot->source), "%s", info.source);
	snprintf(slot->mechanism, sizeof(slot->mechanism), "%s",
		 info.mechanism);
	snprintf(slot->misses, sizeof(slot->misses), "%s", info.misses);
	slot->level = info.level;
	slot->pfns_virtual = info.pfns_virtual;
}

void agent_ready(struct agent *a)
{
	a->slot->reason[0] = '\0';
	agent_set_state(a, SESSION_LIVE);
	if (a->ready)
		a->ready(a);
}

int agent_run(struct agent *a)
{
	int ret;

	ret = a->header->watch ? agent_run_watch(a) : agent_run_device(a);
	if (!ret)
		agent_publish_mm(a);
	return ret;
}
