// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * blocks.c - the entries of a long range are those of its pages one by one
 *
 * Entries that are alike are gone through several at a time; here they are
 * alike for runs of all lengths, or not.
 */
#include "attached.h"

#define PAGES 700
#define SEEDS 20

static unsigned int next(unsigned int *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 16;
}

/* Runs of pages that are written, only read (the zero page), or absent. */
static void scribble(char *p, unsigned int *seed)
{
	unsigned int i = 0, run, what;

	while (i < PAGES) {
		run = 1 + next(seed) % 80;
		what = next(seed) % 3;
		for (; run && i < PAGES; run--, i++) {
			volatile char *page = p + i * PAGE;

			if (what == 0)
				*page = 1;
			else if (what == 1)
				(void)*page;
		}
	}
}

static uint64_t entry_of(char *p)
{
	struct hmm_range range;
	uint64_t pfn;

	range_start(&range, mm, p, 1, &pfn, 0);
	assert_int_equal(range_snapshot(&range, mm), 1);
	hmm_range_unregister(&range);
	return pfn;
}

/* The first entry that differs, or n. */
static unsigned int compare(struct hmm_range *range, unsigned int n)
{
	unsigned int i;

	assert_int_equal(range_snapshot(range, mm), n);
	for (i = 0; i < n; i++)
		if (range->pfns[i] != entry_of((char *)range->start + i * PAGE))
			break;
	return i;
}

static void long_and_short_agree(void **state)
{
	static uint64_t pfns[PAGES];
	unsigned int seed, s, i, first, n, tries;
	struct hmm_range range;
	char *p;

	(void)state;
	for (seed = 1; seed <= SEEDS; seed++) {
		s = seed;
		p = map_pages(PAGES, PROT_READ | PROT_WRITE);
		madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
		scribble(p, &s);
		/* A page may move meanwhile, or somebody begin to swap. */
		for (tries = 0; tries < 10; tries++) {
			/* Where blocks begin depends on it. */
			first = next(&s) % 40;
			n = PAGES - first - next(&s) % 40;
			range_start(&range, mm, p + first * PAGE, n, pfns, 0);
			i = compare(&range, n);
			hmm_range_unregister(&range);
			if (i == n)
				break;
		}
		if (i < n)
			fail_msg("seed %u: entry %u is %#lx", seed, i,
				 (unsigned long)pfns[i]);
		munmap(p, PAGES * PAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(long_and_short_agree, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
