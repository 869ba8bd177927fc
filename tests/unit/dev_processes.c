// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_processes.c - /dev/hmm: which process a file shows, and the end of it
 *
 * check: once
 */
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>

#include "dev_opened.h"
#include "dev_requests.h"

static void change_memory(struct child *c, void *arg)
{
	char *p = arg;

	child_at(c, 1);
	munmap(p + PAGE, PAGE);
	child_at(c, 2);
}

static void a_process_one_may_trace(void **state)
{
	struct child *c;
	struct hmm_dev_vma vma;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(3);
	c = child_start(change_memory, p);
	/* Our own from here on. */
	munmap(p, 3 * PAGE);
	wait_for(child_is_at(c, 1));

	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	assert_int_equal(other.shared->dead, 0);
	check_against_pagemap(other.fd, c->pid, p, 3);
	vma = vma_at(other.fd, p);
	assert_int_equal(vma.start, (uintptr_t)p);
	assert_int_equal(vma.end, (uintptr_t)p + 3 * PAGE);
	from = dev_head(&other);
	/* What we do ourselves is not in it. */
	munmap(map_touched(8), 8 * PAGE);
	assert_false(dev_recorded(&other, from, p));
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	assert_true(dev_recorded(&other, from, p + PAGE));
	assert_false(dev_recorded(&other, from, p));
	check_against_pagemap(other.fd, c->pid, p, 3);
	child_kill(c);

	/* It is gone, and nothing is left but what there was. */
	wait_for(dev_load(&other.shared->dead));
	dev_close(&other);
}

static void is_gone(const struct dev *d)
{
	struct pollfd pollfd = { .fd = d->fd, .events = POLLIN };
	struct hmm_dev_register reg = { .start = PAGE, .end = 2 * PAGE };
	struct hmm_dev_vma vma = { 0 };
	struct hmm_dev_sync sync;
	uint64_t pfn;
	struct hmm_dev_range r = entries((void *)PAGE, 1, &pfn);

	wait_for(dev_load(&d->shared->dead));
	assert_int_equal(poll(&pollfd, 1, 0), 1);
	assert_true(pollfd.revents & POLLHUP);
	assert_int_equal(req(d->fd, HMM_DEV_VMA, &vma), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_REGISTER, &reg), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_SNAPSHOT, &r), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_FAULT, &r), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_HOLD, 100), -ESRCH);
	assert_int_equal(req(d->fd, HMM_DEV_SYNC, &sync), 0);
	assert_int_equal(sync.head, dev_head(d));
	assert_int_equal(sync.nr + sync.unlisted, 0);
}

static void exit_soon(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
}

static void exec_soon(struct child *c, void *arg)
{
	(void)arg;
	child_at(c, 1);
	execl("/bin/sleep", "sleep", "100", NULL);
	_exit(1);
}

static void gone_with(void (*run)(struct child *, void *))
{
	struct dev other;
	struct child *c = child_start(run, NULL);

	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	child_let(c, 2);
	is_gone(&other);
	dev_close(&other);
	child_kill(c);
}

static void a_process_that_exits_is_gone(void **state)
{
	(void)state;
	gone_with(exit_soon);
}

static void a_process_that_execs_is_gone(void **state)
{
	(void)state;
	gone_with(exec_soon);
}

/* Unlike one of hmm.h. */
static void registered_range_keeps_nothing(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t pfn;
	struct hmm_dev_wait wait = { .ms = 60000 };
	struct hmm_dev_range r;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(exit_soon, NULL);
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	id = wait.id = registered(other.fd, p, 1);
	r = entries(p, 1, &pfn);
	r.id = id;
	assert_int_equal(walk(other.fd, false, &r), 0);
	child_kill(c);
	is_gone(&other);
	assert_int_equal(req(other.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(req(other.fd, HMM_DEV_WAIT, &wait), -ESRCH);
	assert_int_equal(req(other.fd, HMM_DEV_SNAPSHOT, &r), -ESRCH);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, id), 0);
	dev_close(&other);
	munmap(p, PAGE);
}

static void exit_with_range_and_ring(struct child *c, void *p)
{
	struct dev d;

	d.fd = open("/dev/hmm", O_RDONLY);
	dev_map(&d);
	registered(d.fd, p, 1);
	child_at(c, 1);
}

/* Who is mapped must not keep alive what maps it. */
static void mapped_file_with_ranges_ends_with_the_process(void **state)
{
	struct dev other;
	struct child *c;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(exit_with_range_and_ring, p);
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	child_let(c, 2);
	is_gone(&other);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

/* The other direction: the file goes along, the memory does not. */
static int after_exec(const char *arg)
{
	struct dev d = { .fd = atoi(arg) };
	struct hmm_dev_vma vma = { 0 };
	struct hmm_dev_sync sync;
	char *p;

	watchdog(30);
	d.shared = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, d.fd, 0);
	if (d.shared == MAP_FAILED)
		return 11;
	p = map_touched(1);
	munmap(p, PAGE);
	if (req(d.fd, HMM_DEV_VMA, &vma) != -ESRCH)
		return 12;
	wait_for(dev_load(&d.shared->dead));
	if (req(d.fd, HMM_DEV_SYNC, &sync))
		return 13;
	munmap(p = map_touched(1), PAGE);
	return sync.head == dev_head(&d) ? 0 : 14;
}

static void exec_with_file(struct child *c, void *arg)
{
	int fd = open("/dev/hmm", O_RDONLY);
	char text[16];

	(void)c;
	(void)arg;
	snprintf(text, sizeof(text), "%d", fd);
	execl("/proc/self/exe", "dev_processes", "after_exec", text, NULL);
	_exit(1);
}

static void ones_own_exec_leaves_a_dead_file(void **state)
{
	(void)state;
	assert_int_equal(child_end(child_start(exec_with_file, NULL)), 0);
}

/* ---- Binding ------------------------------------------------------------ */

static int bind_name(const char *name, int flags)
{
	int fd = dev_open_file(), other = open(name, flags | O_CLOEXEC), ret;

	assert_true(other >= 0);
	ret = req(fd, HMM_DEV_BIND, other);
	close(other);
	close(fd);
	return ret;
}

static void only_proc_pid_mem_binds(void **state)
{
	int fd, mem;

	(void)state;
	assert_int_equal(bind_name("/proc/self/mem", O_RDONLY), 0);
	assert_int_equal(bind_name("/proc/thread-self/mem", O_RDWR), 0);
	assert_int_equal(bind_name("/proc/self/mem", O_WRONLY), -EACCES);
	assert_int_equal(bind_name("/proc/self/mem", O_PATH), -EBADF);
	assert_int_equal(bind_name("/proc/self/maps", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/self/pagemap", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/self/environ", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/proc/version", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/dev/null", O_RDONLY), -EINVAL);
	assert_int_equal(bind_name("/dev/hmm", O_RDONLY), -EINVAL);

	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_BIND, -1), -EBADF);
	assert_int_equal(req(fd, HMM_DEV_BIND, 12345), -EBADF);
	/* Whatever was refused leaves it as it was. */
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDWR), 0);
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDWR), EBUSY);
	close(fd);

	/* Nothing of ours can be there: kthreadd. */
	mem = open_mem(2, O_RDONLY);
	if (mem >= 0) {
		fd = dev_open_file();
		assert_int_equal(req(fd, HMM_DEV_BIND, mem), -ESRCH);
		close(fd);
		close(mem);
	}
}

static void binding_comes_first(void **state)
{
	struct hmm_dev_vma vma = { 0 };
	int fd;

	(void)state;
	/* It was mapped. */
	assert_int_equal(dev_bind_to(dev.fd, getpid(), O_RDONLY), EBUSY);
	/* Or used. */
	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_VMA, &vma), 0);
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDONLY), EBUSY);
	close(fd);
}

static void bound_file_has_no_history(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	struct dev other;

	(void)state;
	wait_for(child_is_at(c, 1));
	other.fd = dev_open_file();
	/* Recorded, and not for whoever is told of the child. */
	munmap(map_touched(8), 8 * PAGE);
	assert_int_equal(dev_bind_to(other.fd, c->pid, O_RDONLY), 0);
	dev_map(&other);
	assert_int_equal(other.shared->started, 0);
	assert_int_equal(dev_head(&other), 0);
	assert_int_equal(other.ring[0].start | other.ring[0].end, 0);
	dev_close(&other);
	child_kill(c);
}

/* At the limit of the other process: it goes on to show ours. */
static void file_that_could_not_be_bound_is_as_before(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	unsigned int old;
	uint64_t from;
	int first, second;
	struct dev d;
	char *p;

	(void)state;
	old = parameter("files_per_mm", 3);
	wait_for(child_is_at(c, 1));
	first = dev_open_file();
	assert_int_equal(dev_bind_to(first, c->pid, O_RDONLY), 0);
	second = dev_open_file();
	assert_int_equal(dev_bind_to(second, c->pid, O_RDONLY), 0);
	parameter("files_per_mm", 2);
	d.fd = dev_open_file();
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), EUSERS);
	close(first);
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), 0);
	close(d.fd);
	first = dev_open_file();
	assert_int_equal(dev_bind_to(first, c->pid, O_RDONLY), 0);

	d.fd = dev_open_file();
	assert_int_equal(dev_bind_to(d.fd, c->pid, O_RDONLY), EUSERS);
	dev_map(&d);
	from = dev_head(&d);
	p = map_touched(1);
	munmap(p, PAGE);
	assert_true(dev_recorded(&d, from, p));
	parameter("files_per_mm", old);
	dev_close(&d);
	close(first);
	close(second);
	child_kill(c);
}

static bool hung_up(int fd)
{
	struct pollfd pollfd = { .fd = fd };

	return poll(&pollfd, 1, 0) == 1 && pollfd.revents & POLLHUP;
}

/* Opened by a process that is gone; then it is not bound to another, either. */
static void dead_file_that_could_not_be_bound_is_dead(void **state)
{
	unsigned int old = parameter("files_per_mm", 1);
	int fd, status;
	long pid;

	(void)state;
	/* Its descriptors are ours, its memory is not. */
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(open("/dev/hmm", O_RDONLY | O_CLOEXEC));
	assert_true(pid > 0);
	assert_int_equal(waitpid((pid_t)pid, &status, 0), pid);
	fd = WEXITSTATUS(status);
	wait_for(hung_up(fd));
	assert_int_equal(dev_bind_to(fd, getpid(), O_RDONLY), EUSERS);
	parameter("files_per_mm", old);
	assert_true(hung_up(fd));
	close(fd);
}

static void process_that_is_gone_cannot_be_bound(void **state)
{
	struct child *c = child_start(exit_soon, NULL);
	int fd, mem;

	(void)state;
	mem = open_mem(c->pid, O_RDONLY);
	assert_true(mem >= 0);
	child_kill(c);
	fd = dev_open_file();
	assert_int_equal(req(fd, HMM_DEV_BIND, mem), -ESRCH);
	close(mem);
	close(fd);
}

static void writing_takes_a_writable_mem(void **state)
{
	struct child *c;
	uint64_t pfns[2] = { DEV_VALID, DEV_VALID | DEV_WRITE };
	struct hmm_dev_range r;
	char *p;
	int fd;

	(void)state;
	p = map_pages(2, PROT_READ | PROT_WRITE);
	c = child_start(exit_soon, NULL);
	fd = dev_open_file();
	assert_int_equal(dev_bind_to(fd, c->pid, O_RDONLY), 0);
	r = entries(p, 2, pfns);
	r.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(fd, true, &r), -EACCES);
	r.default_flags = 0;
	r.pfn_flags_mask = ~0ull;
	assert_int_equal(walk(fd, true, &r), -EACCES);
	pfns[1] = DEV_VALID;
	assert_int_equal(walk(fd, true, &r), 0);
	assert_int_equal(pfns[0] & (DEV_VALID | DEV_WRITE), DEV_VALID);
	close(fd);

	fd = dev_open_file();
	assert_int_equal(dev_bind_to(fd, c->pid, O_RDWR), 0);
	r.pfn_flags_mask = 0;
	r.default_flags = DEV_VALID | DEV_WRITE;
	assert_int_equal(walk(fd, true, &r), 0);
	assert_true(pfns[0] & DEV_WRITE && pfns[1] & DEV_WRITE);
	check_against_pagemap(fd, c->pid, p, 2);
	close(fd);
	child_kill(c);
	munmap(p, 2 * PAGE);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(a_process_one_may_trace),
		DEV_TEST(a_process_that_exits_is_gone),
		DEV_TEST(a_process_that_execs_is_gone),
		DEV_TEST(registered_range_keeps_nothing),
		DEV_TEST(mapped_file_with_ranges_ends_with_the_process),
		DEV_TEST(ones_own_exec_leaves_a_dead_file),
		DEV_TEST(only_proc_pid_mem_binds),
		DEV_TEST(binding_comes_first),
		DEV_TEST(bound_file_has_no_history),
		DEV_TEST(file_that_could_not_be_bound_is_as_before),
		DEV_TEST(dead_file_that_could_not_be_bound_is_dead),
		DEV_TEST(process_that_is_gone_cannot_be_bound),
		DEV_TEST(writing_takes_a_writable_mem),
	};

	if (argc == 3 && !strcmp(argv[1], "after_exec"))
		return after_exec(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
