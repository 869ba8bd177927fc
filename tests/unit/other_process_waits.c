// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * other_process_waits.c - have a process's changes wait for the callbacks
 *
 * check: once
 */
#include "puppet.h"

/* The puppet looks, after its call has returned, whether the callback has. */
static bool change_waited(void)
{
	static const enum order orders[] = { PROTECT, DISCARD, MAP_OVER,
					     UNMAP };
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	bool in_time = true;
	size_t i;

	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(query(mm).level, 3);
	notes_start(&n, mm, p.memory);
	n.ms = 50;
	for (i = 0; i < sizeof(orders) / sizeof(*orders) && in_time; i++) {
		assert_int_equal(tell(&p, TOUCH, i, 1), 0);
		both->told = both->seen = 0;
		assert_int_equal(tell(&p, orders[i], i, 1), 0);
		in_time = !query(mm).late;
		if (in_time)
			assert_true(both->seen >= 1);
	}
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
	return in_time;
}

static void a_change_waits_for_the_callback(void **state)
{
	(void)state;
	need_module();
	until_in_time(change_waited);
}

/* Nor does it wait when there is nobody to tell. */
static bool change_went_on(void)
{
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	bool in_time;

	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	in_time = !query(mm).late;
	if (in_time) {
		notes_start(&n, mm, p.memory + PAGE);
		n.hold = 1;
		assert_int_equal(tell(&p, UNMAP, 1, 1), 0);
		assert_int_equal(query(mm).late, 1);
		n.hold = 0;
		wait_changes(&n, 1);
		assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	}
	assert_int_equal(hmm_mm_detach(mm), 0);
	/* And nobody is told now. */
	assert_int_equal(tell(&p, UNMAP, 2, 1), 0);
	puppet_end(&p);
	return in_time;
}

static void a_change_does_not_wait_for_ever(void **state)
{
	(void)state;
	need_module();
	until_in_time(change_went_on);
}

static void detach_lets_go_of_changes(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 1, NULL, 0);
	/* The range keeps the device open, whose watcher is gone. */
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_int_equal(tell(&p, UNMAP, 0, PAGES), 0);
	hmm_range_unregister(&range);
	puppet_end(&p);
}

static void *unmap_own(void *memory)
{
	munmap(memory, PAGE);
	both->seen = both->told;
	return NULL;
}

/* Allowed for one's own memory, as long as the callback needs none of it. */
static bool own_change_waited(int pidfd)
{
	struct mm_struct *mm = NULL, *plain = NULL;
	pthread_t thread;
	struct notes n;
	char *memory;
	bool in_time;

	memory = map_touched(PAGES);
	assert_int_equal(try_attach(&mm, pidfd, true, NULL), 0);
	assert_int_equal(query(mm).level, 3);
	assert_int_equal(try_attach(&plain, 0, false, "module"), 0);
	assert_ptr_not_equal(mm, plain);
	assert_int_equal(query(plain).level, 2);
	notes_start(&n, mm, memory);
	n.ms = 50;
	both->told = both->seen = 0;
	assert_int_equal(pthread_create(&thread, NULL, unmap_own, memory), 0);
	pthread_join(thread, NULL);
	in_time = !query(mm).late;
	if (in_time)
		assert_int_equal(both->seen, 1);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(plain), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	munmap(memory, PAGES * PAGE);
	return in_time;
}

static bool without_pidfd(void)
{
	return own_change_waited(0);
}

static void own_changes_can_wait(void **state)
{
	(void)state;
	need_module();
	until_in_time(without_pidfd);
}

static bool by_pidfd(void)
{
	int pidfd = pidfd_open(getpid(), 0);
	bool in_time = own_change_waited(pidfd);

	close(pidfd);
	return in_time;
}

static void ones_own_pidfd_can_wait(void **state)
{
	(void)state;
	need_module();
	until_in_time(by_pidfd);
}

/* Of a user without privileges; the second that it may last is enough. */
static bool users_change_waited(void)
{
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	bool in_time;
	int ret;

	puppet_start_as(&p, become_nobody);
	assert_int_equal(setegid(NOBODY) | seteuid(NOBODY), 0);
	ret = try_attach(&mm, p.pidfd, true, NULL);
	assert_int_equal(seteuid(0) | setegid(0), 0);
	assert_int_equal(ret, 0);
	assert_int_equal(query(mm).level, 3);
	assert_true(query(mm).pfns_virtual);
	notes_start(&n, mm, p.memory);
	n.ms = 50;
	assert_int_equal(tell(&p, TOUCH, 0, 1), 0);
	both->told = both->seen = 0;
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	in_time = !query(mm).late;
	if (in_time)
		assert_true(both->seen >= 1);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
	return in_time;
}

static void users_make_their_own_wait(void **state)
{
	(void)state;
	need_module();
	if (geteuid()) {
		print_message("skip: only root can become somebody else\n");
		skip();
	}
	until_in_time(users_change_waited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_change_waits_for_the_callback),
		TEST(a_change_does_not_wait_for_ever),
		TEST(detach_lets_go_of_changes),
		TEST(own_changes_can_wait),
		TEST(ones_own_pidfd_can_wait),
		TEST(users_make_their_own_wait),
	};

	/* Puppets that end early are no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
