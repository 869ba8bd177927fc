/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* agent.c - the agent's life: from the constructor to the program's exit */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT_NICE 10
#define AGENT_STACK (512 << 10)
/* How long exit() waits for the last counters; it takes some ms. */
#define EXIT_PATIENCE_MS 1000

static struct agent agent = { .spans.lock = PTHREAD_MUTEX_INITIALIZER };
static char session_path[64];
static uint64_t session_id;
static uint32_t slot_index;
static int lock_fd; /* in the agent's own descriptor table */
static pid_t owner; /* 0: nothing runs here, as in a fork's child */
static uint32_t finished;

/* The program's stderr is not ours: the last complaint is the reason. */
static void keep_reason(enum hmm_log_level level, const char *line)
{
	if (level > HMM_LOG_WARN)
		return;
	snprintf(agent.slot->reason, sizeof(agent.slot->reason), "%s", line);
}

/* ---- The agent's thread ------------------------------------------------- */

/*
 * From here on this thread and those that it starts have descriptors of their
 * own.  The first three are taken, because a message of some library to its
 * stderr would else go into whatever has got that number.
 */
static int leave_descriptors(void)
{
	int fd;

	if (close_range(0, ~0u, CLOSE_RANGE_UNSHARE))
		return -errno;
	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = memfd_create("hmm-null", MFD_CLOEXEC);
	} while (fd >= 0 && fd < 2);
	return fd < 0 ? -errno : 0;
}

/* See session.h.  The lock lasts as long as this thread's descriptors. */
static int lock_slot(void)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = SESSION_LOCK + slot_index,
		.l_len = 1,
	};

	lock_fd = open(session_path, O_RDWR | O_CLOEXEC);
	if (lock_fd < 0 || fcntl(lock_fd, F_OFD_SETLK, &lock))
		return -errno;
	return 0;
}

static int host(void)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts) };
	int ret;

	ret = leave_descriptors();
	if (ret)
		return ret;
	ret = lock_slot();
	if (ret)
		return ret;
	hmm_set_log(keep_reason);
	opts.private_files = true;
	if (agent.header->source[0])
		opts.source = agent.header->source;
	do
		ret = hmm_mm_attach(&agent.mm, &opts);
	while (agent_again(&agent, ret));
	if (ret)
		return ret;
	agent_describe_mm(&agent);
	/* Only now: who notifies the library must not wait for its turn. */
	setpriority(PRIO_PROCESS, gettid(), AGENT_NICE);
	return agent_run(&agent);
}

static void *agent_thread(void *unused)
{
	int ret;

	prctl(PR_SET_NAME, "hmm-agent");
	ret = host();
	agent.slot->error = ret;
	agent_set_state(&agent, ret ? SESSION_FAILED : SESSION_DONE);
	agent_futex_set(&finished);
	return unused;
}

/* ---- In the program's own threads ---------------------------------------- */

static void fork_parent(void)
{
	if (owner)
		__atomic_fetch_add(&agent.slot->forks, 1, __ATOMIC_RELAXED);
}

static void fork_child(void)
{
	owner = 0;
}

/* The session's file, if it is the one that the environment means. */
static int open_session(void)
{
	const char *env = getenv(SESSION_ENV);
	const char *colon = env ? strrchr(env, ':') : NULL;
	size_t len;

	if (!colon)
		return -1;
	len = colon - env;
	if (len >= sizeof(session_path))
		return -1;
	memcpy(session_path, env, len);
	session_id = strtoull(colon + 1, NULL, 16);
	return open(session_path, O_RDWR | O_CLOEXEC);
}

static bool map_session(int fd)
{
	struct session_header *header;
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != SESSION_BYTES)
		return false;
	header = mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (header == MAP_FAILED)
		return false;
	if (header->magic != SESSION_MAGIC || header->id != session_id)
		goto out;
	slot_index = __atomic_fetch_add(&header->claimed, 1, __ATOMIC_RELAXED);
	if (slot_index >= SESSION_SLOTS)
		goto out;
	agent.slot =
		mmap(NULL, sizeof(*agent.slot), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, (slot_index + 1l) * SESSION_SLOT_BYTES);
	if (agent.slot == MAP_FAILED)
		goto out;
	agent.header = header;
	return true;
out:
	munmap(header, sizeof(*header));
	return false;
}

static int start_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, AGENT_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	/* Ours is the mask that the library's and the device's threads get. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&thread, &attr, agent_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -ret;
}

__attribute__((constructor)) static void agent_begin(void)
{
	int fd = open_session();
	bool ok;

	if (fd < 0)
		return;
	ok = map_session(fd);
	close(fd);
	if (!ok)
		return;
	owner = getpid();
	agent.slot->pid = owner;
	prctl(PR_GET_NAME, agent.slot->comm);
	agent.slot->start_ns = agent_now();
	agent.slot->end_ns = agent.slot->start_ns;
	agent_set_state(&agent, SESSION_CLAIMED);
	/*
	 * Before the library's own: it shall find owner as it should be, and
	 * handlers run in this order in the child.
	 */
	pthread_atfork(NULL, fork_parent, fork_child);
	agent.slot->error = start_thread();
	if (agent.slot->error)
		agent_set_state(&agent, SESSION_FAILED);
}

/*
 * exit(), in order.  A program that ends otherwise leaves in its slot what was
 * last published there.
 */
__attribute__((destructor)) static void agent_end(void)
{
	uint64_t deadline;

	/* Nor is it worth to wait for a mirror that is only being made. */
	if (owner != getpid() || agent.slot->state != SESSION_LIVE)
		return;
	agent_futex_set(&agent.stop);
	deadline = agent_now() + EXIT_PATIENCE_MS * 1000000ull;
	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE) &&
	       agent_now() < deadline)
		agent_futex_wait(&finished, 0, EXIT_PATIENCE_MS);
}
