// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_ring.c - the counters and records that a file of /dev/hmm shows
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "dev.h"

/* ---- Writing them ------------------------------------------------------- */

static void told(struct hmm_listener *listener, unsigned long start,
		 unsigned long end, enum hmm_change_kind kind, bool ends)
{
	struct hmm_file *f = container_of(listener, struct hmm_file, listener);
	struct dev_ring *r = &f->ring;
	u64 head = r->shared->head;

	/* Counted before it begins: pairs with hmm_range_valid()'s load. */
	if (!ends)
		smp_store_release(&r->shared->started, r->shared->started + 1);
	/*
	 * Not before the head that says that this slot's old record is gone:
	 * pairs with the reader, which looks at head after it has copied.
	 */
	smp_wmb();
	r->ring[head % HMM_DEV_RECORDS] = (struct hmm_dev_record){
		.start = start,
		.end = end,
		.ends = ends,
		.kind = kind,
	};
	smp_store_release(&r->shared->head, head + 1);
	if (!r->armed)
		return;
	r->armed = false;
	WRITE_ONCE(r->shared->readable, 1);
	wake_up_all(&r->wq);
}

static void gone(struct hmm_listener *listener)
{
	struct hmm_file *f = container_of(listener, struct hmm_file, listener);

	/* Pairs with who reads it and then takes the last of the records. */
	smp_store_release(&f->ring.shared->dead, 1);
	/* A change of everything, whose end nobody will see. */
	smp_store_release(&f->ring.shared->started,
			  f->ring.shared->started + 1);
	wake_up_all(&f->ring.wq);
	dev_hold_gone(f);
}

/* ---- Requests ----------------------------------------------------------- */

long dev_ring_sync(struct hmm_file *f, void __user *user)
{
	struct hmm_changes *changes = &f->hmm->changes;
	struct hmm_dev_sync *sync;
	unsigned int i;
	long ret = 0;

	sync = kzalloc(sizeof(*sync), GFP_KERNEL_ACCOUNT);
	if (!sync)
		return -ENOMEM;
	hmm_marks_lock(f->hmm);
	sync->head = f->ring.shared->head;
	sync->started = f->ring.shared->started;
	spin_lock(&f->hmm->lock);
	sync->nr = min_t(unsigned int, changes->nr, HMM_DEV_CHANGES);
	sync->unlisted = changes->nr - sync->nr + changes->unlisted;
	for (i = 0; i < sync->nr; i++) {
		sync->change[i].start = changes->slot[i].start;
		sync->change[i].end = changes->slot[i].end;
	}
	spin_unlock(&f->hmm->lock);
	hmm_marks_unlock(f->hmm);
	if (copy_to_user(user, sync, sizeof(*sync)))
		ret = -EFAULT;
	kfree(sync);
	return ret;
}

long dev_ring_arm(struct hmm_file *f, u64 __user *user)
{
	u64 taken;
	long ret;

	if (get_user(taken, user))
		return -EFAULT;
	hmm_marks_lock(f->hmm);
	WRITE_ONCE(f->ring.shared->readable, 0);
	ret = f->ring.shared->head != taken;
	f->ring.armed = !ret;
	hmm_marks_unlock(f->hmm);
	return ret;
}

long dev_ring_disarm(struct hmm_file *f)
{
	hmm_marks_lock(f->hmm);
	WRITE_ONCE(f->ring.shared->readable, 0);
	hmm_marks_unlock(f->hmm);
	return 0;
}

__poll_t dev_ring_poll(struct hmm_file *f, struct file *file, poll_table *table)
{
	__poll_t ret = 0;

	poll_wait(file, &f->ring.wq, table);
	if (READ_ONCE(f->ring.shared->readable))
		ret |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(f->ring.shared->dead))
		ret |= EPOLLHUP;
	return ret;
}

/* ---- Life --------------------------------------------------------------- */

void dev_ring_exit(struct hmm_file *f)
{
	unsigned int i;

	vunmap(f->ring.shared);
	for (i = 0; i < DEV_PAGES && f->ring.pages[i]; i++)
		__free_page(f->ring.pages[i]);
}

void dev_ring_clear(struct hmm_file *f)
{
	memset(f->ring.shared, 0, DEV_PAGES * PAGE_SIZE);
	f->ring.armed = false;
	f->ring.shared->version = HMM_DEV_VERSION;
	f->ring.shared->pfns_virtual = !f->privileged;
}

int dev_ring_init(struct hmm_file *f)
{
	struct dev_ring *r = &f->ring;
	unsigned int i;

	BUILD_BUG_ON(HMM_DEV_RING_OFFSET != PAGE_SIZE);
	BUILD_BUG_ON(sizeof(struct hmm_dev_shared) != 128);
	init_waitqueue_head(&r->wq);
	f->listener.told = told;
	f->listener.gone = gone;
	for (i = 0; i < DEV_PAGES; i++) {
		r->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!r->pages[i])
			goto fail;
	}
	r->shared = vmap(r->pages, DEV_PAGES, VM_MAP, PAGE_KERNEL);
	if (!r->shared)
		goto fail;
	r->ring = (void *)r->shared + HMM_DEV_RING_OFFSET;
	dev_ring_clear(f);
	return 0;
fail:
	dev_ring_exit(f);
	return -ENOMEM;
}
