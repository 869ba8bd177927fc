/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * trace.h - follow a command and all its children, and look at each of them
 *
 * By ptrace(2), for what only that can do: a process is stopped where it begins,
 * after fork and after exec, until its memory is looked at, and then goes on.
 * Nothing is changed in it.  All of that is done by a thread of its own; if
 * this command dies the processes go on without it.
 */
#ifndef HMM_TOOLS_TRACE_H
#define HMM_TOOLS_TRACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "collect.h"

struct trace;

/*
 * Trace a child of the caller's, which has no threads and waits to execute the
 * command; that will be the first to be looked at.  From now on only trace.c
 * may wait for children, and SIGCHLD is blocked.  0, or -errno: it is not
 * traced.
 */
int trace_start(struct trace **tracep, const struct collector *collector,
		pid_t pid);

/* Has the child ended within so many ms?  Then its wait status. */
bool trace_wait(struct trace *trace, int ms, int *status);

/* Let all of them go, which run on, and free. */
void trace_stop(struct trace *trace);

#endif
