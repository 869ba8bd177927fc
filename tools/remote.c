/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* remote.c - look at an address space from outside, by the source module */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "cmd.h"
#include "program.h"

/* Between a program's end and the next one's memory. */
#define EXEC_PAUSE_MS 1
#define EXEC_TRIES 1000
/* As an agent inside is: its work is not as urgent as the program's. */
#define REMOTE_NICE 10

struct remote {
	struct agent agent; /* first */
	const struct remotes *all;
	struct remote_target target; /* with a pidfd of its own */
	pthread_t thread;
	bool started; /* there is a thread to be joined */
	uint32_t index;
	bool running; /* it is left, and goes on */
	bool traces;
	int error;
	bool ready, ended; /* in this order */
	char complaint[200];
};

/* Who attaches in this thread. */
static __thread struct remote *self;

static void keep_complaint(enum hmm_log_level level, const char *line)
{
	if (level > HMM_LOG_WARN || !self)
		return;
	if (!strncmp(line, "hmm: ", 5))
		line += 5;
	snprintf(self->complaint, sizeof(self->complaint), "%s", line);
}

static bool is_alive(const struct remote *r)
{
	struct pollfd pollfd = { .fd = r->target.pidfd, .events = POLLIN };

	return !poll(&pollfd, 1, 0);
}

/* ---- A slot, as session.h says ------------------------------------------- */

static int lock_slot(const struct remote *r, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = SESSION_LOCK + r->index,
		.l_len = 1,
	};

	return fcntl(r->all->collector->lock_fd, F_OFD_SETLK, &lock) ? -errno
								     : 0;
}

static void read_comm(struct agent *a)
{
	char path[32];
	FILE *f;

	f = fopen(agent_proc(a, "comm", path, sizeof(path)), "re");
	if (!f)
		return;
	if (fgets(a->slot->comm, sizeof(a->slot->comm), f))
		a->slot->comm[strcspn(a->slot->comm, "\n")] = '\0';
	fclose(f);
}

static int claim_slot(struct remote *r)
{
	struct agent *a = &r->agent;
	int ret;

	r->index = __atomic_fetch_add(&r->all->collector->header->claimed, 1,
				      __ATOMIC_RELAXED);
	if (r->index >= SESSION_SLOTS)
		return -ENOSPC;
	ret = lock_slot(r, F_WRLCK);
	if (ret)
		return ret;
	a->slot = mmap(NULL, sizeof(*a->slot), PROT_READ | PROT_WRITE,
		       MAP_SHARED, r->all->collector->lock_fd,
		       (r->index + 1l) * (off_t)SESSION_SLOT_BYTES);
	if (a->slot == MAP_FAILED) {
		ret = -errno;
		lock_slot(r, F_UNLCK);
		return ret;
	}
	a->slot->pid = a->pid;
	a->slot->again = r->target.again;
	read_comm(a);
	a->slot->start_ns = agent_now();
	a->slot->end_ns = a->slot->start_ns;
	agent_set_state(a, SESSION_CLAIMED);
	return 0;
}

static void leave_slot(struct remote *r)
{
	munmap(r->agent.slot, sizeof(*r->agent.slot));
	/* That of a process that goes on is held as long as the collector's. */
	if (!r->running)
		lock_slot(r, F_UNLCK);
}

/* ---- The thread ------------------------------------------------------------ */

static void wake(const struct remote *r)
{
	eventfd_write(r->all->wake, 1);
}

static void say_ready(struct remote *r, int error)
{
	r->error = error;
	__atomic_store_n(&r->ready, true, __ATOMIC_RELEASE);
	wake(r);
}

static void on_ready(struct agent *agent)
{
	say_ready((struct remote *)agent, 0);
}

static int attach(struct remote *r)
{
	const struct session_header *header = r->agent.header;
	const struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = header->source[0] ? header->source : NULL,
		.pidfd = r->target.pidfd,
	};
	int tries = 0, ret;

	/*
	 * It may be just between two programs.  Not for long: but a kernel thread
	 * has no memory, nor has a process whose first thread alone has ended.
	 */
	do {
		ret = hmm_mm_attach(&r->agent.mm, &opts);
		if (ret == -ESRCH)
			agent_sleep(&r->agent, EXEC_PAUSE_MS);
	} while (ret == -ESRCH && ++tries < EXEC_TRIES && is_alive(r) &&
		 !agent_stopping(&r->agent));
	return ret;
}

static int look(struct remote *r)
{
	struct agent *a = &r->agent;
	int ret;

	/* Here, as files may be slow: even served by a program that we trace. */
	if (r->target.traced)
		r->traces = program_look(a->pid, a->slot->remark,
					 sizeof(a->slot->remark));
	ret = attach(r);
	if (ret)
		return ret;
	agent_describe_mm(a);
	setpriority(PRIO_PROCESS, gettid(), REMOTE_NICE);
	ret = agent_run(a);
	hmm_mm_detach(a->mm);
	return ret;
}

/* Too short to be seen is no failure, and the slot says so. */
static bool too_short(const struct remote *r, int ret)
{
	/* Of its files in /proc, once it is nobody's any more. */
	if (ret == -ENOENT)
		return !is_alive(r);
	return ret == -ESRCH || ret == -EFAULT;
}

static void *remote_thread(void *arg)
{
	struct remote *r = arg;
	struct session_slot *slot = r->agent.slot;
	int ret;

	self = r;
	ret = look(r);
	if (ret && !too_short(r, ret)) {
		slot->error = ret;
		snprintf(slot->reason, sizeof(slot->reason), "%s",
			 r->complaint);
		agent_set_state(&r->agent, SESSION_FAILED);
	} else if (!ret && !__atomic_load_n(&r->running, __ATOMIC_ACQUIRE)) {
		agent_set_state(&r->agent, SESSION_DONE);
	}
	/* Memory that was there, and is gone already, can be looked at. */
	if (!r->ready)
		say_ready(r, ret == -EFAULT ? 0 : ret);
	leave_slot(r);
	close(r->target.pidfd);
	__atomic_store_n(&r->ended, true, __ATOMIC_RELEASE);
	wake(r);
	return NULL;
}

static void start_thread(struct remote *r)
{
	struct session_slot *slot = r->agent.slot;
	int ret = pthread_create(&r->thread, NULL, remote_thread, r);

	r->started = !ret;
	if (!ret)
		return;
	slot->error = -ret;
	snprintf(
		slot->reason, sizeof(slot->reason),
		"no thread could be started to look at it: raise RLIMIT_NPROC");
	snprintf(r->complaint, sizeof(r->complaint), "%s", slot->reason);
	agent_set_state(&r->agent, SESSION_FAILED);
	leave_slot(r);
	close(r->target.pidfd);
	r->ended = true;
	say_ready(r, -ret);
}

/* ---- For who looks after it ------------------------------------------------ */

struct remote *remote_start(const struct remotes *all,
			    const struct remote_target *target)
{
	struct remote *r = calloc(1, sizeof(*r));
	int ret = -ENOMEM;

	if (!r)
		goto out;
	r->all = all;
	r->target = *target;
	r->agent.header = all->collector->header;
	r->agent.pid = target->pid;
	r->agent.ready = on_ready;
	pthread_mutex_init(&r->agent.spans.lock, NULL);
	r->target.pidfd = fcntl(target->pidfd, F_DUPFD_CLOEXEC, 0);
	ret = r->target.pidfd < 0 ? -errno : claim_slot(r);
	if (ret)
		goto out_free;
	hmm_set_log(keep_complaint);
	start_thread(r);
	return r;

out_free:
	if (r->target.pidfd >= 0)
		close(r->target.pidfd);
	free(r);
out:
	/* That there are no more slots is said at the end. */
	if (ret != -ENOSPC)
		cmd_error("can't look at process %d: %s%s", (int)target->pid,
			  strerror(-ret),
			  ret == -EMFILE ? ": raise RLIMIT_NOFILE" : "");
	return NULL;
}

bool remote_ready(struct remote *r)
{
	return __atomic_load_n(&r->ready, __ATOMIC_ACQUIRE);
}

const char *remote_failure(struct remote *r)
{
	if (!r->error)
		return NULL;
	return r->complaint[0] ? r->complaint : strerror(-r->error);
}

bool remote_traces(struct remote *r)
{
	return r->traces;
}

bool remote_ended(struct remote *r)
{
	return __atomic_load_n(&r->ended, __ATOMIC_ACQUIRE);
}

void remote_leave(struct remote *r, bool running)
{
	__atomic_store_n(&r->running, running, __ATOMIC_RELEASE);
	agent_futex_set(&r->agent.stop);
}

void remote_free(struct remote *r)
{
	if (r->started)
		pthread_join(r->thread, NULL);
	free(r);
}
