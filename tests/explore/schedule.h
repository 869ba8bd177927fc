/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* schedule.h - which task runs next, and the search of all such choices */
#ifndef EXPLORE_SCHEDULE_H
#define EXPLORE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "fiber.h"

struct scenario;

/* ---- For the simulated tasks --------------------------------------------- */

/* Another task may run before what follows. */
void sched_point(const char *what, const void *obj);
/* What follows can't be before ready(arg); the others run until it is. */
void sched_block(const char *what, const void *obj, bool (*ready)(void *),
		 void *arg);
/* As above; false if the simulated time ran out first, where the scenario
 * lets it.  Without that, a wait that never ends is a deadlock.
 */
bool sched_wait(const char *what, const void *obj, bool (*ready)(void *),
		void *arg);
/* Something that the environment decides: 0 is usual, the rest are faults. */
unsigned int sched_choose(unsigned int n, const char *what);
/*
 * Run child(arg) as a fork's child does: on a copy of everything, where no
 * other task exists.  Afterwards all is as it was before.
 */
void sched_fork(void (*child)(void *), void *arg);
/* A property does not hold: ends this schedule. */
_Noreturn void sched_fail(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
/* The running task; -1 outside of a schedule (setup and end). */
int sched_self(void);

/* ---- For the one who explores -------------------------------------------- */

struct search {
	unsigned int from;  /* what is known to hold for fewer preemptions */
	unsigned int bound; /* preemptions */
	const char *expect; /* only a failure that says this is one */
	uint64_t schedules; /* that ran to their end */
	uint64_t pruned;    /* that met a known state */
	uint64_t states;
	uint64_t steps;
	bool failed;
	char why[256];
	unsigned int preemptions; /* of the failing schedule */
	unsigned int length;
	char replay[2048];
};

/* Every schedule with up to s->bound preemptions. */
void search_all(const struct scenario *sc, struct search *s);
/* n random ones. */
void search_random(const struct scenario *sc, struct search *s, uint64_t n,
		   uint64_t seed);
/* One, as it was printed; prints every step. */
void search_replay(const struct scenario *sc, struct search *s,
		   const char *choices);

#endif
