// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fork_waits.c - fork() where changes wait for the mirrors
 *
 * fork() is a change that waits, and it is made with the library's locks held
 * (see hmm_fork_prepare()): whoever has to acknowledge it must need none of them.
 *
 * check: once
 */
#include "support.h"

static long told;

static int count(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	__atomic_fetch_add(&told, 1, __ATOMIC_RELAXED);
	return 0;
}

static const struct hmm_mirror_ops ops = {
	.sync_cpu_device_pagetables = count,
};

static struct mm_struct *mm;
static struct hmm_mirror mirror;

/* Attach so that changes wait; skips the test if they can't. */
static void begin(void)
{
	const struct hmm_attach_opts opts = { .size = sizeof(opts),
					      .wait = true };

	watchdog(60);
	mirror = (struct hmm_mirror){ .ops = &ops };
	if (hmm_mm_attach(&mm, &opts)) {
		print_message("skip: changes can't be made to wait here\n");
		skip();
	}
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
}

static void end(void)
{
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

/* Did all that had to wait do so to the end? */
static bool in_time(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return !info.late;
}

/* The mirror was told before the change that was just made. */
static bool was_told(long before)
{
	if (__atomic_load_n(&told, __ATOMIC_RELAXED) > before)
		return true;
	assert_false(in_time());
	return false;
}

/* Ranges can be used, and changes wait, as ever. */
static bool is_usable(void)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];
	long before;
	bool ret;

	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_int_equal(range_fault_until_valid(&range, mm), 4);
	before = __atomic_load_n(&told, __ATOMIC_RELAXED);
	munmap(p, 4 * PAGE);
	ret = was_told(before);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	return ret;
}

static void fork_once(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct hmm_mm_info info = { .size = sizeof(info) };

		_exit(hmm_mm_query(mm, &info) || !info.dead);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool forks_were_told(void)
{
	bool ret = true;
	long before;
	char *p;
	int i;

	begin();
	p = map_touched(16);
	for (i = 0; i < 5 && ret; i++) {
		memset(p, i, 16 * PAGE);
		before = __atomic_load_n(&told, __ATOMIC_RELAXED);
		fork_once();
		/* Before the first page was write-protected. */
		ret = was_told(before) && is_usable() && in_time();
	}
	munmap(p, 16 * PAGE);
	end();
	return ret;
}

static void nobody_waits_in_vain(void **state)
{
	(void)state;
	until_in_time(forks_were_told);
}

/* A driver takes its L before each fork, and in its callback. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool locks;

static void take_lock(void)
{
	if (locks)
		pthread_mutex_lock(&lock);
}

static void let_go(void)
{
	if (locks)
		pthread_mutex_unlock(&lock);
}

static int count_locked(struct hmm_mirror *m, const struct hmm_update *update)
{
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
	return count(m, update);
}

static bool forks_with_the_lock(void)
{
	static const struct hmm_mirror_ops locking = {
		.sync_cpu_device_pagetables = count_locked,
	};
	struct hmm_mirror other = { .ops = &locking };
	bool ret;
	int i;

	begin();
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&other, mm), 0);
	mmap_write_unlock(mm);
	locks = true;
	for (i = 0; i < 5; i++)
		fork_once();
	locks = false;
	ret = in_time();
	assert_int_equal(hmm_mirror_unregister(&other), 0);
	end();
	return ret;
}

static void drivers_lock_is_not_waited_for(void **state)
{
	(void)state;
	until_in_time(forks_with_the_lock);
}

static void *fork_often(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 10; i++)
		fork_once();
	return NULL;
}

static bool usable_afterwards(void)
{
	pthread_t thread[3];
	bool ret;
	int i;

	begin();
	for (i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, fork_often, NULL), 0);
	for (i = 0; i < 10; i++) {
		char *p = map_touched(4);
		struct hmm_range range;
		uint64_t pfns[4];

		range_start(&range, mm, p, 4, pfns, DEV_VALID);
		range_get(&range, mm, true);
		munmap(p, 4 * PAGE);
		assert_false(hmm_range_valid(&range));
		hmm_range_unregister(&range);
	}
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ret = is_usable();
	end();
	return ret;
}

static void several_threads(void **state)
{
	(void)state;
	until_in_time(usable_afterwards);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_in_vain),
		cmocka_unit_test(several_threads),
		cmocka_unit_test(drivers_lock_is_not_waited_for),
	};

	/* As a driver does that is there before it attaches. */
	pthread_atfork(take_lock, let_go, let_go);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
