// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_hold.c - changes that wait until the file's user has acted on them
 *
 * The wait is in a mirror's callback: the ranges are marked and the record is
 * written, the page table has not changed yet.  hmm_dev.h says which changes
 * wait, and the reasons are these.  Whoever waits has locks, the mmap lock at
 * least.  So none waits for one who may need these locks to go on: the
 * acknowledging thread itself, or one that asks for memory.  None waits whose
 * locks may be those of other users, unless the holder might as well stop
 * these.  None outlasts what it waits for, or its own death.
 *
 * A killed task need not be looked for before it waits: it wouldn't.
 */
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "dev.h"

/* Not to be changed later: nobody is told that it holds and finds it does not. */
static bool unprivileged_hold = true;
module_param(unprivileged_hold, bool, 0444);
MODULE_PARM_DESC(unprivileged_hold,
		 "may changes wait for a user without CAP_SYS_ADMIN?");

/*
 * How often those who wait look whether the acknowledging thread lives: no
 * kernel tells a module of a thread's death.
 */
#define HOLD_LOOK msecs_to_jiffies(10)

static struct hmm_file *of_mirror(struct hmm_mirror *mirror)
{
	return container_of(mirror, struct hmm_file, hold.mirror);
}

/* ---- Those who wait ----------------------------------------------------- */

static bool acker_lives(struct dev_hold *h)
{
	struct task_struct *acker;
	bool ret;

	lockdep_assert_held(&h->lock);
	rcu_read_lock();
	acker = pid_task(h->acker, PIDTYPE_PID);
	ret = acker && !(READ_ONCE(acker->flags) & PF_EXITING) &&
	      !(READ_ONCE(acker->signal->flags) & SIGNAL_GROUP_EXIT);
	rcu_read_unlock();
	return ret;
}

/* Does anybody wait for a change's acknowledgement at all? */
static bool holds(struct hmm_file *f)
{
	struct dev_hold *h = &f->hold;

	lockdep_assert_held(&h->lock);
	return h->timeout && !h->late && !READ_ONCE(f->ring.shared->dead) &&
	       acker_lives(h);
}

/*
 * Changes for which who makes them has no lock but its address space's own.
 * For others, its own included, it may have those of a file that is written
 * back, truncated or made huge pages of: a file system's transaction, which
 * all who write to that wait for, and the list of all who map the file.
 */
static bool is_private(const struct hmm_told *told)
{
	enum hmm_change_kind kind = told->update.kind;

	return !told->has_file_locks &&
	       (kind == HMM_CHANGE_UNMAP || kind == HMM_CHANGE_PROTECT);
}

/* Is the calling task, which makes a change, one that may be stopped? */
static bool may_wait(const struct hmm_file *f, const struct hmm_told *told)
{
	const struct mm_struct *mm = f->hmm->mm;

	if (current->flags & (PF_EXITING | PF_MEMALLOC))
		return false;
	/* It is being torn down, which need not take long. */
	if (!atomic_read(&mm->mm_users))
		return false;
	return f->privileged || (is_private(told) && current->mm == mm &&
				 !(current->flags & PF_KTHREAD));
}

static bool let_go(struct hmm_file *f, u64 need)
{
	struct dev_hold *h = &f->hold;
	bool ret;

	spin_lock(&h->lock);
	ret = h->acked >= need || !holds(f);
	spin_unlock(&h->lock);
	return ret;
}

static void set_waiting(struct hmm_file *f, int diff)
{
	lockdep_assert_held(&f->hold.lock);
	/* Pairs with dev_hold_would_deadlock(), which has no lock. */
	WRITE_ONCE(f->hold.waiting, f->hold.waiting + diff);
	WRITE_ONCE(f->ring.shared->waiting, f->hold.waiting);
}

/* Time is up: nobody else need find that out for himself. */
static void too_late(struct hmm_file *f, u64 need)
{
	struct dev_hold *h = &f->hold;

	spin_lock(&h->lock);
	if (h->acked < need && holds(f)) {
		h->late = true;
		WRITE_ONCE(f->ring.shared->late, f->ring.shared->late + 1);
	}
	spin_unlock(&h->lock);
	wake_up_all(&h->wq);
}

static int hold_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	const struct hmm_told *told =
		container_of(update, struct hmm_told, update);
	struct hmm_file *f = of_mirror(mirror);
	struct dev_hold *h = &f->hold;
	unsigned long until, now;
	bool wait;
	long ret;
	u64 need;

	if (!update->blockable || !may_wait(f, told))
		return 0;
	/* With ours in it, which was written before the callbacks. */
	need = smp_load_acquire(&f->ring.shared->head);
	spin_lock(&h->lock);
	wait = h->acked < need && holds(f) && h->acker != task_pid(current);
	if (wait)
		set_waiting(f, 1);
	/* Files are called one after another, and their times don't add up. */
	until = told->began + h->timeout;
	spin_unlock(&h->lock);
	if (!wait)
		return 0;
	do {
		now = jiffies;
		if (time_after_eq(now, until)) {
			too_late(f, need);
			break;
		}
		ret = wait_event_killable_timeout(
			h->wq, let_go(f, need),
			min_t(unsigned long, until - now, HOLD_LOOK));
	} while (!ret);
	spin_lock(&h->lock);
	set_waiting(f, -1);
	spin_unlock(&h->lock);
	return 0;
}

static const struct hmm_mirror_ops hold_ops = {
	.sync_cpu_device_pagetables = hold_sync,
};

/* ---- Requests ----------------------------------------------------------- */

/* The calling thread is the one to wait for. */
static void set_acker(struct dev_hold *h)
{
	lockdep_assert_held(&h->lock);
	if (h->acker == task_pid(current))
		return;
	put_pid(h->acker);
	put_pid(h->acker_group);
	h->acker = get_pid(task_pid(current));
	h->acker_group = get_pid(task_tgid(current));
}

static void turn_off(struct dev_hold *h)
{
	lockdep_assert_held(&h->lock);
	h->timeout = 0;
	h->late = false;
}

static int register_mirror(struct hmm_file *f)
{
	struct mm_struct *mm = f->hmm->mm;
	int ret;

	if (mutex_lock_interruptible(&f->hold.registering))
		return -EINTR;
	ret = 0;
	if (f->hold.mirror.hmm)
		goto out;
	ret = -ESRCH;
	if (!mmget_not_zero(mm))
		goto out;
	ret = -EINTR;
	if (!mmap_write_lock_killable(mm)) {
		ret = hmm_mirror_register(&f->hold.mirror, mm);
		mmap_write_unlock(mm);
	}
	mmput(mm);
out:
	mutex_unlock(&f->hold.registering);
	return ret;
}

long dev_hold(struct hmm_file *f, unsigned long ms)
{
	struct dev_hold *h = &f->hold;
	int ret;

	if (ms > HMM_DEV_HOLD_MAX)
		return -EINVAL;
	/* All mmu notifiers of a machine are of one SRCU domain. */
	if (ms && !f->privileged &&
	    (ms > HMM_DEV_HOLD_DEFAULT || !unprivileged_hold))
		return -EPERM;
	if (ms) {
		ret = register_mirror(f);
		if (ret)
			return ret;
	}
	spin_lock(&h->lock);
	if (ms) {
		h->timeout = msecs_to_jiffies(ms);
		set_acker(h);
	} else {
		turn_off(h);
	}
	spin_unlock(&h->lock);
	wake_up_all(&h->wq);
	return 0;
}

long dev_ack(struct hmm_file *f, unsigned long taken)
{
	u64 head = smp_load_acquire(&f->ring.shared->head);
	struct dev_hold *h = &f->hold;
	long ret = -EINVAL;

	spin_lock(&h->lock);
	if (h->timeout && taken <= head) {
		set_acker(h);
		h->acked = max_t(u64, h->acked, taken);
		if (h->acked >= head)
			h->late = false;
		ret = 0;
	}
	spin_unlock(&h->lock);
	wake_up_all(&h->wq);
	return ret;
}

/* ---- The acknowledging thread ------------------------------------------- */

bool dev_hold_is_acker(struct hmm_file *f)
{
	struct dev_hold *h = &f->hold;
	bool ret;

	spin_lock(&h->lock);
	ret = h->timeout && h->acker == task_pid(current);
	spin_unlock(&h->lock);
	return ret;
}

bool dev_hold_would_deadlock(struct hmm_file *f)
{
	return READ_ONCE(f->hold.waiting) && dev_hold_is_acker(f);
}

/* ---- Life --------------------------------------------------------------- */

void dev_hold_gone(struct hmm_file *f)
{
	wake_up_all(&f->hold.wq);
}

/*
 * The last descriptor may not be the last reference: as long as the ring is
 * mapped, the file is not released.
 */
void dev_hold_flush(struct hmm_file *f)
{
	struct dev_hold *h = &f->hold;

	spin_lock(&h->lock);
	if (h->acker_group == task_tgid(current))
		turn_off(h);
	spin_unlock(&h->lock);
	wake_up_all(&h->wq);
}

void dev_hold_init(struct hmm_file *f)
{
	mutex_init(&f->hold.registering);
	init_waitqueue_head(&f->hold.wq);
	spin_lock_init(&f->hold.lock);
	f->hold.mirror.ops = &hold_ops;
}

void dev_hold_exit(struct hmm_file *f)
{
	struct dev_hold *h = &f->hold;

	spin_lock(&h->lock);
	turn_off(h);
	spin_unlock(&h->lock);
	wake_up_all(&h->wq);
	/* Another mirror's callback may take long, ours do not any more. */
	while (hmm_mirror_unregister(&h->mirror) == -ETIMEDOUT)
		;
	put_pid(h->acker);
	put_pid(h->acker_group);
}
