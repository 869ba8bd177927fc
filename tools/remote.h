/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * remote.h - look at an address space from outside, by the source module
 *
 * An agent that is a thread of this command, with a slot of its own, for the
 * memory that a process has now: until that ends or executes another program.
 */
#ifndef HMM_TOOLS_REMOTE_H
#define HMM_TOOLS_REMOTE_H

#include <stdbool.h>
#include <sys/types.h>

#include "collect.h"

struct remote;

/**
 * struct remotes - what all of a session share
 * @collector: of the session
 * @wake: an eventfd that becomes readable when one is ready or has ended
 */
struct remotes {
	const struct collector *collector;
	int wake;
};

/**
 * struct remote_target - whose memory
 * @pid: the process; @pidfd: the same, the caller's
 * @again: its memory of before another program was mirrored
 * @traced: it is stopped by our ptrace until the remote is ready
 */
struct remote_target {
	pid_t pid;
	int pidfd;
	bool again;
	bool traced;
};

/*
 * Begin.  What fails from here on is told in the slot.  NULL if there is no
 * slot, or no memory.
 */
struct remote *remote_start(const struct remotes *all,
			    const struct remote_target *target);

/* No change is missed from now on, or it has failed. */
bool remote_ready(struct remote *remote);
/* Once ready: why it has failed, or NULL. */
const char *remote_failure(struct remote *remote);
/* Once ready: the program traces others, which is not to be traced itself. */
bool remote_traces(struct remote *remote);
/* Nothing is looked at any more.  Then remote_free() does not wait. */
bool remote_ended(struct remote *remote);

/* Leave it alone, soon; @running: it goes on, and the slot is to say so. */
void remote_leave(struct remote *remote, bool running);
/* After it has ended, or was left. */
void remote_free(struct remote *remote);

#endif
