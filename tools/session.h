/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * session.h - the memory that hmm run shares with the processes it mirrors
 *
 * One memfd, made by hmm run, opened by the agent in each process through
 * /proc: a header and one slot a process.  An agent writes its slot all along,
 * so that a process that is killed, or calls _exit(), has still told all but
 * its last moments.  Nothing is left behind on a disk, whoever dies.
 *
 * Who lives: an agent locks byte SESSION_LOCK + index of the file (an open file
 * description's lock, in a descriptor table that only its own threads share).
 * The lock goes when the process exits or becomes another program, and neither
 * fork, nor pid namespaces, nor reused pids confuse it.  An agent outside of the
 * process takes the lock back when it has seen its end.
 */
#ifndef HMM_TOOLS_SESSION_H
#define HMM_TOOLS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "dmirror.h"
#include "hmm.h"

/* In the environment: PATH-OF-THE-MEMFD:ID, ID in hexadecimal. */
#define SESSION_ENV "HMM_SESSION"

#define SESSION_MAGIC 0x686d6d2073657373ull
#define SESSION_SLOTS 65536u
#define SESSION_SLOT_BYTES (1ul << 20)
#define SESSION_BYTES ((SESSION_SLOTS + 1ul) * SESSION_SLOT_BYTES)
#define SESSION_LOCK (1l << 62)

#define SESSION_VMAS 2048u
#define SESSION_EVENTS 8192u /* a power of two */

/* What the command says to agents; the first slot's worth of the file. */
struct session_header {
	uint64_t magic;
	uint64_t id; /* against another file in the same place */
	uint32_t engines;
	bool verify;
	bool watch;      /* report every change, no device */
	char source[16]; /* "" for the best */
	/* written by agents, atomically: */
	uint32_t claimed; /* slots taken, may exceed SESSION_SLOTS */
};

enum session_state {
	SESSION_FREE,
	SESSION_CLAIMED, /* the process runs, its mirror is being made */
	SESSION_LIVE,    /* mirrored */
	SESSION_FAILED,  /* can't be mirrored, see error and reason */
	SESSION_DONE,    /* was mirrored and has exited in order */
};

struct session_vma {
	uint64_t start, end;
	char perms[5];
	char name[43]; /* the end of a longer one; "" if none */
};

enum session_event_type {
	SESSION_CHANGE, /* invalidation seen by the device, or by watch */
	SESSION_ACCESS, /* the device used [start, end) */
	SESSION_FAULT,  /* a demand fault of the device */
	SESSION_WAIT,   /* a wait for changes to end */
	SESSION_STALE,  /* a stale translation of [start, end) */
};

/**
 * struct session_event - one entry of the ring
 * @seq: its position + 1 once it is complete
 * @time: CLOCK_MONOTONIC in ns
 * @ns: FAULT, WAIT: how long; CHANGE under watch: until stable, 0 not known
 */
struct session_event {
	uint64_t seq;
	uint64_t time;
	uint64_t start, end;
	uint64_t ns;
	uint16_t type;
	uint16_t kind;
	uint32_t pages;
};

/**
 * struct session_slot - one process, or one program if it executes several
 *
 * Written by the agent; read by the command at any time, except tail.
 */
struct session_slot {
	uint32_t state;
	int32_t pid;
	char comm[16];
	uint64_t start_ns;
	uint64_t end_ns; /* of the last update */
	int32_t error;
	char reason[200];
	bool again; /* the process had a mirror before it executed this program */
	char remark[128]; /* what is unusual about being looked at; "" */

	/* copies of struct hmm_mm_info, as far as it changes or matters */
	char source[16];
	char mechanism[64];
	char misses[512];
	int32_t level;
	uint32_t pfns_virtual;
	uint64_t changes[HMM_CHANGE_KIND_MAX];
	uint64_t barriers;

	/*
	 * Changes that reached the mirror, and of these: how many removed
	 * translations.  Foreign are those of other processes, where the source
	 * can't tell them apart: far from all that is mapped here.
	 */
	uint64_t invalidations[HMM_CHANGE_KIND_MAX];
	uint64_t effective;
	uint64_t foreign;

	uint64_t forks;        /* children that nobody mirrored unless exec'd */
	uint64_t stale_events; /* SESSION_STALE, also those not in the ring */
	struct dmirror_stats device;

	/* odd while the table is being written */
	uint32_t vma_seq;
	uint32_t nr_vmas;
	uint32_t vmas_left_out;
	struct session_vma vmas[SESSION_VMAS];

	uint64_t head;    /* next event to be written */
	uint64_t tail;    /* written by the reader: next to be read */
	uint64_t dropped; /* events that found the ring full */
	struct session_event events[SESSION_EVENTS];
};

_Static_assert(sizeof(struct session_slot) <= SESSION_SLOT_BYTES,
	       "a slot's struct fits into a slot");
_Static_assert((SESSION_EVENTS & (SESSION_EVENTS - 1)) == 0,
	       "positions wrap around");

#endif
