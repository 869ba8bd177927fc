// SPDX-License-Identifier: MIT OR GPL-2.0
/* dmirror_life.c - the software device's queue, its end, and fork */
#include <signal.h>

#include "churn.h"
#include "internal.h"

#include "attached.h"

/* ---- Atomic ADD ----------------------------------------------------------- */

struct adder {
	struct dmirror *dm;
	uint64_t *p;
	pthread_t thread;
	int ret;
};

static void *adder_main(void *arg)
{
	struct adder *adder = arg;
	uint64_t old;
	int i;

	for (i = 0; i < 500 && !adder->ret; i++)
		adder->ret = dev_add(adder->dm, adder->p, 3, &old);
	return NULL;
}

static void add_is_atomic(void **state)
{
	const struct dmirror_opts opts = { .engines = 4 };
	struct dmirror *dm = device(mm, &opts);
	char *p = map_touched(2);
	uint64_t *sum = (uint64_t *)(p + PAGE - 8);
	struct adder adder[4];
	int i;

	(void)state;
	*sum = 0;
	for (i = 0; i < 4; i++) {
		adder[i] = (struct adder){ .dm = dm, .p = sum };
		assert_int_equal(pthread_create(&adder[i].thread, NULL,
						adder_main, &adder[i]),
				 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(adder[i].thread, NULL);
		assert_int_equal(adder[i].ret, 0);
	}
	assert_int_equal(*sum, 4 * 500 * 3);
	assert_int_equal(stats_of(dm).op[DMIRROR_ADD].ops -
				 stats_of(dm).op[DMIRROR_ADD].errors,
			 2000);
	assert_int_equal(device_destroy(dm), 0);
	munmap(p, 2 * PAGE);
}

/* ---- The queue and the end ------------------------------------------------ */

static bool waited;

static void *wait_main(void *arg)
{
	void **args = arg;
	int ret = dmirror_wait(args[0], args[1]);

	__atomic_store_n(&waited, true, __ATOMIC_RELEASE);
	return (void *)(intptr_t)ret;
}

/* It waits, and the device does not go before it has left; or it has. */
static void await_waiter(struct dmirror *dm)
{
	bool there = false;

	while (!there && !__atomic_load_n(&waited, __ATOMIC_ACQUIRE)) {
		usleep(1000);
		pthread_mutex_lock(&dm->qlock);
		there = dm->users;
		pthread_mutex_unlock(&dm->qlock);
	}
}

#define OPS 1000

/* Full is -EAGAIN; what is queued when the end comes is told so. */
static void destroy_with_ops_queued(void **state)
{
	const struct dmirror_opts opts = { .engines = 1, .queue_depth = 4 };
	const size_t len = 4096 * PAGE;
	struct dmirror *dm = device(mm, &opts);
	char *p = map_pages(4096, PROT_READ | PROT_WRITE);
	static struct dmirror_op op[OPS];
	void *args[2] = { dm, NULL }, *ret;
	int i, full = 0, queued = 0, canceled = 0;
	struct dmirror_op *last;
	pthread_t waiter;

	(void)state;
	for (i = 0; i < OPS; i++) {
		op[i] = (struct dmirror_op){ .type = DMIRROR_FILL,
					     .addr = (unsigned long)p,
					     .len = len };
		full = dmirror_submit(dm, &op[i]);
		if (full)
			break;
		queued++;
	}
	assert_true(queued >= 4);
	assert_int_equal(full, -EAGAIN);
	args[1] = last = &op[queued - 1];
	waited = false;
	assert_int_equal(pthread_create(&waiter, NULL, wait_main, args), 0);
	await_waiter(dm);
	assert_int_equal(device_destroy(dm), 0);
	pthread_join(waiter, &ret);
	assert_int_equal((int)(intptr_t)ret, last->status);
	for (i = 0; i < queued; i++) {
		assert_false(op[i].busy);
		assert_true(op[i].status == 0 || op[i].status == -ECANCELED);
		canceled += op[i].status == -ECANCELED;
	}
	print_message("%d queued, %d canceled\n", queued, canceled);
	munmap(p, len);
}

static void destroy_under_churn(void **state)
{
	struct dmirror_opts opts = { .verify = true, .settle = churn_settle };
	unsigned int seed = 11;
	struct churn churn;
	int i, j;

	(void)state;
	churn_start(&churn, mm);
	for (i = 0; i < 30; i++) {
		struct dmirror *dm = device(mm, &opts);

		for (j = 0; j < 5; j++)
			assert_true(tolerable(random_op(dm, churn.p, &seed)));
		assert_not_stale(dm);
		assert_int_equal(device_destroy(dm), 0);
	}
	churn_stop(&churn);
}

/* The child has no engines: it is told so, and can be rid of the device. */
static int in_child(struct dmirror *dm)
{
	struct dmirror_stats stats;
	struct mm_struct *own;
	char buf[8];

	if (dev_read(dm, buf, buf, 8) != -EFAULT)
		return 1;
	if (dmirror_verify(dm, 1) != -EFAULT)
		return 2;
	dmirror_stats(dm, &stats);
	if (device_destroy(dm))
		return 3;
	/* And it can have a device of its own. */
	if (hmm_mm_attach(&own, NULL))
		return 4;
	if (dmirror_create(&dm, own, NULL))
		return 5;
	if (dev_fill(dm, buf, 7, 8) || buf[3] != 7)
		return 6;
	if (device_destroy(dm) || hmm_mm_detach(own))
		return 7;
	return 0;
}

static void fork_while_it_works(void **state)
{
	unsigned int seed = 5, i, j;
	struct churn churn;
	struct dmirror *dm;
	int status;
	pid_t pid;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	print_message("skip: sanitizers don't support threads after a fork\n");
	skip();
#endif
	dm = device(mm, NULL);
	churn_start(&churn, mm);
	for (i = 0; i < 20; i++) {
		struct dmirror_op op[4];

		for (j = 0; j < 4; j++) {
			op[j] = (struct dmirror_op){
				.type = DMIRROR_CHECKSUM,
				.addr = (unsigned long)churn.p,
				.len = LEN
			};
			assert_int_equal(dmirror_submit(dm, &op[j]), 0);
		}
		pid = fork();
		if (!pid) {
			watchdog(20);
			_exit(in_child(dm));
		}
		for (j = 0; j < 4; j++)
			assert_true(tolerable(dmirror_wait(dm, &op[j])));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_true(tolerable(random_op(dm, churn.p, &seed)));
	}
	churn_stop(&churn);
	/* Copying on write, which fork brings, is not seen by level 1. */
	if (churn.all_kinds)
		assert_not_stale(dm);
	assert_int_equal(device_destroy(dm), 0);
}

/* ---- When nobody tells any more ------------------------------------------- */

/* The upper half of the uffd source's counter names its process. */
static pid_t monitor(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return (pid_t)(info.started >> 32);
}

/* The source is gone: what the device holds can't be told from stale. */
static void source_dies(void **state)
{
	struct dmirror *dm = device(mm, NULL);
	char *p = map_touched(4);

	(void)state;
	if (!source_is(mm, "uffd")) {
		print_message("skip: only the uffd source has a process\n");
		device_destroy(dm);
		munmap(p, 4 * PAGE);
		skip();
	}
	hmm_set_log(NULL);
	assert_int_equal(dev_fill(dm, p, 1, 4 * PAGE), 0);
	assert_true(stats_of(dm).mapped_bytes >= 4 * PAGE);
	assert_int_equal(kill(monitor(), SIGKILL), 0);
	while (!stats_of(dm).releases)
		usleep(1000);
	assert_int_equal(stats_of(dm).releases, 1);
	assert_int_equal(stats_of(dm).mapped_bytes, 0);
	assert_int_equal(dev_fill(dm, p, 1, 4 * PAGE), -EFAULT);
	assert_int_equal(device_destroy(dm), 0);
	munmap(p, 4 * PAGE);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(add_is_atomic),       test(destroy_with_ops_queued),
		test(destroy_under_churn), test(fork_while_it_works),
		test(source_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
