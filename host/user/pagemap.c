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

/* Entries read at a time: few system calls, and small against a L1 cache. */
#define CHUNK 2048ul

int hmm_pagemap_read(struct mm_struct *mm, unsigned long start,
		     unsigned long end, uint64_t *entries)
{
	size_t size = ((end - start) >> PAGE_SHIFT) * sizeof(*entries);
	off_t at = (off_t)((start >> PAGE_SHIFT) * sizeof(*entries));
	char *p = (char *)entries;
	ssize_t n;

	while (size) {
		n = pread(mm->pagemap.fd, p, size, at);
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

	ret = hmm_own_fd_set(&mm->pagemap,
			     open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	if (ret)
		return ret;
	ret = hmm_pagemap_read(mm, addr, addr + PAGE_SIZE, &entry);
	if (ret) {
		hmm_own_fd_close(&mm->pagemap);
		return ret;
	}
	/* Without CAP_SYS_ADMIN the pfn of this very stack page reads as 0. */
	mm->pfns_virtual = !(entry & PM_PFN);
	/* A kernel without KSM has no such file. */
	mm->no_ksm_at = ~0ull;
	mm->shared_at = ~0ull;
	hmm_own_fd_set(&mm->ksm, open("/sys/kernel/mm/ksm/pages_shared",
				      O_RDONLY | O_CLOEXEC));
	return 0;
}

void hmm_pagemap_close(struct mm_struct *mm)
{
	hmm_own_fd_close(&mm->ksm);
	hmm_own_fd_close(&mm->pagemap);
}

/* Pages that KSM shares anywhere; -1 if that can't be told. */
static long ksm_pages_shared(const struct mm_struct *mm)
{
	char buf[32] = "";

	if (mm->ksm.fd < 0)
		return 0;
	return pread(mm->ksm.fd, buf, sizeof(buf) - 1, 0) > 0 ? atol(buf) : -1;
}

/*
 * With a source that sees all changes, what was true stays true until one is
 * counted: a page of ours becomes KSM's by a change.
 */
static bool ksm_shares_nothing(struct mm_struct *mm, uint64_t started)
{
	if (mm->src->ops->level >= 2 && READ_ONCE(mm->no_ksm_at) == started)
		return true;
	if (ksm_pages_shared(mm))
		return false;
	WRITE_ONCE(mm->no_ksm_at, started);
	return true;
}

/*
 * pagemap has no write bit.  A page that it calls exclusively mapped is ours
 * alone unless someone shares it without mapping it: KSM's tree, or a swap
 * entry of a relative.  Only where neither exists can a write be promised.
 *
 * Not to promise one is always right, so no is the answer until something
 * changes again.
 */
static bool exclusive_means_writable(struct mm_struct *mm)
{
	uint64_t started = hmm_load_acquire(mm->hmm.started);
	struct sysinfo info;

	if (READ_ONCE(mm->shared_at) == started)
		return false;
	if (!sysinfo(&info) && info.totalswap == info.freeswap &&
	    ksm_shares_nothing(mm, started))
		return true;
	WRITE_ONCE(mm->shared_at, started);
	return false;
}

/*
 * From pagemap's entries to the core's, in place.
 *
 * Pages that were all ours alone stay so as long as nothing changes: sharing
 * one write-protects it.  HMM_VMA_OWNED says that it was so, and spares the
 * question the next time.
 */
static bool convert(struct mm_struct *mm, const struct hmm_vma *vma,
		    unsigned long start, unsigned long n, uint64_t *cpu)
{
	const bool virtual = mm->pfns_virtual;
	/* A page may be written if it matches: none, if not even bit 0 is in mask. */
	uint64_t mask = 0, match = 1, and = ~0ull;
	bool known = false;
	unsigned long i;

	if (vma->flags & HMM_VMA_WRITE) {
		bool shared = vma->flags & HMM_VMA_SHARED;

		known = vma->flags & (HMM_VMA_SHARED | HMM_VMA_OWNED);
		mask = shared ? 0 : PM_EXCLUSIVE | PM_FILE;
		match = shared ? 0 : PM_EXCLUSIVE;
	}
	for (i = 0; i < n; i++) {
		uint64_t pm = cpu[i], pfn;

		if (!(pm & PM_PRESENT)) {
			if (pm)
				cpu[i] = pm & PM_GUARD ? HMM_CPU_ERROR : 0;
			and = 0;
			continue;
		}
		if ((pm & mask) == match && !known) {
			known = exclusive_means_writable(mm);
			match = known ? match : 1;
		}
		pfn = virtual ? (start >> PAGE_SHIFT) + i : pm & PM_PFN;
		cpu[i] = pfn << HMM_CPU_PFN_SHIFT | HMM_CPU_PRESENT |
			 ((pm & mask) == match ? HMM_CPU_WRITE : 0);
		and &= cpu[i];
	}
	return known && (and&HMM_CPU_WRITE);
}

int hmm_host_read(struct mm_struct *mm, struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu)
{
	bool owned = !(vma->flags & HMM_VMA_SHARED);
	unsigned long stop;
	int ret;

	/* Entries are converted while they are still in the cache. */
	for (; start < end; start = stop) {
		unsigned long n = (end - start) >> PAGE_SHIFT;

		if (n > CHUNK)
			n = CHUNK;
		stop = start + (n << PAGE_SHIFT);
		ret = hmm_pagemap_read(mm, start, stop, cpu);
		if (ret)
			return ret;
		owned &= convert(mm, vma, start, n, cpu);
		cpu += n;
	}
	vma->flags &= ~HMM_VMA_OWNED;
	if (owned)
		vma->flags |= HMM_VMA_OWNED;
	return 0;
}
