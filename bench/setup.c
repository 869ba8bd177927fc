// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * setup.c - memory, and ranges over it
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "setup.h"

const uint64_t bench_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = 1,
	[HMM_PFN_WRITE] = 2,
	[HMM_PFN_DEVICE_PRIVATE] = 4,
};

const uint64_t bench_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = 8,
	[HMM_PFN_NONE] = 0,
	[HMM_PFN_SPECIAL] = 16,
};

void bench_skip(struct bench_line *line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line->skipped, sizeof(line->skipped), fmt, ap);
	va_end(ap);
}

struct mm_struct *bench_attach(const char *source, char *why, size_t size)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = source };
	struct hmm_source_info info = { .size = sizeof(info) };
	struct mm_struct *mm;
	unsigned int i;
	int ret;

	hmm_set_log(NULL);
	ret = hmm_mm_attach(&mm, &opts);
	if (!ret)
		return mm;
	snprintf(why, size, "no source: %s", strerror(-ret));
	for (i = 0; source && !hmm_source_query(i, &info); i++)
		if (!strcmp(info.name, source))
			snprintf(why, size, "%.20s: %.160s", source,
				 info.reason);
	return NULL;
}

bool bench_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return kvm >= 0 && ioctl(kvm, KVM_CREATE_VM, 0) >= 0;
}

char *map(size_t pages)
{
	char *p = mmap(NULL, pages * BENCH_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, pages * BENCH_PAGE, MADV_NOHUGEPAGE);
	return p;
}

void touch(char *memory, size_t pages)
{
	size_t i;

	for (i = 0; i < pages; i++)
		memory[i * BENCH_PAGE] = 1;
}

void range_init(struct hmm_range *range, uint64_t *pfns)
{
	*range = (struct hmm_range){
		.pfns = pfns,
		.flags = bench_flags,
		.values = bench_values,
		.pfn_shift = 12,
	};
}

long range_snapshot(struct hmm_range *range, struct mm_struct *mm)
{
	int tries = 100;
	long ret;

	do {
		if (!hmm_range_wait_until_valid(range,
						HMM_RANGE_DEFAULT_TIMEOUT))
			return -ETIMEDOUT;
		mmap_read_lock(mm);
		ret = hmm_range_snapshot(range);
		mmap_read_unlock(mm);
	} while (ret == -EBUSY && --tries);
	return ret;
}

bool watch(struct watched *w, const char *source, size_t pages,
	   struct bench_line *line)
{
	unsigned long start;
	uint64_t *pfns;
	long ret;

	memset(w, 0, sizeof(*w));
	w->mm = bench_attach(source, line->skipped, sizeof(line->skipped));
	if (!w->mm)
		return false;
	w->pages = pages;
	w->memory = map(pages);
	w->elsewhere = map(1);
	pfns = calloc(pages, sizeof(*pfns));
	if (!w->memory || !w->elsewhere || !pfns) {
		bench_skip(line, "no memory");
		return false;
	}
	touch(w->memory, pages);
	range_init(&w->range, pfns);
	start = (unsigned long)w->memory;
	ret = hmm_range_register(&w->range, w->mm, start,
				 start + pages * BENCH_PAGE);
	if (!ret)
		ret = range_snapshot(&w->range, w->mm);
	if (ret < 0)
		bench_skip(line, "snapshot: %s", strerror((int)-ret));
	return ret > 0;
}

void unwatch(struct watched *w)
{
	free(w->range.pfns);
	hmm_range_unregister(&w->range);
	munmap(w->memory, w->pages * BENCH_PAGE);
	munmap(w->elsewhere, BENCH_PAGE);
	hmm_mm_detach(w->mm);
}

bool herd_start(struct herd *herd, struct mm_struct *mm, size_t nr,
		bool scattered)
{
	size_t i;

	*herd = (struct herd){ .mm = mm, .nr = nr };
	if (!nr)
		return true;
	herd->range =
		mmap(NULL, nr * sizeof(*herd->range), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (herd->range == MAP_FAILED)
		return false;
	for (i = 0; i < nr; i++) {
		/* Below where mmap() puts anything, and above 4 GiB. */
		uint64_t page = scattered ? scatter(i) & 0xffffffff : i * 2;
		unsigned long start = (page + (1 << 20)) * BENCH_PAGE;

		range_init(&herd->range[i], NULL);
		if (hmm_range_register(&herd->range[i], mm, start,
				       start + BENCH_PAGE)) {
			return false;
		}
	}
	return true;
}

void herd_stop(struct herd *herd)
{
	size_t i;

	for (i = 0; i < herd->nr; i++)
		hmm_range_unregister(&herd->range[i]);
	if (herd->nr)
		munmap(herd->range, herd->nr * sizeof(*herd->range));
}
