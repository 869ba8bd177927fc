/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * agent_watch.c - report every change, with how long it took to become stable
 *
 * The mirror's callback may not wait, so it hands changes on to the agent's
 * thread.  That registers a range over each and waits until it is valid, which
 * is at the same time what a driver would have to wait for.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "agent.h"

#define QUEUE 4096u
#define PAUSE_MS 5
#define PAGE_BYTES 4096ul
#define CHUNK_PAGES 16384ul
#define USER_END ((1ul << 47) - 4096)

struct change {
	unsigned long start, end;
	uint64_t time;
	enum hmm_change_kind kind;
};

struct range {
	unsigned long start, end;
};

struct watch {
	struct hmm_mirror mirror;
	struct agent *agent;
	struct agent_vmas vmas;

	/* Written by the library's watcher thread, read by the agent's. */
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct change queue[QUEUE];
	uint64_t head, tail;
	bool released; /* its memory is gone, and nothing more will come */

	/* The end, as is_over() has it: of what was changed, and of the queue. */
	bool ends, told;
	uint64_t last_started, last_head;

	/* For a source that sees only memory of which a snapshot was taken. */
	bool cover;
	struct range *covered;
	unsigned int nr_covered;
	uint64_t pfns[CHUNK_PAGES];
};

static int on_change(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct watch *watch = (struct watch *)mirror;

	if (!agent_vmas_near(watch->agent, update->start, update->end)) {
		watch->agent->slot->foreign++;
		return 0;
	}
	pthread_mutex_lock(&watch->lock);
	if (watch->head - watch->tail < QUEUE) {
		watch->queue[watch->head++ % QUEUE] = (struct change){
			.start = update->start,
			.end = update->end,
			.time = agent_now(),
			.kind = update->kind,
		};
		pthread_cond_signal(&watch->filled);
	} else {
		__atomic_fetch_add(&watch->agent->slot->dropped, 1,
				   __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&watch->lock);
	return 0;
}

static void on_release(struct hmm_mirror *mirror)
{
	struct watch *watch = (struct watch *)mirror;

	pthread_mutex_lock(&watch->lock);
	watch->released = true;
	pthread_cond_signal(&watch->filled);
	pthread_mutex_unlock(&watch->lock);
}

static const struct hmm_mirror_ops watch_ops = {
	.release = on_release,
	.sync_cpu_device_pagetables = on_change,
};

/* False if none came within PAUSE_MS. */
static bool next_change(struct watch *watch, struct change *change)
{
	struct timespec until;
	bool found;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += PAUSE_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&watch->lock);
	while (watch->head == watch->tail)
		if (pthread_cond_timedwait(&watch->filled, &watch->lock,
					   &until))
			break;
	found = watch->head != watch->tail;
	if (found)
		*change = watch->queue[watch->tail++ % QUEUE];
	pthread_mutex_unlock(&watch->lock);
	return found;
}

static void report(struct watch *watch, const struct change *change)
{
	struct session_event event = {
		.type = SESSION_CHANGE,
		.kind = change->kind,
		.time = change->time,
		.start = change->start,
		.end = change->end,
	};
	struct hmm_range range = { 0 };
	unsigned long end = change->end < USER_END ? change->end : USER_END;

	if (!hmm_range_register(&range, watch->agent->mm, change->start, end)) {
		if (hmm_range_wait_until_valid(&range,
					       HMM_RANGE_DEFAULT_TIMEOUT))
			event.ns = agent_now() - change->time;
		hmm_range_unregister(&range);
	}
	agent_event(watch->agent, &event);
}

/* What was mapped there is gone: another vma may be there, not covered. */
static void uncover(struct watch *watch, const struct change *change)
{
	struct range *range = watch->covered;
	unsigned int i;

	for (i = 0; i < watch->nr_covered; i++, range++)
		if (range->start < change->end && change->start < range->end)
			range->end = range->start;
}

static void take_snapshots(struct watch *watch, const struct agent_vma *vma)
{
	static const uint64_t flags[HMM_PFN_FLAG_MAX] = { 1, 2, 4 };
	static const uint64_t values[HMM_PFN_VALUE_MAX] = { 8, 0, 16 };
	struct mm_struct *mm = watch->agent->mm;
	unsigned long start, end;

	for (start = vma->start; start < vma->end; start = end) {
		struct hmm_range range = {
			.pfns = watch->pfns,
			.flags = flags,
			.values = values,
			.pfn_shift = 5,
		};

		end = start + CHUNK_PAGES * PAGE_BYTES;
		if (end > vma->end)
			end = vma->end;
		if (hmm_range_register(&range, mm, start, end))
			continue;
		mmap_read_lock(mm);
		hmm_range_snapshot(&range);
		mmap_read_unlock(mm);
		hmm_range_unregister(&range);
	}
}

/* Take snapshots of the vmas that are new; both lists go by address. */
static void cover(struct watch *watch)
{
	struct range *now = calloc(watch->vmas.nr, sizeof(*now));
	const struct range *old = watch->covered;
	const struct range *old_end = old + watch->nr_covered;
	unsigned int nr = 0, i;

	for (i = 0; now && i < watch->vmas.nr; i++) {
		const struct agent_vma *vma = &watch->vmas.vma[i];

		if (vma->ours || !vma->readable)
			continue;
		while (old < old_end && old->start < vma->start)
			old++;
		if (old == old_end || old->start != vma->start ||
		    old->end != vma->end)
			take_snapshots(watch, vma);
		now[nr++] = (struct range){ vma->start, vma->end };
	}
	free(watch->covered);
	watch->covered = now;
	watch->nr_covered = nr;
}

/*
 * The agent is to stop: has everything been reported that changed before?  The
 * callbacks may be far behind, on a machine that has a lot else to do; and who
 * changes memory all the time is not waited for.
 */
static bool is_over(struct watch *watch)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	if (!agent_stopping(watch->agent))
		return false;
	hmm_mm_query(watch->agent->mm, &info);
	if (!watch->ends)
		watch->last_started = info.started;
	watch->ends = true;
	pthread_mutex_lock(&watch->lock);
	if (!watch->told) {
		watch->told = info.dead ? watch->released
					: info.told >= watch->last_started;
		watch->last_head = watch->head;
	}
	pthread_mutex_unlock(&watch->lock);
	return watch->told && watch->tail >= watch->last_head;
}

static int watch_until_end(struct watch *watch)
{
	struct agent *agent = watch->agent;
	struct change change;
	uint64_t due;
	int ret;

	mmap_write_lock(agent->mm);
	ret = hmm_mirror_register(&watch->mirror, agent->mm);
	mmap_write_unlock(agent->mm);
	if (ret)
		return ret;
	agent_vmas_refresh(agent, &watch->vmas);
	if (watch->cover)
		cover(watch);
	agent_ready(agent);
	while (!is_over(watch)) {
		due = watch->vmas.due;
		agent_vmas_refresh(agent, &watch->vmas);
		if (watch->cover && watch->vmas.due != due)
			cover(watch);
		agent_publish_mm(agent);
		if (next_change(watch, &change)) {
			if (watch->cover)
				uncover(watch, &change);
			report(watch, &change);
		}
	}
	return hmm_mirror_unregister(&watch->mirror);
}

int agent_run_watch(struct agent *agent)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	int ret;

	if (!watch)
		return -ENOMEM;
	watch->mirror.ops = &watch_ops;
	watch->agent = agent;
	watch->cover = agent->slot->level < 2;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->filled, NULL);
	ret = watch_until_end(watch);
	/* The mirror is still registered if a callback did not return. */
	if (ret == -ETIMEDOUT)
		return ret;
	pthread_cond_destroy(&watch->filled);
	pthread_mutex_destroy(&watch->lock);
	free(watch->vmas.vma);
	free(watch->covered);
	free(watch);
	return ret;
}
