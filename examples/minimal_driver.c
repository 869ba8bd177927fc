// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * minimal_driver.c - the least that a driver does: a mirror, a range, a check
 *
 * A real one keeps what it read in a page table, under a lock that its callback
 * takes too: see the driver loop in hmm.h, and device/dmirror.c.
 */

#include <hmm.h>
#include <stdio.h>

static int forget(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	printf("forget %#lx-%#lx: %s\n", update->start, update->end,
	       hmm_change_kind_name(update->kind));
	return 0;
}

int main(void)
{
	static const uint64_t flags[] = { 1, 2, 4 }, values[] = { 8, 0, 16 };
	static const struct hmm_mirror_ops ops = { NULL, forget };
	static char memory[4096] __attribute__((aligned(4096)));
	unsigned long addr = (unsigned long)memory;
	struct hmm_mirror mirror = { .ops = &ops };
	struct mm_struct *mm;
	uint64_t pfn = 0;
	struct hmm_range range = { .pfns = &pfn, .flags = flags };
	long n = -1;

	range.values = values;
	range.default_flags = 1 | 2; /* readable and writable */
	range.pfn_shift = 12;
	if (hmm_mm_attach(&mm, NULL))
		return 1; /* it has said why */
	mmap_write_lock(mm);
	hmm_mirror_register(&mirror, mm);
	mmap_write_unlock(mm);
	if (!hmm_range_register(&range, mm, addr, addr + sizeof(memory)) &&
	    hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT)) {
		mmap_read_lock(mm);
		n = hmm_range_fault(&range, true);
		mmap_read_unlock(mm);
	}
	if (n > 0 && hmm_range_valid(&range))
		printf("%#lx is frame %#lx\n", addr,
		       (unsigned long)hmm_pfn_to_pfn(&range, pfn));
	hmm_range_unregister(&range);
	hmm_mirror_unregister(&mirror);
	hmm_mm_detach(mm);
	return n < 0;
}
