// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_kvm.bpf.c - count and record the changes that mmu notifiers are told of
 *
 * Two ways to hear of them.  The tracepoint kvm_unmap_hva_range says start and
 * end address of a change that begins in some mm that has a VM.  The typed way
 * looks at the notifiers' own entry points: it knows the mm and the end.
 *
 * The counter goes up before the record is written, and both are done before
 * any page table entry changes.
 */
#include <asm-generic/errno.h>
#include <asm-generic/mman-common.h>
#include <asm/unistd_64.h>
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "source_kvm.h"

#define PF_MEMALLOC 0x00000800
#define PF_KTHREAD 0x00200000
#define TS_COMPAT 0x0002

/* What is needed of the kernel's types; CO-RE finds the rest. */
struct mm_struct {
	int unused;
} __attribute__((preserve_access_index));

struct thread_info {
	__u32 status;
} __attribute__((preserve_access_index));

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	struct mm_struct *mm;
} __attribute__((preserve_access_index));

struct pt_regs {
	unsigned long r10, ax, dx, orig_ax;
} __attribute__((preserve_access_index));

enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP,
};

struct mmu_notifier_range {
	struct mm_struct *mm;
	unsigned long start, end;
	enum mmu_notifier_event event;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kvm_shared);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, KVM_RING_SIZE);
} ring SEC(".maps");

/* What a record takes of the ring. */
#define RECORD_BYTES (sizeof(struct kvm_record) + BPF_RINGBUF_HDR_SZ)

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static __always_inline struct kvm_shared *get_shared(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&shared, &key);
}

/*
 * An irq_work for each record would cost the one who makes the change more
 * than everything else here.
 *
 * wake is read after started or ended went up, which are full barriers: pairs
 * with kvm_arm(), which writes it before it reads them.
 */
static __always_inline __u64 wake_flags(struct kvm_shared *s)
{
	__u32 wake = *(volatile __u32 *)&s->wake;
	__u64 unread;

	if (wake == KVM_WAKE_ARMED) {
		s->wake = KVM_WAKE_MANY;
		return BPF_RB_FORCE_WAKEUP;
	}
	/* This record is among the unread: at its first byte beyond, once. */
	unread = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	if (unread % KVM_MANY < RECORD_BYTES && unread >= KVM_MANY)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline void who(struct kvm_record *r, struct task_struct *task)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct pt_regs *regs;

	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->task_flags = task->flags;
	if (task->flags & PF_KTHREAD) {
		r->nr = KVM_NR_KTHREAD;
		bpf_get_current_comm(r->comm, sizeof(r->comm));
		return;
	}
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	r->nr = (__s32)regs->orig_ax;
	r->arg3 = (__u32)regs->dx;
	r->arg4 = (__u32)regs->r10;
}

/*
 * The tracepoint fires for every process with a VM, and a process that changes
 * its own memory should not pay for all others that listen.  But another
 * process can also change ours: truncate a file, reclaim, migrate.  So only
 * what is certain is left out: a task with another mm, inside a system call
 * (until it returns, ax is -ENOSYS) that changes the caller's own mm and touches
 * no user memory, which could fault, and not reclaiming or compacting memory
 * in the course of it.
 */
static __always_inline int is_foreign(struct kvm_shared *s,
				      struct task_struct *task)
{
	struct pt_regs *regs;

	if (!s->mm || (__u64)task->mm == s->mm)
		return 0;
	if (!task->mm || task->flags & (PF_MEMALLOC | PF_KTHREAD) ||
	    task->thread_info.status & TS_COMPAT)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (regs->ax != (unsigned long)-ENOSYS)
		return 0;
	switch (regs->orig_ax) {
	case __NR_munmap:
	case __NR_mprotect:
	case __NR_mremap:
	case __NR_brk:
		return 1;
	case __NR_madvise:
		return (__u32)regs->dx == MADV_DONTNEED;
	default:
		return 0;
	}
}

SEC("tp_btf/kvm_unmap_hva_range")
int BPF_PROG(hva_range, unsigned long start, unsigned long end)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct kvm_shared *s = get_shared();
	struct kvm_record *r;
	__u64 ticket;

	if (!s || is_foreign(s, task))
		return 0;
	ticket = __sync_fetch_and_add(&s->started, 1);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&s->lost, 1);
		return 0;
	}
	r->start = start;
	r->end = end;
	r->ticket = ticket;
	r->key = 0;
	r->mm = (__u64)task->mm;
	r->phase = KVM_PHASE_OPEN;
	r->type = 0;
	who(r, task);
	bpf_ringbuf_submit(r, wake_flags(s));
	return 0;
}

static __always_inline int is_ours(struct kvm_shared *s,
				   struct mmu_notifier_range *range)
{
	return !s->mm || s->mm == (__u64)range->mm;
}

/*
 * The return of the start, not its entry: a start that may not block can be
 * refused, and then neither the change nor its end comes.
 */
SEC("?fexit/__mmu_notifier_invalidate_range_start")
int BPF_PROG(range_start, struct mmu_notifier_range *range, int ret)
{
	struct kvm_shared *s = get_shared();
	struct kvm_record *r;
	__u64 ticket;

	if (!s || ret || !is_ours(s, range))
		return 0;
	ticket = __sync_fetch_and_add(&s->started, 1);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&s->lost, 1);
		return 0;
	}
	r->start = range->start;
	r->end = range->end;
	r->ticket = ticket;
	r->key = (__u64)range;
	r->mm = (__u64)range->mm;
	r->phase = KVM_PHASE_START;
	r->type = (__u16)range->event;
	who(r, bpf_get_current_task_btf());
	bpf_ringbuf_submit(r, wake_flags(s));
	return 0;
}

SEC("?fentry/__mmu_notifier_invalidate_range_end")
int BPF_PROG(range_end, struct mmu_notifier_range *range)
{
	struct kvm_shared *s = get_shared();
	struct kvm_record *r;

	if (!s || !is_ours(s, range))
		return 0;
	__sync_fetch_and_add(&s->ended, 1);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&s->lost_ends, 1);
		return 0;
	}
	r->start = range->start;
	r->end = range->end;
	r->ticket = 0;
	r->key = (__u64)range;
	r->mm = (__u64)range->mm;
	r->phase = KVM_PHASE_END;
	r->type = 0;
	bpf_ringbuf_submit(r, wake_flags(s));
	return 0;
}
