// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pagetable.c - the device's page table, in user space and in the kernel
 *
 * Tables live in one piece of memory and are named by their index in it, so that an
 * entry for a table looks like one for a page.  The root is table 0 at level
 * 3; a level 0 table maps pages, a level 1 table maps tables or 2 MiB.
 */
#include "pagetable.h"

#define ENTRIES 512u
#define TOP 3
#define NONE 0u /* the root is nobody's child, nor ever free */

/* An entry's place, for who wants to change it. */
struct slot {
	unsigned int table;
	unsigned int index;
};

static unsigned int shift_of(int level)
{
	return 12 + 9 * (unsigned int)level;
}

static unsigned int index_of(unsigned long addr, int level)
{
	return (addr >> shift_of(level)) & (ENTRIES - 1);
}

static unsigned int table_of(uint64_t entry)
{
	return (unsigned int)(entry >> PTE_PFN_SHIFT);
}

/* A free table's first word is the next free one. */
static unsigned int table_alloc(struct pagetable *pt)
{
	unsigned int table = pt->free;

	if (table != NONE) {
		pt->free = (unsigned int)pt->table[table][0];
		pt->table[table][0] = 0;
	} else if (pt->fresh < pt->max) {
		table = pt->fresh++;
	} else {
		return NONE;
	}
	pt->tables++;
	return table;
}

/* Only an empty table is freed: it is all zeroes when it is used again. */
static void table_free(struct pagetable *pt, unsigned int table)
{
	pt->table[table][0] = pt->free;
	pt->free = table;
	pt->tables--;
}

static void set(struct pagetable *pt, struct slot slot, uint64_t entry)
{
	uint64_t *p = &pt->table[slot.table][slot.index];

	if (!*p && entry)
		pt->used[slot.table]++;
	else if (*p && !entry)
		pt->used[slot.table]--;
	*p = entry;
}

static void account(struct pagetable *pt, uint64_t added, uint64_t removed)
{
	pt->mapped += added - removed;
	if (pt->mapped > pt->peak)
		pt->peak = pt->mapped;
}

/* Replace a huge entry by a table of small ones.  -ENOMEM. */
static int split(struct pagetable *pt, struct slot slot)
{
	uint64_t entry = pt->table[slot.table][slot.index] & ~PTE_HUGE;
	unsigned int i, table = table_alloc(pt);

	if (table == NONE)
		return -ENOMEM;
	for (i = 0; i < ENTRIES; i++)
		pt->table[table][i] = entry + ((uint64_t)i << PTE_PFN_SHIFT);
	pt->used[table] = ENTRIES;
	set(pt, slot, PTE_TABLE | (uint64_t)table << PTE_PFN_SHIFT);
	pt->huge--;
	pt->splits++;
	return 0;
}

/* The slot of addr at a level, with all tables on the way to it.  -ENOMEM. */
static int make_slot(struct pagetable *pt, unsigned long addr, int level,
		     struct slot *slot)
{
	unsigned int table = PT_ROOT;
	int l;

	for (l = TOP; l > level; l--) {
		struct slot parent = { table, index_of(addr, l) };
		uint64_t entry = pt->table[table][parent.index];

		if (entry & PTE_HUGE) {
			if (split(pt, parent))
				return -ENOMEM;
		} else if (!entry) {
			table = table_alloc(pt);
			if (table == NONE)
				return -ENOMEM;
			set(pt, parent,
			    PTE_TABLE | (uint64_t)table << PTE_PFN_SHIFT);
		}
		table = table_of(pt->table[parent.table][parent.index]);
	}
	*slot = (struct slot){ table, index_of(addr, level) };
	return 0;
}

/* Do these make one entry of 2 MiB? */
static bool is_block(unsigned long addr, const uint64_t *entry, unsigned long n)
{
	unsigned long i;

	if (addr % PT_HUGE_SIZE || n < PT_HUGE_PAGES ||
	    !(entry[0] & PTE_VALID) ||
	    (entry[0] >> PTE_PFN_SHIFT) % PT_HUGE_PAGES)
		return false;
	for (i = 1; i < PT_HUGE_PAGES; i++)
		if (entry[i] != entry[0] + ((uint64_t)i << PTE_PFN_SHIFT))
			return false;
	return true;
}

int pt_map(struct pagetable *pt, unsigned long addr, const uint64_t *entry,
	   unsigned long n)
{
	unsigned long i, pages;
	struct slot slot;
	bool huge;

	for (i = 0; i < n; i += pages, addr += pages * PT_PAGE_SIZE) {
		huge = is_block(addr, &entry[i], n - i);
		pages = huge ? PT_HUGE_PAGES : 1;
		if (!(entry[i] & PTE_VALID))
			continue;
		if (huge)
			pt_unmap(pt, addr, addr + PT_HUGE_SIZE);
		if (make_slot(pt, addr, huge ? 1 : 0, &slot))
			return -ENOMEM;
		if (!pt->table[slot.table][slot.index])
			account(pt, pages * PT_PAGE_SIZE, 0);
		set(pt, slot, entry[i] | (huge ? PTE_HUGE : 0));
		pt->huge += huge;
	}
	return 0;
}

static unsigned long unmap(struct pagetable *pt, unsigned int table, int level,
			   unsigned long start, unsigned long end)
{
	unsigned long size = 1ul << shift_of(level), removed = 0, next;
	struct slot slot = { table, 0 };
	unsigned int child;
	uint64_t entry;

	for (; start < end; start = next) {
		next = (start | (size - 1)) + 1;
		if (next > end)
			next = end;
		slot.index = index_of(start, level);
		entry = pt->table[table][slot.index];
		if (!entry)
			continue;
		if (level == 0) {
			set(pt, slot, 0);
			removed++;
			continue;
		}
		if (entry & PTE_HUGE) {
			if (next - start == size || split(pt, slot)) {
				set(pt, slot, 0);
				pt->huge--;
				removed += PT_HUGE_PAGES;
				continue;
			}
			entry = pt->table[table][slot.index];
		}
		child = table_of(entry);
		removed += unmap(pt, child, level - 1, start, next);
		if (!pt->used[child]) {
			set(pt, slot, 0);
			table_free(pt, child);
		}
	}
	return removed;
}

unsigned long pt_unmap(struct pagetable *pt, unsigned long start,
		       unsigned long end)
{
	unsigned long removed;

	if (end > PT_ADDR_END)
		end = PT_ADDR_END;
	removed = unmap(pt, PT_ROOT, TOP, start, end);
	account(pt, 0, removed * PT_PAGE_SIZE);
	return removed;
}

/* The leaf of addr, or where the way to it ends; and at which level. */
static uint64_t *find(const struct pagetable *pt, unsigned long addr,
		      int *level)
{
	uint64_t *entry;

	for (*level = TOP, entry = &pt->table[PT_ROOT][index_of(addr, TOP)];
	     *entry & PTE_TABLE;) {
		--*level;
		entry = &pt->table[table_of(*entry)][index_of(addr, *level)];
	}
	return entry;
}

uint64_t pt_lookup(const struct pagetable *pt, unsigned long addr)
{
	uint64_t entry;
	int level;

	if (addr >= PT_ADDR_END)
		return 0;
	entry = *find(pt, addr, &level);
	if (entry & PTE_HUGE)
		entry += (addr / PT_PAGE_SIZE % PT_HUGE_PAGES) << PTE_PFN_SHIFT;
	return entry;
}

unsigned long pt_next(const struct pagetable *pt, unsigned long addr)
{
	int level;

	addr &= ~(PT_PAGE_SIZE - 1);
	while (addr < PT_ADDR_END && !*find(pt, addr, &level))
		addr = (addr | ((1ul << shift_of(level)) - 1)) + 1;
	return addr < PT_ADDR_END ? addr : PT_ADDR_END;
}

void pt_suspect(struct pagetable *pt, unsigned long addr, uint64_t mark)
{
	const uint64_t flags = (1ull << PTE_PFN_SHIFT) - 1;
	uint64_t *entry;
	int level;

	entry = find(pt, addr, &level);
	if (*entry)
		*entry = mark << PTE_PFN_SHIFT | (*entry & flags) | PTE_SUSPECT;
}
