/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * space.h - one process's address space over its whole life: which memory it
 * had, where the device was, and where changes hit
 */
#ifndef HMM_TOOLS_SPACE_H
#define HMM_TOOLS_SPACE_H

#include <stdint.h>

#include "session.h"

/* How often a range of addresses was invalidated, or accessed. */
struct space_hits {
	unsigned long start, end;
	uint64_t count;
};

/* A set of those, by address range; a hash table that is never more than full. */
struct space_table {
	struct space_hits *hits;
	uint32_t capacity, nr;
	uint64_t left_out;
};

/* Memory that was mapped at some time; grown as the vma was. */
struct space_extent {
	unsigned long start, end;
	char perms[5];
	char name[sizeof(((struct session_vma *)0)->name)];
};

struct space {
	int pid;
	char comm[16];
	uint64_t everything; /* changes of all of it, not in the table */
	uint64_t activity;   /* the higher the busier */
	struct space_extent *extents;
	uint32_t nr_extents;
	struct space_table changes;
	struct space_table accesses;
};

/* NULL without memory.  space_free(NULL) is fine. */
struct space *space_new(int pid, const char *comm);
void space_free(struct space *space);

/* Each ignores what there is no memory for; tables count it as left_out. */
void space_add_vma(struct space *space, const struct session_vma *vma);
void space_add_event(struct space *space, const struct session_event *event);

/* By address, for the report. */
void space_sort(struct space *space);

#endif
