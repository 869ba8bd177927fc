/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* space.c - remember where in an address space things happened */
#include <stdlib.h>
#include <string.h>

#include "space.h"

#define TABLE_MIN 256u
#define TABLE_MAX (1u << 17)
#define EXTENTS_MAX 8192u
#define EVERYTHING (1ull << 46)

struct space *space_new(int pid, const char *comm)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space)
		return NULL;
	space->pid = pid;
	memcpy(space->comm, comm, sizeof(space->comm));
	space->comm[sizeof(space->comm) - 1] = '\0';
	return space;
}

void space_free(struct space *space)
{
	if (!space)
		return;
	free(space->extents);
	free(space->changes.hits);
	free(space->accesses.hits);
	free(space);
}

static struct space_hits *find_hits(struct space_table *table,
				    unsigned long start, unsigned long end)
{
	uint64_t hash = (start ^ end * 31) * 0x9e3779b97f4a7c15ull;
	uint32_t i = hash >> 32 & (table->capacity - 1);
	struct space_hits *hits;

	for (;;) {
		hits = &table->hits[i];
		if (!hits->count || (hits->start == start && hits->end == end))
			return hits;
		i = (i + 1) & (table->capacity - 1);
	}
}

/* At most 3/4 full, so that every search ends. */
static void grow(struct space_table *table)
{
	struct space_table bigger = *table;
	uint32_t i;

	bigger.capacity = table->capacity ? table->capacity * 2 : TABLE_MIN;
	if (bigger.capacity > TABLE_MAX)
		return;
	bigger.hits = calloc(bigger.capacity, sizeof(*bigger.hits));
	if (!bigger.hits)
		return;
	for (i = 0; i < table->capacity; i++)
		if (table->hits[i].count)
			*find_hits(&bigger, table->hits[i].start,
				   table->hits[i].end) = table->hits[i];
	free(table->hits);
	*table = bigger;
}

static void hit(struct space_table *table, unsigned long start,
		unsigned long end)
{
	struct space_hits *hits;

	if (table->nr >= table->capacity / 4 * 3)
		grow(table);
	if (table->nr >= table->capacity / 4 * 3) {
		table->left_out++;
		return;
	}
	hits = find_hits(table, start, end);
	if (!hits->count) {
		hits->start = start;
		hits->end = end;
		table->nr++;
	}
	hits->count++;
}

void space_add_event(struct space *space, const struct session_event *event)
{
	if (event->type == SESSION_CHANGE &&
	    event->end - event->start >= EVERYTHING)
		space->everything++;
	else if (event->type == SESSION_CHANGE)
		hit(&space->changes, event->start, event->end);
	else if (event->type == SESSION_ACCESS)
		hit(&space->accesses, event->start, event->end);
	else
		return;
	/* A process that only waits is accessed a lot, too. */
	space->activity += event->type == SESSION_CHANGE ? 16 : 1;
}

/*
 * A vma that overlaps one of the same name is that one, grown or moved on;
 * protection may have come later (RELRO), so the last one counts.
 */
void space_add_vma(struct space *space, const struct session_vma *vma)
{
	struct space_extent *extent;
	uint32_t i;

	for (i = 0; i < space->nr_extents; i++) {
		extent = &space->extents[i];
		if (vma->start >= extent->end || extent->start >= vma->end ||
		    strcmp(extent->name, vma->name) ||
		    strcmp(extent->perms, vma->perms))
			continue;
		if (vma->start < extent->start)
			extent->start = vma->start;
		if (vma->end > extent->end)
			extent->end = vma->end;
		return;
	}
	if (space->nr_extents == EXTENTS_MAX)
		return;
	if (!(space->nr_extents & (space->nr_extents - 1))) {
		extent = reallocarray(space->extents,
				      space->nr_extents ? 2 * space->nr_extents
							: 1,
				      sizeof(*extent));
		if (!extent)
			return;
		space->extents = extent;
	}
	extent = &space->extents[space->nr_extents++];
	extent->start = vma->start;
	extent->end = vma->end;
	memcpy(extent->perms, vma->perms, sizeof(extent->perms));
	memcpy(extent->name, vma->name, sizeof(extent->name));
}

static int by_address(const void *a, const void *b)
{
	const struct space_extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void space_sort(struct space *space)
{
	if (space->nr_extents)
		qsort(space->extents, space->nr_extents,
		      sizeof(*space->extents), by_address);
}
