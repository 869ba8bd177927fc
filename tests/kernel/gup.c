// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * gup.c - hmm_gup.ko: pin pages, as the kernel's gup_test would
 *
 * The self-test of HMM wants /sys/kernel/debug/gup_test, which stock kernels
 * are built without.  These are the four of its requests that it makes: get
 * or pin, for long or not, what there is at an address, and let go.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

struct gup_test {
	__u64 get_delta_usec;
	__u64 put_delta_usec;
	__u64 addr;
	__u64 size;
	__u32 nr_pages_per_call;
	__u32 gup_flags;
	__u32 test_flags;
	__u32 which_pages[8];
};

#define GET_FAST _IOWR('g', 1, struct gup_test)
#define PIN_FAST _IOWR('g', 2, struct gup_test)
#define PIN_LONGTERM _IOWR('g', 3, struct gup_test)
#define GET _IOWR('g', 4, struct gup_test)

static int get(unsigned long addr, unsigned int flags)
{
	struct page *page;
	int ret = get_user_pages_fast(addr, 1, flags, &page);

	if (ret != 1)
		return ret < 0 ? ret : -EFAULT;
	put_page(page);
	return 0;
}

static int pin(unsigned long addr, unsigned int flags)
{
	struct page *page;
	int ret = pin_user_pages_fast(addr, 1, flags, &page);

	if (ret != 1)
		return ret < 0 ? ret : -EFAULT;
	unpin_user_page(page);
	return 0;
}

static long gup_ioctl(struct file *file, unsigned int request,
		      unsigned long arg)
{
	unsigned int write, longterm;
	struct gup_test test;
	int ret = 0;
	__u64 i;

	if (copy_from_user(&test, (void __user *)arg, sizeof(test)))
		return -EFAULT;
	/* As its users have them, whatever they are here. */
	write = test.gup_flags & 0x1 ? FOLL_WRITE : 0;
	longterm = test.gup_flags & 0x10000 ? FOLL_LONGTERM : 0;
	for (i = 0; i < test.size && !ret; i += PAGE_SIZE) {
		switch (request) {
		case GET:
		case GET_FAST:
			ret = get(test.addr + i, write);
			break;
		case PIN_FAST:
			ret = pin(test.addr + i, write | longterm);
			break;
		case PIN_LONGTERM:
			ret = pin(test.addr + i, write | FOLL_LONGTERM);
			break;
		default:
			ret = -ENOTTY;
		}
	}
	return ret;
}

static const struct file_operations gup_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = gup_ioctl,
};

static struct dentry *file;

static int __init gup_init(void)
{
	file = debugfs_create_file_unsafe("gup_test", 0600, NULL, NULL,
					  &gup_fops);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit gup_exit(void)
{
	debugfs_remove(file);
}

module_init(gup_init);
module_exit(gup_exit);

MODULE_DESCRIPTION("Pins pages, for a test");
MODULE_LICENSE("Dual MIT/GPL");
