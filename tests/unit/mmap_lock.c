// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mmap_lock.c - who registers a mirror or detaches comes to his turn
 *
 * However many threads fault for a device, one after the other without a pause
 * in which none has the lock.
 */
#include "attached.h"

#define READERS 8
#define TIMES 10

static bool stop;

static void *read_all_the_time(void *arg)
{
	struct hmm_range range;
	uint64_t pfn;

	range_start(&range, mm, arg, 1, &pfn, DEV_VALID);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		mmap_read_lock(mm);
		hmm_range_fault(&range, true);
		usleep(100);
		mmap_read_unlock(mm);
	}
	hmm_range_unregister(&range);
	return NULL;
}

static int nothing(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

static void a_writer_among_readers(void **state)
{
	static const struct hmm_mirror_ops ops = {
		.sync_cpu_device_pagetables = nothing,
	};
	struct hmm_mirror mirror = { .ops = &ops };
	char *p = map_touched(1);
	pthread_t thread[READERS];
	int i;

	(void)state;
	for (i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL,
						read_all_the_time, p),
				 0);
	for (i = 0; i < TIMES; i++) {
		usleep(10000);
		mmap_write_lock(mm);
		assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
		mmap_write_unlock(mm);
		assert_int_equal(mirror_unregister(&mirror), 0);
	}
	assert_int_equal(hmm_mm_detach(mm), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	mm = NULL;
	munmap(p, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_writer_among_readers, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
