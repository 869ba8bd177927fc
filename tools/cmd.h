/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* cmd.h - what the subcommands of hmm share: their names and their exits */
#ifndef HMM_TOOLS_CMD_H
#define HMM_TOOLS_CMD_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* Exit statuses; a command that hmm runs gives its own, as with env(1). */
#define EXIT_USAGE 2
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

/* The name for messages, e.g. "hmm run"; set by main() before anything else. */
extern const char *cmd_name;

int cmd_info(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/* "NAME: message" on stderr. */
void cmd_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same and where to find help.  Returns EXIT_USAGE. */
int cmd_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A process id, and nothing else?  *pid stays as it is if not. */
bool cmd_parse_pid(const char *text, pid_t *pid);

/*
 * A source that the user named: EXIT_SUCCESS if it can be used here, else, after
 * a message, EXIT_USAGE (there is none of the name) or EXIT_FAILURE.
 */
int cmd_check_source(const char *name);

/*
 * Open a file for results before they are there, since it is no use to run a
 * program for results that can't be written.  NULL after a message.
 */
FILE *cmd_open_output(const char *path);
/* Complains if not all could be written: false. */
bool cmd_close_output(FILE *f, const char *path);

#endif
