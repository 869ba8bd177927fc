/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* fuzz.h - a round of the fuzzer: what its threads share */
#ifndef FUZZ_H
#define FUZZ_H

#include "hostile.h"

#define FUZZ_THREADS 4
#define FUZZ_FDS 8
#define FUZZ_IDS 64
#define AREA_PAGES 128ul

/* Commands of the device, and one more for all that are none. */
enum { FUZZ_COMMANDS = 14 };

/* What the one who watches the round sees of it. */
struct fuzz_shared {
	_Atomic(const char *) doing[FUZZ_THREADS];
	atomic_ulong succeeded[FUZZ_COMMANDS], refused[FUZZ_COMMANDS];
	atomic_ulong actions;
	char complaint[256];
	atomic_int complaints;
};

struct fuzz_round {
	struct fuzz_shared *shared;
	/* Memory that all threads change, and where the device is mapped. */
	char *arena, *device;
	/* A process that goes through changes of its own. */
	pid_t target;
	/* May block for ever, until killed. */
	bool blocks;
	double end;
	atomic_int fd[FUZZ_FDS];
	atomic_uint id[FUZZ_IDS];
	char *fault_for_ever;
};

struct fuzz_thread {
	struct fuzz_round *round;
	struct rng rng;
	unsigned int index;
	/* Of this thread alone, for arguments and entries; a hole behind. */
	char *argument, *entries;
};

#define SCRATCH_PAGES 4ul

/* Two of them, for all rounds: requests.c and actions.c. */
void fuzz_request(struct fuzz_thread *t);
void fuzz_action(struct fuzz_thread *t);

extern const char *const fuzz_command_names[FUZZ_COMMANDS];

void fuzz_complain(struct fuzz_thread *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Somewhere page-aligned in the area, and how much of it. */
struct fuzz_piece {
	char *addr;
	size_t size;
};
struct fuzz_piece fuzz_piece(struct fuzz_thread *t, char *area);
int fuzz_fd(struct fuzz_thread *t);

#endif
