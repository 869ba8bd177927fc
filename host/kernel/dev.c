// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev.c - /dev/hmm: the changes and entries of a page table, for a process
 *
 * hmm_dev.h is the contract.  Everyone may open it: it shows what the opener
 * could see by other means, and costs memory that is charged to the opener.
 *
 *	dev_bind.c	which address space a file shows
 *	dev_ring.c	counters and records
 *	dev_range.c	ranges and vmas
 *	dev_hold.c	changes that wait for an acknowledgement
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat/compat.h"
#include "dev.h"

/* From now on f->hmm stays as it is. */
static int use(struct hmm_file *f)
{
	int state = atomic_read_acquire(&f->state);

	while (state == DEV_FRESH)
		if (atomic_try_cmpxchg_acquire(&f->state, &state, DEV_USED))
			return 0;
	return state == DEV_BINDING ? -EBUSY : 0;
}

static long dev_ioctl(struct file *file, unsigned int request,
		      unsigned long arg)
{
	struct hmm_file *f = file->private_data;
	void __user *user = (void __user *)arg;
	int ret;

	if (request == HMM_DEV_BIND)
		return dev_bind(f, (int)arg);
	ret = use(f);
	if (ret)
		return ret;
	switch (request) {
	case HMM_DEV_SYNC:
		return dev_ring_sync(f, user);
	case HMM_DEV_ARM:
		return dev_ring_arm(f, user);
	case HMM_DEV_CLEAR:
		return dev_ring_disarm(f);
	case HMM_DEV_VMA:
		return dev_vma(f, user);
	case HMM_DEV_REGISTER:
		return dev_register(f, user);
	case HMM_DEV_UNREGISTER:
		return dev_unregister(f, arg);
	case HMM_DEV_WAIT:
		return dev_wait(f, user);
	case HMM_DEV_SNAPSHOT:
		return dev_walk(f, user, false);
	case HMM_DEV_FAULT:
		return dev_walk(f, user, true);
	case HMM_DEV_VALID:
		return dev_valid(f, arg);
	case HMM_DEV_HOLD:
		return dev_hold(f, arg);
	case HMM_DEV_ACK:
		return dev_ack(f, arg);
	default:
		return -ENOTTY;
	}
}

static __poll_t dev_poll(struct file *file, poll_table *table)
{
	return dev_ring_poll(file->private_data, file, table);
}

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hmm_file *f = file->private_data;
	int ret;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	ret = use(f);
	if (ret)
		return ret;
	hmm_compat_vm_flags_clear(vma, VM_MAYWRITE);
	return vm_map_pages(vma, f->ring.pages, DEV_PAGES);
}

/* ---- Life --------------------------------------------------------------- */

static int dev_open(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = current->mm;
	struct hmm_file *f;
	int ret;

	if (!mm)
		return -EINVAL;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	f->privileged = file_ns_capable(file, &init_user_ns, CAP_SYS_ADMIN);
	f->writable = true;
	dev_ranges_init(f);
	dev_hold_init(f);
	ret = dev_ring_init(f);
	if (ret)
		goto out_file;
	ret = dev_bind_mm(f, mm);
	if (ret)
		goto out_ring;
	file->private_data = f;
	return 0;

out_ring:
	dev_ring_exit(f);
out_file:
	kfree(f);
	return ret;
}

static int dev_flush(struct file *file, fl_owner_t owner)
{
	dev_hold_flush(file->private_data);
	return 0;
}

static int dev_release(struct inode *inode, struct file *file)
{
	struct hmm_file *f = file->private_data;

	dev_hold_exit(f);
	dev_ranges_exit(f);
	hmm_unlisten(f->hmm, &f->listener);
	hmm_host_put(f->hmm);
	dev_ring_exit(f);
	kfree(f);
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.flush = dev_flush,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
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
	dev_bind_init();
	return misc_register(&dev_device);
}

void hmm_dev_exit(void)
{
	misc_deregister(&dev_device);
}
