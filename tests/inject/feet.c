// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * feet.c - what the library stands on is taken away
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../blocked.h"
#include "bench.h"
#include "madvise_wait.h"
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
	check(!mirror_end(&mirror), "the mirror goes");
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
	check(hmm_range_wait_until_valid(&range, PATIENCE_MS),
	      "a wait outlasts the failure");
	pthread_join(thread, NULL);
	hmm_range_unregister(&range);
out:
	munmap(p, PAGE);
}

/* ---- Answers that can't be read ----------------------------------------- */

static long look(struct hmm_range *range)
{
	long ret;

	hmm_range_wait_until_valid(range, 300);
	mmap_read_lock(mm);
	ret = hmm_range_snapshot(range);
	mmap_read_unlock(mm);
	return ret;
}

/* One that says no must not be given to who was told yes, nor the other way. */
void run_answers(void)
{
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
	char *p = map_at(0x49000000, 1, PROT_READ | PROT_WRITE);
	struct hmm_range good, bad;
	uint64_t pfn[2];
	long ret;
	int i;

	range_init(&good, &pfn[0]);
	range_init(&bad, &pfn[1]);
	if (!vdso ||
	    hmm_range_register(&good, mm, (uintptr_t)p, (uintptr_t)p + PAGE))
		goto out;
	if (hmm_range_register(&bad, mm, vdso, vdso + PAGE))
		goto out_good;
	for (i = 0; i < 2; i++) {
		ret = look(&good);
		check(ret != -EOPNOTSUPP || plan_hits(),
		      "memory that can be watched");
		ret = look(&bad);
		check(ret != 1 || strcmp(source, "uffd"),
		      "memory that can't be watched");
		/* Not known to be watched any more. */
		munmap(p, PAGE);
		map_at((uintptr_t)p, 1, PROT_READ | PROT_WRITE);
	}
	plan_pause();
	ret = get_valid(&good, mm, false);
	if (ret != 1 && !is_dead(mm))
		wrong("memory that can be watched: %ld", ret);
	hmm_range_unregister(&bad);
out_good:
	hmm_range_unregister(&good);
out:
	munmap(p, PAGE);
}

/* ---- A thread that is in madvise() -------------------------------------- */

static void *blocked(void *arg)
{
	char *p = arg;

	/* A page fault, so that its count of them is not 0. */
	p[PAGE] = 1;
	madvise(p, PAGE, MADV_DONTNEED);
	return NULL;
}

static pid_t other_thread(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t tid = 0;

	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) && atoi(entry->d_name) != gettid())
			tid = atoi(entry->d_name);
	closedir(dir);
	return tid;
}

/*
 * It waits there for a userfaultfd that nobody reads.  Nothing that fails may
 * make it look as if it were elsewhere.
 */
void run_threads(void)
{
	const struct hmm_discards all = { .nr = 1, .range = { { 0, ~0ul } } };
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_REMOVE };
	char *p = map_at(0x4a000000, 2, PROT_READ | PROT_WRITE);
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct plan wanted = plan;
	char why[256] = "";
	pthread_t thread;
	int fd, ret;

	plan_pause();
	*p = 1;
	fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		goto out;
	if (pthread_create(&thread, NULL, blocked, p))
		goto out;
	while (!is_blocked(other_thread()))
		usleep(100);
	plan_start(wanted.call, wanted.error, wanted.n, wanted.on);
	ret = hmm_madvise_wait(&all, 20, why, sizeof(why));
	plan_pause();
	check(ret < 0, "a thread in madvise() passes for one elsewhere");
	check(*why, "no reason");
	/* Lets it go. */
	close(fd);
	fd = -1;
	pthread_join(thread, NULL);
out:
	if (fd >= 0)
		close(fd);
	munmap(p, 2 * PAGE);
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
		deadline.tv_sec += 10 * PATIENCE_MS / 1000;
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
	for (i = 0; i < PATIENCE_MS && !was_told(); i++)
		usleep(1000);
	check(was_told(), "the mirror is told what was lost");
	check(!mirror_end(&mirror), "the mirror goes");
	hmm_range_unregister(&range);
out:
	munmap(p, 2 * PAGE);
}
