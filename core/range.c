// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * range.c - ranges: register, unregister, wait, arm, valid
 */
#include "range.h"

int hmm_range_insert(struct hmm_range *range, struct mm_struct *mm,
		     unsigned long start, unsigned long end)
{
	unsigned long align;
	struct hmm *hmm;
	int ret = 0;

	if (range->hmm)
		return -EBUSY;
	start &= PAGE_MASK;
	end &= PAGE_MASK;
	if (start >= end || end > TASK_SIZE)
		return -EINVAL;
	if (range->page_shift &&
	    (range->page_shift < PAGE_SHIFT || range->page_shift >= 48))
		return -EINVAL;
	align = 1ul << hmm_range_shift(range);
	if ((start | end) & (align - 1))
		return -EINVAL;

	hmm = hmm_host_find(mm);
	if (IS_ERR(hmm))
		return (int)PTR_ERR(hmm);
	range->node.start = start;
	range->node.end = end;
	hmm_range_invalidate(range);

	spin_lock(&hmm->lock);
	if (hmm->dead) {
		ret = -EFAULT;
	} else {
		hmm_interval_insert(&hmm->ranges, &range->node);
		range->hmm = hmm;
		range->started = hmm->started;
	}
	spin_unlock(&hmm->lock);
	if (ret)
		hmm_host_put(hmm);
	return ret;
}

int hmm_range_register(struct hmm_range *range, struct mm_struct *mm,
		       unsigned long start, unsigned long end)
{
	int ret;

	if (!range || !mm)
		return -EINVAL;
	/* The mm stays in use until unregister: rule 7. */
	if (!mmget_not_zero(mm))
		return -EFAULT;
	ret = hmm_range_insert(range, mm, start, end);
	if (ret)
		mmput(mm);
	return ret;
}

void hmm_range_remove(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;

	spin_lock(&hmm->lock);
	hmm_interval_remove(&hmm->ranges, &range->node);
	hmm_range_invalidate(range);
	range->started = NULL;
	range->hmm = NULL;
	spin_unlock(&hmm->lock);
	hmm_host_put(hmm);
}

void hmm_range_unregister(struct hmm_range *range)
{
	struct mm_struct *mm;

	if (!range || !range->hmm)
		return;
	mm = range->hmm->mm;
	hmm_range_remove(range);
	mmput(mm);
}

/* No overlapping change is in progress, or the mm is dead: no need to wait. */
static bool settled(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;
	bool busy;

	spin_lock(&hmm->lock);
	busy = !hmm->dead &&
	       hmm_changes_overlap(&hmm->changes, range->start, range->end);
	spin_unlock(&hmm->lock);
	/* The change may be one that began after the last barrier did. */
	if (busy)
		hmm_host_settle(hmm);
	return !busy;
}

bool hmm_range_wait_until_valid(struct hmm_range *range, unsigned long timeout)
{
	struct hmm *hmm = range ? range->hmm : NULL;

	if (!hmm)
		return false;
	hmm_host_sync(hmm);
	if (!wait_event_timeout(hmm->wq, settled(range),
				msecs_to_jiffies(timeout)))
		return false;
	return !READ_ONCE(hmm->dead);
}

int hmm_range_arm(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;
	int ret = 0;

	hmm_host_sync(hmm);
	spin_lock(&hmm->lock);
	if (hmm->dead) {
		ret = -EFAULT;
	} else if (hmm_changes_overlap(&hmm->changes, range->start,
				       range->end)) {
		ret = -EBUSY;
	} else {
		/*
		 * What is counted up to here has ended or does not overlap;
		 * whatever starts from here on is counted beyond seq.
		 */
		WRITE_ONCE(range->seq, hmm->consumed);
		/* It has changed since the last walk, or there was none. */
		if (!range->valid)
			range->known = 0;
		range->valid = true;
	}
	spin_unlock(&hmm->lock);
	if (ret == -EBUSY)
		hmm_host_settle(hmm);
	return ret;
}

void hmm_range_disarm(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;

	spin_lock(&hmm->lock);
	hmm_range_invalidate(range);
	spin_unlock(&hmm->lock);
}

bool hmm_range_recheck(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;
	bool ret;

	/*
	 * A change that is counted but can't be marked yet may be ours.  Saying
	 * false then is no verdict on the range, which stays armed.
	 */
	if (!hmm || READ_ONCE(range->seq) == HMM_SEQ_NONE ||
	    !hmm_host_sync(hmm))
		return false;
	spin_lock(&hmm->lock);
	ret = range->valid;
	if (ret)
		WRITE_ONCE(range->seq, hmm->consumed);
	spin_unlock(&hmm->lock);
	return ret;
}
