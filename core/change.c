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
	if (c->nr >= HMM_CHANGES) {
		c->unlisted++;
		return;
	}
	c->slot[c->nr++] = (struct hmm_change){
		.start = start,
		.end = end,
		.gen = c->gen,
		.told = true,
	};
}

void hmm_changes_end(struct hmm_changes *c, unsigned long start,
		     unsigned long end)
{
	struct hmm_change *oldest = NULL;
	unsigned int i;

	/*
	 * Equal changes are interchangeable: if one has a slot and one has not,
	 * whichever ends first takes the slot, and the other stays unlisted.
	 * The oldest goes, as a barrier may be about to close it for all others.
	 */
	for (i = 0; i < c->nr; i++) {
		struct hmm_change *s = &c->slot[i];

		if (s->told && s->start == start && s->end == end &&
		    (!oldest || s->gen < oldest->gen))
			oldest = s;
	}
	if (oldest)
		*oldest = c->slot[--c->nr];
	else if (c->unlisted)
		c->unlisted--;
}

static bool is_everything(const struct hmm_change *change)
{
	return change->start == 0 && change->end == ~0ul;
}

/*
 * Take out one that touches the new one, and let that grow over it.  Only what
 * the same barrier closes: an older one would be kept open by each newer
 * neighbour.  A change of everything takes all.
 */
static bool absorb(struct hmm_changes *c, struct hmm_change *new)
{
	unsigned int i;

	for (i = 0; i < c->nr; i++) {
		struct hmm_change *s = &c->slot[i];

		if (s->told || new->start > s->end || s->start > new->end ||
		    (s->gen != new->gen && !is_everything(new)))
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
	if (c->nr >= HMM_CHANGES) {
		new.start = 0;
		new.end = ~0ul;
		new.owner = 0;
		while (absorb(c, &new))
			;
	}
	c->slot[c->nr++] = new;
}

bool hmm_changes_close_owner(struct hmm_changes *c, uint64_t owner)
{
	unsigned int i = 0, nr = c->nr;

	while (i < c->nr) {
		if (c->slot[i].owner == owner && !c->slot[i].told)
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
		if (!c->slot[i].told)
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

bool hmm_changes_told(const struct hmm_changes *c)
{
	unsigned int i;

	for (i = 0; i < c->nr; i++)
		if (c->slot[i].told)
			return true;
	return c->unlisted;
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
