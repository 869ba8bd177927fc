/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* launch.h - start a program that is to be looked at, and wait for it */
#ifndef HMM_TOOLS_LAUNCH_H
#define HMM_TOOLS_LAUNCH_H

#include <sys/types.h>

#include "collect.h"
#include "trace.h"

/**
 * struct launch - a program that was started
 * @pid: its process
 * @pidfd: polls readable when it has ended
 * @outside: no agent was preloaded; @trace: follows it instead
 */
struct launch {
	pid_t pid;
	int pidfd;
	bool outside;
	struct trace *trace;
};

/*
 * Start argv (NULL-terminated, found by PATH): looked at from outside if the
 * source module can be used, else with the agent preloaded.  While it runs,
 * this process ignores the keyboard's signals and hands SIGTERM and SIGHUP on.
 * 0, or an exit status after a message.
 */
int launch(struct launch *launched, const struct collector *collector,
	   char **argv);

/* Call tick(ctx) every so many ms until the program ends; its exit status. */
int launch_wait(struct launch *launched, int ms, void (*tick)(void *ctx),
		void *ctx);

#endif
