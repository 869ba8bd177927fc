/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* writable.c - which pages of a process may be written, by the source module */
#include "writable.h"

#include <errno.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define PAGE_BYTES 4096ul
#define CHUNK_PAGES 4096ul
#define TRIES 16

enum { VALID = 1, WRITE = 2 };

struct mm_struct *writable_open(pid_t pid)
{
	struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = "module",
		.pidfd = pidfd_open(pid, 0),
	};
	struct mm_struct *mm = NULL;

	if (opts.pidfd < 0)
		return NULL;
	hmm_set_log(NULL);
	if (hmm_mm_attach(&mm, &opts))
		mm = NULL;
	close(opts.pidfd);
	return mm;
}

void writable_close(struct mm_struct *mm)
{
	if (mm)
		hmm_mm_detach(mm);
}

static long take(struct mm_struct *mm, struct hmm_range *range)
{
	int tries = TRIES;
	long n;

	do {
		if (!hmm_range_wait_until_valid(range,
						HMM_RANGE_DEFAULT_TIMEOUT))
			return -ETIMEDOUT;
		mmap_read_lock(mm);
		n = hmm_range_snapshot(range);
		mmap_read_unlock(mm);
	} while (n == -EBUSY && --tries);
	return n;
}

bool writable_bytes(struct mm_struct *mm, unsigned long start,
		    unsigned long end, uint64_t *bytes)
{
	static const uint64_t flags[HMM_PFN_FLAG_MAX] = { VALID, WRITE, 4 };
	static const uint64_t values[HMM_PFN_VALUE_MAX] = { 8, 0, 16 };
	uint64_t pfns[CHUNK_PAGES];
	unsigned long stop;
	long n, i;

	*bytes = 0;
	for (; start < end; start = stop) {
		struct hmm_range range = {
			.pfns = pfns,
			.flags = flags,
			.values = values,
			.pfn_shift = 5,
		};

		stop = end - start > CHUNK_PAGES * PAGE_BYTES
			       ? start + CHUNK_PAGES * PAGE_BYTES
			       : end;
		if (hmm_range_register(&range, mm, start, stop))
			return false;
		n = take(mm, &range);
		hmm_range_unregister(&range);
		if (n < 0)
			return false;
		for (i = 0; i < n; i++)
			if ((pfns[i] & (VALID | WRITE)) == (VALID | WRITE))
				*bytes += PAGE_BYTES;
	}
	return true;
}
