// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * change.c - the changes of a page table that are in progress
 *
 * A fixed array, because a change can start where nothing may be allocated,
 * and because there are few: as many as threads that change the same mm, plus,
 * for a source that never tells an end, what was not yet closed by a barrier.
 */
#include "change.h"
#include "interval.h"

void hmm_changes_start(struct hmm_changes *c, unsigned long start,
		       unsigned long end)
{
	if (c->nr == HMM_CHANGES) {
		c->unlisted++;
		return;
	}
	c->slot[c->nr++] = (struct hmm_change){ .start = start, .end = end };
}

void hmm_changes_end(struct hmm_changes *c, unsigned long start,
		     unsigned long end)
{
	unsigned int i;

	/*
	 * Equal changes are interchangeable: if one has a slot and one has not,
	 * whichever ends first takes the slot, and the other stays unlisted.
	 */
	for (i = 0; i < c->nr; i++) {
		if (c->slot[i].start != start || c->slot[i].end != end)
			continue;
		c->slot[i] = c->slot[--c->nr];
		return;
	}
	if (c->unlisted)
		c->unlisted--;
}

void hmm_changes_open(struct hmm_changes *c, unsigned long start,
		      unsigned long end, uint64_t owner)
{
	unsigned int i;

	/* Neighbours become one: their union claims no address in excess. */
	for (i = 0; i < c->nr; i++) {
		struct hmm_change *s = &c->slot[i];

		if (start > s->end || s->start > end)
			continue;
		if (s->start < start)
			start = s->start;
		if (s->end > end)
			end = s->end;
		if (s->owner != owner)
			owner = 0;
		*s = c->slot[--c->nr];
		i = (unsigned int)-1;
	}
	if (c->nr == HMM_CHANGES) {
		c->nr = 0;
		start = 0;
		end = ~0ul;
		owner = 0;
	}
	c->slot[c->nr++] = (struct hmm_change){
		.start = start,
		.end = end,
		.owner = owner,
		.gen = c->gen,
	};
}

void hmm_changes_close_owner(struct hmm_changes *c, uint64_t owner)
{
	unsigned int i = 0;

	while (i < c->nr) {
		if (c->slot[i].owner == owner)
			c->slot[i] = c->slot[--c->nr];
		else
			i++;
	}
}

uint64_t hmm_changes_mark(struct hmm_changes *c)
{
	return ++c->gen;
}

void hmm_changes_close_before(struct hmm_changes *c, uint64_t gen)
{
	unsigned int i = 0;

	while (i < c->nr) {
		if (c->slot[i].gen < gen)
			c->slot[i] = c->slot[--c->nr];
		else
			i++;
	}
}

bool hmm_changes_overlap(const struct hmm_changes *c, unsigned long start,
			 unsigned long end)
{
	unsigned int i;

	if (c->unlisted)
		return true;
	for (i = 0; i < c->nr; i++)
		if (hmm_overlap(c->slot[i].start, c->slot[i].end, start, end))
			return true;
	return false;
}
