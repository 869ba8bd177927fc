/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* support.h - what the tests of libhmm share */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hmm.h"

#define PAGE 4096ul

/* A device format: bit 0 valid, bit 1 writable, the pfn from bit 12. */
#define DEV_VALID 0x1ull
#define DEV_WRITE 0x2ull
#define DEV_PRIVATE 0x4ull
#define DEV_SHIFT 12
#define DEV_ERROR 0x100ull
#define DEV_NONE 0x200ull
#define DEV_SPECIAL 0x400ull

static const uint64_t dev_flags[HMM_PFN_FLAG_MAX] __attribute__((unused)) = {
	[HMM_PFN_VALID] = DEV_VALID,
	[HMM_PFN_WRITE] = DEV_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = DEV_PRIVATE,
};

static const uint64_t dev_values[HMM_PFN_VALUE_MAX] __attribute__((unused)) = {
	[HMM_PFN_ERROR] = DEV_ERROR,
	[HMM_PFN_NONE] = DEV_NONE,
	[HMM_PFN_SPECIAL] = DEV_SPECIAL,
};

/* $HMM_TEST_SLOW: how many times as long all takes, on an emulated machine. */
static inline unsigned int slowness(void)
{
	const char *times = getenv("HMM_TEST_SLOW");

	return times ? (unsigned int)atoi(times) : 1;
}

static inline bool is_slow(void)
{
	return slowness() > 1;
}

/* How many times as long as on an idle machine anything may take. */
#define PATIENCE 5

/* Hangs are failures: one alarm for each test program or test. */
static inline void watchdog(unsigned int seconds)
{
	alarm(slowness() * PATIENCE * seconds);
}

/*
 * Attach with the source that the test is run with ($HMM_SOURCE, else any).
 * Skips the test, and says why, if it can't be used here.
 */
static inline struct mm_struct *attach(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	const char *wanted = getenv("HMM_SOURCE");
	struct mm_struct *mm = NULL;
	bool usable = false;
	unsigned int i;

	for (i = 0; !usable && !hmm_source_query(i, &info); i++) {
		if (wanted && strcmp(wanted, info.name))
			continue;
		usable = !info.error;
		if (info.error)
			print_message("skip: %s: %s\n", info.name, info.reason);
	}
	if (!usable)
		skip();
	assert_int_equal(hmm_mm_attach(&mm, NULL), 0);
	return mm;
}

static inline bool source_is(struct mm_struct *mm, const char *name)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return !strcmp(info.source, name);
}

/*
 * Addresses where nobody maps anything unasked: a hole stays a hole, and what
 * is unmapped twice is nobody else's.  Low, where the sanitizers allow it.
 */
static inline void *quiet_address(size_t len)
{
	const uintptr_t base = 0x30000000, room = 0x40000000, huge = 2ul << 20;
	static uintptr_t used;
	uintptr_t size = (len + 16 * PAGE + huge - 1) & ~(huge - 1);
	uintptr_t at;

	/* Threads ask, too. */
	do
		at = __atomic_fetch_add(&used, size, __ATOMIC_RELAXED) % room;
	while (at + size > room);
	return (void *)(base + at);
}

static inline void *quiet_mmap(size_t len, int prot, int flags, int fd)
{
	return mmap(quiet_address(len), len, prot, flags | MAP_FIXED_NOREPLACE,
		    fd, 0);
}

static inline char *map_pages(size_t pages, int prot)
{
	char *p =
		quiet_mmap(pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Memory that is there, a page of its own each. */
static inline char *map_touched(size_t pages)
{
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);
	size_t i;

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < pages; i++)
		p[i * PAGE] = (char)(i + 1);
	return p;
}

/* A page that the kernel keeps to the CPUs of the process; or the test skips. */
static inline char *map_secret(void)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	char *p;

	if (fd < 0 || ftruncate(fd, PAGE)) {
		print_message("skip: memfd_secret(): %s\n", strerror(errno));
		skip();
	}
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	*p = 1;
	return p;
}

static inline void range_init(struct hmm_range *range, uint64_t *pfns)
{
	*range = (struct hmm_range){
		.pfns = pfns,
		.flags = dev_flags,
		.values = dev_values,
		.pfn_shift = DEV_SHIFT,
	};
}

/* Registered over [p, p + pages), asking for what flags say. */
static inline void range_start(struct hmm_range *range, struct mm_struct *mm,
			       const void *p, size_t pages, uint64_t *pfns,
			       uint64_t flags)
{
	unsigned long start = (unsigned long)p;

	range_init(range, pfns);
	range->default_flags = flags;
	assert_int_equal(
		hmm_range_register(range, mm, start, start + pages * PAGE), 0);
}

/* ms.  No watchdog lasts that long. */
#define FOR_EVER (3600 * 1000ul)

static inline bool range_wait(struct hmm_range *range)
{
	return hmm_range_wait_until_valid(range, FOR_EVER);
}

/*
 * Valid, given time: while a change anywhere is counted but not yet described,
 * hmm_range_valid() says false without it being a verdict.
 */
static inline bool range_valid_soon(struct hmm_range *range)
{
	while (!hmm_range_valid(range)) {
		if (!__atomic_load_n(&range->valid, __ATOMIC_RELAXED))
			return false;
		usleep(100);
	}
	return true;
}

/*
 * As a driver does it: wait, lock, snapshot or fault, until it isn't busy.  A
 * driver gives up at some time, which the watchdog does here.
 */
static inline long range_get_within(struct hmm_range *range,
				    struct mm_struct *mm, bool fault,
				    unsigned long ms)
{
	unsigned int tries = 0;
	long ret;

	do {
		if (!hmm_range_wait_until_valid(range, ms))
			return -ETIMEDOUT;
		mmap_read_lock(mm);
		ret = fault ? hmm_range_fault(range, true)
			    : hmm_range_snapshot(range);
		mmap_read_unlock(mm);
		if (++tries > 100)
			usleep(1000);
	} while (ret == -EBUSY);
	return ret;
}

static inline long range_get(struct hmm_range *range, struct mm_struct *mm,
			     bool fault)
{
	return range_get_within(range, mm, fault, FOR_EVER);
}

/* The same until it holds: other changes may come in between, or be lost. */
static inline long range_fault_until_valid(struct hmm_range *range,
					   struct mm_struct *mm)
{
	long ret;

	do {
		ret = range_get(range, mm, true);
	} while (ret > 0 && !range_valid_soon(range));
	return ret;
}

/*
 * A change waits for the mirrors for a second, and no longer.  Where all stands
 * still for as long, as a machine may that has a lot else to do, it rightly goes
 * on alone, and nothing can be said: what returns false for that is done again.
 */
static inline void until_in_time(bool (*in_time)(void))
{
	int tries = 10;

	while (!in_time())
		assert_true(--tries);
}

#define range_snapshot(range, mm) range_get(range, mm, false)
#define range_fault(range, mm) range_get(range, mm, true)

/* As long as a callback runs, if this takes more than the library waits. */
static inline int mirror_unregister(struct hmm_mirror *mirror)
{
	int ret;

	do
		ret = hmm_mirror_unregister(mirror);
	while (ret == -ETIMEDOUT);
	return ret;
}

#endif
