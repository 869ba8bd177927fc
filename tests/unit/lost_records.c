// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * lost_records.c - what is in progress stays known when records were lost
 *
 * The ring of the typed kvm source is the test's own memory here, and what the
 * source hands on goes to the core's set of changes, as in libhmm.
 *
 * check: once
 */
/* For the ring and the starts, which nobody else sees. */
#include "../../host/user/source_kvm.c"

#include "change.h"
#include "support.h"

#define ROOM (1u << 16)

static struct kvm_shared shared;
static struct kvm_source source;
static struct hmm_changes changes;
static uint64_t consumer_pos, *ring;

static void hand_on(void *ctx, const struct hmm_event *event)
{
	(void)ctx;
	switch (event->phase) {
	case HMM_EVENT_OPEN:
		hmm_changes_open(&changes, event->start, event->end, 0);
		break;
	case HMM_EVENT_START:
		hmm_changes_start(&changes, event->start, event->end);
		break;
	case HMM_EVENT_END:
		hmm_changes_end(&changes, event->start, event->end);
		break;
	case HMM_EVENT_PAST:
		break;
	}
}

static void drain(void)
{
	uint64_t consumed;

	assert_int_equal(kvm_drain(&source.src, hand_on, NULL, &consumed), 0);
	assert_int_equal(consumed, shared.started);
}

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	ring = calloc(1, PAGE + ROOM);
	assert_non_null(ring);
	consumer_pos = 0;
	shared = (struct kvm_shared){ 0 };
	changes = (struct hmm_changes){ 0 };
	source = (struct kvm_source){
		.shared = &shared,
		.typed = true,
		.consumer_pos = &consumer_pos,
		.producer_pos = ring,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(ring);
	watchdog(0);
	return 0;
}

/* Room for a record, which whoever reserved it has still to write. */
static char *reserve(void)
{
	char *head = (char *)ring + PAGE + *ring;

	*(uint32_t *)(void *)head =
		sizeof(struct kvm_record) | BPF_RINGBUF_BUSY_BIT;
	*ring += sizeof(struct kvm_record) + BPF_RINGBUF_HDR_SZ;
	assert_true(*ring <= ROOM);
	return head;
}

static void commit(char *head, unsigned long page, enum kvm_phase phase)
{
	struct kvm_record r = {
		.start = page * PAGE,
		.end = (page + 1) * PAGE,
		.key = page,
		.phase = (uint16_t)phase,
	};

	if (phase == KVM_PHASE_START)
		r.ticket = shared.started++;
	else
		shared.ended++;
	memcpy(head + BPF_RINGBUF_HDR_SZ, &r, sizeof(r));
	*(uint32_t *)(void *)head = sizeof(r);
}

static void begins(unsigned long page)
{
	commit(reserve(), page, KVM_PHASE_START);
}

static void ends(unsigned long page)
{
	commit(reserve(), page, KVM_PHASE_END);
}

static void lose_start(void)
{
	shared.started++;
	shared.lost++;
}

static void lose_end(void)
{
	shared.ended++;
	shared.lost_ends++;
}

static bool in_progress(unsigned long page)
{
	return hmm_changes_overlap(&changes, page * PAGE, (page + 1) * PAGE);
}

/* Of what was lost nothing is left for good. */
static void all_has_ended(void)
{
	uint64_t gen;

	drain();
	gen = hmm_changes_mark(&changes);
	if (gen)
		hmm_changes_close_before(&changes, gen);
	assert_false(hmm_changes_overlap(&changes, 0, ~0ul));
	assert_int_equal(source.nr_starts, 0);
}

/*
 * Starts can be forgotten only when those before the loss have been written, and
 * a barrier may be over by then: which others may be in progress after.
 */
static void an_end_behind_what_is_not_written_yet(void **state)
{
	char *second, *third;
	uint64_t gen;

	(void)state;
	begins(1);
	second = reserve();
	lose_end();
	drain();
	assert_true(in_progress(7));

	gen = hmm_changes_mark(&changes);
	commit(second, 2, KVM_PHASE_START);
	ends(2);
	begins(4);
	third = reserve();
	drain();
	hmm_changes_close_before(&changes, gen);
	assert_true(in_progress(4));

	commit(third, 3, KVM_PHASE_START);
	drain();
	assert_true(in_progress(3));
	assert_true(in_progress(4));
	ends(3);
	ends(4);
	all_has_ended();
}

/* The same with the loss and no more: what was in progress ends at last. */
static void only_an_end(void **state)
{
	(void)state;
	begins(1);
	begins(2);
	drain();
	lose_end();
	drain();
	assert_true(in_progress(2));
	ends(2);
	all_has_ended();
}

/* An end is of one change, however many are not in the list. */
static void a_start_with_more_in_progress_than_listed(void **state)
{
	enum { MANY = HMM_CHANGES + 2, NEWEST = 1000 };
	unsigned long page;
	uint64_t gen;

	(void)state;
	for (page = 1; page <= MANY; page++)
		begins(page);
	drain();
	lose_start();
	drain();
	gen = hmm_changes_mark(&changes);
	assert_true(gen);
	begins(NEWEST);
	for (page = MANY; page; page--)
		ends(page);
	drain();
	hmm_changes_close_before(&changes, gen);
	assert_true(in_progress(NEWEST));
	ends(NEWEST);
	all_has_ended();
}

#define LOSS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOSS_TEST(an_end_behind_what_is_not_written_yet),
		LOSS_TEST(only_an_end),
		LOSS_TEST(a_start_with_more_in_progress_than_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
