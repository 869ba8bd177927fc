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

struct threads {
	struct thread *thread;
	size_t nr, room;
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

/* In none of the memory management's sleeps, or at its end. */
static bool is_idle(int dir, pid_t tid)
{
	char state = read_stat(dir, tid, NULL);

	/* The first thread stays, dead, for as long as there are others. */
	return state == 'S' || state == 'Z' || state == 'X';
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
		return is_idle(dir, tid);
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
		return is_idle(dir, tid);
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

/* Is there such a thread of ours? */
static bool exists(pid_t tid)
{
	uint64_t user_ns;

	return user_time(tid, &user_ns);
}

static int add_thread(struct threads *list, pid_t tid)
{
	size_t room = list->room ? 2 * list->room : 64;
	struct thread *more;

	if (list->nr == list->room) {
		more = realloc(list->thread, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		list->thread = more;
		list->room = room;
	}
	list->thread[list->nr++] = (struct thread){ .tid = tid };
	return 0;
}

/*
 * All threads but the caller, which is here.  One that is created meanwhile need
 * not be among them.  -EAGAIN: one of those that were there may not be either.
 *
 * The kernel finds its place in the directory by counting.  If a thread that it
 * has shown ends before it goes on, it counts one too many, and passes over
 * another.  So those that it has shown must all be there still.
 */
static int list_threads(DIR *dir, struct threads *list)
{
	struct dirent *entry;
	pid_t tid, self = gettid();
	size_t i;
	int ret;

	list->nr = 0;
	rewinddir(dir);
	/* Told by errno alone: a list cut short would be a thread forgotten. */
	while (errno = 0, entry = readdir(dir)) {
		tid = atoi(entry->d_name);
		if (tid <= 0 || tid == self)
			continue;
		ret = add_thread(list, tid);
		if (ret)
			return ret;
	}
	if (errno)
		return -EIO;
	for (i = 0; i < list->nr; i++)
		if (!exists(list->thread[i].tid))
			return -EAGAIN;
	return 0;
}

/* Keep those that are not asleep elsewhere. */
static void look_at_threads(const struct hmm_discards *d, int dir,
			    struct threads *list)
{
	size_t i, nr = 0;

	for (i = 0; i < list->nr; i++) {
		struct thread t = list->thread[i];

		if (asleep_elsewhere(d, dir, t.tid) ||
		    !user_time(t.tid, &t.user_ns))
			continue;
		t.faults_known = read_stat(dir, t.tid, &t.faults);
		list->thread[nr++] = t;
	}
	list->nr = nr;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Until they are all over, or it is too late for the first of them. */
static int wait_for_threads(const struct hmm_discards *d, int dir,
			    struct threads *list, uint64_t deadline, char *why,
			    size_t size)
{
	struct timespec pause = { .tv_nsec = FIRST_PAUSE_NS };
	struct thread *t = list->thread;
	unsigned int round;
	char name[32];
	size_t i;

	for (round = 0; list->nr; round++) {
		for (i = 0; i < list->nr;) {
			if (is_over(d, dir, &t[i]))
				t[i] = t[--list->nr];
			else
				i++;
		}
		if (!list->nr)
			break;
		if (now_ms() >= deadline) {
			read_task(dir, t[0].tid, "comm", name, sizeof(name));
			snprintf(why, size,
				 "thread %d (%.*s) may still be in madvise()",
				 t[0].tid, (int)strcspn(name, "\n"), name);
			return -ETIMEDOUT;
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
	return 0;
}

int hmm_madvise_wait(const struct hmm_discards *d, unsigned long ms, char *why,
		     size_t size)
{
	uint64_t deadline = now_ms() + ms;
	struct threads list = { 0 };
	DIR *dir;
	int ret;

	if (!d->nr)
		return 0;
	dir = opendir("/proc/self/task");
	if (!dir) {
		ret = -errno;
		goto out;
	}
	do
		ret = list_threads(dir, &list);
	while (ret == -EAGAIN && now_ms() < deadline);
	if (ret)
		goto out_list;
	look_at_threads(d, dirfd(dir), &list);
	ret = wait_for_threads(d, dirfd(dir), &list, deadline, why, size);
out_list:
	free(list.thread);
	closedir(dir);
out:
	if (ret && ret != -ETIMEDOUT)
		snprintf(why, size, "can't list the threads: %s",
			 ret == -EAGAIN ? "they come and go too fast"
					: strerror(-ret));
	return ret;
}
