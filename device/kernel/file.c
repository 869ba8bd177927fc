// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * file.c - hmm_dmirror.ko: devices without hardware, on hmm.ko's API
 *
 * /dev/hmm_dmirror0 and the others understand the requests of the device that
 * the kernel's own self-test of HMM drives.  An open file is a device page
 * table of the opener's memory; READ and WRITE go through it, faulting in what
 * it lacks.  0 and 1 have private memory if the kernel knows such, and else say
 * -EOPNOTSUPP to what wants it.  2 and 3 have coherent memory, and are there if
 * the module is told where it is.  EXCLUSIVE is -EOPNOTSUPP where the kernel
 * exports no way to it.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dmirror.h"

static unsigned long long spm_addr_dev0;
module_param(spm_addr_dev0, ullong, 0444);
MODULE_PARM_DESC(spm_addr_dev0,
		 "where hmm_dmirror2 has 64 MiB of memory, hidden at boot");

static unsigned long long spm_addr_dev1;
module_param(spm_addr_dev1, ullong, 0444);
MODULE_PARM_DESC(spm_addr_dev1, "the same for hmm_dmirror3");

/* ---- The requests ------------------------------------------------------- */

#define DMIRROR_READ _IOWR('H', 0, struct dmirror_cmd)
#define DMIRROR_WRITE _IOWR('H', 1, struct dmirror_cmd)
#define DMIRROR_MIGRATE_TO_DEV _IOWR('H', 2, struct dmirror_cmd)
#define DMIRROR_MIGRATE_TO_SYS _IOWR('H', 3, struct dmirror_cmd)
#define DMIRROR_SNAPSHOT _IOWR('H', 4, struct dmirror_cmd)
#define DMIRROR_EXCLUSIVE _IOWR('H', 5, struct dmirror_cmd)
#define DMIRROR_CHECK_EXCLUSIVE _IOWR('H', 6, struct dmirror_cmd)
#define DMIRROR_RELEASE _IOWR('H', 7, struct dmirror_cmd)

static int dm_run(struct dmirror *dm, unsigned int request,
		  struct dmirror_cmd *cmd)
{
	switch (request) {
	case DMIRROR_READ:
		return dm_access(dm, cmd, DM_READ);
	case DMIRROR_WRITE:
		return dm_access(dm, cmd, DM_WRITE);
	case DMIRROR_MIGRATE_TO_DEV:
		return dm_migrate_to_device(dm, cmd);
	case DMIRROR_MIGRATE_TO_SYS:
		return dm_migrate_to_system(dm, cmd);
	case DMIRROR_SNAPSHOT:
		return dm_snapshot(dm, cmd);
	case DMIRROR_EXCLUSIVE:
		return dm_access(dm, cmd, DM_EXCLUSIVE);
	case DMIRROR_CHECK_EXCLUSIVE:
		return dm_check_exclusive(dm, cmd);
	case DMIRROR_RELEASE:
		return dm_evict(dm->device->memory);
	default:
		return -EOPNOTSUPP;
	}
}

static long dm_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	/* With page tables of five levels there is more than the device knows. */
	const unsigned long top = min(TASK_SIZE, PT_ADDR_END);
	void __user *user = (void __user *)arg;
	struct dmirror_cmd cmd;
	int ret;

	if (_IOC_TYPE(request) != 'H' || _IOC_SIZE(request) != sizeof(cmd))
		return -ENOTTY;
	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if ((cmd.addr & ~PAGE_MASK) || !cmd.npages || cmd.addr >= top ||
	    cmd.npages > (top - cmd.addr) >> PAGE_SHIFT)
		return -EINVAL;
	cmd.cpages = 0;
	cmd.faults = 0;
	ret = dm_run(file->private_data, request, &cmd);
	if (ret)
		return ret;
	return copy_to_user(user, &cmd, sizeof(cmd)) ? -EFAULT : 0;
}

/* ---- The file ----------------------------------------------------------- */

static int dm_open(struct inode *inode, struct file *file)
{
	struct miscdevice *misc = file->private_data;
	struct mm_struct *mm = current->mm;
	struct dmirror *dm;
	int ret;

	if (!mm)
		return -EINVAL;
	dm = kzalloc(sizeof(*dm), GFP_KERNEL_ACCOUNT);
	if (!dm)
		return -ENOMEM;
	dm->device = container_of(misc, struct dm_device, misc);
	ret = dm_attach(dm, mm);
	if (ret) {
		kfree(dm);
		return ret;
	}
	atomic_inc(&dm->device->openers);
	file->private_data = dm;
	return 0;
}

static int dm_close(struct inode *inode, struct file *file)
{
	struct dmirror *dm = file->private_data;
	struct dm_device *device = dm->device;

	dm_detach(dm);
	kfree(dm);
	/*
	 * Nobody drives the device any more.  What stays there, because it is
	 * pinned say, keeps the module loaded until it is freed.
	 */
	if (atomic_dec_and_test(&device->openers))
		dm_evict(device->memory);
	return 0;
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

/* ---- The devices -------------------------------------------------------- */

#define DEVICE(n)                                    \
	{                                            \
		.misc = {                            \
			.minor = MISC_DYNAMIC_MINOR, \
			.name = "hmm_dmirror" #n,    \
			.fops = &dm_fops,            \
		},                                   \
	}

static struct dm_device devices[] = {
	DEVICE(0),
	DEVICE(1),
	DEVICE(2),
	DEVICE(3),
};

/* Without private memory a device still mirrors. */
static int add(struct dm_device *device, unsigned long long start)
{
	struct dm_memory *memory = dm_memory_create(device->misc.name, start);
	int ret;

	if (IS_ERR(memory) && start)
		return PTR_ERR(memory);
	device->memory = IS_ERR(memory) ? NULL : memory;
	ret = misc_register(&device->misc);
	if (ret)
		dm_memory_destroy(device->memory);
	return ret;
}

static void remove(struct dm_device *device)
{
	misc_deregister(&device->misc);
	dm_memory_destroy(device->memory);
}

/* The self-test takes the third and fourth for a pair. */
static unsigned int nr_devices(void)
{
	return spm_addr_dev0 && spm_addr_dev1 ? 4 : 2;
}

static int __init dm_init(void)
{
	const unsigned long long start[] = { 0, 0, spm_addr_dev0,
					     spm_addr_dev1 };
	unsigned int i;
	int ret;

	if (!spm_addr_dev0 != !spm_addr_dev1) {
		pr_err("hmm_dmirror: no spm_addr_dev0 or spm_addr_dev1\n");
		return -EINVAL;
	}
	for (i = 0; i < nr_devices(); i++) {
		ret = add(&devices[i], start[i]);
		if (ret)
			goto out;
	}
	return 0;
out:
	while (i--)
		remove(&devices[i]);
	return ret;
}

static void __exit dm_exit(void)
{
	unsigned int i = nr_devices();

	while (i--)
		remove(&devices[i]);
}

module_init(dm_init);
module_exit(dm_exit);

MODULE_DESCRIPTION(
	"A device without hardware that mirrors its opener's memory");
MODULE_LICENSE("Dual MIT/GPL");
