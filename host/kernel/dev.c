// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev.c - /dev/hmm: the changes of one's own memory, for a process
 *
 * hmm_dev.h is the contract.  Everyone may open it: it shows what the opener
 * could see by other means, and costs memory that is charged to the opener.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat/compat.h"
#include "hmm_dev.h"
#include "mm.h"

#define DEV_PAGES                                                          \
	(1 + DIV_ROUND_UP(HMM_DEV_RECORDS * sizeof(struct hmm_dev_record), \
			  PAGE_SIZE))

struct hmm_file {
	struct hmm *hmm;
	struct hmm_listener listener;
	wait_queue_head_t wq;
	struct page *pages[DEV_PAGES];
	/* Written under the marks' lock. */
	struct hmm_dev_shared *shared;
	struct hmm_dev_record *ring;
	bool armed;
};

static void dev_told(struct hmm_listener *listener, unsigned long start,
		     unsigned long end, enum hmm_change_kind kind, bool ends)
{
	struct hmm_file *f = container_of(listener, struct hmm_file, listener);
	u64 head = f->shared->head;

	/* Counted before it begins: pairs with hmm_range_valid()'s load. */
	if (!ends)
		smp_store_release(&f->shared->started, f->shared->started + 1);
	/*
	 * Not before the head that says that this slot's old record is gone:
	 * pairs with the reader, which looks at head after it has copied.
	 */
	smp_wmb();
	f->ring[head % HMM_DEV_RECORDS] = (struct hmm_dev_record){
		.start = start,
		.end = end,
		.ends = ends,
		.kind = kind,
	};
	smp_store_release(&f->shared->head, head + 1);
	if (!f->armed)
		return;
	f->armed = false;
	WRITE_ONCE(f->shared->readable, 1);
	wake_up_all(&f->wq);
}

/* ---- Requests ----------------------------------------------------------- */

static int dev_sync(struct hmm_file *f, void __user *user)
{
	struct hmm_changes *changes = &f->hmm->changes;
	struct hmm_dev_sync *sync;
	unsigned int i;
	int ret = 0;

	sync = kzalloc(sizeof(*sync), GFP_KERNEL);
	if (!sync)
		return -ENOMEM;
	hmm_marks_lock(f->hmm);
	sync->head = f->shared->head;
	sync->started = f->shared->started;
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

static int dev_arm(struct hmm_file *f, u64 __user *user)
{
	u64 taken;
	int ret;

	if (get_user(taken, user))
		return -EFAULT;
	hmm_marks_lock(f->hmm);
	WRITE_ONCE(f->shared->readable, 0);
	ret = f->shared->head != taken;
	f->armed = !ret;
	hmm_marks_unlock(f->hmm);
	return ret;
}

static int dev_clear(struct hmm_file *f)
{
	hmm_marks_lock(f->hmm);
	WRITE_ONCE(f->shared->readable, 0);
	hmm_marks_unlock(f->hmm);
	return 0;
}

static long dev_ioctl(struct file *file, unsigned int request,
		      unsigned long arg)
{
	struct hmm_file *f = file->private_data;
	void __user *user = (void __user *)arg;

	switch (request) {
	case HMM_DEV_SYNC:
		return dev_sync(f, user);
	case HMM_DEV_ARM:
		return dev_arm(f, user);
	case HMM_DEV_CLEAR:
		return dev_clear(f);
	default:
		return -ENOTTY;
	}
}

static __poll_t dev_poll(struct file *file, poll_table *table)
{
	struct hmm_file *f = file->private_data;

	poll_wait(file, &f->wq, table);
	return READ_ONCE(f->shared->readable) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hmm_file *f = file->private_data;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	hmm_compat_vm_flags_clear(vma, VM_MAYWRITE);
	return vm_map_pages(vma, f->pages, DEV_PAGES);
}

/* ---- Life --------------------------------------------------------------- */

static void free_shared(struct hmm_file *f)
{
	unsigned int i;

	vunmap(f->shared);
	for (i = 0; i < DEV_PAGES && f->pages[i]; i++)
		__free_page(f->pages[i]);
}

static int make_shared(struct hmm_file *f)
{
	unsigned int i;

	for (i = 0; i < DEV_PAGES; i++) {
		f->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!f->pages[i])
			goto fail;
	}
	f->shared = vmap(f->pages, DEV_PAGES, VM_MAP, PAGE_KERNEL);
	if (!f->shared)
		goto fail;
	f->shared->version = HMM_DEV_VERSION;
	f->ring = (void *)f->shared + HMM_DEV_RING_OFFSET;
	return 0;
fail:
	free_shared(f);
	return -ENOMEM;
}

static int dev_open(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = current->mm;
	struct hmm_file *f;
	int ret;

	BUILD_BUG_ON(HMM_DEV_RING_OFFSET != PAGE_SIZE);
	if (!mm)
		return -EINVAL;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	init_waitqueue_head(&f->wq);
	f->listener.told = dev_told;
	ret = make_shared(f);
	if (ret)
		goto out_file;
	mmap_write_lock(mm);
	f->hmm = hmm_host_get(mm);
	mmap_write_unlock(mm);
	if (IS_ERR(f->hmm)) {
		ret = PTR_ERR(f->hmm);
		goto out_shared;
	}
	hmm_listen(f->hmm, &f->listener);
	file->private_data = f;
	return 0;

out_shared:
	free_shared(f);
out_file:
	kfree(f);
	return ret;
}

static int dev_release(struct inode *inode, struct file *file)
{
	struct hmm_file *f = file->private_data;

	hmm_unlisten(f->hmm, &f->listener);
	hmm_host_put(f->hmm);
	free_shared(f);
	kfree(f);
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.poll = dev_poll,
	.mmap = dev_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice dev_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm",
	.fops = &dev_fops,
	.mode = 0666,
};

int __init hmm_dev_init(void)
{
	return misc_register(&dev_device);
}

void hmm_dev_exit(void)
{
	misc_deregister(&dev_device);
}
