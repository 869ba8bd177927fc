// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * watched.c - is memory mapped and watched by a userfaultfd, all of it?
 */
#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "watched.h"

/* PAGEMAP_SCAN of <linux/fs.h>, since Linux 6.7; Debian 12 has it not. */
struct page_region {
	uint64_t start, end, categories;
};

struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask;
	uint64_t return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
/* In a vma that is registered for write protection, the asynchronous kind. */
#define PAGE_IS_WPALLOWED (1u << 0)

int hmm_watched(int fd, unsigned long start, unsigned long end)
{
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.end = end,
		.vec = (uint64_t)(uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_WPALLOWED,
		.return_mask = PAGE_IS_WPALLOWED,
	};
	int ret;

	/* A region ends with its vma at the latest; a gap is in no region. */
	while (start < end) {
		arg.start = start;
		ret = ioctl(fd, PAGEMAP_SCAN, &arg);
		if (ret < 0)
			return -errno;
		if (!ret || region.start != start)
			return 0;
		start = region.end;
	}
	return 1;
}
