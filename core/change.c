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

/* The generation of a change whose end will be told: no barrier closes it. */
#define TOLD (~0ull)

void hmm_changes_start(struct hmm_changes *c, unsigned long start,
		       unsigned long end)
{
	if (c->nr == HMM_CHANGES) {
		c->unlisted++;
		return;
	}
	c->slot[c->nr++] = (struct hmm_change){
		.start = start,
		.end = end,
		.gen = TOLD,
	};
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
		if (c->slot[i].start != start || c->slot[i].end != end ||
		    c->slot[i].gen != TOLD)
			continue;
		c->slot[i] = c->slot[--c->nr];
		return;
	}
	if (c->unlisted)
		c->unlisted--;
}

static void forget_all(struct hmm_changes *c)
{
	c->nr = 0;
	c->unlisted = 0;
}

/* Take out one that touches the new one, and let that grow over it. */
static bool absorb(struct hmm_changes *c, struct hmm_change *new)
{
	unsigned int i;

	for (i = 0; i < c->nr; i++) {
		struct hmm_change *s = &c->slot[i];

		if (s->gen == TOLD || new->start > s->end ||
		    s->start > new->end)
			continue;
		if (s->start < new->start)
			new->start = s->start;
		if (s->end > new->end)
			new->end = s->end;
		if (s->owner != new->owner)
			new->owner = 0;
		*s = c->slot[--c->nr];
		return true;
	}
	return false;
}

void hmm_changes_open(struct hmm_changes *c, unsigned long start,
		      unsigned long end, uint64_t owner)
{
	struct hmm_change new = {
		.start = start,
		.end = end,
		.owner = owner,
		.gen = c->gen,
	};

	/* Neighbours become one: their union claims no address in excess. */
	while (absorb(c, &new))
		;
	if (c->nr == HMM_CHANGES) {
		new.start = 0;
		new.end = ~0ul;
		new.owner = 0;
	}
	if (new.start == 0 && new.end == ~0ul)
		forget_all(c);
	c->slot[c->nr++] = new;
}

bool hmm_changes_close_owner(struct hmm_changes *c, uint64_t owner)
{
	unsigned int i = 0, nr = c->nr;

	while (i < c->nr) {
		if (c->slot[i].owner == owner && c->slot[i].gen != TOLD)
			c->slot[i] = c->slot[--c->nr];
		else
			i++;
	}
	return c->nr != nr;
}

uint64_t hmm_changes_mark(struct hmm_changes *c)
{
	unsigned int i;

	for (i = 0; i < c->nr; i++)
		if (c->slot[i].gen != TOLD)
			return ++c->gen;
	return 0;
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
