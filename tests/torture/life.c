// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * life.c - what programs do all day: allocate, load libraries, start threads,
 * recurse deeply, fork
 */
#include <alloca.h>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static struct tally *huge_tally, *heap_tally, *dl_tally, *thread_tally,
	*stack_tally, *twins_tally, *fork_tally, *vfork_tally, *spawn_tally;

void life_init(void)
{
	heap_tally = tally_new("malloc, free");
	dl_tally = tally_new("dlopen, dlclose");
	thread_tally = tally_new("thread, exit");
	stack_tally = tally_new("stack growth");
	twins_tally = tally_new("equal pages");
	huge_tally = tally_new("small pages, huge page");
	fork_tally = tally_new("fork");
	vfork_tally = tally_new("vfork, munmap");
	spawn_tally = tally_new("posix_spawn");
	/*
	 * One arena, which is the program break, and given back at once: this
	 * is brk() as often as it can be had.  Other allocators have their own
	 * ways.  Only this worker does, for the sake of workers_pass().
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 24);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 0);
}

static void heap_step(struct worker *w)
{
	size_t len = (size_t)1 << (12 + draw(w, 9));
	char *p = malloc(len);

	tally(heap_tally, p);
	if (!p)
		return;
	/*
	 * Written by the device before it reads: a source of level 1 does not
	 * see how the page of zeroes is replaced.
	 */
	if (engines_run_over(w, p, len, true) || t.level >= 2) {
		memset(p, 1, len / 2);
		engines_run_over(w, p, len, false);
	}
	free(p);
	malloc_trim(0);
}

const struct role role_heap = { "heap", 1, true, heap_step };

static void dl_step(struct worker *w)
{
	static const char *const libs[] = { "libBrokenLocale.so.1",
					    "libmvec.so.1", "libanl.so.1",
					    "libthread_db.so.1" };
	void *lib = dlopen(libs[draw(w, sizeof(libs) / sizeof(libs[0]))],
			   RTLD_NOW | RTLD_LOCAL);
	struct link_map *map;

	tally(dl_tally, lib);
	if (!lib) {
		usleep(10000);
		return;
	}
	if (!dlinfo(lib, RTLD_DI_LINKMAP, &map))
		engines_run_over(w, (void *)map->l_addr, PAGE, false);
	dlclose(lib);
	usleep(500);
}

const struct role role_dl = { "dl", 1, true, dl_step };

/* ---- Threads and their stacks ----------------------------------------------- */

static void deep(struct worker *w, size_t len)
{
	char *p = alloca(len);
	size_t i;

	for (i = 0; i < len; i += PAGE)
		__atomic_store_n(&p[i], 1, __ATOMIC_RELAXED);
	engines_run_over(w, p, len, false);
}

static void *short_life(void *arg)
{
	struct worker *w = arg;

	deep(w, (1 + draw(w, 16)) * PAGE);
	return NULL;
}

static void thread_step(struct worker *w)
{
	/* One step is what both do: the device's oracle may wait for it. */
	struct worker child = {
		.progress = w->progress,
		.random = draw(w, ~0ull),
	};
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)1 << (19 + draw(w, 5)));
	ret = pthread_create(&thread, &attr, short_life, &child);
	pthread_attr_destroy(&attr);
	tally(thread_tally, !ret);
	if (!ret)
		pthread_join(thread, NULL);
	usleep(500);
}

const struct role role_thread = { "thread", 1, true, thread_step };

/* Above all zones; as the main thread's, it grows down when it is touched. */
#define STACK_TOP (ZONE_BASE + (ZONES + 1) * ZONE_STRIDE)
#define STACK_PAGES 64

static void stack_step(struct worker *w)
{
	char *top = (char *)STACK_TOP, *p;
	size_t n = 1 + draw(w, STACK_PAGES);

	p = mmap(top - PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1,
		 0);
	if (p == MAP_FAILED)
		return;
	for (p = top - PAGE; p >= top - n * PAGE; p -= PAGE)
		if (!poke(p, 1))
			break;
	tally(stack_tally, p < top - n * PAGE);
	engines_run_over(w, p + PAGE, (size_t)(top - PAGE - p), true);
	munmap(top - STACK_PAGES * PAGE, STACK_PAGES * PAGE);
	usleep(200);
}

const struct role role_stack = { "stack", 1, true, stack_step };

/* ---- What only the kernel's own threads do ---------------------------------- */

/* Above all zones, with nobody near. */
#define TWINS ((char *)(ZONE_BASE + (ZONES + 2) * ZONE_STRIDE))
#define TWIN_PAGES 256

/* Equal pages, left alone for as long as KSM needs to find them. */
static void twins_step(struct worker *w)
{
	const size_t len = TWIN_PAGES * PAGE;
	size_t i;

	if (mmap(TWINS, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return;
	tally(twins_tally, !madvise(TWINS, len, MADV_MERGEABLE));
	for (i = 0; i < TWIN_PAGES; i++)
		poke(TWINS + i * PAGE, 1);
	engines_run_over(w, TWINS, len, false);
	usleep((useconds_t)draw(w, 1000000));
	for (i = 0; i < TWIN_PAGES / 2; i++)
		poke(TWINS + draw(w, TWIN_PAGES) * PAGE, 2);
	engines_run_over(w, TWINS, len, false);
	munmap(TWINS, len);
}

const struct role role_twins = { "twins", 1, false, twins_step };

#define HUGE_PAGE (TWINS + ZONE_STRIDE)

/* Small pages that become a huge one, which is split and pulled apart. */
static void huge_step(struct worker *w)
{
	size_t i, n = 1 + draw(w, 64);
	bool done;

	if (mmap(HUGE_PAGE, HUGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return;
	for (i = 0; i < n; i++)
		poke(HUGE_PAGE + draw(w, HUGE / PAGE) * PAGE, 1);
	engines_run_over(w, HUGE_PAGE, HUGE, chance(w, 1, 2));
	done = !madvise(HUGE_PAGE, HUGE, MADV_COLLAPSE);
	tally(huge_tally, done);
	usleep((useconds_t)draw(w, 10000));
	engines_run_over(w, HUGE_PAGE, HUGE, chance(w, 1, 2));
	if (chance(w, 1, 2))
		madvise(HUGE_PAGE + draw(w, HUGE / PAGE) * PAGE, PAGE,
			MADV_DONTNEED);
	else
		mprotect(HUGE_PAGE, draw(w, HUGE / PAGE) * PAGE, PROT_READ);
	usleep((useconds_t)draw(w, 10000));
	engines_run_over(w, HUGE_PAGE, HUGE, false);
	munmap(HUGE_PAGE, HUGE);
	usleep((useconds_t)draw(w, 100000));
}

const struct role role_huge = { "huge", 1, false, huge_step };

/* ---- fork ------------------------------------------------------------------- */

#define CHILDREN 8

/* In the child, where only this thread is: the address space is a copy. */
static void child_main(struct worker *w)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	struct window win;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hmm_mm_query(t.mm, &info);
	if (!info.dead)
		_exit(1);
	for (i = 0; i < 4; i++) {
		win = window_pick(w, 64);
		poke_some(w, &win);
	}
	/* For as long as it lives, its pages are the parent's. */
	if (!t.storm)
		usleep((useconds_t)draw(w, 20000));
	_exit(0);
}

/*
 * The thread sanitizer takes what is like vfork() for fork(), and allows no
 * threads after it.
 */
#ifdef __SANITIZE_THREAD__
#define VFORK false
#else
#define VFORK true
#endif

static int munmap_main(void *arg)
{
	const struct window *win = arg;

	return (int)syscall(SYS_munmap, win->p, win->len);
}

/* A child that is no copy: it has our memory, as after vfork(). */
static bool vfork_and_munmap(struct worker *w)
{
	static char stack[16 * PAGE] __attribute__((aligned(16)));
	struct window win = window_pick(w, 64);
	pid_t pid = clone(munmap_main, stack + sizeof(stack),
			  CLONE_VM | CLONE_VFORK | SIGCHLD, &win);

	while (pid > 0 && waitpid(pid, NULL, 0) < 0)
		;
	window_fill(w, &win);
	return pid > 0;
}

static bool spawn(void)
{
	char name[] = "true", *argv[] = { name, NULL };
	pid_t pid;

	if (posix_spawnp(&pid, name, NULL, NULL, argv, NULL))
		return false;
	while (waitpid(pid, NULL, 0) < 0)
		;
	return true;
}

static void fork_step(struct worker *w)
{
	unsigned int i, n = t.storm ? CHILDREN : 1 + (unsigned int)draw(w, 2);
	struct window win;
	pid_t pid[CHILDREN];
	int status;

	/*
	 * At a thread's first sigsetjmp() the thread sanitizer allocates, under
	 * a lock that it does not hold across fork(): not first in a child.
	 */
	poke(&(char){ 0 }, 1);
	if (VFORK && chance(w, 1, 8))
		tally(vfork_tally, vfork_and_munmap(w));
	if (chance(w, 1, 8))
		tally(spawn_tally, spawn());
	for (i = 0; i < n; i++) {
		pid[i] = fork();
		if (!pid[i])
			child_main(w);
		/* Pages that both have: one gets another. */
		win = window_pick(w, 64);
		poke_some(w, &win);
	}
	for (i = 0; i < n; i++) {
		status = -1;
		while (pid[i] > 0 && waitpid(pid[i], &status, 0) < 0)
			;
		tally(fork_tally, pid[i] > 0 && !status);
	}
	/* Each takes all translations of private memory away: let some grow old. */
	usleep(t.storm ? 100 : (useconds_t)draw(w, 300000));
}

const struct role role_fork = { "fork", 1, false, fork_step };
