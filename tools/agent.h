/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * agent.h - the guest in a program that hmm run or hmm watch started
 *
 * libhmm-agent.so is preloaded into the program and makes one thread, which
 * hosts libhmm and the device in a descriptor table of its own: the program
 * finds no descriptor that it did not open, may close all that it likes, and
 * its children inherit nothing.  The agent's threads take no signals, never
 * write the program's memory, and never touch its standard streams.
 *
 * With the source module an agent can also be outside, a thread of the command
 * (remote.c): then it is in nobody's way, and no program is too strange for it.
 */
#ifndef HMM_TOOLS_AGENT_H
#define HMM_TOOLS_AGENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dmirror.h"
#include "hmm.h"
#include "session.h"

/* Parts of the address space that have something in them. */
#define AGENT_SPANS 64
struct agent_spans {
	pthread_mutex_t lock;
	unsigned int nr;
	struct {
		unsigned long start, end;
	} span[AGENT_SPANS];
};

/**
 * struct agent - there is one a process
 * @header: settings; @slot: where this process reports
 * @mm: attached
 * @pid: whose memory it is; 0 if the agent is inside
 * @stop: futex; set when the program exits, or its memory is gone
 * @ready: NULL, or called once from now on no change is missed
 * @attempts: of agent_again()
 * @spans: for agent_vmas_near()
 */
struct agent {
	const struct session_header *header;
	struct session_slot *slot;
	struct mm_struct *mm;
	pid_t pid;
	uint32_t stop;
	void (*ready)(struct agent *agent);
	unsigned int attempts;
	struct agent_spans spans;
};

/* ---- agent_host.c ------------------------------------------------------- */

uint64_t agent_now(void);  /* CLOCK_MONOTONIC in ns */
uint64_t agent_cost(void); /* of this thread's CPU, in ns */
bool agent_stopping(struct agent *agent);
/* Sleep, but not beyond the program's end. */
void agent_sleep(struct agent *agent, unsigned int ms);
/*
 * Try again what ended in ret?  No thread can be made (-EAGAIN) while another
 * one looks for a program to execute, which may find none.
 */
bool agent_again(struct agent *agent, int ret);
/* The name of a file below /proc/PID; returns path. */
const char *agent_proc(const struct agent *agent, const char *file, char *path,
		       size_t size);
void agent_set_state(struct agent *agent, enum session_state state);
/* Copy what hmm_mm_query() says to the slot: what changes, and what does not. */
void agent_publish_mm(struct agent *agent);
void agent_describe_mm(struct agent *agent);
/* Do what the header says until the end.  0, or why not: -errno. */
int agent_run(struct agent *agent);
/* The mirror is up: say so.  For who does it. */
void agent_ready(struct agent *agent);

void agent_futex_wait(uint32_t *word, uint32_t value, unsigned int ms);
void agent_futex_set(uint32_t *word);

/* ---- agent_events.c ----------------------------------------------------- */

/* Put an event into the ring, or count it as dropped.  Any thread, no locks. */
void agent_event(struct agent *agent, const struct session_event *event);

/* ---- agent_vmas.c ------------------------------------------------------- */

struct agent_vma {
	unsigned long start, end;
	bool readable, writable;
	bool ours; /* belongs to the agent, or no device may use it */
};

/* The program's vmas, as of the last refresh; for the agent's thread only. */
struct agent_vmas {
	struct agent_vma *vma;
	unsigned int nr, capacity;
	uint64_t due; /* when it is worth its cost to look again */
};

/* Read them again if it is due; also fills the slot's table. */
void agent_vmas_refresh(struct agent *agent, struct agent_vmas *vmas);

/*
 * Is this less than a GiB from anything that was mapped here at the last
 * refresh?  New mappings go next to old ones, and another process's are far
 * away because addresses are randomised.  From outside nobody else's changes
 * are told, and all are near.  Any thread.
 */
bool agent_vmas_near(struct agent *agent, unsigned long start,
		     unsigned long end);

/* ---- agent_device.c, agent_watch.c -------------------------------------- */

/*
 * Keep a device busy on the program's memory, or report every change of it,
 * until the program exits.  0, or why it could not start: -errno.
 */
int agent_run_device(struct agent *agent);
int agent_run_watch(struct agent *agent);

#endif
