/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * puppet.h - a process that changes its memory on command, and a mirror of it
 *
 * The process is a fork's child, so that both know the addresses; what is at
 * them is each one's own.
 */
#ifndef TESTS_PUPPET_H
#define TESTS_PUPPET_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "support.h"

#define PAGES 8ul
#define NOBODY 65534
#define LINE 512

/* ---- A process that does what it is told ---------------------------------- */

enum order {
	TOUCH,
	UNMAP,
	MAP_OVER,
	PROTECT,
	DISCARD,
	FORK, /* and the child does it all again */
	READ,
	EXIT,
	EXECUTE,
};

struct command {
	enum order order;
	char *addr;
	size_t len;
};

struct puppet {
	pid_t pid;
	int pidfd, fd;
	char *memory; /* PAGES, none touched since the fork */
};

/* What both can see: set by a callback, looked at by the puppet. */
static volatile struct {
	int told;
	int seen;
} * both;

static inline int obey(const struct command *c)
{
	static char *const none[] = { NULL };
	volatile char *p = c->addr;
	int status, ret = 0;
	size_t i;
	pid_t pid;

	switch (c->order) {
	case TOUCH:
		/* To read it first would be a change more: the page of zeroes. */
		for (i = 0; i < c->len; i += PAGE)
			p[i] = 1;
		break;
	case UNMAP:
		ret = munmap(c->addr, c->len);
		break;
	case MAP_OVER:
		ret = mmap(c->addr, c->len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			   0) == MAP_FAILED;
		break;
	case PROTECT:
		ret = mprotect(c->addr, c->len, PROT_READ);
		break;
	case DISCARD:
		ret = madvise(c->addr, c->len, MADV_DONTNEED);
		break;
	case FORK:
		pid = fork();
		if (!pid) {
			munmap(c->addr, c->len);
			_exit(0);
		}
		ret = waitpid(pid, &status, 0) != pid || status;
		break;
	case READ:
		ret = *p;
		break;
	case EXIT:
		_exit(0);
	case EXECUTE:
		execve("/bin/sleep", (char *const[]){ "sleep", "600", NULL },
		       none);
		break;
	}
	both->seen = both->told;
	return ret;
}

static inline _Noreturn void dance(int fd)
{
	struct command c;
	int ret;

	watchdog(60);
	while (read(fd, &c, sizeof(c)) == sizeof(c)) {
		ret = obey(&c);
		if (write(fd, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

static inline void send_order(struct puppet *p, enum order order, size_t page,
			      size_t pages)
{
	const struct command c = { order, p->memory + page * PAGE,
				   pages * PAGE };

	assert_int_equal(write(p->fd, &c, sizeof(c)), sizeof(c));
}

/* Done: the call has returned in the other process. */
static inline int tell(struct puppet *p, enum order order, size_t page,
		       size_t pages)
{
	int ret;

	send_order(p, order, page, pages);
	assert_int_equal(read(p->fd, &ret, sizeof(ret)), sizeof(ret));
	return ret;
}

/* It begins with prepare(), if there is one. */
static inline void puppet_start_as(struct puppet *p, void (*prepare)(void))
{
	int fds[2];

	p->memory = map_touched(PAGES);
	assert_int_equal(madvise(p->memory, PAGES * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid) {
		close(fds[0]);
		if (prepare)
			prepare();
		dance(fds[1]);
	}
	close(fds[1]);
	p->fd = fds[0];
	p->pidfd = pidfd_open(p->pid, 0);
	assert_true(p->pidfd > 0);
	/* Nothing: but then it is prepared. */
	if (prepare)
		assert_int_equal(tell(p, DISCARD, 0, 0), 0);
}

static inline void puppet_start(struct puppet *p)
{
	puppet_start_as(p, NULL);
}

static inline void puppet_end(struct puppet *p)
{
	int status;

	close(p->fd);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	close(p->pidfd);
	munmap(p->memory, PAGES * PAGE);
}

/* For puppets, and for others who shall be somebody else. */
static inline void become(uid_t user)
{
	/* What was another user's is closed to it, its own /proc included. */
	if (setresgid(user, user, user) || setresuid(user, user, user) ||
	    prctl(PR_SET_DUMPABLE, 1))
		_exit(100);
}

static inline void become_nobody(void)
{
	become(NOBODY);
}

/* ---- A mirror that takes notes -------------------------------------------- */

struct notes {
	struct hmm_mirror mirror;
	pthread_mutex_t lock;
	pthread_cond_t more;
	const char *from, *to; /* of changes in here */
	unsigned int changes, releases;
	unsigned int ms; /* how long the callback takes */
	int hold, held;  /* or until this is 0; it has begun */
};

static inline void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&t, &t))
		;
}

static inline int note_change(struct hmm_mirror *mirror,
			      const struct hmm_update *u)
{
	struct notes *n = (struct notes *)mirror;

	if (u->start >= (unsigned long)n->to ||
	    u->end <= (unsigned long)n->from)
		return 0;
	sleep_ms(n->ms);
	__atomic_store_n(&n->held, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&n->hold, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	both->told++;
	pthread_mutex_lock(&n->lock);
	n->changes++;
	pthread_cond_broadcast(&n->more);
	pthread_mutex_unlock(&n->lock);
	return 0;
}

static inline void note_release(struct hmm_mirror *mirror)
{
	struct notes *n = (struct notes *)mirror;

	pthread_mutex_lock(&n->lock);
	n->releases++;
	pthread_cond_broadcast(&n->more);
	pthread_mutex_unlock(&n->lock);
}

static const struct hmm_mirror_ops note_ops = {
	.release = note_release,
	.sync_cpu_device_pagetables = note_change,
};

static inline void notes_start(struct notes *n, struct mm_struct *mm,
			       char *memory)
{
	*n = (struct notes){
		.mirror.ops = &note_ops,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER,
		.from = memory,
		.to = memory + PAGES * PAGE,
	};
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&n->mirror, mm), 0);
	mmap_write_unlock(mm);
}

/* It is told at some time: hence no time limit but the test's. */
static inline void wait_changes(struct notes *n, unsigned int changes)
{
	pthread_mutex_lock(&n->lock);
	while (n->changes < changes)
		pthread_cond_wait(&n->more, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

static inline void wait_release(struct notes *n)
{
	pthread_mutex_lock(&n->lock);
	while (!n->releases)
		pthread_cond_wait(&n->more, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

/* ---- Attaching ------------------------------------------------------------- */

static char last_line[LINE];

static inline void keep_line(enum hmm_log_level level, const char *line)
{
	if (level <= HMM_LOG_WARN)
		snprintf(last_line, sizeof(last_line), "%s", line);
}

static inline int try_attach(struct mm_struct **mm, int pidfd, bool wait,
			     const char *source)
{
	const struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = source,
		.pidfd = pidfd,
		.wait = wait,
	};
	int ret;

	last_line[0] = '\0';
	hmm_set_log(keep_line);
	ret = hmm_mm_attach(mm, &opts);
	hmm_set_log(NULL);
	return ret;
}

static inline void need_module(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (strcmp(info.name, "module"))
			continue;
		if (!info.error)
			return;
		print_message("skip: %s\n", info.reason);
	}
	skip();
}

static inline struct mm_struct *attach_to(const struct puppet *p, bool wait)
{
	struct mm_struct *mm = NULL;

	assert_int_equal(try_attach(&mm, p->pidfd, wait, NULL), 0);
	return mm;
}

static inline struct hmm_mm_info query(struct mm_struct *mm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return info;
}

/* An entry of a process's pagemap; 0 if there is no page. */
static inline uint64_t pfn_of(pid_t pid, const char *p)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, sizeof(entry),
			       (off_t)((unsigned long)p / PAGE * 8)),
			 sizeof(entry));
	close(fd);
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	both = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return both == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	hmm_set_log(NULL);
	munmap((void *)both, PAGE);
	watchdog(0);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
