// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mm.c - the notifiers of an mm, and how long they live
 *
 * Two notifiers per mm.  `marks` is told of starts and ends; it never fails,
 * never sleeps, and what it does are a start and an end of the core.  `tells`
 * is told of starts only, runs the mirrors' callbacks, and may refuse when it
 * must not block.  One notifier can't do both: the kernel, when any notifier
 * refuses, calls the end of all that have one, of those too that were not
 * told the start, unless they are the one that refused.  With two, each start
 * that was marked is ended exactly once.
 *
 * The one registered last is called first, so `tells` is registered before
 * `marks`: ranges stop being valid before the first callback runs, which is what
 * hmm_range_valid() under the driver's lock relies on.
 */
#include <linux/hashtable.h>
#include <linux/mmu_notifier.h>
#include <linux/refcount.h>

#include "compat/notifier.h"
#include "host.h"
#include "mm.h"

struct hmm_mm {
	struct hmm hmm;
	struct mmu_notifier marks;
	struct mmu_notifier tells;
	/* Starts and ends, one at a time: the core and all listeners agree. */
	spinlock_t marks_lock;
	struct list_head listeners;
	unsigned int nr_listeners;
	bool gone; /* and those who listen were told so */
	struct hlist_node node;
	refcount_t users;   /* mirrors and ranges */
	atomic_t notifiers; /* which are still to be freed */
};

/*
 * Those with users, by mm.  An object that lost its last user is gone from
 * here at once; the kernel may call its notifiers for a little longer.
 */
static DEFINE_HASHTABLE(mms, 8);
static DEFINE_SPINLOCK(mms_lock);

static atomic_t live = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(none_left);

static struct hmm_mm *of_marks(struct mmu_notifier *mn)
{
	return container_of(mn, struct hmm_mm, marks);
}

static struct hmm_mm *of_tells(struct mmu_notifier *mn)
{
	return container_of(mn, struct hmm_mm, tells);
}

static struct hmm_mm *of_hmm(struct hmm *hmm)
{
	return container_of(hmm, struct hmm_mm, hmm);
}

/* ---- What the kernel tells ---------------------------------------------- */

static enum hmm_change_kind kind_of(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_UNMAP:
		return HMM_CHANGE_UNMAP;
	case MMU_NOTIFY_PROTECTION_VMA:
		return HMM_CHANGE_PROTECT;
	case MMU_NOTIFY_PROTECTION_PAGE:
		return HMM_CHANGE_FORK;
	case MMU_NOTIFY_MIGRATE:
		return HMM_CHANGE_MIGRATE;
	default:
		return HMM_CHANGE_OTHER;
	}
}

static void tell_listeners(struct hmm_mm *m,
			   const struct mmu_notifier_range *range, bool ends)
{
	struct hmm_listener *listener;

	lockdep_assert_held(&m->marks_lock);
	list_for_each_entry(listener, &m->listeners, node) listener->told(
		listener, range->start, range->end, kind_of(range), ends);
}

static int marks_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct hmm_mm *m = of_marks(mn);

	spin_lock(&m->marks_lock);
	hmm_invalidate_start(&m->hmm, range->start, range->end);
	tell_listeners(m, range, false);
	spin_unlock(&m->marks_lock);
	return 0;
}

static void marks_end(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct hmm_mm *m = of_marks(mn);

	spin_lock(&m->marks_lock);
	hmm_invalidate_end(&m->hmm, range->start, range->end);
	tell_listeners(m, range, true);
	spin_unlock(&m->marks_lock);
}

static void marks_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hmm_mm *m = of_marks(mn);
	struct hmm_listener *listener;

	hmm_release(&m->hmm);
	spin_lock(&m->marks_lock);
	m->gone = true;
	list_for_each_entry(listener, &m->listeners, node)
		listener->gone(listener);
	spin_unlock(&m->marks_lock);
}

static int tells_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct hmm_told told = {
		.update.start = range->start,
		.update.end = range->end,
		.update.event = HMM_UPDATE_INVALIDATE,
		.update.kind = kind_of(range),
		.update.blockable = mmu_notifier_range_blockable(range),
		.began = jiffies,
		.has_file_locks = hmm_compat_has_file_locks(range),
	};
	int ret = hmm_mirrors_sync(&of_tells(mn)->hmm, &told.update);

	/* Only one who can't wait may refuse, and only so. */
	return ret && !told.update.blockable ? -EAGAIN : 0;
}

/* ---- Life --------------------------------------------------------------- */

static void free_one(struct hmm_mm *m)
{
	if (!atomic_dec_and_test(&m->notifiers))
		return;
	kfree(m);
	if (atomic_dec_and_test(&live))
		wake_up_all(&none_left);
}

static void marks_free(struct mmu_notifier *mn)
{
	free_one(of_marks(mn));
}

static void tells_free(struct mmu_notifier *mn)
{
	free_one(of_tells(mn));
}

static const struct mmu_notifier_ops marks_ops = {
	.invalidate_range_start = marks_start,
	.invalidate_range_end = marks_end,
	.release = marks_release,
	.free_notifier = marks_free,
};

static const struct mmu_notifier_ops tells_ops = {
	.invalidate_range_start = tells_start,
	.free_notifier = tells_free,
};

static struct hmm_mm *alloc(struct mm_struct *mm)
{
	struct hmm_mm *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);

	if (!m)
		return NULL;
	hmm_init(&m->hmm, mm, NULL);
	m->marks.ops = &marks_ops;
	m->tells.ops = &tells_ops;
	spin_lock_init(&m->marks_lock);
	INIT_LIST_HEAD(&m->listeners);
	refcount_set(&m->users, 1);
	return m;
}

/* Either both notifiers are registered, or none.  0; -ENOMEM; -EINTR. */
static int register_both(struct hmm_mm *m, struct mm_struct *mm)
{
	int ret = __mmu_notifier_register(&m->tells, mm);

	if (ret) {
		kfree(m);
		return ret;
	}
	atomic_set(&m->notifiers, 1);
	atomic_inc(&live);
	/* Fails for a signal that came after the first did not. */
	ret = __mmu_notifier_register(&m->marks, mm);
	if (ret)
		mmu_notifier_put(&m->tells);
	else
		atomic_inc(&m->notifiers);
	return ret;
}

static struct hmm_mm *create(struct mm_struct *mm)
{
	struct hmm_mm *m;
	int ret;

	mmap_assert_write_locked(mm);
	m = alloc(mm);
	if (!m)
		return ERR_PTR(-ENOMEM);
	ret = register_both(m, mm);
	if (ret)
		return ERR_PTR(ret);
	spin_lock(&mms_lock);
	hash_add(mms, &m->node, (unsigned long)mm);
	spin_unlock(&mms_lock);
	return m;
}

struct hmm *hmm_host_find(struct mm_struct *mm)
{
	struct hmm_mm *m;

	spin_lock(&mms_lock);
	hash_for_each_possible(mms, m, node,
			       (unsigned long)mm) if (m->hmm.mm == mm) break;
	if (m)
		refcount_inc(&m->users);
	spin_unlock(&mms_lock);
	return m ? &m->hmm : ERR_PTR(-ENXIO);
}

/* The mmap lock, held for write, is what serialises creators. */
struct hmm *hmm_host_get(struct mm_struct *mm)
{
	struct hmm *hmm = hmm_host_find(mm);
	struct hmm_mm *m;

	if (!IS_ERR(hmm))
		return hmm;
	/* The kernel has no answer but BUG() for a notifier of the dead. */
	if (!mmget_not_zero(mm))
		return ERR_PTR(-EFAULT);
	m = create(mm);
	mmput(mm);
	return IS_ERR(m) ? ERR_CAST(m) : &m->hmm;
}

/* May be called under a driver's spinlock. */
void hmm_host_put(struct hmm *hmm)
{
	struct hmm_mm *m = of_hmm(hmm);

	if (!refcount_dec_and_lock(&m->users, &mms_lock))
		return;
	hash_del(&m->node);
	spin_unlock(&mms_lock);
	/* Either may be the one that frees m, once no CPU is inside them. */
	mmu_notifier_put(&m->marks);
	mmu_notifier_put(&m->tells);
}

void hmm_marks_lock(struct hmm *hmm)
{
	spin_lock(&of_hmm(hmm)->marks_lock);
}

void hmm_marks_unlock(struct hmm *hmm)
{
	spin_unlock(&of_hmm(hmm)->marks_lock);
}

int hmm_listen(struct hmm *hmm, struct hmm_listener *listener,
	       unsigned int limit)
{
	struct hmm_mm *m = of_hmm(hmm);
	int ret = -EUSERS;

	hmm_marks_lock(hmm);
	if (m->nr_listeners < limit) {
		list_add_tail(&listener->node, &m->listeners);
		m->nr_listeners++;
		if (m->gone)
			listener->gone(listener);
		ret = 0;
	}
	hmm_marks_unlock(hmm);
	return ret;
}

void hmm_unlisten(struct hmm *hmm, struct hmm_listener *listener)
{
	hmm_marks_lock(hmm);
	list_del(&listener->node);
	of_hmm(hmm)->nr_listeners--;
	hmm_marks_unlock(hmm);
}

void hmm_mms_exit(void)
{
	mmu_notifier_synchronize();
	wait_event(none_left, !atomic_read(&live));
	/*
	 * Whoever woke us may not have returned from our code yet; it runs with
	 * bottom halves off, as all of SRCU's callbacks do.
	 */
	synchronize_rcu();
}

/* ---- What a host with notifiers of its own need not do ------------------- */

void hmm_host_mirrors(struct hmm *hmm)
{
}

bool hmm_host_sync(struct hmm *hmm)
{
	return true;
}

void hmm_host_settle(struct hmm *hmm)
{
}

int hmm_host_cover(struct hmm *hmm, unsigned long start, unsigned long end)
{
	return 0;
}
