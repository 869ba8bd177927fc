// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * driver.c - /dev/hmm_selftest: a driver on hmm.ko that is told what to do
 *
 * tests/unit/kernel_api.c tells it, to see what only a module can see: locks,
 * the order of notifiers, callbacks that must not block, an mm that is dead.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "hmm.h"
#include "hmm_selftest.h"

#define ST_PAGES 64
#define STUCK_SECONDS 60

#define ST_VALID_BIT 0x1ull
#define ST_NONE_BIT 0x2ull
#define ST_ERROR_BIT 0x4ull

static const u64 st_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = ST_VALID_BIT,
};

static const u64 st_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = ST_ERROR_BIT,
	[HMM_PFN_NONE] = ST_NONE_BIT,
	[HMM_PFN_SPECIAL] = ST_ERROR_BIT,
};

struct st_file {
	struct mm_struct *mm;
	struct mutex requests;
	struct hmm_mirror mirror;
	/* L.  A spinlock, as the strictest driver would have it. */
	spinlock_t lock;
	struct hmm_range range;
	u64 pfns[ST_PAGES];
	struct hmm_selftest_seen seen;
	unsigned long mode;
	wait_queue_head_t wq;
	bool unstuck;
	struct mmu_notifier at_end;
};

/* ---- The mirror --------------------------------------------------------- */

/* With an end, for a test that fails. */
static long st_stick(struct st_file *f)
{
	spin_lock(&f->lock);
	f->seen.stuck = 1;
	spin_unlock(&f->lock);
	wait_event_timeout(f->wq, READ_ONCE(f->unstuck), STUCK_SECONDS * HZ);
	return 0;
}

static int st_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct st_file *f = container_of(mirror, struct st_file, mirror);
	unsigned long mode;
	bool ours;
	int ret = 0;

	spin_lock(&f->lock);
	mode = f->mode;
	ours = f->range.hmm && update->start < f->range.end &&
	       f->range.start < update->end;
	if (ours) {
		f->seen.calls++;
		f->seen.trusting += hmm_range_valid(&f->range);
	}
	if (ours && !update->blockable && (mode & ST_REFUSE)) {
		f->seen.refused++;
		ret = -EAGAIN;
	}
	if (ours && (mode & ST_UNRANGE_INSIDE))
		hmm_range_unregister(&f->range);
	spin_unlock(&f->lock);
	if (ours && (mode & ST_UNMIRROR_INSIDE))
		f->seen.inside = hmm_mirror_unregister(&f->mirror);
	if (ours && update->blockable && (mode & ST_STICK_INSIDE))
		st_stick(f);
	return ret;
}

static void st_release(struct hmm_mirror *mirror)
{
	struct st_file *f = container_of(mirror, struct st_file, mirror);

	spin_lock(&f->lock);
	f->seen.released++;
	spin_unlock(&f->lock);
}

static const struct hmm_mirror_ops st_ops = {
	.release = st_release,
	.sync_cpu_device_pagetables = st_sync,
};

/* ---- Requests ----------------------------------------------------------- */

static long st_bind(struct st_file *f)
{
	if (f->mm || !current->mm)
		return -EBUSY;
	mmgrab(current->mm);
	f->mm = current->mm;
	return 0;
}

static long st_mirror(struct st_file *f)
{
	long ret;

	f->mirror.ops = &st_ops;
	mmap_write_lock(f->mm);
	ret = hmm_mirror_register(&f->mirror, f->mm);
	mmap_write_unlock(f->mm);
	return ret;
}

static long st_range(struct st_file *f, void __user *user)
{
	struct hmm_selftest_range arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.end - arg.start > ST_PAGES * PAGE_SIZE)
		return -EINVAL;
	if (f->range.hmm)
		return -EBUSY;
	f->range = (struct hmm_range){
		.pfns = f->pfns,
		.flags = st_flags,
		.values = st_values,
		.pfn_shift = PAGE_SHIFT,
		.default_flags = ST_VALID_BIT,
	};
	return hmm_range_register(&f->range, f->mm, arg.start, arg.end);
}

static void st_unrange(struct st_file *f)
{
	spin_lock(&f->lock);
	hmm_range_unregister(&f->range);
	spin_unlock(&f->lock);
}

/* Nobody else may use the mm: whether its lock is free is then our doing. */
static long st_walk(struct st_file *f, bool fault, bool block)
{
	bool held;
	long ret;

	mmap_read_lock(f->mm);
	ret = fault ? hmm_range_fault(&f->range, block)
		    : hmm_range_snapshot(&f->range);
	held = rwsem_is_locked(&f->mm->mmap_lock);
	if (held)
		mmap_read_unlock(f->mm);
	return held == (ret != -EAGAIN) ? ret : -ST_LOCK_ERROR;
}

static long st_valid(struct st_file *f)
{
	long ret;

	spin_lock(&f->lock);
	ret = hmm_range_valid(&f->range);
	spin_unlock(&f->lock);
	return ret;
}

static long st_present(struct st_file *f)
{
	unsigned long i, n = (f->range.end - f->range.start) >> PAGE_SHIFT;
	long ret = 0;

	for (i = 0; i < n; i++)
		ret += !!(f->pfns[i] & ST_VALID_BIT);
	return ret;
}

static void st_mode(struct st_file *f, unsigned long mode)
{
	spin_lock(&f->lock);
	f->mode = mode;
	spin_unlock(&f->lock);
}

static long st_seen(struct st_file *f, void __user *user)
{
	struct hmm_selftest_seen seen;

	spin_lock(&f->lock);
	seen = f->seen;
	spin_unlock(&f->lock);
	return copy_to_user(user, &seen, sizeof(seen)) ? -EFAULT : 0;
}

static void st_end(struct mmu_notifier *mn, struct mm_struct *mm)
{
	st_stick(container_of(mn, struct st_file, at_end));
}

static const struct mmu_notifier_ops st_end_ops = {
	.release = st_end,
};

static long st_stick_at_end(struct st_file *f)
{
	int ret;

	if (f->at_end.ops)
		return -EBUSY;
	f->at_end.ops = &st_end_ops;
	ret = mmu_notifier_register(&f->at_end, f->mm);
	if (ret)
		f->at_end.ops = NULL;
	return ret;
}

static void st_unstick(struct st_file *f)
{
	WRITE_ONCE(f->unstuck, true);
	wake_up_all(&f->wq);
}

static long st_request(struct st_file *f, unsigned int request,
		       unsigned long arg)
{
	if (request == ST_BIND)
		return st_bind(f);
	if (!f->mm)
		return -EINVAL;
	switch (request) {
	case ST_MIRROR:
		return st_mirror(f);
	case ST_UNMIRROR:
		return hmm_mirror_unregister(&f->mirror);
	case ST_RANGE:
		return st_range(f, (void __user *)arg);
	case ST_UNRANGE:
		st_unrange(f);
		return 0;
	case ST_WAIT:
		return hmm_range_wait_until_valid(&f->range, arg);
	case ST_SNAPSHOT:
		return st_walk(f, false, true);
	case ST_FAULT:
		return st_walk(f, true, arg);
	case ST_VALID:
		return st_valid(f);
	case ST_PRESENT:
		return st_present(f);
	case ST_STICK_AT_END:
		return st_stick_at_end(f);
	default:
		return -ENOTTY;
	}
}

static long st_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct st_file *f = file->private_data;
	long ret;

	/* What others may ask while a request sleeps. */
	switch (request) {
	case ST_MODE:
		st_mode(f, arg);
		return 0;
	case ST_SEEN:
		return st_seen(f, (void __user *)arg);
	case ST_STICK:
		return st_stick(f);
	case ST_UNSTICK:
		st_unstick(f);
		return 0;
	}
	mutex_lock(&f->requests);
	ret = st_request(f, request, arg);
	mutex_unlock(&f->requests);
	return ret;
}

/* ---- The file ----------------------------------------------------------- */

static int st_open(struct inode *inode, struct file *file)
{
	struct st_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	mutex_init(&f->requests);
	spin_lock_init(&f->lock);
	init_waitqueue_head(&f->wq);
	file->private_data = f;
	return 0;
}

static int st_close(struct inode *inode, struct file *file)
{
	struct st_file *f = file->private_data;

	if (f->at_end.ops)
		mmu_notifier_unregister(&f->at_end, f->mm);
	st_unrange(f);
	while (hmm_mirror_unregister(&f->mirror) == -ETIMEDOUT)
		;
	if (f->mm)
		mmdrop(f->mm);
	kfree(f);
	return 0;
}

static const struct file_operations st_fops = {
	.owner = THIS_MODULE,
	.open = st_open,
	.release = st_close,
	.unlocked_ioctl = st_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice st_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_selftest",
	.fops = &st_fops,
};

module_misc_device(st_device);

MODULE_DESCRIPTION("A driver on hmm.ko that does what its tests tell it");
MODULE_LICENSE("Dual MIT/GPL");
