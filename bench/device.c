// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * device.c - what /dev/hmm adds to a change, and how fast it reads entries
 *
 * Only where hmm.ko is loaded.  "make qemu-bench" loads it in a guest, with
 * hmm_bench.ko, which calls the kernel's own walker.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "hmm_dev.h"
#include "kernel/walker.h"
#include "setup.h"

#define DEVICE "/dev/hmm"
#define PIECE 16 /* pages: 64 KiB */
#define PIECES 32
#define RANGES 1000000

enum op { UNMAP, DISCARD, OPS };
enum how { BARE, OPEN, WITH_RANGES, ATTACHED, HELD, HOWS };

static const char *const op_names[OPS] = {
	[UNMAP] = "munmap 64 KiB",
	[DISCARD] = "MADV_DONTNEED 64 KiB",
};

static const char *const how_names[HOWS] = {
	[OPEN] = "/dev/hmm open",
	[WITH_RANGES] = "and ranges in it",
	[ATTACHED] = "libhmm attached",
	[HELD] = "another acknowledges",
};

struct process {
	struct hmm_range range;
	uint64_t pfn;
};

static int open_device(char *why, size_t size)
{
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		snprintf(why, size, "%s: %s", DEVICE, strerror(errno));
	return fd;
}

static bool register_ranges(int fd, unsigned int nr)
{
	struct hmm_dev_register reg;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		/* Below where mmap() puts anything, and above 4 GiB. */
		reg = (struct hmm_dev_register){
			.start = ((scatter(i) & 0xffffffff) + (1 << 20)) *
				 BENCH_PAGE,
		};
		reg.end = reg.start + BENCH_PAGE;
		if (ioctl(fd, HMM_DEV_REGISTER, &reg))
			return false;
	}
	return true;
}

/* Acknowledges what there is as soon as there is something. */
static void acknowledge(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	const struct hmm_dev_shared *shared;
	uint64_t head;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared = mmap(NULL, BENCH_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED || ioctl(fd, HMM_DEV_HOLD, 1000ul))
		_exit(1);
	for (;;) {
		head = __atomic_load_n(&shared->head, __ATOMIC_ACQUIRE);
		ioctl(fd, HMM_DEV_ACK, head);
		if (!ioctl(fd, HMM_DEV_ARM, &head))
			poll(&pollfd, 1, -1);
		ioctl(fd, HMM_DEV_CLEAR);
	}
}

static bool hold(int fd, char *why, size_t size)
{
	const struct hmm_dev_shared *shared;
	int tries = 10000;
	char *page;

	if (!fork())
		acknowledge(fd);
	shared = mmap(NULL, BENCH_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	page = map(1);
	if (shared == MAP_FAILED || !page)
		return false;
	/* Until the other one is there: then a change waits, and not in vain. */
	while (--tries && ioctl(fd, HMM_DEV_ACK, 0ul))
		usleep(1000);
	touch(page, 1);
	madvise(page, BENCH_PAGE, MADV_DONTNEED);
	if (tries && !shared->late)
		return true;
	snprintf(why, size, "nobody acknowledges");
	return false;
}

static bool attach(struct process *p, char *why, size_t size)
{
	struct mm_struct *mm = bench_attach("module", why, size);
	unsigned long page = (unsigned long)map(1);

	if (!mm || !page)
		return false;
	range_init(&p->range, &p->pfn);
	return !hmm_range_register(&p->range, mm, page, page + BENCH_PAGE) &&
	       range_snapshot(&p->range, mm) >= 0;
}

static void *set_up(const void *arg, char *why, size_t size)
{
	static struct process p;
	enum how how = *(const enum how *)arg;
	int fd;

	if (how == BARE)
		return &p;
	if (how == ATTACHED)
		return attach(&p, why, size) ? &p : NULL;
	fd = open_device(why, size);
	if (fd < 0)
		return NULL;
	if (how == WITH_RANGES && !register_ranges(fd, RANGES)) {
		snprintf(why, size, "no more ranges: %s", strerror(errno));
		return NULL;
	}
	return how != HELD || hold(fd, why, size) ? &p : NULL;
}

static uint64_t change(unsigned int n, enum op op)
{
	static char *piece[PIECES];
	unsigned int i;
	uint64_t ns;

	for (i = 0; i < n; i++) {
		piece[i] = map(PIECE);
		if (!piece[i])
			abort();
		touch(piece[i], PIECE);
	}
	ns = bench_now();
	for (i = 0; i < n; i++) {
		if (op == UNMAP)
			munmap(piece[i], PIECE * BENCH_PAGE);
		else
			madvise(piece[i], PIECE * BENCH_PAGE, MADV_DONTNEED);
	}
	ns = bench_now() - ns;
	for (i = 0; op != UNMAP && i < n; i++)
		munmap(piece[i], PIECE * BENCH_PAGE);
	return ns;
}

static uint64_t unmap(void *ctx, unsigned int n)
{
	(void)ctx;
	return change(n, UNMAP);
}

static uint64_t discard(void *ctx, unsigned int n)
{
	(void)ctx;
	return change(n, DISCARD);
}

static const bench_fn ops[] = { unmap, discard };

static void measure(struct bench_arm *bare, enum how how)
{
	struct bench_line *line;
	struct bench_arm arm;
	unsigned int op;
	bool started;
	char name[64];

	started = bench_arm_start(&arm, set_up, &how, ops);
	for (op = 0; op < OPS; op++) {
		snprintf(name, sizeof(name), "%s, %s", op_names[op],
			 how_names[how]);
		line = how == WITH_RANGES
			       ? bench_line_of(name, "bare", RANGES, "ranges")
			       : bench_line(name, "bare");
		if (!started) {
			bench_skip(line, "%s", arm.why);
			continue;
		}
		arm.op = bare->op = op;
		bench_pair(line,
			   &(struct bench_side){ bench_arm_run, &arm, PIECES },
			   &(struct bench_side){ bench_arm_run, bare, PIECES });
	}
	if (started)
		bench_arm_stop(&arm);
}

/* ---- Reading entries ----------------------------------------------------- */

struct reader {
	int fd, floor_fd;
	struct hmm_dev_range range;
	struct hmm_bench_walk walk;
};

static uint64_t ours(void *ctx, unsigned int n)
{
	struct reader *r = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++)
		if (ioctl(r->fd, HMM_DEV_SNAPSHOT, &r->range) && errno != EBUSY)
			abort();
	return bench_now() - begin;
}

static uint64_t kernels(void *ctx, unsigned int n)
{
	struct reader *r = ctx;
	uint64_t begin = bench_now();
	unsigned int i;

	for (i = 0; i < n; i++)
		if (ioctl(r->floor_fd, HMM_BENCH_WALK, &r->walk))
			abort();
	return bench_now() - begin;
}

static void snapshot(struct reader *r, size_t pages)
{
	struct bench_line *line =
		bench_line_of("snapshot by /dev/hmm", "the kernel's own walker",
			      (double)pages, "pages");
	uint64_t *pfns = calloc(pages, sizeof(*pfns));
	char *memory = map(pages);

	if (!memory || !pfns) {
		bench_skip(line, "no memory");
		return;
	}
	touch(memory, pages);
	memset(pfns, 1, pages * sizeof(*pfns));
	r->walk = (struct hmm_bench_walk){
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + pages * BENCH_PAGE,
		.pfns = (unsigned long)pfns,
	};
	r->range = (struct hmm_dev_range){
		.start = r->walk.start,
		.end = r->walk.end,
		.pfns = r->walk.pfns,
		.nr = pages,
		.flags = { 1, 2, 4 },
		.values = { 8, 0, 16 },
		.pfn_shift = 12,
	};
	if (ioctl(r->fd, HMM_DEV_SNAPSHOT, &r->range) && errno != EBUSY)
		bench_skip(line, "%s", strerror(errno));
	else
		bench_pair(line, &(struct bench_side){ ours, r, 0 },
			   &(struct bench_side){ kernels, r, 0 });
	munmap(memory, pages * BENCH_PAGE);
	free(pfns);
}

static void snapshots(void)
{
	static const size_t sizes[] = { 1, 16, 512, 16384 };
	struct reader r = { .floor_fd = open("/dev/hmm_bench", O_RDONLY) };
	char why[192] = "no hmm_bench.ko";
	unsigned int i;

	r.fd = open_device(why, sizeof(why));
	if (r.fd < 0 || r.floor_fd < 0) {
		bench_skip(bench_line("snapshot by /dev/hmm", ""), "%s", why);
		return;
	}
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		snapshot(&r, sizes[i]);
}

void bench_device(void)
{
	enum how how = BARE;
	struct bench_arm bare;

	if (access(DEVICE, F_OK)) {
		bench_skip(bench_line(DEVICE, ""), "hmm.ko is not loaded");
		return;
	}
	if (!bench_arm_start(&bare, set_up, &how, ops))
		return;
	for (how = OPEN; how < HOWS; how++)
		measure(&bare, how);
	bench_arm_stop(&bare);
	snapshots();
}
