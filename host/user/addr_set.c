// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * addr_set.c - a set of addresses, as intervals that don't touch each other
 */
#include <stdlib.h>

#include "addr_set.h"

static struct hmm_interval *new_node(struct addr_set *set)
{
	struct hmm_interval *node = set->spare;

	if (!node)
		return NULL;
	set->spare = node->left;
	set->spares--;
	return node;
}

static void put_node(struct addr_set *set, struct hmm_interval *node)
{
	node->left = set->spare;
	set->spare = node;
	set->spares++;
}

bool addr_set_give(struct addr_set *set, struct hmm_interval *node)
{
	if (set->spares >= ADDR_SET_SPARES)
		return false;
	put_node(set, node);
	return true;
}

static void insert(struct addr_set *set, unsigned long start, unsigned long end)
{
	struct hmm_interval *node;

	if (start >= end)
		return;
	node = new_node(set);
	if (!node)
		return;
	node->start = start;
	node->end = end;
	hmm_interval_insert(&set->tree, node);
	set->nr++;
}

static void take_out(struct addr_set *set, struct hmm_interval *node)
{
	hmm_interval_remove(&set->tree, node);
	put_node(set, node);
	set->nr--;
}

bool addr_set_contains(const struct addr_set *set, unsigned long start,
		       unsigned long end)
{
	const struct hmm_interval *node =
		hmm_interval_first(&set->tree, start, end);

	return node && node->start <= start && end <= node->end;
}

void addr_set_add(struct addr_set *set, unsigned long start, unsigned long end)
{
	struct hmm_interval *node;

	/* One byte more on either side: what touches is joined. */
	while ((node = hmm_interval_first(&set->tree, start - !!start,
					  end + !!~end))) {
		if (node->start < start)
			start = node->start;
		if (node->end > end)
			end = node->end;
		take_out(set, node);
	}
	insert(set, start, end);
}

void addr_set_remove(struct addr_set *set, unsigned long start,
		     unsigned long end)
{
	struct hmm_interval *node;

	while ((node = hmm_interval_first(&set->tree, start, end))) {
		unsigned long first = node->start, last = node->end;

		take_out(set, node);
		insert(set, first, start);
		insert(set, end, last);
	}
}

void addr_set_free(struct addr_set *set)
{
	struct hmm_interval *node;

	addr_set_remove(set, 0, ~0ul);
	while ((node = set->spare)) {
		set->spare = node->left;
		free(node);
	}
}
