// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * module_open.c - open /dev/hmm for this process's memory, or for another's
 *
 * Who may is decided by the kernel when /proc/PID/mem is opened, which hmm.ko
 * takes for the permission.  From a pidfd to that file the way leads over a
 * number, which is the process's for as long as the pidfd says that it lives.
 * The file stays with the memory that the process had when it was opened.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "source_module.h"

static int open_device(struct module_source *s, char *why, size_t size)
{
	int ret = hmm_own_fd_set(&s->file,
				 open("/dev/hmm", O_RDONLY | O_CLOEXEC));

	s->src.event_fd = s->file.fd;
	if (!ret)
		return 0;
	if (ret == -ENOENT || ret == -ENXIO || ret == -ENODEV) {
		snprintf(why, size, "no /dev/hmm: load hmm.ko");
		return -ENOTSUP;
	}
	snprintf(why, size, "/dev/hmm: %s%s", strerror(-ret),
		 ret == -EMFILE   ? ": raise RLIMIT_NOFILE"
		 : ret == -EUSERS ? ": as many as hmm.ko's parameter "
				    "files_per_mm allows watch this process"
				  : "");
	return ret;
}

void module_close(struct module_source *s)
{
	hmm_own_fd_close(&s->file);
	s->src.event_fd = -1;
}

/* ---- Another process ---------------------------------------------------- */

/* The number of a pidfd's process here; -EBADF if it is none, or elsewhere. */
static int pid_of(int pidfd)
{
	char path[64], line[128];
	int pid = -EBADF;
	FILE *info;

	/* The calling thread may have a descriptor table of its own. */
	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", pidfd);
	info = fopen(path, "re");
	if (!info)
		return errno == ENOENT ? -EBADF : -errno;
	while (pid == -EBADF && fgets(line, sizeof(line), info))
		if (sscanf(line, "Pid: %d", &pid) == 1 && pid <= 0)
			pid = pid ? -ESRCH : -EBADF;
	fclose(info);
	return pid;
}

static bool has_ended(int pidfd)
{
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pollfd, 1, 0) != 0;
}

/* Yama, if it is there, allows less than the rules of users do. */
static int ptrace_scope(void)
{
	char value = '0';
	int fd = open("/proc/sys/kernel/yama/ptrace_scope",
		      O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, &value, 1) != 1)
		value = '0';
	close(fd);
	return value - '0';
}

static void explain(int error, int pid, char *why, size_t size)
{
	int scope;

	switch (error) {
	case -EACCES:
	case -EPERM:
		scope = ptrace_scope();
		if (scope)
			snprintf(why, size,
				 "process %d may not be traced: "
				 "kernel.yama.ptrace_scope is %d; only %s may",
				 pid, scope,
				 scope == 1   ? "CAP_SYS_PTRACE or a parent"
				 : scope == 2 ? "CAP_SYS_PTRACE"
					      : "nobody");
		else
			snprintf(why, size,
				 "process %d may not be traced: it is another "
				 "user's, or changed its user: it takes "
				 "CAP_SYS_PTRACE",
				 pid);
		break;
	case -ESRCH:
		snprintf(why, size,
			 "the process has no memory: it has ended, executes "
			 "another program, or is a kernel thread");
		break;
	case -EBADF:
		snprintf(why, size,
			 "not a pidfd of a process that has a "
			 "number here");
		break;
	case -EUSERS:
		snprintf(why, size,
			 "the memory of process %d is watched by as many as "
			 "hmm.ko's parameter files_per_mm allows",
			 pid);
		break;
	case -EMFILE:
		snprintf(why, size, "%s: raise RLIMIT_NOFILE",
			 strerror(-error));
		break;
	default:
		snprintf(why, size, "/proc/%d/mem: %s", pid, strerror(-error));
	}
}

static int open_memory(int pidfd, int pid)
{
	char path[32];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && !has_ended(pidfd))
		return fd;
	ret = fd < 0 && errno != ENOENT ? -errno : -ESRCH;
	if (fd >= 0)
		close(fd);
	return ret;
}

static int bind_to(struct module_source *s, int pidfd, char *why, size_t size)
{
	int pid = pid_of(pidfd), fd, ret = 0;

	/* Nothing is known of the process: the error is one of our own. */
	if (pid < 0 && pid != -ESRCH && pid != -EBADF)
		return pid;
	fd = pid < 0 ? pid : open_memory(pidfd, pid);
	if (fd < 0) {
		explain(fd, pid, why, size);
		return fd;
	}
	if (ioctl(s->src.event_fd, HMM_DEV_BIND, fd)) {
		ret = -errno;
		explain(ret, pid, why, size);
	}
	close(fd);
	return ret;
}

static int open_and_bind(struct module_source *s, int pidfd, char *why,
			 size_t size)
{
	int ret = open_device(s, why, size);

	if (ret || !pidfd)
		return ret;
	ret = bind_to(s, pidfd, why, size);
	if (ret)
		module_close(s);
	return ret;
}

/*
 * The kernel gives up if a signal comes while it locks all of the memory, which
 * to an application with an interval timer is always.
 */
int module_open(struct module_source *s, int pidfd, char *why, size_t size)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = open_and_bind(s, pidfd, why, size);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}
