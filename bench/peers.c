// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * peers.c - map, touch and unmap, watched by us and by others
 *
 * UCX patches libc's functions (its package libucx-dev, if there at build
 * time).  libfabric's default monitor is a userfaultfd that a thread of the
 * same process reads.  It starts with the first registration cache, which only
 * the providers for some hardware make (efa, verbs, cxi), and its interface
 * does not offer otherwise: so what it asks of the kernel is done here.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "setup.h"

#if __has_include(<ucm/api/ucm.h>)
#include <ucm/api/ucm.h>
#define HAVE_UCX
#endif

#define PIECE 16
#define SIZE (PIECE * BENCH_PAGE)

struct peer {
	struct mm_struct *mm;
	struct hmm_range range;
	uint64_t pfns[PIECE];
	int uffd;
};

/* Watch [p, p + SIZE), as far as that has to be asked for. */
static void subscribe(struct peer *peer, char *p)
{
	struct uffdio_register reg = {
		.range = { (unsigned long)p, SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	unsigned long start = (unsigned long)p;

	if (peer->uffd >= 0)
		ioctl(peer->uffd, UFFDIO_REGISTER, &reg);
	if (!peer->mm)
		return;
	range_init(&peer->range, peer->pfns);
	hmm_range_register(&peer->range, peer->mm, start, start + SIZE);
	range_snapshot(&peer->range, peer->mm);
}

static uint64_t map_and_unmap(void *ctx, unsigned int n)
{
	struct peer *peer = ctx;
	uint64_t begin, ns = 0;
	unsigned int i;
	char *p;

	for (i = 0; i < n; i++) {
		begin = bench_now();
		p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		touch(p, PIECE);
		ns += bench_now() - begin;
		subscribe(peer, p);
		begin = bench_now();
		munmap(p, SIZE);
		ns += bench_now() - begin;
		if (peer->mm)
			hmm_range_unregister(&peer->range);
	}
	return ns;
}

static struct peer *new_peer(void)
{
	static struct peer peer;

	peer.uffd = -1;
	return &peer;
}

static void *bare(const void *arg, char *why, size_t size)
{
	(void)arg;
	(void)why;
	(void)size;
	return new_peer();
}

/* The kernel's part of our source kvm: its notifier, and nobody who listens. */
static void *vm(const void *arg, char *why, size_t size)
{
	(void)arg;
	if (bench_vm())
		return new_peer();
	snprintf(why, size, "no KVM here");
	return NULL;
}

static void *ours(const void *source, char *why, size_t size)
{
	struct peer *peer = new_peer();

	peer->mm = bench_attach(source, why, size);
	return peer->mm ? peer : NULL;
}

#ifdef HAVE_UCX
static void unmapped(ucm_event_type_t type, ucm_event_t *event, void *arg)
{
	(void)type;
	(void)event;
	(void)arg;
}
#endif

static void *ucx(const void *arg, char *why, size_t size)
{
#ifdef HAVE_UCX
	ucs_status_t (*set)(int, int, ucm_event_callback_t, void *) = NULL;
	/* libucm uses libucs without saying so. */
	void *lib = dlopen("libucs.so.0", RTLD_NOW | RTLD_GLOBAL);

	if (lib)
		lib = dlopen("libucm.so.0", RTLD_NOW | RTLD_GLOBAL);

	if (lib)
		*(void **)&set = dlsym(lib, "ucm_set_event_handler");
	if (set && set(UCM_EVENT_VM_UNMAPPED, 0, unmapped, NULL) == UCS_OK)
		return new_peer();
	snprintf(why, size, "libucm does not work here");
#else
	snprintf(why, size, "libucx-dev was not there at build time");
#endif
	(void)arg;
	return NULL;
}

static void *read_events(void *arg)
{
	struct peer *peer = arg;
	struct pollfd fd = { .fd = peer->uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (poll(&fd, 1, -1) >= 0)
		while (read(peer->uffd, &msg, sizeof(msg)) == sizeof(msg))
			;
	return NULL;
}

static void *uffd_thread(const void *arg, char *why, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_UNMAP |
					      UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE };
	struct peer *peer = new_peer();
	pthread_t thread;

	(void)arg;
	peer->uffd = (int)syscall(SYS_userfaultfd,
				  O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (peer->uffd >= 0 && !ioctl(peer->uffd, UFFDIO_API, &api) &&
	    !pthread_create(&thread, NULL, read_events, peer))
		return peer;
	snprintf(why, size, "no userfaultfd here");
	return NULL;
}

void bench_peers(void)
{
	static const bench_fn ops[] = { map_and_unmap };
	static const struct {
		const char *name;
		bench_setup_fn setup;
		const char *source;
	} arms[] = {
		{ "our kvm", ours, "kvm" },
		{ "a KVM VM, nobody listens", vm, NULL },
		{ "our uffd", ours, "uffd" },
		{ "UCX's hooks", ucx, NULL },
		{ "a uffd thread, like libfabric's", uffd_thread, NULL },
	};
	struct bench_arm floor, arm;
	unsigned int i;
	char name[64];

	if (!bench_arm_start(&floor, bare, NULL, ops))
		return;
	for (i = 0; i < sizeof(arms) / sizeof(*arms); i++) {
		struct bench_line *line;

		snprintf(name, sizeof(name), "map+unmap: %s", arms[i].name);
		line = bench_line(name, "bare");
		if (!bench_arm_start(&arm, arms[i].setup, arms[i].source,
				     ops)) {
			bench_skip(line, "%s", arm.why);
			continue;
		}
		bench_pair(line, &(struct bench_side){ bench_arm_run, &arm, 0 },
			   &(struct bench_side){ bench_arm_run, &floor, 0 });
		bench_arm_stop(&arm);
	}
	bench_arm_stop(&floor);
}
