// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * seed_model.c - the algorithm of "Improve HMM driver API v2" as it was posted
 *
 * Linked in place of core/, to show that the explorer finds what is known to be
 * wrong with it.  It keeps the state of the original in the fields that our
 * struct hmm has: changes.nr counts the active notifiers, ranges.root is a
 * list through node.right, and hmm->lock stands for the mutex.
 */
#include "sim.h"

static struct hmm_range *first_range(struct hmm *hmm)
{
	return (struct hmm_range *)hmm->ranges.root;
}

static struct hmm_range *next_range(struct hmm_range *range)
{
	return (struct hmm_range *)range->node.right;
}

/* The inline hmm_range_valid() looks at seq, and at a count that stands still. */
static void set_valid(struct hmm_range *range, bool valid)
{
	range->valid = valid;
	WRITE_ONCE(range->seq, valid ? 0 : HMM_SEQ_NONE);
}

void hmm_init(struct hmm *hmm, struct mm_struct *mm, const uint64_t *started)
{
	(void)started;
	*hmm = (struct hmm){ .mm = mm };
}

/* ---- Notifiers ----------------------------------------------------------- */

void hmm_invalidate_start(struct hmm *hmm, unsigned long start,
			  unsigned long end)
{
	struct hmm_range *range;

	spin_lock(&hmm->lock);
	hmm->changes.nr++;
	for (range = first_range(hmm); range; range = next_range(range)) {
		if (end < range->start || start >= range->end)
			continue;
		set_valid(range, false);
	}
	spin_unlock(&hmm->lock);
}

int hmm_mirrors_sync(struct hmm *hmm, const struct hmm_update *update)
{
	struct hmm_mirror *mirror;

	(void)hmm;
	sim_down(&world.mirrors_sem, false, "down_read(mirrors_sem)");
	for (mirror = hmm->mirrors; mirror; mirror = mirror->next) {
		int ret;

		ret = mirror->ops->sync_cpu_device_pagetables(mirror, update);
		if (!update->blockable && ret == -EAGAIN) {
			sim_up(&world.mirrors_sem, false);
			return -EAGAIN;
		}
	}
	sim_up(&world.mirrors_sem, false);
	return 0;
}

/* The kernel tells no end to a notifier that refused the start. */
void native_refused(struct hmm *hmm, unsigned long start, unsigned long end)
{
	(void)hmm;
	(void)start;
	(void)end;
}

void hmm_invalidate_end(struct hmm *hmm, unsigned long start, unsigned long end)
{
	struct hmm_range *range;

	(void)start;
	(void)end;
	spin_lock(&hmm->lock);
	if (!--hmm->changes.nr) {
		for (range = first_range(hmm); range; range = next_range(range))
			set_valid(range, true);
		wake_up_all(&hmm->wq);
	}
	spin_unlock(&hmm->lock);
}

void hmm_kill(struct hmm *hmm)
{
	struct hmm_range *range;

	WRITE_ONCE(hmm->dead, true);
	spin_lock(&hmm->lock);
	for (range = first_range(hmm); range; range = next_range(range))
		set_valid(range, false);
	wake_up_all(&hmm->wq);
	spin_unlock(&hmm->lock);
}

void hmm_release(struct hmm *hmm)
{
	struct hmm_mirror *mirror;

	hmm_kill(hmm);
	sim_down(&world.mirrors_sem, true, "down_write(mirrors_sem)");
	while ((mirror = hmm->mirrors)) {
		hmm->mirrors = mirror->next;
		sim_up(&world.mirrors_sem, true);
		mirror->ops->release(mirror);
		sim_down(&world.mirrors_sem, true, "down_write(mirrors_sem)");
	}
	sim_up(&world.mirrors_sem, true);
}

/* ---- Mirrors ------------------------------------------------------------- */

int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	struct hmm *hmm = hmm_host_get(mm);

	if (IS_ERR(hmm))
		return (int)PTR_ERR(hmm);
	mirror->hmm = hmm;
	sim_down(&world.mirrors_sem, true, "down_write(mirrors_sem)");
	mirror->next = hmm->mirrors;
	hmm->mirrors = mirror;
	sim_up(&world.mirrors_sem, true);
	return 0;
}

int hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	struct hmm *hmm = mirror->hmm;
	struct hmm_mirror **link;

	if (!hmm)
		return 0;
	sim_down(&world.mirrors_sem, true, "down_write(mirrors_sem)");
	for (link = &hmm->mirrors; *link; link = &(*link)->next) {
		if (*link == mirror) {
			*link = mirror->next;
			break;
		}
	}
	mirror->hmm = NULL;
	sim_up(&world.mirrors_sem, true);
	hmm_host_put(hmm);
	return 0;
}

/* ---- Ranges -------------------------------------------------------------- */

static const uint64_t never_counts;

int hmm_range_register(struct hmm_range *range, struct mm_struct *mm,
		       unsigned long start, unsigned long end)
{
	struct hmm *hmm = hmm_host_get(mm);

	if (IS_ERR(hmm))
		return -EFAULT;
	range->start = start;
	range->end = end;
	range->started = &never_counts;
	set_valid(range, false);
	if (READ_ONCE(hmm->dead)) {
		hmm_host_put(hmm);
		return -EFAULT;
	}
	range->hmm = hmm;
	spin_lock(&hmm->lock);
	range->node.right = hmm->ranges.root;
	hmm->ranges.root = &range->node;
	if (!hmm->changes.nr)
		set_valid(range, true);
	spin_unlock(&hmm->lock);
	return 0;
}

void hmm_range_unregister(struct hmm_range *range)
{
	struct hmm *hmm = range->hmm;
	struct hmm_interval **link;

	spin_lock(&hmm->lock);
	for (link = &hmm->ranges.root; *link; link = &(*link)->right) {
		if (*link == &range->node) {
			*link = range->node.right;
			break;
		}
	}
	spin_unlock(&hmm->lock);
	set_valid(range, false);
	range->hmm = NULL;
	hmm_host_put(hmm);
}

bool hmm_range_wait_until_valid(struct hmm_range *range, unsigned long timeout)
{
	struct hmm *hmm = range->hmm;

	if (READ_ONCE(hmm->dead))
		return false;
	if (READ_ONCE(range->valid))
		return true;
	wait_event_timeout(hmm->wq, READ_ONCE(range->valid) || hmm->dead,
			   msecs_to_jiffies(timeout));
	return READ_ONCE(range->valid);
}

bool hmm_range_recheck(struct hmm_range *range)
{
	(void)range;
	return false;
}

static uint64_t entry(const struct hmm_range *range, uint64_t cpu)
{
	uint64_t pfn = (cpu >> HMM_CPU_PFN_SHIFT) << range->pfn_shift;

	if (!(cpu & HMM_CPU_PRESENT))
		return range->values[HMM_PFN_NONE];
	pfn |= range->flags[HMM_PFN_VALID];
	return cpu & HMM_CPU_WRITE ? pfn | range->flags[HMM_PFN_WRITE] : pfn;
}

/* One page after the other.  Whether the entries are valid is not looked at. */
static long walk(struct hmm_range *range, bool fault)
{
	struct mm_struct *mm = range->hmm->mm;
	unsigned long addr, i = 0;
	struct hmm_vma vma;
	uint64_t cpu;
	int ret;

	hmm_host_vma(mm, range->start, &vma);
	for (addr = range->start; addr < range->end; addr += PAGE_SIZE) {
		ret = hmm_host_read(range, &vma, addr, addr + PAGE_SIZE, &cpu);
		if (ret)
			return ret;
		if (fault && !(cpu & HMM_CPU_PRESENT)) {
			ret = hmm_host_fault(mm, &vma, addr, addr + PAGE_SIZE,
					     false, true);
			return ret ? ret : -EBUSY;
		}
		range->pfns[i++] = entry(range, cpu);
	}
	return (long)i;
}

/* Where the original says -EAGAIN, with the lock held, our callers take -EBUSY */
long hmm_range_snapshot(struct hmm_range *range)
{
	if (READ_ONCE(range->hmm->dead))
		return -EFAULT;
	if (!READ_ONCE(range->valid))
		return -EBUSY;
	return walk(range, false);
}

long hmm_range_fault(struct hmm_range *range, bool block)
{
	long ret;

	(void)block;
	if (READ_ONCE(range->hmm->dead))
		return -EFAULT;
	do {
		if (!READ_ONCE(range->valid))
			return -EBUSY;
		ret = walk(range, true);
	} while (ret == -EBUSY && READ_ONCE(range->valid));
	return ret;
}
