// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * outside.c - another process that changes the tortured one's memory: through
 * the files that it has mapped, through /proc, and by asking the kernel to
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct deed {
	const char *name;
	bool (*make)(struct worker *w, int arg);
	int arg;
	unsigned int weight;
	bool level1;
};

static int pidfd;

static int some_file(struct worker *w)
{
	struct zone *zone = &zones[draw(w, ZONES)];

	return chance(w, 1, 2) ? zone->memfd : zone->file;
}

static bool do_truncate(struct worker *w, int arg)
{
	int fd = some_file(w);
	bool ret;

	(void)arg;
	ret = !ftruncate(fd, (off_t)(draw(w, ZONE_LEN / PAGE) * PAGE));
	usleep((useconds_t)draw(w, 300));
	return !ftruncate(fd, ZONE_LEN) && ret;
}

static bool do_punch(struct worker *w, int arg)
{
	off_t at = (off_t)(draw(w, ZONE_LEN / PAGE) * PAGE);
	off_t len = (off_t)((1 + draw(w, 64)) * PAGE);

	return !fallocate(some_file(w), arg, at, len);
}

static bool do_sync(struct worker *w, int arg)
{
	(void)arg;
	return !fdatasync(zones[draw(w, ZONES)].file);
}

static bool do_write(struct worker *w, int arg)
{
	struct window win = window_pick(w, 64);
	char buf[1] = { 2 };
	struct iovec local = { buf, 1 }, remote = { win.p, 1 };

	(void)arg;
	return process_vm_writev(t.shared->victim, &local, 1, &remote, 1, 0) ==
	       1;
}

static bool do_advise(struct worker *w, int arg)
{
	struct window win = window_pick(w, 128);
	struct iovec iov;

	if (arg == MADV_COLLAPSE)
		win = window_pick_huge(w);
	iov = (struct iovec){ win.p, win.len };
	return syscall(SYS_process_madvise, pidfd, &iov, 1, arg, 0) >= 0;
}

static bool write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ret;

	if (fd < 0)
		return false;
	ret = write(fd, text, len) == (ssize_t)len;
	close(fd);
	return ret;
}

/* The whole machine's memory; so not too often. */
static bool do_compact(struct worker *w, int arg)
{
	(void)w;
	(void)arg;
	return write_file("/proc/sys/vm/compact_memory", "1", 1);
}

static bool do_clear_refs(struct worker *w, int arg)
{
	char path[64];

	(void)w;
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", t.shared->victim);
	return write_file(path, arg == 4 ? "4" : "1", 1);
}

/* Few of those that make everybody drop all translations. */
static const struct deed deeds[] = {
	{ "other: truncate", do_truncate, 0, 80, false },
	{ "other: punch hole", do_punch,
	  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 160, false },
	{ "other: fdatasync", do_sync, 0, 8, false },
	{ "other: vm_writev", do_write, 0, 240, true },
	{ "other: COLD", do_advise, MADV_COLD, 20, true },
	{ "other: PAGEOUT", do_advise, MADV_PAGEOUT, 80, false },
	{ "other: COLLAPSE", do_advise, MADV_COLLAPSE, 16, false },
	{ "other: soft-dirty", do_clear_refs, 4, 1, false },
	{ "other: compaction", do_compact, 0, 3, false },
};
#define NR_DEEDS (sizeof(deeds) / sizeof(deeds[0]))

static struct tally *tallies[NR_DEEDS];
static unsigned int total_weight;

static unsigned int weight(const struct deed *deed)
{
	return t.level >= 2 || deed->level1 ? deed->weight : 0;
}

void outside_init(void)
{
	unsigned int i;

	for (i = 0; i < NR_DEEDS; i++) {
		if (!weight(&deeds[i]))
			continue;
		tallies[i] = tally_new(deeds[i].name);
		total_weight += weight(&deeds[i]);
	}
}

void outside_main(void)
{
	const struct deed *deed;
	struct worker w;
	uint64_t at;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker_init(&w, MAX_WORKERS);
	while (!__atomic_load_n(&t.shared->ready, __ATOMIC_ACQUIRE))
		usleep(1000);
	pidfd = (int)syscall(SYS_pidfd_open, t.shared->victim, 0);
	while (!stopping()) {
		at = draw(&w, total_weight);
		for (deed = deeds; at >= weight(deed); deed++)
			at -= weight(deed);
		tally(tallies[deed - deeds], deed->make(&w, deed->arg));
		usleep((useconds_t)draw(&w, 1000));
	}
	_exit(0);
}
