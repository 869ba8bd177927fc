// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * change.c - what being watched adds to a change, for the one who makes it
 *
 * Two processes do the same to memory of their own.  One is attached, has a
 * range with a snapshot over that memory, and others elsewhere; maybe a mirror.
 */
#include <bpf/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "setup.h"
#include "team.h"

#define PIECE 16 /* pages: 64 KiB */
#define PIECES 32
#define STRIDE ((PIECE + 1) * BENCH_PAGE)

enum op { UNMAP, DISCARD, PROTECT, OPS };

static const char *const op_names[OPS] = {
	"munmap 64 KiB",
	"MADV_DONTNEED 64 KiB",
	"mprotect 64 KiB",
};

struct setup {
	const char *source; /* NULL: bare */
	size_t ranges;
	bool mirror;
	bool vm;              /* a VM, and nobody who listens */
	unsigned int threads; /* if more than one */
};

struct worker {
	struct mm_struct *mm;
	pthread_barrier_t *begin; /* NULL: alone */
	char *area;
	uint64_t pfns[PIECES * (PIECE + 1)];
};

struct process {
	struct mm_struct *mm;
	struct hmm_mirror mirror;
	struct herd herd;
	struct worker worker[BENCH_TEAM];
	pthread_barrier_t begin;
	struct bench_team team;
	bool many;
};

static int forget(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

/*
 * What lies between the pieces keeps them from becoming one vma, and may be
 * read, so that one range covers all.
 */
static void *reserve(void *at)
{
	return mmap(at, PIECES * STRIDE, PROT_READ,
		    MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

static char *piece(const struct worker *w, unsigned int i)
{
	return w->area + i * STRIDE;
}

/* Touched pieces, and a range with a snapshot over them. */
static void prepare(struct worker *w, struct hmm_range *range, unsigned int n)
{
	unsigned long start = (unsigned long)w->area;
	unsigned int i;

	for (i = 0; i < n; i++) {
		mmap(piece(w, i), PIECE * BENCH_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		touch(piece(w, i), PIECE);
	}
	if (!w->mm)
		return;
	range_init(range, w->pfns);
	hmm_range_register(range, w->mm, start, start + n * STRIDE);
	range_snapshot(range, w->mm);
}

static void clean_up(struct worker *w, struct hmm_range *range)
{
	if (w->mm)
		hmm_range_unregister(range);
	reserve(w->area);
}

static uint64_t change(struct worker *w, unsigned int n, enum op op)
{
	struct hmm_range range;
	unsigned int i;
	uint64_t ns;

	prepare(w, &range, n);
	if (w->begin)
		pthread_barrier_wait(w->begin);
	ns = bench_now();
	for (i = 0; i < n; i++) {
		if (op == UNMAP)
			munmap(piece(w, i), PIECE * BENCH_PAGE);
		else if (op == DISCARD)
			madvise(piece(w, i), PIECE * BENCH_PAGE, MADV_DONTNEED);
		else
			mprotect(piece(w, i), PIECE * BENCH_PAGE, PROT_READ);
	}
	ns = bench_now() - ns;
	clean_up(w, &range);
	return ns;
}

static uint64_t unmap_here(void *ctx, unsigned int n)
{
	return change(ctx, n, UNMAP);
}

static uint64_t unmap(void *ctx, unsigned int n)
{
	struct process *p = ctx;

	return p->many ? bench_team_run(&p->team, n)
		       : change(&p->worker[0], n, UNMAP);
}

static uint64_t discard(void *ctx, unsigned int n)
{
	struct process *p = ctx;

	return change(&p->worker[0], n, DISCARD);
}

static uint64_t protect(void *ctx, unsigned int n)
{
	struct process *p = ctx;

	return change(&p->worker[0], n, PROTECT);
}

static const bench_fn ops[] = { unmap, discard, protect };

static void *set_up(const void *arg, char *why, size_t size)
{
	static const struct hmm_mirror_ops mirror_ops = { NULL, forget };
	static struct process p;
	const struct setup *s = arg;
	void *worker[BENCH_TEAM];
	unsigned int i;
	int ret;

	for (i = 0; i < BENCH_TEAM; i++) {
		worker[i] = &p.worker[i];
		p.worker[i].area = reserve(NULL);
		if (p.worker[i].area == MAP_FAILED) {
			snprintf(why, size, "no memory");
			return NULL;
		}
	}
	p.many = s->threads > 1;
	if (s->vm && !bench_vm())
		snprintf(why, size, "no KVM here");
	if (p.many) {
		pthread_barrier_init(&p.begin, NULL, s->threads);
		for (i = 0; i < s->threads; i++)
			p.worker[i].begin = &p.begin;
		bench_team_start(&p.team, unmap_here, worker, s->threads);
	}
	if (!s->source)
		return *why ? NULL : &p;
	p.mm = bench_attach(s->source, why, size);
	if (!p.mm)
		return NULL;
	if (s->mirror) {
		p.mirror.ops = &mirror_ops;
		mmap_write_lock(p.mm);
		ret = hmm_mirror_register(&p.mirror, p.mm);
		mmap_write_unlock(p.mm);
		if (ret)
			snprintf(why, size, "mirror: %s", strerror(-ret));
	}
	if (!herd_start(&p.herd, p.mm, s->ranges - 1, true))
		snprintf(why, size, "no memory");
	for (i = 0; i < BENCH_TEAM; i++)
		p.worker[i].mm = p.mm;
	return *why ? NULL : &p;
}

static void measure(struct bench_arm *bare, const struct setup *s,
		    struct bench_line *line[OPS])
{
	struct bench_arm arm;
	unsigned int op;

	if (!bench_arm_start(&arm, set_up, s, ops)) {
		for (op = 0; op < OPS; op++)
			bench_skip(line[op], "%s", arm.why);
		return;
	}
	for (op = 0; op < OPS; op++) {
		arm.op = bare->op = op;
		bench_pair(line[op],
			   &(struct bench_side){ bench_arm_run, &arm, PIECES },
			   &(struct bench_side){ bench_arm_run, bare, PIECES });
	}
	bench_arm_stop(&arm);
}

/* What the kernel's own notifier takes: nobody who uses it can take less. */
static void bare_vm(struct bench_arm *bare)
{
	const struct setup setup = { .vm = true };
	struct bench_line *line[OPS];
	unsigned int op;
	char name[64];

	for (op = 0; op < OPS; op++) {
		snprintf(name, sizeof(name), "%s, KVM alone", op_names[op]);
		line[op] = bench_line(name, "bare");
	}
	measure(bare, &setup, line);
}

/* munmap() by several threads: as many in the process that it is compared to. */
static void by_threads(const char *source, unsigned int nr)
{
	const struct setup setup = { .source = source,
				     .ranges = 1,
				     .threads = nr };
	const struct setup none = { .threads = nr };
	struct bench_line *line;
	struct bench_arm bare, arm;
	char name[64];

	snprintf(name, sizeof(name), "%s, %s, threads", op_names[UNMAP],
		 source);
	line = bench_line_of(name, "bare", nr, "threads");
	if (!bench_arm_start(&bare, set_up, &none, ops)) {
		bench_skip(line, "%s", bare.why);
		return;
	}
	if (bench_arm_start(&arm, set_up, &setup, ops)) {
		bench_pair(line,
			   &(struct bench_side){ bench_arm_run, &arm, PIECES },
			   &(struct bench_side){ bench_arm_run, &bare,
						 PIECES });
		bench_arm_stop(&arm);
	} else {
		bench_skip(line, "%s", arm.why);
	}
	bench_arm_stop(&bare);
}

/* Programs at the kernel's tracepoint, of all processes. */
static unsigned int listeners(void)
{
	struct bpf_prog_info info;
	__u32 id = 0, size;
	unsigned int n = 0;
	int fd;

	while (!bpf_prog_get_next_id(id, &id)) {
		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		size = sizeof(info);
		if (!bpf_obj_get_info_by_fd(fd, &info, &size))
			n += !strcmp(info.name, "hva_range");
		close(fd);
	}
	return n;
}

void bench_change(void)
{
	static const char *const sources[] = { "kvm", "uffd" };
	static const size_t ranges[] = { 1, 1000, 1000000 };
	struct bench_line *line[2][2][3][OPS];
	struct bench_arm bare;
	unsigned int s, m, r, op, n, nr = bench_options.quick ? 2 : 3;
	char name[64];

	/* In the order in which they are printed. */
	for (s = 0; s < 2; s++)
		for (op = 0; op < OPS; op++)
			for (m = 0; m < 2; m++)
				for (r = 0; r < nr; r++) {
					snprintf(name, sizeof(name), "%s, %s%s",
						 op_names[op], sources[s],
						 m ? ", a mirror" : "");
					line[s][m][r][op] =
						bench_line_of(name, "bare",
							      (double)ranges[r],
							      "ranges");
					if (s == 0 && op == UNMAP)
						line[s][m][r][op]->goal = 1.15;
				}
	if (!bench_arm_start(&bare, set_up, &(struct setup){ .source = NULL },
			     ops))
		return;
	bare_vm(&bare);
	for (s = 0; s < 2; s++)
		for (m = 0; m < 2; m++)
			for (r = 0; r < nr; r++) {
				const struct setup setup = {
					.source = sources[s],
					.ranges = ranges[r],
					.mirror = m,
				};

				measure(&bare, &setup, line[s][m][r]);
			}
	bench_arm_stop(&bare);
	for (s = 0; s < 2; s++)
		for (n = 1; n <= BENCH_TEAM; n *= 2)
			by_threads(sources[s], n);
	n = listeners();
	if (n)
		bench_note("%u other processes use the source kvm now: each "
			   "adds 0.1 us and more to every change of a process "
			   "that does",
			   n);
}
