/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * hmm_dev.h - what /dev/hmm of hmm.ko and its user say to one another
 *
 * An open file shows one address space: the opener's, or, by HMM_DEV_BIND,
 * that of a process which one may trace.  It is a driver on the API of hmm.h,
 * a mirror and ranges, whose other half is a process.
 *
 * Learning of changes
 * ===================
 *
 * Mapped read-only from offset 0 the file shows a struct hmm_dev_shared and
 * behind it, from HMM_DEV_RING_OFFSET on, a ring of records: one when a change
 * starts, before any page table entry is touched, and one when it has ended.
 *
 * The ring belongs to nobody who reads it: the kernel never waits for a reader
 * (but see HMM_DEV_HOLD).  A reader counts for itself, takes record n from slot
 * n % HMM_DEV_RECORDS, and looks at head afterwards: if that is
 * n + HMM_DEV_RECORDS or more, what it took is not record n any more, and
 * HMM_DEV_SYNC tells where things are.
 *
 * Reading entries
 * ===============
 *
 * HMM_DEV_SNAPSHOT and HMM_DEV_FAULT are hmm_range_snapshot() and
 * hmm_range_fault().  With them come `started' and `head' as they were at a
 * moment at which every entry held.  The entries hold until a change that
 * overlaps them starts, which is record `head' or a later one.  So a client
 * judges validity by the counter and the ring alone: nothing can have changed
 * while shared.started equals `started'.
 *
 * Errors
 * ======
 *
 * A request returns 0, or what it says, or fails with errno.  Everywhere:
 *
 *	ENOTTY		no such request
 *	EFAULT		a pointer to where the caller has no memory
 *	ESRCH		the address space is gone (its processes have exited, or
 *			called exec), or was when the file was bound
 *	EINTR		a signal came, as far as the request waits
 *	ENOMEM		also when the caller's memory cgroup is at its limit
 *	EDEADLK		the acknowledging thread asks for what only goes on once
 *			it has acknowledged (HMM_DEV_HOLD): do that first
 *
 * and each limit has a number of its own, with what to do:
 *
 *	EUSERS		(open, BIND) this address space is shown by as many files
 *			as the module's parameter files_per_mm allows: close one
 *	ENOSPC		(REGISTER) the file has as many ranges as ranges_per_file
 *			allows: unregister one, or open another file
 *	E2BIG		(SNAPSHOT, FAULT) more than HMM_DEV_PAGES pages: do it in
 *			parts
 */
#ifndef HMM_DEV_H
#define HMM_DEV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HMM_DEV_VERSION 2u
#define HMM_DEV_RECORDS 2048
#define HMM_DEV_RING_OFFSET 4096
#define HMM_DEV_CHANGES 64

/* ------------------------------------------------------------------------
 * 1. What is mapped
 */

/**
 * struct hmm_dev_shared - what the file shows at offset 0
 * @started: changes counted, before they begin
 * @version: HMM_DEV_VERSION
 * @pfns_virtual: the opener had no CAP_SYS_ADMIN (in the first user namespace,
 *	as for /proc/PID/pagemap): entries carry virtual page numbers
 * @dead: the address space is gone, which was the last change that is counted
 *	in @started; it has no record
 * @head: records written
 * @readable: the file is readable, until HMM_DEV_ARM or HMM_DEV_CLEAR
 * @waiting: changes that wait for an acknowledgement just now
 * @late: how often the file became late (see HMM_DEV_HOLD)
 */
struct hmm_dev_shared {
	__u64 started;
	__u32 version;
	__u32 pfns_virtual;
	__u32 dead;
	__u32 pad[11];
	__u64 head;
	__u32 readable;
	__u32 waiting;
	__u64 late;
	__u32 pad2[10];
};

/**
 * struct hmm_dev_record - a change starts, or has ended
 * @start: of the addresses, as the kernel says it
 * @end: exclusive
 * @ends: 0 it starts, 1 it has ended
 * @kind: enum hmm_change_kind
 */
struct hmm_dev_record {
	__u64 start, end;
	__u32 ends;
	__u32 kind;
};

/* ------------------------------------------------------------------------
 * 2. Which address space, and what is mapped there
 */

/*
 * Show another address space than the opener's.  The argument is a descriptor
 * of /proc/PID/mem, which whoever may trace PID can open: the kernel checks
 * that when it is opened, by all its rules, security modules included, none of
 * which it lets a module ask for.  (So there is no pidfd here: from one to the
 * other, open /proc/PID/mem and see by pidfd_send_signal(pidfd, 0, NULL, 0)
 * that the process is still there: then PID was its number all the time.)
 *
 * If that descriptor is not open for writing, HMM_DEV_FAULT may not ask for
 * writable pages.  It may be closed afterwards.
 *
 * Once, and first: before the file is mapped and before any other request.
 *
 * EBADF not an open file; EINVAL not a /proc/PID/mem; EACCES not open for
 * reading; EBUSY the file was mapped or used; EUSERS; EOPNOTSUPP the module
 * was loaded where no /proc was mounted, or does not know this kernel's.
 */
#define HMM_DEV_BIND _IO('h', 0x93)

/* HMM_VM_* of hmm.h */
#define HMM_DEV_VM_READ 0x1u
#define HMM_DEV_VM_WRITE 0x2u
#define HMM_DEV_VM_EXEC 0x4u
#define HMM_DEV_VM_SHARED 0x8u
#define HMM_DEV_VM_SPECIAL 0x10u

/**
 * struct hmm_dev_vma - a vma
 * @addr: in: any address
 * @start: out: first byte of the first vma that ends above it
 * @end: out: its last byte, exclusive
 * @flags: out: HMM_DEV_VM_*
 * @pad: out: 0
 */
struct hmm_dev_vma {
	__u64 addr;
	__u64 start, end;
	__u32 flags;
	__u32 pad;
};

/* ENOENT there is none. */
#define HMM_DEV_VMA _IOWR('h', 0x94, struct hmm_dev_vma)

/* ------------------------------------------------------------------------
 * 3. Changes
 */

/**
 * struct hmm_dev_sync - where things are, all at one moment
 * @head: as in struct hmm_dev_shared
 * @started: likewise
 * @nr: changes in progress
 * @unlisted: how many more there are, for which there was no room
 * @change: their addresses, as in the records of their starts
 */
struct hmm_dev_sync {
	__u64 head;
	__u64 started;
	__u32 nr;
	__u32 unlisted;
	struct {
		__u64 start, end;
	} change[HMM_DEV_CHANGES];
};

/* Also when the address space is gone: what there was. */
#define HMM_DEV_SYNC _IOR('h', 0x90, struct hmm_dev_sync)
/*
 * Have the file become readable at the next record, once.  The argument points
 * to how many records the caller has taken; 1 if there are more by now, and
 * nothing was armed.  poll() says POLLHUP once the address space is gone.
 */
#define HMM_DEV_ARM _IOW('h', 0x91, __u64)
/* Not readable any more; whether it is armed stays as it is. */
#define HMM_DEV_CLEAR _IO('h', 0x92)

/* ------------------------------------------------------------------------
 * 4. Ranges
 *
 * A registered range, unlike one of hmm.h, keeps neither the address space nor
 * its memory in existence: once it is gone the range is never valid, and what
 * reads entries says ESRCH.  One range serves one thread at a time: EALREADY
 * another thread's request on it is going on.  ENOENT no range has this id.
 */

/**
 * struct hmm_dev_register - hmm_range_register()
 * @start: in: first byte, rounded down to a page
 * @end: in: last byte, exclusive, rounded down to a page
 * @id: out: its number, never 0
 * @pad: in: 0
 */
struct hmm_dev_register {
	__u64 start, end;
	__u32 id;
	__u32 pad;
};

/* EINVAL as hmm_range_register() has it; ENOSPC. */
#define HMM_DEV_REGISTER _IOWR('h', 0x95, struct hmm_dev_register)
/* hmm_range_unregister(); the argument is the id. */
#define HMM_DEV_UNREGISTER _IO('h', 0x96)

/**
 * struct hmm_dev_wait - hmm_range_wait_until_valid()
 * @id: in: of a range
 * @ms: in: how long
 */
struct hmm_dev_wait {
	__u32 id;
	__u32 ms;
};

/* ETIMEDOUT a change of the range was still in progress; EINTR; EDEADLK. */
#define HMM_DEV_WAIT _IOW('h', 0x97, struct hmm_dev_wait)

/* At most so many pages in one call, which costs the caller 16 bytes a page. */
#define HMM_DEV_PAGES (1u << 18)

/*
 * HMM_DEV_FAULT: wait for I/O, or for the user of a userfaultfd, rather than
 * fail with EAGAIN.  However long that takes: a file system may be a process of
 * one's own, or of somebody who wants to keep one waiting.  No lock is held
 * meanwhile, and a signal that kills ends it, for a userfaultfd any signal
 * (EINTR).  But a file system may itself wait for its process, as it would in
 * read(2), until that is gone.
 */
#define HMM_DEV_BLOCK 0x1u

/**
 * struct hmm_dev_range - hmm_range_snapshot(), hmm_range_fault()
 * @id: in: a range, or 0: register one for @start and @end, do it, unregister
 * @options: in: 0 or HMM_DEV_BLOCK
 * @start: in, if @id is 0; out
 * @end: in, if @id is 0; out
 * @pfns: in: pointer to entries, which are in and out as in struct hmm_range
 * @nr: in: for how many entries there is room; out: how many were written, all
 *	of the range's
 * @flags: in: flags[] of struct hmm_range, by enum hmm_pfn_flag_e
 * @values: in: values[], by enum hmm_pfn_value_e
 * @default_flags: in
 * @pfn_flags_mask: in; 0 spares reading the entries
 * @pfn_shift: in: less than 64
 * @page_shift: in: 0, or log2 of the bytes per entry; those of more than a page
 *	are for openers with CAP_SYS_ADMIN, since what has one says how memory
 *	lies physically
 * @pad: in: 0
 * @started: out: count of changes up to which none makes an entry stale
 * @head: out: the records that go with it: judge by those from this one on
 *
 * Nothing is written, here or to the entries, unless all is well.
 */
struct hmm_dev_range {
	__u32 id;
	__u32 options;
	__u64 start, end;
	__u64 pfns;
	__u64 nr;
	__u64 flags[3];
	__u64 values[3];
	__u64 default_flags;
	__u64 pfn_flags_mask;
	__u8 pfn_shift;
	__u8 page_shift;
	__u8 pad[6];
	__u64 started;
	__u64 head;
};

/*
 * EBUSY an overlapping change is in progress, or came in between: wait for its
 * end, again; EPERM a vma without read permission, or page_shift; EINVAL a
 * field is not as said above, nr is too small, or memory in smaller pages than
 * page_shift; E2BIG; EDEADLK.
 */
#define HMM_DEV_SNAPSHOT _IOWR('h', 0x98, struct hmm_dev_range)
/*
 * As HMM_DEV_SNAPSHOT, and EAGAIN without HMM_DEV_BLOCK: it would wait, what
 * it takes was started; ENXIO a page that was asked for is in a hole, is
 * special, or can't be had (hmm.h's -EFAULT); EPERM also: a vma that may not
 * be written; EACCES writable pages are asked for, and the file was bound by a
 * descriptor that is not open for writing.
 */
#define HMM_DEV_FAULT _IOWR('h', 0x99, struct hmm_dev_range)
/* hmm_range_valid() at this moment; the argument is the id.  1 or 0. */
#define HMM_DEV_VALID _IO('h', 0x9a)

/* ------------------------------------------------------------------------
 * 5. Have changes wait
 */

#define HMM_DEV_HOLD_DEFAULT 1000u /* ms */
#define HMM_DEV_HOLD_MAX 10000u

/*
 * From now on a change, once its record is written, waits until as many
 * records have been acknowledged by HMM_DEV_ACK, at most so many ms as the
 * argument says; 0: not any more.  (The times of several files run together,
 * from when the change was recorded.)  EINVAL beyond HMM_DEV_HOLD_MAX; EPERM
 * beyond HMM_DEV_HOLD_DEFAULT unless the opener had CAP_SYS_ADMIN, since one
 * who waits may delay what others do to their address spaces' watchers (exit,
 * for one), and beyond 0 if the module's parameter unprivileged_hold is off;
 * ESRCH; EINTR.
 *
 * The thread that called this, or HMM_DEV_ACK, last is the acknowledging
 * thread.  Between a change's record and its acknowledgement it should do
 * nothing but what removes the translations from its device: the one who waits
 * has locks, as a rule the mmap lock, which page faults, too, may want.
 *
 * A change never waits
 *  - if the acknowledging thread makes it, or has died or is being killed;
 *  - if who makes it is exiting or being killed, then or later;
 *  - if it must not block (the OOM killer's, for example);
 *  - if it serves to get memory at once, which the acknowledgement may take
 *    (reclaim; compaction by who needs the memory);
 *  - unless a thread of the address space itself unmaps, moves or mprotect()s
 *    memory, or the file's opener had CAP_SYS_ADMIN.  For any other change who
 *    makes it may have locks that others want: the kernel, which migrates or
 *    merges pages, another process that truncates a file, but also one's own
 *    fsync() or madvise(), with a file system's transaction or the lock of a
 *    file that others map;
 *  - while the file is late: once time was up for a change (shared.late counts
 *    that) none waits before every record there is has been acknowledged, or
 *    HMM_DEV_HOLD was turned off and on;
 *  - once the address space is gone, the file is closed, or any descriptor of
 *    it is by the process whose thread acknowledges.
 * Whatever does not wait has a record all the same, and is counted before it
 * begins.
 */
#define HMM_DEV_HOLD _IO('h', 0x9b)
/*
 * So many records have been taken and acted upon.  By value, not by pointer,
 * for it must not cause a page fault.  EINVAL there are not that many, or
 * HMM_DEV_HOLD is off.  To acknowledge less than before does nothing.
 */
#define HMM_DEV_ACK _IO('h', 0x9c)

#endif
