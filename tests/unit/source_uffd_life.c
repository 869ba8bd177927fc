// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_uffd_life.c - the unprivileged source, and the process that reads for
 * it: what it leaves behind, to whom it is refused, how it dies
 *
 * What would disturb the test program happens in children: they lower limits,
 * change their user, or get killed.
 *
 * check: uffd timeout=120
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "uffd_support.h"

/* ---- Who holds what ----------------------------------------------------- */

static unsigned int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	int c;

	assert_non_null(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

static volatile sig_atomic_t sigchlds;

static void on_sigchld(int sig)
{
	(void)sig;
	sigchlds++;
}

static void test_no_traces(void **state)
{
	unsigned int i, fds = 0, maps = 0;
	struct hmm_source *src;

	(void)state;
	need_userfaultfd();
	alarm(WATCHDOG_S);
	signal(SIGCHLD, on_sigchld);
	for (i = 0; i < 201; i++) {
		src = attach();
		assert_non_null(src);
		/* No child that the application would find. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
		assert_int_equal(errno, ECHILD);
		hmm_source_uffd.detach(src);
		if (!i) {
			fds = count_entries("/proc/self/fd");
			maps = count_maps();
		}
	}
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(count_maps(), maps);
	assert_int_equal(sigchlds, 0);
	signal(SIGCHLD, SIG_DFL);
	alarm(0);
}

/* One whose orphans come to itself must not collect dead monitors. */
static void as_reaper(void)
{
	struct hmm_source *src;

	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	src = attach();
	CHECK(src);
	hmm_source_uffd.detach(src);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

static void test_reaper(void **state)
{
	(void)state;
	need_userfaultfd();
	in_child(as_reaper);
}

static void test_monitor_holds_nothing_else(void **state)
{
	pid_t monitor;
	char path[64];
	int fds[2];

	(void)state;
	/* Numbers below, between and above those that it keeps. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[0], 200), 200);
	monitor = monitor_of(source);
	hmm_source_uffd.detach(source);
	source = attach();
	assert_non_null(source);
	assert_int_not_equal(monitor_of(source), monitor);
	/* userfaultfd, socket, pidfd, eventfd, "." and ".." */
	snprintf(path, sizeof(path), "/proc/%d/fd", monitor_of(source));
	assert_int_equal(count_entries(path), 6);
	close(200);
	close(fds[0]);
	close(fds[1]);
}

static void test_monitor_ends_with_the_process(void **state)
{
	pid_t pid, monitor = 0, grandchild = 0;
	int fds[2], status;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		struct hmm_source *src = attach();

		CHECK(src);
		monitor = monitor_of(src);
		/* It keeps a copy of all that its parent has open. */
		grandchild = fork();
		if (grandchild) {
			CHECK(write(fds[1], &monitor, sizeof(monitor)) > 0);
			CHECK(write(fds[1], &grandchild, sizeof(pid)) > 0);
		}
		pause();
		_exit(0);
	}
	assert_int_equal(read(fds[0], &monitor, sizeof(monitor)),
			 sizeof(monitor));
	assert_int_equal(read(fds[0], &grandchild, sizeof(grandchild)),
			 sizeof(grandchild));
	close(fds[0]);
	close(fds[1]);
	/* What a terminal or a polite administrator sends does not end it. */
	kill(monitor, SIGINT);
	kill(monitor, SIGTERM);
	kill(monitor, SIGHUP);
	usleep(10000);
	assert_true(is_alive(monitor));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	while (is_alive(monitor))
		usleep(1000);
	assert_true(is_alive(grandchild));
	kill(grandchild, SIGKILL);
}

static void test_fork(void **state)
{
	struct seen seen = { 0 };
	char *p = map_covered(4 * PAGE);

	(void)state;
	/* in_child() calls forked(). */
	in_child(attach_in_child);
	munmap(p, 4 * PAGE);
	assert_int_equal(drain(source, &seen), 0);
	assert_true(saw(&seen, p, 4 * PAGE, HMM_EVENT_PAST, HMM_CHANGE_UNMAP));
}

/* ---- What is refused, and to whom --------------------------------------- */

static void become_nobody(void)
{
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		not_here("not root, so the other tests ran as a user already");
}

static void as_nobody(void)
{
	become_nobody();
	attach_in_child();
	/* As one that was a user's from the beginning. */
	CHECK(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	attach_in_child();
}

static void test_nobody(void **state)
{
	(void)state;
	in_child(as_nobody);
}

static void few_files(void)
{
	const struct rlimit enough = { 1024, 1024 };
	struct hmm_source *src;
	unsigned int fds, n;
	char why[256];
	int ret = -1;

	/* Whatever the one who runs the tests has open. */
	CHECK(!close_range(3, ~0u, 0));
	fds = count_entries("/proc/self/fd");
	/* Refused at each of its files in turn, and nothing is left open. */
	for (n = 0; ret && n < 20; n++) {
		struct rlimit limit = { 3 + n, 1024 };

		CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
		*why = '\0';
		ret = hmm_source_uffd.attach(&src, why, sizeof(why));
		CHECK(!setrlimit(RLIMIT_NOFILE, &enough));
		CHECK(!ret || (ret == -EMFILE && strstr(why, "RLIMIT_NOFILE")));
		CHECK(!ret || count_entries("/proc/self/fd") == fds);
	}
	CHECK(!ret && n > 4);
	hmm_source_uffd.detach(src);
}

static void test_few_files(void **state)
{
	(void)state;
	in_child(few_files);
}

static int attach_with_small_files(char *why, size_t size)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	struct hmm_source *src;
	struct rlimit old;
	int ret;

	CHECK(!getrlimit(RLIMIT_FSIZE, &old));
	CHECK(!setrlimit(RLIMIT_FSIZE, &none));
	ret = hmm_source_uffd.attach(&src, why, size);
	/* Nor could this program write what it has to say. */
	CHECK(!setrlimit(RLIMIT_FSIZE, &old));
	return ret;
}

/* Not killed by SIGXFSZ, and the application's own is left to it. */
static void small_files(void)
{
	sigset_t set;
	char why[256] = "";

	CHECK(attach_with_small_files(why, sizeof(why)) == -EFBIG);
	CHECK(strstr(why, "RLIMIT_FSIZE"));
	CHECK(!sigpending(&set) && !sigismember(&set, SIGXFSZ));
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &set));
	CHECK(!sigismember(&set, SIGXFSZ));
	sigaddset(&set, SIGXFSZ);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	raise(SIGXFSZ);
	CHECK(attach_with_small_files(why, sizeof(why)) == -EFBIG);
	CHECK(!sigpending(&set) && sigismember(&set, SIGXFSZ));
}

static void test_small_files(void **state)
{
	(void)state;
	in_child(small_files);
}

static void few_processes(void)
{
	const struct rlimit limit = { 1, 1 };

	become_nobody();
	CHECK(!setrlimit(RLIMIT_NPROC, &limit));
	expect_refusal(-EAGAIN, "RLIMIT_NPROC");
}

static void test_few_processes(void **state)
{
	(void)state;
	in_child(few_processes);
}

static void without_userfaultfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = sizeof(filter) / sizeof(*filter),
		.filter = filter,
	};

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		not_here("no seccomp filters");
	expect_refusal(-EPERM, "seccomp");
}

static void test_without_userfaultfd(void **state)
{
	(void)state;
	in_child(without_userfaultfd);
}

/* The sysctl is one of the pid namespace, and can only be raised. */
static void without_exec_memfd(void)
{
	int fd, status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		not_here("not root: no pid namespace to forbid it in");
	pid = fork();
	if (!pid) {
		fd = open("/proc/sys/vm/memfd_noexec", O_WRONLY);
		if (fd < 0 || write(fd, "2", 1) != 1)
			not_here("no vm.memfd_noexec");
		close(fd);
		expect_refusal(-EACCES, "vm.memfd_noexec");
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void test_without_exec_memfd(void **state)
{
	(void)state;
	in_child(without_exec_memfd);
}

/* ---- Nobody hangs ------------------------------------------------------- */

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* Large and small blocks, so that free() trims and unmaps. */
static void *churn_malloc(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	while (!stopped()) {
		void *block[16];
		unsigned int i;

		for (i = 0; i < 16; i++) {
			size_t size = (size_t)rand_r(&seed) % (256 * 1024) + 1;

			block[i] = malloc(size);
			if (!block[i])
				continue;
			memset(block[i], 1, size);
			cover(source, block[i], size);
		}
		for (i = 0; i < 16; i++)
			free(block[i]);
	}
	return NULL;
}

static void *cover_stack(void *arg)
{
	char here[PAGE];

	memset(here, 1, sizeof(here));
	cover(source, here, sizeof(here));
	return arg;
}

static void *churn_threads(void *arg)
{
	pthread_t thread;

	while (!stopped())
		if (!pthread_create(&thread, NULL, cover_stack, NULL))
			pthread_join(thread, NULL);
	return arg;
}

static void *churn_forks(void *arg)
{
	while (!stopped()) {
		pid_t pid = fork();

		if (!pid) {
			free(malloc(1 << 20));
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return arg;
}

static void *churn_drain(void *arg)
{
	struct seen seen = { 0 };
	uint64_t consumed;

	while (!stopped()) {
		free(malloc(256 * 1024));
		seen.nr = 0;
		source->ops->drain(source, see, &seen, &consumed);
	}
	return arg;
}

static void *churn_barrier(void *arg)
{
	char why[256];

	while (!stopped())
		source->ops->barrier(source, why, sizeof(why));
	return arg;
}

static void churn(unsigned int ms, pid_t victim)
{
	static void *(*const fns[])(void *) = {
		churn_malloc, churn_malloc, churn_threads,
		churn_forks,  churn_drain,  churn_barrier,
	};
	pthread_t threads[6];
	unsigned long i;

	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fns[i],
						(void *)i),
				 0);
	usleep(ms * 1000);
	if (victim)
		kill(victim, SIGKILL);
	usleep(10000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

static void test_churn(void **state)
{
	(void)state;
	/* The top of the heap as well, so that trimming it waits. */
	cover(source, (char *)sbrk(0) - 16 * PAGE, 16 * PAGE);
	churn(2000, 0);
}

/* ---- The monitor dies --------------------------------------------------- */

static void test_killed(void **state)
{
	struct pollfd fd = { .fd = source->event_fd, .events = POLLIN };
	char *p = map_covered(4 * PAGE);
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(drain(source, &seen), 0);
	kill(monitor_of(source), SIGKILL);
	/* Who listens is told; who unmaps does not wait. */
	assert_int_equal(poll(&fd, 1, WATCHDOG_S * 1000), 1);
	assert_true(started(source) != seen.consumed);
	munmap(p, 4 * PAGE);
	assert_int_equal(drain(source, &seen), -EPIPE);
	assert_true(started(source) != seen.consumed);
	p = map(PAGE);
	assert_int_equal(cover(source, p, PAGE), -EPIPE);
	munmap(p, PAGE);
}

static void *kill_soon(void *arg)
{
	const struct timespec pause = { .tv_nsec = (long)(uintptr_t)arg };

	nanosleep(&pause, NULL);
	kill(monitor_of(source), SIGKILL);
	return NULL;
}

/*
 * Kill it at any moment of a loop that unmaps.  The counter has to differ after
 * each munmap(), be it that it was counted or that nobody counts any more.
 */
static void test_killed_at_any_moment(void **state)
{
	unsigned int round, i, seed = 1;

	(void)state;
	for (round = 0; round < 200; round++) {
		char *p = map_covered(4000 * PAGE);
		struct seen seen = { 0 };
		pthread_t killer;

		pthread_create(&killer, NULL, kill_soon,
			       (void *)(uintptr_t)(rand_r(&seed) % 2000000));
		for (i = 0; i < 2000; i++) {
			if (drain(source, &seen))
				break;
			munmap(p + 2 * i * PAGE, PAGE);
			assert_true(started(source) != seen.consumed);
		}
		pthread_join(killer, NULL);
		munmap(p, 4000 * PAGE);
		hmm_source_uffd.detach(source);
		source = attach();
		assert_non_null(source);
	}
}

static void test_killed_in_churn(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		churn(20 + 7 * i, monitor_of(source));
		hmm_source_uffd.detach(source);
		source = attach();
		assert_non_null(source);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_traces),
		cmocka_unit_test(test_reaper),
		TEST(test_monitor_holds_nothing_else),
		TEST(test_monitor_ends_with_the_process),
		TEST(test_fork),
		TEST(test_nobody),
		TEST(test_few_files),
		TEST(test_small_files),
		TEST(test_few_processes),
		TEST(test_without_userfaultfd),
		TEST(test_without_exec_memfd),
		TEST(test_churn),
		TEST(test_killed),
		TEST(test_killed_at_any_moment),
		TEST(test_killed_in_churn),
	};

	return cmocka_run_group_tests_name("source_uffd_life", tests, NULL,
					   NULL);
}
