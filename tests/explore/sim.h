/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * sim.h - the simulated machine: an address space, its changes, a device
 *
 * All of it is in one struct that is zeroed for every schedule and hashed at
 * every choice.
 */
#ifndef EXPLORE_SIM_H
#define EXPLORE_SIM_H

#include "port.h"

#include "host.h"
#include "oracle.h"

#define SIM_BASE 0x100000ul
#define SIM_PAGES 34
#define SIM_ADDR(page) (SIM_BASE + ((unsigned long)(page) << PAGE_SHIFT))
#define SIM_CHANGES 16
#define SIM_PFNS 96
#define SIM_HMMS 3
#define SIM_DEVICES 2
#define SIM_RING 3
#define SIM_THREADS 4

/* A sleeping lock of the simulated machine, not of the core. */
struct sim_rwsem {
	int writer; /* counted from 1 */
	int readers;
};

struct sim_page {
	uint64_t pfn; /* 0: not present */
	bool writable;
	bool shared; /* a write has to copy it */
	/* Oracle: changes that were about to start / were seen to start. */
	uint16_t announced, started;
	/* Oracle: of these, not ended in every respect / not really ended. */
	uint16_t in_flight, active;
};

enum change_what {
	CHANGE_UNMAP,   /* the page is gone, another may come by a fault */
	CHANGE_REPLACE, /* another page is there */
	CHANGE_PROTECT, /* it can't be written any more */
	CHANGE_HOLD,    /* as UNMAP, but in progress until flag 0 is set */
};

/* Oracle: one change, and whether all mirrors have been told of it. */
struct sim_change {
	unsigned int first, end;
	bool told;
	bool over;
	/* Only sim_source.c: */
	uint64_t ticket;
	uint8_t task;
	bool barred; /* the barrier waits for it */
	bool tells_end;
	bool handed_on; /* its start was */
	bool foreign;
};

/* What host_native.c keeps of its address space. */
struct sim_native {
	struct sim_rwsem mmap_lock;
	int users;
	struct sim_rwsem notifier;
	struct hmm *hmm;
	int hmm_refs;
};

struct sim_device {
	struct hmm_mirror mirror;
	bool listens;    /* between register and unregister */
	bool never_call; /* its mirror was unregistered */
	bool refuses;    /* may say -EAGAIN to what is not blockable */
	bool calls_back; /* unregisters itself from its callback */
	bool waits;      /* its callback lasts until flag 0 is set */
	int in_callback;
	int lock; /* L; holder counted from 1 */
	uint32_t released;
	struct {
		uint64_t pfn;
		bool write;
	} entry[SIM_PAGES];
};

/* The counter, the ring and the barrier of sim_source.c */
struct sim_ring {
	uint64_t started;
	struct {
		uint8_t change;
		bool end;
	} record[SIM_RING];
	unsigned int nr;
	unsigned int owed; /* counted, neither recorded nor lost */
	unsigned int lost, lost_seen, lost_ends;
	unsigned int next;  /* all tickets below have been taken */
	unsigned int ahead; /* bits: tickets that were taken out of order */
	unsigned int ended, ends_taken;
	bool wakes; /* its file descriptor is readable */
	bool armed;
	/* The kind of source that the scenario wants. */
	unsigned int size;
	bool arms; /* only wakes who has armed it */
	bool tells_ends;
	bool foreign; /* does not say who makes a change */
	bool fails;   /* may fail for ever */
	bool detached;
};

struct sim_thread {
	void *(*fn)(void *);
	void *arg;
	bool done;
};

/* What host_user.c keeps. */
struct sim_user {
	struct sim_thread thread[SIM_THREADS];
	unsigned int nr_threads;
	unsigned int kicks;
	bool late;            /* a record has not come in time */
	bool ends;            /* the scenario detaches or forks */
	unsigned int mirrors; /* that are registered at the end */
	uint64_t now;
	unsigned char alive;
};

struct world {
	struct mm_struct *mm;
	bool exiting; /* something has begun that makes it dead */
	struct sim_native native;
	struct hmm hmms[SIM_HMMS];
	unsigned int hmms_used;
	struct sim_page page[SIM_PAGES];
	unsigned int vma_flags;
	uint64_t next_pfn;
	struct sim_change change[SIM_CHANGES + 1];
	unsigned int changes;
	uint8_t killer[SIM_PFNS];    /* the change that removed a pfn */
	uint8_t protector[SIM_PFNS]; /* or its write permission */
	struct sim_device device[SIM_DEVICES];
	struct oracle oracle;
	struct sim_ring ring;
	struct sim_user user;
	struct sim_rwsem mirrors_sem; /* only the seed's model has one */
	uint64_t heap[256];
	size_t heap_used;
	int allocations;
	int spinlocks[FIBERS + 1]; /* held by each task */
	unsigned int flag[4];      /* the scenario's own */
};

extern struct world world;

void sim_reset(void);

/* ---- sim_mm.c ------------------------------------------------------------ */

void sim_down(struct sim_rwsem *sem, bool write, const char *what);
void sim_up(struct sim_rwsem *sem, bool write);
/* Some pages present and writable. */
void sim_populate(unsigned int first, unsigned int end);
/* The change itself, at one instant a page. */
void sim_change_pages(unsigned int id, enum change_what what);
/* Wait for one of world.flag. */
void sim_flag_wait(unsigned int i);
void sim_flag_set(unsigned int i);

/* ---- What each host supplies ----------------------------------------------- */

/* The change that a fault makes: it copies a page. */
int host_copy_page(unsigned int page);
/* All mirrors have been told of this change. */
bool host_told(unsigned int id);
/* Written by nobody while others run: reading it is no point of its own. */
bool host_constant(const void *obj);
/* Nothing is left behind. */
void host_end(void);
/* Another task runs: what is kept a thread is not to be kept. */
void sim_switched(void);

/* ---- host_native.c ------------------------------------------------------- */

void native_reset(void);
/* Change pages as the kernel does.  0; -EAGAIN: not blockable and refused. */
int native_change(unsigned int first, unsigned int end, enum change_what what,
		  bool blockable);
/* What is to be undone if a mirror refused.  The seed forgets it. */
void native_refused(struct hmm *hmm, unsigned long start, unsigned long end);
/* exit_mmap(): nobody uses the mm any more, or it is to be given up. */
void native_exit(void);

/* ---- device.c ------------------------------------------------------------ */

void device_listen(struct sim_device *dev);
int device_unlisten(struct sim_device *dev);
void device_lock(struct sim_device *dev);
void device_unlock(struct sim_device *dev);

struct sim_driver {
	unsigned int device;
	unsigned int first, end; /* pages */
	bool write;
	bool snapshot; /* do not fault */
	bool nonblock;
	unsigned int loops; /* how often to map the pages */
	int result;
};

/* Register a range of the first page, for a scenario that does the rest. */
int device_range_init(struct hmm_range *range, uint64_t *pfns);
/* The driver loop of hmm.h; arg: a struct sim_driver. */
void device_driver(void *arg);
/* One round of it.  0 or -errno. */
long device_map(const struct sim_driver *drv);

#endif
