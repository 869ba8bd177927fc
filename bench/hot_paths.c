// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * hot_paths.c - do one thing many times, for bench/instructions.sh to count
 *
 * libhmm with a source of its own, under which nothing changes unless asked:
 * valgrind knows neither KVM nor what makes the uffd source's monitor.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mm.h"
#include "setup.h"

#define PAGES 16

static uint64_t started;
static unsigned long changed;
static struct hmm_source still = { .started = &started };

static int still_attach(struct hmm_source **srcp, char *why, size_t size)
{
	(void)why;
	(void)size;
	still.ops = &hmm_source_kvm;
	still.mechanism = "nothing changes";
	still.event_fd = eventfd(0, EFD_CLOEXEC);
	*srcp = &still;
	return still.event_fd < 0 ? -errno : 0;
}

static void still_detach(struct hmm_source *src)
{
	close(src->event_fd);
}

static int still_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		       uint64_t *consumed)
{
	const struct hmm_event event = {
		.start = changed,
		.end = changed + BENCH_PAGE,
		.phase = HMM_EVENT_PAST,
	};

	(void)src;
	if (*consumed != started)
		fn(ctx, &event);
	*consumed = started;
	return 0;
}

static int still_barrier(struct hmm_source *src, char *why, size_t size)
{
	(void)src;
	(void)why;
	(void)size;
	return 0;
}

const struct hmm_source_ops hmm_source_kvm = {
	.name = "still",
	.misses = "",
	.level = 2,
	.attach = still_attach,
	.detach = still_detach,
	.forked = still_detach,
	.drain = still_drain,
	.barrier = still_barrier,
};

/* The table of sources has two. */
const struct hmm_source_ops hmm_source_uffd = {
	.name = "none",
	.misses = "",
	.attach = still_attach,
	.detach = still_detach,
	.forked = still_detach,
	.drain = still_drain,
	.barrier = still_barrier,
};

/* ---- What is counted ---------------------------------------------------- */

static struct watched w;
static struct herd herd;
static size_t next;

static struct hmm_range *pick(void)
{
	return &herd.range[scatter(next++) % herd.nr];
}

static void valid(void)
{
	if (!hmm_range_valid(&w.range))
		abort();
}

static void recheck(void)
{
	changed = pick()->start;
	started++;
	valid();
}

static void unregister_and_register(void)
{
	struct hmm_range *range = pick();

	hmm_range_unregister(range);
	if (hmm_range_register(range, w.mm, range->start, range->end))
		abort();
}

static void invalidate_past(void)
{
	unsigned long start = pick()->start;

	hmm_invalidate_past(&w.mm->hmm, start, start + BENCH_PAGE);
}

static void snapshot(void)
{
	mmap_read_lock(w.mm);
	if (hmm_range_snapshot(&w.range) != PAGES)
		abort();
	mmap_read_unlock(w.mm);
}

static const struct {
	const char *name;
	void (*fn)(void);
} ops[] = {
	{ "valid", valid },
	{ "recheck", recheck },
	{ "register", unregister_and_register },
	{ "invalidate_past", invalidate_past },
	{ "snapshot", snapshot },
};

int main(int argc, char **argv)
{
	struct bench_line line = { .skipped = "" };
	unsigned int i;
	long n;

	if (argc != 4) {
		fprintf(stderr, "usage: %s WHAT TIMES RANGES\n", argv[0]);
		return 2;
	}
	if (!watch(&w, "still", PAGES, &line) ||
	    !herd_start(&herd, w.mm, (size_t)atol(argv[3]), true)) {
		fprintf(stderr, "%s\n", line.skipped);
		return 1;
	}
	for (i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(ops[i].name, argv[1]))
			for (n = atol(argv[2]); n; n--)
				ops[i].fn();
	/* To tear down is not what is counted. */
	_exit(0);
}
