/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * hmm_dev.h - what /dev/hmm of hmm.ko and its user say to one another
 *
 * An open file is bound to the opener's address space.  Mapped read-only from
 * offset 0 it shows a struct hmm_dev_shared and behind it, from
 * HMM_DEV_RING_OFFSET on, a ring of records: one when a change starts, before
 * any page table entry is touched, and one when it has ended.
 *
 * The ring belongs to nobody who reads it: the kernel never waits.  A reader
 * counts for itself, takes record n from slot n % HMM_DEV_RECORDS, and looks
 * at head afterwards: if that is n + HMM_DEV_RECORDS or more, what it took is
 * not record n any more, and HMM_DEV_SYNC tells where things are.
 */
#ifndef HMM_DEV_H
#define HMM_DEV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HMM_DEV_VERSION 1u
#define HMM_DEV_RECORDS 2048
#define HMM_DEV_RING_OFFSET 4096
#define HMM_DEV_CHANGES 64

/**
 * struct hmm_dev_shared - counters
 * @started: changes counted, before they begin
 * @version: HMM_DEV_VERSION
 * @head: records written
 * @readable: the file is readable, until HMM_DEV_ARM or HMM_DEV_CLEAR
 */
struct hmm_dev_shared {
	__u64 started;
	__u32 version;
	__u32 pad[13];
	__u64 head;
	__u32 readable;
	__u32 pad2[13];
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

#define HMM_DEV_SYNC _IOR('h', 0x90, struct hmm_dev_sync)
/*
 * Have the file become readable at the next record, once.  The argument points
 * to how many records the caller has taken; 1 if there are more by now, and
 * nothing was armed.
 */
#define HMM_DEV_ARM _IOW('h', 0x91, __u64)
/* Not readable any more; whether it is armed stays as it is. */
#define HMM_DEV_CLEAR _IO('h', 0x92)

#endif
