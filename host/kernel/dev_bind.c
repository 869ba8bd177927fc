// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_bind.c - which address space a file of /dev/hmm shows
 *
 * Another process's is one that the caller could open /proc/PID/mem of: no
 * kernel lets a module ask for ptrace access itself.  Such a file is known by
 * its operations, which are those of the /proc/self/mem that was opened when
 * the module was loaded, by whoever may load modules.  A later look would be
 * at whatever the caller has had mounted on /proc.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/moduleparam.h>

#include "dev.h"

static unsigned int files_per_mm = 64;
module_param(files_per_mm, uint, 0644);
MODULE_PARM_DESC(files_per_mm,
		 "how many files of /dev/hmm may show one address space");

/* NULL: no file is known for one. */
static const struct file_operations *mem_operations;

void __init dev_bind_init(void)
{
	struct file *file = filp_open("/proc/self/mem", O_RDONLY, 0);

	if (IS_ERR(file)) {
		pr_warn("hmm: /proc/self/mem: error %ld: HMM_DEV_BIND won't "
			"work; mount /proc and load the module again\n",
			PTR_ERR(file));
		return;
	}
	if (file_inode(file)->i_sb->s_magic == PROC_SUPER_MAGIC &&
	    file->private_data == current->mm)
		mem_operations = file->f_op;
	else
		pr_warn("hmm: /proc/self/mem is not what it was in the kernels "
			"that this module knows: HMM_DEV_BIND won't work\n");
	filp_close(file, NULL);
}

int dev_bind_mm(struct hmm_file *f, struct mm_struct *mm)
{
	struct hmm *hmm;
	int ret;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	hmm = hmm_host_get(mm);
	mmap_write_unlock(mm);
	if (IS_ERR(hmm))
		return (int)PTR_ERR(hmm);
	if (f->hmm)
		hmm_unlisten(f->hmm, &f->listener);
	/* What was recorded of the other one is nobody's business now. */
	dev_ring_clear(f);
	ret = hmm_listen(hmm, &f->listener, READ_ONCE(files_per_mm));
	if (!ret)
		swap(f->hmm, hmm);
	else if (f->hmm)
		hmm_listen(f->hmm, &f->listener, UINT_MAX);
	if (hmm)
		hmm_host_put(hmm);
	return ret;
}

/* The mm of an open file of /proc/PID/mem, in use; or why not. */
static struct mm_struct *mm_of(const struct file *file)
{
	struct mm_struct *mm;

	if (file->f_op != mem_operations)
		return ERR_PTR(-EINVAL);
	if (!(file->f_mode & FMODE_READ))
		return ERR_PTR(-EACCES);
	/* A kernel thread has none. */
	mm = file->private_data;
	if (!mm || !mmget_not_zero(mm))
		return ERR_PTR(-ESRCH);
	return mm;
}

long dev_bind(struct hmm_file *f, int fd)
{
	struct mm_struct *mm;
	struct file *file;
	int ret;

	if (!mem_operations)
		return -EOPNOTSUPP;
	file = fget(fd);
	if (!file)
		return -EBADF;
	mm = mm_of(file);
	if (IS_ERR(mm)) {
		ret = (int)PTR_ERR(mm);
		goto out_file;
	}
	ret = -EBUSY;
	if (atomic_cmpxchg(&f->state, DEV_FRESH, DEV_BINDING) != DEV_FRESH)
		goto out_mm;
	ret = dev_bind_mm(f, mm);
	if (!ret)
		f->writable = file->f_mode & FMODE_WRITE;
	/* Pairs with the acquire of those who use what was bound. */
	atomic_set_release(&f->state, ret ? DEV_FRESH : DEV_USED);
out_mm:
	mmput(mm);
out_file:
	fput(file);
	return ret;
}
