/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* uffd_support.h - what the tests of the unprivileged source share */
#ifndef TESTS_UFFD_SUPPORT_H
#define TESTS_UFFD_SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "source.h"

#define PAGE 4096ul
#define EVENTS 64
#define SKIP 255
#define WATCHDOG_S 600

struct seen {
	struct hmm_event event[EVENTS];
	unsigned int nr, losses;
	uint64_t consumed;
};

/* What setup() attached. */
static struct hmm_source *source;

static inline struct hmm_source *attach(void)
{
	struct hmm_source *src = NULL;
	char why[256] = "";
	int ret = hmm_source_uffd.attach(&src, why, sizeof(why));

	if (ret)
		print_message("attach: %d, %s\n", ret, why);
	return ret ? NULL : src;
}

/* A container's seccomp profile may forbid it, or the kernel lack it. */
static inline void need_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);

	if (fd < 0) {
		print_message("skip: userfaultfd(): %s\n", strerror(errno));
		skip();
	}
	close(fd);
}

static inline int setup(void **state)
{
	(void)state;
	need_userfaultfd();
	alarm(WATCHDOG_S);
	source = attach();
	return source ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	if (source)
		hmm_source_uffd.detach(source);
	source = NULL;
	alarm(0);
	return 0;
}

static inline void see(void *ctx, const struct hmm_event *event)
{
	struct seen *seen = ctx;

	if (seen->nr < EVENTS)
		seen->event[seen->nr] = *event;
	seen->nr++;
	if (event->kind != HMM_CHANGE_LOST)
		return;
	seen->losses++;
	assert_int_equal(event->start, 0);
	assert_int_equal(event->end, ~0ul);
}

static inline uint64_t started(const struct hmm_source *src)
{
	return __atomic_load_n(src->started, __ATOMIC_ACQUIRE);
}

/* Take all that is counted. */
static inline int drain(struct hmm_source *src, struct seen *seen)
{
	int ret;

	seen->nr = 0;
	do
		ret = src->ops->drain(src, see, seen, &seen->consumed);
	while (!ret && seen->consumed != started(src) && !sched_yield());
	return ret;
}

static inline bool saw(const struct seen *seen, const void *start, size_t size,
		       enum hmm_event_phase phase, enum hmm_change_kind kind)
{
	const struct hmm_event *e = seen->event;
	unsigned long from = (unsigned long)start;

	for (; e < seen->event + seen->nr && e < seen->event + EVENTS; e++)
		if (e->start == from && e->end == from + size &&
		    e->phase == phase && e->kind == kind)
			return true;
	return false;
}

static inline char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static inline int cover(struct hmm_source *src, const void *p, size_t size)
{
	unsigned long start = (unsigned long)p & ~(PAGE - 1);
	unsigned long end = ((unsigned long)p + size + PAGE - 1) & ~(PAGE - 1);

	return src->ops->cover(src, start, end);
}

static inline char *map_covered(size_t size)
{
	char *p = map(size);

	memset(p, 1, size);
	assert_int_equal(cover(source, p, size), 0);
	return p;
}

static inline unsigned int count_entries(const char *path)
{
	unsigned int n = 0;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* The monitor owns the robust futex in the counter. */
static inline pid_t monitor_of(const struct hmm_source *src)
{
	return (pid_t)(started(src) >> 32);
}

static inline bool is_alive(pid_t pid)
{
	char path[64], text[512] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	state = strrchr(text, ')');
	return state && state[2] != 'Z' && state[2] != 'X';
}

/* ---- Children ----------------------------------------------------------- */

#define CHECK(x)                                    \
	do {                                        \
		if (!(x))                           \
			child_failed(__LINE__, #x); \
	} while (0)

static inline void child_failed(int line, const char *what)
{
	fprintf(stderr, "child: line %d: %s (%s)\n", line, what,
		strerror(errno));
	_exit(1);
}

/* Run fn in a child that has nothing of ours; skip the test if it says so. */
static inline void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(WATCHDOG_S);
		if (source)
			hmm_source_uffd.forked(source);
		source = NULL;
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
		skip();
	assert_int_equal(status, 0);
}

static inline void not_here(const char *reason)
{
	print_message("skipped: %s\n", reason);
	_exit(SKIP);
}

static inline void attach_in_child(void)
{
	struct hmm_source *src = attach();
	struct seen seen = { 0 };
	uint64_t before;
	char why[256];
	char *p;

	CHECK(src);
	p = map(4 * PAGE);
	CHECK(!cover(src, p, 4 * PAGE));
	before = started(src);
	CHECK(!madvise(p, PAGE, MADV_DONTNEED));
	CHECK(!munmap(p, 4 * PAGE));
	CHECK(started(src) != before);
	CHECK(!drain(src, &seen));
	CHECK(saw(&seen, p, PAGE, HMM_EVENT_OPEN, HMM_CHANGE_DISCARD));
	CHECK(saw(&seen, p, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
	CHECK(!src->ops->barrier(src, why, sizeof(why)));
	hmm_source_uffd.detach(src);
}

static inline void expect_refusal(int error, const char *hint)
{
	struct hmm_source *src;
	char why[256] = "";
	int ret = hmm_source_uffd.attach(&src, why, sizeof(why));

	print_message("refused: %d, %s\n", ret, why);
	CHECK(ret == error);
	CHECK(strstr(why, hint));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
