// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fork.c - the child's mm is dead for the library, the parent's unharmed
 *
 * check: no-tsan no-asan (they do not support threads that are started after a
 * fork beside other threads: a lock of the allocator may be copied locked)
 */
#include <sched.h>
#include <sys/syscall.h>

#include "attached.h"

/* In a child, where cmocka's assertions would be another test's. */
#define CHECK(cond)                                                     \
	do {                                                            \
		if (!(cond)) {                                          \
			fprintf(stderr, "child: %s:%d: %s\n", __FILE__, \
				__LINE__, #cond);                       \
			_exit(1);                                       \
		}                                                       \
	} while (0)

static void assert_child(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int quiet(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

static const struct hmm_mirror_ops quiet_ops = {
	.sync_cpu_device_pagetables = quiet,
};

static void attach_in_child(char *p)
{
	struct mm_struct *own = NULL;
	struct hmm_range range;
	uint64_t pfn;
	long ret;

	CHECK(hmm_mm_attach(&own, NULL) == 0);
	range_init(&range, &pfn);
	range.default_flags = DEV_VALID;
	CHECK(hmm_range_register(&range, own, (unsigned long)p,
				 (unsigned long)p + PAGE) == 0);
	ret = range_fault_until_valid(&range, own);
	CHECK(ret == 1);
	madvise(p, PAGE, MADV_DONTNEED);
	CHECK(!hmm_range_valid(&range));
	CHECK(range_get(&range, own, true) == 1);
	hmm_range_unregister(&range);
	CHECK(hmm_mm_detach(own) == 0);
}

static void child_is_dead_and_can_attach(void **state)
{
	struct hmm_mirror mirror = { .ops = &quiet_ops };
	char *p = map_touched(1);
	struct hmm_range range;
	uint64_t pfn;
	pid_t pid;
	int i;

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	for (i = 0; i < 5; i++) {
		assert_int_equal(range_fault(&range, mm), 1);
		pid = fork();
		if (!pid) {
			struct hmm_range other;

			watchdog(20);
			CHECK(!hmm_range_valid(&range));
			CHECK(!range_wait(&range));
			mmap_read_lock(mm);
			CHECK(hmm_range_snapshot(&range) == -EFAULT);
			CHECK(hmm_range_fault(&range, false) == -EFAULT);
			mmap_read_unlock(mm);
			range_init(&other, &pfn);
			CHECK(hmm_range_register(&other, mm, range.start,
						 range.end) == -EFAULT);
			attach_in_child(p);
			hmm_range_unregister(&range);
			CHECK(hmm_mirror_unregister(&mirror) == 0);
			CHECK(hmm_mm_detach(mm) == 0);
			attach_in_child(p);
			_exit(0);
		}
		/* What the child does is no change of ours. */
		assert_child(pid);
		assert_int_equal(range_fault_until_valid(&range, mm), 1);
	}
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	munmap(p, PAGE);
}

static bool held, hold;

static int hold_inside(struct hmm_mirror *mirror,
		       const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	__atomic_store_n(&held, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&hold, __ATOMIC_ACQUIRE))
		usleep(100);
	return 0;
}

static void *unregister(void *arg)
{
	assert_int_equal(mirror_unregister(arg), 0);
	return NULL;
}

/* A thread that is not there does not finish what it has begun. */
static void child_of_one_that_unregisters(void **state)
{
	static const struct hmm_mirror_ops hold_ops = {
		.sync_cpu_device_pagetables = hold_inside,
	};
	struct hmm_mirror mirror = { .ops = &hold_ops };
	char *p = map_touched(1);
	struct hmm_range range;
	pthread_t thread;
	uint64_t pfn;
	pid_t pid;

	(void)state;
	hold = true;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 1);
	munmap(p, PAGE);
	while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
		usleep(100);
	pthread_create(&thread, NULL, unregister, &mirror);
	while (!__atomic_load_n(&mirror.leaving, __ATOMIC_RELAXED))
		usleep(100);
	pid = fork();
	if (!pid) {
		CHECK(hmm_mirror_unregister(&mirror) == 0);
		_exit(0);
	}
	assert_child(pid);
	__atomic_store_n(&hold, false, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	hmm_range_unregister(&range);
}

static void use_after_raw_clone(struct hmm_range *range, char *p)
{
	struct vm_area_struct vma;
	struct hmm_range other;
	uint64_t pfn;

	/* Of many tries, each has to end. */
	alarm(10 * slowness());
	CHECK(hmm_find_vma(mm, 0, &vma) == -EFAULT);
	range_init(&other, &pfn);
	CHECK(hmm_range_register(&other, mm, range->start, range->end) ==
	      -EFAULT);
	/* QEMU may not live through code patched in use. */
	if (!is_slow())
		attach_in_child(p);
	mmap_read_lock(mm);
	CHECK(hmm_range_snapshot(range) == -EFAULT);
	mmap_read_unlock(mm);
	CHECK(!range_wait(range));
	hmm_range_unregister(range);
	CHECK(hmm_mm_detach(mm) == 0);
	_exit(0);
}

/*
 * A fork that pthread_atfork() handlers don't see.  Nobody takes the locks for
 * it either: if the watcher just has one, the child waits for it in vain.
 */
static void raw_clone_child_is_dead(void **state)
{
	int status = 0, tries = 20;
	char *p = map_touched(1);
	struct hmm_range range;
	uint64_t pfn;
	pid_t pid;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 1);
	do {
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (!pid)
			use_after_raw_clone(&range, p);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	} while (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && --tries);
	assert_int_equal(status, 0);
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

static char of_first[PAGE] __attribute__((aligned(4096)));

static bool first_is_gone(void)
{
	char state = '\0';
	FILE *stat = fopen("/proc/self/stat", "r");

	CHECK(stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
	fclose(stat);
	return state == 'Z';
}

static void *attach_without_first(void *arg)
{
	(void)arg;
	while (!first_is_gone())
		usleep(1000);
	attach_in_child(of_first);
	_exit(0);
}

/* What /proc/self says is about the first thread, which may have ended. */
static void first_thread_may_be_gone(void **state)
{
	pthread_t thread;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		alarm(60 * slowness());
		CHECK(!pthread_create(&thread, NULL, attach_without_first,
				      NULL));
		pthread_exit(NULL);
	}
	assert_child(pid);
}

/* fork() write-protects private memory: the parent's copy is not writable. */
static void fork_invalidates_the_parent(void **state)
{
	char *p = map_touched(1);
	struct hmm_range range;
	uint64_t pfn;
	pid_t pid;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID | DEV_WRITE);
	assert_int_equal(range_fault(&range, mm), 1);
	assert_true(pfn & DEV_WRITE);
	pid = fork();
	if (!pid)
		_exit(0);
	if (source_is(mm, "uffd"))
		print_message("[  NOTE  ] uffd does not see fork's write "
			      "protection\n");
	else
		assert_false(hmm_range_valid(&range));
	assert_child(pid);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

static bool running;

static void *loop_thread(void *arg)
{
	char *p = map_touched(2);
	uint64_t pfns[2];

	(void)arg;
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
		struct hmm_range range;

		range_init(&range, pfns);
		range.default_flags = DEV_VALID;
		if (hmm_range_register(&range, mm, (unsigned long)p,
				       (unsigned long)p + 2 * PAGE))
			break;
		range_get(&range, mm, true);
		hmm_range_valid(&range);
		hmm_range_unregister(&range);
		madvise(p, 2 * PAGE, MADV_DONTNEED);
	}
	munmap(p, 2 * PAGE);
	return NULL;
}

/* Forking while other threads hold every lock that there is. */
static void fork_storm(void **state)
{
	char *p = map_touched(1);
	pthread_t thread[3];
	pid_t pid;
	int i;

	(void)state;
	running = true;
	for (i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, loop_thread, NULL);
	for (i = 0; i < (is_slow() ? 5 : 50); i++) {
		pid = fork();
		if (!pid) {
			struct hmm_range range;
			uint64_t pfn;

			watchdog(20);
			range_init(&range, &pfn);
			CHECK(hmm_range_register(&range, mm, (unsigned long)p,
						 (unsigned long)p + PAGE) ==
			      -EFAULT);
			/* QEMU may not live through code patched in use. */
			if (i % 10 == 0 && !is_slow())
				attach_in_child(p);
			_exit(0);
		}
		assert_child(pid);
	}
	__atomic_store_n(&running, false, __ATOMIC_RELEASE);
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	munmap(p, PAGE);
}

/* A driver takes its lock before each fork, and asks under it elsewhere. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void take_lock(void)
{
	pthread_mutex_lock(&lock);
}

static void let_go(void)
{
	pthread_mutex_unlock(&lock);
}

static void *ask_under_lock(void *arg)
{
	char *p = map_touched(1);
	struct hmm_range range;
	uint64_t pfn;

	(void)arg;
	range_init(&range, &pfn);
	if (hmm_range_register(&range, mm, (unsigned long)p,
			       (unsigned long)p + PAGE))
		return NULL;
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
		range_get(&range, mm, true);
		madvise(p, PAGE, MADV_DONTNEED);
		take_lock();
		hmm_range_valid(&range);
		hmm_range_unregister(&range);
		let_go();
		if (hmm_range_register(&range, mm, (unsigned long)p,
				       (unsigned long)p + PAGE))
			break;
	}
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	return NULL;
}

static void drivers_lock_is_outside(void **state)
{
	pthread_t thread[2];
	pid_t pid;
	int i;

	(void)state;
	running = true;
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, ask_under_lock, NULL);
	for (i = 0; i < (is_slow() ? 20 : 300); i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		assert_child(pid);
	}
	__atomic_store_n(&running, false, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

#define FORK(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FORK(child_is_dead_and_can_attach),
		FORK(child_of_one_that_unregisters),
		FORK(raw_clone_child_is_dead),
		FORK(first_thread_may_be_gone),
		FORK(fork_invalidates_the_parent),
		FORK(fork_storm),
		FORK(drivers_lock_is_outside),
	};

	/* As a driver does that is there before it attaches. */
	pthread_atfork(take_lock, let_go, let_go);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
