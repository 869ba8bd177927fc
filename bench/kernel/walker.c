// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * walker.c - hmm_bench.ko: the kernel's own walker, called from user space
 *
 * What a snapshot can't cost less than: copy the entries of a piece of the
 * caller's page table, and nothing that says whether they still hold.
 */
#include <linux/hmm.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "walker.h"

static long bench_ioctl(struct file *file, unsigned int request,
			unsigned long arg)
{
	struct mmu_interval_notifier notifier = { .mm = current->mm };
	struct hmm_range range = { .notifier = &notifier };
	struct hmm_bench_walk walk;
	size_t pages;
	long ret;

	if (request != HMM_BENCH_WALK)
		return -ENOTTY;
	if (copy_from_user(&walk, (void __user *)arg, sizeof(walk)))
		return -EFAULT;
	pages = (walk.end - walk.start) >> PAGE_SHIFT;
	range.start = walk.start;
	range.end = walk.end;
	range.hmm_pfns = kvcalloc(pages, sizeof(*range.hmm_pfns), GFP_KERNEL);
	if (!range.hmm_pfns)
		return -ENOMEM;
	mmap_read_lock(current->mm);
	ret = hmm_range_fault(&range);
	mmap_read_unlock(current->mm);
	if (!ret && copy_to_user(u64_to_user_ptr(walk.pfns), range.hmm_pfns,
				 pages * sizeof(*range.hmm_pfns)))
		ret = -EFAULT;
	kvfree(range.hmm_pfns);
	return ret;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench",
	.fops = &bench_fops,
};

module_misc_device(bench_device);

MODULE_DESCRIPTION("The kernel's page table walker, for comparison");
MODULE_LICENSE("Dual MIT/GPL");
