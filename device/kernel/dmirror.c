// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dmirror.c - hmm_dmirror.ko: a device without hardware, on hmm.ko's API
 *
 * /dev/hmm_dmirror0 and 1 understand the requests of the device that the
 * kernel's own self-test of HMM drives.  An open file is a device page table
 * of the opener's memory; READ and WRITE go through it, faulting in what it
 * lacks.  There is no device memory: what wants it is told -EOPNOTSUPP.
 *
 * Where the self-test's idea of an error differs from hmm.h's, the device
 * translates.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "hmm.h"

/* ---- The requests ------------------------------------------------------- */

struct dmirror_cmd {
	__u64 addr; /* of the opener's memory, page aligned */
	__u64 ptr;  /* of the caller's memory: what is read, to be written */
	__u64 npages;
	__u64 cpages; /* out: pages copied */
	__u64 faults; /* out: how often the device page table lacked something */
};

#define DMIRROR_READ _IOWR('H', 0, struct dmirror_cmd)
#define DMIRROR_WRITE _IOWR('H', 1, struct dmirror_cmd)
#define DMIRROR_SNAPSHOT _IOWR('H', 4, struct dmirror_cmd)

/* What SNAPSHOT says, a byte a page */
#define PROT_SEEN_ERROR 0xff
#define PROT_SEEN_NONE 0x00
#define PROT_SEEN_READ 0x01
#define PROT_SEEN_WRITE 0x02
#define PROT_SEEN_PMD 0x04
#define PROT_SEEN_ZERO 0x10

/* ---- The device --------------------------------------------------------- */

/* Entries: the pfn from bit 12, and below it */
#define DM_VALID 0x1ull
#define DM_WRITE 0x2ull
#define DM_DEVICE 0x4ull
#define DM_ERROR 0x10ull
#define DM_NONE 0x20ull
#define DM_SPECIAL 0x40ull

static const u64 dm_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = DM_VALID,
	[HMM_PFN_WRITE] = DM_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = DM_DEVICE,
};

static const u64 dm_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = DM_ERROR,
	[HMM_PFN_NONE] = DM_NONE,
	[HMM_PFN_SPECIAL] = DM_SPECIAL,
};

#define DM_CHUNK 512ul /* pages looked at in one go */
#define DM_RETRIES 100

struct dmirror {
	struct mm_struct *mm;
	struct hmm_mirror mirror;
	/*
	 * L, for the table.  Taken in the mirror's callback: nothing may be
	 * waited for under it that can wait for a change, memory included.
	 */
	struct mutex lock;
	struct xarray table; /* by page of the opener, pfn << 1 | writable */
};

static void dm_remove(struct dmirror *dm, unsigned long start,
		      unsigned long end)
{
	unsigned long page;
	void *entry;

	xa_for_each_range(&dm->table, page, entry, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT) xa_erase(&dm->table, page);
}

static int dm_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);

	if (update->blockable)
		mutex_lock(&dm->lock);
	else if (!mutex_trylock(&dm->lock))
		return -EAGAIN;
	dm_remove(dm, update->start, update->end);
	mutex_unlock(&dm->lock);
	return 0;
}

static void dm_gone(struct hmm_mirror *mirror)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);

	mutex_lock(&dm->lock);
	dm_remove(dm, 0, ~0ul);
	mutex_unlock(&dm->lock);
}

static const struct hmm_mirror_ops dm_ops = {
	.release = dm_gone,
	.sync_cpu_device_pagetables = dm_sync,
};

static int dm_install(struct dmirror *dm, unsigned long start, const u64 *pfns,
		      long n)
{
	unsigned long page = start >> PAGE_SHIFT;
	long i;
	int ret;

	lockdep_assert_held(&dm->lock);
	for (i = 0; i < n; i++) {
		unsigned long entry = (pfns[i] >> PAGE_SHIFT) << 1;

		if (pfns[i] & (DM_ERROR | DM_NONE | DM_SPECIAL))
			return -EFAULT;
		entry |= !!(pfns[i] & DM_WRITE);
		ret = xa_err(xa_store(&dm->table, page + i, xa_mk_value(entry),
				      GFP_ATOMIC));
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Get the entries of [start, end), at most DM_CHUNK of them.  With fault, have
 * them readable, or writable, and install them.  The driver loop of hmm.h.
 */
static int dm_walk(struct dmirror *dm, unsigned long start, unsigned long end,
		   u64 *pfns, bool fault, bool write)
{
	struct hmm_range range = {
		.pfns = pfns,
		.flags = dm_flags,
		.values = dm_values,
		.pfn_shift = PAGE_SHIFT,
		.default_flags = DM_VALID | (write ? DM_WRITE : 0),
	};
	int retries = DM_RETRIES;
	long ret;

	ret = hmm_range_register(&range, dm->mm, start, end);
	if (ret)
		return ret;
again:
	ret = -EINTR;
	if (fatal_signal_pending(current))
		goto out;
	ret = -EBUSY;
	if (!retries--)
		goto out;
	if (!hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT))
		goto out;
	mmap_read_lock(dm->mm);
	ret = fault ? hmm_range_fault(&range, true)
		    : hmm_range_snapshot(&range);
	mmap_read_unlock(dm->mm);
	if (ret == -EBUSY)
		goto again;
	if (ret < 0 || !fault)
		goto out;

	mutex_lock(&dm->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&dm->lock);
		goto again;
	}
	ret = dm_install(dm, start, pfns, ret);
	mutex_unlock(&dm->lock);
out:
	hmm_range_unregister(&range);
	return ret < 0 ? ret : 0;
}

static int dm_fault(struct dmirror *dm, unsigned long start, unsigned long end,
		    bool write)
{
	unsigned long addr, stop;
	int ret = 0;
	u64 *pfns;

	pfns = kvcalloc(DM_CHUNK, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;
	for (addr = start; addr < end && !ret; addr = stop) {
		stop = min(end, addr + DM_CHUNK * PAGE_SIZE);
		ret = dm_walk(dm, addr, stop, pfns, true, write);
	}
	kvfree(pfns);
	/* To the self-test, memory that can't be read is not there at all. */
	return ret == -EPERM && !write ? -EFAULT : ret;
}

/* ---- Using it ----------------------------------------------------------- */

/* One page between the device's view and a buffer; -ENOENT: a device fault. */
static int dm_access(struct dmirror *dm, unsigned long addr, void *buffer,
		     bool write)
{
	struct page *page;
	void *entry, *mapped;
	int ret = -ENOENT;

	mutex_lock(&dm->lock);
	entry = xa_load(&dm->table, addr >> PAGE_SHIFT);
	if (!entry || (write && !(xa_to_value(entry) & 1)))
		goto out;
	/* No reference: while it is in the table the page stays what it is. */
	page = pfn_to_page(xa_to_value(entry) >> 1);
	mapped = kmap_local_page(page);
	if (write)
		memcpy(mapped, buffer, PAGE_SIZE);
	else
		memcpy(buffer, mapped, PAGE_SIZE);
	kunmap_local(mapped);
	ret = 0;
out:
	mutex_unlock(&dm->lock);
	return ret;
}

static int dm_read_write(struct dmirror *dm, struct dmirror_cmd *cmd,
			 bool write)
{
	unsigned long addr = cmd->addr;
	unsigned long end = addr + (cmd->npages << PAGE_SHIFT);
	char __user *user = u64_to_user_ptr(cmd->ptr);
	void *buffer = (void *)__get_free_page(GFP_KERNEL);
	int ret = 0;

	if (!buffer)
		return -ENOMEM;
	while (addr < end) {
		ret = -EFAULT;
		if (write && copy_from_user(buffer, user, PAGE_SIZE))
			break;
		while ((ret = dm_access(dm, addr, buffer, write)) == -ENOENT) {
			cmd->faults++;
			ret = dm_fault(dm, addr, end, write);
			if (ret)
				goto out;
			cond_resched();
		}
		ret = -EFAULT;
		if (!write && copy_to_user(user, buffer, PAGE_SIZE))
			break;
		ret = 0;
		user += PAGE_SIZE;
		addr += PAGE_SIZE;
		cmd->cpages++;
	}
out:
	free_page((unsigned long)buffer);
	return ret;
}

/* ---- Snapshots ---------------------------------------------------------- */

/* One huge page, all of it mapped, with the same permissions. */
static bool is_pmd(const u64 *pfns)
{
	unsigned long i, n = 1ul << (PMD_SHIFT - PAGE_SHIFT);
	unsigned long pfn = pfns[0] >> PAGE_SHIFT;

	if (!(pfns[0] & DM_VALID) || (pfn & (n - 1)))
		return false;
	for (i = 1; i < n; i++)
		if (pfns[i] != pfns[0] + (i << PAGE_SHIFT))
			return false;
	return compound_order(compound_head(pfn_to_page(pfn))) >=
	       PMD_SHIFT - PAGE_SHIFT;
}

static u8 prot_seen(u64 entry)
{
	u8 prot = entry & DM_WRITE ? PROT_SEEN_WRITE : PROT_SEEN_READ;

	if (entry & (DM_ERROR | DM_SPECIAL))
		return PROT_SEEN_ERROR;
	if (entry & DM_NONE)
		return PROT_SEEN_NONE;
	return is_zero_pfn(entry >> PAGE_SHIFT) ? prot | PROT_SEEN_ZERO : prot;
}

/* How far memory from addr on is of one kind, and whether it can be seen. */
static bool readable(struct dmirror *dm, unsigned long addr, unsigned long *end)
{
	struct vm_area_struct *vma;
	bool ret = false;

	mmap_read_lock(dm->mm);
	vma = find_vma(dm->mm, addr);
	if (vma && vma->vm_start > addr) {
		*end = min(*end, vma->vm_start);
	} else if (vma) {
		*end = min(*end, vma->vm_end);
		ret = vma->vm_flags & VM_READ;
	}
	mmap_read_unlock(dm->mm);
	return ret;
}

/* [start, end) is inside one PMD's reach; prots has room for a whole one. */
static int dm_look(struct dmirror *dm, unsigned long start, unsigned long end,
		   u64 *pfns, u8 *prots)
{
	unsigned long i, n = (end - start) >> PAGE_SHIFT;
	int ret = dm_walk(dm, start, end, pfns, false, false);
	u8 pmd;

	if (ret && ret != -EPERM)
		return ret;
	pmd = !ret && end - start == PMD_SIZE && is_pmd(pfns) ? PROT_SEEN_PMD
							      : 0;
	for (i = 0; i < n; i++)
		prots[i] = ret ? PROT_SEEN_ERROR : prot_seen(pfns[i]) | pmd;
	return 0;
}

static int dm_snapshot(struct dmirror *dm, struct dmirror_cmd *cmd)
{
	unsigned long addr = cmd->addr, stop, n;
	unsigned long end = addr + (cmd->npages << PAGE_SHIFT);
	u8 __user *user = u64_to_user_ptr(cmd->ptr);
	int ret = -ENOMEM;
	u64 *pfns;
	u8 *prots;

	pfns = kvcalloc(DM_CHUNK, sizeof(*pfns), GFP_KERNEL);
	prots = kvcalloc(DM_CHUNK, sizeof(*prots), GFP_KERNEL);
	if (!pfns || !prots)
		goto out;
	/* A dead mm has no mmap lock to take; ranges pin it, this does as well. */
	ret = -EFAULT;
	if (!mmget_not_zero(dm->mm))
		goto out;
	for (ret = 0; addr < end; addr = stop) {
		stop = min(end, ALIGN(addr + 1, PMD_SIZE));
		if (readable(dm, addr, &stop))
			ret = dm_look(dm, addr, stop, pfns, prots);
		else
			memset(prots, PROT_SEEN_ERROR,
			       (stop - addr) >> PAGE_SHIFT);
		if (ret)
			break;
		n = (stop - addr) >> PAGE_SHIFT;
		ret = -EFAULT;
		if (copy_to_user(user + cmd->cpages, prots, n))
			break;
		ret = 0;
		cmd->cpages += n;
		cond_resched();
	}
	mmput(dm->mm);
out:
	kvfree(prots);
	kvfree(pfns);
	return ret;
}

/* ---- The file ----------------------------------------------------------- */

static int dm_open(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = current->mm;
	struct dmirror *dm;
	int ret;

	if (!mm)
		return -EINVAL;
	dm = kzalloc(sizeof(*dm), GFP_KERNEL_ACCOUNT);
	if (!dm)
		return -ENOMEM;
	mutex_init(&dm->lock);
	xa_init(&dm->table);
	dm->mm = mm;
	dm->mirror.ops = &dm_ops;
	mmap_write_lock(mm);
	ret = hmm_mirror_register(&dm->mirror, mm);
	mmap_write_unlock(mm);
	if (ret) {
		kfree(dm);
		return ret;
	}
	mmgrab(mm);
	file->private_data = dm;
	return 0;
}

static int dm_close(struct inode *inode, struct file *file)
{
	struct dmirror *dm = file->private_data;

	/* A callback of ours waits for nothing but our lock: it will return. */
	while (hmm_mirror_unregister(&dm->mirror) == -ETIMEDOUT)
		;
	xa_destroy(&dm->table);
	mmdrop(dm->mm);
	kfree(dm);
	return 0;
}

static int dm_run(struct dmirror *dm, unsigned int request,
		  struct dmirror_cmd *cmd)
{
	switch (request) {
	case DMIRROR_READ:
		return dm_read_write(dm, cmd, false);
	case DMIRROR_WRITE:
		return dm_read_write(dm, cmd, true);
	case DMIRROR_SNAPSHOT:
		return dm_snapshot(dm, cmd);
	default:
		return -EOPNOTSUPP;
	}
}

static long dm_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct dmirror_cmd cmd;
	int ret;

	if (_IOC_TYPE(request) != 'H' || _IOC_SIZE(request) != sizeof(cmd))
		return -ENOTTY;
	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if ((cmd.addr & ~PAGE_MASK) || !cmd.npages || cmd.addr >= TASK_SIZE ||
	    cmd.npages > (TASK_SIZE - cmd.addr) >> PAGE_SHIFT)
		return -EINVAL;
	cmd.cpages = 0;
	cmd.faults = 0;
	ret = dm_run(file->private_data, request, &cmd);
	if (ret)
		return ret;
	return copy_to_user(user, &cmd, sizeof(cmd)) ? -EFAULT : 0;
}

/* Pages of the device's driver, which are nobody's memory else. */
static int dm_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;
	struct page *page;
	int ret;

	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, addr, page);
		put_page(page);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations dm_fops = {
	.owner = THIS_MODULE,
	.open = dm_open,
	.release = dm_close,
	.unlocked_ioctl = dm_ioctl,
	.mmap = dm_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice dm_devices[] = {
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "hmm_dmirror0",
		.fops = &dm_fops,
	},
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "hmm_dmirror1",
		.fops = &dm_fops,
	},
};

static int __init dm_init(void)
{
	int ret = misc_register(&dm_devices[0]);

	if (ret)
		return ret;
	ret = misc_register(&dm_devices[1]);
	if (ret)
		misc_deregister(&dm_devices[0]);
	return ret;
}

static void __exit dm_exit(void)
{
	misc_deregister(&dm_devices[1]);
	misc_deregister(&dm_devices[0]);
}

module_init(dm_init);
module_exit(dm_exit);

MODULE_DESCRIPTION(
	"A device without hardware that mirrors its opener's memory");
MODULE_LICENSE("Dual MIT/GPL");
