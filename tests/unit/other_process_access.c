// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * other_process_access.c - whose memory may be mirrored, by whom
 *
 * check: once
 */
#include <sched.h>
#include <sys/mount.h>

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

/* ---- Users ------------------------------------------------------------------- */

#define OTHER (NOBODY - 1)

static void become_other(void)
{
	become(OTHER);
}

/* As whoever changes its user without a thought. */
static void become_closed(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		_exit(100);
}

static void remain(void)
{
}

static void need_root(void)
{
	need_module();
	if (!geteuid())
		return;
	print_message("skip: only root can become somebody else\n");
	skip();
}

/* What an attach has to say: ret, and if that is an error this text. */
struct answer {
	int ret;
	const char *text;
};

/* 0, or which part of it was not so. */
static int attach_says(const struct puppet *p, const struct answer *a)
{
	struct mm_struct *mm;
	int ret = try_attach(&mm, p->pidfd, false, NULL);

	if (ret != a->ret)
		return ret ? -ret : 101;
	if (!ret)
		return hmm_mm_detach(mm) ? 102 : 0;
	return strstr(last_line, a->text) ? 0 : 103;
}

/* In a child, which becomes somebody; its exit status. */
static int as(void (*somebody)(void), int (*run)(struct puppet *, const void *),
	      struct puppet *p, const void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		watchdog(60);
		somebody();
		_exit(run(p, arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int run_attach(struct puppet *p, const void *answer)
{
	return attach_says(p, answer);
}

static const struct answer allowed = { 0, NULL };
static const struct answer refused = { -EACCES, "takes CAP_SYS_PTRACE" };

#define attach_as(somebody, p, answer) as(somebody, run_attach, p, &(answer))

static void users_trace_their_own(void **state)
{
	struct puppet p;

	(void)state;
	need_root();
	/* Root's. */
	puppet_start(&p);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, refused), 0);
	puppet_end(&p);

	puppet_start_as(&p, become_nobody);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, allowed), 0);
	assert_int_equal(attach_as(become_closed, &p, allowed), 0);
	assert_int_equal(attach_as(become_other, &p, refused), 0);
	puppet_end(&p);

	/* What was root's may still be in its memory. */
	puppet_start_as(&p, become_closed);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, refused), 0);
	puppet_end(&p);
}

static int own_entries(struct puppet *p, const void *arg)
{
	struct hmm_range range;
	struct mm_struct *mm;
	uint64_t pfn;
	int ret = 0;

	(void)arg;
	if (try_attach(&mm, p->pidfd, false, NULL))
		return 1;
	if (!query(mm).pfns_virtual)
		ret = 2;
	range_start(&range, mm, p->memory, 1, &pfn, DEV_VALID | DEV_WRITE);
	if (range_fault_until_valid(&range, mm) != 1)
		ret = 3;
	else if (pfn >> DEV_SHIFT != (unsigned long)p->memory / PAGE)
		ret = 4;
	hmm_range_unregister(&range);
	return hmm_mm_detach(mm) ? 5 : ret;
}

static void pfns_are_not_for_everyone(void **state)
{
	struct puppet p;

	(void)state;
	need_root();
	puppet_start_as(&p, become_nobody);
	assert_int_equal(as(become_nobody, own_entries, &p, NULL), 0);
	puppet_end(&p);
}

/* ---- Containers -------------------------------------------------------------- */

static void become_container(uid_t user)
{
	become(user);
	if (unshare(CLONE_NEWUSER))
		_exit(110);
}

static void become_nobodys_container(void)
{
	become_container(NOBODY);
}

static void become_others_container(void)
{
	become_container(OTHER);
}

static void need_containers(void)
{
	int status;
	pid_t pid;

	need_root();
	pid = fork();
	if (!pid) {
		become_nobodys_container();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!status)
		return;
	print_message("skip: users may have no namespaces here\n");
	skip();
}

/* All capabilities, and none outside. */
static void container_has_no_say_outside(void **state)
{
	struct puppet p;

	(void)state;
	need_containers();
	puppet_start(&p);
	assert_int_equal(attach_as(become_nobodys_container, &p, refused), 0);
	puppet_end(&p);
	/* Not even over its user's other processes. */
	puppet_start_as(&p, become_nobody);
	assert_int_equal(attach_as(become_nobodys_container, &p, refused), 0);
	assert_int_equal(attach_as(become_others_container, &p, refused), 0);
	puppet_end(&p);
}

static void container_is_its_makers(void **state)
{
	struct puppet p;

	(void)state;
	need_containers();
	puppet_start_as(&p, become_nobodys_container);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, allowed), 0);
	assert_int_equal(as(become_nobody, own_entries, &p, NULL), 0);
	assert_int_equal(attach_as(become_other, &p, refused), 0);
	assert_int_equal(attach_as(become_others_container, &p, refused), 0);
	/* Another one, of the same user. */
	assert_int_equal(attach_as(become_nobodys_container, &p, refused), 0);
	puppet_end(&p);
}

/* The first process of a container, with a /proc that shows only that. */
static int in_a_pid_namespace(struct puppet *p, const void *arg)
{
	static const struct answer no_number = { -EBADF, "number here" };
	struct puppet own;
	int ret;

	(void)arg;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", 0, NULL))
		return 111;
	ret = attach_says(p, &no_number);
	if (ret)
		return ret;
	puppet_start(&own);
	ret = attach_says(&own, &allowed);
	puppet_end(&own);
	return ret;
}

static int make_pid_namespace(struct puppet *p, const void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		return 110;
	return as(remain, in_a_pid_namespace, p, NULL);
}

static void process_without_a_number_is_not_found(void **state)
{
	struct puppet p;

	(void)state;
	need_root();
	puppet_start(&p);
	assert_int_equal(as(remain, make_pid_namespace, &p, NULL), 0);
	puppet_end(&p);
}

/* ---- Yama -------------------------------------------------------------------- */

#define SCOPE "/proc/sys/kernel/yama/ptrace_scope"

/* -1: it is as it was. */
static int scope_before = -1;

static int read_scope(void)
{
	char text[16] = "";
	int fd = open(SCOPE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	close(fd);
	return *text ? atoi(text) : -1;
}

static bool write_scope(int scope)
{
	int fd = open(SCOPE, O_WRONLY | O_CLOEXEC);
	bool ret = fd >= 0 && dprintf(fd, "%d", scope) > 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* To the end of the test. */
static void set_scope(int scope)
{
	int before = read_scope();

	/* From 3 there is no way back. */
	if (before < 0 || before > 2 || !write_scope(scope)) {
		print_message("skip: no Yama in this kernel, or not to be "
			      "changed\n");
		skip();
	}
	if (scope_before < 0)
		scope_before = before;
	assert_int_equal(read_scope(), scope);
}

static int scope_teardown(void **state)
{
	if (scope_before >= 0)
		write_scope(scope_before);
	scope_before = -1;
	return teardown(state);
}

static int attach_own_child(struct puppet *p, const void *answer)
{
	struct puppet own;
	int ret;

	(void)p;
	puppet_start_as(&own, become_nobody);
	ret = attach_says(&own, answer);
	puppet_end(&own);
	return ret;
}

static void yama_leaves_children_to_their_parents(void **state)
{
	static const struct answer no = {
		-EACCES,
		"kernel.yama.ptrace_scope is 1; only CAP_SYS_PTRACE or a "
		"parent may",
	};
	struct puppet p;

	(void)state;
	need_root();
	set_scope(1);
	puppet_start_as(&p, become_nobody);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, no), 0);
	assert_int_equal(as(become_nobody, attach_own_child, NULL, &allowed),
			 0);
	set_scope(0);
	assert_int_equal(attach_as(become_nobody, &p, allowed), 0);
	puppet_end(&p);
}

static void yama_leaves_processes_to_root(void **state)
{
	static const struct answer no = {
		-EACCES,
		"kernel.yama.ptrace_scope is 2; only CAP_SYS_PTRACE may",
	};
	struct puppet p;

	(void)state;
	need_root();
	set_scope(2);
	puppet_start_as(&p, become_nobody);
	assert_int_equal(attach_as(remain, &p, allowed), 0);
	assert_int_equal(attach_as(become_nobody, &p, no), 0);
	assert_int_equal(as(become_nobody, attach_own_child, NULL, &no), 0);
	puppet_end(&p);
}

/* Who has it already keeps it, as with a debugger's descriptors. */
static void yama_takes_nothing_away(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;
	uint64_t pfn;

	(void)state;
	need_root();
	puppet_start_as(&p, become_nobody);
	mm = attach_to(&p, false);
	set_scope(2);
	range_start(&range, mm, p.memory, 1, &pfn, DEV_VALID | DEV_WRITE);
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	assert_int_equal(tell(&p, DISCARD, 0, 1), 0);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

#define SCOPE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, scope_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_the_module_can),
		TEST(options_grow),
		TEST(not_a_process),
		TEST(users_trace_their_own),
		TEST(pfns_are_not_for_everyone),
		TEST(container_has_no_say_outside),
		TEST(container_is_its_makers),
		TEST(process_without_a_number_is_not_found),
		SCOPE_TEST(yama_leaves_children_to_their_parents),
		SCOPE_TEST(yama_leaves_processes_to_root),
		SCOPE_TEST(yama_takes_nothing_away),
	};

	/* Puppets that end early are no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
