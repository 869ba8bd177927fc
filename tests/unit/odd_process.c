// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * odd_process.c - processes that are not as most are, and calls that come late
 *
 * check: kvm uffd no-tsan (functions of the C library are replaced)
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "attached.h"

static void assert_mirrors(struct mm_struct *of)
{
	char *p = map_touched(2);
	struct hmm_range range;
	uint64_t pfns[2] = { 0 };

	range_start(&range, of, p, 2, pfns, DEV_VALID);
	assert_int_equal(range_snapshot(&range, of), 2);
	assert_true(pfns[0] & DEV_VALID);
	assert_int_equal(range_fault_until_valid(&range, of), 2);
	munmap(p, 2 * PAGE);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
}

static int attach_again(void)
{
	assert_int_equal(hmm_mm_detach(mm), 0);
	mm = NULL;
	return hmm_mm_attach(&mm, NULL);
}

/* A daemon that has closed them may still write to them. */
static void no_standard_files(void **state)
{
	int kept[3], taken = 0, i, ret;

	(void)state;
	fflush(stdout);
	for (i = 0; i < 3; i++) {
		kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		close(i);
	}
	ret = attach_again();
	for (i = 0; i < 3; i++) {
		taken += fcntl(i, F_GETFD) >= 0;
		if (kept[i] >= 0)
			dup2(kept[i], i);
		close(kept[i]);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(taken, 0);
	assert_mirrors(mm);
}

/* madvise() refuses to discard what is locked. */
static void locked_memory(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("skip: needs root, for RLIMIT_MEMLOCK\n");
		skip();
	}
	assert_int_equal(mlockall(MCL_FUTURE), 0);
	assert_int_equal(attach_again(), 0);
	munlockall();
	assert_mirrors(mm);
}

static pthread_barrier_t barrier;

static void *attach_with_own_files(void *arg)
{
	struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.private_files = true,
	};
	struct mm_struct **own = arg;

	if (close_range(100, ~0u, CLOSE_RANGE_UNSHARE) ||
	    hmm_mm_attach(own, &opts))
		*own = NULL;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	if (*own)
		hmm_mm_detach(*own);
	return NULL;
}

/* What its numbers mean is known to a thread with the same files only. */
static void own_files(void **state)
{
	struct mm_struct *own = NULL;
	pthread_t thread;

	(void)state;
	assert_int_equal(hmm_mm_detach(mm), 0);
	mm = NULL;
	pthread_barrier_init(&barrier, NULL, 2);
	assert_int_equal(
		pthread_create(&thread, NULL, attach_with_own_files, &own), 0);
	pthread_barrier_wait(&barrier);
	assert_non_null(own);
	assert_int_equal(hmm_mm_attach(&mm, NULL), 0);
	assert_ptr_not_equal(mm, own);
	assert_mirrors(mm);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	assert_mirrors(mm);
}

/* The lock was taken when the mm was not attached, and dropped when it was. */
static void late_lock(void **state)
{
	struct mm_struct *late = mm;

	(void)state;
	assert_int_equal(hmm_mm_detach(mm), 0);
	mmap_read_lock(late);
	assert_int_equal(hmm_mm_attach(&mm, NULL), 0);
	assert_ptr_equal(mm, late);
	mmap_read_unlock(late);
	mmap_write_lock(mm);
	mmap_write_unlock(mm);
	assert_mirrors(mm);
}

/* ---- While somebody else detaches --------------------------------------- */

static void (*when_unlocked)(void), (*when_shut_down)(void);

static void call_once(void (**fn)(void))
{
	void (*now)(void) = *fn;

	*fn = NULL;
	if (now)
		now();
}

/* In place of the C library's: the last detach has let go of the mmap lock. */
int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
	static int (*real)(pthread_rwlock_t * lock);
	int ret;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_rwlock_unlock");
	ret = real(lock);
	call_once(&when_unlocked);
	return ret;
}

/* ... and: what uffd watches is about to be let go. */
int shutdown(int fd, int how)
{
	static int (*real)(int fd, int how);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "shutdown");
	call_once(&when_shut_down);
	return real(fd, how);
}

static struct hmm_range late_range;
static long late_result;

static void *late_fault(void *arg)
{
	(void)arg;
	mmap_read_lock(mm);
	late_result = hmm_range_fault(&late_range, false);
	if (late_result != -EAGAIN)
		mmap_read_unlock(mm);
	return NULL;
}

static void fault_late(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, late_fault, NULL);
	pthread_join(thread, NULL);
}

/* A range that outlives the last detach does not bring threads to life. */
static void late_call(void **state)
{
	char *p = map_touched(1);
	uint64_t pfn;

	(void)state;
	range_start(&late_range, mm, p, 1, &pfn, DEV_VALID);
	when_unlocked = fault_late;
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_null(when_unlocked);
	assert_int_equal(late_result, -EFAULT);
	hmm_range_unregister(&late_range);
	munmap(p, PAGE);
	mm = NULL;
}

static char *watched;
static pthread_t next_thread;
static pid_t next_tid;
static bool next_done;
static long next_result;

static void *attach_next(void *arg)
{
	struct mm_struct *next = NULL;
	struct hmm_range range;
	uint64_t pfn;

	(void)arg;
	__atomic_store_n(&next_tid, gettid(), __ATOMIC_RELEASE);
	next_result = hmm_mm_attach(&next, NULL);
	if (!next_result) {
		range_init(&range, &pfn);
		range.default_flags = DEV_VALID;
		hmm_range_register(&range, next, (unsigned long)watched,
				   (unsigned long)watched + PAGE);
		next_result = range_get(&range, next, true);
		hmm_range_unregister(&range);
		hmm_mm_detach(next);
	}
	__atomic_store_n(&next_done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_asleep(pid_t tid)
{
	char path[64], state = '\0';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '\0';
	fclose(f);
	return state == 'S';
}

/* Until it is done, or seems to wait for us: to be wrong hides a failure. */
static void let_next_attach(void)
{
	int asleep = 0;

	pthread_create(&next_thread, NULL, attach_next, NULL);
	while (!__atomic_load_n(&next_tid, __ATOMIC_ACQUIRE))
		usleep(1000);
	while (!__atomic_load_n(&next_done, __ATOMIC_ACQUIRE) && asleep < 50) {
		asleep = is_asleep(next_tid) ? asleep + 1 : 0;
		usleep(1000);
	}
}

/* uffd: one vma has one userfaultfd, and this one's is not gone yet. */
static void attach_while_detaching(void **state)
{
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	if (!source_is(mm, "uffd")) {
		print_message("skip: this source lets others watch, too\n");
		skip();
	}
	watched = map_touched(1);
	range_start(&range, mm, watched, 1, &pfn, DEV_VALID);
	assert_int_equal(range_fault(&range, mm), 1);
	hmm_range_unregister(&range);
	when_shut_down = let_next_attach;
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_null(when_shut_down);
	pthread_join(next_thread, NULL);
	assert_int_equal(next_result, 1);
	munmap(watched, PAGE);
	mm = NULL;
}

#define ODD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ODD(no_standard_files), ODD(locked_memory),
		ODD(own_files),         ODD(late_lock),
		ODD(late_call),         ODD(attach_while_detaching),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
