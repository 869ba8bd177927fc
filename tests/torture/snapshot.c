// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * snapshot.c - snapshots taken at the worst moment: while a change is at work
 *
 *	snapshot [-m MIB] [-n ROUNDS] [-s SEED]
 *
 * In each round a thread makes one change of many pages, which takes the kernel
 * some time, and the last of them are the ones that are looked at.  As soon as
 * the change is counted they are copied, while the old entries are still there,
 * until the library accepts the copy.  When the change is over, the entries are
 * others.  If the range is valid still, nothing will ever invalidate it: stale.
 * -m says how large a change is.
 *
 * A counter alone can't do it: it has moved already.  HMM_SOURCE is the source.
 * Exits 0; 1 if there was a stale one; 77 if the source can't be used here.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "hmm.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096ul
#define TAIL 32ul
#define PLACE 0x20000000ul

#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_PFN ((1ull << 55) - 1)

#define HANG_S 300
#define SHOWN 5

static const uint64_t flags[HMM_PFN_FLAG_MAX] = { 1, 2, 4 };
static const uint64_t values[HMM_PFN_VALUE_MAX] = { 0x100, 0x200, 0x400 };

/* ---- The one who changes ---------------------------------------------------- */

struct round {
	uint64_t nr;
	char *p; /* what is changed: the last TAIL pages are looked at */
	char *moving;
};

/* Shared with the other process, too. */
static struct {
	uint64_t go, prepared, begin, done, punch, punched;
} * turn;

struct kind {
	const char *name;
	unsigned int weight;
	int level; /* least of a source that sees it */
	void (*prepare)(struct round *r);
	void (*change)(struct round *r);
	uint64_t rounds, inside, accepted, stale, ns;
};

/* Of a change. */
static unsigned long len = 8ul << 20;
static int file = -1;

static void wait_for(const uint64_t *word, uint64_t value)
{
	unsigned int spins = 0;

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
		if (++spins % 4096 == 0)
			sched_yield();
}

/*
 * Without a call, so that each tick finds it in user space.  To source uffd one
 * that always runs, and yields before the tick, may be at its change for ever.
 */
static void spin_for(const uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
		;
}

static void set(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("can't %s: %s\n", what, strerror(errno));
	exit(1);
}

static void map(char *p, size_t size, int flag, int fd, int populate)
{
	must(mmap(p, size, PROT_READ | PROT_WRITE, flag | MAP_FIXED, fd, 0) ==
		     p,
	     "map");
	madvise(p, size, MADV_NOHUGEPAGE);
	must(!madvise(p, size, populate), "populate");
}

/* Twice as many places as kinds: mremap goes to and fro. */
static char *place(unsigned int i)
{
	return (char *)PLACE + i * (len + 2 * PAGE);
}

/*
 * The pages of a file are cheap to map again.  These come and go without the
 * mmap lock held for write, which would keep pagemap's readers out.
 */
static void prepare_file(struct round *r)
{
	r->p = place(0);
	must(!madvise(r->p, len, MADV_POPULATE_READ), "populate");
}

static void change_discard(struct round *r)
{
	must(!madvise(r->p, len, MADV_DONTNEED), "discard");
}

static void prepare_discard(struct round *r)
{
	r->p = place(1);
	map(r->p, len, MAP_PRIVATE | MAP_ANONYMOUS, -1, MADV_POPULATE_WRITE);
}

static void change_remove(struct round *r)
{
	must(!madvise(r->p, len, MADV_REMOVE), "remove");
}

/* Another process does it; this one is nowhere near the kernel. */
static void change_punch(struct round *r)
{
	set(&turn->punch, r->nr);
	wait_for(&turn->punched, r->nr);
}

static void prepare_move(struct round *r)
{
	if (!r->moving)
		r->moving = place(2);
	r->p = r->moving;
}

static void change_move(struct round *r)
{
	r->moving = place(r->p == place(2) ? 3 : 2);
	must(mremap(r->p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, r->moving) ==
		     r->moving,
	     "move");
}

static void prepare_unmap(struct round *r)
{
	r->p = place(4);
	map(r->p, len, MAP_SHARED, file, MADV_POPULATE_READ);
}

static void change_unmap(struct round *r)
{
	must(!munmap(r->p, len), "munmap");
}

#define KIND(name, weight, level, prepare, change)                  \
	{                                                           \
		name, weight, level, prepare, change, 0, 0, 0, 0, 0 \
	}

static struct kind kinds[] = {
	KIND("DONTNEED, file", 100, 1, prepare_file, change_discard),
	KIND("DONTNEED, memory", 3, 1, prepare_discard, change_discard),
	KIND("REMOVE", 2, 1, prepare_file, change_remove),
	KIND("hole punched by another", 2, 2, prepare_file, change_punch),
	KIND("mremap", 5, 1, prepare_move, change_move),
	KIND("munmap", 5, 1, prepare_unmap, change_unmap),
};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct kind *kind;
static struct round now;

static void *changer(void *arg)
{
	uint64_t nr, begin;

	(void)arg;
	for (nr = 1;; nr++) {
		spin_for(&turn->go, nr);
		kind->prepare(&now);
		set(&turn->prepared, nr);
		spin_for(&turn->begin, nr);
		begin = now_ns();
		kind->change(&now);
		kind->ns += now_ns() - begin;
		set(&turn->done, nr);
	}
	return NULL;
}

static void puncher(void)
{
	uint64_t last = 0, next;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		next = __atomic_load_n(&turn->punch, __ATOMIC_ACQUIRE);
		if (next == last) {
			sched_yield();
			continue;
		}
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			  len);
		last = next;
		set(&turn->punched, last);
	}
}

/* ---- The one who looks ------------------------------------------------------ */

static struct mm_struct *mm;
static int pagemap, level;
static uint64_t seed, busy, retried, stale;

static uint64_t draw(uint64_t n)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

static struct kind *pick_kind(void)
{
	unsigned int i, all = 0;
	uint64_t at;

	for (i = 0; i < NR_KINDS; i++)
		all += level >= kinds[i].level ? kinds[i].weight : 0;
	at = draw(all);
	for (i = 0; at >= kinds[i].weight || level < kinds[i].level; i++)
		if (level >= kinds[i].level)
			at -= kinds[i].weight;
	return &kinds[i];
}

static void range_init(struct hmm_range *range, uint64_t *pfns)
{
	*range = (struct hmm_range){
		.pfns = pfns,
		.flags = flags,
		.values = values,
		.pfn_shift = 12,
	};
}

/* The driver loop of hmm.h, but without a device. */
static bool copy(struct hmm_range *range)
{
	long ret;

	if (!hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT))
		return false;
	mmap_read_lock(mm);
	ret = hmm_range_snapshot(range);
	mmap_read_unlock(mm);
	if (ret == -EBUSY)
		busy++;
	/* What userfaultfd can't watch because it goes away right now. */
	must(ret >= 0 || ret == -EBUSY || ret == -EOPNOTSUPP, "copy");
	return ret >= 0;
}

static bool differs(const struct hmm_range *range)
{
	uint64_t pm, pfn = hmm_pfn_to_pfn(range, *range->pfns);

	must(pread(pagemap, &pm, sizeof(pm),
		   (off_t)(range->start / PAGE * sizeof(pm))) == sizeof(pm),
	     "read pagemap");
	/*
	 * Without CAP_SYS_ADMIN there is no pfn in either; and a source of level
	 * 1 does not see that a page moves.
	 */
	if (level < 2)
		return pfn != ~0ull && !(pm & (PM_PRESENT | PM_SWAP));
	return pfn != ~0ull &&
	       (!(pm & PM_PRESENT) || ((pm & PM_PFN) && (pm & PM_PFN) != pfn));
}

static void judge(uint64_t nr, struct hmm_range *range)
{
	if (!differs(range) || !hmm_range_valid(range))
		return;
	kind->stale++;
	if (stale++ < SHOWN)
		printf("STALE: %s, round %lu: %#lx was accepted, and is valid "
		       "after the change\n",
		       kind->name, nr, range->start);
}

static bool over(uint64_t nr)
{
	return __atomic_load_n(&turn->done, __ATOMIC_ACQUIRE) >= nr;
}

static void one_round(uint64_t nr)
{
	uint64_t pfns[TAIL], before;
	struct hmm_range range[TAIL];
	unsigned long start;
	unsigned int i;

	kind = pick_kind();
	now.nr = nr;
	set(&turn->go, nr);
	wait_for(&turn->prepared, nr);
	start = (unsigned long)now.p + len - TAIL * PAGE;
	for (i = 0; i < TAIL; i++, start += PAGE) {
		range_init(&range[i], &pfns[i]);
		must(!hmm_range_register(&range[i], mm, start, start + PAGE),
		     "register");
	}
	before = hmm_load_acquire(range->started);
	set(&turn->begin, nr);
	while (hmm_load_acquire(range->started) == before && !over(nr))
		;
	kind->inside += !over(nr);
	for (i = 0; i < TAIL; i++) {
		while (!copy(&range[i]) || !hmm_range_valid(&range[i]))
			retried++;
		kind->accepted++;
	}
	kind->rounds++;
	wait_for(&turn->done, nr);
	for (i = 0; i < TAIL; i++) {
		judge(nr, &range[i]);
		hmm_range_unregister(&range[i]);
	}
	alarm(HANG_S);
}

/* userfaultfd: one registration, that moves with the memory. */
static void watch_all(char *p)
{
	uint64_t *pfns = calloc(len / PAGE, sizeof(*pfns));
	struct hmm_range range;

	range_init(&range, pfns);
	must(pfns && !hmm_range_register(&range, mm, (unsigned long)p,
					 (unsigned long)p + len),
	     "register");
	while (!copy(&range))
		;
	hmm_range_unregister(&range);
	free(pfns);
}

static void report(uint64_t seconds)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t accepted = 0;
	struct kind *k;

	hmm_mm_query(mm, &info);
	for (k = kinds; k < kinds + NR_KINDS; k++) {
		if (!k->rounds)
			continue;
		printf("%s: %lu rounds of %lu us, %lu of them looked at while "
		       "it was at work; %lu accepted, %lu stale\n",
		       k->name, k->rounds, k->ns / k->rounds / 1000, k->inside,
		       k->accepted, k->stale);
		accepted += k->accepted;
	}
	printf("snapshot: %lu accepted, %lu tries before, %lu -EBUSY, %lu "
	       "barriers, %lu s: %lu stale\n",
	       accepted, retried, busy, info.barriers, seconds, stale);
}

int main(int argc, char **argv)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t nr, rounds = 1000;
	pthread_t thread;
	time_t begin;
	pid_t pid;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	while ((c = getopt(argc, argv, "m:n:s:")) != -1) {
		if (c == 'm')
			len = strtoul(optarg, NULL, 0) << 20;
		else if (c == 'n')
			rounds = strtoull(optarg, NULL, 0);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	printf("snapshot: %lu rounds, seed %#lx\n", rounds, seed);
	turn = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(turn != MAP_FAILED, "map");
	file = memfd_create("snapshot", MFD_CLOEXEC);
	must(file >= 0 && !ftruncate(file, len), "make a file");
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	must(pagemap >= 0, "open pagemap");
	pid = fork();
	must(pid >= 0, "start a process");
	if (!pid)
		puncher();
	if (hmm_mm_attach(&mm, NULL)) {
		printf("skip: the source can't be used here\n");
		return 77;
	}
	hmm_mm_query(mm, &info);
	level = info.level;
	printf("source %s (%s)\n", info.source, info.mechanism);
	map(place(0), len, MAP_SHARED, file, MADV_POPULATE_WRITE);
	map(place(2), len, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	    MADV_POPULATE_WRITE);
	watch_all(place(2));

	begin = time(NULL);
	must(!pthread_create(&thread, NULL, changer, NULL), "start a thread");
	for (nr = 1; nr <= rounds; nr++)
		one_round(nr);
	report((uint64_t)(time(NULL) - begin));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return stale != 0;
}
