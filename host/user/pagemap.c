// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pagemap.c - read this process's page table from /proc/self/pagemap
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "mm.h"

#define PM_PFN ((1ull << 55) - 1)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_GUARD (1ull << 58)
#define PM_FILE (1ull << 61)

int hmm_pagemap_read(struct mm_struct *mm, unsigned long start,
		     unsigned long end, uint64_t *entries)
{
	size_t size = ((end - start) >> PAGE_SHIFT) * sizeof(*entries);
	off_t at = (off_t)((start >> PAGE_SHIFT) * sizeof(*entries));
	char *p = (char *)entries;
	ssize_t n;

	while (size) {
		n = pread(mm->pagemap_fd, p, size, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* Only beyond the user's half, where nothing is mapped. */
		if (!n) {
			memset(p, 0, size);
			break;
		}
		p += n;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int hmm_pagemap_open(struct mm_struct *mm)
{
	uint64_t entry = 0, probe = 0;
	unsigned long addr = (unsigned long)&probe & PAGE_MASK;
	int ret;

	mm->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (mm->pagemap_fd < 0)
		return -errno;
	ret = hmm_pagemap_read(mm, addr, addr + PAGE_SIZE, &entry);
	if (ret) {
		close(mm->pagemap_fd);
		return ret;
	}
	/* Without CAP_SYS_ADMIN the pfn of this very stack page reads as 0. */
	mm->pfns_virtual = !(entry & PM_PFN);
	/* A kernel without KSM has no such file. */
	mm->ksm_fd = open("/sys/kernel/mm/ksm/pages_shared",
			  O_RDONLY | O_CLOEXEC);
	return 0;
}

void hmm_pagemap_close(struct mm_struct *mm)
{
	if (mm->ksm_fd >= 0)
		close(mm->ksm_fd);
	close(mm->pagemap_fd);
}

/* Pages that KSM shares anywhere; -1 if that can't be told. */
static long ksm_pages_shared(const struct mm_struct *mm)
{
	char buf[32] = "";

	if (mm->ksm_fd < 0)
		return 0;
	return pread(mm->ksm_fd, buf, sizeof(buf) - 1, 0) > 0 ? atol(buf) : -1;
}

/*
 * pagemap has no write bit.  A page that it calls exclusively mapped is ours
 * alone unless someone shares it without mapping it: KSM's tree, or a swap
 * entry of a relative.  Only where neither exists can a write be promised.
 */
static bool exclusive_means_writable(const struct mm_struct *mm)
{
	struct sysinfo info;

	return !sysinfo(&info) && info.totalswap == info.freeswap &&
	       !ksm_pages_shared(mm);
}

int hmm_host_read(struct mm_struct *mm, const struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu)
{
	unsigned long i, n = (end - start) >> PAGE_SHIFT;
	bool writable = vma->flags & HMM_VMA_WRITE;
	bool shared = vma->flags & HMM_VMA_SHARED;
	int exclusive = -1, ret;

	ret = hmm_pagemap_read(mm, start, end, cpu);
	if (ret)
		return ret;
	for (i = 0; i < n; i++) {
		uint64_t pm = cpu[i], pfn;

		if (!(pm & PM_PRESENT)) {
			cpu[i] = pm & PM_GUARD ? HMM_CPU_ERROR : 0;
			continue;
		}
		pfn = mm->pfns_virtual ? (start >> PAGE_SHIFT) + i :
					 pm & PM_PFN;
		cpu[i] = pfn << HMM_CPU_PFN_SHIFT | HMM_CPU_PRESENT;
		if (!writable)
			continue;
		if (!shared && (pm & (PM_EXCLUSIVE | PM_FILE)) == PM_EXCLUSIVE)
			if (exclusive < 0)
				exclusive = exclusive_means_writable(mm);
		if (shared ||
		    ((pm & (PM_EXCLUSIVE | PM_FILE)) == PM_EXCLUSIVE &&
		     exclusive == 1))
			cpu[i] |= HMM_CPU_WRITE;
	}
	return 0;
}
