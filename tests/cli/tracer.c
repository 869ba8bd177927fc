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

#define PATIENCE_S 300
#define WATCHER "hmm-watcher"
#define ENGINE "dmirror"

/* Of the parent: it has the same ones for each process that it looks at. */
static int threads(const char *name)
{
	char path[280], comm[32];
	struct dirent *entry;
	int found = 0;
	FILE *f;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)getppid());
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm",
			 (int)getppid(), entry->d_name);
		f = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f))
			found += !strncmp(comm, name, strlen(name));
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

/*
 * It is searched for now and then: seldom, where a search takes long.  A device,
 * where there is one, comes last.
 */
static void wait_until_both_are_looked_at(int watchers, int engines)
{
	int i;

	for (i = 0; i < PATIENCE_S * 10; i++) {
		if (threads(WATCHER) >= 2 * watchers &&
		    threads(ENGINE) >= 2 * engines)
			break;
		usleep(100000);
	}
}

static int trace_child(void)
{
	/* Those for this process, which were there before it ran. */
	int watchers = threads(WATCHER), engines = threads(ENGINE);
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
	wait_until_both_are_looked_at(watchers, engines);
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
