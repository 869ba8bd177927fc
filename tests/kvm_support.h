/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* kvm_support.h - what the tests of the kvm source share */
#ifndef TESTS_KVM_SUPPORT_H
#define TESTS_KVM_SUPPORT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "source.h"

#define WATCHDOG 600
/* A fork alone makes one for each private vma. */
#define MANY_EVENTS 4096

struct seen {
	struct hmm_event event[MANY_EVENTS];
	unsigned int nr;
	unsigned int lost;
	int open; /* starts without their end */
	uint64_t consumed;
};

/* What setup() attached, or why it could not. */
static struct hmm_source *src;
static char why[256];

static inline void note(void *ctx, const struct hmm_event *event)
{
	struct seen *seen = ctx;

	if (event->kind == HMM_CHANGE_LOST)
		seen->lost++;
	if (event->phase == HMM_EVENT_START)
		seen->open++;
	if (event->phase == HMM_EVENT_END) {
		seen->open--;
		return;
	}
	seen->event[seen->nr++ % MANY_EVENTS] = *event;
}

/* Drain until everything that was counted has been handed on. */
static inline void drain_all(struct seen *seen)
{
	uint64_t started = hmm_load_acquire(src->started);

	do {
		assert_int_equal(
			src->ops->drain(src, note, seen, &seen->consumed), 0);
	} while ((int64_t)(seen->consumed - started) < 0);
}

static inline void forget(void)
{
	struct seen seen = { 0 };

	drain_all(&seen);
}

static inline const struct hmm_event *find_from(const struct seen *seen,
						unsigned int i,
						const void *addr, size_t size)
{
	unsigned long start = (unsigned long)addr, end = start + size;
	unsigned int n = seen->nr < MANY_EVENTS ? seen->nr : MANY_EVENTS;

	for (; i < n; i++)
		if (seen->event[i].start < end && start < seen->event[i].end)
			return &seen->event[i];
	return NULL;
}

static inline const struct hmm_event *find(const struct seen *seen,
					   const void *addr, size_t size)
{
	return find_from(seen, 0, addr, size);
}

/* Others' changes are told as well, some of them of all that there is. */
static inline const struct hmm_event *find_kind(const struct seen *seen,
						const void *addr, size_t size,
						enum hmm_change_kind kind)
{
	const struct hmm_event *event = find(seen, addr, size);

	while (event && event->kind != kind)
		event = find_from(seen, event + 1 - seen->event, addr, size);
	return event;
}

static inline void *map_pages(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	madvise(p, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	memset(p, 1, pages * PAGE_SIZE);
	return p;
}

static inline int setup(void **state)
{
	(void)state;
	alarm(WATCHDOG);
	*why = '\0';
	src = NULL;
	if (hmm_source_kvm.attach(&src, why, sizeof(why)))
		src = NULL;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	if (src)
		src->ops->detach(src);
	src = NULL;
	alarm(0);
	return 0;
}

static inline void need_source(void)
{
	if (src)
		return;
	printf("skipped: source kvm can't be used: %s\n", why);
	skip();
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
