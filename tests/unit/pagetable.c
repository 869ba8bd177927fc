// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * pagetable.c - the device's page table, against a flat model of it
 *
 * check: once
 */
#include "support.h"

#include "pagetable.h"

#define BASE (3 * PT_HUGE_SIZE)
#define MODEL_PAGES (8 * PT_HUGE_PAGES)
#define MARK (5 * PT_HUGE_PAGES)

static uint64_t entry_of(uint64_t pfn)
{
	return pfn << PTE_PFN_SHIFT | PTE_VALID;
}

static void fill(uint64_t *entries, uint64_t pfn, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i++)
		entries[i] = entry_of(pfn + i);
}

static void init(struct pagetable *pt, unsigned int max)
{
	assert_int_equal(pt_init(pt, max), 0);
	assert_int_equal(pt->tables, 1);
}

/* All gone: what was allocated has been freed, counts are zero again. */
static void done(struct pagetable *pt)
{
	pt_unmap(pt, 0, ~0ul);
	assert_int_equal(pt->mapped, 0);
	assert_int_equal(pt->huge, 0);
	assert_int_equal(pt->tables, 1);
	assert_int_equal(pt_next(pt, 0), PT_ADDR_END);
	pt_destroy(pt);
}

static void small_entries(void **state)
{
	uint64_t entries[4] = { entry_of(7), 0, entry_of(9) | PTE_WRITE,
				PTE_ERROR };
	const unsigned long last = PT_ADDR_END - PT_PAGE_SIZE;
	struct pagetable pt;

	(void)state;
	init(&pt, 16);
	assert_int_equal(pt_map(&pt, BASE, entries, 4), 0);
	assert_int_equal(pt_map(&pt, last, entries, 1), 0);
	assert_int_equal(pt_lookup(&pt, BASE), entries[0]);
	assert_int_equal(pt_lookup(&pt, BASE + PAGE), 0);
	assert_int_equal(pt_lookup(&pt, BASE + 2 * PAGE + 5), entries[2]);
	assert_int_equal(pt_lookup(&pt, BASE + 3 * PAGE), 0);
	assert_int_equal(pt_lookup(&pt, last), entries[0]);
	assert_int_equal(pt_lookup(&pt, PT_ADDR_END), 0);
	assert_int_equal(pt_lookup(&pt, ~0ul), 0);
	assert_int_equal(pt.mapped, 3 * PAGE);
	assert_int_equal(pt_next(&pt, 0), BASE);
	assert_int_equal(pt_next(&pt, BASE + 1), BASE);
	assert_int_equal(pt_next(&pt, BASE + PAGE), BASE + 2 * PAGE);
	assert_int_equal(pt_next(&pt, BASE + 3 * PAGE), last);
	assert_int_equal(pt_unmap(&pt, BASE, BASE + 3 * PAGE), 2);
	assert_int_equal(pt_unmap(&pt, BASE, BASE + 3 * PAGE), 0);
	assert_int_equal(pt.mapped, PAGE);
	assert_int_equal(pt.peak, 3 * PAGE);
	done(&pt);
}

/* An aligned and contiguous 2 MiB is one entry; a part of it splits it. */
static void huge_entries(void **state)
{
	static uint64_t entries[3 * PT_HUGE_PAGES];
	struct pagetable pt;
	uint64_t other;

	(void)state;
	init(&pt, 16);
	fill(entries, 4 * PT_HUGE_PAGES - 1, 3 * PT_HUGE_PAGES);
	/* Contiguous, but shifted by a page against the addresses. */
	assert_int_equal(pt_map(&pt, BASE, entries, PT_HUGE_PAGES), 0);
	assert_int_equal(pt.huge, 0);
	pt_unmap(&pt, 0, ~0ul);

	assert_int_equal(pt_map(&pt, BASE - PAGE, entries, 3 * PT_HUGE_PAGES),
			 0);
	assert_int_equal(pt.huge, 2);
	assert_int_equal(pt.mapped, 3 * PT_HUGE_SIZE);
	assert_int_equal(pt_lookup(&pt, BASE + 5 * PAGE) & ~PTE_HUGE,
			 entries[6]);

	assert_int_equal(pt_unmap(&pt, BASE + PAGE, BASE + 2 * PAGE), 1);
	assert_int_equal(pt.huge, 1);
	assert_int_equal(pt.splits, 1);
	assert_int_equal(pt_lookup(&pt, BASE), entries[1]);
	assert_int_equal(pt_lookup(&pt, BASE + PAGE), 0);
	assert_int_equal(pt_lookup(&pt, BASE + 2 * PAGE), entries[3]);

	/* One page of the other gets an entry of its own. */
	other = entry_of(1) | PTE_WRITE;
	assert_int_equal(pt_map(&pt, BASE + PT_HUGE_SIZE, &other, 1), 0);
	assert_int_equal(pt.huge, 0);
	assert_int_equal(pt_lookup(&pt, BASE + PT_HUGE_SIZE), other);
	assert_int_equal(pt_lookup(&pt, BASE + PT_HUGE_SIZE + PAGE),
			 entries[PT_HUGE_PAGES + 2]);
	assert_int_equal(pt.mapped, 3 * PT_HUGE_SIZE - PAGE);

	/* And a huge one takes the place of many small ones. */
	assert_int_equal(pt_map(&pt, BASE - PAGE, entries, 3 * PT_HUGE_PAGES),
			 0);
	assert_int_equal(pt.huge, 2);
	assert_int_equal(pt.mapped, 3 * PT_HUGE_SIZE);
	done(&pt);
}

/* A mark stays with its entry, whatever becomes of that, and no longer. */
static void marks(void **state)
{
	static uint64_t entries[PT_HUGE_PAGES];
	struct pagetable pt;

	(void)state;
	init(&pt, 16);
	fill(entries, PT_HUGE_PAGES, PT_HUGE_PAGES);
	pt_suspect(&pt, BASE, MARK);
	assert_int_equal(pt_lookup(&pt, BASE), 0);
	assert_int_equal(pt_map(&pt, BASE, entries, PT_HUGE_PAGES), 0);
	pt_suspect(&pt, BASE + 3 * PAGE, MARK);
	pt_unmap(&pt, BASE, BASE + PAGE);
	assert_int_equal(pt_lookup(&pt, BASE + 3 * PAGE),
			 entry_of(MARK + 3) | PTE_SUSPECT);
	assert_int_equal(pt_map(&pt, BASE + 3 * PAGE, &entries[3], 1), 0);
	assert_int_equal(pt_lookup(&pt, BASE + 3 * PAGE), entries[3]);
	done(&pt);
}

static void no_tables_left(void **state)
{
	static uint64_t entries[PT_HUGE_PAGES];
	struct pagetable pt;

	(void)state;
	fill(entries, PT_HUGE_PAGES, PT_HUGE_PAGES);
	init(&pt, 3); /* the root and two: enough for a huge entry */
	assert_int_equal(pt_map(&pt, BASE, entries, 1), -ENOMEM);
	assert_int_equal(pt_map(&pt, BASE, entries, PT_HUGE_PAGES), 0);
	assert_int_equal(pt.huge, 1);
	/* It can't be split, and so it has to go. */
	assert_int_equal(pt_unmap(&pt, BASE, BASE + PAGE), PT_HUGE_PAGES);
	assert_int_equal(pt.mapped, 0);
	assert_int_equal(pt.tables, 1);
	done(&pt);

	init(&pt, 4);
	assert_int_equal(pt_map(&pt, BASE, entries, 1), 0);
	assert_int_equal(pt_map(&pt, BASE + PT_HUGE_SIZE, entries, 1), -ENOMEM);
	assert_int_equal(pt_lookup(&pt, BASE), entries[0]);
	pt_unmap(&pt, BASE, BASE + PAGE);
	assert_int_equal(pt_map(&pt, BASE + PT_HUGE_SIZE, entries, 1), 0);
	done(&pt);
}

static void compare(struct pagetable *pt, const uint64_t *model)
{
	unsigned long i, mapped = 0, next = pt_next(pt, 0);

	for (i = 0; i < MODEL_PAGES; i++) {
		unsigned long addr = BASE + i * PAGE;

		assert_int_equal(pt_lookup(pt, addr) & ~PTE_HUGE, model[i]);
		if (!model[i])
			continue;
		mapped += PAGE;
		assert_int_equal(next, addr);
		next = pt_next(pt, addr + PAGE);
	}
	assert_int_equal(next, PT_ADDR_END);
	assert_int_equal(pt->mapped, mapped);
}

/* Anything in any order leaves what the model has. */
static void random_changes(void **state)
{
	static uint64_t model[MODEL_PAGES], entries[MODEL_PAGES];
	unsigned int seed = (unsigned int)getpid(), i;
	struct pagetable pt;

	(void)state;
	print_message("seed %u\n", seed);
	init(&pt, 64);
	for (i = 0; i < 3000; i++) {
		unsigned long at, n, off;
		uint64_t pfn;

		at = (unsigned long)rand_r(&seed) % MODEL_PAGES;
		n = (unsigned long)rand_r(&seed) % (MODEL_PAGES - at) + 1;
		if (rand_r(&seed) % 2)
			n = n % 16 + 1;
		if (at + n > MODEL_PAGES)
			n = MODEL_PAGES - at;
		/* Two thirds of the time, where huge entries can be made. */
		off = (unsigned long)rand_r(&seed) % 3 == 0;
		pfn = BASE / PAGE + at + off;
		if (rand_r(&seed) % 2) {
			fill(entries, pfn, n);
			assert_int_equal(
				pt_map(&pt, BASE + at * PAGE, entries, n), 0);
			memcpy(&model[at], entries, n * sizeof(*model));
		} else {
			pt_unmap(&pt, BASE + at * PAGE, BASE + (at + n) * PAGE);
			memset(&model[at], 0, n * sizeof(*model));
		}
		if (i % 16 == 0)
			compare(&pt, model);
	}
	compare(&pt, model);
	assert_true(pt.splits > 0);
	done(&pt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_entries),
		cmocka_unit_test(huge_entries),
		cmocka_unit_test(marks),
		cmocka_unit_test(no_tables_left),
		cmocka_unit_test(random_changes),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
