// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * valid_shared.c - hmm_range_valid() of one range, by several threads at a time
 *
 * As in a cache whose L is shared by those who look up.  Each of them may be the
 * one that takes the record of a change.
 */
#include "support.h"

#define READERS 4
#define ROUNDS 100
#define ELSEWHERE 8

/* L.  By default readers who come and go keep out who wants to write. */
static pthread_rwlock_t lock =
	PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static bool listed; /* under it: the range may be found */

static struct hmm_range range;
static bool changed; /* since it was armed: must not be valid */
static bool stop;
static unsigned long asked, valid;  /* before it is changed */
static unsigned long looked, stale; /* and then */

static int sync_nothing(struct hmm_mirror *mirror,
			const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	pthread_rwlock_wrlock(&lock);
	pthread_rwlock_unlock(&lock);
	return 0;
}

static const struct hmm_mirror_ops ops = {
	.sync_cpu_device_pagetables = sync_nothing,
};

static void add(unsigned long *count)
{
	__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

static void *look_up(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pthread_rwlock_rdlock(&lock);
		if (!listed) {
			/* Asleep, it delays nobody's barrier. */
			usleep(100);
		} else if (!__atomic_load_n(&changed, __ATOMIC_ACQUIRE)) {
			if (hmm_range_valid(&range))
				add(&valid);
			add(&asked);
		} else {
			if (hmm_range_valid(&range))
				add(&stale);
			add(&looked);
		}
		pthread_rwlock_unlock(&lock);
	}
	return unused;
}

/* On one CPU they don't get to it by themselves. */
static void let_readers(const unsigned long *count)
{
	unsigned long before = __atomic_load_n(count, __ATOMIC_RELAXED);

	while (__atomic_load_n(count, __ATOMIC_RELAXED) - before < READERS)
		sched_yield();
}

static void list(bool on)
{
	pthread_rwlock_wrlock(&lock);
	listed = on;
	pthread_rwlock_unlock(&lock);
}

static void discard(char *p)
{
	*p = 1;
	assert_int_equal(madvise(p, PAGE, MADV_DONTNEED), 0);
}

static void valid_by_many(void **state)
{
	struct hmm_mirror mirror = { .ops = &ops };
	pthread_t readers[READERS];
	unsigned int i, round;
	struct mm_struct *mm;
	uint64_t pfns[1];
	char *p, *q;

	(void)state;
	watchdog(60);
	mm = attach();
	p = map_touched(1);
	q = map_touched(1);
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 1, pfns, 0);
	for (i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&readers[i], NULL, look_up, NULL), 0);

	for (round = 0; round < ROUNDS; round++) {
		*p = 1;
		assert_int_equal(range_snapshot(&range, mm), 1);
		__atomic_store_n(&changed, false, __ATOMIC_RELAXED);
		list(true);
		let_readers(&asked);
		for (i = 0; i < ELSEWHERE; i++)
			discard(q);
		discard(p);
		__atomic_store_n(&changed, true, __ATOMIC_RELEASE);
		let_readers(&looked);
		list(false);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	print_message("%lu valid\n", valid);
	assert_true(valid > 0);
	assert_true(stale == 0);

	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(valid_by_many) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
