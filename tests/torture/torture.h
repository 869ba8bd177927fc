/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * torture.h - what the files of the torture share
 *
 * Three processes: the supervisor (main.c), which never waits for what it
 * watches; the tortured one, with a thread for each worker; and one outside,
 * which changes the tortured one's memory as only another process can.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hmm.h"

#define PAGE 4096ul
#define HUGE (2ul << 20)

/* ---- What the three processes share ---------------------------------------- */

#define MAX_WORKERS 64
#define MAX_TALLIES 96

/* How often something was done, and refused. */
struct tally {
	const char *name;
	uint64_t done, refused;
};

/* Of a worker; inside: it may be making a change right now. */
struct progress {
	char name[16];
	bool inside;
	uint64_t steps;
};

struct shared {
	bool stop, ready;
	pid_t victim;
	uint64_t stale, undecided;
	uint64_t unseen; /* see machine_migrates() */
	uint64_t signals;
	unsigned int nr_tallies, nr_workers;
	struct tally tally[MAX_TALLIES];
	struct progress worker[MAX_WORKERS];
};

/* The same in all three, but for mm: that is the tortured one's alone. */
struct torture {
	struct shared *shared;
	struct mm_struct *mm;
	int level;
	uint64_t seed;
	bool signals, storm;
};

extern struct torture t;

/* Before the processes part. */
struct tally *tally_new(const char *name);
void tally(struct tally *tally, bool done);

static inline bool stopping(void)
{
	return __atomic_load_n(&t.shared->stop, __ATOMIC_RELAXED);
}

/* ---- Workers ---------------------------------------------------------------- */

struct worker;

struct role {
	const char *name;
	unsigned int threads;
	bool level1; /* may run under a source of level 1 */
	void (*step)(struct worker *w);
};

struct worker {
	const struct role *role;
	struct progress *progress;
	uint64_t random;
	pthread_t thread;
};

/* worker.c; the seed of worker i is always the same for one t.seed */
void worker_init(struct worker *w, unsigned int i);
static inline unsigned int nr_workers(void)
{
	return __atomic_load_n(&t.shared->nr_workers, __ATOMIC_ACQUIRE);
}

int workers_start(const struct role *const *roles, unsigned int nr);
void workers_join(void);
/*
 * Wait until no change that is being made now is still being made: every
 * worker was outside since.  False if that takes too long.
 */
bool workers_pass(void);
/* For a worker that waits for who may wait for workers_pass(). */
void worker_outside(struct worker *w);
void worker_inside(struct worker *w);

uint64_t draw(struct worker *w, uint64_t n);

static inline bool chance(struct worker *w, unsigned int of, unsigned int in)
{
	return draw(w, in) < of;
}

/* ---- The memory that is changed (zone.c) ------------------------------------ */

/* Every address in one of its own zones: nobody else maps anything there. */
#define ZONES 8
#define ZONE_LEN (2 * HUGE)
#define ZONE_BASE 0x20000000ul
/* A zone is twice as long: the second half is where memory is moved to. */
#define ZONE_STRIDE (4 * ZONE_LEN)

enum flavour {
	MIXED,  /* anything; only for a source that sees everything */
	ANON,   /* private anonymous, never mapped by a read first */
	SHARED, /* one memfd, mapped once */
};

struct zone {
	char *home;
	enum flavour flavour;
	int memfd, file;
};

struct window {
	struct zone *zone;
	char *p;
	size_t len;
};

extern struct zone zones[ZONES];

int zones_init(void);
struct window window_pick(struct worker *w, size_t max_pages);
struct window window_pick_huge(struct worker *w);
/* Map something new over it; also touches some of it. */
bool window_fill(struct worker *w, const struct window *win);

/* What libc has, for memory that several threads change at once. */
bool zone_mmap(char *p, size_t len, int flags, int fd, off_t at);
bool zone_munmap(char *p, size_t len);

/* A store by this CPU; false if nothing may be written there. */
void poke_init(void);
bool poke(char *p, char value);
void poke_some(struct worker *w, const struct window *win);

/* ---- Who changes it --------------------------------------------------------- */

/* change.c: system calls of the process's own threads */
extern const struct role role_change, role_uring;
void changes_init(void);
/* life.c: what programs do all day */
extern const struct role role_heap, role_dl, role_thread, role_stack,
	role_twins, role_huge, role_fork;
void life_init(void);
/* outside.c */
void outside_init(void);
void outside_main(void) __attribute__((noreturn));
/*
 * machine.c: swap and KSM, for as long as this process lives, where the source
 * sees what they do
 */
void machine_prepare(void);
/*
 * Have pages been moved since, or taken away?  A source of level 1 does not see
 * that, and anybody can make the kernel do so with any page.
 */
bool machine_migrates(void);
bool machine_reclaims(void);

/* ---- Who looks -------------------------------------------------------------- */

/* loop.c: plain driver loops */
extern const struct role role_loop;
int loops_init(void);
uint64_t loops_report(void);
/* engines.c: the software device */
extern const struct role role_submit, role_verify, role_device;
int engines_init(void);
/* Translations compared; adds to shared->stale and ->undecided. */
uint64_t engines_report(void);
/* Have the device write, or read, all of it.  Not of level 1 without write:
 * memory that was never written.  False if it could not. */
bool engines_run_over(struct worker *w, void *p, size_t len, bool write);

#endif
