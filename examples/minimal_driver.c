// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * minimal_driver.c - the least that a driver does: a mirror, a range, a check
 *
 * A real one keeps what it read in a page table, under a lock that its callback
 * takes too: see the driver loop in hmm.h, and device/dmirror.c.
 */

#include <hmm.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long addr;
static volatile int forgotten;

static int forget(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	if (addr < update->start || addr >= update->end)
		return 0; /* of other memory of this process */
	printf("forget %#lx: %s\n", addr, hmm_change_kind_name(update->kind));
	forgotten = 1;
	return 0;
}

int main(void)
{
	static const uint64_t flags[] = { 1, 2, 4 }, values[] = { 8, 0, 16 };
	static const struct hmm_mirror_ops ops = { NULL, forget };
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct hmm_mirror mirror = { .ops = &ops };
	struct mm_struct *mm;
	uint64_t pfn = 0;
	struct hmm_range range = { .pfns = &pfn, .flags = flags };
	long n = -1;

	addr = (unsigned long)memory;
	range.values = values;
	range.default_flags = 1 | 2; /* readable and writable */
	range.pfn_shift = 12;
	if (hmm_mm_attach(&mm, NULL))
		return 1; /* it has said why */
	mmap_write_lock(mm);
	hmm_mirror_register(&mirror, mm);
	mmap_write_unlock(mm);
	if (!hmm_range_register(&range, mm, addr, addr + 4096) &&
	    hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT)) {
		mmap_read_lock(mm);
		n = hmm_range_fault(&range, true);
		mmap_read_unlock(mm);
	}
	if (n == 1 && hmm_range_valid(&range))
		printf("%#lx is frame %#lx\n", addr,
		       (unsigned long)hmm_pfn_to_pfn(&range, pfn));
	munmap(memory, 4096);
	printf("valid now: %s\n", hmm_range_valid(&range) ? "yes" : "no");
	while (n == 1 && !forgotten)
		usleep(1000); /* the callback runs in a thread of libhmm */
	hmm_range_unregister(&range);
	hmm_mirror_unregister(&mirror);
	hmm_mm_detach(mm);
	return n != 1;
}
