// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dmirror_churn.c - the software device while everything changes
 *
 * What it does may then fail with an error, or see the memory from before or
 * after a change.  It must not crash, hang, see anything else, or hold a
 * translation that outlived its page.
 */
#include "device.h"

#define PAGES 64
#define LEN (PAGES * PAGE)
#define BYTE 0x5a

static struct mm_struct *mm;

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	mm = attach();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(hmm_mm_detach(mm), 0);
	watchdog(0);
	return 0;
}

/*
 * Where nobody else maps anything: what is unmapped here is mapped again, and
 * must not have become a thread's stack meanwhile.
 */
#define PLACE ((char *)0x20000000)

static char *map_place(void)
{
	char *p =
		mmap(PLACE, 2 * LEN, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(p, PLACE);
	return p;
}

/* ---- Changes, as fast as they go ------------------------------------------ */

struct churn {
	char *p;
	bool stop, all_kinds;
	pthread_t thread;
	unsigned long rounds;
};

static void fresh(char *p)
{
	assert_ptr_equal(mmap(p, LEN, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 p);
}

static void *churn_main(void *arg)
{
	struct churn *c = arg;
	unsigned int seed = 1;
	char *p = c->p, *away;
	pid_t pid;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		size_t at = (size_t)rand_r(&seed) % PAGES * PAGE;
		size_t len = LEN - at;

		memset(p, BYTE, LEN);
		switch (rand_r(&seed) % (c->all_kinds ? 7 : 4)) {
		case 0:
			munmap(p + at, len);
			break;
		case 1:
			fresh(p);
			break;
		case 2:
			madvise(p + at, len, MADV_DONTNEED);
			break;
		case 3:
			away = mremap(p, LEN, LEN,
				      MREMAP_MAYMOVE | MREMAP_FIXED, p + LEN);
			/* Refused if userfaultfd watches only a part of it. */
			if (away != MAP_FAILED)
				munmap(away, LEN);
			break;
		/* What a source of level 1 does not see. */
		case 4:
			mprotect(p + at, len, PROT_NONE);
			break;
		case 5:
			mprotect(p + at, len, PROT_READ);
			break;
		case 6:
			pid = fork();
			if (!pid)
				_exit(0);
			p[at] = BYTE;
			waitpid(pid, NULL, 0);
			break;
		}
		__atomic_fetch_add(&c->rounds, 1, __ATOMIC_RELAXED);
		if (rand_r(&seed) % 4 == 0)
			usleep(100);
		fresh(p);
	}
	return NULL;
}

static void churn_start(struct churn *c)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	*c = (struct churn){ .all_kinds = info.level >= 2 };
	/* Twice the size: the other half is where it is moved to. */
	c->p = map_place();
	assert_int_equal(pthread_create(&c->thread, NULL, churn_main, c), 0);
}

static bool churned(struct churn *c, unsigned long rounds)
{
	return __atomic_load_n(&c->rounds, __ATOMIC_RELAXED) >= rounds;
}

static void churn_stop(struct churn *c)
{
	__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
	pthread_join(c->thread, NULL);
	print_message("%lu changes\n", c->rounds);
	munmap(c->p, 2 * LEN);
}

/* ---- Commands against changes --------------------------------------------- */

static bool tolerable(int status)
{
	switch (status) {
	case 0:
	case -EFAULT:
	case -EPERM:
	case -EBUSY:
	case -ETIMEDOUT:
	/* userfaultfd could not watch what went away while it was asked to. */
	case -EOPNOTSUPP:
		return true;
	}
	print_message("a command ended with %d\n", status);
	return false;
}

/* One command somewhere in the memory; -1 if it saw what never was there. */
static int random_op(struct dmirror *dm, char *p, unsigned int *seed)
{
	static __thread unsigned char buf[LEN];
	struct dmirror_op op = {
		.type = (unsigned int)rand_r(seed) % DMIRROR_OP_MAX,
		.addr = (unsigned long)p + (size_t)rand_r(seed) % (LEN / 2),
		.len = (size_t)rand_r(seed) % (LEN / 2) + 1,
		.value = BYTE,
		.buf = buf,
	};
	size_t i;
	int ret;

	memset(buf, BYTE, sizeof(buf));
	switch (op.type) {
	case DMIRROR_COPY:
		op.dst = op.addr + op.len;
		if (op.dst + op.len > (unsigned long)p + LEN)
			op.len = (unsigned long)p + LEN - op.dst;
		break;
	case DMIRROR_ADD:
		op.value = 0;
		op.len = 8;
		break;
	default:
		break;
	}
	ret = dmirror_run(dm, &op);
	if (op.type == DMIRROR_READ)
		for (i = 0; i < op.bytes; i++)
			if (buf[i] && buf[i] != BYTE)
				return -1;
	return ret;
}

static void under_changes(void **state)
{
	const struct dmirror_opts opts = { .engines = 2, .verify = true };
	struct dmirror *dm = device(mm, &opts);
	unsigned int seed = 7, i, good = 0;
	struct dmirror_stats stats;
	struct churn churn;
	int ret;

	(void)state;
	churn_start(&churn);
	for (i = 0; i < 2000 || !churned(&churn, 500); i++) {
		ret = random_op(dm, churn.p, &seed);
		assert_true(tolerable(ret));
		good += !ret;
		if (i % 16 == 0)
			assert_int_equal(dmirror_verify(dm, ~0ul), 0);
	}
	churn_stop(&churn);
	assert_not_stale(dm);
	stats = stats_of(dm);
	print_message("%u of %u good; verified %lu, suspects %lu, "
		      "undecided %lu, refused %lu\n",
		      good, i, stats.verified, stats.suspects, stats.undecided,
		      stats.refused);
	assert_true(good > 0);
	assert_true(stats.verified > 0);
	assert_int_equal(stats.undecided, 0);
	assert_int_equal(stats.refused, 0);
	assert_int_equal(dmirror_destroy(dm), 0);
}

/* ---- Between a fault and its installation --------------------------------- */

struct reader {
	struct dmirror *dm;
	char *p;
	bool *stop;
	pthread_t thread;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	char buf[16 * PAGE];

	while (!__atomic_load_n(reader->stop, __ATOMIC_RELAXED))
		if (dev_read(reader->dm, reader->p, buf, sizeof(buf)))
			break;
	return NULL;
}

static void *discard_main(void *arg)
{
	struct reader *reader = arg;

	while (!__atomic_load_n(reader->stop, __ATOMIC_RELAXED)) {
		madvise(reader->p, 16 * PAGE, MADV_DONTNEED);
		memset(reader->p, 1, 16 * PAGE);
		usleep(200);
	}
	return NULL;
}

/*
 * What has changed since it was read must not be installed.  The change has to
 * be told in that very moment, so this needs some tries: without the driver's
 * hmm_range_valid(), a few seconds find several stale translations.
 */
static void what_changed_is_not_installed(void **state)
{
	const struct dmirror_opts opts = { .engines = 3, .window_pages = 1 };
	struct dmirror *dm = device(mm, &opts);
	struct reader reader[4];
	bool stop = false;
	char *p = map_touched(16);
	int i, looks = 0;

	(void)state;
	for (i = 0; i < 4; i++) {
		reader[i] = (struct reader){ .dm = dm, .p = p, .stop = &stop };
		assert_int_equal(pthread_create(&reader[i].thread, NULL,
						i ? reader_main : discard_main,
						&reader[i]),
				 0);
	}
	while (stats_of(dm).retries_valid < 500 && looks++ < 10000) {
		assert_int_equal(dmirror_verify(dm, ~0ul), 0);
		usleep(300);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 4; i++)
		pthread_join(reader[i].thread, NULL);
	print_message("%lu changed in between\n", stats_of(dm).retries_valid);
	assert_not_stale(dm);
	assert_int_equal(dmirror_destroy(dm), 0);
	munmap(p, 16 * PAGE);
}

/* After a change nothing of before is left, once the mirrors were told. */
static void nothing_is_left(void **state)
{
	struct dmirror *dm = device(mm, NULL);
	char *p = map_place(), buf[64];
	unsigned int i;

	(void)state;
	for (i = 1; i < 100; i++) {
		assert_int_equal(dev_fill(dm, p, (uint8_t)i, LEN), 0);
		assert_true(stats_of(dm).mapped_bytes >= LEN);
		munmap(p, LEN);
		settle(mm);
		assert_int_equal(stats_of(dm).mapped_bytes, 0);
		assert_int_equal(dev_read(dm, p, buf, 1), -EFAULT);
		fresh(p);
		memset(p, (int)i + 1, LEN);
		assert_int_equal(dev_read(dm, p + LEN - 64, buf, 64), 0);
		assert_memory_equal(p, buf, 64);
	}
	assert_true(stats_of(dm).invalidated_pages >= 99 * PAGES);
	assert_not_stale(dm);
	assert_int_equal(dmirror_destroy(dm), 0);
	munmap(p, 2 * LEN);
}

static void two_devices(void **state)
{
	struct dmirror_opts opts = { .verify = true };
	struct dmirror *a = device(mm, &opts), *b = device(mm, &opts);
	unsigned int seed = 3, i;
	struct churn churn;

	(void)state;
	churn_start(&churn);
	for (i = 0; i < 500 || !churned(&churn, 100); i++) {
		assert_true(tolerable(random_op(a, churn.p, &seed)));
		assert_true(tolerable(random_op(b, churn.p, &seed)));
	}
	assert_not_stale(a);
	/* One goes, and the other one does not mind. */
	assert_int_equal(dmirror_destroy(a), 0);
	for (i = 0; i < 100; i++)
		assert_true(tolerable(random_op(b, churn.p, &seed)));
	churn_stop(&churn);
	assert_not_stale(b);
	assert_int_equal(dmirror_destroy(b), 0);
}

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
	assert_int_equal(stats_of(dm).op[DMIRROR_ADD].ops, 2000);
	assert_int_equal(dmirror_destroy(dm), 0);
	munmap(p, 2 * PAGE);
}

/* ---- The queue and the end ------------------------------------------------ */

static void *wait_main(void *arg)
{
	void **args = arg;

	return (void *)(intptr_t)dmirror_wait(args[0], args[1]);
}

/* Full is -EAGAIN; what is queued when the end comes is told so. */
static void destroy_with_ops_queued(void **state)
{
	const struct dmirror_opts opts = { .engines = 1, .queue_depth = 4 };
	const size_t len = 4096 * PAGE;
	struct dmirror *dm = device(mm, &opts);
	char *p = map_pages(4096, PROT_READ | PROT_WRITE);
	struct dmirror_op op[16] = { 0 };
	void *args[2] = { dm, &op[0] }, *ret;
	int i, queued = 0, canceled = 0;
	pthread_t waiter;

	(void)state;
	for (i = 0; i < 16; i++) {
		op[i] = (struct dmirror_op){ .type = DMIRROR_FILL,
					     .addr = (unsigned long)p,
					     .len = len };
		if (dmirror_submit(dm, &op[i]))
			break;
		queued++;
	}
	assert_true(queued >= 4 && queued < 16);
	assert_int_equal(dmirror_submit(dm, &op[15]), -EAGAIN);
	assert_int_equal(pthread_create(&waiter, NULL, wait_main, args), 0);
	usleep(1000);
	assert_int_equal(dmirror_destroy(dm), 0);
	pthread_join(waiter, &ret);
	assert_int_equal((int)(intptr_t)ret, op[0].status);
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
	struct dmirror_opts opts = { .verify = true };
	unsigned int seed = 11;
	struct churn churn;
	int i, j;

	(void)state;
	churn_start(&churn);
	for (i = 0; i < 30; i++) {
		struct dmirror *dm = device(mm, &opts);

		for (j = 0; j < 5; j++)
			assert_true(tolerable(random_op(dm, churn.p, &seed)));
		assert_int_equal(stats_of(dm).stale, 0);
		assert_int_equal(dmirror_destroy(dm), 0);
	}
	churn_stop(&churn);
}

/* The child has no engines: it is told so, and can be rid of the device. */
static int in_child(struct dmirror *dm)
{
	struct dmirror_stats stats;
	char buf[8];

	if (dev_read(dm, buf, buf, 8) != -EFAULT)
		return 1;
	if (dmirror_verify(dm, 1) != -EFAULT)
		return 2;
	dmirror_stats(dm, &stats);
	if (dmirror_destroy(dm))
		return 3;
	return 0;
}

static void fork_while_it_works(void **state)
{
	struct dmirror *dm = device(mm, NULL);
	unsigned int seed = 5, i, j;
	struct churn churn;
	int status;
	pid_t pid;

	(void)state;
	churn_start(&churn);
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
			alarm(20);
			_exit(in_child(dm));
		}
		for (j = 0; j < 4; j++)
			assert_true(tolerable(dmirror_wait(dm, &op[j])));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_true(tolerable(random_op(dm, churn.p, &seed)));
	}
	churn_stop(&churn);
	assert_not_stale(dm);
	assert_int_equal(dmirror_destroy(dm), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(under_changes),       test(what_changed_is_not_installed),
		test(nothing_is_left),     test(two_devices),
		test(add_is_atomic),       test(destroy_with_ops_queued),
		test(destroy_under_churn), test(fork_while_it_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
