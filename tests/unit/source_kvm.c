// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_kvm.c - the kvm source alone: what it says, when, and how it fails
 *
 * check: kvm root no-tsan (its children start threads, too)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "source.h"
#include "source_kvm.h"

#define WATCHDOG 120
/* A fork alone makes one for each private vma. */
#define MANY_EVENTS 4096

/* Some constants are newer than Debian 12's headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct seen {
	struct hmm_event event[MANY_EVENTS];
	unsigned int nr;
	unsigned int lost;
	int open; /* starts without their end */
	uint64_t consumed;
};

static struct hmm_source *src;
static char why[256];

static void note(void *ctx, const struct hmm_event *event)
{
	struct seen *seen = ctx;

	if (event->kind == HMM_CHANGE_LOST)
		seen->lost++;
	if (event->phase == HMM_EVENT_START)
		seen->open++;
	if (event->phase == HMM_EVENT_END) {
		seen->open--;
		return;
	}
	seen->event[seen->nr++ % MANY_EVENTS] = *event;
}

/* Drain until everything that was counted has been handed on. */
static void drain_all(struct seen *seen)
{
	uint64_t started = hmm_load_acquire(src->started);

	do {
		assert_int_equal(
			src->ops->drain(src, note, seen, &seen->consumed), 0);
	} while ((int64_t)(seen->consumed - started) < 0);
}

static void forget(void)
{
	struct seen seen = { 0 };

	drain_all(&seen);
}

static const struct hmm_event *find(const struct seen *seen, const void *addr,
				    size_t size)
{
	unsigned long start = (unsigned long)addr, end = start + size;
	unsigned int i, n = seen->nr < MANY_EVENTS ? seen->nr : MANY_EVENTS;

	for (i = 0; i < n; i++)
		if (seen->event[i].start < end && start < seen->event[i].end)
			return &seen->event[i];
	return NULL;
}

static void *map_pages(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	madvise(p, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	memset(p, 1, pages * PAGE_SIZE);
	return p;
}

static int map_file(char **p, size_t pages)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, pages * PAGE_SIZE), 0);
	*p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		  fd, 0);
	assert_ptr_not_equal(*p, MAP_FAILED);
	memset(*p, 1, pages * PAGE_SIZE);
	return fd;
}

/* ---- With a source ------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	alarm(WATCHDOG);
	*why = '\0';
	src = NULL;
	if (hmm_source_kvm.attach(&src, why, sizeof(why)))
		src = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (src)
		src->ops->detach(src);
	src = NULL;
	alarm(0);
	return 0;
}

static void need_source(void)
{
	if (src)
		return;
	printf("skipped: source kvm can't be used: %s\n", why);
	skip();
}

static void expect_change(const void *addr, size_t size,
			  enum hmm_change_kind kind)
{
	struct seen seen = { 0 };
	const struct hmm_event *event;

	drain_all(&seen);
	event = find(&seen, addr, size);
	assert_non_null(event);
	assert_string_equal(hmm_change_kind_name(event->kind),
			    hmm_change_kind_name(kind));
	assert_int_equal(event->start % PAGE_SIZE, 0);
	assert_int_equal(event->end % PAGE_SIZE, 0);
	if (event->phase == HMM_EVENT_OPEN)
		assert_int_equal(event->owner, gettid());
}

static void changes_have_kind_and_owner(void **state)
{
	const size_t pages = 4, size = pages * PAGE_SIZE;
	char *p, *q;
	pid_t pid;
	int fd;

	(void)state;
	need_source();
	printf("attached: %s\n", src->mechanism);

	p = map_pages(pages);
	forget();
	mprotect(p, size, PROT_READ);
	expect_change(p, size, HMM_CHANGE_PROTECT);
	mprotect(p, size, PROT_READ | PROT_WRITE);
	forget();
	madvise(p, size, MADV_DONTNEED);
	expect_change(p, size, HMM_CHANGE_DISCARD);

	/* The zero page, then a page of its own. */
	assert_int_equal(*(volatile char *)p, 0);
	forget();
	*(volatile char *)p = 1;
	expect_change(p, PAGE_SIZE, HMM_CHANGE_COW);

	pid = fork();
	if (!pid)
		_exit(0);
	expect_change(p, PAGE_SIZE, HMM_CHANGE_FORK);
	waitpid(pid, NULL, 0);

	q = map_pages(pages);
	munmap(q, size);
	forget();
	assert_ptr_equal(
		mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, q), q);
	expect_change(p, size, HMM_CHANGE_REMAP);
	munmap(q, size);
	expect_change(q, size, HMM_CHANGE_UNMAP);

	fd = map_file(&p, pages);
	forget();
	assert_int_equal(ftruncate(fd, 0), 0);
	expect_change(p, size, HMM_CHANGE_TRUNCATE);
	close(fd);
	munmap(p, size);
}

static void other_process_changes_ours(void **state)
{
	struct seen seen = { 0 };
	const struct hmm_event *event;
	int fd, go[2];
	char byte = 0;
	pid_t pid;
	char *p;

	(void)state;
	need_source();
	fd = map_file(&p, 4);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid) {
		munmap(p, 4 * PAGE_SIZE);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		_exit(ftruncate(fd, 0) != 0);
	}
	forget();
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(go[0]);
	close(go[1]);
	drain_all(&seen);
	event = find(&seen, p, 4 * PAGE_SIZE);
	assert_non_null(event);
	assert_int_equal(event->kind, HMM_CHANGE_TRUNCATE);
	assert_int_equal(event->owner, 0);
	munmap(p, 4 * PAGE_SIZE);
	close(fd);
}

/* What other processes do to their own memory is not our business. */
static void other_process_changes_its_own(void **state)
{
	const unsigned int times = 2000;
	int go[2], done[2], status;
	uint64_t before;
	char byte = 0;
	pid_t pid;

	(void)state;
	need_source();
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork();
	if (!pid) {
		unsigned int i;
		char *p;

		alarm(WATCHDOG);
		close(go[1]);
		src->ops->forked(src);
		if (hmm_source_kvm.attach(&src, why, sizeof(why)))
			_exit(1);
		p = map_pages(1);
		if (write(done[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(2);
		for (i = 0; i < times; i++)
			madvise(p, PAGE_SIZE, MADV_DONTNEED);
		/* It does see them itself. */
		if (*src->started < times)
			_exit(3);
		_exit(write(done[1], &byte, 1) != 1);
	}
	close(go[0]);
	close(done[1]);
	assert_int_equal(read(done[0], &byte, 1), 1);
	before = hmm_load_acquire(src->started);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(read(done[0], &byte, 1), 1);
	assert_true(hmm_load_acquire(src->started) - before < times);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(go[1]);
	close(done[0]);
}

static void *change_later(void *arg)
{
	usleep(50 * 1000);
	madvise(arg, PAGE_SIZE, MADV_DONTNEED);
	return NULL;
}

static void armed_source_wakes_who_polls(void **state)
{
	struct pollfd pfd = { .events = POLLIN };
	struct seen seen = { 0 };
	pthread_t thread;
	char *p;
	int i;

	(void)state;
	need_source();
	pfd.fd = src->event_fd;
	p = map_pages(1);
	for (i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&thread, NULL, change_later, p),
				 0);
		for (;;) {
			drain_all(&seen);
			if (src->ops->arm(src, true))
				break;
		}
		assert_int_equal(poll(&pfd, 1, -1), 1);
		pthread_join(thread, NULL);
		drain_all(&seen);
		assert_non_null(find(&seen, p, PAGE_SIZE));
	}
	munmap(p, PAGE_SIZE);
	/* Nothing has been taken since: there is no reason to sleep. */
	assert_false(src->ops->arm(src, true));
}

static void *change_many(void *arg)
{
	unsigned int i;

	usleep(50 * 1000);
	for (i = 0; i < KVM_MANY / sizeof(struct kvm_record); i++)
		madvise(arg, PAGE_SIZE, MADV_DONTNEED);
	return NULL;
}

static void many_records_wake_who_polls(void **state)
{
	struct pollfd pfd = { .events = POLLIN };
	struct seen seen = { 0 };
	pthread_t thread;
	char *p;

	(void)state;
	need_source();
	pfd.fd = src->event_fd;
	p = map_pages(1);
	drain_all(&seen);
	assert_true(src->ops->arm(src, false));
	assert_int_equal(pthread_create(&thread, NULL, change_many, p), 0);
	assert_int_equal(poll(&pfd, 1, -1), 1);
	pthread_join(thread, NULL);
	munmap(p, PAGE_SIZE);
}

static void overflow_is_one_loss(void **state)
{
	struct seen seen = { 0 };
	int i;
	char *p;

	(void)state;
	need_source();
	p = map_pages(1);
	forget();
	for (i = 0; i < 100 * 1000; i++)
		madvise(p, PAGE_SIZE, MADV_DONTNEED);
	drain_all(&seen);
	assert_int_equal(seen.lost, 1);
	assert_true(seen.nr < 100 * 1000);
	assert_true(seen.consumed >= 100 * 1000);
	assert_int_equal(seen.open, 0);

	/* And it goes on as if nothing had been. */
	memset(&seen, 0, sizeof(seen));
	madvise(p, PAGE_SIZE, MADV_DONTNEED);
	drain_all(&seen);
	assert_non_null(find(&seen, p, PAGE_SIZE));
	assert_int_equal(seen.lost, 0);
	assert_int_equal(seen.open, 0);
	munmap(p, PAGE_SIZE);
}

/* ---- The barrier -------------------------------------------------------- */

#define CHURN_PAGES 8192

struct churn {
	char *p;
	int fd;
	bool stop;
	unsigned long rounds;
};

static void *churn(void *arg)
{
	struct churn *c = arg;

	while (!READ_ONCE(c->stop)) {
		madvise(c->p, CHURN_PAGES * PAGE_SIZE, MADV_POPULATE_WRITE);
		usleep(200);
		madvise(c->p, CHURN_PAGES * PAGE_SIZE, MADV_DONTNEED);
		WRITE_ONCE(c->rounds, c->rounds + 1);
	}
	return NULL;
}

static bool present(int pagemap, const char *p)
{
	uint64_t entry;

	assert_int_equal(pread(pagemap, &entry, sizeof(entry),
			       (uintptr_t)p / PAGE_SIZE * sizeof(entry)),
			 sizeof(entry));
	return entry >> 63;
}

/*
 * Accept what is read as the host would: nothing new was counted since before
 * the barrier.  Stale is what then vanishes although nothing starts.
 */
static void snapshots(struct churn *c, bool barrier, unsigned int ms,
		      unsigned long wanted, unsigned long *accepted,
		      unsigned long *stale)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const char *last = c->p + (CHURN_PAGES - 1) * PAGE_SIZE;
	uint64_t started, until = hmm_now_ms() + ms;
	bool was, is = true;
	int i;

	assert_true(pagemap >= 0);
	*accepted = *stale = 0;
	while (*accepted < wanted && hmm_now_ms() < until) {
		started = hmm_load_acquire(src->started);
		if (barrier)
			assert_int_equal(
				src->ops->barrier(src, why, sizeof(why)), 0);
		was = present(pagemap, last);
		if (!was || hmm_load_acquire(src->started) != started)
			continue;
		++*accepted;
		for (i = 0; i < 200; i++) {
			is = present(pagemap, last);
			if (hmm_load_acquire(src->started) != started) {
				is = true;
				break;
			}
			if (!is)
				break;
		}
		if (!is)
			++*stale;
		forget();
	}
	close(pagemap);
}

static void barrier_waits_for_changes(void **state)
{
	unsigned long accepted, stale;
	struct churn c = { 0 };
	pthread_t thread;
	int tries;

	(void)state;
	need_source();
	c.fd = map_file(&c.p, CHURN_PAGES);
	assert_int_equal(pthread_create(&thread, NULL, churn, &c), 0);

	/* It must be able to go wrong, else going right proves nothing. */
	for (tries = stale = 0; tries < 20 && !stale; tries++)
		snapshots(&c, false, 300, ~0ul, &accepted, &stale);
	printf("without barrier: %lu of %lu snapshots stale\n", stale,
	       accepted);
	if (stale) {
		snapshots(&c, true, 20 * 1000, 500, &accepted, &stale);
		printf("with barrier: %lu of %lu snapshots stale, %lu "
		       "changes\n",
		       stale, accepted, READ_ONCE(c.rounds));
	} else {
		accepted = 0;
	}
	WRITE_ONCE(c.stop, true);
	pthread_join(thread, NULL);
	munmap(c.p, CHURN_PAGES * PAGE_SIZE);
	close(c.fd);
	if (!accepted) {
		printf("skipped: no change was caught in the middle\n");
		skip();
	}
	assert_int_equal(stale, 0);
}

/* ---- Resources ---------------------------------------------------------- */

static void still_works(void)
{
	struct seen seen = { 0 };
	char *p = map_pages(2);

	forget();
	munmap(p, 2 * PAGE_SIZE);
	assert_int_equal(src->ops->barrier(src, why, sizeof(why)), 0);
	drain_all(&seen);
	assert_non_null(find(&seen, p, 2 * PAGE_SIZE));
}

static void full_file_table(void **state)
{
	struct rlimit old, low = { 0 };
	int fd[4096], n = 0;

	(void)state;
	need_source();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	if (low.rlim_cur > 4096)
		low.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < 4096 && (fd[n] = dup(STDIN_FILENO)) >= 0)
		n++;
	assert_int_equal(errno, EMFILE);
	still_works();
	still_works();
	while (n--)
		close(fd[n]);
	setrlimit(RLIMIT_NOFILE, &old);
}

static void attach_with_full_file_table(void **state)
{
	struct hmm_source *other;
	struct rlimit old, low;
	int fd[64], n, room;

	(void)state;
	need_source();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* At each place where attaching may run out of them. */
	for (room = 0; room < 24; room++) {
		low = (struct rlimit){ 64, old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		for (n = 0; n < 64 && (fd[n] = dup(STDIN_FILENO)) >= 0; n++)
			;
		while (n > 0 && room && (int)low.rlim_cur > fd[n - 1]) {
			int i;

			for (i = 0; i < room && n > 0; i++)
				close(fd[--n]);
			break;
		}
		*why = '\0';
		if (hmm_source_kvm.attach(&other, why, sizeof(why))) {
			assert_string_not_equal(why, "");
			if (!room)
				assert_non_null(strstr(why, "RLIMIT_NOFILE"));
		} else {
			hmm_source_kvm.detach(other);
		}
		while (n--)
			close(fd[n]);
		setrlimit(RLIMIT_NOFILE, &old);
	}
}

static void closed_under_our_feet(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	need_source();
	/* In a child of its own, since it takes cmocka's files as well. */
	pid = fork();
	if (!pid) {
		char *p;
		struct seen seen = { 0 };
		uint64_t started;

		alarm(WATCHDOG);
		src->ops->forked(src);
		if (hmm_source_kvm.attach(&src, why, sizeof(why)))
			_exit(1);
		close_range(3, ~0u, 0);
		/* Not ours, whatever its number. */
		if (open("/dev/null", O_RDONLY) != 3)
			_exit(2);
		while (dup(3) < 32)
			;
		p = map_pages(2);
		started = *src->started;
		munmap(p, 2 * PAGE_SIZE);
		if (hmm_load_acquire(src->started) == started)
			_exit(3);
		src->ops->drain(src, note, &seen, &seen.consumed);
		if (!find(&seen, p, 2 * PAGE_SIZE))
			_exit(4);
		if (src->ops->barrier(src, why, sizeof(why)))
			_exit(5);
		src->ops->detach(src);
		for (status = 3; status < 32; status++)
			if (fcntl(status, F_GETFD) < 0)
				_exit(6);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	still_works();
}

static void fork_is_left_alone(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	need_source();
	pid = fork();
	if (!pid) {
		struct hmm_source *old = src;

		alarm(WATCHDOG);
		src->ops->forked(src);
		if (fcntl(old->event_fd, F_GETFD) != -1)
			_exit(1);
		if (src->ops->barrier(src, why, sizeof(why)) != -ESRCH)
			_exit(2);
		if (hmm_source_kvm.attach(&src, why, sizeof(why)))
			_exit(3);
		if (*old->started)
			_exit(4);
		still_works();
		src->ops->detach(src);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	still_works();
}

static unsigned int count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned int count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned int n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void attaching_leaks_nothing(void **state)
{
	/* A thousand times, unless the machine is an emulated one. */
	const uint64_t until = hmm_now_ms() + 30 * 1000;
	unsigned int fds = 0, maps = 0, i;

	(void)state;
	need_source();
	for (i = 0; i < 1000 && (i < 20 || hmm_now_ms() < until); i++) {
		struct hmm_source *other;

		/* The first ones may grow the heap. */
		if (i == 10) {
			fds = count_entries("/proc/self/fd");
			maps = count_lines("/proc/self/maps");
		}
		assert_int_equal(
			hmm_source_kvm.attach(&other, why, sizeof(why)), 0);
		hmm_source_kvm.detach(other);
	}
	printf("attached %u times\n", i);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_in_range(count_lines("/proc/self/maps"), 1, maps + 8);
	/* Of ".", "..", this thread and the source's; the rest are leaving. */
	while (count_entries("/proc/self/task") > 4)
		usleep(1000);
	still_works();
}

static void nothing_inherited_by_exec(void **state)
{
	struct dirent *e;
	DIR *d;

	(void)state;
	need_source();
	d = opendir("/proc/self/fd");
	assert_non_null(d);
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (fd > 2 && fd == src->event_fd)
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	closedir(d);
}

/* ---- Where it can't work ------------------------------------------------ */

static int hide(const char *dir)
{
	return unshare(CLONE_NEWNS) ||
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("none", dir, "tmpfs", 0, NULL);
}

static int without_kvm(void)
{
	return hide("/dev");
}

static int without_btf(void)
{
	return hide("/sys/kernel");
}

static int as_nobody(void)
{
	return setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534);
}

static int without_capabilities(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { 0 };

	return syscall(SYS_capset, &head, none);
}

/* Attach in a child that has lost something; what does it say? */
static void expect_failure(int (*lose)(void), int err, const char *words)
{
	char said[256] = "";
	int fds[2], status;
	pid_t pid;

	if (geteuid()) {
		printf("skipped: not root\n");
		skip();
	}
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		struct hmm_source *other;
		int ret;

		alarm(WATCHDOG);
		if (lose())
			_exit(1);
		ret = hmm_source_kvm.attach(&other, why, sizeof(why));
		if (write(fds[1], why, strlen(why)) < 0 || ret != err)
			_exit(2);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(fds[0], said, sizeof(said) - 1) >= 0);
	close(fds[0]);
	printf("says: %s\n", said);
	assert_int_equal(status, 0);
	assert_non_null(strstr(said, words));
}

static void no_kvm(void **state)
{
	(void)state;
	expect_failure(without_kvm, -ENOENT, "load kvm_intel or kvm_amd");
}

static void no_btf(void **state)
{
	(void)state;
	need_source();
	expect_failure(without_btf, -ESRCH, "CONFIG_DEBUG_INFO_BTF");
}

static void not_root(void **state)
{
	(void)state;
	need_source();
	expect_failure(as_nobody, -EACCES, "be root");
}

static void no_capabilities(void **state)
{
	(void)state;
	need_source();
	expect_failure(without_capabilities, -EPERM, "CAP_BPF and CAP_PERFMON");
}

static void in_a_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(WATCHDOG);
		src->ops->forked(src);
		_exit(run());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int attach_and_see(bool owner)
{
	struct seen seen = { 0 };
	const struct hmm_event *event;
	char *p;

	if (hmm_source_kvm.attach(&src, why, sizeof(why)))
		return 10;
	p = map_pages(2);
	munmap(p, 2 * PAGE_SIZE);
	drain_all(&seen);
	event = find(&seen, p, 2 * PAGE_SIZE);
	if (!event)
		return 11;
	if (event->phase == HMM_EVENT_OPEN &&
	    event->owner != (owner ? (uint64_t)gettid() : 0))
		return 12;
	if (src->ops->barrier(src, why, sizeof(why)))
		return 13;
	src->ops->detach(src);
	return 0;
}

static int run_without_memlock(void)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_MEMLOCK, &none) ? 1 : attach_and_see(true);
}

static int run_in_pid_namespace(void)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return 1;
	pid = fork();
	if (!pid)
		_exit(attach_and_see(false));
	return waitpid(pid, &status, 0) != pid ? 2 : WEXITSTATUS(status);
}

static void low_memlock(void **state)
{
	(void)state;
	need_source();
	in_a_child(run_without_memlock);
}

static void pid_namespace_hides_owners(void **state)
{
	(void)state;
	need_source();
	in_a_child(run_in_pid_namespace);
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_TEST(changes_have_kind_and_owner),
		SOURCE_TEST(other_process_changes_ours),
		SOURCE_TEST(other_process_changes_its_own),
		SOURCE_TEST(armed_source_wakes_who_polls),
		SOURCE_TEST(many_records_wake_who_polls),
		SOURCE_TEST(overflow_is_one_loss),
		SOURCE_TEST(barrier_waits_for_changes),
		SOURCE_TEST(full_file_table),
		SOURCE_TEST(attach_with_full_file_table),
		SOURCE_TEST(closed_under_our_feet),
		SOURCE_TEST(fork_is_left_alone),
		SOURCE_TEST(attaching_leaks_nothing),
		SOURCE_TEST(nothing_inherited_by_exec),
		SOURCE_TEST(low_memlock),
		SOURCE_TEST(pid_namespace_hides_owners),
		SOURCE_TEST(no_kvm),
		SOURCE_TEST(no_btf),
		SOURCE_TEST(not_root),
		SOURCE_TEST(no_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
