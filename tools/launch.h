/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* launch.h - start a program with the agent in it, and wait for it */
#ifndef HMM_TOOLS_LAUNCH_H
#define HMM_TOOLS_LAUNCH_H

#include <sys/types.h>

#include "collect.h"
#include "remote.h"

/**
 * struct launch - a program that was started
 * @pid: its process
 * @pidfd: polls readable when it has ended
 * @remote: looks at it from outside, if it takes no agent; or NULL
 */
struct launch {
	pid_t pid;
	int pidfd;
	struct remote *remote;
};

/*
 * Start argv (NULL-terminated, found by PATH) with the agent preloaded; one
 * that takes no agent is looked at from outside, where that can be.  While
 * it runs, this process ignores the keyboard's signals and hands SIGTERM and
 * SIGHUP on.  0, or an exit status after a message.
 */
int launch(struct launch *launched, const struct collector *collector,
	   char **argv);

/* Call tick(ctx) every so many ms until the program ends; its exit status. */
int launch_wait(struct launch *launched, int ms, void (*tick)(void *ctx),
		void *ctx);

/* Why no agent can have started in argv[0]: a static string, or NULL. */
const char *launch_obstacle(const char *program);

#endif
