// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * wrap.c - the functions that the library gets instead of those that it calls
 *
 * Only the library: its objects are linked with ld -r --wrap.  The wrappers may
 * run in a child that shares our memory, and so neither lock nor allocate.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"
#include "uffd_ring.h"

const struct call_info calls[NR_CALLS] = {
#define CALL(name, ...) { #name, { __VA_ARGS__ } },
#include "inject_calls.h"
#undef CALL
	{ "callback", { EAGAIN, EINVAL, EIO } },
};

struct plan plan;
long called[NR_CALLS], failed[NR_CALLS];
long mapped;
struct monitor_plan monitor_plan, monitor_last, *monitor_state;

static bool going;
static long seen, injected;

void plan_start(enum call call, int error, long n, bool on)
{
	plan = (struct plan){ call, error, n, on };
	seen = injected = 0;
	__atomic_store_n(&going, true, __ATOMIC_SEQ_CST);
}

long plan_hits(void)
{
	return __atomic_load_n(&injected, __ATOMIC_SEQ_CST);
}

long plan_stop(void)
{
	__atomic_store_n(&going, false, __ATOMIC_SEQ_CST);
	return plan_hits();
}

void plan_pause(void)
{
	__atomic_store_n(&going, false, __ATOMIC_SEQ_CST);
}

int fails(enum call call)
{
	long n;

	if (!__atomic_load_n(&going, __ATOMIC_SEQ_CST))
		return 0;
	__atomic_add_fetch(&called[call], 1, __ATOMIC_RELAXED);
	if (call != plan.call || !plan.error)
		return 0;
	n = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
	if (plan.on ? n < plan.n : n != plan.n)
		return 0;
	__atomic_add_fetch(&injected, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&failed[call], 1, __ATOMIC_RELAXED);
	errno = plan.error;
	return plan.error;
}

/* A function that returns value if it fails, its reason in errno. */
#define WRAP(type, name, params, args, value)                    \
	type __wrap_##name params;                               \
	type __wrap_##name params                                \
	{                                                        \
		return fails(CALL_##name) ? (value) : name args; \
	}

/* One that returns the reason, negative for libbpf. */
#define WRAP_ERRNO(name, params, args, sign)           \
	int __wrap_##name params;                      \
	int __wrap_##name params                       \
	{                                              \
		int error = fails(CALL_##name);        \
                                                       \
		return error ? sign error : name args; \
	}

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *p, size_t size), (p, size), NULL)
WRAP(int, madvise, (void *p, size_t n, int advice), (p, n, advice), -1)
WRAP(int, msync, (void *p, size_t n, int flags), (p, n, flags), -1)
WRAP(int, mincore, (void *p, size_t n, unsigned char *v), (p, n, v), -1)
WRAP(DIR *, opendir, (const char *path), (path), NULL)
WRAP(struct dirent *, readdir, (DIR * dir), (dir), NULL)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), -1)
WRAP(int, stat, (const char *path, struct stat *st), (path, st), -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, access, (const char *path, int mode), (path, mode), -1)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), -1)
WRAP(int, memfd_create, (const char *name, unsigned int flags), (name, flags),
     -1)
WRAP(int, close_range, (unsigned int first, unsigned int last, int flags),
     (first, last, flags), -1)
WRAP(int, eventfd, (unsigned int value, int flags), (value, flags), -1)
WRAP(int, epoll_create1, (int flags), (flags), -1)
WRAP(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),
     (epoll, op, fd, event), -1)
WRAP(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), -1)
WRAP(int, ppoll,
     (struct pollfd * fds, nfds_t n, const struct timespec *timeout,
      const sigset_t *mask),
     (fds, n, timeout, mask), -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds), -1)
WRAP(ssize_t, send, (int fd, const void *p, size_t n, int flags),
     (fd, p, n, flags), -1)
WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags),
     -1)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags),
     -1)
WRAP(int, nanosleep, (const struct timespec *t, struct timespec *left),
     (t, left), -1)
WRAP(int, sysinfo, (struct sysinfo * info), (info), -1)
WRAP_ERRNO(pthread_create,
	   (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *),
	    void *arg),
	   (thread, attr, fn, arg), )
WRAP_ERRNO(pthread_atfork,
	   (void (*prepare)(void), void (*parent)(void), void (*child)(void)),
	   (prepare, parent, child), )
WRAP_ERRNO(bpf_object__open_skeleton,
	   (struct bpf_object_skeleton * s,
	    const struct bpf_object_open_opts *opts),
	   (s, opts), -)
WRAP_ERRNO(bpf_object__load_skeleton, (struct bpf_object_skeleton * s), (s), -)
WRAP_ERRNO(bpf_object__attach_skeleton, (struct bpf_object_skeleton * s), (s),
	   -)
WRAP_ERRNO(bpf_obj_get_info_by_fd, (int fd, void *info, unsigned int *size),
	   (fd, info, size), -)

/* ---- Those that need more ----------------------------------------------- */

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t at);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
	void *p = MAP_FAILED;

	if (!fails(CALL_mmap))
		p = mmap(addr, len, prot, flags, fd, at);
	if (p != MAP_FAILED && !(flags & MAP_FIXED))
		__atomic_add_fetch(&mapped, len, __ATOMIC_RELAXED);
	return p;
}

int __wrap_munmap(void *p, size_t len);
int __wrap_munmap(void *p, size_t len)
{
	fails(CALL_munmap);
	/* The length is rounded for a source's struct, alike in both. */
	__atomic_sub_fetch(&mapped, len, __ATOMIC_RELAXED);
	if (monitor_state && (char *)monitor_state > (char *)p &&
	    (char *)monitor_state < (char *)p + len) {
		monitor_last = *monitor_state;
		monitor_state = NULL;
	}
	return munmap(p, len);
}

/* The one thing that is made writable is the page shared with the monitor. */
int __wrap_mprotect(void *p, size_t len, int prot);
int __wrap_mprotect(void *p, size_t len, int prot)
{
	if (fails(CALL_mprotect) || mprotect(p, len, prot))
		return -1;
	monitor_state = (struct monitor_plan *)((char *)p + UFFD_PAGE) - 1;
	*monitor_state = monitor_plan;
	return 0;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	return fails(CALL_open) ? -1 : open(path, flags);
}

int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	return fails(CALL_openat) ? -1 : openat(dir, path, flags);
}

char *__wrap_fgets(char *line, int size, FILE *file);
char *__wrap_fgets(char *line, int size, FILE *file)
{
	enum { ERROR_SEEN = 0x20 }; /* glibc's */

	if (!fails(CALL_fgets))
		return fgets(line, size, file);
	file->_flags |= ERROR_SEEN;
	return NULL;
}

/* An eventfd's eight bytes: with room and a reader there is no failure. */
ssize_t __wrap_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n)
{
	return n != 8 && fails(CALL_read) ? -1 : read(fd, p, n);
}

ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	return n != 8 && fails(CALL_write) ? -1 : write(fd, p, n);
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	long arg;

	va_start(args, request);
	arg = va_arg(args, long);
	va_end(args);
	return fails(CALL_ioctl) ? -1 : ioctl(fd, request, arg);
}

int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	return fails(CALL_fcntl) ? -1 : fcntl(fd, command, arg);
}

/* Of those that are called so; futex() may be interrupted, and that's all. */
static bool cannot_fail(long nr, long arg2)
{
	enum { WAKE_PRIVATE = 129 };

	return nr == SYS_exit || nr == SYS_close ||
	       nr == SYS_pidfd_send_signal ||
	       (nr == SYS_futex &&
		(arg2 == WAKE_PRIVATE || plan.error != EINTR));
}

long __wrap_syscall(long nr, ...);
long __wrap_syscall(long nr, ...)
{
	va_list args;
	long a[6];
	int i;

	va_start(args, nr);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!cannot_fail(nr, a[1]) && fails(CALL_syscall))
		return -1;
	return syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int __wrap___clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int __wrap___clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	va_list args;
	void *parent;

	va_start(args, arg);
	parent = va_arg(args, void *);
	va_end(args);
	return fails(CALL___clone) ? -1
				   : __clone(fn, stack, flags, arg, parent);
}
