// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * cancel.c - a thread that is cancelled ends in code of its own, not inside the
 * library with locks that nobody would give back
 */
#include "attached.h"

/* What a thread does that has been cancelled before: it has to come back. */
struct job {
	void (*call)(struct job *job);
	struct hmm_range range;
	uint64_t pfns[4];
	char *p;
	long ret;
	bool back;
};

static void *cancelled(void *arg)
{
	struct job *job = arg;

	pthread_cancel(pthread_self());
	job->call(job);
	job->back = true;
	pthread_testcancel();
	return NULL;
}

static void run(struct job *job, void (*call)(struct job *job))
{
	pthread_t thread;
	void *result;

	job->call = call;
	job->back = false;
	assert_int_equal(pthread_create(&thread, NULL, cancelled, job), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_true(job->back);
	assert_ptr_equal(result, PTHREAD_CANCELED);
}

static void call_attach(struct job *job)
{
	const struct hmm_attach_opts opts = { .size = sizeof(opts),
					      .source = "none" };
	struct hmm_source_info info = { .size = sizeof(info) };
	struct mm_struct *other;
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++)
		;
	/* Says so, on stderr. */
	job->ret = hmm_mm_attach(&other, &opts);
	if (job->ret != -ENOENT)
		return;
	job->ret = hmm_mm_attach(&other, NULL);
	if (!job->ret)
		job->ret = hmm_mm_detach(other);
}

/* The last one, too, which has something to take down. */
static void attach_and_detach(void **state)
{
	struct job job = { .ret = -1 };

	(void)state;
	run(&job, call_attach);
	assert_int_equal(job.ret, 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	run(&job, call_attach);
	assert_int_equal(job.ret, 0);
	mm = attach();
}

static void call_fault(struct job *job)
{
	job->ret = range_fault(&job->range, mm);
}

static void call_fault_nowait(struct job *job)
{
	mmap_read_lock(mm);
	job->ret = hmm_range_fault(&job->range, false);
	if (job->ret != -EAGAIN)
		mmap_read_unlock(mm);
}

static void call_change(struct job *job)
{
	madvise(job->p, 4 * PAGE, MADV_DONTNEED);
	job->ret = hmm_range_valid(&job->range);
}

static void call_find_vma(struct job *job)
{
	struct vm_area_struct vma;

	job->ret = hmm_find_vma(mm, (unsigned long)job->p, &vma);
}

static void look_fault_and_ask(void **state)
{
	struct job job = { .p = map_touched(4) };

	(void)state;
	range_start(&job.range, mm, job.p, 4, job.pfns, DEV_VALID | DEV_WRITE);
	run(&job, call_fault);
	assert_int_equal(job.ret, 4);
	run(&job, call_change);
	assert_int_equal(job.ret, 0);
	run(&job, call_fault_nowait);
	assert_true(job.ret == 4 || job.ret == -EAGAIN || job.ret == -EBUSY);
	run(&job, call_find_vma);
	assert_int_equal(job.ret, 0);
	/* Everything is as it was: nobody holds a lock. */
	assert_int_equal(range_fault_until_valid(&job.range, mm), 4);
	hmm_range_unregister(&job.range);
	munmap(job.p, 4 * PAGE);
}

static int quiet(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

static void call_mirror(struct job *job)
{
	static const struct hmm_mirror_ops ops = {
		.sync_cpu_device_pagetables = quiet,
	};
	struct hmm_mirror mirror = { .ops = &ops };

	mmap_write_lock(mm);
	job->ret = hmm_mirror_register(&mirror, mm);
	mmap_write_unlock(mm);
	if (job->ret)
		return;
	/* Whoever takes its record wakes the watcher. */
	call_change(job);
	job->ret = mirror_unregister(&mirror);
}

static void mirrors(void **state)
{
	struct job job = { .p = map_touched(4) };

	(void)state;
	range_start(&job.range, mm, job.p, 4, job.pfns, DEV_VALID);
	assert_int_equal(range_fault(&job.range, mm), 4);
	run(&job, call_mirror);
	assert_int_equal(job.ret, 0);
	hmm_range_unregister(&job.range);
	munmap(job.p, 4 * PAGE);
}

/* The last pin: what is taken down may have to be waited for. */
static void call_unregister(struct job *job)
{
	hmm_range_unregister(&job->range);
	job->ret = 0;
}

static void last_range(void **state)
{
	struct job job = { .p = map_touched(4) };

	(void)state;
	range_start(&job.range, mm, job.p, 4, job.pfns, DEV_VALID);
	assert_int_equal(range_fault(&job.range, mm), 4);
	assert_int_equal(hmm_mm_detach(mm), 0);
	mm = NULL;
	run(&job, call_unregister);
	munmap(job.p, 4 * PAGE);
	mm = attach();
}

#define CANCEL(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CANCEL(attach_and_detach),
		CANCEL(look_fault_and_ask),
		CANCEL(mirrors),
		CANCEL(last_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
