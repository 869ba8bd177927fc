// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_uffd.c - changes as a userfaultfd tells them, to an ordinary user
 *
 * A userfaultfd in write-protect mode, with nothing protected, has the kernel
 * make munmap(), mremap() and discarding madvise() calls wait until a record of
 * them has been read.  uffd_monitor.c reads them, in a process of its own; see
 * uffd_ring.h for what we share with it.
 *
 * The monitor is the only one that holds the userfaultfd, from the beginning:
 * its process creates it when it still shares our memory but no longer our
 * files.  With a copy anywhere else, in a child that another thread forks say,
 * the death of the monitor would not let waiting threads go.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr_set.h"
#include "line.h"
#include "madvise_wait.h"
#include "own_fd.h"
#include "source.h"
#include "uffd_ring.h"
#include "uffd_spawn.h"
#include "watched.h"

/* Long enough for a machine that is busy, short enough for a person. */
#define MONITOR_TIMEOUT_MS 10000
#define BARRIER_TIMEOUT_MS 500
#define COVER_TRIES 3

/*
 * A piece of a vma that is watched by itself makes two vmas more, of which a
 * process may have vm.max_map_count (65,530), and the application needs most of
 * them.  When there are this many pieces, or a sixteenth of what there may be,
 * what is near is watched with the next.
 */
#define PIECES 4096
#define NEAR (2ul << 20)

struct uffd_source {
	struct hmm_source src;
	struct uffd_shared *shared;
	uint32_t owner; /* what the monitor's half of the counter must be */
	uint32_t lost;  /* losses that were handed out */
	/* Each only where it is still ours; monitor is a pidfd. */
	struct hmm_own_fd events, sock, eventfd, monitor, pagemap;
	unsigned int max_pieces;
	bool said_busy, said_full;

	pthread_mutex_t request_lock; /* one request at a time on sock */
	uint64_t requests;            /* the id of the last one */
	pthread_mutex_t lock;         /* below; a leaf */
	struct hmm_discards discards; /* not known to be over */
	struct addr_set covered;      /* mapped and watched, see uffd_cover() */
	uint64_t unmaps;              /* changes those */
	uint64_t taken; /* the counter up to which both are true */
};

static struct uffd_source *uffd_of(struct hmm_source *src)
{
	return (struct uffd_source *)src;
}

/* ---- Attach ------------------------------------------------------------- */

static void reap(int pidfd)
{
	siginfo_t info;

	/* Ours only if we are the reaper of orphans; otherwise this fails. */
	waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
}

/* Ours is read-only but for our page: a stray write can't forge a record. */
static int map_shared(struct uffd_shared **sharedp)
{
	struct uffd_shared *shared;
	int fd, ret;

	fd = memfd_create("hmm-uffd-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*shared)))
		goto out_errno;
	fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
	shared = mmap(NULL, sizeof(*shared), PROT_READ, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		goto out_errno;
	if (mprotect(&shared->user, UFFD_PAGE, PROT_READ | PROT_WRITE)) {
		ret = -errno;
		munmap(shared, sizeof(*shared));
		close(fd);
		return ret;
	}
	*sharedp = shared;
	return fd;
out_errno:
	ret = -errno;
	close(fd);
	return ret;
}

static int make_event_fd(struct uffd_source *u)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd, ret;

	ret = hmm_own_fd_set(&u->events, epoll_create1(EPOLL_CLOEXEC));
	if (ret)
		return ret;
	fd = u->events.fd;
	/* Its death has to wake who listens, too. */
	if (epoll_ctl(fd, EPOLL_CTL_ADD, u->eventfd.fd, &event) ||
	    epoll_ctl(fd, EPOLL_CTL_ADD, u->monitor.fd, &event)) {
		ret = -errno;
		hmm_own_fd_close(&u->events);
		return ret;
	}
	u->src.event_fd = fd;
	return 0;
}

/*
 * The monitor's answer to request id; -EPIPE if it is dead.  Answers to earlier
 * ones may be there, if reading them failed.
 */
static int receive(struct uffd_source *u, uint64_t id, int timeout_ms)
{
	struct pollfd fds[2] = {
		{ .fd = u->sock.fd, .events = POLLIN },
		{ .fd = u->monitor.fd, .events = POLLIN },
	};
	struct uffd_reply reply;
	ssize_t n;
	int ret;

	/*
	 * Not its end of the socket alone, of which a child that was forked
	 * meanwhile may have a copy, but its life.
	 */
	do {
		do
			ret = poll(fds, 2, timeout_ms);
		while (ret < 0 && errno == EINTR);
		if (ret < 0)
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
		do
			n = recv(u->sock.fd, &reply, sizeof(reply),
				 MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		/* Woken by its death, with nothing there: -EAGAIN. */
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n != sizeof(reply))
			return -EPIPE;
	} while (reply.id != id);
	return reply.error;
}

/* Make it go, and be sure that it has: what it holds is released after. */
static void stop_monitor(struct uffd_source *u)
{
	struct pollfd fd = { .fd = u->monitor.fd, .events = POLLIN };

	if (hmm_own_fd_valid(&u->sock))
		shutdown(u->sock.fd, SHUT_RDWR);
	/* Without the former it was closed, which the monitor sees as well. */
	if (!hmm_own_fd_valid(&u->monitor))
		return;
	while (poll(&fd, 1, MONITOR_TIMEOUT_MS) < 0 && errno == EINTR)
		;
	if (!fd.revents) {
		syscall(SYS_pidfd_send_signal, u->monitor.fd, SIGKILL, NULL, 0);
		while (poll(&fd, 1, MONITOR_TIMEOUT_MS) < 0 && errno == EINTR)
			;
	}
	reap(u->monitor.fd);
}

static int start_monitor(struct uffd_source *u, int ring, char *why,
			 size_t size)
{
	struct uffd_user_page *user = &u->shared->user;
	struct hmm_uffd_spawned spawned;
	int socks[2], held, ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return -errno;
	ret = hmm_own_fd_set(&u->sock, socks[0]);
	if (ret)
		goto out;
	user->sock = socks[1];
	user->eventfd = u->eventfd.fd;
	user->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (user->pidfd < 0) {
		ret = -errno;
		goto out;
	}
	user->armed = 1;
	ret = hmm_uffd_spawn(user, ring, &spawned, why, size);
	close(user->pidfd);
	/* If it can't be held it leaves when its socket is closed. */
	held = hmm_own_fd_set(&u->monitor, spawned.monitor);
	if (!ret)
		ret = held;
	if (!ret) {
		ret = receive(u, 0, MONITOR_TIMEOUT_MS);
		if (ret)
			snprintf(why, size,
				 "the monitor process did not get ready (%s)",
				 strerror(-ret));
	}
	u->src.mechanism = spawned.files
				   ? "userfaultfd, read by a monitor process"
				   : "userfaultfd, read by a monitor process; "
				     "before Linux 6.7: not for files";
	if (ret && u->monitor.fd >= 0) {
		stop_monitor(u);
		hmm_own_fd_close(&u->monitor);
	}
out:
	close(socks[1]);
	if (ret)
		hmm_own_fd_close(&u->sock);
	return ret;
}

static unsigned int max_pieces(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned int max = 0;
	char line[32];

	if (!f)
		return PIECES;
	if (fgets(line, sizeof(line), f))
		sscanf(line, "%u", &max);
	fclose(f);
	return max && max / 16 < PIECES ? max / 16 : PIECES;
}

static int attach(struct hmm_source **srcp, char *why, size_t size)
{
	struct uffd_source *u;
	int ring, ret;

	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	pthread_mutex_init(&u->request_lock, NULL);
	pthread_mutex_init(&u->lock, NULL);
	ring = map_shared(&u->shared);
	if (ring < 0) {
		ret = ring;
		goto out_source;
	}
	u->monitor = HMM_NO_FD;
	ret = hmm_own_fd_set(&u->eventfd,
			     eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (ret)
		goto out_shared;
	ret = start_monitor(u, ring, why, size);
	if (ret)
		goto out_eventfd;
	ret = make_event_fd(u);
	if (ret)
		goto out_monitor;
	close(ring);

	u->owner = __atomic_load_n(&u->shared->monitor.started.owner,
				   __ATOMIC_ACQUIRE);
	u->max_pieces = max_pieces();
	u->src.ops = &hmm_source_uffd;
	u->src.started = &u->shared->monitor.started.word;
	u->taken = (uint64_t)u->owner << 32;
	/* -1 leaves the lesser way. */
	hmm_own_fd_set(&u->pagemap,
		       open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC));
	*srcp = &u->src;
	return 0;

out_monitor:
	stop_monitor(u);
	hmm_own_fd_close(&u->monitor);
	hmm_own_fd_close(&u->sock);
out_eventfd:
	hmm_own_fd_close(&u->eventfd);
out_shared:
	close(ring);
	munmap(u->shared, sizeof(*u->shared));
out_source:
	free(u);
	if (!*why && (ret == -EMFILE || ret == -EFBIG))
		snprintf(why, size, "%s: raise %s", strerror(-ret),
			 ret == -EMFILE ? "RLIMIT_NOFILE" : "RLIMIT_FSIZE");
	return ret;
}

/*
 * Memory files are files, and who makes one larger than RLIMIT_FSIZE is not only
 * told so but sent a signal that kills.
 */
static int uffd_attach(struct hmm_source **srcp, char *why, size_t size)
{
	const struct timespec now = { 0 };
	sigset_t too_large, pending, old;
	int ret;

	sigemptyset(&too_large);
	sigaddset(&too_large, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &too_large, &old);
	sigpending(&pending);
	ret = attach(srcp, why, size);
	/* If one was there it is the application's, and there is no second. */
	if (ret == -EFBIG && !sigismember(&pending, SIGXFSZ))
		sigtimedwait(&too_large, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

static void close_all(struct uffd_source *u)
{
	hmm_own_fd_close(&u->events);
	hmm_own_fd_close(&u->monitor);
	hmm_own_fd_close(&u->sock);
	hmm_own_fd_close(&u->eventfd);
	hmm_own_fd_close(&u->pagemap);
}

/*
 * The monitor sees no hang-up: the parent's end is still open.  The counter
 * stays readable for ranges of the parent's, and should be its no more.  The
 * nodes of covered stay allocated, as nothing may be freed here.
 */
static void uffd_forked(struct hmm_source *src)
{
	struct uffd_source *u = uffd_of(src);

	close_all(u);
	(void)mmap(u->shared, sizeof(*u->shared), PROT_READ,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* What it watches nobody else can. */
static void uffd_quit(struct hmm_source *src)
{
	stop_monitor(uffd_of(src));
}

static void uffd_detach(struct hmm_source *src)
{
	struct uffd_source *u = uffd_of(src);

	stop_monitor(u);
	addr_set_free(&u->covered);
	close_all(u);
	munmap(u->shared, sizeof(*u->shared));
	free(u);
}

/* ---- Records ------------------------------------------------------------ */

static void take(struct uffd_source *u, const struct uffd_record *record,
		 hmm_event_fn fn, void *ctx)
{
	static const struct {
		enum hmm_event_phase phase;
		enum hmm_change_kind kind;
	} as[] = {
		[UFFD_RECORD_UNMAP] = { HMM_EVENT_PAST, HMM_CHANGE_UNMAP },
		[UFFD_RECORD_REMAP] = { HMM_EVENT_PAST, HMM_CHANGE_REMAP },
		[UFFD_RECORD_REMOVE] = { HMM_EVENT_OPEN, HMM_CHANGE_DISCARD },
	};
	struct hmm_event event = {
		.start = record->start,
		.end = record->end,
		.phase = as[record->kind].phase,
		.kind = as[record->kind].kind,
	};

	pthread_mutex_lock(&u->lock);
	if (event.phase == HMM_EVENT_OPEN) {
		hmm_discards_add(&u->discards, event.start, event.end);
	} else {
		addr_set_remove(&u->covered, event.start, event.end);
		u->unmaps++;
	}
	pthread_mutex_unlock(&u->lock);
	fn(ctx, &event);
}

static void take_loss(struct uffd_source *u, hmm_event_fn fn, void *ctx)
{
	const struct hmm_event event = {
		.start = 0,
		.end = ~0ul,
		/* A discard may be among them. */
		.phase = HMM_EVENT_OPEN,
		.kind = HMM_CHANGE_LOST,
	};

	pthread_mutex_lock(&u->lock);
	hmm_discards_add(&u->discards, 0, ~0ul);
	addr_set_remove(&u->covered, 0, ~0ul);
	u->unmaps++;
	pthread_mutex_unlock(&u->lock);
	fn(ctx, &event);
}

/* Ask to be woken for the next record.  False if there is one already. */
static bool arm(struct uffd_source *u, uint32_t done)
{
	struct uffd_user_page *user = &u->shared->user;
	uint64_t wakes;

	if (__atomic_load_n(&user->armed, __ATOMIC_RELAXED))
		return true;
	/* Disarmed, but the wake-up is not there yet: it will be. */
	if (!hmm_own_fd_valid(&u->eventfd) ||
	    read(u->eventfd.fd, &wakes, sizeof(wakes)) < 0)
		return true;
	/* Pairs with the monitor, which stores done and then looks at armed. */
	__atomic_store_n(&user->armed, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&u->shared->monitor.done, __ATOMIC_SEQ_CST) ==
	       done;
}

static int uffd_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		      uint64_t *consumed)
{
	struct uffd_source *u = uffd_of(src);
	const struct uffd_monitor_page *page = &u->shared->monitor;
	struct uffd_user_page *user = &u->shared->user;
	uint32_t done, head, lost, tail = user->tail;

	do {
		/* Pairs with serve_events(): all that done counts is there. */
		done = __atomic_load_n(&page->done, __ATOMIC_SEQ_CST);
		lost = __atomic_load_n(&page->lost, __ATOMIC_RELAXED);
		head = __atomic_load_n(&page->head, __ATOMIC_ACQUIRE);
		while (tail != head)
			take(u, &u->shared->ring[tail++ % UFFD_RECORDS], fn,
			     ctx);
		/* Pairs with put(): the slots may be used again. */
		__atomic_store_n(&user->tail, tail, __ATOMIC_RELEASE);
		if (lost != u->lost) {
			take_loss(u, fn, ctx);
			u->lost = lost;
			__atomic_store_n(&user->lost, lost, __ATOMIC_RELEASE);
		}
	} while (!arm(u, done));

	*consumed = (uint64_t)u->owner << 32 | done;
	/* Pairs with is_covered(): what was unmapped is not there any more. */
	__atomic_store_n(&u->taken, *consumed, __ATOMIC_RELEASE);
	if (__atomic_load_n(&page->started.owner, __ATOMIC_ACQUIRE) != u->owner)
		return -EPIPE;
	return 0;
}

/* ---- Barrier ------------------------------------------------------------ */

static int uffd_barrier(struct hmm_source *src, char *why, size_t size)
{
	struct uffd_source *u = uffd_of(src);
	struct hmm_discards discards;
	unsigned int i;
	int ret;

	pthread_mutex_lock(&u->lock);
	discards = u->discards;
	u->discards.nr = 0;
	pthread_mutex_unlock(&u->lock);

	ret = hmm_madvise_wait(&discards, BARRIER_TIMEOUT_MS, why, size);
	if (!ret)
		return 0;
	pthread_mutex_lock(&u->lock);
	for (i = 0; i < discards.nr; i++)
		hmm_discards_add(&u->discards, discards.range[i].start,
				 discards.range[i].end);
	pthread_mutex_unlock(&u->lock);
	return ret;
}

/* ---- Cover -------------------------------------------------------------- */

static int request(struct uffd_source *u, unsigned long start,
		   unsigned long end)
{
	struct uffd_request message = { .start = start, .end = end };
	ssize_t n;
	int ret;

	pthread_mutex_lock(&u->request_lock);
	message.id = ++u->requests;
	if (!hmm_own_fd_valid(&u->sock)) {
		ret = -EBADF;
		goto out;
	}
	do
		n = send(u->sock.fd, &message, sizeof(message), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		ret = -errno;
	else
		ret = receive(u, message.id, -1);
out:
	pthread_mutex_unlock(&u->request_lock);
	return ret;
}

/* What smaps says about a vma. */
struct smap {
	unsigned long start, end, page_size;
};

/* The next vma of an open smaps; false at the end. */
static bool next_smap(FILE *smaps, struct smap *s)
{
	char line[HMM_LINE];
	unsigned long kb;

	*s = (struct smap){ 0 };
	while (hmm_next_line(smaps, line)) {
		if (!s->end) {
			sscanf(line, "%lx-%lx ", &s->start, &s->end);
		} else if (sscanf(line, "KernelPageSize: %lu", &kb) == 1) {
			s->page_size = kb << 10;
			return true;
		}
	}
	return false;
}

/*
 * The kernel takes all of a range or nothing, and huge pages only as a whole.
 * So one vma after the other: all that is there must be watched.
 */
static int cover_vmas(struct uffd_source *u, unsigned long start,
		      unsigned long end)
{
	FILE *smaps = fopen("/proc/thread-self/smaps", "re");
	struct smap s;
	int ret = 0;

	if (!smaps)
		return -errno;
	while (!ret && next_smap(smaps, &s)) {
		unsigned long from = s.start > start ? s.start : start;
		unsigned long to = s.end < end ? s.end : end;
		unsigned long mask = s.page_size ? s.page_size - 1 : 0;

		if (s.start >= end)
			break;
		if (from >= to)
			continue;
		ret = request(u, from & ~mask, (to + mask) & ~mask);
	}
	/* An end that is none would leave the rest unwatched. */
	if (!ret && ferror(smaps))
		ret = -EIO;
	fclose(smaps);
	return ret;
}

/* The kernel said no: because it went away, or because it can't be watched? */
static int cover_again(struct uffd_source *u, unsigned long start,
		       unsigned long end)
{
	int ret, tries = COVER_TRIES;

	do {
		ret = cover_vmas(u, start, end);
	} while ((ret == -EINVAL || ret == -EPERM) && --tries);
	if (tries)
		return ret;
	pr_debug("hmm: userfaultfd can't watch some memory at %lx-%lx\n", start,
		 end);
	return -EOPNOTSUPP;
}

/* Each said once as a warning: drivers try again and again. */
static enum hmm_log_level first(bool *said)
{
	return __atomic_exchange_n(said, true, __ATOMIC_RELAXED) ? HMM_LOG_DEBUG
								 : HMM_LOG_WARN;
}

static int watch(struct uffd_source *u, unsigned long start, unsigned long end,
		 bool near)
{
	int ret;

	/* Something there may be of a kind that can't be watched. */
	if (near &&
	    !request(u, start & ~(NEAR - 1), (end + NEAR - 1) & ~(NEAR - 1)))
		return 0;
	ret = request(u, start, end);
	if (ret == -EINVAL || ret == -EPERM)
		ret = cover_again(u, start, end);
	if (ret == -EBUSY) {
		hmm_log(first(&u->said_busy),
			"hmm: another userfaultfd of this process watches some "
			"memory in %lx-%lx already; a vma can have only one\n",
			start, end);
		ret = -EOPNOTSUPP;
	}
	if (ret == -ENOMEM)
		hmm_log(first(&u->said_full),
			"hmm: no memory to watch %lx-%lx, or too many vmas: "
			"raise the sysctl vm.max_map_count, or register larger "
			"ranges\n",
			start, end);
	return ret;
}

/* Mapped and watched now?  Without PAGEMAP_SCAN: mapped now? */
static bool all_watched(struct uffd_source *u, unsigned long start,
			unsigned long end)
{
	int ret = hmm_watched(u->pagemap.fd, start, end);

	return ret >= 0 ? ret : !msync((void *)start, end - start, MS_ASYNC);
}

/* Watched for all we know, and we know all that was counted. */
static bool is_covered(const struct uffd_source *u, unsigned long start,
		       unsigned long end)
{
	/* In this order; pairs with uffd_drain(). */
	uint64_t taken = __atomic_load_n(&u->taken, __ATOMIC_ACQUIRE);
	uint64_t now = __atomic_load_n(u->src.started, __ATOMIC_ACQUIRE);

	return taken == now && addr_set_contains(&u->covered, start, end);
}

/*
 * What was covered once, whole, stays so until a record of UNMAP or REMAP says
 * otherwise; then what is mapped there now is not watched.  So it is worth
 * knowing.  An unmapping that happens after unmaps was read will be taken later
 * than that: either before what is learnt here is noted, which then is not, or
 * after, and takes it back.
 *
 * To ask for it is not enough: the kernel passes over holes, and they can be
 * filled without a record.  Only memory that was seen watched from one end to
 * the other can't be replaced without one.
 */
static int uffd_cover(struct hmm_source *src, unsigned long start,
		      unsigned long end)
{
	struct uffd_source *u = uffd_of(src);
	struct hmm_interval *node;
	uint64_t unmaps;
	bool known, near;
	int ret;

	pthread_mutex_lock(&u->lock);
	known = is_covered(u, start, end);
	near = u->covered.nr >= u->max_pieces;
	unmaps = u->unmaps;
	pthread_mutex_unlock(&u->lock);
	if (known)
		return 0;

	ret = watch(u, start, end, near);
	if (ret)
		return ret;
	if (!all_watched(u, start, end))
		return -EBUSY;

	node = malloc(sizeof(*node));
	pthread_mutex_lock(&u->lock);
	if (node && addr_set_give(&u->covered, node))
		node = NULL;
	if (unmaps == u->unmaps)
		addr_set_add(&u->covered, start, end);
	pthread_mutex_unlock(&u->lock);
	free(node);
	return 0;
}

const struct hmm_source_ops hmm_source_uffd = {
	.name = "uffd",
	.misses =
		"mprotect, copy on write, write-back, swap-out and other "
		"reclaim (after MADV_FREE, too), migration, page merging and "
		"huge-page collapse; truncation and hole "
		"punching of files; shmdt, and shmat over existing memory; "
		"when discards by a vfork child end. Unmapping and moving are "
		"seen before the call returns, not before it begins",
	.level = 1,
	.attach = uffd_attach,
	.detach = uffd_detach,
	.quit = uffd_quit,
	.forked = uffd_forked,
	.drain = uffd_drain,
	.barrier = uffd_barrier,
	.cover = uffd_cover,
};
