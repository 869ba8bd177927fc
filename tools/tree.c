/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* tree.c - the processes that are looked at from outside */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "cmd.h"

#define MS 1000000ull
/* Between two searches; they may not take more than 1 / this of our time. */
#define SEARCH_NS (20 * MS)
#define COST_FACTOR 20
/*
 * How soon a remote notices that its memory is gone, and has told the rest.
 * After that another process has the memory, too.
 */
#define PATIENCE_NS (1000 * MS)

int tree_open(struct tree *tree, const struct collector *c)
{
	*tree = (struct tree){ .remotes.collector = c };
	tree->remotes.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return tree->remotes.wake < 0 ? -errno : 0;
}

void tree_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- Members ---------------------------------------------------------------- */

static bool is_alive(const struct member *m)
{
	struct pollfd pollfd = { .fd = m->pidfd, .events = POLLIN };

	return !poll(&pollfd, 1, 0);
}

struct member *tree_find(struct tree *tree, pid_t pid)
{
	struct member *m;

	for (m = tree->members; m; m = m->next)
		if (m->pid == pid && !m->gone)
			return m;
	return NULL;
}

static struct member *new_member(struct tree *tree, pid_t pid, int pidfd)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->pid = pid;
	m->pidfd = pidfd;
	m->next = tree->members;
	tree->members = m;
	return m;
}

struct member *tree_add(struct tree *tree, pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);
	struct member *m;

	if (pidfd >= 0) {
		m = new_member(tree, pid, pidfd);
		if (m)
			return m;
		close(pidfd);
		errno = ENOMEM;
	}
	/* Of a thread: EINVAL, or ENOENT with newer kernels. */
	if (errno != EINVAL && errno != ENOENT && errno != ESRCH)
		cmd_error("can't look at process %d: %s%s", (int)pid,
			  strerror(errno),
			  errno == EMFILE ? ": raise RLIMIT_NOFILE" : "");
	return NULL;
}

static pid_t parent_of(pid_t pid)
{
	char path[32], line[128];
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (!parent && fgets(line, sizeof(line), f))
		sscanf(line, "PPid: %d", &parent);
	fclose(f);
	return parent;
}

bool tree_shares_memory(pid_t pid)
{
	pid_t parent = parent_of(pid);

	return parent && !syscall(SYS_kcmp, parent, pid, KCMP_VM, 0, 0);
}

void tree_look(struct tree *tree, struct member *m)
{
	const struct remote_target target = {
		.pid = m->pid,
		.pidfd = m->pidfd,
		.again = m->again,
		.traced = m->held,
	};

	m->remote = remote_start(&tree->remotes, &target);
	m->failed = !m->remote;
}

static void note(struct member *m)
{
	if (!m->remote || !remote_ready(m->remote))
		return;
	m->failed = remote_failure(m->remote) != NULL;
	m->again |= !m->failed;
}

void tree_ended(struct member *m)
{
	m->gone = true;
	m->since = collect_now();
	if (m->pidfd >= 0)
		close(m->pidfd);
	m->pidfd = -1;
}

struct member *tree_execute(struct tree *tree, struct member *m)
{
	struct member *next = new_member(tree, m->pid, m->pidfd);

	if (!next) {
		cmd_error("can't look at process %d: %s", (int)m->pid,
			  strerror(ENOMEM));
		tree_ended(m);
		return NULL;
	}
	note(m);
	next->again = m->again;
	m->pidfd = -1;
	tree_ended(m);
	return next;
}

/* ---- Loose members ----------------------------------------------------------- */

static void add_loose(struct tree *tree, pid_t pid)
{
	struct member *m;

	/* It won't be the parent's for long: another search finds it then. */
	if (tree_find(tree, pid) || tree_shares_memory(pid))
		return;
	m = tree_add(tree, pid);
	if (!m)
		return;
	m->loose = true;
	tree_look(tree, m);
}

static void search_children(struct tree *tree, pid_t pid)
{
	struct dirent *entry;
	char path[64];
	DIR *tasks;
	FILE *f;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/children",
			 (int)pid, entry->d_name);
		f = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!f)
			continue;
		while (fscanf(f, "%d", &child) == 1)
			add_loose(tree, child);
		fclose(f);
	}
	if (tasks)
		closedir(tasks);
}

static void search(struct tree *tree)
{
	uint64_t begin = collect_now(), spent = agent_cost(), cost;
	struct member *m;

	for (m = tree->members; m; m = m->next) {
		if (!m->loose || m->gone)
			continue;
		if (!is_alive(m))
			tree_ended(m);
		else if (!m->remote && !m->failed)
			tree_look(tree, m);
		else
			search_children(tree, m->pid);
	}
	cost = (agent_cost() - spent) * COST_FACTOR;
	tree->next_search = begin + (cost > SEARCH_NS ? cost : SEARCH_NS);
}

/* ---- Life ---------------------------------------------------------------------- */

/* Something to be looked after again, at a time? */
static bool is_due(const struct tree *tree, const struct member *m,
		   uint64_t *when)
{
	if (m->gone)
		*when = m->since + PATIENCE_NS;
	else
		*when = tree->next_search;
	return m->gone ? m->remote != NULL : m->loose;
}

static void free_remote(struct member *m)
{
	note(m);
	remote_free(m->remote);
	m->remote = NULL;
}

/* Free what has ended, and is not about to be asked for what it found. */
static void sweep(struct tree *tree)
{
	struct member **link = &tree->members, *m;

	while ((m = *link)) {
		if (m->remote && remote_ended(m->remote) &&
		    (m->gone || !m->held))
			free_remote(m);
		if (!m->gone || m->remote) {
			link = &m->next;
			continue;
		}
		*link = m->next;
		free(m);
	}
}

void tree_woken(struct tree *tree)
{
	eventfd_t count;

	eventfd_read(tree->remotes.wake, &count);
}

int tree_tend(struct tree *tree)
{
	uint64_t now = collect_now(), next = UINT64_MAX, when;
	struct member *m;
	bool loose = false;

	for (m = tree->members; m; m = m->next) {
		loose |= m->loose && !m->gone;
		if (m->gone && m->remote && now >= m->since + PATIENCE_NS)
			remote_leave(m->remote, false);
	}
	if (loose && now >= tree->next_search)
		search(tree);
	sweep(tree);
	for (m = tree->members; m; m = m->next)
		if (is_due(tree, m, &when) && when < next)
			next = when;
	if (next == UINT64_MAX)
		return -1;
	now = collect_now();
	return next > now ? (int)((next - now) / MS) + 1 : 1;
}

/* Is there one that has not told all of a memory that is gone? */
static bool any_ending(const struct tree *tree)
{
	const struct member *m;

	for (m = tree->members; m; m = m->next)
		if (m->gone && m->remote)
			return true;
	return false;
}

void tree_close(struct tree *tree)
{
	struct pollfd pollfd = { .fd = tree->remotes.wake, .events = POLLIN };
	struct member *m;
	int due;

	for (m = tree->members; m; m = m->next) {
		if (!m->gone && !is_alive(m))
			tree_ended(m);
		if (!m->gone && m->remote)
			remote_leave(m->remote, true);
		m->loose = false;
	}
	while (due = tree_tend(tree), any_ending(tree)) {
		poll(&pollfd, 1, due);
		tree_woken(tree);
	}
	while ((m = tree->members)) {
		if (m->remote)
			free_remote(m);
		if (m->pidfd >= 0)
			close(m->pidfd);
		tree->members = m->next;
		free(m);
	}
	close(tree->remotes.wake);
}
