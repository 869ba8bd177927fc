/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* collect.h - the command's side of a session: sum up what the agents say */
#ifndef HMM_TOOLS_COLLECT_H
#define HMM_TOOLS_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"
#include "space.h"

/**
 * struct totals - over all processes
 * @mirrored: processes that had a mirror; @running: of these, still alive
 * @executed: programs that they executed then, and that were mirrored as well
 * @too_short: ended before they had one; @failed: could not have one
 * @reason: why the first of those could not
 * @left_out: were not told about, as all slots were taken
 * @remarks: processes of which something is to be said; @remark: of the first
 * @source: and so on: of the first one; @mixed: others had another source
 * @stale: translations used although their page had gone
 * @dropped: events that no reader was fast enough for
 */
struct totals {
	uint64_t mirrored;
	uint64_t running;
	uint64_t executed;
	uint64_t too_short;
	uint64_t failed;
	uint64_t left_out;
	char reason[200];
	uint64_t remarks;
	char remark[128];
	char source[16];
	char mechanism[64];
	char misses[512];
	int level;
	bool mixed;
	bool pfns_virtual;
	uint64_t forks;
	uint64_t stale;
	uint64_t dropped;
	uint64_t barriers;
	uint64_t changes[HMM_CHANGE_KIND_MAX];
	uint64_t invalidations[HMM_CHANGE_KIND_MAX];
	uint64_t effective;
	uint64_t foreign;
	struct dmirror_stats device;
};

/* What all processes had done by some time, for the time line. */
struct sample {
	uint64_t time; /* ns since the start */
	uint64_t invalidations[HMM_CHANGE_KIND_MAX];
	uint64_t faults;
	uint64_t bytes;
	uint64_t mapped;       /* now */
	uint64_t longest_wait; /* ns, since the sample before */
};

#define COLLECT_SPACES 3
#define COLLECT_SAMPLES 4096

struct process;

typedef void (*collect_fn)(void *ctx, const struct process *process,
			   const struct session_event *event);

/**
 * struct collector - a session
 * @fd: the memfd; @header: its first part, to be set up before agents start
 * @lock_fd: opened anew, for the locks of agents that are in this process
 * @on_event: NULL, or called for every event
 * @spaces: the address spaces of the busiest processes, for the report
 */
struct collector {
	int fd;
	int lock_fd;
	struct session_header *header;
	uint64_t start_ns;
	collect_fn on_event;
	void *ctx;
	bool want_spaces;

	struct totals ended;
	struct process *live;
	uint32_t next_slot;

	struct sample *samples;
	unsigned int nr_samples;
	unsigned int sample_every; /* keep one of so many */
	unsigned int sample_skip;
	uint64_t longest_wait;

	struct space *spaces[COLLECT_SPACES];
};

/* A slot that the collector looks at. */
struct process {
	struct process *next;
	struct collector *collector;
	uint32_t index;
	struct session_slot *slot;
	struct space *space;
	uint32_t vma_seq;
};

uint64_t collect_now(void); /* CLOCK_MONOTONIC in ns */

/* Make the session.  0 or -errno. */
int collect_open(struct collector *collector);
void collect_close(struct collector *collector);

/* Take what is new; @last also takes leave of processes that live on. */
void collect_poll(struct collector *collector, bool last);

/* As of the last poll. */
void collect_totals(const struct collector *collector, struct totals *totals);

/* What a process was called; for messages. */
const char *process_name(const struct process *process);

#endif
