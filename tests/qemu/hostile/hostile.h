/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* hostile.h - the ways to misuse /dev/hmm, and what they share */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "hmm_dev.h"

#define PAGE 4096ul
#define DEVICE "/dev/hmm"

/* ---- Random numbers, the same for the same seed -------------------------- */

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t x = rng->state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

static inline bool rng_percent(struct rng *rng, unsigned int percent)
{
	return rng_below(rng, 100) < percent;
}

#define rng_of(rng, array) \
	((array)[rng_below(rng, sizeof(array) / sizeof(*(array)))])

/* ---- Processes ----------------------------------------------------------- */

extern struct options {
	uint64_t seed;
	unsigned int seconds; /* for the fuzzer */
	unsigned int times;   /* for what is repeated */
	unsigned int hang;    /* seconds: nothing takes as long */
	int round;            /* of the fuzzer, alone; -1 all */
} options;

/* Print "not ok" and what printf says for the current case; it goes on. */
void failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* True if nothing failed in this case yet. */
bool good(void);

double now(void);

/*
 * A child in a process group of its own, which all that it forks is in, too.
 * Returns in the parent.
 */
pid_t spawn(void (*fn)(void *arg), void *arg);
/* Kill the group; false if somebody of it does not end: says who and where. */
bool kill_group(pid_t group);
/* Wait for one child; its status, or -1 after options.hang: says where it is. */
int wait_for(pid_t pid);

/* Memory that parent and children share. */
void *shared_memory(size_t size);

/* open(DEVICE), or fail the case. */
int open_device(void);
const struct hmm_dev_shared *map_device(int fd);
/* Of one page; the id, or 0 and errno. */
uint32_t register_page(int fd, unsigned long addr);

/* ---- What the kernel holds for nobody ------------------------------------ */

/*
 * With no file of the device open: the module's count of users is 0 and no
 * memory is mapped by it.  Fails the case otherwise.
 */
void check_nothing_left(void);
/* Memory in use by processes and by the kernel for them, in KiB. */
long memory_used(void);
/* Fails the case if much more is in use than before. */
void check_memory(long before);

/* ---- The cases ----------------------------------------------------------- */

void fuzz(void);
void acknowledger_killed(void);
void changer_killed(void);
void nobody_acknowledges(void);
void million_ranges(void);
void files_in_one_process(void);
void last_and_next(void);
void interrupted(void);
void processes(void);
void oom_of_the_user(void);
void oom_of_the_mirrored(void);
void memory_limit(void);

#endif
