// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * driver_loop.c - the driver loop that hmm.h documents, on live memory
 *
 * The loop itself is not here: driver_loop.h is made from the comment in
 * hmm.h, so that what driver authors copy is what this tests.
 */
#include "support.h"

#define PAGES 8
#define WATCHDOG 30

/* Where nobody else maps anything: holes have to stay holes. */
#define APART ((unsigned char *)0x40000000)

/* ---- A device, as small as the loop allows ------------------------------ */

#define MYDEVICE_PFN_SHIFT 8
/* Other changes come in between, too. */
#define MYDEVICE_RETRIES 100

static const uint64_t mydevice_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = 0x10,
	[HMM_PFN_WRITE] = 0x20,
	[HMM_PFN_DEVICE_PRIVATE] = 0x40,
};

static const uint64_t mydevice_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = 1,
	[HMM_PFN_NONE] = 0,
	[HMM_PFN_SPECIAL] = 2,
};

struct mydevice {
	struct hmm_mirror mirror;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* The page table: one piece of the address space is enough here. */
	unsigned long start;
	uint64_t table[PAGES];
	/* What was installed last; the callback removes from the table only. */
	uint64_t installed[PAGES];
	unsigned int installs;
	/* What another thread does just before the lock is taken. */
	void (*meanwhile)(struct mydevice *dev);
	unsigned int meanwhiles;
	unsigned char *memory;
};

static void mydevice_lock(struct mydevice *dev)
{
	if (dev->meanwhile)
		dev->meanwhile(dev);
	pthread_mutex_lock(&dev->lock);
}

static void mydevice_unlock(struct mydevice *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

static void mydevice_install(struct mydevice *dev, unsigned long start,
			     const uint64_t *pfns, long n)
{
	assert_in_range(n, 1, PAGES);
	dev->start = start;
	memcpy(dev->table, pfns, (size_t)n * sizeof(*pfns));
	memcpy(dev->installed, pfns, (size_t)n * sizeof(*pfns));
	dev->installs++;
}

int mydevice_map(struct mydevice *dev, struct mm_struct *mm,
		 unsigned long start, unsigned long end, uint64_t *pfns);

#include "driver_loop.h"

static int mydevice_sync(struct hmm_mirror *mirror,
			 const struct hmm_update *update)
{
	struct mydevice *dev = (struct mydevice *)mirror;
	unsigned long addr;
	int i;

	pthread_mutex_lock(&dev->lock);
	for (i = 0; i < PAGES; i++) {
		addr = dev->start + (unsigned long)i * PAGE;
		if (addr >= update->start && addr < update->end)
			dev->table[i] = mydevice_values[HMM_PFN_NONE];
	}
	pthread_cond_broadcast(&dev->changed);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

static const struct hmm_mirror_ops mydevice_ops = {
	.sync_cpu_device_pagetables = mydevice_sync,
};

/* ---- What each test begins and ends with -------------------------------- */

struct fixture {
	struct mm_struct *mm;
	struct mydevice dev;
	uint64_t pfns[PAGES];
	unsigned long start, end;
};

static void fixture_start(struct fixture *f)
{
	unsigned char *memory;

	*f = (struct fixture){ .dev.mirror.ops = &mydevice_ops };
	f->mm = attach();
	pthread_mutex_init(&f->dev.lock, NULL);
	pthread_cond_init(&f->dev.changed, NULL);
	memory = mmap(APART, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(memory, APART);
	f->dev.memory = memory;
	f->start = (unsigned long)memory;
	f->end = f->start + PAGES * PAGE;
	mmap_write_lock(f->mm);
	assert_int_equal(hmm_mirror_register(&f->dev.mirror, f->mm), 0);
	mmap_write_unlock(f->mm);
	watchdog(WATCHDOG);
}

static void fixture_end(struct fixture *f)
{
	assert_int_equal(mirror_unregister(&f->dev.mirror), 0);
	munmap(f->dev.memory, PAGES * PAGE);
	assert_int_equal(hmm_mm_detach(f->mm), 0);
	watchdog(0);
}

/* A change may take longer to end than the loop waits. */
static int map(struct fixture *f)
{
	int ret;

	do
		ret = mydevice_map(&f->dev, f->mm, f->start, f->end, f->pfns);
	while (ret == -ETIMEDOUT);
	return ret;
}

/*
 * What the device was given is what the page table has now.  It may be gone
 * from the device's table: the callback of an earlier change comes when it can.
 */
static void assert_current(struct fixture *f)
{
	uint64_t now[PAGES] = { 0 };
	struct hmm_range range = {
		.pfns = now,
		.flags = mydevice_flags,
		.values = mydevice_values,
		.pfn_shift = MYDEVICE_PFN_SHIFT,
	};
	long ret;
	int i;

	assert_int_equal(hmm_range_register(&range, f->mm, f->start, f->end),
			 0);
	do {
		assert_true(range_wait(&range));
		mmap_read_lock(f->mm);
		ret = hmm_range_snapshot(&range);
		mmap_read_unlock(f->mm);
	} while (ret == -EBUSY);
	assert_int_equal(ret, PAGES);
	hmm_range_unregister(&range);
	for (i = 0; i < PAGES; i++) {
		assert_true(now[i] & mydevice_flags[HMM_PFN_VALID]);
		assert_int_equal(f->dev.installed[i] >> MYDEVICE_PFN_SHIFT,
				 now[i] >> MYDEVICE_PFN_SHIFT);
	}
}

/* ---- The tests ---------------------------------------------------------- */

static void maps_memory_that_is_present(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(f.dev.memory, 1, PAGES * PAGE);
	assert_int_equal(map(&f), 0);
	assert_int_equal(f.dev.installs, 1);
	assert_int_equal(f.dev.start, f.start);
	assert_current(&f);
	fixture_end(&f);
}

static void faults_in_memory_that_is_absent(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(map(&f), 0);
	assert_int_equal(f.dev.installs, 1);
	assert_current(&f);
	fixture_end(&f);
}

static void change_twice(struct mydevice *dev)
{
	if (dev->meanwhiles++ >= 2)
		return;
	assert_int_equal(madvise(dev->memory + PAGE, PAGE, MADV_DONTNEED), 0);
}

static void tries_again_when_memory_changed(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(f.dev.memory, 1, PAGES * PAGE);
	f.dev.meanwhile = change_twice;
	assert_int_equal(map(&f), 0);
	assert_in_range(f.dev.meanwhiles, 3, MYDEVICE_RETRIES);
	assert_int_equal(f.dev.installs, 1);
	assert_current(&f);
	fixture_end(&f);
}

static void change_always(struct mydevice *dev)
{
	dev->meanwhiles++;
	assert_int_equal(madvise(dev->memory + PAGE, PAGE, MADV_DONTNEED), 0);
}

static void gives_up_when_memory_never_rests(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(f.dev.memory, 1, PAGES * PAGE);
	f.dev.meanwhile = change_always;
	assert_int_equal(map(&f), -EBUSY);
	/* A try may end before the lock, if the change is not over by then. */
	assert_in_range(f.dev.meanwhiles, 1, MYDEVICE_RETRIES);
	assert_int_equal(f.dev.installs, 0);

	/* Nothing of it is left behind. */
	f.dev.meanwhile = NULL;
	assert_int_equal(map(&f), 0);
	assert_current(&f);
	fixture_end(&f);
}

static void hole_is_efault(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(f.dev.memory, 1, PAGES * PAGE);
	assert_int_equal(munmap(f.dev.memory + 3 * PAGE, PAGE), 0);
	assert_int_equal(map(&f), -EFAULT);
	assert_int_equal(f.dev.installs, 0);
	fixture_end(&f);
}

static void unreadable_memory_is_eperm(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(mprotect(f.dev.memory, PAGE, PROT_NONE), 0);
	assert_int_equal(map(&f), -EPERM);
	assert_int_equal(f.dev.installs, 0);
	fixture_end(&f);
}

static void empty_range_is_einval(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	f.end = f.start;
	assert_int_equal(map(&f), -EINVAL);
	assert_int_equal(f.dev.installs, 0);
	fixture_end(&f);
}

static void in_a_forks_child_is_efault(void **state)
{
	struct fixture f;
	int status;
	pid_t pid;

	(void)state;
	fixture_start(&f);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (!pid) {
		watchdog(WATCHDOG);
		_exit(map(&f) == -EFAULT && !f.dev.installs ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(map(&f), 0);
	fixture_end(&f);
}

static void entries_go_when_memory_goes(void **state)
{
	struct fixture f;
	int i;

	(void)state;
	fixture_start(&f);
	memset(f.dev.memory, 1, PAGES * PAGE);
	assert_int_equal(map(&f), 0);
	assert_int_equal(munmap(f.dev.memory + PAGE, 2 * PAGE), 0);

	pthread_mutex_lock(&f.dev.lock);
	for (i = 1; i <= 2; i++)
		while (f.dev.table[i] != mydevice_values[HMM_PFN_NONE])
			pthread_cond_wait(&f.dev.changed, &f.dev.lock);
	pthread_mutex_unlock(&f.dev.lock);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_memory_that_is_present),
		cmocka_unit_test(faults_in_memory_that_is_absent),
		cmocka_unit_test(tries_again_when_memory_changed),
		cmocka_unit_test(gives_up_when_memory_never_rests),
		cmocka_unit_test(hole_is_efault),
		cmocka_unit_test(unreadable_memory_is_eperm),
		cmocka_unit_test(empty_range_is_einval),
		cmocka_unit_test(in_a_forks_child_is_efault),
		cmocka_unit_test(entries_go_when_memory_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
