// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * feet.c - what the library stands on is taken away
 */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "plan.h"

/* ---- The uffd monitor dies, or fails, at its n-th system call ----------- */

static void change(struct hmm_range *range, char *p)
{
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	check(!hmm_range_valid(range), "valid after a discard");
	hmm_range_wait_until_valid(range, 500);
	if (get_valid(range, mm, false) == 4 && hmm_range_valid(range))
		check(range->pfns[1] == DEV_NONE, "what was discarded");
	/* Waits for the monitor, or for its death. */
	munmap(p + 2 * PAGE, PAGE);
	check(!hmm_range_valid(range), "valid after munmap");
	if (get_valid(range, mm, false) == 4 && hmm_range_valid(range))
		check(range->pfns[2] == DEV_NONE, "what was unmapped");
	p = mremap(p + 3 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   p + 8 * PAGE);
	check(!hmm_range_valid(range), "valid after mremap");
	munmap(p, PAGE);
}

void run_monitor(void)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = source };
	char *p = map_at(0x46000000, 4, PROT_READ | PROT_WRITE);
	struct hmm_mirror mirror;
	struct hmm_range range;
	uint64_t pfns[4];

	memset(p, 1, 4 * PAGE);
	watched = (uintptr_t)p;
	if (hmm_mm_attach(&mm, &opts)) {
		check(said(), "attach fails silently");
		goto out;
	}
	mirror_start(&mirror, mm);
	range_init(&range, pfns);
	range.default_flags = DEV_VALID;
	if (!hmm_range_register(&range, mm, (uintptr_t)p,
				(uintptr_t)p + 4 * PAGE)) {
		get_valid(&range, mm, true);
		range.default_flags = 0;
		change(&range, p);
		hmm_range_unregister(&range);
	}
	if (is_dead(mm))
		check(said(), "dead in silence");
	check(!hmm_mirror_unregister(&mirror), "the mirror goes");
	detach(mm);
out:
	mm = NULL;
	munmap(p, 4 * PAGE);
}

/* ---- The end of changes can't be told, for longer than it is tried ------ */

static void *discarder(void *arg)
{
	const struct timespec long_enough = { 1, 400 * 1000000 };

	madvise(arg, PAGE, MADV_DONTNEED);
	nanosleep(&long_enough, NULL);
	plan_pause();
	/* Still there, and not seen to make a call of the library. */
	nanosleep(&long_enough, NULL);
	return NULL;
}

void run_barrier_late(void)
{
	char *p = map_at(0x47000000, 1, PROT_READ | PROT_WRITE);
	struct hmm_range range;
	pthread_t thread;
	uint64_t pfn;

	*p = 1;
	range_init(&range, &pfn);
	if (!check(!hmm_range_register(&range, mm, (uintptr_t)p,
				       (uintptr_t)p + PAGE),
		   "register"))
		goto out;
	/* What is counted need not have been covered for the barrier. */
	plan_pause();
	get_valid(&range, mm, false);
	plan_start(plan.call, plan.error, plan.n, plan.on);
	pthread_create(&thread, NULL, discarder, p);
	while (hmm_range_valid(&range))
		usleep(100);
	check(hmm_range_wait_until_valid(&range, 30000),
	      "a wait outlasts the failure");
	pthread_join(thread, NULL);
	hmm_range_unregister(&range);
out:
	munmap(p, PAGE);
}

/* ---- Nobody takes records, until some are lost -------------------------- */

/* More than any source has room for. */
#define MANY 14000

static sem_t stalled, go_on;
static int calls_made;

static int stall(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct timespec deadline;

	(void)mirror;
	if (update->start <= watched && watched < update->end)
		told++;
	if (!__atomic_fetch_add(&calls_made, 1, __ATOMIC_SEQ_CST)) {
		sem_post(&stalled);
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_sec += 30;
		sem_timedwait(&go_on, &deadline);
	}
	return 0;
}

static const struct hmm_mirror_ops stall_ops = {
	.sync_cpu_device_pagetables = stall,
};

void run_overflow(void)
{
	char *p = map_at(0x48000000, 2, PROT_READ | PROT_WRITE);
	struct hmm_mm_info info = { .size = sizeof(info) };
	struct hmm_mirror mirror = { .ops = &stall_ops };
	struct hmm_range range;
	uint64_t pfns[2], lost;
	int i;

	hmm_mm_query(mm, &info);
	lost = info.lost;
	sem_init(&stalled, 0, 0);
	sem_init(&go_on, 0, 0);
	calls_made = told = 0;
	watched = (uintptr_t)p;
	memset(p, 1, 2 * PAGE);
	range_init(&range, pfns);
	if (!check(!hmm_range_register(&range, mm, (uintptr_t)p,
				       (uintptr_t)p + 2 * PAGE),
		   "register"))
		goto out;
	mmap_write_lock(mm);
	hmm_mirror_register(&mirror, mm);
	mmap_write_unlock(mm);
	check(get_valid(&range, mm, false) == 2, "snapshot");
	p[PAGE] = 1;
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	sem_wait(&stalled);
	check(get_valid(&range, mm, false) == 2, "snapshot");
	for (i = 0; i < MANY; i++) {
		p[PAGE] = 1;
		madvise(p + PAGE, PAGE, MADV_DONTNEED);
	}
	madvise(p, PAGE, MADV_DONTNEED);
	check(!hmm_range_valid(&range), "valid after a change that was lost");
	hmm_mm_query(mm, &info);
	check(info.lost > lost, "nothing was lost");
	told = 0;
	sem_post(&go_on);
	check(get_valid(&range, mm, false) == 2, "a snapshot after a loss");
	check(pfns[0] == DEV_NONE, "what was discarded");
	for (i = 0; i < 3000 && !__atomic_load_n(&told, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	check(told, "the mirror is told what was lost");
	check(!hmm_mirror_unregister(&mirror), "the mirror goes");
	hmm_range_unregister(&range);
out:
	munmap(p, 2 * PAGE);
}
