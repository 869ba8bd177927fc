/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* launch.c - start a program that is to be looked at, and wait for it */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "program.h"

#define AGENT "libhmm-agent.so"
#ifndef HMM_LIBDIR
#define HMM_LIBDIR "/usr/local/lib"
#endif

/* For the handler, which hands signals on. */
static volatile pid_t child;

static void hand_on(int sig)
{
	if (child > 0)
		kill(child, sig);
}

static const struct {
	int sig;
	void (*handler)(int sig);
} handled[] = {
	{ SIGINT, SIG_IGN },
	{ SIGQUIT, SIG_IGN },
	{ SIGTERM, hand_on },
	{ SIGHUP, hand_on },
	/* Ignored, as it may have been, nobody is told of children. */
	{ SIGCHLD, SIG_DFL },
};
#define NR_HANDLED (sizeof(handled) / sizeof(handled[0]))

/* Next to this command, as in the build tree, or where it is installed. */
static bool find_agent(char *path, size_t size)
{
	static const char *const places[] = { "%s/" AGENT,
					      "%s/../lib/hmm/" AGENT,
					      HMM_LIBDIR "/hmm/" AGENT };
	char dir[PATH_MAX];
	ssize_t len;
	size_t i;

	len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (len < 0)
		return false;
	dir[len] = '\0';
	*strrchr(dir, '/') = '\0';
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(path, size, places[i], dir);
#pragma GCC diagnostic pop
		if (!access(path, R_OK))
			return true;
	}
	return false;
}

/* Lists in the environment, with a colon; the last one of an option counts. */
static bool prepend(const char *name, const char *ours)
{
	const char *theirs = getenv(name);
	char *value;
	bool ok;

	if (!theirs || !*theirs)
		return !setenv(name, ours, 1);
	if (asprintf(&value, "%s:%s", ours, theirs) < 0)
		return false;
	ok = !setenv(name, value, 1);
	free(value);
	return ok;
}

static bool set_environment(const struct collector *c, const char *agent)
{
	char session[64];

	snprintf(session, sizeof(session), "/proc/%d/fd/%d:%llx", (int)getpid(),
		 c->fd, (unsigned long long)c->header->id);
	/* ASan refuses to start behind anything; the agent replaces nothing. */
	return prepend("LD_PRELOAD", agent) &&
	       prepend("ASAN_OPTIONS", "verify_asan_link_order=0") &&
	       !setenv(SESSION_ENV, session, 1);
}

/* In the environment of what is started.  False after a message. */
static bool prepare_agent(const struct collector *c, const char *program)
{
	char agent[PATH_MAX + 32];

	if (!find_agent(agent, sizeof(agent))) {
		cmd_error("can't find " AGENT ", neither next to the hmm "
			  "command nor in " HMM_LIBDIR "/hmm: install hmm");
		return false;
	}
	if (strpbrk(agent, " :")) {
		cmd_error("%s can't be preloaded: its path has a space or a "
			  "colon",
			  agent);
		return false;
	}
	if (!set_environment(c, agent)) {
		cmd_error("can't start %s: %s", program, strerror(errno));
		return false;
	}
	return true;
}

/* ---- Starting one --------------------------------------------------------- */

/* Between this command and its child; closed when that executes. */
struct pipes {
	int report[2]; /* errno, if the program can't be had */
	int go[2];     /* a byte, once it is traced */
};

static int open_pipes(struct pipes *pipes)
{
	if (pipe2(pipes->report, O_CLOEXEC))
		return -errno;
	if (!pipe2(pipes->go, O_CLOEXEC))
		return 0;
	close(pipes->report[0]);
	close(pipes->report[1]);
	return -EMFILE;
}

/* In the child. */
static _Noreturn void become(char **argv, const struct sigaction *before,
			     const sigset_t *mask, const struct pipes *pipes,
			     bool traced)
{
	int error;
	size_t i;
	char go;

	for (i = 0; i < NR_HANDLED; i++)
		sigaction(handled[i].sig, &before[i], NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	close(pipes->go[1]);
	if (traced && read(pipes->go[0], &go, 1) != 1)
		_exit(EXIT_CANNOT_RUN);
	execvp(argv[0], argv);
	error = errno;
	if (write(pipes->report[1], &error, sizeof(error)) < 0)
		_exit(EXIT_CANNOT_RUN);
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* Has it ended within so many ms? */
static bool wait_for_end(struct launch *launched, int ms, int *status)
{
	struct pollfd pollfd = { .fd = launched->pidfd, .events = POLLIN };
	pid_t pid;

	if (launched->trace)
		return trace_wait(launched->trace, ms, status);
	/* Without a pidfd, a tick is as soon as its end is noticed. */
	poll(&pollfd, 1, ms);
	pid = waitpid(launched->pid, status, WNOHANG);
	return pid > 0 || (pid < 0 && errno != EINTR);
}

static void finish(struct launch *launched)
{
	child = 0;
	if (launched->trace)
		trace_stop(launched->trace);
	if (launched->pidfd >= 0)
		close(launched->pidfd);
}

/* The child may go on: errno if it finds no program, or 0. */
static int let_execute(const struct pipes *pipes)
{
	int error = 0;

	if (write(pipes->go[1], "", 1) != 1 ||
	    read(pipes->report[0], &error, sizeof(error)) != sizeof(error))
		return 0;
	return error;
}

/* EXIT_SUCCESS; another exit status after a message; -errno: not to be traced. */
static int start(struct launch *launched, const struct collector *c,
		 char **argv, const struct sigaction *before, bool traced)
{
	sigset_t all, mask;
	struct pipes pipes;
	int status = 0, error, ret;

	launched->trace = NULL;
	launched->outside = traced;
	launched->pid = -1;
	ret = open_pipes(&pipes);
	if (ret) {
		cmd_error("can't start %s: %s", argv[0], strerror(-ret));
		return EXIT_FAILURE;
	}
	fflush(NULL);
	/* None is lost between the fork and who hands it on, or dies of it. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &mask);
	launched->pid = fork();
	if (!launched->pid)
		become(argv, before, &mask, &pipes, traced);
	child = launched->pid;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(pipes.report[1]);
	if (launched->pid < 0) {
		cmd_error("can't start a process: %s", strerror(errno));
		ret = EXIT_FAILURE;
		goto out;
	}
	launched->pidfd = pidfd_open(launched->pid, 0);
	if (traced)
		ret = trace_start(&launched->trace, c, launched->pid);
	if (ret)
		goto out;
	error = let_execute(&pipes);
	if (error) {
		cmd_error("can't run '%s': %s", argv[0], strerror(error));
		ret = error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	}
out:
	/* Kept till now: to write to nobody is to get SIGPIPE. */
	close(pipes.go[0]);
	close(pipes.go[1]);
	close(pipes.report[0]);
	if (ret && launched->pid > 0) {
		while (!wait_for_end(launched, 100, &status))
			;
		finish(launched);
	}
	return ret;
}

/* Is the module there, and the user content with it? */
static bool has_module(const struct collector *c)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	const char *wanted = c->header->source;
	unsigned int i;

	if (!*wanted)
		wanted = getenv("HMM_SOURCE");
	if (wanted && *wanted && strcmp(wanted, "module"))
		return false;
	for (i = 0; !hmm_source_query(i, &info); i++)
		if (!strcmp(info.name, "module"))
			return !info.error;
	return false;
}

int launch(struct launch *launched, const struct collector *c, char **argv)
{
	struct sigaction action = { .sa_flags = SA_RESTART };
	struct sigaction before[NR_HANDLED];
	bool traced = has_module(c) && !program_needs_rights(argv[0]);
	int ret = 0;
	size_t i;

	if (!traced && !prepare_agent(c, argv[0]))
		return EXIT_FAILURE;
	for (i = 0; i < NR_HANDLED; i++) {
		action.sa_handler = handled[i].handler;
		sigaction(handled[i].sig, &action, &before[i]);
	}
	ret = start(launched, c, argv, before, traced);
	if (ret >= 0)
		return ret;
	cmd_error("%s can't be traced, as hmm run and watch do to follow "
		  "children: %s; preloads " AGENT " instead",
		  argv[0], strerror(-ret));
	if (!prepare_agent(c, argv[0]))
		return EXIT_FAILURE;
	return start(launched, c, argv, before, false);
}

int launch_wait(struct launch *launched, int ms, void (*tick)(void *ctx),
		void *ctx)
{
	int status = 0;
	bool ended;

	do {
		ended = wait_for_end(launched, ms, &status);
		tick(ctx);
	} while (!ended);
	finish(launched);
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}
