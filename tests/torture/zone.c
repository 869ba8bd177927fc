// SPDX-License-Identifier: MIT OR GPL-2.0
/* zone.c - the memory that is changed, and how to touch what may be gone */
#include <execinfo.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "torture.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct zone zones[ZONES];

/* On a disk, if the current directory is: it has writeback, memfd has not. */
static int open_file(void)
{
	char path[] = "./torture-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd >= 0)
		unlink(path);
	return fd;
}

int zones_init(void)
{
	unsigned int i;

	for (i = 0; i < ZONES; i++) {
		struct zone *zone = &zones[i];

		zone->home = (char *)(ZONE_BASE + i * ZONE_STRIDE);
		zone->flavour = t.level >= 2 ? MIXED : i % 2 ? SHARED : ANON;
		zone->memfd = memfd_create("torture", MFD_CLOEXEC);
		zone->file = open_file();
		if (zone->memfd < 0 || zone->file < 0 ||
		    ftruncate(zone->memfd, ZONE_LEN) ||
		    ftruncate(zone->file, ZONE_LEN)) {
			perror("torture: files");
			return -1;
		}
	}
	return 0;
}

/* ---- Windows ---------------------------------------------------------------- */

struct window window_pick(struct worker *w, size_t max_pages)
{
	struct zone *zone = &zones[draw(w, ZONES)];
	size_t at = draw(w, ZONE_LEN / PAGE), n = 1 + draw(w, max_pages);

	/* Some small, few large. */
	if (chance(w, 3, 4))
		n = 1 + n / 8;
	if (at + n > ZONE_LEN / PAGE)
		n = ZONE_LEN / PAGE - at;
	return (struct window){ zone, zone->home + at * PAGE, n * PAGE };
}

struct window window_pick_huge(struct worker *w)
{
	struct zone *zone = &zones[draw(w, ZONES)];
	size_t at = draw(w, ZONE_LEN / HUGE) * HUGE;

	return (struct window){ zone, zone->home + at, HUGE };
}

/*
 * The thread sanitizer's own mmap() and munmap() change its shadow of the
 * memory, and crash if two threads do that in the same place.
 */
#ifdef __SANITIZE_THREAD__
#define mmap(...) ((void *)syscall(SYS_mmap, __VA_ARGS__))
#define munmap(...) ((int)syscall(SYS_munmap, __VA_ARGS__))
#endif

bool zone_mmap(char *p, size_t len, int flags, int fd, off_t at)
{
	return mmap(p, len, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
		    at) != MAP_FAILED;
}

bool zone_munmap(char *p, size_t len)
{
	return !munmap(p, len);
}

static bool map(const struct window *win, int flags, int fd)
{
	off_t at = fd < 0 ? 0 : win->p - win->zone->home;

	return zone_mmap(win->p, win->len, flags, fd, at);
}

static bool map_mixed(struct worker *w, const struct window *win)
{
	switch (draw(w, 12)) {
	case 0:
	case 1:
		return map(win, MAP_SHARED, win->zone->memfd);
	case 2:
		return map(win, MAP_PRIVATE, win->zone->memfd);
	case 3:
		return map(win, MAP_SHARED, win->zone->file);
	case 4:
		return map(win, MAP_PRIVATE, win->zone->file);
	case 5:
		return map(win, MAP_SHARED | MAP_ANONYMOUS, -1);
	default:
		return map(win, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	}
}

bool window_fill(struct worker *w, const struct window *win)
{
	bool ret;

	switch (win->zone->flavour) {
	case MIXED:
		ret = map_mixed(w, win);
		break;
	case ANON:
		ret = map(win, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		break;
	default:
		ret = map(win, MAP_SHARED, win->zone->memfd);
		break;
	}
	if (!ret)
		return false;
	switch (draw(w, 4)) {
	case 0:
		madvise(win->p, win->len, MADV_POPULATE_WRITE);
		break;
	case 1:
	case 2:
		poke_some(w, win);
		break;
	}
	return true;
}

/* ---- Touching --------------------------------------------------------------- */

static __thread sigjmp_buf guard;
static __thread volatile bool guarded;

/* No more than a handler may do that interrupted anything. */
static void say_crash(const siginfo_t *info)
{
	void *frames[32];
	char line[80];
	int n;

	n = snprintf(line, sizeof(line), "CRASH: signal %d at %p, called by\n",
		     info->si_signo, info->si_addr);
	(void)!write(STDOUT_FILENO, line, (size_t)n);
	n = backtrace(frames, sizeof(frames) / sizeof(frames[0]));
	backtrace_symbols_fd(frames, n, STDOUT_FILENO);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (guarded) {
		/* Cheaper here than to save the mask before each access. */
		pthread_sigmask(SIG_SETMASK,
				&((ucontext_t *)context)->uc_sigmask, NULL);
		siglongjmp(guard, 1);
	}
	say_crash(info);
	/* When this returns, it happens again. */
	signal(sig, SIG_DFL);
}

void poke_init(void)
{
	struct sigaction action = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO,
	};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* The sanitizer's own code must not be what faults. */
__attribute__((no_sanitize("thread"))) bool poke(char *p, char value)
{
	if (sigsetjmp(guard, 0)) {
		guarded = false;
		return false;
	}
	guarded = true;
	*(volatile char *)p = value;
	guarded = false;
	return true;
}

void poke_some(struct worker *w, const struct window *win)
{
	size_t pages = win->len / PAGE, i, n = 1 + draw(w, pages);
	/* Few values: KSM shall find equal pages. */
	char value = (char)(1 + draw(w, 2));

	if (n > 64)
		n = 64;
	for (i = 0; i < n; i++)
		poke(win->p + draw(w, pages) * PAGE, value);
}
