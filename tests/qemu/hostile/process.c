// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * process.c - children that end in time, or whose stacks are shown
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

pid_t spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	/* What is orphaned becomes our child, to be waited for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		fn(arg);
		_exit(0);
	}
	if (pid > 0)
		setpgid(pid, pid);
	else
		failed("fork: %s", strerror(errno));
	return pid;
}

static void show(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	printf("# %s:\n%s\n", path, text);
}

static void show_threads(pid_t pid)
{
	char path[300];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stack", pid,
			 entry->d_name);
		show(path);
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/syscall", pid,
			 entry->d_name);
		show(path);
	}
	if (dir)
		closedir(dir);
}

static void show_group(pid_t group)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	pid_t pid;

	while (dir && (entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		if (pid > 0 && getpgid(pid) == group)
			show_threads(pid);
	}
	if (dir)
		closedir(dir);
}

bool kill_group(pid_t group)
{
	double end = now() + options.hang;
	pid_t pid;

	do {
		kill(-group, SIGKILL);
		pid = waitpid(-group, NULL, WNOHANG);
		if (pid < 0 && errno == ECHILD && kill(-group, 0))
			return true;
		if (!pid)
			usleep(1000);
	} while (now() < end);
	failed("killed, and not gone after %u s", options.hang);
	show_group(group);
	return false;
}

int wait_for(pid_t pid)
{
	double end = now() + options.hang;
	int status;

	do {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(1000);
	} while (now() < end);
	failed("not done after %u s", options.hang);
	show_threads(pid);
	return -1;
}

void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

int open_device(void)
{
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		failed("%s: %s", DEVICE, strerror(errno));
	return fd;
}

const struct hmm_dev_shared *map_device(int fd)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

uint32_t register_page(int fd, unsigned long addr)
{
	struct hmm_dev_register reg = { .start = addr, .end = addr + PAGE };

	return ioctl(fd, HMM_DEV_REGISTER, &reg) ? 0 : reg.id;
}
