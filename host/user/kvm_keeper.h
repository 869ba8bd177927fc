/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* kvm_keeper.h - a thread that keeps the VM and the BPF links */
#ifndef HMM_KVM_KEEPER_H
#define HMM_KVM_KEEPER_H

#include <pthread.h>

#define KVM_LINKS 2

enum kvm_keeper_job {
	KEEPER_START,
	KEEPER_IDLE,
	KEEPER_BARRIER,
	KEEPER_EXIT,
};

/*
 * struct kvm_keeper - the thread, and what it does
 *
 * Until hmm_keeper_start() the descriptors are the caller's, to be filled in;
 * -1 if there is none.  lock protects job and result.
 */
struct kvm_keeper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum kvm_keeper_job job;
	int result;
	int kvm_fd, vm_fd, link_fd[KVM_LINKS];
};

void hmm_keeper_init(struct kvm_keeper *k);
/* Of kvm_fd, into vm_fd.  0 or -errno. */
int hmm_keeper_create_vm(struct kvm_keeper *k);
/* Start the thread; it takes over the descriptors.  0 or -errno: it did not. */
int hmm_keeper_start(struct kvm_keeper *k);
/*
 * Returns when every change that was counted before has ended.  One caller at
 * a time.  0 or -errno.
 */
int hmm_keeper_barrier(struct kvm_keeper *k);
/* The end of one that was started ... */
void hmm_keeper_stop(struct kvm_keeper *k);
/* ... and of one that was not. */
void hmm_keeper_drop(struct kvm_keeper *k);

#endif
