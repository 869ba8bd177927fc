// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mapped_later.c - memory that is mapped where a range already is
 *
 * A source that has to be told what to watch was told of what was there when
 * the range was registered.  What comes later is as good.
 */
#include "support.h"

static struct mm_struct *mm;

static int setup(void **state)
{
	(void)state;
	watchdog(50);
	mm = attach();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return hmm_mm_detach(mm);
}

/* A valid range over memory that goes is not valid any more. */
static void assert_watched(struct hmm_range *range, char *p)
{
	assert_int_equal(range_fault_until_valid(range, mm), 4);
	assert_int_equal(munmap(p, 4 * PAGE), 0);
	assert_false(hmm_range_valid(range));
}

static char *map_again(char *p)
{
	assert_ptr_equal(mmap(p, 4 * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 p);
	return p;
}

static void test_in_a_hole(void **state)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];

	(void)state;
	munmap(p, 4 * PAGE);
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_watched(&range, map_again(p));
	assert_watched(&range, map_again(p));
	hmm_range_unregister(&range);
}

static void test_in_place(void **state)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];
	int i;

	(void)state;
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	for (i = 0; i < 3; i++) {
		assert_int_equal(range_fault(&range, mm), 4);
		map_again(p);
		assert_false(hmm_range_valid(&range));
	}
	assert_watched(&range, p);
	hmm_range_unregister(&range);
}

static void test_moved_there(void **state)
{
	char *p = map_touched(4), *q = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];

	(void)state;
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 4);
	assert_ptr_equal(mremap(q, 4 * PAGE, 4 * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, p),
			 p);
	assert_false(hmm_range_valid(&range));
	assert_watched(&range, p);
	hmm_range_unregister(&range);
}

static void test_part_of_it(void **state)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];

	(void)state;
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 4);
	munmap(p + PAGE, PAGE);
	assert_ptr_equal(mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 p + PAGE);
	assert_int_equal(range_fault_until_valid(&range, mm), 4);
	munmap(p + PAGE, PAGE);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	munmap(p, 4 * PAGE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_in_a_hole),
		TEST(test_in_place),
		TEST(test_moved_there),
		TEST(test_part_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
