// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * madvise_wait.c - wait until madvise() calls of this process are over
 *
 * The kernel announces a discard before it makes it and does not say which
 * thread does, nor when it is done.  But a thread that has been seen anywhere
 * else since is done, and each thread shows where it is in one of these ways:
 *
 *  - asleep, /proc/self/task/TID/syscall names the system call and its
 *    arguments;
 *  - awake, the file only says "running".  But then the thread's count of page
 *    faults tells: a fault is taken in user space, or on access to it from
 *    another system call, never in the discarding part of madvise();
 *  - or its user time does: the kernel adds to it on a tick that interrupts
 *    user space, or, where it counts exactly, on leaving it.  Either way more
 *    of it than before means that the thread was in user space since.
 *
 * What discards is madvise(), process_madvise() on oneself and io_uring, whose
 * workers are threads of the process, too.
 *
 * A process that shares our memory without being a thread of ours (vfork(),
 * CLONE_VM) is not among those looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "interval.h"
#include "madvise_wait.h"

#define EAGER_ROUNDS 20
#define FIRST_PAUSE_NS 50000
#define LAST_PAUSE_NS 1000000

/* A thread, and what it had done when it was first found awake. */
struct thread {
	pid_t tid;
	uint64_t user_ns;
	unsigned long faults;
	bool faults_known;
};

void hmm_discards_add(struct hmm_discards *d, unsigned long start,
		      unsigned long end)
{
	unsigned int i;

	for (i = 0; i < d->nr; i++)
		if (d->range[i].start <= start && end <= d->range[i].end)
			return;
	if (d->nr == HMM_DISCARDS) {
		for (i = 0; i < d->nr; i++) {
			if (d->range[i].start < start)
				start = d->range[i].start;
			if (d->range[i].end > end)
				end = d->range[i].end;
		}
		d->nr = 0;
	}
	d->range[d->nr].start = start;
	d->range[d->nr++].end = end;
}

static bool discards(const struct hmm_discards *d, unsigned long start,
		     unsigned long end)
{
	unsigned int i;

	for (i = 0; i < d->nr; i++)
		if (hmm_overlap(d->range[i].start, d->range[i].end, start, end))
			return true;
	return false;
}

/* The user time of a thread of ours; false if there is no such thread. */
static bool user_time(pid_t tid, uint64_t *ns)
{
	/* The kernel's clock id: the inverted tid, per thread (4), user (1). */
	clockid_t clock = (clockid_t)(~(unsigned int)tid << 3 | 4 | 1);
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		return false;
	*ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return true;
}

/* The text of /proc/self/task/TID/NAME; empty if it can't be read. */
static void read_task(int dir, pid_t tid, const char *name, char *text,
		      size_t size)
{
	char path[32];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%d/%s", tid, name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

/* The state of a thread and how many faults it took; '\0' if there is none. */
static char read_stat(int dir, pid_t tid, unsigned long *faults)
{
	unsigned long minor = 0, major = 0;
	char text[512], *p, state = '\0';

	read_task(dir, tid, "stat", text, sizeof(text));
	/* Its name is in parentheses and may hold anything. */
	p = strrchr(text, ')');
	if (p)
		sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &state,
		       &minor, &major);
	if (faults)
		*faults = minor + major;
	return state;
}

/* Asleep outside of any madvise() that we wait for? */
static bool asleep_elsewhere(const struct hmm_discards *d, int dir, pid_t tid)
{
	unsigned long arg[2], sp, pc;
	char text[256];
	long nr;

	read_task(dir, tid, "syscall", text, sizeof(text));
	/*
	 * A process that changed its user can't read it.  Then: a sleep that a
	 * signal may end is none of the memory management's.
	 */
	if (!*text)
		return read_stat(dir, tid, NULL) == 'S';
	switch (sscanf(text, "%ld %lx %lx %*x %*x %*x %*x %lx %lx", &nr,
		       &arg[0], &arg[1], &sp, &pc)) {
	case 5:
		break;
	case 3:
		/* "-1 sp pc": not in a system call, in a page fault say. */
		sp = arg[0];
		pc = arg[1];
		break;
	default:
		return false;
	}
	/* A worker of io_uring has no user stack: idle, or at work? */
	if (!sp && !pc)
		return read_stat(dir, tid, NULL) == 'S';
	if (nr == SYS_madvise)
		return !discards(d, arg[0], arg[0] + arg[1]);
	return nr != SYS_process_madvise;
}

/* Has it been somewhere else since it was first found awake, or is it now? */
static bool is_over(const struct hmm_discards *d, int dir,
		    const struct thread *t)
{
	unsigned long faults;
	uint64_t user_ns;

	if (!user_time(t->tid, &user_ns) || user_ns != t->user_ns)
		return true;
	if (asleep_elsewhere(d, dir, t->tid))
		return true;
	return t->faults_known && read_stat(dir, t->tid, &faults) &&
	       faults != t->faults;
}

/*
 * The threads that are not asleep elsewhere, but for the caller, which is here.
 * One that is created meanwhile need not be among them.
 */
static long list_threads(const struct hmm_discards *d, DIR *dir,
			 struct thread **threadsp)
{
	struct thread *threads = NULL, *more;
	size_t nr = 0, room = 0;
	struct dirent *entry;
	pid_t self = gettid();

	/* Told by errno alone: a list cut short would be a thread forgotten. */
	while (errno = 0, entry = readdir(dir)) {
		struct thread t = { .tid = atoi(entry->d_name) };

		if (t.tid <= 0 || t.tid == self ||
		    asleep_elsewhere(d, dirfd(dir), t.tid) ||
		    !user_time(t.tid, &t.user_ns))
			continue;
		t.faults_known = read_stat(dirfd(dir), t.tid, &t.faults);
		if (nr == room) {
			room = room ? 2 * room : 64;
			more = realloc(threads, room * sizeof(*threads));
			if (!more) {
				free(threads);
				return -ENOMEM;
			}
			threads = more;
		}
		threads[nr++] = t;
	}
	if (errno) {
		free(threads);
		return -EIO;
	}
	*threadsp = threads;
	return (long)nr;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int hmm_madvise_wait(const struct hmm_discards *d, unsigned long ms, char *why,
		     size_t size)
{
	struct timespec pause = { .tv_nsec = FIRST_PAUSE_NS };
	uint64_t deadline = now_ms() + ms;
	struct thread *threads = NULL;
	unsigned int round;
	char name[32];
	long nr = 0, i;
	int ret = 0;
	DIR *dir;

	if (!d->nr)
		return 0;
	dir = opendir("/proc/self/task");
	if (!dir)
		ret = -errno;
	else
		nr = list_threads(d, dir, &threads);
	if (nr < 0)
		ret = (int)nr;
	if (ret)
		snprintf(why, size, "can't list the threads: %s",
			 strerror(-ret));
	for (round = 0; nr > 0; round++) {
		for (i = 0; i < nr;) {
			if (is_over(d, dirfd(dir), &threads[i]))
				threads[i] = threads[--nr];
			else
				i++;
		}
		if (!nr)
			break;
		if (now_ms() >= deadline) {
			read_task(dirfd(dir), threads[0].tid, "comm", name,
				  sizeof(name));
			snprintf(why, size,
				 "thread %d (%.*s) may still be in madvise()",
				 threads[0].tid, (int)strcspn(name, "\n"),
				 name);
			ret = -ETIMEDOUT;
			break;
		}
		/* Most are about to leave it, or come by somewhere else soon. */
		if (round < EAGER_ROUNDS) {
			sched_yield();
			continue;
		}
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < LAST_PAUSE_NS)
			pause.tv_nsec *= 2;
	}
	free(threads);
	if (dir)
		closedir(dir);
	return ret;
}
