/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* remote.c - look at a process from outside, by the source module */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "agent.h"
#include "cmd.h"

/* Between a program's end and the next one's memory. */
#define EXEC_PAUSE_MS 1

struct remote {
	struct agent agent;
	pthread_t thread;
	int pidfd;
	int file; /* the session's, opened anew: for the lock of a slot */
	uint32_t index;
	bool leave; /* remote_stop() was called */
	bool ended;
	int error; /* of the first attempt to attach; futex: it was made */
	uint32_t attached;
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
	struct pollfd pollfd = { .fd = r->pidfd, .events = POLLIN };

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

	return fcntl(r->file, F_OFD_SETLK, &lock) ? -errno : 0;
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

static int claim_slot(struct remote *r, struct session_header *header)
{
	struct agent *a = &r->agent;
	int ret;

	r->index = __atomic_fetch_add(&header->claimed, 1, __ATOMIC_RELAXED);
	if (r->index >= SESSION_SLOTS)
		return -ENOSPC;
	ret = lock_slot(r, F_WRLCK);
	if (ret)
		return ret;
	a->slot =
		mmap(NULL, sizeof(*a->slot), PROT_READ | PROT_WRITE, MAP_SHARED,
		     r->file, (r->index + 1l) * (off_t)SESSION_SLOT_BYTES);
	if (a->slot == MAP_FAILED) {
		ret = -errno;
		lock_slot(r, F_UNLCK);
		return ret;
	}
	a->slot->pid = a->pid;
	read_comm(a);
	a->slot->start_ns = agent_now();
	a->slot->end_ns = a->slot->start_ns;
	agent_set_state(a, SESSION_CLAIMED);
	return 0;
}

static void leave_slot(struct remote *r)
{
	munmap(r->agent.slot, sizeof(*r->agent.slot));
	lock_slot(r, F_UNLCK);
}

/* ---- The thread ------------------------------------------------------------ */

static int attach(struct remote *r)
{
	const struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = r->agent.header->source[0] ? r->agent.header->source
						     : NULL,
		.pidfd = r->pidfd,
	};
	int ret;

	/* It may be just between two programs. */
	do {
		ret = hmm_mm_attach(&r->agent.mm, &opts);
		if (ret == -ESRCH)
			agent_sleep(&r->agent, EXEC_PAUSE_MS);
	} while (ret == -ESRCH && is_alive(r) && !agent_stopping(&r->agent));
	return ret;
}

static void say_attached(struct remote *r, int error)
{
	r->error = error;
	agent_futex_set(&r->attached);
}

static void failed(struct remote *r, int error)
{
	struct session_slot *slot = r->agent.slot;

	slot->error = error;
	snprintf(slot->reason, sizeof(slot->reason), "%s", r->complaint);
	agent_set_state(&r->agent, SESSION_FAILED);
}

/* One program, from now on or from its start on, to its end. */
static int look_at_program(struct remote *r)
{
	struct agent *a = &r->agent;
	int ret;

	/* The collector maps it as well, and wrote nothing but this. */
	ret = claim_slot(r, (struct session_header *)a->header);
	if (ret)
		return ret;
	ret = attach(r);
	/* Too short to be seen is no failure, and the slot says so. */
	if (ret && ret != -ESRCH)
		failed(r, ret);
	if (ret)
		goto out;
	agent_describe_mm(a);
	say_attached(r, 0);
	ret = agent_run(a);
	if (ret)
		failed(r, ret);
	hmm_mm_detach(a->mm);
out:
	leave_slot(r);
	return ret;
}

static void *remote_thread(void *arg)
{
	struct remote *r = arg;
	int ret;

	self = r;
	do {
		__atomic_store_n(&r->agent.stop, 0, __ATOMIC_RELEASE);
		ret = look_at_program(r);
	} while (!ret && !__atomic_load_n(&r->leave, __ATOMIC_ACQUIRE) &&
		 is_alive(r));
	if (!r->attached)
		say_attached(r, ret);
	__atomic_store_n(&r->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- In the command's own thread -------------------------------------------- */

bool remote_ended(struct remote *r)
{
	return __atomic_load_n(&r->ended, __ATOMIC_ACQUIRE);
}

static struct remote *new_remote(const struct collector *c, pid_t pid)
{
	struct remote *r = calloc(1, sizeof(*r));
	char path[32];

	if (!r)
		return NULL;
	r->agent.header = c->header;
	r->agent.pid = pid;
	pthread_mutex_init(&r->agent.spans.lock, NULL);
	r->pidfd = pidfd_open(pid, 0);
	if (r->pidfd < 0)
		goto out;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->fd);
	r->file = open(path, O_RDWR | O_CLOEXEC);
	if (r->file >= 0)
		return r;
	close(r->pidfd);
out:
	free(r);
	return NULL;
}

static void free_remote(struct remote *r)
{
	close(r->file);
	close(r->pidfd);
	free(r);
}

void remote_stop(struct remote *r)
{
	__atomic_store_n(&r->leave, true, __ATOMIC_RELEASE);
	agent_futex_set(&r->agent.stop);
	pthread_join(r->thread, NULL);
	free_remote(r);
}

struct remote *remote_start(const struct collector *c, pid_t pid)
{
	struct remote *r = new_remote(c, pid);

	if (!r) {
		if (errno == ESRCH)
			cmd_error("there is no process %d", (int)pid);
		else
			cmd_error("can't look at process %d: %s", (int)pid,
				  strerror(errno));
		return NULL;
	}
	hmm_set_log(keep_complaint);
	errno = pthread_create(&r->thread, NULL, remote_thread, r);
	if (errno) {
		cmd_error("can't start a thread: %s", strerror(errno));
		free_remote(r);
		return NULL;
	}
	while (!__atomic_load_n(&r->attached, __ATOMIC_ACQUIRE))
		agent_futex_wait(&r->attached, 0, 1000);
	if (!r->error)
		return r;
	cmd_error("%s", r->complaint[0] ? r->complaint : strerror(-r->error));
	remote_stop(r);
	return NULL;
}
