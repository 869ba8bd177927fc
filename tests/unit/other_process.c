// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * other_process.c - mirror the memory of a process that changes it on command
 *
 * check: once
 */
#include "puppet.h"

/* ---- Entries ----------------------------------------------------------------- */

static void entries_are_the_other_process_s(void **state)
{
	struct vm_area_struct vma;
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	size_t i;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(query(mm).level, 2);
	assert_int_equal(hmm_find_vma(mm, (unsigned long)p.memory, &vma), 0);
	assert_true(vma.vm_start <= (unsigned long)p.memory);
	assert_int_equal(vma.vm_flags, HMM_VM_READ | HMM_VM_WRITE);

	assert_int_equal(tell(&p, TOUCH, 1, 2), 0);
	range_start(&range, mm, p.memory, PAGES, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++) {
		if (i < 1 || i > 2) {
			assert_int_equal(pfns[i], DEV_NONE);
			continue;
		}
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID | DEV_WRITE);
		if (!query(mm).pfns_virtual)
			assert_int_equal(pfns[i] >> DEV_SHIFT,
					 pfn_of(p.pid, p.memory + i * PAGE));
	}
	/* Ours is another memory, where nobody touched anything. */
	assert_int_equal(pfn_of(getpid(), p.memory + PAGE), 0);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void faults_happen_there(void **state)
{
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	size_t i;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID);
	assert_int_equal(range_fault_until_valid(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID);
	hmm_range_unregister(&range);

	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	assert_int_equal(range_fault_until_valid(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID | DEV_WRITE);
	assert_true(hmm_range_valid(&range));
	/* It was done there, and not here. */
	if (!query(mm).pfns_virtual)
		assert_int_equal(pfns[3] >> DEV_SHIFT,
				 pfn_of(p.pid, p.memory + 3 * PAGE));
	assert_int_equal(pfn_of(getpid(), p.memory + 3 * PAGE), 0);
	hmm_range_unregister(&range);

	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	assert_int_equal(tell(&p, PROTECT, 2, 1), 0);
	assert_int_equal(range_fault(&range, mm), -EPERM);
	assert_int_equal(tell(&p, UNMAP, 2, 1), 0);
	assert_int_equal(range_fault(&range, mm), -EFAULT);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* block == false goes on in the kernel; asked again it is there. */
static void faults_need_not_wait(void **state)
{
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	long ret;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	do {
		assert_true(range_wait(&range));
		mmap_read_lock(mm);
		ret = hmm_range_fault(&range, false);
		if (ret != -EAGAIN)
			mmap_read_unlock(mm);
	} while (ret == -EBUSY || ret == -EAGAIN);
	assert_int_equal(ret, PAGES);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* ---- Changes ------------------------------------------------------------------ */

/* Whatever it does there: not valid once it is done, and the mirror is told. */
static void changes_are_seen(void **state)
{
	static const enum order orders[] = { PROTECT, DISCARD, MAP_OVER, FORK,
					     UNMAP };
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	size_t i;

	(void)state;
	need_module();
	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		puppet_start(&p);
		mm = attach_to(&p, false);
		assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
		notes_start(&n, mm, p.memory + PAGE);
		range_start(&range, mm, p.memory + PAGE, 2, pfns, 0);
		assert_int_equal(range_snapshot(&range, mm), 2);
		assert_true(range_valid_soon(&range));
		assert_int_equal(tell(&p, orders[i], 1, 1), 0);
		assert_false(hmm_range_valid(&range));
		wait_changes(&n, 1);
		hmm_range_unregister(&range);
		assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
		assert_int_equal(hmm_mm_detach(mm), 0);
		puppet_end(&p);
	}
}

/* Until it writes, the page is also its child's: copied, it is another one. */
static void copy_on_write_is_seen(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;
	uint64_t pfn;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, 1, &pfn, DEV_VALID);
	/* Read by the device, it is the page of zeroes. */
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	assert_int_equal(pfn & 0xfff, DEV_VALID);
	assert_int_equal(tell(&p, TOUCH, 0, 1), 0);
	assert_false(hmm_range_valid(&range));
	assert_int_equal(range_snapshot(&range, mm), 1);
	assert_int_equal(pfn & 0xfff, DEV_VALID | DEV_WRITE);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void elsewhere_does_not_matter(void **state)
{
	struct hmm_range range;
	uint64_t pfns[2];
	struct mm_struct *mm;
	struct puppet p;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 2, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), 2);
	assert_int_equal(tell(&p, UNMAP, 4, 2), 0);
	/* Nor what we do with our own at the same addresses. */
	memset(p.memory, 1, PAGES * PAGE);
	madvise(p.memory, PAGES * PAGE, MADV_DONTNEED);
	assert_true(range_valid_soon(&range));
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void several_can_watch_one(void **state)
{
	struct mm_struct *mm[3];
	struct notes n[3];
	struct puppet p;
	int i;

	(void)state;
	need_module();
	puppet_start(&p);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	for (i = 0; i < 3; i++) {
		mm[i] = attach_to(&p, false);
		assert_true(!i || mm[i] != mm[i - 1]);
		notes_start(&n[i], mm[i], p.memory);
	}
	assert_int_equal(tell(&p, UNMAP, 0, PAGES), 0);
	for (i = 0; i < 3; i++) {
		wait_changes(&n[i], 1);
		assert_int_equal(hmm_mirror_unregister(&n[i].mirror), 0);
		assert_int_equal(hmm_mm_detach(mm[i]), 0);
	}
	puppet_end(&p);
}

/* By the way to another process one can get to oneself. */
static void ones_own_pidfd_is_oneself(void **state)
{
	int pidfd = pidfd_open(getpid(), 0);
	struct hmm_range range;
	struct mm_struct *mm;
	uint64_t pfns[PAGES];
	struct notes n;
	char *p;

	(void)state;
	need_module();
	p = map_touched(PAGES);
	assert_int_equal(try_attach(&mm, pidfd, false, NULL), 0);
	assert_int_equal(query(mm).level, 2);
	notes_start(&n, mm, p);
	range_start(&range, mm, p, PAGES, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), PAGES);
	assert_int_equal(pfns[1] & 0xfff, DEV_VALID | DEV_WRITE);
	if (!query(mm).pfns_virtual)
		assert_int_equal(pfns[1] >> DEV_SHIFT,
				 pfn_of(getpid(), p + PAGE));
	assert_true(range_valid_soon(&range));
	munmap(p, PAGE);
	assert_false(hmm_range_valid(&range));
	wait_changes(&n, 1);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	munmap(p, PAGES * PAGE);
	close(pidfd);
}

/* ---- The end ------------------------------------------------------------------- */

static void by_exit(struct puppet *p)
{
	int status;

	send_order(p, EXIT, 0, 0);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
}

static void by_kill(struct puppet *p)
{
	int status;

	kill(p->pid, SIGKILL);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
}

/* Goes on as another program. */
static void by_exec(struct puppet *p)
{
	send_order(p, EXECUTE, 0, 0);
}

static void ends(void (*end)(struct puppet *))
{
	struct hmm_range range, other;
	struct vm_area_struct vma;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;

	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	notes_start(&n, mm, p.memory);
	range_start(&range, mm, p.memory + PAGE, PAGES - 1, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), PAGES - 1);
	assert_true(range_valid_soon(&range));
	/* Who is told has something else to do: it is found out all the same. */
	n.ms = 500;
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	assert_true(range_valid_soon(&range));
	end(&p);
	if (end != by_exec)
		assert_false(hmm_range_valid(&range));
	wait_release(&n);
	assert_false(hmm_range_valid(&range));
	assert_false(range_wait(&range));
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EFAULT);
	assert_int_equal(hmm_range_fault(&range, true), -EFAULT);
	mmap_read_unlock(mm);
	assert_int_equal(hmm_find_vma(mm, (unsigned long)p.memory, &vma),
			 -EFAULT);
	range_init(&other, pfns);
	assert_int_equal(hmm_range_register(&other, mm, PAGE, 2 * PAGE),
			 -EFAULT);
	assert_true(query(mm).dead);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(n.releases, 1);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void exit_is_the_end(void **state)
{
	(void)state;
	ends(by_exit);
}

static void a_kill_is_the_end(void **state)
{
	(void)state;
	ends(by_kill);
}

static void another_program_is_the_end(void **state)
{
	(void)state;
	ends(by_exec);
}

/* Found in the ring together with the end, by one who had something to do. */
static void last_change_is_told_before_the_end(void **state)
{
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, 2), 0);
	notes_start(&n, mm, p.memory);
	n.hold = 1;
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	while (!__atomic_load_n(&n.held, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	assert_int_equal(tell(&p, UNMAP, 1, 1), 0);
	by_exit(&p);
	__atomic_store_n(&n.hold, 0, __ATOMIC_RELEASE);
	wait_release(&n);
	assert_true(n.changes >= 2);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* Nobody has to look: a thread that waits for memory to rest is woken. */
static void attach_again_after_exec(void **state)
{
	struct mm_struct *mm, *again;
	struct puppet p;
	struct notes n;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	notes_start(&n, mm, p.memory);
	by_exec(&p);
	wait_release(&n);
	again = attach_to(&p, false);
	assert_false(query(again).dead);
	assert_int_equal(hmm_mm_detach(again), 0);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* ---- Fork of the one who watches ------------------------------------------------ */

static int in_our_child(struct mm_struct *mm, struct hmm_range *range,
			struct puppet *p)
{
	struct hmm_range other = { 0 };
	struct mm_struct *own;

	watchdog(30);
	if (hmm_range_valid(range))
		return 1;
	if (hmm_range_register(&other, mm, PAGE, 2 * PAGE) != -EFAULT)
		return 2;
	if (hmm_mm_detach(mm))
		return 3;
	if (try_attach(&own, p->pidfd, false, NULL))
		return 4;
	if (hmm_range_register(&other, own, (unsigned long)p->memory,
			       (unsigned long)p->memory + PAGE))
		return 5;
	hmm_range_unregister(&other);
	return hmm_mm_detach(own) ? 6 : 0;
}

static void our_child_attaches_anew(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;
	uint64_t pfn;
	int status;
	pid_t pid;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 1, &pfn, 0);
	assert_int_equal(range_snapshot(&range, mm), 1);
	pid = fork();
	if (!pid)
		_exit(in_our_child(mm, &range, &p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* For us nothing has changed. */
	assert_true(range_valid_soon(&range));
	assert_int_equal(tell(&p, DISCARD, 0, 1), 0);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(entries_are_the_other_process_s),
		TEST(faults_happen_there),
		TEST(faults_need_not_wait),
		TEST(changes_are_seen),
		TEST(copy_on_write_is_seen),
		TEST(elsewhere_does_not_matter),
		TEST(several_can_watch_one),
		TEST(ones_own_pidfd_is_oneself),
		TEST(exit_is_the_end),
		TEST(a_kill_is_the_end),
		TEST(another_program_is_the_end),
		TEST(last_change_is_told_before_the_end),
		TEST(attach_again_after_exec),
		TEST(our_child_attaches_anew),
	};

	/* Puppets that end early are no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
