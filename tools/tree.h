/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * tree.h - the processes that are looked at from outside
 *
 * A member is one memory of one process: with exec a new one begins.  trace.c
 * learns of processes as they begin; tree_tend() looks for them now and then,
 * where they are not to be traced.  For one thread.
 */
#ifndef HMM_TOOLS_TREE_H
#define HMM_TOOLS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "remote.h"

/**
 * struct member - a process, as long as it has this memory
 * @pid: who; @pidfd: the same, or -1 once that is the next member's
 * @remote: looks at it; NULL before, afterwards, and if it is its parent's
 * @held: trace.c has stopped it until the remote is ready
 * @loose: not traced: tree_tend() looks after it
 * @gone: has ended, or executed another program; @since: when, in ns
 * @failed: its remote has, or there was none; not to be tried again
 * @again: a remote was ready for an earlier memory, or for this one
 */
struct member {
	struct member *next;
	pid_t pid;
	int pidfd;
	struct remote *remote;
	bool held;
	bool loose;
	bool gone;
	bool failed;
	bool again;
	uint64_t since;
};

/* @remotes.wake is for who waits, besides other things, for remotes. */
struct tree {
	struct remotes remotes;
	struct member *members;
	uint64_t next_search; /* for children of loose members, in ns */
};

/*
 * Each process takes some descriptors.  Not before a command is started, which
 * would inherit it.
 */
void tree_raise_limit(void);

/* 0 or -errno. */
int tree_open(struct tree *tree, const struct collector *collector);
/*
 * No process is traced any more, and none is looked at when it returns: those
 * that run on are told as such.
 */
void tree_close(struct tree *tree);

/* NULL if there is none. */
struct member *tree_find(struct tree *tree, pid_t pid);

/*
 * A process that is new here.  NULL if it has ended, is a thread, or can't be
 * had after a message.  It is not looked at before tree_look().
 */
struct member *tree_add(struct tree *tree, pid_t pid);

/* Is its memory its parent's?  A child of vfork()'s is until it executes. */
bool tree_shares_memory(pid_t pid);

/* Look at what is now its memory. */
void tree_look(struct tree *tree, struct member *member);

/* It executes another program: the member for that. */
struct member *tree_execute(struct tree *tree, struct member *member);

/* Its process has ended. */
void tree_ended(struct member *member);

/* Before looking what a wake-up was for. */
void tree_woken(struct tree *tree);

/*
 * After a wake-up, and when it is due: frees what has ended.  Of loose members,
 * looks whether they have ended or execute another program, and for children.
 * In how many ms it is due again, -1: never.
 */
int tree_tend(struct tree *tree);

#endif
