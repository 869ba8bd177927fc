// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * crowd.c - a million ranges, many files, many processes
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define RANGES 1000000u
#define PROCESSES 200u

/* ---- Ranges -------------------------------------------------------------- */

static void change_own_memory(unsigned int times)
{
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(2);
	while (times--) {
		*p = 1;
		madvise(p, 16 * PAGE, MADV_DONTNEED);
	}
	munmap(p, 16 * PAGE);
}

/* All in use when it is killed.  Exit status 2 no memory, 3 a wrong answer. */
static void have_ranges(void *arg)
{
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
	uint32_t id = 0, i;

	(void)arg;
	if (fd < 0)
		_exit(2);
	for (i = 0; i < RANGES; i++) {
		id = register_page(fd, (0x100000ul + 2 * i) * PAGE);
		if (!id)
			_exit(2);
	}
	change_own_memory(100);
	if (ioctl(fd, HMM_DEV_UNREGISTER, (unsigned long)id) ||
	    !ioctl(fd, HMM_DEV_UNREGISTER, (unsigned long)id) ||
	    errno != ENOENT)
		_exit(3);
	kill(getpid(), SIGKILL);
}

static void million_once(void)
{
	int status = wait_for(spawn(have_ranges, NULL));

	if (!WIFSIGNALED(status))
		failed("status %#x", status);
	check_nothing_left();
}

void million_ranges(void)
{
	long before;

	/* The kernel keeps some of what so many took for the first time. */
	million_once();
	before = memory_used();
	million_once();
	check_memory(before);
}

/* ---- Files --------------------------------------------------------------- */

static long parameter(const char *name)
{
	char path[64];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/hmm/parameters/%s", name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%ld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

static void open_many(void *arg)
{
	long limit = *(long *)arg, i;
	int fd[1024];

	if (limit > 1024)
		_exit(2);
	for (i = 0; i < limit; i++) {
		fd[i] = open(DEVICE, O_RDONLY | O_CLOEXEC);
		if (fd[i] < 0)
			_exit(3);
	}
	if (open(DEVICE, O_RDONLY | O_CLOEXEC) >= 0 || errno != EUSERS)
		_exit(4);
	change_own_memory(10);
	close(fd[0]);
	if (open(DEVICE, O_RDONLY | O_CLOEXEC) < 0)
		_exit(5);
}

void files_in_one_process(void)
{
	long limit = parameter("files_per_mm"), before = memory_used();
	unsigned int i;
	int status;

	for (i = 0; i < options.times && good(); i++) {
		status = wait_for(spawn(open_many, &limit));
		if (status)
			failed("status %#x", status);
	}
	check_nothing_left();
	check_memory(before);
}

/* ---- The last file and the next one -------------------------------------- */

static void *open_and_close(void *arg)
{
	unsigned int i;

	for (i = 0; i < 400 * options.times; i++)
		close(open(DEVICE, O_RDONLY | O_CLOEXEC));
	return arg;
}

static void four_threads(void *arg)
{
	pthread_t thread[4];
	unsigned int i;

	(void)arg;
	for (i = 0; i < 4; i++)
		if (pthread_create(&thread[i], NULL, open_and_close, NULL))
			_exit(2);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

/* The address space gets and loses its only user, again and again. */
void last_and_next(void)
{
	int status = wait_for(spawn(four_threads, NULL));

	if (status)
		failed("status %#x", status);
}

/* ---- Opened while a signal comes ----------------------------------------- */

#define AREAS 2000ul

static void on_alarm(int sig)
{
	(void)sig;
}

static void alarm_in(double seconds)
{
	struct itimerval in = { .it_value.tv_usec = (long)(seconds * 1e6) };

	setitimer(ITIMER_REAL, &in, NULL);
}

/* So many that the kernel, which locks them all, takes its time. */
static void have_areas(void)
{
	char *p = mmap(NULL, AREAS * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long i;

	if (p == MAP_FAILED)
		_exit(2);
	for (i = 0; i < AREAS; i += 2)
		if (mprotect(p + i * PAGE, PAGE, PROT_READ))
			_exit(2);
}

/* How long it takes, if nothing else is done meanwhile: the least of all. */
static double open_undisturbed(double least)
{
	double takes = now();

	close(open(DEVICE, O_RDONLY | O_CLOEXEC));
	takes = now() - takes;
	return takes < least ? takes : least;
}

/* Exit status 3: another error; 4: a signal never came at the right time. */
static void open_and_be_interrupted(void *arg)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct rng rng = { options.seed };
	unsigned int i, interrupted = 0;
	double takes = .9;
	int fd;

	(void)arg;
	have_areas();
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 50 * options.times; i++) {
		/* What the interrupted one left must not be found again. */
		takes = open_undisturbed(takes);
		/* At any moment of it, most of all not at the first. */
		alarm_in(takes * (double)rng_below(&rng, 100) / 100);
		fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno != EINTR)
			_exit(3);
		interrupted += fd < 0;
		alarm_in(0);
		close(fd);
	}
	open_undisturbed(takes);
	_exit(interrupted ? 0 : 4);
}

/* The kernel's log says, or rmmod afterwards, if something was left behind. */
void interrupted(void)
{
	int status = wait_for(spawn(open_and_be_interrupted, NULL));

	if (status)
		failed("status %#x", status);
}

/* ---- Processes ----------------------------------------------------------- */

struct crowd {
	atomic_uint ready;
	atomic_bool begin;
};

/* Maps its file, too: that must not keep anything alive. */
static void use_device(void *arg)
{
	struct crowd *crowd = arg;
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || !map_device(fd) || !register_page(fd, (unsigned long)p) ||
	    ioctl(fd, HMM_DEV_HOLD, 100ul))
		_exit(2);
	atomic_fetch_add(&crowd->ready, 1);
	while (!crowd->begin)
		usleep(100000);
	for (;;)
		change_own_memory(10);
}

static void crowd_once(void)
{
	struct crowd *crowd = shared_memory(PAGE);
	double end = now() + options.hang;
	pid_t pid[PROCESSES];
	unsigned int i, n;

	for (n = 0; n < PROCESSES; n++) {
		pid[n] = spawn(use_device, crowd);
		if (pid[n] < 0)
			break;
	}
	while (crowd->ready < n && now() < end)
		usleep(10000);
	if (crowd->ready < n)
		failed("%u of %u processes use the device", crowd->ready, n);
	crowd->begin = true;
	usleep(300000);
	for (i = 0; i < n; i++)
		kill(-pid[i], SIGKILL);
	for (i = 0; i < n; i++)
		kill_group(pid[i]);
	check_nothing_left();
	munmap(crowd, PAGE);
}

void processes(void)
{
	long before;

	/* The kernel keeps some of what so many took for the first time. */
	crowd_once();
	before = memory_used();
	crowd_once();
	check_memory(before);
}
