// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * host_native.c - a host that is told of changes before they are made, and of
 * their end: the kernel
 *
 * The notifier lock stands for SRCU and mm_take_all_locks(): who makes a change
 * holds it for read; the hmm is created and freed under it for write.
 */
#include <string.h>

#include "sim.h"

int native_change(unsigned int first, unsigned int end, enum change_what what,
		  bool blockable)
{
	struct hmm_update update = {
		.start = SIM_ADDR(first),
		.end = SIM_ADDR(end),
		.event = HMM_UPDATE_INVALIDATE,
		.blockable = blockable,
	};
	struct mm_struct *mm = &world.mm;
	unsigned int id = oracle_announce(first, end);
	struct hmm *hmm;
	int ret = 0;

	sim_down(&mm->notifier, false, "srcu_read_lock");
	hmm = mm->hmm;
	if (hmm)
		hmm_invalidate_start(hmm, update.start, update.end);
	oracle_started(id);
	if (hmm)
		ret = hmm_mirrors_sync(hmm, &update);
	if (ret && !blockable) {
		oracle_changed(id);
		native_refused(hmm, update.start, update.end);
		goto out;
	}
	ret = 0;
	oracle_told(id);
	sim_change_pages(id, what);
	oracle_changed(id);
	if (hmm)
		hmm_invalidate_end(hmm, update.start, update.end);
out:
	oracle_over(id);
	sim_up(&mm->notifier, false);
	return ret;
}

struct hmm *hmm_host_get(struct mm_struct *mm)
{
	struct hmm *hmm = NULL;

	sched_point("hmm_host_get", mm);
	if (mm->hmm) {
		mm->hmm_refs++;
		return mm->hmm;
	}
	if (sched_choose(2, "no memory for a struct hmm"))
		return ERR_PTR(-ENOMEM);
	sim_down(&mm->notifier, true, "mm_take_all_locks");
	if (!mm->hmm) {
		if (mm->exiting) {
			sim_up(&mm->notifier, true);
			return ERR_PTR(-EFAULT);
		}
		if (world.hmms_used == SIM_HMMS)
			sched_fail("the simulation is out of struct hmm");
		hmm = &world.hmms[world.hmms_used++];
		hmm_init(hmm, mm, NULL);
		mm->hmm = hmm;
	}
	mm->hmm_refs++;
	hmm = mm->hmm;
	sim_up(&mm->notifier, true);
	return hmm;
}

static bool no_reader(void *arg)
{
	return !((struct sim_rwsem *)arg)->readers;
}

/*
 * Never waits, as it may be called from a callback: what it freed stays as it
 * is until the changes that could see it are over.
 */
void hmm_host_put(struct hmm *hmm)
{
	struct mm_struct *mm = hmm->mm;

	sched_point("hmm_host_put", hmm);
	if (--mm->hmm_refs)
		return;
	mm->hmm = NULL;
	if (no_reader(&mm->notifier))
		memset(hmm, 0x5a, sizeof(*hmm));
}

void mmput(struct mm_struct *mm)
{
	sched_point("mmput", &mm->users);
	if (--mm->users < 0)
		sched_fail("mmput without an mmget");
}

void native_exit(void)
{
	struct mm_struct *mm = &world.mm;
	struct hmm *hmm;

	sim_down(&mm->notifier, false, "srcu_read_lock");
	hmm = mm->hmm;
	mm->exiting = true;
	if (hmm) {
		hmm_release(hmm);
		oracle_dead();
	}
	sim_up(&mm->notifier, false);
}

bool hmm_host_sync(struct hmm *hmm)
{
	(void)hmm;
	return true;
}

void hmm_host_settle(struct hmm *hmm)
{
	(void)hmm;
}

int hmm_host_cover(struct hmm *hmm, unsigned long start, unsigned long end)
{
	(void)hmm;
	(void)start;
	(void)end;
	return sched_choose(2, "the source can't watch this") ? -ENOMEM : 0;
}
