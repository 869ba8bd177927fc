// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * uffd_spawn.c - start the process that reads the userfaultfd
 *
 * It is the only one that ever holds it, from the beginning: it creates it when
 * it still shares our memory but no longer our files.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uffd_spawn.h"

/* Newer than Debian 12's <linux/userfaultfd.h> and <linux/memfd.h>. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define FEATURES_NEEDED                                              \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_UNMAP | \
	 UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE)
/* More kinds of memory can be watched. */
#define FEATURES_WANTED                                                  \
	(UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED | \
	 UFFD_FEATURE_WP_ASYNC)

#define SPAWN_STACK 32768

extern const char hmm_uffd_monitor[], hmm_uffd_monitor_end[];

enum spawn_step {
	SPAWN_CLONE,
	SPAWN_UFFD,
	SPAWN_FEATURES,
	SPAWN_EXEC,
};

/* What this thread and the two it starts, which share its memory, pass on. */
struct spawn {
	struct uffd_user_page *user;
	int program, ring;
	char *argv[3], *envp[1];
	void *stack;
	/* out */
	int monitor; /* pidfd */
	uint64_t features;
	enum spawn_step step;
	int error;
};

/*
 * For what runs in our memory as another process: what a sanitizer notes on its
 * way would outlive it.  It makes system calls directly for the same reason,
 * and is started by the C library's own clone(): a thread sanitizer takes that
 * of ours for a fork(), and from then on this thread for one of the child.
 */
#define NO_SANITIZER __attribute__((no_sanitize("address", "thread")))
extern int libc_clone(int (*fn)(void *arg), void *stack, int flags, void *arg,
		      ...) __asm__("__clone");

NO_SANITIZER static int open_uffd(uint64_t *features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = *features };
	int fd, ret;

	fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_ioctl, fd, UFFDIO_API, &api)) {
		ret = -errno;
		syscall(SYS_close, fd);
		return ret;
	}
	*features = api.features;
	return fd;
}

/*
 * The monitor before it is one: in our memory, with files of its own.  Nothing
 * here may allocate or take a lock; no signal reaches it.
 */
NO_SANITIZER static int monitor_main(void *arg)
{
	struct spawn *spawn = arg;
	struct uffd_user_page *user = spawn->user;
	uint64_t features = 0;
	int fd;

	/* The features can be asked for, and only on one that is thrown away. */
	spawn->step = SPAWN_UFFD;
	fd = open_uffd(&features);
	if (fd < 0)
		goto out;
	syscall(SYS_close, fd);
	spawn->step = SPAWN_FEATURES;
	if (~features & FEATURES_NEEDED) {
		fd = -EOPNOTSUPP;
		goto out;
	}
	features &= FEATURES_NEEDED | FEATURES_WANTED;
	spawn->features = features;
	fd = open_uffd(&features);
	if (fd < 0)
		goto out;
	user->uffd = fd;

	spawn->step = SPAWN_EXEC;
	if (syscall(SYS_fcntl, user->sock, F_SETFD, 0) ||
	    syscall(SYS_fcntl, user->pidfd, F_SETFD, 0) ||
	    syscall(SYS_fcntl, user->eventfd, F_SETFD, 0) ||
	    syscall(SYS_fcntl, spawn->ring, F_SETFD, 0)) {
		fd = -errno;
		goto out;
	}
	syscall(SYS_execveat, spawn->program, "", spawn->argv, spawn->envp,
		AT_EMPTY_PATH);
	fd = -errno;
out:
	spawn->error = fd;
	syscall(SYS_exit, 1);
	return 1;
}

/* In between: its only child is nobody's after it has gone. */
NO_SANITIZER static int middle_main(void *arg)
{
	struct spawn *spawn = arg;

	if (libc_clone(monitor_main, (char *)spawn->stack + 2 * SPAWN_STACK,
		       CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, spawn,
		       &spawn->monitor) < 0)
		spawn->error = -errno;
	syscall(SYS_exit, 0);
	return 0;
}

/*
 * The application must not notice: no SIGCHLD, no unknown child for its
 * wait(), no copy of its memory.  A child that runs another program always
 * becomes an ordinary one, so the monitor is a grandchild, and what is between
 * us and it is none that an ordinary wait() sees.
 */
static int spawn_monitor(struct spawn *spawn)
{
	sigset_t all, old;
	int pid, ret = 0;

	spawn->stack = mmap(NULL, 2 * SPAWN_STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (spawn->stack == MAP_FAILED)
		return -errno;
	/* Handlers of the application must not run in either. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* With our files, so that the pidfd of the monitor becomes ours. */
	pid = libc_clone(middle_main, (char *)spawn->stack + SPAWN_STACK,
			 CLONE_VM | CLONE_VFORK | CLONE_FILES, spawn);
	if (pid < 0)
		ret = -errno;
	else
		while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(spawn->stack, 2 * SPAWN_STACK);
	return ret ? ret : spawn->error;
}

static void say_spawn(const struct spawn *spawn, int error, char *why,
		      size_t size)
{
	const char *what = "", *todo = "";

	switch (spawn->step) {
	case SPAWN_CLONE:
		what = "can't start the monitor process";
		if (error == -EAGAIN)
			todo = ": raise RLIMIT_NPROC or the cgroup's pids.max";
		break;
	case SPAWN_UFFD:
		what = "userfaultfd() failed";
		if (error == -EPERM || error == -EACCES)
			todo = ": a seccomp filter or a security module denies "
			       "it; a container's profile has to allow "
			       "userfaultfd";
		else if (error == -ENOSYS)
			todo = ": not in this kernel (CONFIG_USERFAULTFD), or "
			       "denied by a seccomp filter";
		else if (error == -EINVAL)
			todo = ": it needs Linux 5.11";
		break;
	case SPAWN_FEATURES:
		what = "this kernel's userfaultfd has no write-protect mode or "
		       "no events";
		break;
	case SPAWN_EXEC:
		what = "can't execute the monitor";
		if (error == -EACCES)
			todo = ": a security policy forbids to execute memory "
			       "files";
		break;
	}
	if (error == -EMFILE)
		todo = ": raise RLIMIT_NOFILE";
	snprintf(why, size, "%s (%s)%s", what, strerror(-error), todo);
}

static int make_program(char *why, size_t size)
{
	size_t left = (size_t)(hmm_uffd_monitor_end - hmm_uffd_monitor);
	const char *p = hmm_uffd_monitor;
	ssize_t n;
	int fd, ret;

	fd = memfd_create("hmm-uffd",
			  MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	/* Before Linux 6.3 all were executable, and had no such flag. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("hmm-uffd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		ret = -errno;
		if (ret == -EACCES)
			snprintf(why, size,
				 "executable memory files are forbidden here: "
				 "set the sysctl vm.memfd_noexec to 0 or 1");
		return ret;
	}
	for (; left; p += n, left -= (size_t)n) {
		n = write(fd, p, left);
		if (n <= 0) {
			ret = n ? -errno : -EIO;
			close(fd);
			return ret;
		}
	}
	fcntl(fd, F_ADD_SEALS,
	      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

int hmm_uffd_spawn(struct uffd_user_page *user, int ring,
		   struct hmm_uffd_spawned *spawned, char *why, size_t size)
{
	char name[] = "hmm-uffd", number[12];
	struct spawn spawn = {
		.user = user,
		.ring = ring,
		.argv = { name, number, NULL },
		.monitor = -1,
	};
	int ret;

	*spawned = (struct hmm_uffd_spawned){ .monitor = -1 };
	ret = make_program(why, size);
	if (ret < 0)
		return ret;
	spawn.program = ret;
	snprintf(number, sizeof(number), "%d", ring);
	ret = spawn_monitor(&spawn);
	if (ret)
		say_spawn(&spawn, ret, why, size);
	close(spawn.program);
	spawned->monitor = spawn.monitor;
	spawned->files = spawn.features & UFFD_FEATURE_WP_ASYNC;
	return ret;
}
