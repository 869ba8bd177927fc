/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* program.h - what a program's file tells of how it can be looked at */
#ifndef HMM_TOOLS_PROGRAM_H
#define HMM_TOOLS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Why no agent can have started in this command: a static string, or NULL. */
const char *program_obstacle(const char *command);

/* Would it run with the rights of somebody else, but not if we trace it? */
bool program_needs_rights(const char *command);

/*
 * The program that a process of ours has just begun to execute, traced: does it
 * trace others?  They can't have two tracers, nor can a thread that checks for
 * leaks be traced at all.  Leaves a remark if there is something to be said.
 */
bool program_look(pid_t pid, char *remark, size_t size);

#endif
