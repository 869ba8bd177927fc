// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * hmm.c - the life of a struct hmm: changes come, mirrors are told, it ends
 */
#include "range.h"

/*
 * struct hmm_call - a task that runs callbacks, on that task's stack
 *
 * While a call points to a mirror, that mirror stays in the list: unregister
 * waits.  So the list can be walked with the lock dropped around callbacks.
 */
struct hmm_call {
	struct hmm_call *next;
	void *task;
	struct hmm_mirror *mirror;
};

void hmm_init(struct hmm *hmm, struct mm_struct *mm, const uint64_t *started)
{
	*hmm = (struct hmm){ .mm = mm };
	hmm->started = started ? started : &hmm->consumed;
	hmm->consumed = *hmm->started;
	spin_lock_init(&hmm->lock);
	init_waitqueue_head(&hmm->wq);
}

/* ---- Changes ------------------------------------------------------------ */

/*
 * A start only ever takes validity away, an end never gives it back: only a
 * snapshot arms.  This is what makes a stale snapshot impossible however many
 * starts and ends pass between it and hmm_range_valid() (rule 1).
 */
static void disarm(struct hmm *hmm, unsigned long start, unsigned long end)
{
	struct hmm_interval *node;

	lockdep_assert_held(&hmm->lock);
	for (node = hmm_interval_first(&hmm->ranges, start, end); node;
	     node = hmm_interval_next(node, start, end)) {
		hmm_range_invalidate((struct hmm_range *)node);
	}
}

void hmm_invalidate_start(struct hmm *hmm, unsigned long start,
			  unsigned long end)
{
	spin_lock(&hmm->lock);
	hmm_changes_start(&hmm->changes, start, end);
	disarm(hmm, start, end);
	spin_unlock(&hmm->lock);
}

void hmm_invalidate_end(struct hmm *hmm, unsigned long start, unsigned long end)
{
	spin_lock(&hmm->lock);
	hmm_changes_end(&hmm->changes, start, end);
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->wq);
}

void hmm_invalidate_open(struct hmm *hmm, unsigned long start,
			 unsigned long end, uint64_t owner)
{
	spin_lock(&hmm->lock);
	hmm_changes_open(&hmm->changes, start, end, owner);
	disarm(hmm, start, end);
	spin_unlock(&hmm->lock);
	/* Who waits for an end that was lost now has to ask for a barrier. */
	if (start == 0 && end == ~0ul)
		wake_up_all(&hmm->wq);
}

bool hmm_invalidate_close_owner(struct hmm *hmm, uint64_t owner)
{
	bool closed, left;

	spin_lock(&hmm->lock);
	closed = hmm_changes_close_owner(&hmm->changes, owner);
	left = hmm->changes.nr;
	spin_unlock(&hmm->lock);
	if (closed)
		wake_up_all(&hmm->wq);
	return left;
}

uint64_t hmm_barrier_begin(struct hmm *hmm)
{
	uint64_t gen;

	spin_lock(&hmm->lock);
	gen = hmm_changes_mark(&hmm->changes);
	spin_unlock(&hmm->lock);
	return gen;
}

void hmm_barrier_end(struct hmm *hmm, uint64_t gen)
{
	spin_lock(&hmm->lock);
	hmm_changes_close_before(&hmm->changes, gen);
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->wq);
}

void hmm_invalidate_past(struct hmm *hmm, unsigned long start,
			 unsigned long end)
{
	spin_lock(&hmm->lock);
	disarm(hmm, start, end);
	spin_unlock(&hmm->lock);
}

void hmm_advance(struct hmm *hmm, uint64_t consumed)
{
	spin_lock(&hmm->lock);
	WRITE_ONCE(hmm->consumed, consumed);
	spin_unlock(&hmm->lock);
}

/* ---- Mirrors ------------------------------------------------------------ */

static void call_begin(struct hmm *hmm, struct hmm_call *call)
{
	call->task = current;
	call->mirror = NULL;
	call->next = hmm->calls;
	hmm->calls = call;
}

static void call_end(struct hmm *hmm, struct hmm_call *call)
{
	struct hmm_call **link = &hmm->calls;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
}

/* The next mirror that takes calls; the lock keeps it there until it's set. */
static struct hmm_mirror *call_next(struct hmm *hmm, struct hmm_call *call)
{
	struct hmm_mirror *last = call->mirror;
	struct hmm_mirror *mirror = last ? last->next : hmm->mirrors;

	while (mirror && mirror->leaving)
		mirror = mirror->next;
	call->mirror = mirror;
	/* Who unregisters it need not wait for the rest of this call. */
	if (last && last->leaving)
		wake_up_all(&hmm->wq);
	return mirror;
}

bool hmm_has_mirrors(struct hmm *hmm)
{
	bool ret;

	spin_lock(&hmm->lock);
	ret = hmm->mirrors;
	spin_unlock(&hmm->lock);
	return ret;
}

bool hmm_wants_records(struct hmm *hmm)
{
	bool ret;

	spin_lock(&hmm->lock);
	ret = hmm->mirrors || hmm_changes_told(&hmm->changes);
	spin_unlock(&hmm->lock);
	return ret;
}

int hmm_mirrors_sync(struct hmm *hmm, const struct hmm_update *update)
{
	struct hmm_mirror *mirror;
	struct hmm_call call;
	int ret, first = 0;

	spin_lock(&hmm->lock);
	if (!hmm->mirrors) {
		spin_unlock(&hmm->lock);
		return 0;
	}
	call_begin(hmm, &call);
	while ((mirror = call_next(hmm, &call))) {
		spin_unlock(&hmm->lock);
		ret = mirror->ops->sync_cpu_device_pagetables(mirror, update);
		if (ret && (update->blockable || ret != -EAGAIN))
			pr_warn("hmm: a mirror's callback returned %d, which "
				"only a driver's bug does\n",
				ret);
		if (!first)
			first = ret;
		spin_lock(&hmm->lock);
		if (ret && !update->blockable)
			break;
	}
	call_end(hmm, &call);
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->wq);
	return first;
}

bool hmm_in_callback(struct hmm *hmm)
{
	struct hmm_call *call;
	bool ret = false;

	spin_lock(&hmm->lock);
	for (call = hmm->calls; call && !ret; call = call->next)
		ret = call->task == current;
	spin_unlock(&hmm->lock);
	return ret;
}

/* No call is at this mirror; NULL: there are no calls at all. */
static bool idle(struct hmm *hmm, const struct hmm_mirror *mirror)
{
	struct hmm_call *call;
	bool ret = true;

	spin_lock(&hmm->lock);
	for (call = hmm->calls; call && ret; call = call->next)
		ret = mirror && call->mirror != mirror;
	spin_unlock(&hmm->lock);
	return ret;
}

bool hmm_wait_callbacks(struct hmm *hmm, unsigned long ms)
{
	return wait_event_timeout(hmm->wq, idle(hmm, NULL),
				  msecs_to_jiffies(ms));
}

int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	struct hmm *hmm;
	int ret = 0;

	if (!mirror || !mm || !mirror->ops ||
	    !mirror->ops->sync_cpu_device_pagetables)
		return -EINVAL;
	if (mirror->hmm)
		return -EBUSY;
	mmap_assert_write_locked(mm);
	hmm = hmm_host_get(mm);
	if (IS_ERR(hmm))
		return (int)PTR_ERR(hmm);

	spin_lock(&hmm->lock);
	if (hmm->dead) {
		ret = -EFAULT;
	} else {
		mirror->hmm = hmm;
		mirror->leaving = false;
		mirror->released = false;
		mirror->next = hmm->mirrors;
		hmm->mirrors = mirror;
	}
	spin_unlock(&hmm->lock);
	if (ret)
		hmm_host_put(hmm);
	else
		hmm_host_mirrors(hmm);
	return ret;
}

int hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	struct hmm *hmm = mirror ? mirror->hmm : NULL;
	struct hmm_mirror **link;
	bool leaving;

	if (!hmm)
		return 0;
	if (hmm_in_callback(hmm))
		return -EDEADLK;

	/* It has one pin, which is for the one who takes it out. */
	spin_lock(&hmm->lock);
	leaving = mirror->leaving;
	mirror->leaving = true;
	spin_unlock(&hmm->lock);
	if (leaving)
		return -EBUSY;

	if (!wait_event_timeout(hmm->wq, idle(hmm, mirror),
				msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT))) {
		spin_lock(&hmm->lock);
		mirror->leaving = false;
		spin_unlock(&hmm->lock);
		return -ETIMEDOUT;
	}

	spin_lock(&hmm->lock);
	link = &hmm->mirrors;
	while (*link && *link != mirror)
		link = &(*link)->next;
	if (*link)
		*link = mirror->next;
	spin_unlock(&hmm->lock);
	mirror->hmm = NULL;
	hmm_host_put(hmm);
	return 0;
}

/* ---- The end ------------------------------------------------------------ */

void hmm_kill(struct hmm *hmm)
{
	spin_lock(&hmm->lock);
	/* Dead wins, for ever: arming looks at it under the same lock. */
	WRITE_ONCE(hmm->dead, true);
	disarm(hmm, 0, ~0ul);
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->wq);
}

void hmm_release(struct hmm *hmm)
{
	struct hmm_mirror *mirror;
	struct hmm_call call;

	hmm_kill(hmm);
	spin_lock(&hmm->lock);
	call_begin(hmm, &call);
	while ((mirror = call_next(hmm, &call))) {
		if (mirror->released || !mirror->ops->release)
			continue;
		mirror->released = true;
		spin_unlock(&hmm->lock);
		mirror->ops->release(mirror);
		spin_lock(&hmm->lock);
	}
	call_end(hmm, &call);
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->wq);
}
