/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * remote.h - look at a process from outside, by the source module
 *
 * An agent that is a thread of this command.  It attaches anew whenever the
 * process executes another program, which gets a slot of its own.
 */
#ifndef HMM_TOOLS_REMOTE_H
#define HMM_TOOLS_REMOTE_H

#include <sys/types.h>

#include "collect.h"

struct remote;

/*
 * Attach to pid, which is there: the caller's child, or seen by its pidfd
 * afterwards.  NULL after a message.
 */
struct remote *remote_start(const struct collector *collector, pid_t pid);

/* Has it ended?  Then remote_stop() does not wait. */
bool remote_ended(struct remote *remote);

/* Leave the process alone, and free. */
void remote_stop(struct remote *remote);

#endif
