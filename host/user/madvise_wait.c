// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * madvise_wait.c - wait until madvise() calls of this process are over
 *
 * The kernel announces a discard before it makes it and does not say which
 * thread does, nor when it is done.  But a thread that has been seen anywhere
 * else since is done, and each thread shows where it is in one of two ways:
 *
 *  - asleep, /proc/self/task/TID/syscall names the system call and its
 *    arguments;
 *  - awake, the file only says "running".  Then the thread's user time tells:
 *    the kernel adds to it on a tick that interrupts user space, or, where it
 *    counts exactly, on leaving it.  Either way more of it than at the start
 *    means that the thread was in user space since.
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

#define FIRST_PAUSE_NS 50000
#define LAST_PAUSE_NS 1000000

struct thread {
	pid_t tid;
	uint64_t user_ns;
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
static void read_task(pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

static char state(pid_t tid)
{
	char text[512], *end;

	read_task(tid, "stat", text, sizeof(text));
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : '\0';
}

/* Asleep outside of any madvise() that we wait for? */
static bool asleep_elsewhere(const struct hmm_discards *d, pid_t tid)
{
	unsigned long arg[2], sp, pc;
	char text[256];
	long nr;

	read_task(tid, "syscall", text, sizeof(text));
	/* A process that changed its user can't read it: a sleep that a signal
	 * can end is none of the memory management's. */
	if (!*text)
		return state(tid) == 'S';
	switch (sscanf(text, "%ld %lx %lx %*x %*x %*x %*x %lx %lx", &nr,
		       &arg[0], &arg[1], &sp, &pc)) {
	case 5:
		break;
	case 3:
		/* A fault in user space: "-1 sp pc". */
		return nr == -1;
	default:
		return false;
	}
	/* A worker of io_uring has no user stack: idle, or at work? */
	if (!sp && !pc)
		return state(tid) == 'S';
	if (nr == SYS_madvise)
		return !discards(d, arg[0], arg[0] + arg[1]);
	return nr != SYS_process_madvise;
}

static bool is_over(const struct hmm_discards *d, const struct thread *t)
{
	uint64_t now;

	return asleep_elsewhere(d, t->tid) || !user_time(t->tid, &now) ||
	       now != t->user_ns;
}

/* All threads but the caller, which is here and not in madvise(). */
static long list_threads(struct thread **threadsp)
{
	struct thread *threads = NULL, *more;
	size_t nr = 0, room = 0;
	struct dirent *entry;
	pid_t self = gettid();
	DIR *dir;

	dir = opendir("/proc/self/task");
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		struct thread t = { .tid = atoi(entry->d_name) };

		if (t.tid <= 0 || t.tid == self ||
		    !user_time(t.tid, &t.user_ns))
			continue;
		if (nr == room) {
			room = room ? 2 * room : 64;
			more = realloc(threads, room * sizeof(*threads));
			if (!more) {
				free(threads);
				closedir(dir);
				return -ENOMEM;
			}
			threads = more;
		}
		threads[nr++] = t;
	}
	closedir(dir);
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
	char name[32];
	long nr, i;
	int ret = 0;

	if (!d->nr)
		return 0;
	nr = list_threads(&threads);
	if (nr < 0) {
		snprintf(why, size, "can't list the threads: %s",
			 strerror((int)-nr));
		return (int)nr;
	}
	for (;;) {
		for (i = 0; i < nr;) {
			if (is_over(d, &threads[i]))
				threads[i] = threads[--nr];
			else
				i++;
		}
		if (!nr)
			break;
		if (now_ms() >= deadline) {
			read_task(threads[0].tid, "comm", name, sizeof(name));
			snprintf(why, size,
				 "thread %d (%.*s) may be in madvise() still",
				 threads[0].tid, (int)strcspn(name, "\n"),
				 name);
			ret = -ETIMEDOUT;
			break;
		}
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < LAST_PAUSE_NS)
			pause.tv_nsec *= 2;
	}
	free(threads);
	return ret;
}
