/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * dmirror.h - a device in software that uses a process's memory by its pointers
 *
 * It has what a device with an MMU has: a page table of its own, a bounded
 * command queue, and engines that execute commands on the process's addresses
 * and raise a demand fault where a translation is missing.  Its driver
 * (dmirror.c) is written on hmm.h alone, to be copied from.
 *
 * What it can't have is a bus: its accesses are process_vm_readv() and
 * process_vm_writev() on the process.  They happen only through a
 * translation that is held valid meanwhile, and one that goes to a page that is
 * gone is an error that is counted, never a crash.
 */
#ifndef DMIRROR_H
#define DMIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hmm.h"

struct dmirror;

/* ------------------------------------------------------------------------
 * 1. Commands
 */

/**
 * enum dmirror_op_type - what an engine can do; addr and len are any
 * @DMIRROR_READ: copy [addr, addr + len) to buf
 * @DMIRROR_WRITE: copy buf to [addr, addr + len)
 * @DMIRROR_COPY: copy [addr, addr + len) to dst; they must not overlap
 * @DMIRROR_FILL: set every byte of [addr, addr + len) to the low byte of value
 * @DMIRROR_CHECKSUM: result = 64 bit FNV-1a of [addr, addr + len)
 * @DMIRROR_ADD: add value to the uint64_t at addr, result = what was there.
 *	len must be 8.  Atomic against every other ADD of this device, and not
 *	against CPUs or other commands, since process_vm_writev() is not
 */
enum dmirror_op_type {
	DMIRROR_READ,
	DMIRROR_WRITE,
	DMIRROR_COPY,
	DMIRROR_FILL,
	DMIRROR_CHECKSUM,
	DMIRROR_ADD,
	DMIRROR_OP_MAX
};

/**
 * struct dmirror_op - a command; the device's from submit until wait returned
 * @type: see above; @addr, @len, @dst, @value, @buf: its arguments
 * @result: of CHECKSUM and ADD, if @status is 0
 * @bytes: how many bytes from @addr were done, also if @status is not 0
 * @status: 0, or
 *	-EFAULT	an address that nothing is mapped at, that no device may use or
 *		that can't be read (beyond the end of its file), a bad @buf, or
 *		the address space is dead;
 *	-EPERM	memory without read permission, or WRITE, COPY, FILL, ADD to
 *		memory that may not be written;
 *	-EBUSY	it changed faster than it could be mapped; -ETIMEDOUT a change
 *		of it did not end: submit again;
 *	-ENOMEM no memory, or a page table that is too small for one window;
 *	-ECANCELED the device is being destroyed;
 *	what hmm_range_register() said of the addresses otherwise
 */
struct dmirror_op {
	enum dmirror_op_type type;
	unsigned long addr;
	size_t len;
	unsigned long dst;
	uint64_t value;
	void *buf;
	uint64_t result;
	size_t bytes;
	int status;
	/* private: the queue, and whether it is done */
	struct dmirror_op *next;
	bool busy;
};

/* A word for a type of command: "read" ... */
const char *dmirror_op_name(enum dmirror_op_type type);

/* ------------------------------------------------------------------------
 * 2. Events and counters
 */

/**
 * enum dmirror_event_type - what the event hook is told
 * @DMIRROR_EVENT_FAULT: a demand fault of [start, end) took ns, ended in status
 * @DMIRROR_EVENT_WAIT: of these, ns were spent waiting for changes to end
 * @DMIRROR_EVENT_INVALIDATE: [start, end) was invalidated; that took ns;
 *	pages translations were removed
 * @DMIRROR_EVENT_STALE: the oracle found a stale translation of [start, end)
 */
enum dmirror_event_type {
	DMIRROR_EVENT_FAULT,
	DMIRROR_EVENT_WAIT,
	DMIRROR_EVENT_INVALIDATE,
	DMIRROR_EVENT_STALE,
};

/**
 * struct dmirror_event - told when it is over
 * @type: see above
 * @start: first byte; @end: last byte, exclusive
 * @time: when it ended, CLOCK_MONOTONIC in ns
 * @ns: how long it took
 * @pages: FAULT: installed, INVALIDATE: removed
 * @kind: of an INVALIDATE
 * @status: of a FAULT, 0 or a negative errno
 */
struct dmirror_event {
	enum dmirror_event_type type;
	unsigned long start, end;
	uint64_t time;
	uint64_t ns;
	unsigned long pages;
	enum hmm_change_kind kind;
	int status;
};

/* Bucket i counts times of [2^i, 2^(i+1)) ns, the last one all above too. */
#define DMIRROR_HIST_BUCKETS 40

struct dmirror_hist {
	uint64_t bucket[DMIRROR_HIST_BUCKETS];
	uint64_t max;
};

/**
 * dmirror_hist_quantile() - e.g. p99 of a histogram
 * @hist: which
 * @q: 0 to 1
 *
 * Return: ns, at most twice the truth (the end of a bucket, or the maximum if
 * that is less); 0 if it is empty.
 */
uint64_t dmirror_hist_quantile(const struct dmirror_hist *hist, double q);

struct dmirror_op_stats {
	uint64_t ops;    /* completed, with an error or not */
	uint64_t bytes;  /* read or written; COPY counts them once */
	uint64_t errors; /* status < 0, -ECANCELED included */
};

/**
 * struct dmirror_stale - a translation that outlived its page
 * @addr: of the page; @entry: the device's entry, see pagetable.h
 * @pagemap: the CPU's entry, as in /proc/self/pagemap
 * @started: and @told: see struct hmm_mm_info, when it was judged
 * @access: found because an access failed, not by comparing
 */
struct dmirror_stale {
	unsigned long addr;
	uint64_t entry;
	uint64_t pagemap;
	uint64_t started, told;
	bool access;
};

/**
 * struct dmirror_stats - counters since dmirror_create()
 *
 * Each is exact once the device is idle; together they are no snapshot.
 */
struct dmirror_stats {
	struct dmirror_op_stats op[DMIRROR_OP_MAX];
	uint64_t accesses; /* transfers to or from memory */
	uint64_t hits;     /* translations used, one a page */
	uint64_t misses;   /* missing, or read-only for a write */
	uint64_t faults;   /* windows faulted, with an error or not */
	uint64_t fault_errors;
	uint64_t faulted_pages; /* installed by them */
	uint64_t retries_busy;  /* -EBUSY: it changed during the fault */
	uint64_t retries_valid; /* hmm_range_valid() was false afterwards */
	uint64_t evictions;     /* the page table was full, and emptied */
	uint64_t invalidations[HMM_CHANGE_KIND_MAX];
	uint64_t invalidated_pages;
	uint64_t releases;     /* the address space died */
	uint64_t huge_entries; /* now; 2 MiB each */
	uint64_t huge_splits;
	uint64_t mapped_bytes; /* now */
	uint64_t mapped_peak;
	uint64_t tables;           /* now; 4 KiB each */
	struct dmirror_hist wait;  /* hmm_range_wait_until_valid() */
	struct dmirror_hist fault; /* whole faults, waits included */

	/* The oracle.  See dmirror_verify(). */
	uint64_t verified;        /* translations compared */
	uint64_t verify_presence; /* of these, only present or not: no PFNs */
	uint64_t suspects;        /* differed, or failed in an access */
	uint64_t undecided; /* suspects whose change was never told in time */
	uint64_t refused;   /* accesses that the kernel refuses though mapped */
	uint64_t stale;     /* suspects without an excuse: the verdict */
	struct dmirror_stale last_stale;
};

/* ------------------------------------------------------------------------
 * 3. The device
 */

/**
 * struct dmirror_opts - zeroed means the defaults
 * @engines: threads that execute commands; default 2, at most 64
 * @window_pages: most pages that one fault maps; default and at most 512
 * @queue_depth: most commands waiting; default 64
 * @max_tables: most page tables of 4 KiB, at least 4; default 4096 (which map
 *	8 GiB in small pages).  When all are used the device drops every
 *	translation and starts anew
 * @pid: the process whose memory the mm is, if it is another one; READ's and
 *	WRITE's buf is the caller's all the same
 * @verify: compare every translation at its installation, too
 * @settle: with a source of level 1, for the oracle: return once every change
 *	that was being made when it was called has been made; false if that is
 *	not known.  NULL: that takes a second at most
 * @event: called for every event, or NULL.  From engines, from the library's
 *	watcher and from who calls dmirror_verify(), by several at a time, with
 *	no lock held; it must not call the device
 * @event_ctx: for @settle and @event
 */
struct dmirror_opts {
	unsigned int engines;
	unsigned int window_pages;
	unsigned int queue_depth;
	unsigned int max_tables;
	pid_t pid;
	bool verify;
	bool (*settle)(void *ctx);
	void (*event)(void *ctx, const struct dmirror_event *event);
	void *event_ctx;
};

/**
 * dmirror_create() - a device on this address space
 * @dmp: filled on success
 * @mm: attached, until the device is destroyed
 * @opts: NULL for the defaults
 *
 * Context: no locks held.
 * Return: 0; -EINVAL bad arguments; -ENOMEM; -EAGAIN no more threads; -EFAULT
 * @mm is dead; -EPERM or -ENOSYS process_vm_readv() is not allowed here (a
 * seccomp filter).
 */
int dmirror_create(struct dmirror **dmp, struct mm_struct *mm,
		   const struct dmirror_opts *opts);

/**
 * dmirror_destroy() - stop it and free it
 * @dm: NULL is fine
 *
 * Commands that are queued or running end with -ECANCELED, those who wait for
 * them are woken and waited for.  In a fork's child, where it has no engines,
 * it is only freed.
 *
 * Context: no locks held, not from a mirror's callback or the event hook.
 * Return: 0; -ETIMEDOUT if a callback did not return: no command is accepted
 * any more, call it again later.
 */
int dmirror_destroy(struct dmirror *dm);

/**
 * dmirror_submit() - queue a command; does not wait
 * @dm: the device
 * @op: with its arguments set
 *
 * Context: any thread, also several at a time.
 * Return: 0, then dmirror_wait() must follow; -EAGAIN the queue is full;
 * -EINVAL bad arguments; -ECANCELED the device is being destroyed; -EFAULT in a
 * fork's child.
 */
int dmirror_submit(struct dmirror *dm, struct dmirror_op *op);

/**
 * dmirror_wait() - wait for a command's end
 * @dm: the device
 * @op: submitted
 *
 * Return: op->status.
 */
int dmirror_wait(struct dmirror *dm, struct dmirror_op *op);

/**
 * dmirror_run() - submit, waiting for room in the queue, and wait
 * @dm: the device
 * @op: with its arguments set
 *
 * Return: what dmirror_submit() says but -EAGAIN, or op->status.
 */
int dmirror_run(struct dmirror *dm, struct dmirror_op *op);

/**
 * dmirror_verify() - the oracle: does the device hold what the CPUs hold?
 * @dm: the device
 * @max_pages: how many pages to look at; goes on where it stopped last time
 *
 * Under the device's lock, compares translations with /proc/self/pagemap.  One
 * that differs is stale unless the library was still about to tell of the
 * change: the translation is looked at again once hmm_mm_query() says that the
 * mirrors were told of all that had started when it was found to differ; if it
 * is still there, it is stale.  Without CAP_SYS_ADMIN there are no PFNs: then
 * only whether the page is present is compared (verify_presence).
 *
 * With a source of level 1, changes that it does not see do count as stale.
 *
 * Context: no locks held; any thread.  May sleep until changes have been told.
 * Return: how many stale translations this call found; -errno if pagemap can't
 * be read; -EFAULT in a fork's child.
 */
long dmirror_verify(struct dmirror *dm, unsigned long max_pages);

/* dmirror_stats() - copy the counters; any thread */
void dmirror_stats(struct dmirror *dm, struct dmirror_stats *stats);

#endif
