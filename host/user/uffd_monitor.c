// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * uffd_monitor.c - the reader of the userfaultfd, a program of its own
 *
 * The only one that holds the userfaultfd: when this process dies, the kernel
 * lets go every thread that waits for it.  Until then it never waits for the
 * process that it watches, or that one would hang.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uffd_ring.h"

#define MESSAGES 16

static struct uffd_shared *shared;
static struct uffd_monitor_page *page;
static uint32_t wrap_loss;

static void put(uint64_t start, uint64_t end, enum uffd_record_kind kind)
{
	/* Pairs with the release in drain(): those slots have been read. */
	uint32_t tail = __atomic_load_n(&shared->user.tail, __ATOMIC_ACQUIRE);

	/* Waiting for room would be waiting for the process. */
	if (page->head - tail >= UFFD_RECORDS) {
		__atomic_store_n(&page->lost, page->lost + 1, __ATOMIC_RELAXED);
		return;
	}
	shared->ring[page->head % UFFD_RECORDS] = (struct uffd_record){
		.start = start,
		.end = end,
		.kind = kind,
	};
	/* Pairs with the acquire in drain(): the record before its number. */
	__atomic_store_n(&page->head, page->head + 1, __ATOMIC_RELEASE);
}

static void put_message(const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_UNMAP:
		put(msg->arg.remove.start, msg->arg.remove.end,
		    UFFD_RECORD_UNMAP);
		break;
	case UFFD_EVENT_REMOVE:
		put(msg->arg.remove.start, msg->arg.remove.end,
		    UFFD_RECORD_REMOVE);
		break;
	case UFFD_EVENT_REMAP:
		put(msg->arg.remap.from,
		    msg->arg.remap.from + msg->arg.remap.len,
		    UFFD_RECORD_REMAP);
		put(msg->arg.remap.to, msg->arg.remap.to + msg->arg.remap.len,
		    UFFD_RECORD_REMAP);
		break;
	}
}

/*
 * Twice a turn of the counter, say that all is lost; see uffd_ring.h.  If that
 * of half a turn ago has not been seen yet, this one may come too late.
 */
static void wrap(void)
{
	uint32_t seen = __atomic_load_n(&shared->user.lost, __ATOMIC_ACQUIRE);

	if ((int32_t)(seen - wrap_loss) < 0)
		_exit(1);
	wrap_loss = page->lost + 1;
	__atomic_store_n(&page->lost, wrap_loss, __ATOMIC_RELAXED);
}

static void serve_events(void)
{
	struct uffd_msg msg[MESSAGES];
	const uint64_t one = 1;
	uint32_t count;
	ssize_t i, n;

	/*
	 * Before read(), which lets the caller go; see uffd_ring.h.  Pairs with
	 * the acquire in hmm_range_valid().
	 */
	count = __atomic_add_fetch(&page->started.count, 1, __ATOMIC_SEQ_CST);
	n = read(shared->user.uffd, msg, sizeof(msg));
	/* Nothing: the caller was killed.  The count has to be done with. */
	n = n < 0 ? 0 : n / (ssize_t)sizeof(*msg);
	for (i = 0; i < n; i++)
		put_message(&msg[i]);
	if (!(count << 1))
		wrap();
	/* Pairs with the acquire in drain(): all that is counted is there. */
	__atomic_store_n(&page->done, count, __ATOMIC_SEQ_CST);

	/*
	 * Either this sees armed, or the one who armed it sees done, since both
	 * store before they load: no record is left that nobody wakes for.
	 */
	if (__atomic_load_n(&shared->user.armed, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&shared->user.armed, 0, __ATOMIC_SEQ_CST) &&
	    write(shared->user.eventfd, &one, sizeof(one)) < 0)
		_exit(1);
}

static void reply(uint64_t id, int error)
{
	struct uffd_reply message = { .id = id, .error = error };

	/* Without MSG_DONTWAIT a process that asks and never reads stops us. */
	if (send(shared->user.sock, &message, sizeof(message),
		 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		_exit(1);
}

/* False when the process has hung up. */
static bool serve_request(void)
{
	struct uffdio_register arg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffd_request request;
	ssize_t n;

	n = recv(shared->user.sock, &request, sizeof(request), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n != sizeof(request))
		return false;
	/* Nothing is ever protected; it's the one mode that stops no access. */
	arg.range.start = request.start;
	arg.range.len = request.end - request.start;
	reply(request.id,
	      ioctl(shared->user.uffd, UFFDIO_REGISTER, &arg) ? -errno : 0);
	return true;
}

/* Keep nothing of the process's open: not its files, its pipes, its ports. */
static int keep_only(const int *keep, unsigned int nr)
{
	unsigned int from = 0, next, i;

	for (;;) {
		next = ~0u;
		for (i = 0; i < nr; i++)
			if ((unsigned int)keep[i] >= from &&
			    (unsigned int)keep[i] < next)
				next = (unsigned int)keep[i];
		if (next > from && syscall(SYS_close_range, from, next - 1, 0))
			return -errno;
		if (next == ~0u)
			return 0;
		from = next + 1;
	}
}

static int set_up(int fd)
{
	uint32_t tid = (uint32_t)syscall(SYS_gettid);

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (shared == MAP_FAILED)
		return -errno;
	page = &shared->monitor;

	/* Out of the reach of the terminal's signals; don't pin its directory. */
	setsid();
	if (chdir("/"))
		return -errno;
	prctl(PR_SET_NAME, "hmm-uffd");

	/*
	 * A list of one.  Locked, because a process that was killed may not wait
	 * for the page to be swapped in; with no such limit left, rather without.
	 */
	mlock(page, UFFD_PAGE);
	page->robust.list.next = &page->node;
	page->node.next = &page->robust.list;
	page->robust.futex_offset =
		(long)&page->started.owner - (long)&page->node;
	if (syscall(SYS_set_robust_list, &page->robust, sizeof(page->robust)))
		return -errno;
	__atomic_store_n(&page->started.owner, tid, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd fds[3];
	int ret;

	if (argc != 2)
		return 2;
	ret = set_up(atoi(argv[1]));
	if (ret)
		return 1;
	ret = keep_only(&shared->user.uffd, 4);
	reply(0, ret);
	if (ret)
		return 1;

	fds[0] = (struct pollfd){ .fd = shared->user.uffd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = shared->user.sock, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = shared->user.pidfd, .events = POLLIN };
	for (;;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[0].revents)
			serve_events();
		/* A child that it forked may have the socket open: a pidfd. */
		if (fds[2].revents)
			return 0;
		if (fds[1].revents && !serve_request())
			return 0;
	}
}
