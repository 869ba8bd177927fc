// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * kvm_kind.c - why a page table changed: from what the changing task was doing
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kvm_kind.h"
#include "source_kvm.h"

static enum hmm_change_kind madvise_kind(unsigned int advice)
{
	enum { PAGEOUT = 21, POPULATE_READ, POPULATE_WRITE, COLLAPSE = 25 };

	switch (advice) {
	case PAGEOUT:
		return HMM_CHANGE_RECLAIM;
	case POPULATE_READ:
	case POPULATE_WRITE:
		return HMM_CHANGE_COW;
	case COLLAPSE:
		return HMM_CHANGE_COLLAPSE;
	case MADV_UNMERGEABLE:
		return HMM_CHANGE_MERGE;
	default:
		return HMM_CHANGE_DISCARD;
	}
}

static enum hmm_change_kind syscall_kind(const struct kvm_record *r)
{
	switch (r->nr) {
	case SYS_munmap:
	case SYS_mmap:
	case SYS_brk:
	case SYS_shmat:
	case SYS_shmdt:
	case SYS_remap_file_pages:
		return HMM_CHANGE_UNMAP;
	case SYS_mremap:
		return HMM_CHANGE_REMAP;
	case SYS_mprotect:
	case SYS_pkey_mprotect:
		return HMM_CHANGE_PROTECT;
	case SYS_madvise:
		return madvise_kind(r->arg3);
	case SYS_process_madvise:
		return madvise_kind(r->arg4);
	case SYS_process_mrelease:
		return HMM_CHANGE_DISCARD;
	case SYS_truncate:
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_open:
	case SYS_openat:
	case SYS_openat2:
	case SYS_creat:
		return HMM_CHANGE_TRUNCATE;
	case SYS_fork:
	case SYS_vfork:
	case SYS_clone:
	case SYS_clone3:
		return HMM_CHANGE_FORK;
	case SYS_mbind:
	case SYS_move_pages:
	case SYS_migrate_pages:
		return HMM_CHANGE_MIGRATE;
	case SYS_sync:
	case SYS_syncfs:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_msync:
	case SYS_sync_file_range:
		return HMM_CHANGE_RECLAIM;
	case SYS_ioctl:
	case SYS_io_uring_enter:
		return HMM_CHANGE_OTHER;
	default:
		/* A page fault, or a system call that touches user memory. */
		return HMM_CHANGE_COW;
	}
}

static enum hmm_change_kind kthread_kind(const struct kvm_record *r)
{
	static const struct {
		const char *comm;
		enum hmm_change_kind kind;
	} threads[] = {
		{ "ksmd", HMM_CHANGE_MERGE },
		{ "khugepaged", HMM_CHANGE_COLLAPSE },
		{ "kswapd", HMM_CHANGE_RECLAIM },
		{ "kworker", HMM_CHANGE_RECLAIM },
		{ "kdamond", HMM_CHANGE_RECLAIM },
		{ "kcompactd", HMM_CHANGE_MIGRATE },
		{ "oom_reaper", HMM_CHANGE_DISCARD },
	};
	unsigned int i;

	for (i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
		if (!strncmp(r->comm, threads[i].comm, strlen(threads[i].comm)))
			return threads[i].kind;
	return HMM_CHANGE_OTHER;
}

enum hmm_change_kind hmm_kvm_kind(const struct kvm_record *r)
{
	enum {
		PF_IO_WORKER = 0x10,
		PF_MEMALLOC = 0x800,
		PF_USER_WORKER = 0x4000
	};

	if (r->nr == KVM_NR_KTHREAD)
		return kthread_kind(r);
	if (r->task_flags & PF_MEMALLOC)
		return HMM_CHANGE_RECLAIM;
	if (r->task_flags & (PF_IO_WORKER | PF_USER_WORKER))
		return HMM_CHANGE_OTHER;
	return syscall_kind(r);
}
