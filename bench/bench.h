/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * bench.h - a line of the bench: what something costs, over its floor
 *
 * Absolute times mean little on a machine that does other work too.  So each
 * line is a ratio of two sides that are measured in turns, A B B A A B ..., in
 * short batches: what disturbs one batch of a pair is likely to disturb the
 * other as well, or to make this pair an outlier that the median leaves out.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hmm.h"

#define BENCH_PAGE 4096ul
#define BENCH_LINES 256

/*
 * Does an operation n times.  Returns the ns that they took, without what
 * prepares them or cleans up after them.
 */
typedef uint64_t (*bench_fn)(void *ctx, unsigned int n);

struct bench_side {
	bench_fn fn;
	void *ctx;
	unsigned int max; /* operations in a batch; 0: as many as it takes */
};

/**
 * struct bench_line - a line, as it is printed
 * @name: what is measured; lines of one name are a function of @x
 * @floor: what it is divided by
 * @unit: of @x, "" if the line is no function of anything
 * @x: how many of these
 * @goal: the ratio to reach, 0 if there is none
 * @goal_ns: the time to reach, 0 if there is none
 * @ratio: the median of the ratios of all pairs, and the quartiles
 * @ns: the median time of one operation, of the floor's too
 * @pairs: how many
 * @skipped: why there is nothing to show; "" if there is
 */
struct bench_line {
	char name[64];
	char floor[48];
	char unit[16];
	double x;
	double goal, goal_ns;
	double ratio, q1, q3;
	double ns, floor_ns;
	unsigned int pairs;
	char skipped[192];
};

struct bench_options {
	bool quick;
	unsigned int ms; /* for each line */
};
extern struct bench_options bench_options;

uint64_t bench_now(void);
/*
 * Of this thread alone.  For operations that are longer than a time slice, and
 * wait for nobody.
 */
uint64_t bench_cpu(void);

/* A new line of the results, in memory that all processes share. */
struct bench_line *bench_line(const char *name, const char *floor);
struct bench_line *bench_line_of(const char *name, const char *floor, double x,
				 const char *unit);
void bench_skip(struct bench_line *line, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* One batch; again, a few times, if the thread was preempted meanwhile. */
uint64_t bench_batch(bench_fn fn, void *ctx, unsigned int n);

/* Something that whoever reads the table should know. */
void bench_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Measure two sides in turns, and fill in the line. */
void bench_pair(struct bench_line *line, const struct bench_side *ours,
		const struct bench_side *floor);

/* A line that is not a time: no quartiles. */
void bench_value(struct bench_line *line, double value, double floor);

/*
 * struct bench_arm - a side that needs a process of its own
 *
 * What watches an address space changes the costs of all that happens in it,
 * so "with" and "without" are two processes.  setup runs in the child and gives
 * the ctx for every op; NULL after it wrote to why.
 */
struct bench_arm {
	int to, from;
	int pid;
	unsigned int op;
	char why[192];
};

typedef void *(*bench_setup_fn)(const void *arg, char *why, size_t size);

/* False: arm->why says why. */
bool bench_arm_start(struct bench_arm *arm, bench_setup_fn setup,
		     const void *arg, const bench_fn *ops);
void bench_arm_stop(struct bench_arm *arm);
/* The side that has the arm do ops[arm->op]. */
uint64_t bench_arm_run(void *arm, unsigned int n);

/* Attach, or NULL and why. */
struct mm_struct *bench_attach(const char *source, char *why, size_t size);

/* Output. */
void bench_table(const struct bench_line *lines, unsigned int nr, FILE *out);
int bench_json(const struct bench_line *lines, unsigned int nr,
	       const char *path);
/* A picture for each name that is a function of something, in dir. */
int bench_plots(const struct bench_line *lines, unsigned int nr,
		const char *dir);

/* The groups of lines, each in a file of its own. */
void bench_valid(void);
void bench_register(void);
void bench_mark(void);
void bench_change(void);
void bench_device(void);
void bench_walk(void);
void bench_wake(void);
void bench_peers(void);

#endif
