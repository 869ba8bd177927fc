// SPDX-License-Identifier: MIT OR GPL-2.0
/* told.c - hmm_mm_info.told gets on, also when changes never stop */
#include "support.h"

/* More than the library leaves for its watcher at a time. */
#define CALLBACKS 4096

static bool stop;
static unsigned long callbacks;

/* Slower than changes are made. */
static int slow(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	usleep(100);
	__atomic_fetch_add(&callbacks, 1, __ATOMIC_RELAXED);
	return 0;
}

static const struct hmm_mirror_ops ops = { .sync_cpu_device_pagetables = slow };

/* Others than the watcher take records, too: those who ask about a range. */
static void *change(void *arg)
{
	struct hmm_range *range = arg;
	char *p = (char *)range->start;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		madvise(p, PAGE, MADV_DONTNEED);
		*p = 1;
		range_wait(range);
	}
	return NULL;
}

static uint64_t told_of(struct mm_struct *mm, uint64_t *started)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	*started = info.started;
	return info.told;
}

static void told_gets_on(void **state)
{
	struct hmm_mirror mirror = { .ops = &ops };
	uint64_t pfns[1], started, goal;
	struct hmm_range range;
	struct mm_struct *mm;
	unsigned long from, now;
	pthread_t thread;
	char *p;

	(void)state;
	watchdog(60);
	mm = attach();
	p = map_touched(1);
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 1, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), 1);
	assert_int_equal(pthread_create(&thread, NULL, change, &range), 0);

	while (__atomic_load_n(&callbacks, __ATOMIC_RELAXED) < 100)
		usleep(1000);
	/* In this order each time: what takes long here must not count. */
	told_of(mm, &goal);
	from = now = __atomic_load_n(&callbacks, __ATOMIC_SEQ_CST);
	while (told_of(mm, &started) < goal) {
		assert_true(now - from < CALLBACKS);
		usleep(1000);
		now = __atomic_load_n(&callbacks, __ATOMIC_SEQ_CST);
	}
	print_message("%lu callbacks for %lu changes\n",
		      __atomic_load_n(&callbacks, __ATOMIC_RELAXED) - from,
		      started - goal);

	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&mirror), 0);
	munmap(p, PAGE);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_gets_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
