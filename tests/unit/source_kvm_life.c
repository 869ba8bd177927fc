// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_kvm_life.c - the kvm source alone: what it holds, and where it fails
 *
 * check: kvm root no-tsan (its children start threads, too)
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_support.h"

/* What a child ends with that could not be made as it should be. */
#define SKIP 77

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
		drain_all(&seen);
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
	/* A thousand times, unless the machine is slow. */
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
			_exit(SKIP);
		ret = hmm_source_kvm.attach(&other, why, sizeof(why));
		if (write(fds[1], why, strlen(why)) < 0 || ret != err)
			_exit(2);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(fds[0], said, sizeof(said) - 1) >= 0);
	close(fds[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP) {
		printf("skipped: not permitted here\n");
		skip();
	}
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
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP) {
		printf("skipped: not permitted here\n");
		skip();
	}
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
		return SKIP;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
