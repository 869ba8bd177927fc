// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * module_pages.c - look up vmas, read entries and fault pages in by /dev/hmm
 *
 * The kernel's requests are those of hmm.h, and its entries come in whatever
 * format one asks for: in the core's.  Errors that hmm.h has another name for
 * are translated; -EBUSY and -EAGAIN are what they are.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "host.h"
#include "source_module.h"

/* Entries of one request: those that come back are still in the cache then. */
#define READ_PAGES 4096ul
#define FAULT_PAGES 512ul

static int request(struct hmm_source *src, unsigned long nr, void *arg)
{
	if (!ioctl(src->event_fd, nr, arg))
		return 0;
	switch (errno) {
	case ESRCH:
	case ENXIO:
		return -EFAULT;
	case EINTR:
		return -EBUSY;
	default:
		return -errno;
	}
}

int module_vma(struct hmm_source *src, unsigned long addr, struct hmm_vma *vma)
{
	struct hmm_dev_vma found = { .addr = addr };
	int ret;

	_Static_assert(HMM_DEV_VM_READ == HMM_VMA_READ &&
			       HMM_DEV_VM_WRITE == HMM_VMA_WRITE &&
			       HMM_DEV_VM_SPECIAL == HMM_VMA_SPECIAL,
		       "the same flags");
	ret = request(src, HMM_DEV_VMA, &found);
	if (ret)
		return ret;
	*vma = (struct hmm_vma){
		.start = found.start,
		.end = found.end,
		.flags = found.flags | HMM_VMA_STAYS,
	};
	return 0;
}

/* [start, end), in the core's format. */
static struct hmm_dev_range range_of(unsigned long start, unsigned long end,
				     uint64_t *cpu)
{
	return (struct hmm_dev_range){
		.start = start,
		.end = end,
		.pfns = (uintptr_t)cpu,
		.nr = (end - start) >> PAGE_SHIFT,
		.flags = { [HMM_PFN_VALID] = HMM_CPU_PRESENT,
			   [HMM_PFN_WRITE] = HMM_CPU_WRITE,
			   [HMM_PFN_DEVICE_PRIVATE] = HMM_CPU_DEVICE },
		/* Special memory is not read. */
		.values = { [HMM_PFN_ERROR] = HMM_CPU_ERROR,
			    [HMM_PFN_NONE] = 0,
			    [HMM_PFN_SPECIAL] = HMM_CPU_ERROR },
		.pfn_shift = HMM_CPU_PFN_SHIFT,
	};
}

int module_read(struct hmm_source *src, unsigned long start, unsigned long end,
		uint64_t *cpu)
{
	struct hmm_dev_range range;
	unsigned long stop;
	int ret;

	for (; start < end; start = stop) {
		stop = end - start > READ_PAGES * PAGE_SIZE
			       ? start + READ_PAGES * PAGE_SIZE
			       : end;
		range = range_of(start, stop, cpu);
		ret = request(src, HMM_DEV_SNAPSHOT, &range);
		if (ret)
			return ret;
		cpu += (stop - start) >> PAGE_SHIFT;
	}
	return 0;
}

int module_fault(struct hmm_source *src, unsigned long start, unsigned long end,
		 bool write, bool block)
{
	uint64_t entries[FAULT_PAGES];
	struct hmm_dev_range range;
	unsigned long stop;
	int ret;

	for (; start < end; start = stop) {
		stop = end - start > FAULT_PAGES * PAGE_SIZE
			       ? start + FAULT_PAGES * PAGE_SIZE
			       : end;
		range = range_of(start, stop, entries);
		range.options = block ? HMM_DEV_BLOCK : 0;
		range.default_flags =
			HMM_CPU_PRESENT | (write ? HMM_CPU_WRITE : 0);
		ret = request(src, HMM_DEV_FAULT, &range);
		if (ret)
			return ret;
	}
	return 0;
}
