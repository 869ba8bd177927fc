// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * table_memory.c - memory for the device's page table, as a process has it
 *
 * Mapped for as many tables as there may be; the kernel backs those in use.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "pagetable.h"

int pt_init(struct pagetable *pt, unsigned int max)
{
	*pt = (struct pagetable){ .max = max,
				  .fresh = PT_ROOT + 1,
				  .tables = 1 };
	pt->table = mmap(NULL, max * sizeof(*pt->table), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pt->table == MAP_FAILED)
		return -ENOMEM;
	pt->used = calloc(max, sizeof(*pt->used));
	if (!pt->used) {
		munmap(pt->table, max * sizeof(*pt->table));
		return -ENOMEM;
	}
	return 0;
}

void pt_destroy(struct pagetable *pt)
{
	munmap(pt->table, pt->max * sizeof(*pt->table));
	free(pt->used);
}
