/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* source_kvm.h - memory that the BPF program and libhmm share */
#ifndef HMM_SOURCE_KVM_H
#define HMM_SOURCE_KVM_H

#include <linux/types.h>

#define KVM_RING_SIZE (1u << 20)

/*
 * Bytes of records that may wait for nobody in particular.  A power of two, few
 * enough that who asks whether a range is valid can take them on the way.
 */
#define KVM_MANY (1u << 15)

/* Values of kvm_shared.wake */
enum kvm_wake {
	KVM_WAKE_MANY,  /* each time that so many more have not been read */
	KVM_WAKE_ARMED, /* at the next record, once */
};

/**
 * struct kvm_shared - counters and controls, mapped by libhmm
 * @started: changes counted; what hmm_range_valid() reads
 * @lost: how many of them have no record, because the ring was full
 * @ended: ends counted, in records or not
 * @lost_ends: how many of them have no record
 * @mm: the kernel's name of our mm, 0 until it is known
 * @wake: enum kvm_wake
 *
 * Readers of @started share its cache line with nothing else that is written.
 */
struct kvm_shared {
	__u64 started;
	__u64 pad[7];
	__u64 lost;
	__u64 ended;
	__u64 lost_ends;
	__u64 mm;
	__u32 wake;
	__u32 pad2[7];
};

enum kvm_phase {
	KVM_PHASE_OPEN,
	KVM_PHASE_START,
	KVM_PHASE_END,
};

/* kvm_record.nr of a kernel thread; any other is a system call's number. */
#define KVM_NR_KTHREAD (-2)
/* ... and of a task that is in no system call. */
#define KVM_NR_FAULT (-1)

/**
 * struct kvm_record - one change, or the end of one
 * @start: as the kernel says it, not always page aligned
 * @end: likewise
 * @ticket: how many changes had been counted before it
 * @key: the same in a start and its end, and in no other change meanwhile
 * @mm: whose page table (typed attachment), else of the one who makes it
 * @tgid: who makes it, in the initial pid namespace
 * @tid: likewise
 * @task_flags: PF_*
 * @nr: what the task is doing
 * @arg3: third argument of the system call
 * @arg4: fourth
 * @phase: enum kvm_phase
 * @type: enum mmu_notifier_event, typed attachment only
 * @comm: of a kernel thread
 */
struct kvm_record {
	__u64 start, end;
	__u64 ticket;
	__u64 key;
	__u64 mm;
	__u32 tgid, tid;
	__u32 task_flags;
	__s32 nr;
	__u32 arg3, arg4;
	__u16 phase;
	__u16 type;
	char comm[12];
};

#endif
