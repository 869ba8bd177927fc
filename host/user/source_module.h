/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* source_module.h - what the files of the module source share */
#ifndef HMM_SOURCE_MODULE_H
#define HMM_SOURCE_MODULE_H

#include "hmm_dev.h"
#include "own_fd.h"
#include "source.h"

/**
 * struct module_source - an open /dev/hmm, which is src.event_fd
 * @file: the same
 * @shared: mapped, as is @ring behind it
 * @taken: records taken; @consumed: starts among them
 * @announced: what was in progress at the last sync was handed on
 * @open: changes that were handed on and have not ended
 * @holds: changes wait; @over: they shall not again
 */
struct module_source {
	struct hmm_source src;
	struct hmm_own_fd file;
	const struct hmm_dev_shared *shared;
	const struct hmm_dev_record *ring;

	uint64_t taken, consumed;
	bool announced;
	struct {
		uint64_t start, end;
	} open[HMM_DEV_CHANGES];
	unsigned int nr_open;

	bool holds, over;
};

static inline struct module_source *to_module(struct hmm_source *src)
{
	return (struct module_source *)src;
}

/* module_open.c: open the device; pidfd is 0 for the own address space. */
int module_open(struct module_source *s, int pidfd, char *why, size_t size);
void module_close(struct module_source *s);

/* module_pages.c: the source's vma, read and fault. */
int module_vma(struct hmm_source *src, unsigned long addr, struct hmm_vma *vma);
int module_read(struct hmm_source *src, unsigned long start, unsigned long end,
		uint64_t *cpu);
int module_fault(struct hmm_source *src, unsigned long start, unsigned long end,
		 bool write, bool block);

#endif
