/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * family.c - a program with children: family KIND
 *
 * fork, vfork, spawn, threads: makes four in that way.  Each maps memory at a
 * known place, leaves it there for a while, and unmaps it.  Exit status 0 if
 * all of them did so.  exec: one of its threads becomes such a child.  chain:
 * executes itself 30 times first.  signals, stop, orphan: see below.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE ((void *)0x123400000000)
#define SIZE (1ul << 20)
#define CHILDREN 4
#define STATUS 5
#define LINKS 30
#define SIGNALS 300
#define ORPHAN_S 1000

static char *self;
extern char **environ;

static int leaf(void)
{
	char *p =
		mmap(PLACE, SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != PLACE)
		return 1;
	memset(p, 1, SIZE);
	usleep(100000);
	munmap(p, SIZE);
	return STATUS;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == STATUS ? 0 : -1;
}

static pid_t make(const char *how)
{
	char *const argv[] = { self, "leaf", NULL };
	pid_t pid;

	if (!strcmp(how, "spawn"))
		return posix_spawn(&pid, self, NULL, NULL, argv, environ) ? -1
									  : pid;
	if (!strcmp(how, "vfork")) {
		pid = vfork();
		if (!pid) {
			execv(self, argv);
			_exit(1);
		}
		return pid;
	}
	pid = fork();
	if (!pid)
		_exit(leaf());
	return pid;
}

static int children(const char *how)
{
	pid_t pid[CHILDREN];
	int i, ret = 0;

	for (i = 0; i < CHILDREN; i++)
		pid[i] = make(how);
	for (i = 0; i < CHILDREN; i++)
		ret |= pid[i] < 0 || wait_for(pid[i]);
	return ret;
}

static void *thread(void *arg)
{
	pid_t pid = make("fork");

	return pid > 0 && !wait_for(pid) ? arg : NULL;
}

static int threads(void)
{
	pthread_t t[CHILDREN];
	void *result;
	int i, ret = 0;

	for (i = 0; i < CHILDREN; i++)
		ret |= pthread_create(&t[i], NULL, thread, &ret);
	for (i = 0; i < CHILDREN; i++) {
		pthread_join(t[i], &result);
		ret |= !result;
	}
	return ret;
}

static void *execute(void *arg)
{
	char *const argv[] = { self, "leaf", NULL };

	execv(self, argv);
	return arg;
}

static int become(void)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, execute, NULL))
		pthread_join(t, NULL);
	return 1;
}

static int chain(int nr)
{
	char left[16];
	char *const argv[] = { self, "chain", left, NULL };

	if (!nr)
		return leaf();
	snprintf(left, sizeof(left), "%d", nr - 1);
	execv(self, argv);
	return 1;
}

/* ---- Signals: none is lost, nor made up, and queued ones keep their order ---- */

static volatile sig_atomic_t got, in_order = 1;

static void on_queued(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	in_order &= info->si_value.sival_int == got;
	got++;
}

static int signals(void)
{
	struct sigaction action = { .sa_sigaction = on_queued,
				    .sa_flags = SA_SIGINFO | SA_RESTART };
	pid_t pid, parent = getpid();
	int i;

	sigaction(SIGRTMIN, &action, NULL);
	pid = fork();
	if (!pid) {
		for (i = 0; i < SIGNALS; i++)
			while (sigqueue(parent, SIGRTMIN,
					(union sigval){ .sival_int = i }))
				usleep(1000);
		/* Nobody handles it, nobody may notice. */
		kill(parent, SIGWINCH);
		_exit(STATUS);
	}
	return wait_for(pid) || got != SIGNALS || !in_order;
}

/* A child that is stopped and goes on, as its parent is told. */
static int stop(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		pause();
		_exit(1);
	}
	kill(pid, SIGSTOP);
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status) ||
	    WSTOPSIG(status) != SIGSTOP)
		return 1;
	/* It is: nothing can end it but SIGKILL. */
	kill(pid, SIGTERM);
	usleep(100000);
	if (waitpid(pid, &status, WNOHANG))
		return 2;
	kill(pid, SIGCONT);
	/* It may have gone on and ended before that was looked at. */
	if (waitpid(pid, &status, WCONTINUED) != pid)
		return 3;
	if (WIFCONTINUED(status) && waitpid(pid, &status, 0) != pid)
		return 4;
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM;
}

/* Lives on until there is the file, and says then that it was not harmed. */
static int orphan(const char *file)
{
	pid_t pid = fork();
	int i;

	if (pid)
		return pid < 0;
	for (i = 0; i < ORPHAN_S * 100 && access(file, F_OK); i++)
		usleep(10000);
	_exit(leaf() == STATUS && puts("alive") >= 0 && !fflush(stdout));
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	self = argv[0];
	if (!strcmp(how, "leaf"))
		return leaf();
	if (!strcmp(how, "threads"))
		return threads();
	if (!strcmp(how, "chain"))
		return chain(argc > 2 ? atoi(argv[2]) : LINKS);
	if (!strcmp(how, "exec"))
		return become();
	if (!strcmp(how, "signals"))
		return signals();
	if (!strcmp(how, "stop"))
		return stop();
	if (!strcmp(how, "orphan"))
		return argc > 2 ? orphan(argv[2]) : 1;
	return children(how);
}
