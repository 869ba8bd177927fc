// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pagemap.c - read a page table: from the source, if it can, else this
 * process's from /proc/self/pagemap
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "mm.h"
#include "uncancelled.h"

#define PM_PFN ((1ull << 55) - 1)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_UFFD_WP (1ull << 57)
#define PM_GUARD (1ull << 58)
#define PM_FILE (1ull << 61)

/* Entries read at a time: few system calls, and small against a L2 cache. */
#define CHUNK 16384ul

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
		/* Beyond the user's half nothing is mapped.  Or the end of what? */
		if (!n && !hmm_own_fd_valid(&mm->pagemap))
			return -EBADF;
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

	mm->no_ksm_at = ~0ull;
	mm->shared_at = ~0ull;
	mm->ksm = HMM_NO_FD;
	mm->pagemap = HMM_NO_FD;
	mm->pfns_virtual = mm->src->pfns_virtual;
	if (mm->src->ops->read)
		return 0;
	ret = hmm_own_fd_set(&mm->pagemap, open("/proc/thread-self/pagemap",
						O_RDONLY | O_CLOEXEC));
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

/* What tells pages that may be written. */
struct writable {
	uint64_t mask, match;
	bool known; /* that a page that matches may be */
};

static struct writable writable_in(const struct hmm_vma *vma)
{
	/* None: not even bit 0 is in the mask. */
	if (!(vma->flags & HMM_VMA_WRITE))
		return (struct writable){ 0, 1, false };
	/* What a userfaultfd protects the application wants to be asked about. */
	if (vma->flags & HMM_VMA_SHARED)
		return (struct writable){ PM_UFFD_WP, 0, true };
	return (struct writable){ PM_EXCLUSIVE | PM_FILE | PM_UFFD_WP,
				  PM_EXCLUSIVE, vma->flags & HMM_VMA_OWNED };
}

/* From pagemap's entry to the core's. */
static uint64_t convert_one(struct mm_struct *mm, struct writable *w,
			    uint64_t virtual, uint64_t pm)
{
	uint64_t pfn = mm->pfns_virtual ? virtual : pm & PM_PFN;

	if (!(pm & PM_PRESENT))
		return pm & PM_GUARD ? HMM_CPU_ERROR : 0;
	if ((pm & w->mask) == w->match && !w->known) {
		w->known = exclusive_means_writable(mm);
		w->match = w->known ? w->match : 1;
	}
	return pfn << HMM_CPU_PFN_SHIFT | HMM_CPU_PRESENT |
	       ((pm & w->mask) == w->match ? HMM_CPU_WRITE : 0);
}

/*
 * Entries next to each other are mostly alike.  With their number constant, and
 * no decisions for each, the compiler has the processor do several at a time.
 */
#define BLOCK 32

/* False: they are not alike, or there is something to find out. */
static bool convert_alike(const struct mm_struct *mm, const struct writable *w,
			  uint64_t *cpu)
{
	uint64_t all = ~0ull, any = 0, flags = HMM_CPU_PRESENT;
	unsigned int i;

	for (i = 0; i < BLOCK; i++) {
		all &= cpu[i];
		any |= cpu[i];
	}
	if (!any)
		return true;
	if (!(all & PM_PRESENT) || (all ^ any) & w->mask || mm->pfns_virtual)
		return false;
	if ((all & w->mask) == w->match) {
		if (!w->known)
			return false;
		flags |= HMM_CPU_WRITE;
	}
	for (i = 0; i < BLOCK; i++)
		cpu[i] = (cpu[i] & PM_PFN) << HMM_CPU_PFN_SHIFT | flags;
	return true;
}

/*
 * All of them, in place.  True if they were all ours alone and may be written.
 *
 * They stay so as long as nothing changes: sharing one write-protects it.
 * HMM_VMA_OWNED then spares the question the next time.
 */
static bool convert(struct mm_struct *mm, const struct hmm_vma *vma,
		    unsigned long start, unsigned long n, uint64_t *cpu)
{
	struct writable w = writable_in(vma);
	uint64_t all = ~0ull;
	unsigned long i = 0, stop;

	while (i < n) {
		stop = i + BLOCK < n ? i + BLOCK : n;
		if (stop - i == BLOCK && convert_alike(mm, &w, &cpu[i])) {
			all &= cpu[i];
			i = stop;
		}
		for (; i < stop; i++) {
			cpu[i] = convert_one(mm, &w, (start >> PAGE_SHIFT) + i,
					     cpu[i]);
			all &= cpu[i];
		}
	}
	return w.known && (all & HMM_CPU_WRITE);
}

int hmm_host_read(const struct hmm_range *range, struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu)
{
	struct mm_struct *mm = range->hmm->mm;
	bool owned = !(vma->flags & HMM_VMA_SHARED);
	unsigned long stop;
	int ret;
	HMM_UNCANCELLED;

	if (mm->src->ops->read)
		return mm->src->ops->read(mm->src, start, end, cpu);
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
