/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * trace.c - follow a command and all its children, and look at each of them
 *
 * What ptrace would change for the processes, and what is done about it: signals
 * are handed on as they are; one that is stopped by a signal stays so and is
 * waited for by its parent (PTRACE_SEIZE and PTRACE_LISTEN); one that traces
 * others is let go (program.c), as nobody can have two tracers.
 *
 * Every thread is traced, since any may fork.  A thread's first stop is told
 * from a process's by its number, which is no process's.
 */
#include "trace.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "tree.h"

#define OPTIONS                                                           \
	(PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
	 PTRACE_O_TRACEEXEC)

struct trace {
	struct tree tree;
	pthread_t thread;
	pid_t pid;
	int signal_fd;
	bool stop;
	int error;      /* of the attempt to trace */
	uint32_t begun; /* futex: it was made */
	int status;     /* of the child */
	uint32_t ended; /* futex: it is there */
};

/* It may have been killed meanwhile, which is told anyway. */
static void go_on(pid_t tid, int sig)
{
	ptrace(PTRACE_CONT, tid, NULL, (void *)(long)sig);
}

/* ---- What stops tell ---------------------------------------------------------- */

static void hold(struct trace *t, struct member *m)
{
	m->held = true;
	tree_look(&t->tree, m);
}

static void let_go(struct member *m)
{
	m->held = false;
	m->loose = m->remote && remote_traces(m->remote);
	if (m->loose)
		ptrace(PTRACE_DETACH, m->pid, NULL, NULL);
	else
		go_on(m->pid, 0);
}

static void let_go_ready(struct trace *t)
{
	struct member *m;

	for (m = t->tree.members; m; m = m->next)
		if (m->held && !m->gone &&
		    (!m->remote || remote_ready(m->remote)))
			let_go(m);
}

/* At its first stop, or when SIGCONT ends one. */
static void on_trap(struct trace *t, pid_t tid)
{
	struct member *m = NULL;

	if (!tree_find(&t->tree, tid))
		m = tree_add(&t->tree, tid);
	if (m && !tree_shares_memory(tid))
		hold(t, m);
	else
		go_on(tid, 0);
}

/* Whichever of its threads it was, its number is now the process's. */
static void on_exec(struct trace *t, pid_t pid)
{
	struct member *m = tree_find(&t->tree, pid);

	m = m ? tree_execute(&t->tree, m) : tree_add(&t->tree, pid);
	if (m)
		hold(t, m);
	else
		go_on(pid, 0);
}

static void on_end(struct trace *t, pid_t tid, int status)
{
	struct member *m = tree_find(&t->tree, tid);

	if (m)
		tree_ended(m);
	if (tid != t->pid)
		return;
	t->status = status;
	agent_futex_set(&t->ended);
}

static void on_status(struct trace *t, pid_t tid, int status)
{
	int sig = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		on_end(t, tid, status);
		return;
	}
	switch (status >> 16) {
	case 0:
		go_on(tid, sig);
		break;
	case PTRACE_EVENT_STOP:
		if (sig == SIGTRAP)
			on_trap(t, tid);
		else
			ptrace(PTRACE_LISTEN, tid, NULL, NULL);
		break;
	case PTRACE_EVENT_EXEC:
		on_exec(t, tid);
		break;
	default:
		/* The new one stops by itself. */
		go_on(tid, 0);
	}
}

/* ---- The thread ------------------------------------------------------------------ */

static void wait_for_stops(struct trace *t, int ms)
{
	struct pollfd fds[] = {
		{ .fd = t->signal_fd, .events = POLLIN },
		{ .fd = t->tree.remotes.wake, .events = POLLIN },
	};
	struct signalfd_siginfo info;

	if (poll(fds, 2, ms) > 0 && fds[0].revents & POLLIN)
		/* One for many. */
		(void)!read(t->signal_fd, &info, sizeof(info));
	tree_woken(&t->tree);
}

static void *trace_thread(void *arg)
{
	struct trace *t = arg;
	int status, due = -1;
	pid_t tid;

	if (ptrace(PTRACE_SEIZE, t->pid, NULL, OPTIONS))
		t->error = -errno;
	agent_futex_set(&t->begun);
	if (t->error)
		return NULL;
	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		wait_for_stops(t, due);
		while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
			on_status(t, tid, status);
		let_go_ready(t);
		due = tree_tend(&t->tree);
	}
	/* With its tracer's end each is let go, and goes on. */
	return NULL;
}

/* ---- In the command's own thread --------------------------------------------------- */

static int start_thread(struct trace *t)
{
	sigset_t all, before;
	int ret;

	/* SIGCHLD is for the signalfd alone, the rest for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&t->thread, NULL, trace_thread, t);
	if (ret) {
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		return -ret;
	}
	while (!__atomic_load_n(&t->begun, __ATOMIC_ACQUIRE))
		agent_futex_wait(&t->begun, 0, 1000);
	if (t->error)
		pthread_join(t->thread, NULL);
	else
		sigaddset(&before, SIGCHLD);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return t->error;
}

int trace_start(struct trace **tracep, const struct collector *c, pid_t pid)
{
	struct trace *t = calloc(1, sizeof(*t));
	sigset_t sigchld;
	int ret;

	if (!t)
		return -ENOMEM;
	t->pid = pid;
	ret = tree_open(&t->tree, c);
	if (ret)
		goto out_free;
	ret = -ENOMEM;
	/* Its memory is still a copy of ours, and not looked at. */
	if (!tree_add(&t->tree, pid))
		goto out_tree;
	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	t->signal_fd = signalfd(-1, &sigchld, SFD_CLOEXEC | SFD_NONBLOCK);
	ret = -errno;
	if (t->signal_fd < 0)
		goto out_tree;
	ret = start_thread(t);
	if (ret)
		goto out_signal;
	tree_raise_limit();
	*tracep = t;
	return 0;

out_signal:
	close(t->signal_fd);
out_tree:
	tree_close(&t->tree);
out_free:
	free(t);
	return ret;
}

bool trace_wait(struct trace *t, int ms, int *status)
{
	if (!__atomic_load_n(&t->ended, __ATOMIC_ACQUIRE))
		agent_futex_wait(&t->ended, 0, (unsigned int)ms);
	if (!__atomic_load_n(&t->ended, __ATOMIC_ACQUIRE))
		return false;
	*status = t->status;
	return true;
}

void trace_stop(struct trace *t)
{
	__atomic_store_n(&t->stop, true, __ATOMIC_RELEASE);
	eventfd_write(t->tree.remotes.wake, 1);
	pthread_join(t->thread, NULL);
	tree_close(&t->tree);
	close(t->signal_fd);
	free(t);
}
