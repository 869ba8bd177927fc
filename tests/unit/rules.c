// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * rules.c - the defects of the seed, one test each, on live memory
 *
 * The numbers are those of the list in docs/design.md.  What can't be brought
 * about from outside at the right moment (a non-blockable start, a race of two
 * creators) is made by calling what a host calls; the explorer covers the
 * interleavings.
 */
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "mm.h"

#include "attached.h"
#include "in_progress.h"

/* ---- A mirror that counts ------------------------------------------------ */

/* Of the updates that the test makes itself: there are others, too. */
struct counter {
	struct hmm_mirror mirror;
	unsigned int updates, releases;
	unsigned long start;
	int answer;
};

static int count_update(struct hmm_mirror *mirror,
			const struct hmm_update *update)
{
	struct counter *c = (struct counter *)mirror;

	if (update->start != c->start)
		return 0;
	c->updates++;
	return c->answer;
}

static void count_release(struct hmm_mirror *mirror)
{
	struct counter *c = (struct counter *)mirror;

	__atomic_fetch_add(&c->releases, 1, __ATOMIC_RELEASE);
}

static const struct hmm_mirror_ops count_ops = {
	.release = count_release,
	.sync_cpu_device_pagetables = count_update,
};

static int register_counter(struct counter *c, unsigned long start)
{
	int ret;

	*c = (struct counter){ .mirror.ops = &count_ops, .start = start };
	mmap_write_lock(mm);
	ret = hmm_mirror_register(&c->mirror, mm);
	mmap_write_unlock(mm);
	return ret;
}

static void make_valid(struct hmm_range *range)
{
	do
		assert_true(range_snapshot(range, mm) > 0);
	while (!range_valid_soon(range));
}

/* ---- The rules ----------------------------------------------------------- */

/* A start and an end between snapshot and use: the snapshot is stale. */
static void rule_01_no_stale_valid(void **state)
{
	char *p = map_touched(4), *q;
	struct hmm_range range;
	uint64_t pfns[4];
	int i;

	(void)state;
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	for (i = 0; i < 100; i++) {
		assert_int_equal(range_snapshot(&range, mm), 4);
		munmap(p, 4 * PAGE);
		q = mmap(p, 4 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		assert_ptr_equal(q, p);
		assert_false(hmm_range_valid(&range));
		/* Waiting does not make the old entries good. */
		assert_true(range_wait(&range));
		assert_false(hmm_range_valid(&range));
		memset(p, 1, 4 * PAGE);
	}
	/* Nor does its end, by a source that tells of ends. */
	make_valid(&range);
	start_change(range.start, range.end);
	assert_false(hmm_range_valid(&range));
	end_change(range.start, range.end);
	assert_false(hmm_range_valid(&range));
	assert_true(range_wait(&range));
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	munmap(p, 4 * PAGE);
}

/* A start that fails because it may not block leaves no trace. */
static void rule_02_failed_start_leaves_no_trace(void **state)
{
	char *p = map_touched(1);
	unsigned long start = (unsigned long)p, end = start + PAGE;
	struct hmm_update update = { .start = start, .end = end };
	struct hmm_range range;
	struct counter c;
	uint64_t pfn;

	(void)state;
	assert_int_equal(register_counter(&c, start), 0);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	c.answer = -EAGAIN;
	start_change(start, end);
	assert_int_equal(hmm_mirrors_sync(&mm->hmm, &update), -EAGAIN);
	end_change(start, end);
	make_valid(&range);
	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&c.mirror), 0);
	munmap(p, PAGE);
}

static unsigned int complaints;

static void count_complaint(enum hmm_log_level level, const char *line)
{
	if (level <= HMM_LOG_WARN && strstr(line, "callback returned"))
		complaints++;
}

/* A mirror's error reaches the one who changes, or is reported. */
static void rule_03_mirror_errors_are_not_lost(void **state)
{
	struct hmm_update update = { .start = PAGE, .end = 2 * PAGE };
	struct counter a, b;

	(void)state;
	assert_int_equal(register_counter(&a, PAGE), 0);
	assert_int_equal(register_counter(&b, PAGE), 0);
	b.answer = -EAGAIN;
	assert_int_equal(hmm_mirrors_sync(&mm->hmm, &update), -EAGAIN);
	/* Blockable: everyone is told all the same, and someone hears of it. */
	a.updates = b.updates = 0;
	update.blockable = true;
	hmm_set_log(count_complaint);
	assert_int_equal(hmm_mirrors_sync(&mm->hmm, &update), -EAGAIN);
	hmm_set_log(NULL);
	assert_int_equal(complaints, 1);
	assert_int_equal(a.updates, 1);
	assert_int_equal(b.updates, 1);
	b.answer = 0;
	assert_int_equal(mirror_unregister(&a.mirror), 0);
	assert_int_equal(mirror_unregister(&b.mirror), 0);
}

static void *end_thread(void *arg)
{
	const struct hmm_range *range = arg;

	end_change(range->start, range->end);
	return NULL;
}

static void *wait_thread(void *arg)
{
	bool ret = hmm_range_wait_until_valid(arg, FOR_EVER);

	return (void *)(uintptr_t)ret;
}

/* An end needs only the leaf lock, and wakes whom it was waited for by. */
static void rule_04_end_never_sleeps(void **state)
{
	pthread_t waiter, ender;
	struct hmm_range range;
	char *p = map_touched(1);
	uint64_t pfn;
	void *valid;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	start_change(range.start, range.end);
	pthread_create(&waiter, NULL, wait_thread, &range);
	usleep(20000);
	/* Whoever makes a change may have the mmap lock, and not give it up. */
	mmap_write_lock(mm);
	pthread_create(&ender, NULL, end_thread, &range);
	pthread_join(ender, NULL);
	mmap_write_unlock(mm);
	pthread_join(waiter, &valid);
	assert_non_null(valid);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

/* Ranges and mirrors keep what they point to, whatever goes first. */
static void rule_05_06_lifetime_outlasts_detach(void **state)
{
	struct mm_struct *second;
	struct hmm_range range;
	struct counter c;
	char *p = map_touched(1);
	uint64_t pfn;

	(void)state;
	assert_int_equal(hmm_mm_attach(&second, NULL), 0);
	assert_ptr_equal(second, mm);
	assert_int_equal(hmm_mm_detach(second), 0);

	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(register_counter(&c, PAGE), 0);
	make_valid(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	/* Dead, but there. */
	assert_int_equal(c.releases, 1);
	assert_false(hmm_range_valid(&range));
	assert_false(range_wait(&range));
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EFAULT);
	assert_int_equal(hmm_range_fault(&range, true), -EFAULT);
	mmap_read_unlock(mm);
	munmap(p, PAGE);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&c.mirror), 0);
	assert_int_equal(c.releases, 1);
	/* Nothing left, and a call that comes late finds it dead. */
	assert_int_equal(hmm_range_register(&range, mm, (unsigned long)p,
					    (unsigned long)p + PAGE),
			 -EFAULT);
	assert_int_equal(register_counter(&c, PAGE), -EFAULT);
	assert_int_equal(hmm_mm_detach(mm), -EINVAL);
	mm = attach();
}

/* Either of them is enough, and with the last one all is freed. */
static void rule_05_06_one_pin_is_enough(void **state)
{
	struct hmm_range range;
	struct counter c;
	char *p = map_touched(1);
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_non_null(mm->src);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	assert_null(mm->src);

	mm = attach();
	assert_int_equal(register_counter(&c, PAGE), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_non_null(mm->src);
	assert_int_equal(c.releases, 1);
	assert_int_equal(mirror_unregister(&c.mirror), 0);
	assert_null(mm->src);
	munmap(p, PAGE);
	mm = attach();
}

/* Death is for ever: no late end brings a range back. */
static void rule_07_dead_wins(void **state)
{
	struct hmm_range range;
	char *p = map_touched(1);
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	assert_int_equal(range_snapshot(&range, mm), 1);
	start_change(range.start, range.end);
	assert_int_equal(hmm_mm_detach(mm), 0);
	end_change(range.start, range.end);
	assert_false(hmm_range_valid(&range));
	assert_false(range_wait(&range));
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EFAULT);
	mmap_read_unlock(mm);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	mm = attach();
}

/* Not detached: as it is when the process has ended. */
static void rule_07_dead_wins_while_attached(void **state)
{
	struct hmm_range range, late;
	struct counter c, too_late;
	char *p = map_touched(1);
	uint64_t pfn;

	(void)state;
	assert_int_equal(register_counter(&c, PAGE), 0);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	make_valid(&range);
	hmm_kill(&mm->hmm);
	assert_false(hmm_range_valid(&range));
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EFAULT);
	assert_int_equal(hmm_range_fault(&range, true), -EFAULT);
	mmap_read_unlock(mm);
	assert_false(hmm_range_valid(&range));
	/* A change whose end nobody will tell any more. */
	start_change(range.start, range.end);
	assert_false(hmm_range_wait_until_valid(&range, FOR_EVER));

	range_init(&late, &pfn);
	assert_int_equal(hmm_range_register(&late, mm, range.start, range.end),
			 -EFAULT);
	assert_int_equal(register_counter(&too_late, PAGE), -EFAULT);
	/* Whoever finds out says so, and it is said once. */
	hmm_release(&mm->hmm);
	hmm_release(&mm->hmm);
	assert_int_equal(c.releases, 1);
	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&c.mirror), 0);
	munmap(p, PAGE);
}

struct nasty {
	struct hmm_mirror mirror;
	int ret;
	unsigned int calls;
	bool in, hold;
};

static int unregister_inside(struct hmm_mirror *mirror,
			     const struct hmm_update *update)
{
	struct nasty *n = (struct nasty *)mirror;

	(void)update;
	n->ret = hmm_mirror_unregister(mirror);
	__atomic_fetch_add(&n->calls, 1, __ATOMIC_RELEASE);
	return 0;
}

static int hold_inside(struct hmm_mirror *mirror,
		       const struct hmm_update *update)
{
	struct nasty *n = (struct nasty *)mirror;

	(void)update;
	__atomic_store_n(&n->in, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&n->hold, __ATOMIC_ACQUIRE))
		usleep(100);
	__atomic_store_n(&n->in, false, __ATOMIC_RELEASE);
	return 0;
}

static void *unregister_thread(void *arg)
{
	struct nasty *n = arg;

	n->ret = mirror_unregister(&n->mirror);
	/* Whatever the callback still does would be seen here. */
	return (void *)(uintptr_t)__atomic_load_n(&n->in, __ATOMIC_ACQUIRE);
}

/* The mirror's callback is running when this returns, until it is let go. */
static void hold_a_callback(struct nasty *n, struct hmm_range *range,
			    uint64_t *pfn)
{
	static const struct hmm_mirror_ops ops = {
		.sync_cpu_device_pagetables = hold_inside,
	};
	char *p = map_touched(1);

	*n = (struct nasty){ .mirror.ops = &ops, .hold = true };
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&n->mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(range, mm, p, 1, pfn, DEV_VALID);
	assert_int_equal(range_snapshot(range, mm), 1);
	munmap(p, PAGE);
	while (!__atomic_load_n(&n->in, __ATOMIC_ACQUIRE))
		usleep(100);
}

/* Unregister waits for a callback, and refuses from inside one. */
static void rule_08_unregister_against_callbacks(void **state)
{
	static const struct hmm_mirror_ops inside_ops = {
		.sync_cpu_device_pagetables = unregister_inside,
	};
	struct hmm_update update = { .start = PAGE,
				     .end = 2 * PAGE,
				     .blockable = true };
	struct nasty n = { .mirror.ops = &inside_ops, .ret = 1 };
	struct hmm_range range;
	pthread_t thread;
	uint64_t pfn;
	void *inside;

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&n.mirror, mm), 0);
	mmap_write_unlock(mm);
	hmm_mirrors_sync(&mm->hmm, &update);
	assert_int_equal(n.ret, -EDEADLK);
	assert_int_equal(mirror_unregister(&n.mirror), 0);

	hold_a_callback(&n, &range, &pfn);
	pthread_create(&thread, NULL, unregister_thread, &n);
	usleep(10000);
	__atomic_store_n(&n.hold, false, __ATOMIC_RELEASE);
	pthread_join(thread, &inside);
	assert_int_equal(n.ret, 0);
	assert_null(inside);
	hmm_range_unregister(&range);
}

struct contender {
	struct hmm_mirror *mirror;
	int ret;
	bool done;
};

static void *contend(void *arg)
{
	struct contender *c = arg;

	c->ret = mirror_unregister(c->mirror);
	__atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Of two threads one does it, since the mirror has one pin; the other is told. */
static void rule_08_unregister_by_two_threads(void **state)
{
	struct nasty n;
	struct contender c[2] = { { .mirror = &n.mirror },
				  { .mirror = &n.mirror } };
	unsigned int pins = mm->pins;
	struct hmm_range range;
	pthread_t thread[2];
	uint64_t pfn;
	int i, loser;

	(void)state;
	hold_a_callback(&n, &range, &pfn);
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, contend, &c[i]);
	/* While the callback runs nobody else can be done. */
	for (i = 0; !__atomic_load_n(&c[i].done, __ATOMIC_ACQUIRE); i = !i)
		usleep(100);
	loser = i;
	__atomic_store_n(&n.hold, false, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(c[loser].ret, -EBUSY);
	assert_int_equal(c[!loser].ret, 0);
	hmm_range_unregister(&range);
	assert_int_equal(mm->pins, pins);
}

static void *attach_thread(void *arg)
{
	struct mm_struct *other = NULL;

	(void)arg;
	return hmm_mm_attach(&other, NULL) ? NULL : other;
}

/* Two who create at the same time both succeed, with the same. */
static void rule_09_racing_creators(void **state)
{
	pthread_t thread[8];
	void *got[8];
	int round, i;

	(void)state;
	for (round = 0; round < 5; round++) {
		assert_int_equal(hmm_mm_detach(mm), 0);
		for (i = 0; i < 8; i++)
			pthread_create(&thread[i], NULL, attach_thread, NULL);
		for (i = 0; i < 8; i++) {
			pthread_join(thread[i], &got[i]);
			assert_non_null(got[i]);
			assert_ptr_equal(got[i], got[0]);
		}
		for (i = 1; i < 8; i++)
			assert_int_equal(hmm_mm_detach(got[i]), 0);
		mm = got[0];
	}
}

static bool churning;

static void *churn_elsewhere(void *arg)
{
	char *p = arg;

	while (__atomic_load_n(&churning, __ATOMIC_ACQUIRE)) {
		memset(p, 1, 4 * PAGE);
		madvise(p, 4 * PAGE, MADV_DONTNEED);
	}
	return NULL;
}

struct witness {
	struct hmm_mirror mirror;
	unsigned long start, end;
	bool hit;
};

static int see(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct witness *w = (struct witness *)mirror;

	if (update->start < w->end && w->start < update->end)
		__atomic_store_n(&w->hit, true, __ATOMIC_RELEASE);
	return 0;
}

/* The mirrors have been told of all that has been counted so far. */
static void settle(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t started;

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	started = info.started;
	while (info.told < started) {
		usleep(1000);
		assert_int_equal(hmm_mm_query(mm, &info), 0);
	}
}

/*
 * Changes elsewhere neither invalidate a range nor start it invalid.  If it was,
 * then the system migrated a page, or a flood from elsewhere overflowed the
 * ring, which the witness was told of.
 */
static void rule_10_disjoint_changes_do_not_matter(void **state)
{
	char *p = map_touched(4), *q = map_touched(4);
	struct hmm_range range;
	static const struct hmm_mirror_ops see_ops = {
		.sync_cpu_device_pagetables = see,
	};
	struct witness w = {
		.mirror.ops = &see_ops,
		.start = (unsigned long)p,
		.end = (unsigned long)p + 4 * PAGE,
	};
	unsigned int kept = 0;
	pthread_t thread;
	uint64_t pfns[4];
	int i;

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&w.mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	/* One that does not end, to begin with. */
	start_change((unsigned long)q, (unsigned long)q + 4 * PAGE);
	assert_true(range_wait(&range));
	make_valid(&range);
	end_change((unsigned long)q, (unsigned long)q + 4 * PAGE);

	churning = true;
	assert_int_equal(range_snapshot(&range, mm), 4);
	pthread_create(&thread, NULL, churn_elsewhere, q);
	for (i = 0; i < 20000; i++) {
		struct hmm_range other;

		/* Not yet known is no verdict: it must be one in the end. */
		kept += hmm_range_valid(&range);
		if (!range.valid)
			break;
		if (i % 100)
			continue;
		range_start(&other, mm, p, 4, pfns, DEV_VALID);
		assert_int_equal(range_snapshot(&other, mm), 4);
		hmm_range_unregister(&other);
	}
	__atomic_store_n(&churning, false, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_true(range_wait(&range));
	if (!range_valid_soon(&range) || !kept) {
		settle();
		assert_true(__atomic_load_n(&w.hit, __ATOMIC_ACQUIRE));
	}
	hmm_range_unregister(&range);
	assert_int_equal(mirror_unregister(&w.mirror), 0);
	munmap(p, 4 * PAGE);
	munmap(q, 4 * PAGE);
}

/* Neighbours that only touch do not overlap; one byte in common does. */
static void rule_11_overlap_is_half_open(void **state)
{
	char *p = map_touched(3);
	struct hmm_range range;
	uint64_t pfn;

	(void)state;
	range_start(&range, mm, p + PAGE, 1, &pfn, DEV_VALID);
	/* Again, if something else has changed it. */
	do {
		p[0] = p[2 * PAGE] = 1;
		assert_int_equal(range_snapshot(&range, mm), 1);
		madvise(p, PAGE, MADV_DONTNEED);
		madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED);
		assert_true(range_wait(&range));
	} while (!range_valid_soon(&range));
	madvise(p, 2 * PAGE, MADV_DONTNEED);
	assert_false(hmm_range_valid(&range));

	start_change(range.start - PAGE, range.start);
	start_change(range.end, range.end + PAGE);
	assert_true(range_wait(&range));
	make_valid(&range);
	start_change(range.end - 1, range.end);
	assert_false(hmm_range_valid(&range));
	assert_false(hmm_range_wait_until_valid(&range, 1));
	end_change(range.end - 1, range.end);
	end_change(range.end, range.end + PAGE);
	end_change(range.start - PAGE, range.start);
	hmm_range_unregister(&range);
	munmap(p, 3 * PAGE);
}

static void *try_write(void *arg)
{
	int ret = pthread_rwlock_trywrlock(arg);

	if (!ret)
		pthread_rwlock_unlock(arg);
	return (void *)(intptr_t)ret;
}

/* Is the mmap lock held?  Nobody but the test would. */
static bool still_locked(void)
{
	pthread_t thread;
	void *ret;

	pthread_create(&thread, NULL, try_write, &mm->mmap_lock);
	pthread_join(thread, &ret);
	return ret != NULL;
}

/* Until it works, or fails with the mmap lock held, which is given back. */
static int legacy_fault(struct hmm_range *range)
{
	unsigned long start = range->start, end = range->end;
	int ret;

	do {
		range->start = start;
		range->end = end;
		mmap_read_lock(mm);
		ret = hmm_vma_fault(range, true);
		/* Then there is nothing to try again. */
		if (ret == -EAGAIN || ret == -EBUSY)
			assert_false(READ_ONCE(mm->hmm.dead));
	} while (ret == -EAGAIN || ret == -EBUSY);
	assert_true(still_locked());
	mmap_read_unlock(mm);
	return ret;
}

/* hmm_vma_fault() leaves no range behind when time is up. */
static void rule_12_legacy_leaks_no_range(void **state)
{
	struct vm_area_struct vma;
	struct hmm_range range;
	char *p = map_touched(2);
	unsigned long start = (unsigned long)p;
	uint64_t pfns[2];
	bool done;
	int ret;

	(void)state;
	range_init(&range, pfns);
	range.default_flags = DEV_VALID;
	assert_int_equal(hmm_find_vma(mm, start, &vma), 0);
	range.vma = &vma;
	range.start = start;
	range.end = start + 2 * PAGE;
	start_change(start, start + PAGE);
	mmap_read_lock(mm);
	assert_int_equal(hmm_vma_fault(&range, true), -EAGAIN);
	/* Dropped: this does not deadlock. */
	mmap_write_lock(mm);
	mmap_write_unlock(mm);
	assert_null(range.hmm);
	end_change(start, start + PAGE);

	do {
		range.start = start;
		range.end = start + 2 * PAGE;
		ret = legacy_fault(&range);
		assert_int_equal(ret, 0);
		assert_true(pfns[0] & DEV_VALID);
		/* Something else may have changed it. */
		done = range_valid_soon(&range);
		done = hmm_vma_range_done(&range) && done;
		assert_null(range.hmm);
	} while (!done);
	assert_false(hmm_vma_range_done(&range));
	munmap(p, 2 * PAGE);
}

static void *kill_mm(void *arg)
{
	usleep(20000);
	hmm_kill(arg);
	return NULL;
}

/* Who waits in hmm_vma_fault() is told of death, not to try again for ever. */
static void rule_13_legacy_tells_of_death(void **state)
{
	struct vm_area_struct vma;
	struct hmm_range range;
	char *p = map_touched(1);
	unsigned long start = (unsigned long)p;
	pthread_t thread;
	uint64_t pfn;

	(void)state;
	range_init(&range, &pfn);
	assert_int_equal(hmm_find_vma(mm, start, &vma), 0);
	range.vma = &vma;
	range.start = start;
	range.end = start + PAGE;
	start_change(start, start + PAGE);
	pthread_create(&thread, NULL, kill_mm, &mm->hmm);
	/* -EAGAIN first, if the thread takes longer than the call waits. */
	assert_int_equal(legacy_fault(&range), -EFAULT);
	assert_null(range.hmm);
	pthread_join(thread, NULL);
	munmap(p, PAGE);
}

/* Only -EAGAIN means that the mmap lock was dropped. */
static void rule_13_lock_state_by_code(void **state)
{
	char *p = map_touched(1), *none = map_pages(1, PROT_NONE);
	struct hmm_range range;
	uint64_t pfn;
	long ret;

	(void)state;
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	start_change(range.start, range.end);
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EBUSY);
	assert_true(still_locked());
	assert_int_equal(hmm_range_fault(&range, true), -EBUSY);
	assert_true(still_locked());
	end_change(range.start, range.end);
	do
		ret = hmm_range_fault(&range, true);
	while (ret == -EBUSY);
	assert_int_equal(ret, 1);
	assert_true(still_locked());
	mmap_read_unlock(mm);
	hmm_range_unregister(&range);

	range_start(&range, mm, none, 1, &pfn, DEV_VALID);
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_fault(&range, true), -EPERM);
	assert_true(still_locked());
	mmap_read_unlock(mm);
	assert_false(still_locked());
	hmm_range_unregister(&range);
	munmap(p, PAGE);
	munmap(none, PAGE);
}

/* A file whose pages are not cached: the one thing that has to be read. */
static char *map_cold_file(size_t pages)
{
	char path[] = "/var/tmp/hmm-cold-XXXXXX";
	int fd = mkstemp(path);
	char *p;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	p = quiet_mmap(pages * PAGE, PROT_READ, MAP_SHARED, fd);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	return p;
}

/* block = true keeps the lock; block = false drops it rather than wait. */
static void rule_15_block_decides(void **state)
{
	struct hmm_range range;
	unsigned char resident;
	int again = 0;
	uint64_t pfn;
	char *p;
	long ret;

	(void)state;
	p = map_cold_file(1);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	do {
		assert_true(range_wait(&range));
		mmap_read_lock(mm);
		ret = hmm_range_fault(&range, true);
		assert_true(still_locked());
		mmap_read_unlock(mm);
	} while (ret == -EBUSY);
	assert_int_equal(ret, 1);
	hmm_range_unregister(&range);
	munmap(p, PAGE);

	p = map_cold_file(1);
	assert_int_equal(mincore(p, PAGE, &resident), 0);
	range_start(&range, mm, p, 1, &pfn, DEV_VALID);
	do {
		assert_true(range_wait(&range));
		mmap_read_lock(mm);
		ret = hmm_range_fault(&range, false);
		if (ret == -EAGAIN) {
			assert_false(still_locked());
			again++;
			usleep(1000);
		} else {
			assert_true(still_locked());
			mmap_read_unlock(mm);
		}
	} while (ret == -EAGAIN || ret == -EBUSY);
	assert_int_equal(ret, 1);
	assert_true(pfn & DEV_VALID);
	/* A filesystem in memory has nothing to wait for. */
	if (!(resident & 1))
		assert_true(again > 0);
	hmm_range_unregister(&range);
	munmap(p, PAGE);
}

/* What can't be had is said, not tried for ever. */
static void rule_16_write_to_read_only(void **state)
{
	char *p = map_pages(2, PROT_READ);
	uint64_t pfns[2] = { DEV_VALID | DEV_WRITE, 0 };
	struct hmm_range range;

	(void)state;
	range_start(&range, mm, p, 2, pfns, 0);
	range.pfn_flags_mask = ~0ull;
	assert_int_equal(range_fault(&range, mm), -EPERM);
	assert_true(pfns[0] == (DEV_VALID | DEV_WRITE));
	hmm_range_unregister(&range);
	munmap(p, 2 * PAGE);
}

/* Holes: an error where requested, NONE in a snapshot that goes on. */
static void rule_17_holes(void **state)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];

	(void)state;
	munmap(p + PAGE, 2 * PAGE);
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	/* Again, if what was there is being moved or was taken away. */
	do {
		p[0] = p[3 * PAGE] = 1;
		assert_int_equal(range_snapshot(&range, mm), 4);
		assert_true(pfns[1] == DEV_NONE && pfns[2] == DEV_NONE);
	} while (!(pfns[0] & pfns[3] & DEV_VALID));
	assert_int_equal(range_fault(&range, mm), -EFAULT);
	range.default_flags = 0;
	assert_int_equal(range_fault(&range, mm), 4);
	assert_true(pfns[1] == DEV_NONE && (pfns[3] & DEV_VALID));
	hmm_range_unregister(&range);
	munmap(p, 4 * PAGE);
}

static bool swapped(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	assert_int_equal(pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)),
			 8);
	close(fd);
	return entry >> 62 & 1;
}

/* Swap entries are brought in when requested. */
static void rule_18_swap_is_brought_in(void **state)
{
	char *p = map_touched(4);
	struct hmm_range range;
	uint64_t pfns[4];

	(void)state;
	madvise(p, 4 * PAGE, MADV_PAGEOUT);
	if (!swapped(p)) {
		print_message("[  SKIP  ] no swap space here\n");
		munmap(p, 4 * PAGE);
		skip();
	}
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_int_equal(range_snapshot(&range, mm), 4);
	assert_true(pfns[0] == DEV_NONE);
	assert_int_equal(range_fault(&range, mm), 4);
	assert_true(pfns[0] & DEV_VALID);
	assert_int_equal(p[3 * PAGE], 4);
	hmm_range_unregister(&range);
	munmap(p, 4 * PAGE);
}

/* Requests survive every error; success never shows NONE for a request. */
static void rule_19_requests_survive(void **state)
{
	char *p = map_touched(2), *hole = map_touched(2);
	uint64_t pfns[2] = { DEV_VALID | DEV_WRITE, DEV_VALID };
	struct hmm_range range;

	(void)state;
	munmap(hole + PAGE, PAGE);
	range_start(&range, mm, hole, 2, pfns, 0);
	range.pfn_flags_mask = ~0ull;
	assert_int_equal(range_fault(&range, mm), -EFAULT);
	assert_true(pfns[0] == (DEV_VALID | DEV_WRITE));
	assert_true(pfns[1] == DEV_VALID);
	hmm_range_unregister(&range);

	range_start(&range, mm, p, 2, pfns, 0);
	range.pfn_flags_mask = ~0ull;
	start_change(range.start, range.end);
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_fault(&range, true), -EBUSY);
	assert_int_equal(hmm_range_snapshot(&range), -EBUSY);
	mmap_read_unlock(mm);
	end_change(range.start, range.end);
	assert_true(pfns[0] == (DEV_VALID | DEV_WRITE));
	assert_true(pfns[1] == DEV_VALID);
	madvise(p, 2 * PAGE, MADV_DONTNEED);
	assert_int_equal(range_fault(&range, mm), 2);
	assert_true((pfns[0] & (DEV_VALID | DEV_WRITE)) ==
		    (DEV_VALID | DEV_WRITE));
	assert_true(pfns[1] & DEV_VALID);
	hmm_range_unregister(&range);
	munmap(p, 2 * PAGE);
	munmap(hole, PAGE);
}

/* Only what is requested is faulted; everything is written. */
static void rule_20_no_overfaulting(void **state)
{
	char *p = map_pages(8, PROT_READ | PROT_WRITE);
	uint64_t pfns[8] = { 0 };
	unsigned char resident[8];
	struct hmm_range range;
	int i;

	(void)state;
	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	range_start(&range, mm, p, 8, pfns, 0);
	range.pfn_flags_mask = ~0ull;
	pfns[2] = DEV_VALID;
	pfns[5] = DEV_VALID | DEV_WRITE;
	assert_int_equal(range_fault(&range, mm), 8);
	mincore(p, 8 * PAGE, resident);
	for (i = 0; i < 8; i++) {
		bool asked = i == 2 || i == 5;

		assert_int_equal(resident[i] & 1, asked);
		if (asked)
			assert_true(pfns[i] & DEV_VALID);
		else
			assert_true(pfns[i] == DEV_NONE);
	}
	assert_true(pfns[5] & DEV_WRITE);
	assert_false(pfns[2] & DEV_WRITE);
	hmm_range_unregister(&range);
	munmap(p, 8 * PAGE);
}

/* The count is that of the final entries, all of the range's. */
static void rule_21_count_is_all(void **state)
{
	char *p = map_pages(100, PROT_READ | PROT_WRITE);
	struct hmm_range range;
	uint64_t pfns[100];
	int i;

	(void)state;
	memset(pfns, 0xff, sizeof(pfns));
	range_start(&range, mm, p, 100, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), 100);
	for (i = 0; i < 100; i++)
		assert_true(pfns[i] == DEV_NONE);
	range.default_flags = DEV_VALID;
	assert_int_equal(range_fault(&range, mm), 100);
	for (i = 0; i < 100; i++)
		assert_true(pfns[i] & DEV_VALID);
	hmm_range_unregister(&range);
	munmap(p, 100 * PAGE);
}

/* A file where those of devices are; NULL if there can't be one. */
static char *map_file_of_dev(void)
{
	int fd = open("/dev", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, PAGE))
		p = quiet_mmap(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* Special memory is SPECIAL, and nothing else is. */
static void rule_22_special(void **state)
{
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
	struct vm_area_struct vma;
	struct hmm_range range;
	unsigned long addr = 0;
	uint64_t pfn;
	bool seen = false;
	char *file;
	long ret;

	(void)state;
	/* vvar lies right below the vdso, and is VM_IO | VM_PFNMAP. */
	while (!hmm_find_vma(mm, addr, &vma) && !seen) {
		addr = vma.vm_end;
		if (!(vma.vm_flags & HMM_VM_SPECIAL))
			continue;
		seen = true;
		range_init(&range, &pfn);
		if (hmm_range_register(&range, mm, vma.vm_start,
				       vma.vm_start + PAGE))
			continue;
		assert_int_equal(range_snapshot(&range, mm), 1);
		assert_true(pfn == DEV_SPECIAL);
		range.default_flags = DEV_VALID;
		assert_int_equal(range_fault(&range, mm), -EFAULT);
		hmm_range_unregister(&range);
	}
	if (vdso)
		assert_true(seen);
	file = map_file_of_dev();
	if (file) {
		range_start(&range, mm, file, 1, &pfn, DEV_VALID);
		assert_int_equal(range_fault(&range, mm), 1);
		assert_true(pfn & DEV_VALID);
		hmm_range_unregister(&range);
		munmap(file, PAGE);
	}
	/* The vdso's code is memory like any other. */
	range_init(&range, &pfn);
	if (!vdso || hmm_range_register(&range, mm, vdso, vdso + PAGE))
		return;
	range.default_flags = DEV_VALID;
	ret = range_fault(&range, mm);
	hmm_range_unregister(&range);
	if (ret == -EOPNOTSUPP && source_is(mm, "uffd"))
		return;
	assert_int_equal(ret, 1);
	assert_true(pfn & DEV_VALID);
}

/* A change finds the ranges that it overlaps among very many others. */
static void rule_23_many_ranges(void **state)
{
	enum { N = 100000 };
	struct hmm_range *ranges = calloc(N, sizeof(*ranges));
	unsigned long base = 0x100000000000ul;
	char *p = map_touched(2);
	struct hmm_range mine;
	uint64_t pfns[2];
	int i, wrong, tries = 100;

	(void)state;
	assert_non_null(ranges);
	for (i = 0; i < N; i++) {
		range_init(&ranges[i], pfns);
		if (source_is(mm, "uffd") && i > 1000)
			continue;
		assert_int_equal(
			hmm_range_register(&ranges[i], mm,
					   base + (unsigned long)i * 2 * PAGE,
					   base + ((unsigned long)i * 2 + 3) *
							   PAGE),
			0);
	}
	range_start(&mine, mm, p, 2, pfns, DEV_VALID);
	/* Again, if something else has changed mine, or was lost: that is all. */
	do {
		assert_true(tries--);
		make_valid(&mine);
		for (i = 0; i < 1000; i++)
			ranges[i].valid = true;
		/* A page in the middle belongs to two, an odd one to one. */
		hmm_invalidate_past(&mm->hmm, base + 200 * PAGE,
				    base + 201 * PAGE);
		for (i = 0, wrong = 0; i < 1000; i++)
			wrong += ranges[i].valid != (i != 99 && i != 100);
	} while (wrong || !range_valid_soon(&mine));
	for (i = 0; i < N; i++)
		hmm_range_unregister(&ranges[i]);
	madvise(p, PAGE, MADV_DONTNEED);
	assert_false(hmm_range_valid(&mine));
	hmm_range_unregister(&mine);
	free(ranges);
	munmap(p, 2 * PAGE);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(rule_01_no_stale_valid),
		RULE(rule_02_failed_start_leaves_no_trace),
		RULE(rule_03_mirror_errors_are_not_lost),
		RULE(rule_04_end_never_sleeps),
		RULE(rule_05_06_lifetime_outlasts_detach),
		RULE(rule_05_06_one_pin_is_enough),
		RULE(rule_07_dead_wins),
		RULE(rule_07_dead_wins_while_attached),
		RULE(rule_08_unregister_against_callbacks),
		RULE(rule_08_unregister_by_two_threads),
		RULE(rule_09_racing_creators),
		RULE(rule_10_disjoint_changes_do_not_matter),
		RULE(rule_11_overlap_is_half_open),
		RULE(rule_12_legacy_leaks_no_range),
		RULE(rule_13_lock_state_by_code),
		RULE(rule_13_legacy_tells_of_death),
		/* 14, the documented driver loop, is driver_loop.c. */
		RULE(rule_15_block_decides),
		RULE(rule_16_write_to_read_only),
		RULE(rule_17_holes),
		RULE(rule_18_swap_is_brought_in),
		RULE(rule_19_requests_survive),
		RULE(rule_20_no_overfaulting),
		RULE(rule_21_count_is_all),
		RULE(rule_22_special),
		RULE(rule_23_many_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
