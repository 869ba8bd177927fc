// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * monitor_wrap.c - a uffd monitor that dies, or fails, at its n-th system call
 *
 * Its orders are at the end of the page that the process writes, which is
 * mapped by the first call; that one it can't be told to fail.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plan.h"
#include "uffd_ring.h"

static struct monitor_plan *orders;

static bool is_now(enum monitor_fate fate)
{
	if (!orders || orders->fate != fate || orders->calls != orders->n)
		return false;
	orders->done++;
	return true;
}

static bool before(void)
{
	orders->calls++;
	if (is_now(MONITOR_BEFORE))
		raise(SIGKILL);
	if (!is_now(MONITOR_FAILS))
		return true;
	errno = orders->error;
	return false;
}

static long after(long ret)
{
	if (is_now(MONITOR_AFTER))
		raise(SIGKILL);
	return ret;
}

#define WRAP(type, name, params, args)                                 \
	type __wrap_##name params;                                     \
	type __wrap_##name params                                      \
	{                                                              \
		return (type)(before() ? after((long)name args) : -1); \
	}

WRAP(pid_t, setsid, (void), ())
WRAP(int, chdir, (const char *path), (path))
WRAP(int, mlock, (const void *p, size_t n), (p, n))
WRAP(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms))
WRAP(ssize_t, send, (int fd, const void *p, size_t n, int flags),
     (fd, p, n, flags))
WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
WRAP(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))
WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t at);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
	void *p = mmap(addr, len, prot, flags, fd, at);

	if (p == MAP_FAILED)
		return p;
	orders = (struct monitor_plan *)((char *)p + 2 * UFFD_PAGE) - 1;
	orders->calls++;
	after(0);
	return p;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	long arg;

	va_start(args, request);
	arg = va_arg(args, long);
	va_end(args);
	return before() ? (int)after(ioctl(fd, request, arg)) : -1;
}

int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
	va_list args;
	long arg;

	va_start(args, option);
	arg = va_arg(args, long);
	va_end(args);
	return before() ? (int)after(prctl(option, arg)) : -1;
}

long __wrap_syscall(long nr, ...);
long __wrap_syscall(long nr, ...)
{
	va_list args;
	long a[3];
	int i;

	va_start(args, nr);
	for (i = 0; i < 3; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	/* Before the shared page is there it is too early. */
	if (!orders || nr == SYS_gettid)
		return syscall(nr, a[0], a[1], a[2]);
	return before() ? after(syscall(nr, a[0], a[1], a[2])) : -1;
}
