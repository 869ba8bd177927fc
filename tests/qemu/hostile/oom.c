// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * oom.c - memory cgroups at their limit
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define CGROUPS "/tmp/cgroup"
#define CGROUP CGROUPS "/hostile"
#define LIMIT "33554432"
#define RANGES 1000000u
#define MEMORY (256ul << 20)

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ret = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (!ret)
		failed("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

static bool make_cgroup(void)
{
	mkdir(CGROUPS, 0755);
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY) {
		failed("cgroup2: %s", strerror(errno));
		return false;
	}
	return put(CGROUPS "/cgroup.subtree_control", "+memory") &&
	       (!mkdir(CGROUP, 0755) || errno == EEXIST) &&
	       put(CGROUP "/memory.max", LIMIT) &&
	       put(CGROUP "/memory.swap.max", "0");
}

static void remove_cgroup(void)
{
	int tries = 1000;

	/* Until the last of its processes is gone. */
	while (rmdir(CGROUP) && --tries)
		usleep(10000);
	if (!tries)
		failed(CGROUP ": %s", strerror(errno));
	umount2(CGROUPS, MNT_DETACH);
}

static void enter_cgroup(void)
{
	if (!put(CGROUP "/cgroup.procs", "0"))
		_exit(2);
}

/* What a process and its parent tell each other. */
struct oom {
	atomic_int ready; /* a descriptor of the device, or anything but 0 */
	atomic_int go;
};

static char *reserve(void)
{
	char *p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	/* What a fork shares is copied now: that would be a change. */
	if (p == MAP_FAILED || mlockall(MCL_CURRENT | MCL_ONFAULT) ||
	    munlock(p, MEMORY))
		_exit(3);
	return p;
}

/* Changes nothing: where there was nothing there are pages then. */
static void use_up(char *memory)
{
	size_t i;

	for (i = 0; i < MEMORY; i += PAGE)
		memory[i] = 1;
}

static bool wait_ready(const struct oom *oom)
{
	double end = now() + options.hang;

	while (!oom->ready && now() < end)
		usleep(1000);
	if (!oom->ready)
		failed("it does not get ready");
	return oom->ready;
}

/* A change that waits is not what ends the process: it never has to. */
static bool was_killed_in_time(int status, const struct hmm_dev_shared *shared)
{
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		failed("not killed for lack of memory: status %#x", status);
	return !shared->late;
}

/* ---- The user ------------------------------------------------------------ */

static int device = -1;
static struct oom *user;

static void wait_go(void)
{
	while (!user->go)
		usleep(1000);
}

/* Whose acknowledgement everybody is going to wait for. */
static void *hold(void *arg)
{
	(void)arg;
	if (ioctl(device, HMM_DEV_HOLD, (unsigned long)HMM_DEV_HOLD_MAX))
		_exit(7);
	user->ready = device;
	for (;;)
		pause();
	return NULL;
}

/* Waits for good, with the mmap lock. */
static void *change(void *arg)
{
	wait_go();
	madvise(arg, PAGE, MADV_DONTNEED);
	return NULL;
}

static void *fault_in(void *arg)
{
	static uint64_t pfns[4096];
	struct hmm_dev_range range = {
		.options = HMM_DEV_BLOCK,
		.start = (unsigned long)arg,
		.end = (unsigned long)arg + sizeof(pfns) / 8 * PAGE,
		.pfns = (unsigned long)pfns,
		.nr = sizeof(pfns) / 8,
		.flags = { 1, 2, 4 },
		.values = { 8, 0, 16 },
		.default_flags = 3,
		.pfn_shift = 12,
	};

	wait_go();
	for (;;)
		ioctl(device, HMM_DEV_FAULT, &range);
	return NULL;
}

static void oom_user(void *arg)
{
	pthread_t thread[3];
	unsigned int i;
	char *p;

	user = arg;
	enter_cgroup();
	device = open(DEVICE, O_RDONLY | O_CLOEXEC);
	if (device < 0 || !map_device(device))
		_exit(4);
	p = reserve();
	for (i = 0; i < 1000; i++)
		if (!register_page(device, (unsigned long)p + i * PAGE))
			_exit(5);
	*p = 1;
	/* To make a thread is a change: of its stack. */
	if (pthread_create(&thread[0], NULL, change, p) ||
	    pthread_create(&thread[1], NULL, fault_in, p + PAGE) ||
	    pthread_create(&thread[2], NULL, hold, NULL))
		_exit(6);
	wait_go();
	use_up(p + PAGE);
}

/* The same file, in this process. */
static int fd_of(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int ret = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (ret < 0)
		failed("pidfd_getfd: %s", strerror(errno));
	close(pidfd);
	return ret;
}

static bool oom_one(void (*run)(void *), int (*attach)(pid_t, int))
{
	struct oom *oom = shared_memory(PAGE);
	pid_t pid = spawn(run, oom);
	const struct hmm_dev_shared *shared;
	bool in_time = true;
	int fd;

	fd = pid > 0 && wait_ready(oom) ? attach(pid, oom->ready) : -1;
	shared = fd < 0 ? NULL : map_device(fd);
	if (shared) {
		oom->go = 1;
		in_time = was_killed_in_time(wait_for(pid), shared);
		munmap((void *)shared, PAGE);
	}
	kill_group(pid);
	close(fd);
	munmap(oom, PAGE);
	return in_time;
}

/* On a slow machine time may be up before the memory is: that says nothing. */
static void oom_many(void (*run)(void *), int (*attach)(pid_t, int))
{
	unsigned int times = 3, late = 10;

	if (!make_cgroup())
		return;
	while (times && late && good())
		if (oom_one(run, attach))
			times--;
		else
			late--;
	if (!late)
		failed("it waited until time was up, each time");
	remove_cgroup();
}

void oom_of_the_user(void)
{
	oom_many(oom_user, fd_of);
}

/* ---- The mirrored process ------------------------------------------------ */

static void oom_mirrored(void *arg)
{
	struct oom *oom = arg;
	char *p;

	enter_cgroup();
	p = reserve();
	oom->ready = 1;
	while (!oom->go)
		usleep(1000);
	use_up(p);
}

/* Outside of the cgroup, with a range, and never acknowledging. */
static int mirror(pid_t pid, int ready)
{
	char path[32];
	int mem, fd = open_device();

	(void)ready;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, HMM_DEV_BIND, mem) ||
	    !register_page(fd, 0x100000000ul) ||
	    ioctl(fd, HMM_DEV_HOLD, (unsigned long)HMM_DEV_HOLD_MAX))
		failed("to mirror it: %s", strerror(errno));
	close(mem);
	return fd;
}

void oom_of_the_mirrored(void)
{
	oom_many(oom_mirrored, mirror);
}

/* ---- What the device allocates ------------------------------------------- */

static void exceed(void *arg)
{
	unsigned long i;

	(void)arg;
	enter_cgroup();
	device = open(DEVICE, O_RDONLY | O_CLOEXEC);
	for (i = 0; i < RANGES; i++)
		if (!register_page(device, (0x100000ul + 2 * i) * PAGE))
			_exit(errno == ENOMEM ? 0 : 8);
	_exit(9);
}

void memory_limit(void)
{
	int status;

	if (!make_cgroup())
		return;
	status = wait_for(spawn(exceed, NULL));
	/* Refused, or killed; but not served. */
	if (status && (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL))
		failed("status %#x", status);
	remove_cgroup();
}
