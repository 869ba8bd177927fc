// SPDX-License-Identifier: MIT OR GPL-2.0
/* change.c - system calls with which a process changes its own page table */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "torture.h"

/* Newer than Debian 12's headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

struct change {
	const char *name;
	bool (*make)(struct worker *w, const struct change *change,
		     const struct window *win);
	int arg;
	unsigned int weight;
	bool level1; /* of the kinds that a source of level 1 claims to see */
	bool hole;   /* leaves a hole, or what can't be used */
	size_t max_pages;
};

/* ---- munmap, mmap, mremap, mprotect ----------------------------------------- */

static bool do_munmap(struct worker *w, const struct change *change,
		      const struct window *win)
{
	(void)w;
	(void)change;
	return zone_munmap(win->p, win->len);
}

/* As one makes it who links with no libc at all. */
static bool do_raw_munmap(struct worker *w, const struct change *change,
			  const struct window *win)
{
	long ret;

	(void)w;
	(void)change;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_munmap), "D"(win->p), "S"(win->len)
			 : "rcx", "r11", "memory");
	return !ret;
}

static bool do_map_fixed(struct worker *w, const struct change *change,
			 const struct window *win)
{
	(void)change;
	return window_fill(w, win);
}

static char *away(const struct window *win)
{
	return win->p + ZONE_LEN;
}

static bool do_move(struct worker *w, const struct change *change,
		    const struct window *win)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | change->arg;
	struct window moved = { win->zone, away(win), win->len };

	if (mremap(win->p, win->len, win->len, flags, away(win)) == MAP_FAILED)
		return false;
	if (t.level >= 2)
		poke_some(w, &moved);
	if (t.level >= 2 && chance(w, 1, 2) &&
	    mremap(away(win), win->len, win->len, MREMAP_MAYMOVE | MREMAP_FIXED,
		   win->p) != MAP_FAILED)
		return true;
	zone_munmap(away(win), win->len);
	return true;
}

static bool do_resize(struct worker *w, const struct change *change,
		      const struct window *win)
{
	size_t half = win->len / 2 & ~(PAGE - 1);

	(void)w;
	(void)change;
	if (!half || mremap(win->p, win->len, win->len - half, 0) == MAP_FAILED)
		return false;
	/* Works if nobody has mapped something there meanwhile. */
	(void)!mremap(win->p, win->len - half, win->len, 0);
	return true;
}

static bool do_mprotect(struct worker *w, const struct change *change,
			const struct window *win)
{
	bool ret = !mprotect(win->p, win->len, change->arg);

	/* Long enough for somebody to look. */
	if (chance(w, 1, 4))
		usleep((useconds_t)draw(w, 5000));
	if (chance(w, 3, 4)) {
		mprotect(win->p, win->len, PROT_READ | PROT_WRITE);
		poke_some(w, win);
	}
	return ret;
}

static bool do_shm(struct worker *w, const struct change *change,
		   const struct window *win)
{
	int id = shmget(IPC_PRIVATE, win->len, IPC_CREAT | 0600);
	bool ret;

	(void)change;
	if (id < 0)
		return false;
	ret = shmat(id, win->p, SHM_REMAP) == win->p;
	shmctl(id, IPC_RMID, NULL);
	if (!ret)
		return false;
	poke_some(w, win);
	return !shmdt(win->p);
}

/* ---- madvise ---------------------------------------------------------------- */

static bool do_madvise(struct worker *w, const struct change *change,
		       const struct window *win)
{
	(void)w;
	return !madvise(win->p, win->len, change->arg);
}

/* Of a process's own memory, since Linux 6.13. */
static bool do_process_madvise(struct worker *w, const struct change *change,
			       const struct window *win)
{
	struct iovec iov = { win->p, win->len };
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	bool ret;

	(void)w;
	if (fd < 0)
		return false;
	ret = syscall(SYS_process_madvise, fd, &iov, 1, change->arg, 0) >= 0;
	close(fd);
	return ret;
}

/* Private memory is needed, and all of one kind. */
static bool do_advise_fresh(struct worker *w, const struct change *change,
			    const struct window *win)
{
	struct window all = *win;

	if (change->arg == MADV_HUGEPAGE || change->arg == MADV_COLLAPSE)
		all = window_pick_huge(w);
	if (!zone_mmap(all.p, all.len, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
		return false;
	if (change->arg != MADV_HUGEPAGE)
		poke_some(w, &all);
	if (madvise(all.p, all.len, change->arg))
		return false;
	poke_some(w, &all);
	return true;
}

static bool do_msync(struct worker *w, const struct change *change,
		     const struct window *win)
{
	(void)w;
	return !msync(win->p, win->len, change->arg);
}

/* The children get it, or not: splits and merges vmas. */
static bool do_advise_twice(struct worker *w, const struct change *change,
			    const struct window *win)
{
	bool ret = !madvise(win->p, win->len, change->arg);

	poke_some(w, win);
	madvise(win->p, win->len, change->arg + 1);
	return ret;
}

static bool do_mlock(struct worker *w, const struct change *change,
		     const struct window *win)
{
	bool ret = !mlock(win->p, win->len);

	(void)w;
	(void)change;
	munlock(win->p, win->len);
	return ret;
}

/* ---- Files ------------------------------------------------------------------ */

static bool do_truncate(struct worker *w, const struct change *change,
			const struct window *win)
{
	bool ret = !ftruncate(win->zone->memfd, win->p - win->zone->home);

	(void)w;
	(void)change;
	return !ftruncate(win->zone->memfd, ZONE_LEN) && ret;
}

static bool do_punch(struct worker *w, const struct change *change,
		     const struct window *win)
{
	(void)w;
	(void)change;
	return !fallocate(win->zone->memfd,
			  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  win->p - win->zone->home, (off_t)win->len);
}

/* ---- All of them ------------------------------------------------------------ */

#define ADVISE(name, advice, weight, level1)                         \
	{                                                            \
		name, do_madvise, advice, weight, level1, false, 128 \
	}

static const struct change changes[] = {
	{ "munmap", do_munmap, 0, 20, true, true, 256 },
	{ "munmap, no libc", do_raw_munmap, 0, 5, true, true, 64 },
	{ "MAP_FIXED", do_map_fixed, 0, 20, true, false, 256 },
	{ "mremap, move", do_move, 0, 15, true, true, 128 },
	{ "mremap, DONTUNMAP", do_move, MREMAP_DONTUNMAP, 5, true, true, 64 },
	{ "mremap, resize", do_resize, 0, 5, true, true, 64 },
	{ "mprotect, NONE", do_mprotect, PROT_NONE, 10, false, true, 64 },
	{ "mprotect, READ", do_mprotect, PROT_READ, 10, false, true, 64 },
	{ "shmat, shmdt", do_shm, 0, 2, false, true, 32 },
	ADVISE("DONTNEED", MADV_DONTNEED, 20, true),
	ADVISE("FREE", MADV_FREE, 10, true),
	ADVISE("REMOVE", MADV_REMOVE, 5, true),
	ADVISE("COLD", MADV_COLD, 3, false),
	ADVISE("PAGEOUT", MADV_PAGEOUT, 10, false),
	ADVISE("WILLNEED", MADV_WILLNEED, 3, false),
	ADVISE("POPULATE_READ", MADV_POPULATE_READ, 10, false),
	ADVISE("POPULATE_WRITE", MADV_POPULATE_WRITE, 10, true),
	ADVISE("NOHUGEPAGE", MADV_NOHUGEPAGE, 1, false),
	ADVISE("UNMERGEABLE", MADV_UNMERGEABLE, 2, false),
	ADVISE("DONTNEED_LOCKED", MADV_DONTNEED_LOCKED, 5, true),
	ADVISE("SEQUENTIAL", MADV_SEQUENTIAL, 1, true),
	ADVISE("RANDOM", MADV_RANDOM, 1, true),
	ADVISE("NORMAL", MADV_NORMAL, 1, true),
	{ "GUARD_INSTALL", do_advise_twice, MADV_GUARD_INSTALL, 5, false, true,
	  64 },
	{ "WIPEONFORK", do_advise_twice, MADV_WIPEONFORK, 1, false, false, 64 },
	{ "DONTFORK", do_advise_twice, MADV_DONTFORK, 1, false, false, 64 },
	{ "DONTDUMP", do_advise_twice, MADV_DONTDUMP, 1, true, false, 64 },
	{ "HUGEPAGE", do_advise_fresh, MADV_HUGEPAGE, 2, false, false, 1 },
	{ "COLLAPSE", do_advise_fresh, MADV_COLLAPSE, 1, false, false, 1 },
	{ "MERGEABLE", do_advise_fresh, MADV_MERGEABLE, 10, false, false, 128 },
	{ "msync", do_msync, MS_SYNC, 1, false, false, 64 },
	{ "mlock", do_mlock, 0, 2, true, false, 16 },
	{ "truncate", do_truncate, 0, 1, false, false, 1 },
	{ "punch hole", do_punch, 0, 3, false, false, 64 },
	{ "process_madvise DONTNEED", do_process_madvise, MADV_DONTNEED, 3,
	  true, false, 64 },
	{ "process_madvise PAGEOUT", do_process_madvise, MADV_PAGEOUT, 3, false,
	  false, 64 },
};
#define NR_CHANGES (sizeof(changes) / sizeof(changes[0]))

static struct tally *tallies[NR_CHANGES], *uring_tally;
static unsigned int total_weight;

static unsigned int weight(const struct change *change)
{
	return t.level >= 2 || change->level1 ? change->weight : 0;
}

void changes_init(void)
{
	unsigned int i;

	for (i = 0; i < NR_CHANGES; i++) {
		if (!weight(&changes[i]))
			continue;
		tallies[i] = tally_new(changes[i].name);
		total_weight += weight(&changes[i]);
	}
	uring_tally = tally_new("io_uring DONTNEED");
}

static void change_step(struct worker *w)
{
	uint64_t at = draw(w, total_weight);
	const struct change *change = changes;
	struct window win;
	bool done;

	while (at >= weight(change))
		at -= weight(change++);
	win = window_pick(w, change->max_pages);
	done = change->make(w, change, &win);
	tally(tallies[change - changes], done);
	if (change->hole && chance(w, 3, 4))
		window_fill(w, &win);
	else if (done && chance(w, 1, 2))
		poke_some(w, &win);
	/* Storms, and calm enough in between for translations to grow old. */
	worker_outside(w);
	if (chance(w, 1, 64))
		usleep((useconds_t)draw(w, 50000));
	else if (chance(w, 1, 2))
		usleep((useconds_t)draw(w, 1000));
}

const struct role role_change = { "change", 3, true, change_step };

/* ---- io_uring --------------------------------------------------------------- */

static void uring_step(struct worker *w)
{
	static __thread struct io_uring *ring;
	static __thread struct io_uring memory;
	struct window win = window_pick(w, 128);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int ret;

	if (!ring) {
		ret = io_uring_queue_init(8, &memory, 0);
		if (ret) {
			/* Forbidden here; the tally shows it. */
			tally(uring_tally, false);
			usleep(100000);
			return;
		}
		ring = &memory;
	}
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_madvise(sqe, win.p, (off_t)win.len, MADV_DONTNEED);
	do
		ret = io_uring_submit(ring);
	while (ret == -EINTR);
	if (ret != 1) {
		/* No memory; what was not taken will not complete. */
		io_uring_queue_exit(ring);
		ring = NULL;
		tally(uring_tally, false);
		return;
	}
	do
		ret = io_uring_wait_cqe(ring, &cqe);
	while (ret == -EINTR);
	tally(uring_tally, !ret && !cqe->res);
	if (!ret)
		io_uring_cqe_seen(ring, cqe);
	usleep(200);
}

const struct role role_uring = { "uring", 1, true, uring_step };
