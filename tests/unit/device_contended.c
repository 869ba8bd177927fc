// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * device_contended.c - pages that hmm_dmirror.ko and the CPU want at once: the
 * device has them to itself until then, and no write is lost
 *
 * check: once root
 */
#include <stdatomic.h>
#include <time.h>

#include "kernel_device.h"

/* ---- To ourselves ------------------------------------------------------- */

static void exclusive_until_used(void **state)
{
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 6);
	need_exclusive(p);
	move(device[0], EXCLUSIVE, p, SOME);
	assert_filled(scratch, SOME, 6);
	assert_int_equal(request(device[0], CHECK_EXCLUSIVE, p, NULL, SOME,
				 NULL),
			 -EPERM);
	/* By the CPU, by the other device, by who discards it. */
	assert_int_equal(*(unsigned long *)p, 6);
	move(device[1], DEVICE_READ, p + PAGE, 1);
	assert_int_equal(*(unsigned long *)scratch, 7919 + 6);
	madvise(p + 2 * PAGE, (SOME - 2) * PAGE, MADV_DONTNEED);
	assert_int_equal(
		request(device[0], CHECK_EXCLUSIVE, p, NULL, SOME, NULL), 0);
	munmap(p, SOME * PAGE);
}

/* ---- All at once -------------------------------------------------------- */

#define CONTESTED 8ul

static char *contested;
static atomic_bool stop;
static atomic_ulong moves, accesses, wrong;

static unsigned long number(unsigned int *seed, unsigned long max)
{
	return (unsigned long)rand_r(seed) % max;
}

static void *mover(void *arg)
{
	const unsigned long ways[] = { TO_DEVICE, TO_SYSTEM, EXCLUSIVE };
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	char buffer[PAGE];

	while (!stop) {
		int fd = device[number(&seed, 2)];
		unsigned long what = ways[number(&seed, 3)];
		unsigned long i = number(&seed, CONTESTED);

		/* It may be used just now, or be at the other device. */
		moves += !request(fd, what, contested + i * PAGE, buffer, 1,
				  NULL);
	}
	return NULL;
}

static void *forker(void *arg)
{
	pid_t pid;

	while (!stop) {
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		usleep(1000);
	}
	return arg;
}

/* -EBUSY: it changed too often meanwhile. */
static void use(int fd, unsigned long what, void *addr, unsigned long *buffer)
{
	int ret;

	do {
		ret = request(fd, what, addr, buffer, 1, NULL);
	} while (ret == -EBUSY);
	accesses++;
	wrong += ret != 0;
}

/* The only one to write this page: by a device or itself, any may read it. */
static void *writer(void *arg)
{
	unsigned long page = (uintptr_t)arg, n, buffer[PAGE / sizeof(long)];
	volatile unsigned long *word =
		(volatile unsigned long *)(contested + page * PAGE);
	unsigned int seed = (unsigned int)page;

	for (n = 1; !stop; n++) {
		buffer[0] = n;
		if (number(&seed, 2))
			*word = n;
		else
			use(device[number(&seed, 2)], DEVICE_WRITE,
			    contested + page * PAGE, buffer);
		wrong += *word != n;
		buffer[0] = 0;
		use(device[number(&seed, 2)], DEVICE_READ,
		    contested + page * PAGE, buffer);
		wrong += buffer[0] != n;

		/* And what is discarded is gone for the devices, too. */
		if (number(&seed, 4))
			continue;
		madvise(contested + page * PAGE, PAGE, MADV_DONTNEED);
		use(device[number(&seed, 2)], DEVICE_READ,
		    contested + page * PAGE, buffer);
		wrong += buffer[0] != 0;
	}
	return NULL;
}

static void no_write_is_lost(void **state)
{
	pthread_t thread[8];
	unsigned long i, n = 0;

	(void)state;
	need_memory();
	stop = false;
	moves = accesses = wrong = 0;
	contested = filled(CONTESTED, 0);
	for (i = 0; i < 4; i++)
		pthread_create(&thread[n++], NULL, writer,
			       (void *)(uintptr_t)(i * 2));
	for (i = 1; i < 4; i++)
		pthread_create(&thread[n++], NULL, mover, (void *)i);
	pthread_create(&thread[n++], NULL, forker, NULL);
	sleep(is_slow() ? 10 : 3);
	/* Enough to mean something, however long that takes. */
	while (moves <= 100 || accesses <= 100)
		usleep(100000);
	stop = true;
	while (n)
		pthread_join(thread[--n], NULL);
	print_message("%lu pages moved, %lu accesses, %lu wrong\n", moves,
		      accesses, wrong);
	assert_int_equal(wrong, 0);
	munmap(contested, CONTESTED * PAGE);
	assert_in_use(0);
}

/* ---- A claim and a change ------------------------------------------------ */

static void *claimer(void *arg)
{
	char buffer[PAGE];

	while (!stop)
		moves += !request(device[0], EXCLUSIVE, contested, buffer, 1,
				  NULL);
	return arg;
}

/* Whoever wants the device's lock has to wait, a claimer that is done too. */
static void *hog(void *arg)
{
	char prots[512];

	while (!stop)
		request(device[0], SNAPSHOT, arg, prots, sizeof(prots), NULL);
	return NULL;
}

static void claim_is_not_late(void **state)
{
	unsigned long i, n, buffer[PAGE / sizeof(long)];
	time_t end = time(NULL) + (is_slow() ? 10 : 3);
	pthread_t thread[4];
	char *other;

	(void)state;
	need_memory();
	stop = false;
	moves = accesses = wrong = 0;
	contested = filled(1, 0);
	need_exclusive(contested);
	other = filled(512, 0);
	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, i < 2 ? claimer : hog, other);
	for (n = 1; time(NULL) < end; n++) {
		*(volatile unsigned long *)contested = n;
		madvise(contested, PAGE, MADV_DONTNEED);
		use(device[0], DEVICE_READ, contested, buffer);
		wrong += buffer[0] != 0;
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	print_message("%lu claims, %lu accesses, %lu wrong\n", moves, accesses,
		      wrong);
	assert_int_equal(wrong, 0);
	munmap(contested, PAGE);
	munmap(other, 512 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(exclusive_until_used),
		BOTH(claim_is_not_late),
		BOTH(no_write_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
