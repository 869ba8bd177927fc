// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_hold_others.c - /dev/hmm: who waits if others make the change
 *
 * check: once
 */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "dev_holding.h"
#include "kernel/hmm_selftest.h"

static void bind_and_hold(struct dev *d, pid_t pid)
{
	d->fd = dev_open_file();
	assert_int_equal(dev_bind_to(d->fd, pid, O_RDONLY), 0);
	dev_map(d);
	assert_int_equal(req(d->fd, HMM_DEV_HOLD, LONG), 0);
}

static void discard_when_told(struct child *c, void *p)
{
	child_at(c, 1);
	discard(p);
	child_at(c, 2);
}

static void another_process_waits(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	from = dev_head(&other);
	child_let(c, 2);
	/* Copies of what it shares with us may come first. */
	while (!child_is_at(c, 2))
		assert_int_equal(ack_all(&other), 0);
	did_not_wait(&other, from, p);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

static void killed_task_stops_waiting(void **state)
{
	struct child *c;
	struct dev other;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	child_let(c, 2);
	wait_for(dev_load(&other.shared->waiting));
	child_kill(c);
	assert_int_equal(other.shared->late, 0);
	assert_int_equal(dev_load(&other.shared->waiting), 0);
	dev_close(&other);
	munmap(p, PAGE);
}

struct leaver {
	struct child *c;
	int *page;
	int tid;
};

/* The kernel writes to page, where there was nothing, when this has exited. */
static void *leave_when_told(void *arg)
{
	struct leaver *l = arg;

	l->tid = (int)syscall(SYS_gettid);
	syscall(SYS_set_tid_address, l->page);
	child_at(l->c, 1);
	syscall(SYS_exit, 0);
	return NULL;
}

static void lose_a_thread(struct child *c, void *page)
{
	struct leaver l = { .c = c, .page = page };
	pthread_t thread;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) || munlock(page, PAGE) ||
	    madvise(page, PAGE, MADV_DONTNEED) || *(volatile int *)page ||
	    pthread_create(&thread, NULL, leave_when_told, &l))
		_exit(1);
	while (!child_is_at(c, 1))
		usleep(1000);
	while (!syscall(SYS_tgkill, getpid(), l.tid, 0))
		usleep(1000);
	child_at(c, 2);
}

static void exiting_task_never_waits(void **state)
{
	struct child *c;
	struct dev other;
	uint64_t from;
	char *p;

	(void)state;
	p = map_touched(1);
	c = child_start(lose_a_thread, p);
	wait_for(child_is_at(c, 1));
	bind_and_hold(&other, c->pid);
	from = dev_head(&other);
	child_let(c, 2);
	wait_for(child_is_at(c, 2));
	did_not_wait(&other, from, p);
	dev_close(&other);
	child_kill(c);
	munmap(p, PAGE);
}

static void reclaim(void *p)
{
	int i;

	for (i = 0; i < 100; i++) {
		memset(p, i, 16 * PAGE);
		madvise(p, 16 * PAGE, MADV_PAGEOUT);
	}
}

static void reclaim_never_waits(void **state)
{
	struct worker w;
	uint64_t from;
	bool recorded;
	char *p;

	(void)state;
	p = map_loose(16);
	worker_start(&w, reclaim, p);
	hold(LONG);
	from = dev_head(&dev);
	set(&w.go);
	await(&w.done);
	if (dev_head(&dev) - from >= HMM_DEV_RECORDS)
		from = dev_head(&dev) - HMM_DEV_RECORDS / 2;
	recorded = dev_recorded(&dev, from, p);
	if (recorded)
		did_not_wait(&dev, from, p);
	worker_end(&w);
	munmap(p, 16 * PAGE);
	if (!recorded) {
		print_message("skip: nothing was swapped out\n");
		skip();
	}
}

static void truncate_when_told(struct child *c, void *fd)
{
	child_at(c, 1);
	if (ftruncate(*(int *)fd, 0))
		_exit(1);
	child_at(c, 2);
}

static void open_as_nobody(struct dev *d)
{
	assert_int_equal(seteuid(NOBODY), 0);
	d->fd = dev_open_file();
	assert_int_equal(seteuid(0), 0);
	dev_map(d);
}

/* Who may stop everybody else might as well make them wait; nobody else may. */
static void others_wait_for_root_only(void **state)
{
	struct dev unprivileged;
	uint64_t from;
	int root, fd;

	(void)state;
	open_as_nobody(&unprivileged);
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	for (root = 0; root < 2; root++) {
		const struct dev *d = root ? &dev : &unprivileged;
		struct child *c = child_start(truncate_when_told, &fd);
		char *p;

		wait_for(child_is_at(c, 1));
		after_fork();
		assert_int_equal(ftruncate(fd, PAGE), 0);
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(p, MAP_FAILED);
		*p = 1;
		assert_int_equal(req(d->fd, HMM_DEV_HOLD,
				     root ? LONG : HMM_DEV_HOLD_DEFAULT),
				 0);
		from = dev_head(d);
		child_let(c, 2);
		if (root) {
			wait_for(somebody_waits());
			assert_false(child_is_at(c, 2));
			/* There may be more of them than one. */
			while (!child_is_at(c, 2))
				assert_int_equal(ack_all(d), 0);
		}
		wait_for(child_is_at(c, 2));
		did_not_wait(d, from, p);
		munmap(p, PAGE);
		child_kill(c);
	}
	close(fd);
	dev_close(&unprivileged);
}

static void truncate_file(void *fd)
{
	if (ftruncate(*(int *)fd, 0))
		_exit(1);
}

/* Its own, like everybody's. */
static void users_changes_wait_for_the_user(void **state)
{
	static void (*const ops[])(void *) = { unmap, protect };
	struct dev unprivileged;
	struct worker w;
	uint64_t from;
	unsigned int i;
	char *p;

	(void)state;
	open_as_nobody(&unprivileged);
	for (i = 0; i < 2; i++) {
		p = map_loose(1);
		worker_start(&w, ops[i], p);
		/* Not as who asks, but as who opened it. */
		assert_int_equal(req(unprivileged.fd, HMM_DEV_HOLD,
				     HMM_DEV_HOLD_DEFAULT + 1),
				 -EPERM);
		assert_int_equal(req(unprivileged.fd, HMM_DEV_HOLD,
				     HMM_DEV_HOLD_DEFAULT),
				 0);
		from = dev_head(&unprivileged);
		set(&w.go);
		/* A second may be too short to be seen waiting, on a busy machine. */
		wait_for(dev_load(&unprivileged.shared->waiting) ||
			 unprivileged.shared->late);
		assert_int_equal(ack_all(&unprivileged), 0);
		await(&w.done);
		assert_true(dev_recorded(&unprivileged, from, p));
		assert_int_equal(req(unprivileged.fd, HMM_DEV_HOLD, 0), 0);
		worker_end(&w);
		munmap(p, PAGE);
	}
	dev_close(&unprivileged);
}

/* Its own, too, but with locks of a file, or as if. */
static void users_changes_with_others_locks_do_not(void **state)
{
	struct dev unprivileged;
	struct worker w[2];
	uint64_t from;
	char *p[2];
	int fd, i;

	(void)state;
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p[0] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p[0], MAP_FAILED);
	*p[0] = 1;
	p[1] = map_loose(1);
	open_as_nobody(&unprivileged);
	worker_start(&w[0], truncate_file, &fd);
	worker_start(&w[1], discard, p[1]);
	assert_int_equal(
		req(unprivileged.fd, HMM_DEV_HOLD, HMM_DEV_HOLD_DEFAULT), 0);
	for (i = 0; i < 2; i++) {
		from = dev_head(&unprivileged);
		set(&w[i].go);
		await(&w[i].done);
		did_not_wait(&unprivileged, from, p[i]);
	}
	assert_int_equal(req(unprivileged.fd, HMM_DEV_HOLD, 0), 0);
	worker_end(&w[0]);
	worker_end(&w[1]);
	dev_close(&unprivileged);
	munmap(p[0], PAGE);
	munmap(p[1], PAGE);
	close(fd);
}

#define HUGE_PAGE (2ul << 20)

/* Until 6.2 these are unmapped once more, with the locks of the file held. */
static void truncated_huge_pages_do_not(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_HUGETLB);
	struct dev unprivileged;
	struct worker w;
	uint64_t from;
	char *p = MAP_FAILED;

	(void)state;
	if (fd >= 0 && !ftruncate(fd, HUGE_PAGE))
		p = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		print_message("skip: no huge page, see vm.nr_hugepages\n");
		skip();
	}
	*p = 1;
	open_as_nobody(&unprivileged);
	worker_start(&w, truncate_file, &fd);
	assert_int_equal(
		req(unprivileged.fd, HMM_DEV_HOLD, HMM_DEV_HOLD_DEFAULT), 0);
	from = dev_head(&unprivileged);
	set(&w.go);
	await(&w.done);
	did_not_wait(&unprivileged, from, p);
	assert_int_equal(req(unprivileged.fd, HMM_DEV_HOLD, 0), 0);
	worker_end(&w);
	dev_close(&unprivileged);
	munmap(p, HUGE_PAGE);
	close(fd);
}

static void opener_decides_how_long(void **state)
{
	(void)state;
	assert_int_equal(seteuid(NOBODY), 0);
	hold(LONG);
	hold(0);
	assert_int_equal(seteuid(0), 0);
}

/* ---- The end ------------------------------------------------------------ */

struct last {
	int *page;
	int selftest;
};

static void exit_stuck(struct child *c, void *arg)
{
	struct last *l = arg;

	/* Mapped, and there. */
	*(volatile int *)l->page = 1;
	child_at(c, 1);
	if (ioctl(l->selftest, ST_BIND) || ioctl(l->selftest, ST_STICK_AT_END))
		_exit(1);
}

static bool is_stuck(int selftest)
{
	struct hmm_selftest_seen seen = { 0 };

	assert_int_equal(req(selftest, ST_SEEN, &seen), 0);
	return seen.stuck;
}

/* It has no users any more, and is about to say so; files still map into it. */
static void what_is_torn_down_never_waits(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct last l;
	struct child *c;
	struct dev other;
	struct worker w;
	uint64_t from;

	(void)state;
	l.selftest = open("/dev/hmm_selftest", O_RDWR | O_CLOEXEC);
	if (l.selftest < 0) {
		print_message("skip: no /dev/hmm_selftest, a module that only "
			      "tests in a guest load\n");
		skip();
	}
	assert_int_equal(ftruncate(fd, PAGE), 0);
	l.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(l.page, MAP_FAILED);
	c = child_start(exit_stuck, &l);
	wait_for(child_is_at(c, 1));
	after_fork();
	worker_start(&w, truncate_file, &fd);
	bind_and_hold(&other, c->pid);
	child_let(c, 2);
	/* What it does before it ends waits for us. */
	while (!is_stuck(l.selftest))
		assert_int_equal(ack_all(&other), 0);
	from = dev_head(&other);
	set(&w.go);
	await(&w.done);
	did_not_wait(&other, from, l.page);
	assert_int_equal(other.shared->dead, 0);
	assert_int_equal(req(l.selftest, ST_UNSTICK, 0), 0);
	assert_int_equal(child_end(c), 0);
	wait_for(dev_load(&other.shared->dead));
	worker_end(&w);
	dev_close(&other);
	close(l.selftest);
	munmap(l.page, PAGE);
	close(fd);
}

/* ---- Who must not block ------------------------------------------------- */

static bool is_frozen(const char *dir)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/freezer.state", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strcmp(text, "FROZEN\n");
}

static void release_memory(void *pidfd)
{
	if (syscall(SYS_process_mrelease, *(int *)pidfd, 0))
		*(int *)pidfd = -errno;
}

/* Killed, and kept from dying: the OOM killer's way to get its memory. */
static void who_must_not_block_never_waits(void **state)
{
	char mnt[] = "/tmp/freezer-XXXXXX", dir[64], text[16];
	struct child *c;
	struct dev other;
	struct worker w;
	uint64_t from;
	int pidfd;
	char *p;

	(void)state;
	assert_non_null(mkdtemp(mnt));
	if (mount("cgroup", mnt, "cgroup", 0, "freezer")) {
		print_message("skip: cgroup's freezer: %s\n", strerror(errno));
		rmdir(mnt);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/test", mnt);
	assert_int_equal(mkdir(dir, 0755), 0);
	p = map_touched(1);
	c = child_start(discard_when_told, p);
	wait_for(child_is_at(c, 1));
	snprintf(text, sizeof(text), "%d", c->pid);
	assert_true(write_file(dir, "tasks", text));
	pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	assert_true(pidfd >= 0);
	/* Nothing of it shall wait before it is frozen. */
	assert_true(write_file(dir, "freezer.state", "FROZEN"));
	wait_for(is_frozen(dir));
	bind_and_hold(&other, c->pid);
	kill(c->pid, SIGKILL);
	worker_start(&w, release_memory, &pidfd);
	from = dev_head(&other);
	set(&w.go);
	await(&w.done);
	assert_true(pidfd >= 0);
	did_not_wait(&other, from, p);
	worker_end(&w);
	dev_close(&other);
	close(pidfd);
	assert_true(write_file(dir, "freezer.state", "THAWED"));
	child_end(c);
	rmdir(dir);
	umount(mnt);
	rmdir(mnt);
	munmap(p, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOLD_TEST(another_process_waits),
		HOLD_TEST(killed_task_stops_waiting),
		HOLD_TEST(exiting_task_never_waits),
		HOLD_TEST(reclaim_never_waits),
		HOLD_TEST(others_wait_for_root_only),
		HOLD_TEST(users_changes_wait_for_the_user),
		HOLD_TEST(users_changes_with_others_locks_do_not),
		HOLD_TEST(truncated_huge_pages_do_not),
		HOLD_TEST(opener_decides_how_long),
		HOLD_TEST(what_is_torn_down_never_waits),
		HOLD_TEST(who_must_not_block_never_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
