// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dmirror_churn.c - the software device while everything changes
 *
 * What it does may then fail with an error, or see the memory from before or
 * after a change.  It must not crash, hang, see anything else, or hold a
 * translation that outlived its page.
 */
#include "churn.h"

#include "attached.h"

static void under_changes(void **state)
{
	const struct dmirror_opts opts = { .engines = 2,
					   .verify = true,
					   .settle = churn_settle };
	struct dmirror *dm = device(mm, &opts);
	unsigned int seed = 7, i, good = 0;
	struct dmirror_stats stats;
	struct churn churn;
	int ret;

	(void)state;
	churn_start(&churn, mm);
	for (i = 0; i < 2000 || !churned(&churn, 500); i++) {
		ret = random_op(dm, churn.p, &seed);
		assert_true(tolerable(ret));
		good += !ret;
		if (i % 16 == 0)
			assert_not_stale(dm);
	}
	churn_stop(&churn);
	assert_not_stale(dm);
	stats = stats_of(dm);
	print_message("%u of %u good; verified %lu, suspects %lu, "
		      "undecided %lu, refused %lu\n",
		      good, i, stats.verified, stats.suspects, stats.undecided,
		      stats.refused);
	assert_true(good > 0);
	assert_true(stats.verified > 0);
	assert_int_equal(stats.undecided, 0);
	assert_int_equal(stats.refused, 0);
	assert_int_equal(device_destroy(dm), 0);
}

/* ---- Between a fault and its installation --------------------------------- */

struct reader {
	struct dmirror *dm;
	char *p;
	bool *stop;
	pthread_t thread;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	char buf[16 * PAGE];

	while (!__atomic_load_n(reader->stop, __ATOMIC_RELAXED))
		if (dev_read(reader->dm, reader->p, buf, sizeof(buf)))
			break;
	return NULL;
}

static void *discard_main(void *arg)
{
	struct reader *reader = arg;

	while (!__atomic_load_n(reader->stop, __ATOMIC_RELAXED)) {
		madvise(reader->p, 16 * PAGE, MADV_DONTNEED);
		memset(reader->p, 1, 16 * PAGE);
		usleep(200);
	}
	return NULL;
}

/*
 * What has changed since it was read must not be installed.  The change has to
 * be told in that very moment, so this needs some tries: without the driver's
 * hmm_range_valid(), a few seconds find several stale translations.
 */
static void what_changed_is_not_installed(void **state)
{
	const struct dmirror_opts opts = { .engines = 3, .window_pages = 1 };
	struct dmirror *dm = device(mm, &opts);
	struct reader reader[4];
	bool stop = false;
	char *p = map_touched(16);
	int i, looks = 0;

	(void)state;
	for (i = 0; i < 4; i++) {
		reader[i] = (struct reader){ .dm = dm, .p = p, .stop = &stop };
		assert_int_equal(pthread_create(&reader[i].thread, NULL,
						i ? reader_main : discard_main,
						&reader[i]),
				 0);
	}
	while (stats_of(dm).retries_valid < 500 && looks++ < 10000) {
		assert_not_stale(dm);
		usleep(300);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 4; i++)
		pthread_join(reader[i].thread, NULL);
	print_message("%lu changed in between\n", stats_of(dm).retries_valid);
	assert_not_stale(dm);
	assert_int_equal(device_destroy(dm), 0);
	munmap(p, 16 * PAGE);
}

/* After a change nothing of before is left, once the mirrors were told. */
static void nothing_is_left(void **state)
{
	struct dmirror *dm = device(mm, NULL);
	char *p = map_place(), buf[64];
	unsigned int i;

	(void)state;
	for (i = 1; i < 100; i++) {
		/* Again, if some of it is gone already: it was moved. */
		do
			assert_int_equal(dev_fill(dm, p, (uint8_t)i, LEN), 0);
		while (stats_of(dm).mapped_bytes < LEN);
		munmap(p, LEN);
		settle(mm);
		assert_int_equal(stats_of(dm).mapped_bytes, 0);
		assert_int_equal(dev_read(dm, p, buf, 1), -EFAULT);
		fresh(p);
		memset(p, (int)i + 1, LEN);
		assert_int_equal(dev_read(dm, p + LEN - 64, buf, 64), 0);
		assert_memory_equal(p, buf, 64);
	}
	assert_true(stats_of(dm).invalidated_pages >= 99 * PAGES);
	assert_not_stale(dm);
	assert_int_equal(device_destroy(dm), 0);
	munmap(p, 2 * LEN);
}

static void two_devices(void **state)
{
	struct dmirror_opts opts = { .verify = true, .settle = churn_settle };
	struct dmirror *a = device(mm, &opts), *b = device(mm, &opts);
	unsigned int seed = 3, i;
	struct churn churn;

	(void)state;
	churn_start(&churn, mm);
	for (i = 0; i < 500 || !churned(&churn, 100); i++) {
		assert_true(tolerable(random_op(a, churn.p, &seed)));
		assert_true(tolerable(random_op(b, churn.p, &seed)));
	}
	assert_not_stale(a);
	/* One goes, and the other one does not mind. */
	assert_int_equal(device_destroy(a), 0);
	for (i = 0; i < 100; i++)
		assert_true(tolerable(random_op(b, churn.p, &seed)));
	churn_stop(&churn);
	assert_not_stale(b);
	assert_int_equal(device_destroy(b), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(under_changes),
		test(what_changed_is_not_installed),
		test(nothing_is_left),
		test(two_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
