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

struct mm_struct {
	struct sim_native n;
};

void native_reset(void)
{
	world.mm = (struct mm_struct *)&world.native;
	world.mm->n.users = 1;
}

/* ---- Changes ------------------------------------------------------------- */

int native_change(unsigned int first, unsigned int end, enum change_what what,
		  bool blockable)
{
	struct hmm_update update = {
		.start = SIM_ADDR(first),
		.end = SIM_ADDR(end),
		.event = HMM_UPDATE_INVALIDATE,
		.blockable = blockable,
	};
	struct sim_native *mm = &world.native;
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

/* ---- The mmap lock -------------------------------------------------------- */

void mmap_read_lock(struct mm_struct *mm)
{
	sim_down(&mm->n.mmap_lock, false, "mmap_read_lock");
}

void mmap_read_unlock(struct mm_struct *mm)
{
	sim_up(&mm->n.mmap_lock, false);
}

void mmap_write_lock(struct mm_struct *mm)
{
	sim_down(&mm->n.mmap_lock, true, "mmap_write_lock");
}

void mmap_write_unlock(struct mm_struct *mm)
{
	sim_up(&mm->n.mmap_lock, true);
}

void mmap_assert_locked(struct mm_struct *mm)
{
	if (!mm->n.mmap_lock.readers && !mm->n.mmap_lock.writer)
		sched_fail("the mmap lock is not held");
}

void mmap_assert_write_locked(struct mm_struct *mm)
{
	if (!mm->n.mmap_lock.writer)
		sched_fail("the mmap lock is not held for write");
}

/* ---- Lifetimes ------------------------------------------------------------ */

bool mmget_not_zero(struct mm_struct *mm)
{
	sched_point("mmget_not_zero", &mm->n.users);
	if (!mm->n.users)
		return false;
	mm->n.users++;
	return true;
}

struct hmm *hmm_host_get(struct mm_struct *mms)
{
	struct sim_native *mm = &mms->n;
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
		if (world.exiting) {
			sim_up(&mm->notifier, true);
			return ERR_PTR(-EFAULT);
		}
		if (world.hmms_used == SIM_HMMS)
			sched_fail("the simulation is out of struct hmm");
		hmm = &world.hmms[world.hmms_used++];
		hmm_init(hmm, mms, NULL);
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
struct hmm *hmm_host_find(struct mm_struct *mm)
{
	return hmm_host_get(mm);
}

void hmm_host_put(struct hmm *hmm)
{
	struct sim_native *mm = &hmm->mm->n;

	sched_point("hmm_host_put", hmm);
	if (--mm->hmm_refs)
		return;
	mm->hmm = NULL;
	if (no_reader(&mm->notifier))
		memset(hmm, 0x5a, sizeof(*hmm));
}

void mmput(struct mm_struct *mm)
{
	sched_point("mmput", &mm->n.users);
	if (--mm->n.users < 0)
		sched_fail("mmput without an mmget");
}

void native_exit(void)
{
	struct sim_native *mm = &world.native;
	struct hmm *hmm;

	sim_down(&mm->notifier, false, "srcu_read_lock");
	hmm = mm->hmm;
	world.exiting = true;
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

void hmm_host_mirrors(struct hmm *hmm)
{
	(void)hmm;
}

/* ---- For the simulation ---------------------------------------------------- */

int host_copy_page(unsigned int page)
{
	return native_change(page, page + 1, CHANGE_REPLACE, true);
}

bool host_told(unsigned int id)
{
	return world.change[id].told;
}

void host_end(void)
{
	if (world.native.mmap_lock.readers || world.native.mmap_lock.writer)
		sched_fail("E: the mmap lock is still held");
	if (world.native.users != 1)
		sched_fail("E: the mm has %d users left",
			   world.native.users - 1);
}

bool host_constant(const void *obj)
{
	(void)obj;
	return false;
}

void sim_switched(void)
{
}
