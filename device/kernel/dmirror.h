/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* dmirror.h - what the files of hmm_dmirror.ko share */
#ifndef HMM_DMIRROR_H
#define HMM_DMIRROR_H

#include <linux/atomic.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "hmm.h"
#include "pagetable.h"

struct dm_claim;
struct dm_memory;

/* An entry's own bit, besides those of pagetable.h: the CPU faults there. */
#define PTE_EXCLUSIVE (1ull << 6)

/* Argument of every request: that of the kernel's self-test. */
struct dmirror_cmd {
	__u64 addr; /* of the opener's memory, page aligned */
	__u64 ptr;  /* of the caller's memory: what is read, to be written */
	__u64 npages;
	__u64 cpages; /* out: pages copied */
	__u64 faults; /* out: how often the device page table lacked something */
};

/**
 * struct dm_device - a device, as long as the module is loaded
 * @memory: its own memory, or NULL
 * @openers: open files; with the last one the memory is evacuated
 */
struct dm_device {
	struct miscdevice misc;
	struct dm_memory *memory;
	atomic_t openers;
};

/**
 * struct dmirror - an open file: the opener's memory as the device sees it
 * @lock: L, for the table.  Taken in the mirror's callback: nothing may be
 *	waited for under it that can wait for a change, memory included
 * @pt: entries are installed as struct hmm_range has them
 * @claim: see exclusive.c; under L
 * @claiming: one at a time; outside L
 */
struct dmirror {
	struct dm_device *device;
	struct mm_struct *mm;
	struct hmm_mirror mirror;
	struct mutex lock;
	struct pagetable pt;
	struct dm_claim *claim;
	struct mutex claiming;
};

/* ---- driver.c: what a driver does with hmm.h ----------------------------- */

#define DM_CHUNK 512ul /* pages looked at in one go */
#define DM_RETRIES 100

/**
 * enum dm_want - what an access needs of a page
 * @DM_RESIDENT: to be in the device's own memory; it is not faulted in
 * @DM_EXCLUSIVE: that the CPU does not have it
 */
enum dm_want {
	DM_READ,
	DM_WRITE,
	DM_RESIDENT,
	DM_EXCLUSIVE,
};

/* Told of what is in the page table, L held, while that is so.  0 or -errno. */
typedef int (*dm_use_fn)(struct dmirror *dm, unsigned long start,
			 const u64 *pfns, unsigned long n, void *arg);

/* The mm's mmap lock is not held by the callers of these. */
int dm_attach(struct dmirror *dm, struct mm_struct *mm);
void dm_detach(struct dmirror *dm);
/* Look at [start, end), at most DM_CHUNK pages, and fault nothing in. */
int dm_look(struct dmirror *dm, unsigned long start, unsigned long end,
	    u64 *pfns, dm_use_fn use, void *arg);
/* Install; L held.  0; -ENOMEM. */
int dm_map(struct dmirror *dm, unsigned long start, const u64 *entries,
	   unsigned long n);
/* Have [start, end) in the device page table. */
int dm_fault(struct dmirror *dm, unsigned long start, unsigned long end,
	     enum dm_want want);

/* ---- exclusive.c: pages that the CPU has to ask for ---------------------- */

/* Have [start, end) in the device page table, PTE_EXCLUSIVE.  Sleeps. */
int dm_claim(struct dmirror *dm, unsigned long start, unsigned long end);
/* The mirror was told of a change; L held. */
void dm_claim_told(struct dmirror *dm, const struct hmm_update *update);

/* ---- The requests: access.c, snapshot.c, migrate.c, exclusive.c ---------- */

/* Between cmd->addr, through the device page table, and cmd->ptr. */
int dm_access(struct dmirror *dm, struct dmirror_cmd *cmd, enum dm_want want);
int dm_snapshot(struct dmirror *dm, struct dmirror_cmd *cmd);
int dm_migrate_to_device(struct dmirror *dm, struct dmirror_cmd *cmd);
int dm_migrate_to_system(struct dmirror *dm, struct dmirror_cmd *cmd);
/* -EPERM if the device still has a page of these to itself. */
int dm_check_exclusive(struct dmirror *dm, struct dmirror_cmd *cmd);
/* Move what anyone has in the device's memory to the system's.  -EBUSY. */
int dm_evict(struct dm_memory *memory);
/* Move the page that the CPU wants out of private memory. */
vm_fault_t dm_migrate_to_ram(struct vm_fault *vmf);

/* ---- memory.c: memory of the device's own ------------------------------- */

#define DM_MEMORY_PAGES ((64ul << 20) >> PAGE_SHIFT)

/*
 * DM_MEMORY_PAGES to give to processes: of hidden RAM at start; private, if that
 * is 0.  ERR_PTR(); the log says why, unless the kernel just has no such memory.
 */
struct dm_memory *dm_memory_create(const char *name, unsigned long long start);
/* Nobody has a page any more: each holds a reference to the module. */
void dm_memory_destroy(struct dm_memory *memory);
/* A page, locked and with one reference.  NULL: there is none left. */
struct page *dm_memory_alloc(struct dm_memory *memory);
unsigned long dm_memory_start(const struct dm_memory *memory);
bool dm_memory_has(const struct dm_memory *memory, unsigned long pfn);
bool dm_memory_is_private(const struct dm_memory *memory);
/* Whose it is, of a page in use. */
struct dm_memory *dm_memory_of(const struct page *page);
/* The page with the bytes of a page, which may not be in this memory at all. */
struct page *dm_memory_bytes(const struct dm_memory *memory, unsigned long pfn);

#endif
