// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * other_process_access.c - whose memory may be mirrored, by whom
 *
 * check: once
 */
#include "puppet.h"

static void only_the_module_can(void **state)
{
	static const char *const sources[] = { "kvm", "uffd" };
	struct mm_struct *mm;
	struct puppet p;
	int i;

	(void)state;
	puppet_start(&p);
	for (i = 0; i < 2; i++) {
		assert_int_equal(try_attach(&mm, p.pidfd, false, sources[i]),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "another process"));
		assert_non_null(strstr(last_line, "hmm.ko"));
		assert_int_equal(try_attach(&mm, 0, true, sources[i]),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "wait"));
		assert_non_null(strstr(last_line, "hmm.ko"));
	}
	if (access("/dev/hmm", F_OK)) {
		assert_int_equal(try_attach(&mm, p.pidfd, false, NULL),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "hmm.ko"));
	}
	puppet_end(&p);
}

static void options_grow(void **state)
{
	struct {
		struct hmm_attach_opts opts;
		char more[64];
	} big = { .opts.size = sizeof(big), .opts.source = "nonesuch" };
	struct mm_struct *mm;

	(void)state;
	hmm_set_log(NULL);
	/* As far as each knows: no such source. */
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -ENOENT);
	big.more[63] = 1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -E2BIG);
	big.opts.size = ~0ul;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -E2BIG);
	/* An older program's: what is beyond is not looked at. */
	big.opts.size = offsetof(struct hmm_attach_opts, pidfd);
	big.opts.pidfd = -1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -ENOENT);
	big.opts.size = sizeof(big.opts);
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -EBADF);
	big.opts.size = 1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -EINVAL);
}

static void not_a_process(void **state)
{
	struct pollfd ended = { .events = POLLIN };
	struct mm_struct *mm;
	struct puppet p;
	int fd, status;

	(void)state;
	need_module();
	assert_int_equal(try_attach(&mm, -1, false, NULL), -EBADF);
	assert_int_equal(try_attach(&mm, 9999, false, NULL), -EBADF);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(try_attach(&mm, fd, false, NULL), -EBADF);
	assert_non_null(strstr(last_line, "pidfd"));
	close(fd);

	puppet_start(&p);
	kill(p.pid, SIGKILL);
	/* Dead, and not yet waited for. */
	ended.fd = p.pidfd;
	assert_int_equal(poll(&ended, 1, -1), 1);
	assert_int_equal(try_attach(&mm, p.pidfd, false, NULL), -ESRCH);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	assert_int_equal(try_attach(&mm, p.pidfd, false, NULL), -ESRCH);
	assert_non_null(strstr(last_line, "ended"));
	puppet_end(&p);
}

static int attach_as_nobody(int pidfd)
{
	struct mm_struct *mm;

	if (setgid(NOBODY) || setuid(NOBODY))
		return 1;
	if (try_attach(&mm, pidfd, false, NULL) != -EACCES)
		return 2;
	return strstr(last_line, "CAP_SYS_PTRACE") ? 0 : 3;
}

static void who_may_not_trace_may_not_attach(void **state)
{
	struct puppet p;
	int status;
	pid_t pid;

	(void)state;
	need_module();
	if (getuid())
		skip();
	puppet_start(&p);
	pid = fork();
	if (!pid)
		_exit(attach_as_nobody(p.pidfd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	puppet_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_the_module_can),
		TEST(options_grow),
		TEST(not_a_process),
		TEST(who_may_not_trace_may_not_attach),
	};

	/* Puppets that end early are no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
