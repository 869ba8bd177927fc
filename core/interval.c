// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * interval.c - a set of half-open intervals that finds overlaps fast
 *
 * A treap ordered by start, where each node knows the highest end below it.
 * A node's priority is a hash of its address: no memory for a balance, no
 * random numbers, and the same depth in every host.
 */
#include "interval.h"

static unsigned long priority(const struct hmm_interval *node)
{
	uint64_t x = (uintptr_t)node;

	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return (unsigned long)(x ^ (x >> 32));
}

static void update(struct hmm_interval *node)
{
	unsigned long last = node->end;

	if (node->left && node->left->last_end > last)
		last = node->left->last_end;
	if (node->right && node->right->last_end > last)
		last = node->right->last_end;
	node->last_end = last;
}

static void replace_child(struct hmm_interval_tree *tree,
			  struct hmm_interval *parent, struct hmm_interval *old,
			  struct hmm_interval *new)
{
	if (!parent)
		tree->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

/* Lift node above its parent; both keep the order by start. */
static void rotate_up(struct hmm_interval_tree *tree, struct hmm_interval *node)
{
	struct hmm_interval *parent = node->parent;
	struct hmm_interval *moved;

	replace_child(tree, parent->parent, parent, node);
	if (parent->left == node) {
		moved = node->right;
		node->right = parent;
		parent->left = moved;
	} else {
		moved = node->left;
		node->left = parent;
		parent->right = moved;
	}
	if (moved)
		moved->parent = parent;
	parent->parent = node;
	update(parent);
	update(node);
}

void hmm_interval_insert(struct hmm_interval_tree *tree,
			 struct hmm_interval *node)
{
	struct hmm_interval **link = &tree->root, *parent = NULL;
	unsigned long prio = priority(node);

	while (*link) {
		parent = *link;
		if (parent->last_end < node->end)
			parent->last_end = node->end;
		link = node->start < parent->start ? &parent->left
						   : &parent->right;
	}
	node->parent = parent;
	node->left = NULL;
	node->right = NULL;
	node->last_end = node->end;
	*link = node;
	while (node->parent && priority(node->parent) < prio)
		rotate_up(tree, node);
}

void hmm_interval_remove(struct hmm_interval_tree *tree,
			 struct hmm_interval *node)
{
	struct hmm_interval *child, *up;

	while (node->left && node->right)
		rotate_up(tree, priority(node->left) > priority(node->right)
					? node->left
					: node->right);
	child = node->left ? node->left : node->right;
	up = node->parent;
	replace_child(tree, up, node, child);
	for (; up; up = up->parent) {
		unsigned long old = up->last_end;

		update(up);
		/* Above an unchanged maximum nothing changes either. */
		if (up->last_end == old)
			break;
	}
}

/* The leftmost overlap in the subtree of node. */
static struct hmm_interval *first_below(struct hmm_interval *node,
					unsigned long start, unsigned long end)
{
	while (node && node->last_end > start) {
		if (node->left && node->left->last_end > start) {
			/*
			 * Something on the left ends above start.  If it does
			 * not start below end either, nothing further right
			 * does: the left is the only place to look.
			 */
			node = node->left;
			continue;
		}
		if (node->start >= end)
			return NULL;
		if (node->end > start)
			return node;
		node = node->right;
	}
	return NULL;
}

struct hmm_interval *hmm_interval_first(const struct hmm_interval_tree *tree,
					unsigned long start, unsigned long end)
{
	return first_below(tree->root, start, end);
}

struct hmm_interval *hmm_interval_next(struct hmm_interval *node,
				       unsigned long start, unsigned long end)
{
	struct hmm_interval *found;

	for (;;) {
		found = first_below(node->right, start, end);
		if (found)
			return found;
		while (node->parent && node->parent->right == node)
			node = node->parent;
		node = node->parent;
		if (!node || node->start >= end)
			return NULL;
		if (node->end > start)
			return node;
	}
}
