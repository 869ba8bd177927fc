// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * table_memory.c - memory for the device's page table, as the kernel has it
 */
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "pagetable.h"

int pt_init(struct pagetable *pt, unsigned int max)
{
	*pt = (struct pagetable){ .max = max,
				  .fresh = PT_ROOT + 1,
				  .tables = 1 };
	/* Who opens the device is told: the kernel's log need not be. */
	pt->table = __vmalloc(max * sizeof(*pt->table),
			      GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	pt->used = kvcalloc(max, sizeof(*pt->used), GFP_KERNEL_ACCOUNT);
	if (!pt->table || !pt->used) {
		pt_destroy(pt);
		return -ENOMEM;
	}
	return 0;
}

void pt_destroy(struct pagetable *pt)
{
	kvfree(pt->used);
	vfree(pt->table);
}
