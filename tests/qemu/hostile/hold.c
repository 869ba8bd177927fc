// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * hold.c - changes that wait for one who is killed, or are killed themselves
 *
 * The time that a change waits at most is longer here than a test may take:
 * shared->late tells whether one had to wait for all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

/* A process that changes its memory when it is told to. */
struct changer {
	pid_t pid;
	int go; /* a byte written there makes one change */
	atomic_int *done;
	int fd; /* of the device, bound to it */
	const struct hmm_dev_shared *shared;
};

struct changer_start {
	int from;
	atomic_int *done;
};

static void change_when_told(void *arg)
{
	struct changer_start *start = arg;
	char byte, *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		_exit(1);
	while (read(start->from, &byte, 1) == 1) {
		*page = 1;
		madvise(page, PAGE, MADV_DONTNEED);
		atomic_fetch_add(start->done, 1);
	}
}

static int bind_to(pid_t pid)
{
	char path[32];
	int fd = open_device(), mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, HMM_DEV_BIND, mem)) {
		failed("BIND: %s", strerror(errno));
		close(fd);
		fd = -1;
	}
	close(mem);
	return fd;
}

static bool start_changer(struct changer *c)
{
	struct changer_start start;
	int pipe_fd[2];

	c->done = shared_memory(PAGE);
	if (pipe2(pipe_fd, O_CLOEXEC))
		return false;
	start.from = pipe_fd[0];
	start.done = c->done;
	c->pid = spawn(change_when_told, &start);
	close(pipe_fd[0]);
	c->go = pipe_fd[1];
	c->fd = c->pid < 0 ? -1 : bind_to(c->pid);
	c->shared = c->fd < 0 ? NULL : map_device(c->fd);
	return c->shared;
}

static void end_changer(struct changer *c)
{
	kill_group(c->pid);
	munmap((void *)c->shared, PAGE);
	munmap(c->done, PAGE);
	close(c->fd);
	close(c->go);
}

static void go(struct changer *c)
{
	if (write(c->go, "", 1) != 1)
		failed("the changing process is gone");
}

static bool wait_until(const volatile uint32_t *value, uint32_t wanted,
		       const char *what)
{
	double end = now() + options.hang;

	while (*value != wanted) {
		if (now() > end) {
			failed("%s", what);
			return false;
		}
		usleep(1000);
	}
	return true;
}

struct acknowledger {
	int fd, ready;
};

/* Makes itself the one to wait for, and never acknowledges. */
static void never_acknowledge(void *arg)
{
	struct acknowledger *a = arg;

	if (ioctl(a->fd, HMM_DEV_HOLD, (unsigned long)HMM_DEV_HOLD_MAX) ||
	    write(a->ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t start_acknowledger(int fd)
{
	struct acknowledger a = { .fd = fd };
	int pipe_fd[2];
	pid_t pid;
	char byte;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return -1;
	a.ready = pipe_fd[1];
	pid = spawn(never_acknowledge, &a);
	close(pipe_fd[1]);
	if (pid > 0 && read(pipe_fd[0], &byte, 1) != 1)
		failed("HOLD failed");
	close(pipe_fd[0]);
	return pid;
}

static void kill_one(struct rng *rng, bool the_changer)
{
	struct changer c;
	pid_t pid;

	if (!start_changer(&c))
		return;
	pid = start_acknowledger(c.fd);
	if (pid < 0 || !good())
		goto out;
	go(&c);
	/* In the middle of its way there, or while it waits. */
	if (rng_percent(rng, 50))
		usleep((useconds_t)rng_below(rng, 2000));
	else if (!wait_until(&c.shared->waiting, 1, "nobody waits"))
		goto out_acknowledger;
	if (the_changer) {
		kill_group(c.pid);
		wait_until(&c.shared->dead, 1, "not dead for the device");
	} else {
		kill_group(pid);
		wait_until((void *)c.done, 1, "the change does not go on");
	}
	if (c.shared->late)
		failed("it waited until time was up");
	wait_until(&c.shared->waiting, 0, "still somebody waits");
out_acknowledger:
	kill_group(pid);
out:
	end_changer(&c);
}

static void kill_many(bool the_changer)
{
	struct rng rng = { .state = options.seed };
	unsigned int i;

	for (i = 0; i < options.times && good(); i++)
		kill_one(&rng, the_changer);
}

void acknowledger_killed(void)
{
	kill_many(false);
}

void changer_killed(void)
{
	kill_many(true);
}

void nobody_acknowledges(void)
{
	struct changer c;

	if (!start_changer(&c))
		return;
	if (ioctl(c.fd, HMM_DEV_HOLD, 300ul))
		failed("HOLD: %s", strerror(errno));
	go(&c);
	wait_until((void *)c.done, 1, "the first change does not go on");
	if (c.shared->late != 1)
		failed("late is %llu, not 1",
		       (unsigned long long)c.shared->late);
	go(&c);
	wait_until((void *)c.done, 2, "the second change does not go on");
	if (c.shared->late != 1)
		failed("late is %llu, still not 1",
		       (unsigned long long)c.shared->late);
	end_changer(&c);
}
