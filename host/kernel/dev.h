/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* dev.h - an open file of /dev/hmm, for the parts of the driver */
#ifndef HMM_KERNEL_DEV_H
#define HMM_KERNEL_DEV_H

#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/xarray.h>

#include "hmm_dev.h"
#include "mm.h"

#define DEV_PAGES                                                          \
	(1 + DIV_ROUND_UP(HMM_DEV_RECORDS * sizeof(struct hmm_dev_record), \
			  PAGE_SIZE))

/**
 * struct dev_ring - what is mapped
 * @wq: of poll()
 * @pages: what @shared and @ring are in
 * @shared: written under the marks' lock, but for waiting and late
 * @ring: written under the marks' lock
 * @armed: the next record makes the file readable; under the marks' lock
 */
struct dev_ring {
	wait_queue_head_t wq;
	struct page *pages[DEV_PAGES];
	struct hmm_dev_shared *shared;
	struct hmm_dev_record *ring;
	bool armed;
};

/**
 * struct dev_hold - changes that wait
 * @mirror: registered by the first HMM_DEV_HOLD, for as long as the file lives
 * @registering: serialises that
 * @wq: of those who wait
 * @lock: protects all below it; taken with no other lock of ours held
 * @timeout: in jiffies, 0 is off
 * @acker: the acknowledging thread
 * @acker_group: its process
 * @acked: records that were acknowledged
 * @waiting: how many wait
 * @late: time was up, and not every record was acknowledged since
 */
struct dev_hold {
	struct hmm_mirror mirror;
	struct mutex registering;
	wait_queue_head_t wq;
	spinlock_t lock;
	unsigned long timeout;
	struct pid *acker;
	struct pid *acker_group;
	u64 acked;
	unsigned int waiting;
	bool late;
};

enum dev_state { DEV_FRESH, DEV_BINDING, DEV_USED };

/**
 * struct hmm_file - an open file of /dev/hmm
 * @hmm: what it shows; a reference.  Changes only before DEV_USED
 * @state: an enum dev_state
 * @listener: in @hmm's list
 * @privileged: the opener had CAP_SYS_ADMIN
 * @writable: faults may ask for writable pages
 * @ring: what is mapped
 * @hold: level 3
 * @ranges: struct dev_range, by id; its lock protects @nr_ranges
 * @nr_ranges: how many there are, or are about to be
 */
struct hmm_file {
	struct hmm *hmm;
	atomic_t state;
	struct hmm_listener listener;
	bool privileged;
	bool writable;
	struct dev_ring ring;
	struct dev_hold hold;
	struct xarray ranges;
	unsigned int nr_ranges;
};

/*
 * The requests below return what the ioctl does, as hmm_dev.h says; they may
 * sleep, and fault the caller's memory in while no lock is held.
 */

/* ---- dev_ring.c --------------------------------------------------------- */

/**
 * dev_ring_init() - make what is mapped
 * @f: says whether the opener was privileged
 *
 * Return: 0; -ENOMEM.
 */
int dev_ring_init(struct hmm_file *f);

/**
 * dev_ring_exit() - the opposite
 * @f: not listening
 */
void dev_ring_exit(struct hmm_file *f);

/**
 * dev_ring_clear() - as if nothing had happened yet
 * @f: not listening
 */
void dev_ring_clear(struct hmm_file *f);

/**
 * dev_ring_poll() - what poll() says
 * @f: the file
 * @file: the same
 * @table: of poll()
 *
 * Return: a mask.
 */
__poll_t dev_ring_poll(struct hmm_file *f, struct file *file,
		       poll_table *table);

long dev_ring_sync(struct hmm_file *f, void __user *user);
long dev_ring_arm(struct hmm_file *f, u64 __user *user);
long dev_ring_disarm(struct hmm_file *f);

/* ---- dev_bind.c --------------------------------------------------------- */

/**
 * dev_bind_init() - find out how an open /proc/PID/mem looks
 *
 * Context: in the task that loads the module.
 */
void dev_bind_init(void);

/**
 * dev_bind_mm() - show an address space
 * @f: shows nothing yet, or something that it goes on to show if this fails
 * @mm: in use, by a reference of the caller's
 *
 * Context: mmap lock of @mm not held; nobody else uses @f->hmm.
 * Return: 0; -EUSERS; -ENOMEM; -EINTR.
 */
int dev_bind_mm(struct hmm_file *f, struct mm_struct *mm);

long dev_bind(struct hmm_file *f, int fd);

/* ---- dev_range.c -------------------------------------------------------- */

void dev_ranges_init(struct hmm_file *f);

/**
 * dev_ranges_exit() - unregister what is left
 * @f: no request on it is going on, or will
 */
void dev_ranges_exit(struct hmm_file *f);

long dev_vma(struct hmm_file *f, void __user *user);
long dev_register(struct hmm_file *f, void __user *user);
long dev_unregister(struct hmm_file *f, unsigned long id);
long dev_wait(struct hmm_file *f, void __user *user);
long dev_walk(struct hmm_file *f, void __user *user, bool fault);
long dev_valid(struct hmm_file *f, unsigned long id);

/* ---- dev_hold.c --------------------------------------------------------- */

void dev_hold_init(struct hmm_file *f);

/**
 * dev_hold_exit() - let go who waits, and be told of nothing any more
 * @f: no request on it is going on, or will
 *
 * Context: may sleep; mmap lock not held.
 */
void dev_hold_exit(struct hmm_file *f);

/**
 * dev_hold_flush() - a descriptor is being closed by the calling process
 * @f: the file
 */
void dev_hold_flush(struct hmm_file *f);

/**
 * dev_hold_gone() - the address space is gone
 * @f: whose shared page says so
 *
 * Context: any.
 */
void dev_hold_gone(struct hmm_file *f);

/**
 * dev_hold_is_acker() - is the calling thread the acknowledging one?
 * @f: the file
 *
 * Context: any.
 * Return: true if so, and changes are to wait.
 */
bool dev_hold_is_acker(struct hmm_file *f);

/**
 * dev_hold_would_deadlock() - does the calling thread wait for itself?
 * @f: the file
 *
 * Context: any.
 * Return: true if a change waits for it to acknowledge.
 */
bool dev_hold_would_deadlock(struct hmm_file *f);

long dev_hold(struct hmm_file *f, unsigned long ms);
long dev_ack(struct hmm_file *f, unsigned long taken);

#endif
