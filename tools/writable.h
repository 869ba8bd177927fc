/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* writable.h - which pages of a process may be written, by the source module */
#ifndef HMM_TOOLS_WRITABLE_H
#define HMM_TOOLS_WRITABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hmm.h"

/* NULL without the module, or the permission to trace the process. */
struct mm_struct *writable_open(pid_t pid);
void writable_close(struct mm_struct *mm);

/*
 * Bytes of [start, end) that need no page fault to be written; false if that
 * can't be had: it changes all the time, or may not be read.
 */
bool writable_bytes(struct mm_struct *mm, unsigned long start,
		    unsigned long end, uint64_t *bytes);

#endif
