// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * timeout.c - how long a range is waited for
 */
#include <limits.h>

#include "mm.h"

#include "attached.h"
#include "in_progress.h"

static char *p;

static void *end_soon(void *arg)
{
	(void)arg;
	usleep(20000);
	end_change((unsigned long)p, (unsigned long)p + PAGE);
	return NULL;
}

/* As long as it takes: no time is too long to be added to what it is now. */
static void for_ever(void **state)
{
	struct hmm_range range;
	pthread_t thread;
	uint64_t pfn;

	(void)state;
	p = map_touched(1);
	range_start(&range, mm, p, 1, &pfn, 0);
	start_change(range.start, range.end);
	assert_int_equal(pthread_create(&thread, NULL, end_soon, NULL), 0);
	assert_true(hmm_range_wait_until_valid(&range, ULONG_MAX));
	pthread_join(thread, NULL);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

/* Not at all: what is, is. */
static void no_time(void **state)
{
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	p = map_touched(1);
	range_start(&range, mm, p, 1, &pfn, 0);
	start_change(range.start, range.end);
	assert_false(hmm_range_wait_until_valid(&range, 0));
	end_change(range.start, range.end);
	/* Should the system just be moving the page, there is another one. */
	while (!hmm_range_wait_until_valid(&range, 0))
		usleep(1000);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(for_ever),
		TEST(no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
