/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* kvm_kind.h - why a page table changed */
#ifndef HMM_KVM_KIND_H
#define HMM_KVM_KIND_H

#include "hmm.h"

struct kvm_record;

enum hmm_change_kind hmm_kvm_kind(const struct kvm_record *r);

#endif
