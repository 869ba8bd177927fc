/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* fiber.h - the simulated tasks: stacks that are switched by hand */
#ifndef EXPLORE_FIBER_H
#define EXPLORE_FIBER_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#define FIBERS 6

typedef void (*fiber_fn)(void *arg);

/*
 * Only what decides how the task goes on is in here: it is hashed together
 * with the part of the stack that is in use.
 */
struct fiber {
	jmp_buf ctx;   /* where it goes on */
	jmp_buf entry; /* where it begins anew, for the next schedule */
	void *frame;   /* the stack below is not in use */
	void *base;    /* of what fn uses */
	void *top;
	fiber_fn fn;
	void *arg;
};

extern struct fiber fibers[FIBERS];

/* Make the stacks; once. */
void fibers_init(void);
/* fn(arg) will run from its beginning when fiber i is next continued. */
void fiber_prepare(unsigned int i, fiber_fn fn, void *arg);
/* Called on the fiber's own stack when fn has returned. */
_Noreturn void fiber_finished(void);

#endif
