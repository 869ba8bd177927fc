// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * actions.c - what a thread of the fuzzer does besides requests
 *
 * Files, mappings and processes come and go, and the memory that requests are
 * about changes.  Nobody here allocates: whatever lies in a hole of the two
 * areas may be mapped over at any moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

int fuzz_fd(struct fuzz_thread *t)
{
	if (rng_percent(&t->rng, 2))
		return rng_percent(&t->rng, 50) ? -1 : 100000;
	return atomic_load(&t->round->fd[rng_below(&t->rng, FUZZ_FDS)]);
}

static void replace_fd(struct fuzz_thread *t, int fd)
{
	int old = atomic_exchange(&t->round->fd[rng_below(&t->rng, FUZZ_FDS)],
				  fd);

	if (old >= 0)
		close(old);
}

struct fuzz_piece fuzz_piece(struct fuzz_thread *t, char *area)
{
	unsigned long first = rng_below(&t->rng, AREA_PAGES);
	unsigned long most = AREA_PAGES - first;

	if (most > 32 && rng_percent(&t->rng, 95))
		most = 32;
	return (struct fuzz_piece){
		.addr = area + first * PAGE,
		.size = (1 + rng_below(&t->rng, most)) * PAGE,
	};
}

/* ---- Files --------------------------------------------------------------- */

static void open_one(struct fuzz_thread *t)
{
	static const int modes[] = { O_RDONLY, O_RDONLY, O_RDONLY,
				     O_RDWR,   O_WRONLY, O_PATH };
	int fd = open(DEVICE, rng_of(&t->rng, modes) | O_CLOEXEC);

	if (fd >= 0)
		replace_fd(t, fd);
}

static void close_one(struct fuzz_thread *t)
{
	replace_fd(t, -1);
}

static void duplicate(struct fuzz_thread *t)
{
	replace_fd(t, fcntl(fuzz_fd(t), F_DUPFD_CLOEXEC, 0));
}

/* A new file for another address space, or for what is none. */
static void bind_one(struct fuzz_thread *t)
{
	static const char *const others[] = {
		"/proc/self/mem",  "/proc/1/mem",    "/proc/2/mem",
		"/proc/self/maps", "/proc/self/exe", "/dev/null",
		"/dev/hmm",        "/proc/self",
	};
	static const int modes[] = { O_RDONLY, O_RDWR, O_WRONLY };
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC), mem;
	char path[32] = "/proc/", digits[16];
	unsigned int n = 0, at = 6;
	pid_t pid = t->round->target;

	/* No printf() in threads of a process that forks in the middle. */
	for (; pid; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, "/mem", 5);
	mem = open(rng_percent(&t->rng, 70) ? path : rng_of(&t->rng, others),
		   rng_of(&t->rng, modes) | O_CLOEXEC);
	if (fd >= 0 && !ioctl(fd, HMM_DEV_BIND, (unsigned long)mem))
		atomic_fetch_add(&t->round->shared->succeeded[3], 1);
	if (mem >= 0)
		close(mem);
	if (fd >= 0)
		replace_fd(t, fd);
}

static void poll_one(struct fuzz_thread *t)
{
	struct pollfd pollfd = {
		.fd = fuzz_fd(t),
		.events = (short)rng_next(&t->rng),
	};

	poll(&pollfd, 1, (int)rng_below(&t->rng, 10));
}

static void other_calls(struct fuzz_thread *t)
{
	int fd = fuzz_fd(t);

	switch (rng_below(&t->rng, 6)) {
	case 0:
		if (read(fd, t->entries, 64) > 0)
			fuzz_complain(t, "read() gives something");
		break;
	case 1:
		if (write(fd, t->entries, 64) > 0)
			fuzz_complain(t, "write() takes something");
		break;
	case 2:
		lseek(fd, (off_t)rng_next(&t->rng), SEEK_SET);
		break;
	case 3:
		fsync(fd);
		break;
	case 4:
		fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
		break;
	case 5:
		if (!ftruncate(fd, 0))
			fuzz_complain(t, "ftruncate() does something");
		break;
	}
}

/* A file that only a socket's queue holds, for a moment. */
static void send_one(struct fuzz_thread *t)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int pair[2], fd = fuzz_fd(t);

	if (fd < 0 || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
		return;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(pair[0], &msg, 0) == 1)
		close_one(t);
	close(pair[0]);
	close(pair[1]);
}

/* ---- The device's mapping ------------------------------------------------ */

static void map_one(struct fuzz_thread *t)
{
	static const int prots[] = { PROT_READ,
				     PROT_READ,
				     PROT_READ,
				     PROT_NONE,
				     PROT_READ | PROT_EXEC,
				     PROT_READ | PROT_WRITE };
	struct fuzz_piece piece = fuzz_piece(t, t->round->device);
	off_t offset = 0;
	int prot = rng_of(&t->rng, prots), fd = fuzz_fd(t);
	bool private = rng_percent(&t->rng, 20);
	void *p;

	if (rng_percent(&t->rng, 10))
		offset = (off_t)(rng_next(&t->rng) & ~(PAGE - 1) & INT64_MAX);
	p = mmap(piece.addr, piece.size, prot,
		 MAP_FIXED | (private ? MAP_PRIVATE : MAP_SHARED) |
			 (rng_percent(&t->rng, 10) ? MAP_POPULATE : 0),
		 fd, offset);
	if (p != MAP_FAILED && (prot & PROT_WRITE))
		fuzz_complain(t, "mmap() for writing");
}

static void change_mapping(struct fuzz_thread *t)
{
	static const int advices[] = { MADV_DONTNEED,  MADV_DONTFORK,
				       MADV_DOFORK,    MADV_WIPEONFORK,
				       MADV_REMOVE,    MADV_FREE,
				       MADV_PAGEOUT,   MADV_HUGEPAGE,
				       MADV_MERGEABLE, MADV_WILLNEED };
	struct fuzz_piece piece = fuzz_piece(t, t->round->device);
	struct fuzz_piece to = fuzz_piece(t, t->round->device);

	switch (rng_below(&t->rng, 6)) {
	case 0:
		munmap(piece.addr, piece.size);
		break;
	case 1:
		mprotect(piece.addr, piece.size,
			 rng_percent(&t->rng, 50) ? PROT_READ : PROT_NONE);
		break;
	case 2:
		madvise(piece.addr, piece.size, rng_of(&t->rng, advices));
		break;
	case 3:
		mremap(piece.addr, piece.size, to.size,
		       MREMAP_MAYMOVE | MREMAP_FIXED, to.addr);
		break;
	case 4:
		mremap(piece.addr, piece.size, to.size, 0);
		break;
	case 5:
		mlock(piece.addr, piece.size);
		munlock(piece.addr, piece.size);
		break;
	}
}

/* By all ways around the protection of pages. */
static void write_mapping(struct fuzz_thread *t)
{
	char *page = t->round->device + rng_below(&t->rng, AREA_PAGES) * PAGE;
	int fd = fuzz_fd(t), mem;
	struct hmm_dev_shared *shared;

	shared = mmap(page, PAGE, PROT_READ,
		      MAP_FIXED | (rng_percent(&t->rng, 50) ? MAP_PRIVATE
							    : MAP_SHARED),
		      fd, 0);
	if (shared == MAP_FAILED)
		return;
	/* Another thread may have put something else there: no harm done. */
	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	pwrite(mem, "written", 7,
	       (off_t)(page + offsetof(struct hmm_dev_shared, version)));
	close(mem);
}

/* ---- Memory -------------------------------------------------------------- */

static _Thread_local sigjmp_buf fault;
static _Thread_local volatile sig_atomic_t faults;

static void on_fault(int sig)
{
	if (!faults) {
		signal(sig, SIG_DFL);
		return;
	}
	siglongjmp(fault, 1);
}

static void touch(struct fuzz_thread *t, const struct fuzz_piece *piece)
{
	volatile char *p = piece->addr;
	bool write = rng_percent(&t->rng, 70);
	size_t i;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	if (!sigsetjmp(fault, 1)) {
		faults = 1;
		for (i = 0; i < piece->size; i += PAGE) {
			if (write)
				p[i] = (char)i;
			else
				(void)p[i];
		}
	}
	faults = 0;
}

static void change_memory(struct fuzz_thread *t)
{
	static const int prots[] = { PROT_READ, PROT_NONE,
				     PROT_READ | PROT_WRITE };
	static const int advices[] = { MADV_DONTNEED,          MADV_FREE,
				       MADV_PAGEOUT,           MADV_COLD,
				       25 /* MADV_COLLAPSE */, MADV_HUGEPAGE,
				       MADV_MERGEABLE };
	struct fuzz_piece piece = fuzz_piece(t, t->round->arena);
	struct fuzz_piece to = fuzz_piece(t, t->round->arena);

	switch (rng_below(&t->rng, 8)) {
	case 0:
		munmap(piece.addr, piece.size);
		break;
	case 1:
		mprotect(piece.addr, piece.size, rng_of(&t->rng, prots));
		break;
	case 2:
		madvise(piece.addr, piece.size, rng_of(&t->rng, advices));
		break;
	case 3:
		mremap(piece.addr, piece.size, to.size,
		       MREMAP_MAYMOVE | MREMAP_FIXED, to.addr);
		break;
	case 4:
	case 5:
		mmap(piece.addr, piece.size, PROT_READ | PROT_WRITE,
		     MAP_FIXED | MAP_ANONYMOUS |
			     (rng_percent(&t->rng, 70) ? MAP_PRIVATE
						       : MAP_SHARED),
		     -1, 0);
		break;
	default:
		touch(t, &piece);
	}
}

/* ---- Processes ----------------------------------------------------------- */

static void fork_one(struct fuzz_thread *t)
{
	unsigned int i, n = (unsigned int)rng_below(&t->rng, 10);
	bool kills = rng_percent(&t->rng, 30), execs = rng_percent(&t->rng, 30);
	static char *const argv[] = { (char *)"true", NULL };
	pid_t pid = fork();

	if (!pid) {
		for (i = 0; i < n; i++) {
			if (rng_percent(&t->rng, 50))
				fuzz_request(t);
			else
				change_memory(t);
		}
		if (execs)
			execv("/bin/true", argv);
		_exit(0);
	}
	if (pid < 0)
		return;
	if (kills)
		kill(pid, SIGKILL);
	if (rng_percent(&t->rng, 50))
		waitpid(pid, NULL, 0);
}

static void vfork_one(void)
{
	static char *const argv[] = { (char *)"true", NULL };
	pid_t pid = vfork();

	if (!pid) {
		execv("/bin/true", argv);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void fuzz_action(struct fuzz_thread *t)
{
	static const char *const names[] = {
		"open", "close", "dup",   "bind",  "poll",   "read",
		"send", "mmap",  "remap", "write", "change", "fork",
	};
	/* Of a hundred, in the same order. */
	static const unsigned char shares[] = { 12, 4, 6,  6, 4,  4,
						2,  8, 10, 2, 38, 4 };
	unsigned int which = 0;
	uint64_t at = rng_below(&t->rng, 100);

	while (at >= shares[which])
		at -= shares[which++];
	atomic_store(&t->round->shared->doing[t->index], names[which]);
	switch (which) {
	case 0:
		open_one(t);
		break;
	case 1:
		close_one(t);
		break;
	case 2:
		duplicate(t);
		break;
	case 3:
		bind_one(t);
		break;
	case 4:
		poll_one(t);
		break;
	case 5:
		other_calls(t);
		break;
	case 6:
		send_one(t);
		break;
	case 7:
		map_one(t);
		break;
	case 8:
		change_mapping(t);
		break;
	case 9:
		write_mapping(t);
		break;
	case 10:
		change_memory(t);
		break;
	default:
		if (rng_percent(&t->rng, 80))
			fork_one(t);
		else
			vfork_one();
	}
	atomic_store(&t->round->shared->doing[t->index], NULL);
}
