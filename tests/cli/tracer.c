/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * tracer.c - a program that traces: a child of its own, as a debugger does, or
 * with a COMMAND that and its children, as strace -f does
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 100

/* Of the parent's descriptors: it has one for each process that it looks at. */
static int open_devices(void)
{
	char path[280], file[32];
	struct dirent *entry;
	int devices = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)getppid());
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)getppid(),
			 entry->d_name);
		memset(file, 0, sizeof(file));
		if (readlink(path, file, sizeof(file) - 1) > 0)
			devices += !strcmp(file, "/dev/hmm");
	}
	if (dir)
		closedir(dir);
	return devices;
}

/* It is searched for now and then: seldom, where a search takes long. */
static void wait_until_both_are_looked_at(void)
{
	int i;

	for (i = 0; i < PATIENCE_S * 10 && open_devices() < 2; i++)
		usleep(100000);
	/* It is open: for the rest. */
	sleep(1);
}

static int trace_child(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) {
			perror("PTRACE_TRACEME");
			_exit(1);
		}
		raise(SIGTRAP);
		_exit(6);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return 1;
	wait_until_both_are_looked_at();
	if (ptrace(PTRACE_CONT, pid, NULL, NULL) ||
	    waitpid(pid, &status, 0) != pid)
		return 2;
	return WIFEXITED(status) && WEXITSTATUS(status) == 6 ? 7 : 3;
}

/* New processes begin with SIGSTOP, and exec with SIGTRAP; neither is sent. */
static int trace_command(char **argv)
{
	const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	pid_t command = fork(), pid;
	int status, sig;

	if (!command) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execvp(argv[0], argv);
		_exit(127);
	}
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (pid == command && WIFEXITED(status))
			return WEXITSTATUS(status);
		if (!WIFSTOPPED(status))
			continue;
		sig = WSTOPSIG(status);
		if (sig == SIGTRAP || sig == SIGSTOP)
			sig = 0;
		ptrace(PTRACE_SETOPTIONS, pid, NULL, options);
		ptrace(PTRACE_CONT, pid, NULL, (long)sig);
	}
	return 1;
}

int main(int argc, char **argv)
{
	return argc > 1 ? trace_command(argv + 1) : trace_child();
}
