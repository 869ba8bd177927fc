// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * loop.c - plain driver loops, and what hmm_range_valid() says of their ranges
 *
 * The claim that is checked is that of hmm.h: if the range is valid after the
 * CPUs' page table has been looked at, then what was seen there is what the
 * last snapshot or fault said.  One excuse is possible.  munmap() takes a vma
 * away, which pagemap shows, before it changes an entry, which sources see; but
 * both under one hold of the kernel's mmap lock.  So if something differs, that
 * lock is waited for, and the range must not be valid after that.  A source of
 * level 1 has more time: until the call that makes the change returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

#define PAGES 256
#define TRIES 5
#define LOOKS 16

#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_FILE (1ull << 61)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_PFN ((1ull << 55) - 1)

/* The format of an imaginary device. */
#define DEV_VALID 0x1ull
#define DEV_WRITE 0x2ull
#define DEV_SHIFT 12

static const uint64_t flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = DEV_VALID,
	[HMM_PFN_WRITE] = DEV_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = 0x4,
};

static const uint64_t values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = 0x100,
	[HMM_PFN_NONE] = 0x200,
	[HMM_PFN_SPECIAL] = 0x400,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* L */
static struct hmm_mirror mirror;
static int pagemap = -1;
static void *lock_page;
static bool pfns_virtual;

static struct {
	uint64_t checks, looks, got, failed, busy, changed, excused, told;
} stats;

#define count(field, n) \
	__atomic_fetch_add(&stats.field, (uint64_t)(n), __ATOMIC_RELAXED)

/* L is all there is: the loops' page tables live no longer than they. */
static int on_change(struct hmm_mirror *m, const struct hmm_update *update)
{
	(void)m;
	(void)update;
	pthread_mutex_lock(&lock);
	stats.told++;
	pthread_mutex_unlock(&lock);
	return 0;
}

static const struct hmm_mirror_ops ops = {
	.sync_cpu_device_pagetables = on_change,
};

int loops_init(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	int ret;

	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	lock_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pagemap < 0 || lock_page == MAP_FAILED)
		return -errno;
	hmm_mm_query(t.mm, &info);
	pfns_virtual = info.pfns_virtual;
	mirror.ops = &ops;
	mmap_write_lock(t.mm);
	ret = hmm_mirror_register(&mirror, t.mm);
	mmap_write_unlock(t.mm);
	return ret;
}

/* ---- The oracle ------------------------------------------------------------- */

static bool look(const struct hmm_range *range, uint64_t *pm, size_t n)
{
	off_t at = (off_t)(range->start / PAGE * sizeof(*pm));
	ssize_t ret;

	do
		ret = pread(pagemap, pm, n * sizeof(*pm), at);
	while (ret < 0 && errno == EINTR);
	return ret == (ssize_t)(n * sizeof(*pm));
}

/* The pfn, of which nothing is known without CAP_SYS_ADMIN. */
static bool wrong_page(const struct hmm_range *range, uint64_t entry,
		       uint64_t pm)
{
	if (!(pm & PM_PRESENT))
		return true;
	return !pfns_virtual && (pm & PM_PFN) != hmm_pfn_to_pfn(range, entry);
}

/* An anonymous page that may be written has one who maps it. */
static bool wrong_write(uint64_t entry, uint64_t pm)
{
	return t.level >= 2 && (entry & DEV_WRITE) &&
	       !(pm & (PM_FILE | PM_EXCLUSIVE));
}

static bool may(const struct vm_area_struct *vma, unsigned long addr,
		uint64_t entry)
{
	if (addr < vma->vm_start || !(vma->vm_flags & HMM_VM_READ))
		return false;
	return !(entry & DEV_WRITE) || (vma->vm_flags & HMM_VM_WRITE);
}

/* What pagemap does not tell: may it be read, and written?  The first not. */
static long first_forbidden(const struct hmm_range *range, size_t n)
{
	struct vm_area_struct vma = { 0 };
	unsigned long addr = range->start;
	size_t i;

	for (i = 0; i < n && t.level >= 2; i++, addr += PAGE) {
		uint64_t entry = range->pfns[i];

		if (addr >= vma.vm_end && hmm_find_vma(t.mm, addr, &vma))
			break;
		if (hmm_pfn_to_pfn(range, entry) != ~0ull &&
		    !may(&vma, addr, entry))
			return (long)i;
	}
	return -1;
}

static long first_wrong(const struct hmm_range *range, const uint64_t *pm,
			size_t n, size_t *checks)
{
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t entry = range->pfns[i];

		if (hmm_pfn_to_pfn(range, entry) == ~0ull)
			continue;
		++*checks;
		if (wrong_page(range, entry, pm[i]) ||
		    wrong_write(entry, pm[i]))
			return (long)i;
	}
	return -1;
}

/* Let everybody who makes a change right now get as far as he must. */
static bool pass(void)
{
	if (t.level < 2)
		return workers_pass();
	return !mprotect(lock_page, PAGE, PROT_READ | PROT_WRITE);
}

/* What a source of level 1 does not see of what the kernel does with pages. */
static bool unseen(uint64_t pm)
{
	/* On its way, or swapped out; or elsewhere; or taken away. */
	if (t.level >= 2)
		return false;
	if (pm & PM_SWAP)
		return true;
	return pm & PM_PRESENT ? machine_migrates() : machine_reclaims();
}

/* Without L: the mirror's callback may be what others wait for. */
static void judge(struct hmm_range *range, long i, uint64_t pm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t now = 0;

	if (!pass()) {
		__atomic_fetch_add(&t.shared->undecided, 1, __ATOMIC_RELAXED);
		return;
	}
	if (!hmm_range_valid(range)) {
		count(excused, 1);
		return;
	}
	(void)!pread(pagemap, &now, sizeof(now),
		     (off_t)((range->start / PAGE + (size_t)i) * sizeof(now)));
	if (unseen(pm)) {
		__atomic_fetch_add(&t.shared->unseen, 1, __ATOMIC_RELAXED);
		return;
	}
	hmm_mm_query(t.mm, &info);
	printf("STALE: range %#lx-%#lx is valid; at %#lx entry %#lx, pagemap "
	       "%#lx, now %#lx; seq %lu started %lu told %lu\n",
	       range->start, range->end, range->start + (size_t)i * PAGE,
	       range->pfns[i], pm, now, range->seq, info.started, info.told);
	__atomic_fetch_add(&t.shared->stale, 1, __ATOMIC_RELAXED);
}

/* What a device would do now, for as long as it may. */
static void use(struct worker *w, struct hmm_range *range, size_t n)
{
	/* Most ranges for a moment, some for long. */
	const unsigned int pause = chance(w, 1, 8) ? 10000 : 300;
	size_t checks = 0;
	uint64_t pm[PAGES];
	long wrong = -1;
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < LOOKS && wrong < 0; i++) {
		long forbidden;

		/* First look, then ask. */
		if (!look(range, pm, n))
			break;
		forbidden = first_forbidden(range, n);
		if (!hmm_range_valid(range))
			break;
		wrong = first_wrong(range, pm, n, &checks);
		if (wrong < 0)
			wrong = forbidden;
		count(looks, 1);
		if (chance(w, 1, 4)) {
			pthread_mutex_unlock(&lock);
			usleep((useconds_t)draw(w, pause));
			pthread_mutex_lock(&lock);
		}
	}
	pthread_mutex_unlock(&lock);
	count(checks, checks);
	if (wrong >= 0)
		judge(range, wrong, pm[wrong]);
	else if (i < LOOKS)
		count(changed, 1);
}

/* ---- The loop --------------------------------------------------------------- */

struct plan {
	bool fault, block;
	uint64_t want;
};

static struct plan plan(struct worker *w, const struct window *win)
{
	struct plan plan = { .fault = chance(w, 2, 3),
			     .block = chance(w, 3, 4) };

	plan.want = DEV_VALID;
	/* No page of zeroes where nobody sees it being replaced. */
	if (win->zone->flavour == ANON || chance(w, 1, 2))
		plan.want |= DEV_WRITE;
	return plan;
}

static void loop_step(struct worker *w)
{
	struct window win = window_pick(w, PAGES);
	struct plan p = plan(w, &win);
	uint64_t pfns[PAGES];
	struct hmm_range range = {
		.pfns = pfns,
		.flags = flags,
		.values = values,
		.pfn_shift = DEV_SHIFT,
		.default_flags = p.fault ? p.want : 0,
	};
	unsigned long start;
	int tries = TRIES;
	long ret;

	worker_outside(w);
	/* Where it is moved to, sometimes. */
	start = (unsigned long)win.p;
	if (t.level >= 2 && chance(w, 1, 8))
		start += ZONE_LEN;
	if (hmm_range_register(&range, t.mm, start, start + win.len)) {
		count(failed, 1);
		return;
	}
	do {
		ret = -ETIMEDOUT;
		if (!hmm_range_wait_until_valid(&range,
						HMM_RANGE_DEFAULT_TIMEOUT))
			break;
		mmap_read_lock(t.mm);
		ret = p.fault ? hmm_range_fault(&range, p.block)
			      : hmm_range_snapshot(&range);
		if (ret == -EAGAIN)
			continue;
		mmap_read_unlock(t.mm);
		if (ret == -EBUSY)
			count(busy, 1);
	} while ((ret == -EBUSY || ret == -EAGAIN) && --tries);
	if (ret > 0) {
		count(got, 1);
		use(w, &range, (size_t)ret);
	} else {
		count(failed, 1);
	}
	hmm_range_unregister(&range);
}

const struct role role_loop = { "loop", 3, true, loop_step };

uint64_t loops_report(void)
{
	hmm_mirror_unregister(&mirror);
	printf("loops: %lu translations compared in %lu looks at %lu ranges, "
	       "%lu of which changed under way; %lu -EBUSY, %lu failed; %lu "
	       "differed and had stopped being valid; %lu callbacks\n",
	       stats.checks, stats.looks, stats.got, stats.changed, stats.busy,
	       stats.failed, stats.excused, stats.told);
	return stats.checks;
}
