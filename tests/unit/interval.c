// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * interval.c - the interval tree finds what a list finds, whatever is added and
 * removed
 *
 * check: once
 */
#include "support.h"

#include "interval.h"

#define NODES 300
#define STEPS 20000
#define SPACE 1000

static struct hmm_interval node[NODES];
static bool inside[NODES];
static struct hmm_interval_tree tree;
static unsigned int seed = 1;

static unsigned int next(unsigned int n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

static void find_the_same(unsigned long start, unsigned long end)
{
	static bool found[NODES];
	struct hmm_interval *n;
	unsigned long last = 0;
	unsigned int i;

	memset(found, 0, sizeof(found));
	for (n = hmm_interval_first(&tree, start, end); n;
	     n = hmm_interval_next(n, start, end)) {
		assert_true(n->start >= last);
		last = n->start;
		assert_false(found[n - node]);
		found[n - node] = true;
	}
	for (i = 0; i < NODES; i++)
		assert_int_equal(found[i],
				 inside[i] &&
					 hmm_overlap(node[i].start, node[i].end,
						     start, end));
}

static unsigned long true_last(const struct hmm_interval *n)
{
	unsigned long last, below;

	if (!n)
		return 0;
	last = n->end;
	below = true_last(n->left);
	if (below > last)
		last = below;
	below = true_last(n->right);
	if (below > last)
		last = below;
	/* One that is too high would find the same, only slower. */
	assert_int_equal(n->last_end, last);
	return last;
}

static void finds_what_a_list_finds(void **state)
{
	unsigned int step, i;
	unsigned long start;

	(void)state;
	for (step = 0; step < STEPS; step++) {
		i = next(NODES);
		if (inside[i]) {
			hmm_interval_remove(&tree, &node[i]);
		} else {
			node[i].start = next(SPACE);
			/* Most are short, some span many. */
			node[i].end =
				node[i].start + 1 + next(next(8) ? 4 : SPACE);
			hmm_interval_insert(&tree, &node[i]);
		}
		inside[i] = !inside[i];
		start = next(SPACE);
		find_the_same(start, start + 1 + next(next(2) ? 4 : SPACE));
		if (step % 16 == 0)
			true_last(tree.root);
	}
}

static unsigned int depth(const struct hmm_interval *n)
{
	unsigned int left, right;

	if (!n)
		return 0;
	left = depth(n->left);
	right = depth(n->right);
	return 1 + (left > right ? left : right);
}

/* Added in order, as ranges often are; each lookup costs the depth. */
static void is_no_list(void **state)
{
	struct hmm_interval_tree sorted = { 0 };
	static struct hmm_interval many[1 << 14];
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(many) / sizeof(*many); i++) {
		many[i].start = i;
		many[i].end = i + 1;
		hmm_interval_insert(&sorted, &many[i]);
	}
	/* 14 at least; by chance, and so as good as never, twice 32. */
	assert_true(depth(sorted.root) < 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_a_list_finds),
		cmocka_unit_test(is_no_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
