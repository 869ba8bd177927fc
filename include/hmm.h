/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * hmm.h - Heterogeneous Memory Management: mirror a process's page table
 *
 * A device with its own MMU wants to use a process's memory by its ordinary
 * pointers.  This header is how its driver does so, on either side of the
 * system call boundary: the driver API (sections 1 to 5) is the same in
 * libhmm and in hmm.ko; section 6 exists in user space only.
 *
 * The protocol
 * ============
 *
 * A driver keeps a device page table under a lock L of its own.  It registers
 * a *mirror*, whose callback removes translations under L whenever the CPU
 * page table changes, and for every piece of memory that the device touches
 * it uses a *range* to copy CPU page table entries into the device's:
 *
 *  - hmm_range_register() starts tracking changes of [start, end);
 *  - hmm_range_wait_until_valid() waits until no change of it is in progress;
 *  - hmm_range_snapshot() copies the entries, hmm_range_fault() faults in
 *    first what the driver asks for.  Either arms the range;
 *  - hmm_range_valid(), under L, says whether what was copied still holds.
 *
 * A range is valid if and only if no change that overlaps it is in progress
 * and none has started since just before the first entry of its last
 * successful snapshot or fault was read.  Hence an entry installed under L
 * after hmm_range_valid() said true is either current, or its invalidation
 * has begun and the mirror's callback is on its way to remove it.
 *
 * The whole of it, as a driver writes it (this text is compiled and tested
 * as it stands, see tests/unit/driver_loop.c):
 *
 * .. begin driver loop
 *
 *	int mydevice_map(struct mydevice *dev, struct mm_struct *mm,
 *			 unsigned long start, unsigned long end, uint64_t *pfns)
 *	{
 *		struct hmm_range range = {
 *			.pfns = pfns,
 *			.flags = mydevice_flags,
 *			.values = mydevice_values,
 *			.pfn_shift = MYDEVICE_PFN_SHIFT,
 *			.default_flags = mydevice_flags[HMM_PFN_VALID],
 *		};
 *		int retries = MYDEVICE_RETRIES;
 *		long ret;
 *
 *		ret = hmm_range_register(&range, mm, start, end);
 *		if (ret)
 *			return ret;
 *	again:
 *		if (!retries--) {
 *			ret = -EBUSY;
 *			goto out;
 *		}
 *		if (!hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT)) {
 *			ret = -ETIMEDOUT;
 *			goto out;
 *		}
 *		mmap_read_lock(mm);
 *		ret = hmm_range_fault(&range, true);
 *		if (ret == -EAGAIN)
 *			goto again;	// only when block is false: lock dropped
 *		mmap_read_unlock(mm);
 *		if (ret == -EBUSY)
 *			goto again;
 *		if (ret < 0)
 *			goto out;
 *
 *		mydevice_lock(dev);
 *		if (!hmm_range_valid(&range)) {
 *			mydevice_unlock(dev);
 *			goto again;
 *		}
 *		mydevice_install(dev, range.start, range.pfns, ret);
 *		mydevice_unlock(dev);
 *		ret = 0;
 *	out:
 *		hmm_range_unregister(&range);
 *		return ret;
 *	}
 *
 * .. end driver loop
 *
 * What a device writes the CPU's entry does not show.  In the kernel the driver
 * says so: under L, before the translation goes, by folio_mark_dirty(), but not
 * of pages that are dirty already.  Otherwise a page that the CPU has not
 * written since MADV_FREE, for example, may be dropped, with what is in it.
 *
 * Return codes.  Every function returns 0 or a positive count on success and
 * a negative errno otherwise.  -EAGAIN is the only code that means that the
 * mmap lock was dropped; with every other code it is held as it was.
 *
 * The API is that of "Improve HMM driver API v2" (Linux, March 2019) with its
 * defects removed; docs/design.md lists what differs and why.
 */
#ifndef HMM_H
#define HMM_H

#ifdef __KERNEL__
#include <linux/types.h>
/* The kernel exports one of these names itself, and may come to have more. */
#define hmm_mirror_register hmm2_mirror_register
#define hmm_mirror_unregister hmm2_mirror_unregister
#define hmm_range_register hmm2_range_register
#define hmm_range_unregister hmm2_range_unregister
#define hmm_range_wait_until_valid hmm2_range_wait_until_valid
#define hmm_range_snapshot hmm2_range_snapshot
#define hmm_range_fault hmm2_range_fault
#define hmm_range_recheck hmm2_range_recheck
#define hmm_vma_fault hmm2_vma_fault
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct hmm;
struct hmm_mirror;
struct mm_struct;
struct vm_area_struct;

/* ------------------------------------------------------------------------
 * 1. The format of an entry
 */

/**
 * enum hmm_pfn_flag_e - index into hmm_range.flags
 * @HMM_PFN_VALID: the entry holds a pfn, the page may be read
 * @HMM_PFN_WRITE: the page may be written.  Never set unless that is known; an
 *	entry without it may still turn out writable when a write is requested
 * @HMM_PFN_DEVICE_PRIVATE: the pfn is device memory that the CPU can't reach.
 *	As a request: such a page is to be moved to where the CPU can
 * @HMM_PFN_FLAG_MAX: number of flags
 */
enum hmm_pfn_flag_e {
	HMM_PFN_VALID = 0,
	HMM_PFN_WRITE,
	HMM_PFN_DEVICE_PRIVATE,
	HMM_PFN_FLAG_MAX
};

/**
 * enum hmm_pfn_value_e - index into hmm_range.values
 * @HMM_PFN_ERROR: the page can't be had (poisoned, or a guard page)
 * @HMM_PFN_NONE: nothing is mapped there
 * @HMM_PFN_SPECIAL: memory that no device may mirror (VM_IO, VM_PFNMAP, to
 *	hmm.ko also memfd_secret()'s)
 * @HMM_PFN_VALUE_MAX: number of values
 */
enum hmm_pfn_value_e {
	HMM_PFN_ERROR,
	HMM_PFN_NONE,
	HMM_PFN_SPECIAL,
	HMM_PFN_VALUE_MAX
};

/* ------------------------------------------------------------------------
 * 2. Mirrors: be told of every change
 */

/**
 * enum hmm_update_event - what happened, as the seed has it
 * @HMM_UPDATE_INVALIDATE: remove the translations of [start, end)
 */
enum hmm_update_event {
	HMM_UPDATE_INVALIDATE,
};

/**
 * enum hmm_change_kind - why a page table changes, as far as the source knows
 *
 * For display and statistics only: a mirror has to remove its translations
 * whatever the kind.
 */
enum hmm_change_kind {
	HMM_CHANGE_OTHER,    /* the source does not say */
	HMM_CHANGE_UNMAP,    /* munmap, brk, MAP_FIXED, shmdt */
	HMM_CHANGE_REMAP,    /* mremap */
	HMM_CHANGE_PROTECT,  /* mprotect */
	HMM_CHANGE_DISCARD,  /* madvise: DONTNEED, FREE, REMOVE ... */
	HMM_CHANGE_TRUNCATE, /* ftruncate, fallocate */
	HMM_CHANGE_COW,      /* a page fault replaced a page or its mapping */
	HMM_CHANGE_FORK,     /* fork write-protects private memory */
	HMM_CHANGE_RECLAIM,  /* swap-out, writeback */
	HMM_CHANGE_MIGRATE,  /* compaction, NUMA, move_pages */
	HMM_CHANGE_MERGE,    /* KSM */
	HMM_CHANGE_COLLAPSE, /* small pages became a huge one, or back */
	HMM_CHANGE_LOST,     /* events were lost: everything may have changed */
	HMM_CHANGE_KIND_MAX
};

/**
 * struct hmm_update - one change of the CPU page table
 * @start: first byte (inclusive, page aligned)
 * @end: last byte (exclusive, page aligned)
 * @event: always HMM_UPDATE_INVALIDATE
 * @kind: the cause, for display
 * @blockable: false if the callback must not sleep; it may then return -EAGAIN
 */
struct hmm_update {
	unsigned long start;
	unsigned long end;
	enum hmm_update_event event;
	enum hmm_change_kind kind;
	bool blockable;
};

/**
 * struct hmm_mirror_ops - what a driver does when its mirror is told something
 */
struct hmm_mirror_ops {
	/**
	 * @release: the address space is gone; drop every translation.
	 *
	 * Called at most once a mirror, without locks, and never after
	 * hmm_mirror_unregister() returned 0.
	 */
	void (*release)(struct hmm_mirror *mirror);

	/**
	 * @sync_cpu_device_pagetables: remove [update->start, update->end) from
	 * the device page table, and don't return before the device is done
	 * with it.  Takes the driver's lock L.
	 *
	 * In libhmm it runs in the library's own watcher thread, in the order
	 * of the changes.  It may call every function on ranges but must not
	 * wait for one, and may not unregister a mirror (-EDEADLK).
	 *
	 * Return: 0; -EAGAIN if @update is not blockable and the callback would
	 * have to sleep.  Anything else is a bug of the driver and is logged.
	 */
	int (*sync_cpu_device_pagetables)(struct hmm_mirror *mirror,
					  const struct hmm_update *update);
};

/**
 * struct hmm_mirror - a driver's interest in one address space
 * @ops: set by the driver before it registers
 * @hmm: private, NULL unless registered
 */
struct hmm_mirror {
	const struct hmm_mirror_ops *ops;
	struct hmm *hmm;
	/* private: the rest is the core's, under its lock */
	struct hmm_mirror *next;
	bool leaving;
	bool released;
};

/**
 * hmm_mirror_register() - start to be told of every change of @mm
 * @mirror: zeroed but for @ops
 * @mm: the address space
 *
 * Context: the mmap lock of @mm held for write; may sleep.
 * Return: 0; -EINVAL without mirror, mm, ops or ops->sync_cpu_device_pagetables;
 * -EBUSY if @mirror is registered; -EFAULT if @mm is dead; -ENOMEM; in the
 * kernel also -EINTR, a signal came.
 */
int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm);

/**
 * hmm_mirror_unregister() - stop it, and wait for callbacks that run
 * @mirror: registered or not
 *
 * Once it returned 0 no callback of @mirror runs or will run.
 *
 * Context: neither the mmap lock nor L held (a running callback may want L).
 * Return: 0, also if @mirror was not registered; -EDEADLK from inside a
 * callback of this address space; -EBUSY if another thread is at it just now;
 * -ETIMEDOUT if a callback did not return within HMM_RANGE_DEFAULT_TIMEOUT: the
 * mirror then stays registered.  What changed meanwhile it may not have been
 * told: stop the device first, and let it go on, if it shall, under L.
 */
int hmm_mirror_unregister(struct hmm_mirror *mirror);

/* ------------------------------------------------------------------------
 * 3. Ranges: copy entries, and know whether the copy holds
 */

/* How long to wait for a range, in ms, if there is no better reason. */
#define HMM_RANGE_DEFAULT_TIMEOUT 1000

/* private: a node of the core's interval tree */
struct hmm_interval {
	unsigned long start, end;
	struct hmm_interval *parent, *left, *right;
	unsigned long last_end;
};

/**
 * struct hmm_range - a piece of an address space that a driver looks at
 * @hmm: private, NULL unless registered
 * @vma: only for hmm_vma_fault(), which takes the mm from it
 * @start: first byte, after registration (also: hmm_vma_fault() takes it)
 * @end: last byte, exclusive
 * @pfns: in and out, one entry per (1 << page_shift) bytes
 * @flags: HMM_PFN_FLAG_MAX bit masks in the device's own format
 * @values: HMM_PFN_VALUE_MAX values in the device's own format
 * @default_flags: requested for every entry, in the device's own format
 * @pfn_flags_mask: which bits of pfns[i] are taken as requests
 * @pfn_shift: an entry is (pfn << pfn_shift) | flags
 * @page_shift: log2 of the bytes per entry; 0 means the system's page size
 * @dev_private_owner: only in the kernel: whose private memory entries may
 *	be of, as struct dev_pagemap names him; NULL: nobody's.  A page in anyone
 *	else's is not there to this range, and a fault moves it out
 *
 * What is asked for entry i is (pfns[i] & pfn_flags_mask) | default_flags:
 * nothing without the VALID flag; a readable page with it; a writable one with
 * WRITE on top.  The owner's private pages will do as they are; they are moved
 * out only with the DEVICE_PRIVATE flag, or to become writable.
 *
 * Zero it first: garbage in @hmm looks registered.  Set @pfns, @flags, @values
 * and what else is to be before registering; change requests whenever no call on
 * the range runs.  One range serves one thread at a time; hmm_range_valid()
 * serves several.
 *
 * On success every entry has been written; on an error none has, so that the
 * requests are still there.  Compare an entry with the three values first,
 * then test its flags.
 */
struct hmm_range {
	__extension__ union {
		__extension__ struct {
			unsigned long start;
			unsigned long end;
		};
		struct hmm_interval node;
	};
	struct hmm *hmm;
	struct vm_area_struct *vma;
	uint64_t *pfns;
	const uint64_t *flags;
	const uint64_t *values;
	uint64_t default_flags;
	uint64_t pfn_flags_mask;
#ifdef __KERNEL__
	void *dev_private_owner;
#endif
	/* private: where the source counts, if registered; the count while valid */
	const uint64_t *started;
	uint64_t seq;
	uint8_t pfn_shift;
	uint8_t page_shift;
	/* private: armed, and no overlapping change since that we know of */
	bool valid;
	/* private: what the last walk learnt of its vma; holds as long */
	uint8_t known;
};

/**
 * hmm_range_register() - start to track changes of [start, end)
 * @range: not registered
 * @mm: the address space
 * @start: first byte; rounded down to a page
 * @end: last byte, exclusive; rounded down to a page
 *
 * Pins @mm until hmm_range_unregister().  The range is not valid before its
 * first snapshot or fault.  In the kernel a mirror of @mm is registered first.
 *
 * Context: may sleep; any locks but those of a callback that it may wait for.
 * Return: 0; -EINVAL without range or mm, with start >= end after rounding,
 * with an end beyond the user's half, or not aligned to page_shift; -EBUSY if
 * @range is registered; -EFAULT if @mm is dead; -ENOMEM.
 */
int hmm_range_register(struct hmm_range *range, struct mm_struct *mm,
		       unsigned long start, unsigned long end);

/**
 * hmm_range_unregister() - stop to track; once per successful register
 * @range: registered or not; if not, nothing happens
 *
 * Context: any, also inside a mirror's callback and under L.
 */
void hmm_range_unregister(struct hmm_range *range);

/**
 * hmm_range_wait_until_valid() - wait until no change of the range is going on
 * @range: registered
 * @timeout: in ms; ULONG_MAX waits for as long as it takes
 *
 * True does not make old pfns good: take a snapshot.
 *
 * Context: may sleep; neither the mmap lock nor L held.
 * Return: true once no overlapping change is in progress; false if the mm is
 * dead, the range is not registered, or time is up.
 */
bool hmm_range_wait_until_valid(struct hmm_range *range, unsigned long timeout);

/**
 * hmm_range_snapshot() - copy the CPU page table's entries, faulting nothing
 * @range: registered
 *
 * Context: mmap lock held for read; may sleep.
 * Return: the number of entries, all of the range's, on success.  With the
 * lock still held and no entry written:
 * -EBUSY an overlapping change is in progress or came in between: wait, retry;
 * -EFAULT the mm is dead; -EPERM a vma without read permission;
 * -EINVAL not registered, or memory in smaller pages than page_shift;
 * -ENOMEM; -EOPNOTSUPP the source can't watch this memory (see
 * hmm_source_query(); the log says why); -EMFILE, -EIO ... what reading /proc
 * said.
 */
long hmm_range_snapshot(struct hmm_range *range);

/**
 * hmm_range_fault() - fault in what the range requests, then copy the entries
 * @range: registered
 * @block: false not to wait for I/O here
 *
 * Only requested pages that lack what is asked are faulted.
 *
 * Context: mmap lock held for read; may sleep.
 * Return: as hmm_range_snapshot(), and:
 * -EAGAIN only if @block is false: it would wait, *the mmap lock was dropped*;
 * -EFAULT also: a requested page is in a hole, is special, or can't be read
 * (beyond the end of its file, poisoned);
 * -EPERM also: write requested in a vma that may not be written;
 * -EINTR in the kernel: the calling task is being killed.  That is looked at
 * before each page; with @block who waits for one's I/O can't be killed.
 */
long hmm_range_fault(struct hmm_range *range, bool block);

/* private: the rest of hmm_range_valid(), when anything has changed anywhere */
bool hmm_range_recheck(struct hmm_range *range);

/* private: the count of a range that is not valid, which no source reaches */
#define HMM_SEQ_NONE (~(uint64_t)0)

#ifndef hmm_load_acquire
#define hmm_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#endif
#define hmm_likely(x) __builtin_expect(!!(x), 1)
#define hmm_unlikely(x) __builtin_expect(!!(x), 0)

/**
 * hmm_range_valid() - does the last snapshot or fault still hold?
 * @range: registered
 *
 * Meaningful only under L, the lock that the mirror's callback takes.  Several
 * threads may ask about one range, while no other call on it runs: L can be a
 * lock that they share and the callback takes for itself.
 *
 * Two loads that hit the range, one that hits the source's counter.  If the
 * counter stands where it did when the range was armed, no change of any kind
 * has started; else hmm_range_recheck() looks at what did.
 *
 * Context: L held; does not sleep for long, never runs a callback.
 * Return: true if so.
 */
static inline bool hmm_range_valid(struct hmm_range *range)
{
	const uint64_t *started = range->started;

	/*
	 * The first pairs with whoever takes validity away, the second with the
	 * source's increment before the change it counts.  NULL: not registered.
	 */
	if (hmm_likely(started && hmm_load_acquire(&range->seq) ==
					  hmm_load_acquire(started)))
		return true;
	return hmm_range_recheck(range);
}

/**
 * hmm_pfn_to_pfn() - the page frame number in a valid entry
 * @range: says how the entry is laid out
 * @entry: one of its pfns[]
 *
 * Return: the pfn, or ~0 if the entry has none.
 */
static inline uint64_t hmm_pfn_to_pfn(const struct hmm_range *range,
				      uint64_t entry)
{
	if (entry == range->values[HMM_PFN_NONE] ||
	    entry == range->values[HMM_PFN_ERROR] ||
	    entry == range->values[HMM_PFN_SPECIAL] ||
	    !(entry & range->flags[HMM_PFN_VALID]))
		return ~0ull;
	return entry >> range->pfn_shift;
}

/* ------------------------------------------------------------------------
 * 4. The older calls, for drivers that still use them
 */

/**
 * hmm_vma_fault() - register, wait and fault in one call
 * @range: @vma, @start, @end and the formats set; not registered
 * @block: as in hmm_range_fault()
 *
 * Context: the mmap lock of range->vma->vm_mm held for read.  It is dropped
 * and taken again while this waits for changes in progress; range->vma may be
 * gone afterwards and is not looked at again.
 * Return: 0: the range is registered and filled, *lock held*; finish with
 * hmm_vma_range_done().
 * With every error the range is not registered any more, and the lock is:
 * -EAGAIN *dropped*: changes did not end within HMM_RANGE_DEFAULT_TIMEOUT;
 * -EBUSY *dropped*: it changed meanwhile, or would block: start again;
 * any other code *held*.
 */
int hmm_vma_fault(struct hmm_range *range, bool block);

/**
 * hmm_vma_range_done() - the end of what hmm_vma_fault() began
 * @range: filled
 *
 * Context: L held; the mmap lock does not matter and is not touched.
 * Return: hmm_range_valid() just before the range was unregistered.
 */
static inline bool hmm_vma_range_done(struct hmm_range *range)
{
	bool ret = range->hmm && hmm_range_valid(range);

	hmm_range_unregister(range);
	return ret;
}

#ifndef __KERNEL__
/* ------------------------------------------------------------------------
 * 5. The address space, as the kernel has it
 */

#define HMM_VM_READ 0x1u     /* may be read */
#define HMM_VM_WRITE 0x2u    /* may be written */
#define HMM_VM_EXEC 0x4u     /* may be executed */
#define HMM_VM_SHARED 0x8u   /* changes go to the file, or to sharers */
#define HMM_VM_SPECIAL 0x10u /* can't be mirrored: HMM_PFN_SPECIAL */

/**
 * struct vm_area_struct - one vma, as it was when it was looked up
 * @vm_start: first byte
 * @vm_end: last byte, exclusive
 * @vm_flags: HMM_VM_*
 * @vm_mm: where it was found
 */
struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_flags;
	struct mm_struct *vm_mm;
};

/**
 * hmm_find_vma() - the first vma that ends above an address
 * @mm: the address space
 * @addr: any address
 * @vma: filled on success; it may start above @addr
 *
 * Return: 0; -ENOENT if there is none; -EFAULT if @mm is dead; -EINVAL without
 * @mm or @vma; what reading /proc said.
 */
int hmm_find_vma(struct mm_struct *mm, unsigned long addr,
		 struct vm_area_struct *vma);

/*
 * The mmap lock of libhmm: it keeps @mm attached.  It excludes other users of
 * the library, not the kernel: memory changes under it, which is what ranges
 * are for.  Who reads waits for who waits to write, so no thread may read-lock
 * it twice.  All four do nothing on an mm that died by fork.
 */
void mmap_read_lock(struct mm_struct *mm);
void mmap_read_unlock(struct mm_struct *mm);
void mmap_write_lock(struct mm_struct *mm);
void mmap_write_unlock(struct mm_struct *mm);

/* ------------------------------------------------------------------------
 * 6. User space: attach to a process, and know what you have
 */

/**
 * struct hmm_attach_opts - how to attach; zeroed means: as well as possible
 * @size: sizeof(struct hmm_attach_opts), so that it can grow
 * @source: name of the source to use; NULL for $HMM_SOURCE, else the best
 * @private_files: the calling thread has a descriptor table of its own
 *	(CLOSE_RANGE_UNSHARE), so a fork's child inherits none of the library's
 *	descriptors, and their numbers are other files there: close nothing
 * @pidfd: of the process (pidfd_open(2)) whose memory it is about; 0 for the
 *	calling one.  Only the source module can watch another process
 * @wait: level 3: changes wait until the mirrors have been told of them.  Only
 *	the source module can do that.  See hmm_mm_attach()
 */
struct hmm_attach_opts {
	size_t size;
	const char *source;
	bool private_files;
	bool wait;
	int pidfd;
};

/**
 * hmm_mm_attach() - the address space of this process, or of another one
 * @mmp: filled on success
 * @opts: NULL for the defaults
 *
 * Every user of a source in a process shares one mm; each attach is paired
 * with one hmm_mm_detach().  An attach with @pidfd, @wait or @private_files gets
 * an mm of its own.  After fork() the child's mms are dead for the library,
 * whosesoever memory they are; attach again there.
 *
 * Another process must be one that the caller may trace (ptrace(2)).  The mm
 * is the memory that it has now: when it exits or executes another program
 * the mm is dead, mirrors are released and everything says -EFAULT.  Children
 * that it forks have memory of their own, which is not watched.
 *
 * With @wait, whoever changes memory waits, before the first entry changes and
 * for HMM_RANGE_DEFAULT_TIMEOUT at most, until the mirrors' callbacks have
 * returned.  Not so what may not sleep, a process that dies, what the library's
 * own threads do, and, unless the caller has CAP_SYS_ADMIN, anything but unmaps,
 * moves and mprotect() by the changed process itself.  The one who waits may
 * hold the kernel's mmap lock of the changed process, so a callback that needs
 * that lock (touches memory of the same process that is not present, maps or
 * unmaps, calls process_vm_readv() on it) waits until time is up.  A mirror of
 * another process is safe if it only drops device translations.
 *
 * In a callback, hmm_range_snapshot() and hmm_range_fault() then say -EDEADLK.
 *
 * Context: no lock held; of callbacks, from release only.  Waits for a detach
 * that somebody else is at.
 * Return: 0; -EINVAL bad arguments; -E2BIG @opts asks for what this library
 * does not know; -ENOENT no such source; -ENOTSUP no source is available here,
 * or the one that was named can't do what @pidfd or @wait ask; -EBADF @pidfd
 * is no pidfd; -ESRCH its process has ended, or executes another program just
 * now; -EACCES, -EPERM it may not be traced, or only root may have changes wait
 * (hmm(4), unprivileged_hold); -EMFILE, -ENOMEM ... what the source said.  The
 * log (hmm_set_log()) says what is missing and what to do.
 */
int hmm_mm_attach(struct mm_struct **mmp, const struct hmm_attach_opts *opts);

/**
 * hmm_mm_detach() - the opposite; the last one releases the address space
 * @mm: attached
 *
 * The last detach makes the mm dead: mirrors are released, ranges are -EFAULT
 * and never valid again.  What is still registered must still be unregistered.
 *
 * Context: no lock held; not from a callback (-EDEADLK).
 * Return: 0; -EINVAL; -EDEADLK; -ETIMEDOUT if a callback did not return within
 * HMM_RANGE_DEFAULT_TIMEOUT (the mm is dead all the same, and stays in memory).
 */
int hmm_mm_detach(struct mm_struct *mm);

/**
 * struct hmm_mm_info - what an attached mm is worth
 * @size: set by the caller to sizeof(struct hmm_mm_info), so that it can grow
 * @source: name of the live source
 * @mechanism: how that source is attached, in a few words
 * @misses: what it does not see; "" if nothing
 * @level: 3 changes wait for the mirrors; 2 exact at use; 1 mapped addresses
 * @pfns_virtual: without CAP_SYS_ADMIN entries carry virtual page numbers
 * @dead: the mm is dead
 * @changes: changes that were seen, by enum hmm_change_kind; kvm may count one
 *	twice that is made during a barrier
 * @started: the source's counter, to be compared with @told; it need not begin
 *	at 0
 * @told: up to which count the mirrors have been told; an entry that a driver
 *	installed properly is current, or @told is behind @started
 * @barriers: how often the end of changes had to be awaited by a barrier
 * @lost: how often events were lost, each one an invalidation of everything
 * @late: level 3: how often a change went on because a callback took longer
 *	than HMM_RANGE_DEFAULT_TIMEOUT
 */
struct hmm_mm_info {
	size_t size;
	const char *source;
	const char *mechanism;
	const char *misses;
	int level;
	bool pfns_virtual;
	bool dead;
	uint64_t changes[HMM_CHANGE_KIND_MAX];
	uint64_t started;
	uint64_t told;
	uint64_t barriers;
	uint64_t lost;
	uint64_t late;
};

/**
 * hmm_mm_query() - fill it
 * @mm: attached
 * @info: with its size set
 *
 * Return: 0; -EINVAL.
 */
int hmm_mm_query(struct mm_struct *mm, struct hmm_mm_info *info);

/**
 * struct hmm_source_info - a source that this library knows
 * @size: set by the caller to sizeof(struct hmm_source_info), likewise
 * @name: as for HMM_SOURCE
 * @level: see struct hmm_mm_info
 * @misses: what it does not see; "" if nothing
 * @error: 0 if it can be used here, else a negative errno
 * @reason: if not, why, and what to do
 */
struct hmm_source_info {
	size_t size;
	const char *name;
	const char *misses;
	int level;
	int error;
	char reason[256];
};

/**
 * hmm_source_query() - can this source be used here?  Tries it.
 * @index: 0 is the best one
 * @info: with its size set
 *
 * Context: as hmm_mm_attach().
 * Return: 0; -ENOENT beyond the last one; -EINVAL.
 */
int hmm_source_query(unsigned int index, struct hmm_source_info *info);

/**
 * hmm_change_kind_name() - a word for a kind of change
 * @kind: which
 *
 * Return: a static string.
 */
const char *hmm_change_kind_name(enum hmm_change_kind kind);

enum hmm_log_level {
	HMM_LOG_ERR,
	HMM_LOG_WARN,
	HMM_LOG_INFO,
	HMM_LOG_DEBUG,
};

/**
 * hmm_set_log() - where the library's messages go
 * @fn: called with a whole line without its newline; NULL for silence.
 *	May be called from any thread, and must not call the library.
 *
 * By default errors and warnings go to stderr; HMM_LOG=debug shows all.
 */
void hmm_set_log(void (*fn)(enum hmm_log_level level, const char *line));

#define HMM_VERSION_MAJOR 0
#define HMM_VERSION_MINOR 1

/* hmm_version() - of the library that runs: (major << 16) | minor */
unsigned int hmm_version(void);
#endif /* !__KERNEL__ */

#ifdef __cplusplus
}
#endif
#endif /* HMM_H */
