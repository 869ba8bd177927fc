/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* bench.h - what is done with the library, and what has to hold afterwards */
#ifndef INJECT_BENCH_H
#define INJECT_BENCH_H

#include <stdbool.h>

#include "hmm.h"

#define PAGE 4096ul
/* How long anything may take that has to happen, on a machine that is busy. */
#define PATIENCE_MS 60000

/*
 * struct scenario - calls of the library, some of which fail
 * @run: they; everything that does not depend on them is checked here
 * @attached: to @source already; once for all runs unless @fresh
 * @kind: what is to fail
 */
struct scenario {
	const char *name;
	void (*run)(void);
	bool attached;
	bool fresh;
	bool text; /* without PROCMAP_QUERY, as on older kernels */
	enum { EACH_CALL, MONITOR, BARRIER, NOTHING } kind;
	const char *only; /* this source */
};

extern const struct scenario scenarios[];
void run_attach(void);
extern bool attach_failed;
/* What stays open is opened before anything is counted. */
void bench_init(void);

/* The address space, if the scenario is attached; and where it comes from. */
extern struct mm_struct *mm;
extern const char *source;

/* What is wrong, printed with what failed. */
void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* False and said if not. */
bool check(bool ok, const char *what);

/* Whether the library said anything aloud since the last call. */
bool said(void);
/* The last of it. */
const char *last_said(void);

struct mm_struct *attach(void);
void forget_procmap(struct mm_struct *what);
void detach(struct mm_struct *old);
/* Fault, see a change of it, be told of it. */
void check_usable(struct mm_struct *what);
bool is_dead(struct mm_struct *what);

/* ---- What scenarios share ----------------------------------------------- */

#define DEV_VALID 0x1ull
#define DEV_WRITE 0x2ull
#define DEV_SHIFT 12
#define DEV_NONE 0x200ull
#define DEV_SPECIAL 0x400ull

void range_init(struct hmm_range *range, uint64_t *pfns);
/* Low, where nobody maps anything unasked. */
char *map_at(uintptr_t at, size_t pages, int prot);
/* As a driver does it, until it is valid. */
long get_valid(struct hmm_range *range, struct mm_struct *what, bool fault);
/* Its callback adds to told what overlaps watched. */
extern unsigned long watched;
extern int told;
bool was_told(void);
int mirror_start(struct hmm_mirror *mirror, struct mm_struct *what);
int mirror_end(struct hmm_mirror *mirror);

/* feet.c */
void run_monitor(void);
void run_barrier_late(void);
void run_overflow(void);
void run_answers(void);
void run_threads(void);

#endif
