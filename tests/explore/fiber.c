// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fiber.c - the simulated tasks: stacks that are switched by hand
 *
 * makecontext() makes a stack once; from then on setjmp and longjmp switch,
 * which take no system call.  A fiber never leaves its first function, so that
 * one that was abandoned half way can begin anew at any time.
 */
#include "fiber.h"

#include <string.h>
#include <ucontext.h>

#define STACK_SIZE (128u << 10)
/* More than a task uses at any of its scheduling points. */
#define CLEARED 4096

struct fiber fibers[FIBERS];

static char stacks[FIBERS][STACK_SIZE] __attribute__((aligned(64)));
static ucontext_t creator;

/* The caller's frame ends above this function's. */
static __attribute__((noinline)) void *below_caller(void)
{
	return __builtin_frame_address(0);
}

static void fiber_main(int i)
{
	struct fiber *self = &fibers[i];

	self->base = below_caller();
	if (!_setjmp(self->entry))
		setcontext(&creator);
	self->fn(self->arg);
	fiber_finished();
}

void fibers_init(void)
{
	static volatile int i;

	for (i = 0; i < FIBERS; i++) {
		ucontext_t ctx;
		volatile int back = 0;

		fibers[i].top = stacks[i] + STACK_SIZE;
		/* cppcheck-suppress getcontextCalled */
		getcontext(&ctx);
		ctx.uc_stack.ss_sp = stacks[i];
		ctx.uc_stack.ss_size = STACK_SIZE;
		makecontext(&ctx, (void (*)(void))fiber_main, 1, i);
		/* cppcheck-suppress getcontextCalled */
		getcontext(&creator);
		if (!back) {
			back = 1;
			setcontext(&ctx);
		}
	}
}

void fiber_prepare(unsigned int i, fiber_fn fn, void *arg)
{
	char *base = fibers[i].base;

	/* What an earlier schedule left there would tell equal states apart. */
	memset(base - CLEARED, 0, CLEARED);
	fibers[i].fn = fn;
	fibers[i].arg = arg;
	fibers[i].frame = fibers[i].top;
	memcpy(fibers[i].ctx, fibers[i].entry, sizeof(jmp_buf));
}
