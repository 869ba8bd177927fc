/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* launch.c - start a program with the agent in it, and wait for it */
#include "launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

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

/* ---- Programs that take no preloaded library ----------------------------- */

static bool find_program(const char *name, char *path, size_t size)
{
	const char *dir = getenv("PATH");
	int len;

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return true;
	}
	for (; dir && *dir; dir += len + (dir[len] == ':')) {
		len = strcspn(dir, ":");
		snprintf(path, size, "%.*s/%s", len, dir, name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

static const char statically_linked[] =
	"it is statically linked, and takes no preloaded library";

static const char *elf_obstacle(int fd)
{
	Elf64_Phdr phdr;
	Elf64_Ehdr ehdr;
	int i;

	if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr) ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG))
		return NULL;
	if (ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_machine != EM_X86_64)
		return "it is a program for another processor";
	for (i = 0; i < ehdr.e_phnum; i++) {
		if (pread(fd, &phdr, sizeof(phdr),
			  ehdr.e_phoff + i * sizeof(phdr)) != sizeof(phdr))
			return NULL;
		if (phdr.p_type == PT_INTERP)
			return NULL;
	}
	return statically_linked;
}

const char *launch_obstacle(const char *program)
{
	const char *obstacle = NULL;
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (!find_program(program, path, sizeof(path)) || stat(path, &st))
		return NULL;
	if ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	    (st.st_mode & S_ISGID && st.st_gid != getgid()))
		return "it is set-user-ID, and takes no preloaded library";
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	obstacle = elf_obstacle(fd);
	close(fd);
	return obstacle;
}

/* But it may be traced. */
static bool takes_no_agent(const char *program)
{
	return launch_obstacle(program) == statically_linked;
}

/* ---- Starting one --------------------------------------------------------- */

/* In the child.  Tells errno through report if the program can't be had. */
static _Noreturn void become(char **argv, const struct sigaction *before,
			     int report, bool stopped)
{
	size_t i;
	int error;

	if (stopped)
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);

	for (i = 0; i < NR_HANDLED; i++)
		sigaction(handled[i].sig, &before[i], NULL);
	execvp(argv[0], argv);
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(EXIT_CANNOT_RUN);
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* Is the module there, and the user content with it? */
static bool has_module(const struct collector *c)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	if (c->header->source[0] && strcmp(c->header->source, "module"))
		return false;
	for (i = 0; !hmm_source_query(i, &info); i++)
		if (!strcmp(info.name, "module"))
			return !info.error;
	return false;
}

/* It has stopped at the first instruction of the program; let it go on. */
static void attach_stopped(struct launch *launched, const struct collector *c)
{
	int status;

	if (waitpid(launched->pid, &status, 0) != launched->pid ||
	    !WIFSTOPPED(status))
		return;
	launched->remote = remote_start(c, launched->pid);
	ptrace(PTRACE_DETACH, launched->pid, NULL, NULL);
}

int launch(struct launch *launched, const struct collector *c, char **argv)
{
	struct sigaction action = { .sa_flags = SA_RESTART };
	struct sigaction before[NR_HANDLED];
	char agent[PATH_MAX + 32];
	bool outside = takes_no_agent(argv[0]) && has_module(c);
	int report[2];
	int error = 0;
	size_t i;

	launched->remote = NULL;

	if (!find_agent(agent, sizeof(agent))) {
		cmd_error("can't find " AGENT ", neither next to the hmm "
			  "command nor in " HMM_LIBDIR "/hmm: install hmm");
		return EXIT_FAILURE;
	}
	if (strpbrk(agent, " :")) {
		cmd_error("%s can't be preloaded: its path has a space or a "
			  "colon",
			  agent);
		return EXIT_FAILURE;
	}
	if (!set_environment(c, agent) || pipe2(report, O_CLOEXEC)) {
		cmd_error("can't start %s: %s", argv[0], strerror(errno));
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_HANDLED; i++) {
		action.sa_handler = handled[i].handler;
		sigaction(handled[i].sig, &action, &before[i]);
	}
	fflush(NULL);
	launched->pid = fork();
	if (!launched->pid)
		become(argv, before, report[1], outside);
	close(report[1]);
	if (launched->pid < 0) {
		cmd_error("can't start a process: %s", strerror(errno));
		close(report[0]);
		return EXIT_FAILURE;
	}
	child = launched->pid;
	i = read(report[0], &error, sizeof(error));
	close(report[0]);
	if (i == sizeof(error)) {
		waitpid(launched->pid, NULL, 0);
		cmd_error("can't run '%s': %s", argv[0], strerror(error));
		return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	}
	launched->pidfd = pidfd_open(launched->pid, 0);
	if (outside)
		attach_stopped(launched, c);
	return EXIT_SUCCESS;
}

int launch_wait(struct launch *launched, int ms, void (*tick)(void *ctx),
		void *ctx)
{
	struct pollfd poll_fd = { .fd = launched->pidfd, .events = POLLIN };
	int status = 0;
	pid_t pid;

	do {
		/* Without a pidfd, a tick is as soon as its end is noticed. */
		poll(&poll_fd, 1, ms);
		tick(ctx);
		pid = waitpid(launched->pid, &status, WNOHANG);
	} while (pid == 0 || (pid < 0 && errno == EINTR));
	child = 0;
	if (launched->remote)
		remote_stop(launched->remote);
	if (launched->pidfd >= 0)
		close(launched->pidfd);
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}
