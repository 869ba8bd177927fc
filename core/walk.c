// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * walk.c - snapshot and fault: from CPU entries to the driver's pfns
 *
 * The entries are read into a scratch array, one a page, and translated only
 * once they are known to be good.  So the driver's requests, which share the
 * pfns[] with the results, survive every error (rule 19).
 */
#include "range.h"

/* Entries that fit on the stack: most faults of a device are small. */
#define SCRATCH_PAGES 32

/*
 * How often to begin anew because the faults themselves changed the page table
 * (a write fault replaces a zero page or a shared one).  Bounds rule 16's loop.
 */
#define FAULT_ATTEMPTS 8

struct hmm_walk {
	struct hmm_range *range;
	struct mm_struct *mm;
	uint64_t *cpu;
	bool fault;
	bool block;
	bool faulted; /* something was faulted in during this attempt */
	/* Of the vma that the whole range is in; 0 if it is in several. */
	unsigned int flags;
};

enum need { NEED_NOTHING, NEED_READ, NEED_WRITE };

static uint64_t *entry_of(const struct hmm_walk *walk, unsigned long addr)
{
	return &walk->cpu[(addr - walk->range->start) >> PAGE_SHIFT];
}

static uint64_t request(const struct hmm_range *range, unsigned long addr)
{
	uint64_t pfn =
		range->pfns[(addr - range->start) >> hmm_range_shift(range)];

	return (pfn & range->pfn_flags_mask) | range->default_flags;
}

/* What has to be faulted at addr for the driver to get what it asked for. */
static enum need need_fault(const struct hmm_walk *walk, unsigned long addr)
{
	const struct hmm_range *range = walk->range;
	uint64_t req = request(range, addr);
	uint64_t cpu = *entry_of(walk, addr);
	bool write;

	if (!walk->fault || !(req & range->flags[HMM_PFN_VALID]))
		return NEED_NOTHING;
	write = req & range->flags[HMM_PFN_WRITE];
	if (!(cpu & (HMM_CPU_PRESENT | HMM_CPU_DEVICE)))
		return write ? NEED_WRITE : NEED_READ;
	if (write && !(cpu & (HMM_CPU_WRITE | HMM_CPU_FAULTED)))
		return NEED_WRITE;
	/* A device can use its own memory, unless it wants it to be moved. */
	if ((cpu & HMM_CPU_DEVICE) &&
	    (req & range->flags[HMM_PFN_DEVICE_PRIVATE]))
		return write ? NEED_WRITE : NEED_READ;
	return NEED_NOTHING;
}

/* Is anything requested in [start, end)?  For where there is no vma. */
static bool requested(const struct hmm_walk *walk, unsigned long start,
		      unsigned long end)
{
	unsigned long addr;

	if (!walk->fault)
		return false;
	for (addr = start; addr < end; addr += 1ul << PAGE_SHIFT)
		if (request(walk->range, addr) &
		    walk->range->flags[HMM_PFN_VALID])
			return true;
	return false;
}

/* Fault in a run of pages that need the same, and read it again. */
static int fault_run(struct hmm_walk *walk, const struct hmm_vma *vma,
		     unsigned long start, unsigned long end, enum need need)
{
	bool write = need == NEED_WRITE;
	struct hmm_vma known = *vma;
	unsigned long addr;
	int ret;

	if (write && !(vma->flags & HMM_VMA_WRITE))
		return -EPERM;
	for (addr = start; addr < end; addr += 1ul << PAGE_SHIFT)
		if (*entry_of(walk, addr) & HMM_CPU_ERROR)
			return -EFAULT;
	walk->faulted = true;
	ret = hmm_host_fault(walk->mm, vma, start, end, write, walk->block);
	if (ret)
		return ret;
	/* After a write fault the host need not find out what may be written. */
	if (write)
		known.flags &= ~HMM_VMA_WRITE;
	ret = hmm_host_read(walk->range, &known, start, end,
			    entry_of(walk, start));
	if (ret)
		return ret;
	for (addr = start; addr < end; addr += 1ul << PAGE_SHIFT) {
		/*
		 * A page that was just write-faulted is writable unless a change
		 * took that back, and then the range is not valid any more.
		 */
		if (write)
			*entry_of(walk, addr) |= HMM_CPU_FAULTED;
		if (need_fault(walk, addr) != NEED_NOTHING)
			return -EBUSY;
	}
	return 0;
}

static int walk_vma(struct hmm_walk *walk, struct hmm_vma *vma,
		    unsigned long start, unsigned long end)
{
	unsigned long addr, run;
	enum need need;
	int ret;

	if (vma->flags & HMM_VMA_SPECIAL)
		return requested(walk, start, end) ? -EFAULT : 0;
	if (!(vma->flags & HMM_VMA_READ))
		return -EPERM;
	/*
	 * After the vma was found and before it is read: whatever replaces it
	 * from here on has to remove something that is watched.
	 */
	ret = hmm_host_cover(walk->range->hmm, start, end);
	if (ret)
		return ret;
	ret = hmm_host_read(walk->range, vma, start, end,
			    entry_of(walk, start));
	if (ret || !walk->fault)
		return ret;
	for (addr = start; addr < end; addr = run) {
		need = need_fault(walk, addr);
		for (run = addr + (1ul << PAGE_SHIFT);
		     run < end && need_fault(walk, run) == need;)
			run += 1ul << PAGE_SHIFT;
		if (need == NEED_NOTHING)
			continue;
		ret = fault_run(walk, vma, addr, run, need);
		if (ret)
			return ret;
	}
	return 0;
}

/* In the scratch array, special memory is a bit pattern no host produces. */
#define CPU_SPECIAL (HMM_CPU_ERROR | HMM_CPU_DEVICE)

static void fill(struct hmm_walk *walk, unsigned long start, unsigned long end,
		 uint64_t value)
{
	unsigned long addr;

	for (addr = start; addr < end; addr += 1ul << PAGE_SHIFT)
		*entry_of(walk, addr) = value;
}

/*
 * Fill the scratch array for the whole range, faulting what is asked.
 *
 * While a range is valid its vma is not looked up again, provided that every
 * page of it was there the last time.  This is why it has to be every page: to
 * change the permissions of what has no entries is no change of the page table,
 * and tells nobody.
 */
static int walk_range(struct hmm_walk *walk)
{
	unsigned long addr, stop, end = walk->range->end;
	struct hmm_vma vma = {
		.start = walk->range->start,
		.end = end,
		.flags = walk->range->known,
	};
	int ret;

	if (vma.flags) {
		ret = walk_vma(walk, &vma, vma.start, end);
		walk->flags = vma.flags;
		return ret;
	}
	walk->flags = 0;
	for (addr = walk->range->start; addr < end; addr = stop) {
		ret = hmm_host_vma(walk->mm, addr, &vma);
		if (ret && ret != -ENOENT)
			return ret;
		stop = ret || vma.start >= end ? end
		       : vma.start > addr      ? vma.start
		       : vma.end < end         ? vma.end
					       : end;
		if (ret || vma.start > addr) {
			if (requested(walk, addr, stop))
				return -EFAULT;
			fill(walk, addr, stop, 0);
			continue;
		}
		if (vma.flags & HMM_VMA_SPECIAL)
			fill(walk, addr, stop, CPU_SPECIAL);
		ret = walk_vma(walk, &vma, addr, stop);
		if (ret)
			return ret;
		if (stop - addr == end - walk->range->start)
			walk->flags = vma.flags;
	}
	return 0;
}

/* Entries that hold no page, or not an ordinary one. */
static uint64_t translate_rare(const struct hmm_range *range, uint64_t cpu)
{
	uint64_t pfn;

	if (cpu & HMM_CPU_ERROR)
		return range->values[cpu & HMM_CPU_DEVICE ? HMM_PFN_SPECIAL
							  : HMM_PFN_ERROR];
	if (!(cpu & HMM_CPU_DEVICE))
		return range->values[HMM_PFN_NONE];
	pfn = (cpu >> HMM_CPU_PFN_SHIFT) << range->pfn_shift;
	pfn |= range->flags[HMM_PFN_VALID] |
	       range->flags[HMM_PFN_DEVICE_PRIVATE];
	if (cpu & (HMM_CPU_WRITE | HMM_CPU_FAULTED))
		pfn |= range->flags[HMM_PFN_WRITE];
	return pfn;
}

static uint64_t translate_one(const struct hmm_range *range, uint64_t cpu)
{
	if (!cpu)
		return range->values[HMM_PFN_NONE];
	if ((cpu & (HMM_CPU_PRESENT | HMM_CPU_DEVICE | HMM_CPU_ERROR)) !=
	    HMM_CPU_PRESENT)
		return translate_rare(range, cpu);
	return (cpu >> HMM_CPU_PFN_SHIFT) << range->pfn_shift |
	       range->flags[HMM_PFN_VALID] |
	       (cpu & (HMM_CPU_WRITE | HMM_CPU_FAULTED)
			? range->flags[HMM_PFN_WRITE]
			: 0);
}

/*
 * Entries next to each other are mostly alike.  With their number constant, and
 * no decisions for each, the compiler has the processor do several at a time.
 */
#define BLOCK 32
#define FLAGS ((1ull << HMM_CPU_PFN_SHIFT) - 1)

/* Returns what they have in common. */
static uint64_t translate_block(const struct hmm_range *range,
				const uint64_t *restrict cpu,
				uint64_t *restrict pfns)
{
	const unsigned int shift = range->pfn_shift;
	uint64_t all = ~0ull, any = 0, flags;
	unsigned int i;

	for (i = 0; i < BLOCK; i++) {
		all &= cpu[i];
		any |= cpu[i];
	}
	if (!any) {
		const uint64_t none = range->values[HMM_PFN_NONE];

		for (i = 0; i < BLOCK; i++)
			pfns[i] = none;
	} else if (!((all ^ any) & FLAGS) && (all & HMM_CPU_PRESENT) &&
		   !(all & (HMM_CPU_DEVICE | HMM_CPU_ERROR))) {
		flags = translate_one(range, all & FLAGS);
		for (i = 0; i < BLOCK; i++)
			pfns[i] =
				(cpu[i] >> HMM_CPU_PFN_SHIFT) << shift | flags;
	} else {
		for (i = 0; i < BLOCK; i++)
			pfns[i] = translate_one(range, cpu[i]);
	}
	return all;
}

/*
 * The driver's form of the entries: one for each 2^order of the host's.
 * Returns what all of these have in common.
 */
static uint64_t translate(struct hmm_range *range, const uint64_t *cpu,
			  unsigned long n, unsigned int order)
{
	uint64_t all = ~0ull;
	unsigned long i = 0;

	if (!order)
		for (; i + BLOCK <= n; i += BLOCK)
			all &= translate_block(range, &cpu[i], &range->pfns[i]);
	for (; i < n; i++) {
		all &= cpu[i << order];
		range->pfns[i] = translate_one(range, cpu[i << order]);
	}
	return all;
}

/*
 * One entry for 2^order pages: they must be a naturally aligned, contiguous
 * block of one kind.  It may be written if every page of it may.
 */
static int merge_block(uint64_t *cpu, unsigned int order)
{
	const uint64_t soft = HMM_CPU_WRITE | HMM_CPU_FAULTED;
	uint64_t first = cpu[0], all = cpu[0];
	unsigned long i;

	if ((first & HMM_CPU_PRESENT) &&
	    ((first >> HMM_CPU_PFN_SHIFT) & ((1ul << order) - 1)))
		return -EINVAL;
	for (i = 1; i < 1ul << order; i++) {
		uint64_t want = first;

		if (first & HMM_CPU_PRESENT)
			want += (uint64_t)i << HMM_CPU_PFN_SHIFT;
		if ((cpu[i] & ~soft) != (want & ~soft))
			return -EINVAL;
		if (!(cpu[i] & soft))
			all &= ~soft;
	}
	cpu[0] = all;
	return 0;
}

static long finish(struct hmm_walk *walk)
{
	struct hmm_range *range = walk->range;
	unsigned int order = hmm_range_shift(range) - PAGE_SHIFT;
	unsigned long i,
		n = (range->end - range->start) >> hmm_range_shift(range);
	bool stays = walk->flags & HMM_VMA_STAYS;

	if (order)
		for (i = 0; i < n; i++)
			if (merge_block(&walk->cpu[i << order], order))
				return -EINVAL;
	stays &= translate(range, walk->cpu, n, order) & HMM_CPU_PRESENT;
	range->known = stays ? (uint8_t)walk->flags : 0;
	return (long)n;
}

/* One attempt: arm, read and fault, and see whether that still holds. */
static long attempt(struct hmm_walk *walk)
{
	struct hmm_range *range = walk->range;
	long ret;

	walk->faulted = false;
	ret = hmm_range_arm(range);
	if (ret)
		return ret;
	ret = walk_range(walk);
	/*
	 * A change in between may be why the walk failed: then that's the
	 * answer.  -EAGAIN stands, the lock is gone.
	 */
	if (ret != -EAGAIN && !hmm_range_valid(range))
		ret = READ_ONCE(range->hmm->dead) ? -EFAULT : -EBUSY;
	if (!ret)
		ret = finish(walk);
	if (ret < 0)
		hmm_range_disarm(range);
	return ret;
}

static long walk(struct hmm_range *range, bool fault, bool block)
{
	uint64_t stack[SCRATCH_PAGES];
	struct hmm_walk walk = {
		.range = range, .fault = fault, .block = block, .cpu = stack
	};
	unsigned long pages;
	int attempts = FAULT_ATTEMPTS;
	long ret;

	if (!range || !range->hmm || !range->pfns || !range->flags ||
	    !range->values)
		return -EINVAL;
	walk.mm = range->hmm->mm;
	mmap_assert_locked(walk.mm);

	pages = (range->end - range->start) >> PAGE_SHIFT;
	if (pages > SCRATCH_PAGES)
		walk.cpu = kvmalloc_array(pages, sizeof(*walk.cpu),
					  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!walk.cpu)
		return -ENOMEM;
	do {
		ret = attempt(&walk);
	} while (ret == -EBUSY && walk.faulted && --attempts);
	if (walk.cpu != stack)
		kvfree(walk.cpu);
	return ret;
}

long hmm_range_snapshot(struct hmm_range *range)
{
	return walk(range, false, true);
}

long hmm_range_fault(struct hmm_range *range, bool block)
{
	return walk(range, true, block);
}

int hmm_vma_fault(struct hmm_range *range, bool block)
{
	struct mm_struct *mm;
	long ret;

	if (!range || !range->vma || !range->vma->vm_mm)
		return -EINVAL;
	mm = range->vma->vm_mm;
	ret = hmm_range_register(range, mm, range->start, range->end);
	if (ret)
		return (int)ret;

	/* Whoever holds up the change may want the lock. */
	mmap_read_unlock(mm);
	if (!hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT) &&
	    !READ_ONCE(range->hmm->dead)) {
		hmm_range_unregister(range);
		return -EAGAIN;
	}
	mmap_read_lock(mm);

	ret = hmm_range_fault(range, block);
	if (ret >= 0)
		return 0;
	if (ret == -EBUSY)
		mmap_read_unlock(mm);
	hmm_range_unregister(range);
	return ret == -EAGAIN ? -EBUSY : (int)ret;
}
