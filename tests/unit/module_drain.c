// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * module_drain.c - what the module source makes of the records of /dev/hmm
 *
 * The file is the test's own memory here, so that things can happen between one
 * read of the source's and the next.
 *
 * check: once
 */
#include <signal.h>

#include "source_module.h"
#include "support.h"

#define MANY 16

/* At a page's end: what comes up to here is on that, the rest on the next. */
#define SPLIT offsetof(struct hmm_dev_shared, head)

static struct hmm_dev_shared *shared;
static struct hmm_dev_record ring[HMM_DEV_RECORDS];
static struct module_source source;
static char *pages;

static struct hmm_event seen[MANY];
static unsigned int nr_seen;

static void note(void *ctx, const struct hmm_event *event)
{
	(void)ctx;
	assert_true(nr_seen < MANY);
	seen[nr_seen++] = *event;
}

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	pages = map_pages(2, PROT_READ | PROT_WRITE);
	shared = (void *)(pages + PAGE - SPLIT);
	nr_seen = 0;
	source = (struct module_source){
		.src.ops = &hmm_source_module,
		.src.event_fd = -1,
		.shared = shared,
		.ring = ring,
		.announced = true,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(pages, 2 * PAGE);
	watchdog(0);
	return 0;
}

/* As the module does: a start is counted first. */
static void record(unsigned long page, bool ends)
{
	shared->started += !ends;
	ring[shared->head++ % HMM_DEV_RECORDS] = (struct hmm_dev_record){
		.start = page * PAGE,
		.end = (page + 1) * PAGE,
		.ends = ends,
		.kind = HMM_CHANGE_UNMAP,
	};
}

/* The end of the address space is counted, and has no record. */
static void die(void)
{
	shared->dead = 1;
	shared->started++;
}

static int drain(uint64_t *consumed)
{
	return source.src.ops->drain(&source.src, note, NULL, consumed);
}

static void was_seen(unsigned int n, enum hmm_event_phase phase,
		     unsigned long page)
{
	assert_true(n < nr_seen);
	assert_int_equal(seen[n].phase, phase);
	assert_int_equal(seen[n].start, page * PAGE);
	assert_int_equal(seen[n].end, (page + 1) * PAGE);
}

static void records_of_the_dead_are_handed_on(void **state)
{
	uint64_t consumed = 0;

	(void)state;
	record(1, false);
	record(2, false);
	record(1, true);
	die();
	assert_int_equal(drain(&consumed), -ESRCH);
	assert_int_equal(nr_seen, 3);
	was_seen(0, HMM_EVENT_START, 1);
	was_seen(1, HMM_EVENT_START, 2);
	was_seen(2, HMM_EVENT_END, 1);
	assert_int_equal(consumed, 2);
	assert_int_equal(source.src.position, 3);
	/* And once. */
	assert_int_equal(drain(&consumed), -ESRCH);
	assert_int_equal(nr_seen, 3);
	/* Not all that is counted: nothing is valid for it. */
	assert_true(consumed < shared->started);
}

/* Whoever looks whether it is dead looks at it now. */
static void end_now(int sig)
{
	(void)sig;
	mprotect(pages, PAGE, PROT_READ | PROT_WRITE);
	record(2, false);
	record(2, true);
	die();
}

static void the_last_record_comes_while_it_is_looked(void **state)
{
	struct sigaction act = { .sa_handler = end_now }, old;
	uint64_t consumed = 0;
	int ret;

	(void)state;
	record(1, false);
	record(1, true);
	sigaction(SIGSEGV, &act, &old);
	mprotect(pages, PAGE, PROT_NONE);
	ret = drain(&consumed);
	sigaction(SIGSEGV, &old, NULL);
	assert_int_equal(shared->dead, 1);
	/* If it knows already that this is all there will be, this is all. */
	if (!ret)
		ret = drain(&consumed);
	assert_int_equal(ret, -ESRCH);
	assert_int_equal(nr_seen, 4);
	was_seen(2, HMM_EVENT_START, 2);
	was_seen(3, HMM_EVENT_END, 2);
	assert_int_equal(consumed, 2);
}

#define DRAIN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DRAIN_TEST(records_of_the_dead_are_handed_on),
		DRAIN_TEST(the_last_record_comes_while_it_is_looked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
