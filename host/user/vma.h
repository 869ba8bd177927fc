/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* vma.h - look up vmas */
#ifndef HMM_VMA_H
#define HMM_VMA_H

#include "own_fd.h"

struct mm_struct;

/* Beyond the core's flags: pages come from a file, and may have to be read. */
#define HMM_VMA_SHARED 0x8u
#define HMM_VMA_FILE 0x20u
/* The pages that were read last were ours alone, so they may be written. */
#define HMM_VMA_OWNED 0x40u

#define HMM_VMA_DEVICES 5

struct hmm_vmas {
	struct hmm_own_fd maps;
	/* Filesystems whose mappings may be VM_IO or VM_PFNMAP. */
	dev_t devices[HMM_VMA_DEVICES];
	unsigned int nr_devices;
	bool unknown; /* it isn't known where such memory is */
	unsigned long vvar_start, vvar_end;
};

void hmm_vmas_open(struct mm_struct *mm);
void hmm_vmas_close(struct mm_struct *mm);

#endif
