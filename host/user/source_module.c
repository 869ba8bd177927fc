// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_module.c - learn of every change from hmm.ko, through /dev/hmm
 *
 * Starts and ends, of one address space alone, in the order in which they
 * were made: nothing is ever open whose end nobody tells, and no barrier is
 * needed.  What is mapped stays if the descriptor is closed under our feet;
 * only losing records is then the end.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "source_module.h"

#define RING_SIZE (HMM_DEV_RECORDS * sizeof(struct hmm_dev_record))
#define MAP_SIZE (HMM_DEV_RING_OFFSET + RING_SIZE)

struct sink {
	hmm_event_fn fn;
	void *ctx;
};

/* ---- Taking records ----------------------------------------------------- */

static void emit(const struct sink *sink, enum hmm_event_phase phase,
		 uint64_t start, uint64_t end, uint32_t kind)
{
	struct hmm_event event = {
		.start = start & PAGE_MASK,
		.end = end > PAGE_MASK ? ~0ul
				       : (end + PAGE_SIZE - 1) & PAGE_MASK,
		.phase = phase,
		.kind = kind < HMM_CHANGE_KIND_MAX ? kind : HMM_CHANGE_OTHER,
	};

	sink->fn(sink->ctx, &event);
}

static bool begin(struct module_source *s, const struct sink *sink,
		  uint64_t start, uint64_t end, uint32_t kind)
{
	if (s->nr_open == HMM_DEV_CHANGES)
		return false;
	s->open[s->nr_open].start = start;
	s->open[s->nr_open++].end = end;
	emit(sink, HMM_EVENT_START, start, end, kind);
	return true;
}

static void finish(struct module_source *s, const struct sink *sink,
		   unsigned int i)
{
	emit(sink, HMM_EVENT_END, s->open[i].start, s->open[i].end,
	     HMM_CHANGE_OTHER);
	s->open[i] = s->open[--s->nr_open];
}

/* An end whose start is not known is one that was in progress before a sync. */
static void end(struct module_source *s, const struct sink *sink,
		const struct hmm_dev_record *r)
{
	unsigned int i;

	for (i = 0; i < s->nr_open; i++) {
		if (s->open[i].start != r->start || s->open[i].end != r->end)
			continue;
		finish(s, sink, i);
		return;
	}
}

/* Know where things are now.  -EAGAIN: more is in progress than fits. */
static int look(struct module_source *s)
{
	struct hmm_dev_sync sync;
	unsigned int i;

	if (ioctl(s->src.event_fd, HMM_DEV_SYNC, &sync))
		return -errno;
	if (sync.unlisted)
		return -EAGAIN;
	for (i = 0; i < sync.nr; i++) {
		s->open[i].start = sync.change[i].start;
		s->open[i].end = sync.change[i].end;
	}
	s->nr_open = sync.nr;
	s->announced = false;
	s->taken = sync.head;
	s->consumed = sync.started;
	return 0;
}

/* Hand on what look() found in progress. */
static void announce(struct module_source *s, const struct sink *sink)
{
	unsigned int i;

	for (i = 0; i < s->nr_open; i++)
		emit(sink, HMM_EVENT_START, s->open[i].start, s->open[i].end,
		     HMM_CHANGE_OTHER);
	s->announced = true;
}

/*
 * Records are lost: begin anew.  If that can't be yet, nothing is consumed.
 * The ends may come first: among so many records are starts that are counted,
 * so that nobody can arm a range before all of this has been handed on.
 */
static int resync(struct module_source *s, const struct sink *sink)
{
	int ret;

	while (s->nr_open)
		finish(s, sink, 0);
	ret = look(s);
	if (ret)
		return ret == -EAGAIN ? 0 : ret;
	emit(sink, HMM_EVENT_PAST, 0, ~0ull, HMM_CHANGE_LOST);
	announce(s, sink);
	return 0;
}

/* The next record; false if it has been written over. */
static bool take(struct module_source *s, struct hmm_dev_record *record)
{
	*record = s->ring[s->taken % HMM_DEV_RECORDS];
	/* Copied before head is looked at: pairs with the writer's barrier. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&s->shared->head, __ATOMIC_RELAXED) - s->taken <
	       HMM_DEV_RECORDS;
}

static int module_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
			uint64_t *consumed)
{
	struct module_source *s = to_module(src);
	const struct sink sink = { fn, ctx };
	uint64_t head;
	bool dead;
	int ret = 0;

	if (__atomic_load_n(&s->shared->readable, __ATOMIC_RELAXED))
		ioctl(src->event_fd, HMM_DEV_CLEAR);
	/* In this order: once it is dead, that is all there will be. */
	dead = __atomic_load_n(&s->shared->dead, __ATOMIC_ACQUIRE);
	/* Pairs with the release after the record was written. */
	head = __atomic_load_n(&s->shared->head, __ATOMIC_ACQUIRE);
	if (!s->announced)
		announce(s, &sink);
	while (!ret && (int64_t)(head - s->taken) > 0) {
		struct hmm_dev_record r;

		if (!take(s, &r) ||
		    (!r.ends && !begin(s, &sink, r.start, r.end, r.kind))) {
			ret = resync(s, &sink);
			break;
		}
		if (r.ends)
			end(s, &sink, &r);
		else
			s->consumed++;
		s->taken++;
	}
	*consumed = s->consumed;
	src->position = s->taken;
	return dead ? -ESRCH : ret;
}

/* Its ring must not lap us: in a hurry always. */
static bool module_arm(struct hmm_source *src, bool soon)
{
	(void)soon;
	/* A descriptor that was closed wakes nobody: look again, and again. */
	return !ioctl(src->event_fd, HMM_DEV_ARM, &to_module(src)->taken);
}

/* ---- Changes that wait -------------------------------------------------- */

static void module_told(struct hmm_source *src, uint64_t position)
{
	struct module_source *s = to_module(src);

	if (s->over)
		return;
	if (!s->holds)
		ioctl(src->event_fd, HMM_DEV_HOLD, HMM_RANGE_DEFAULT_TIMEOUT);
	s->holds = true;
	ioctl(src->event_fd, HMM_DEV_ACK, position);
}

static void module_pause(struct hmm_source *src)
{
	to_module(src)->holds = false;
	ioctl(src->event_fd, HMM_DEV_HOLD, 0);
}

static void module_let_go(struct hmm_source *src)
{
	to_module(src)->over = true;
	module_pause(src);
}

/* Is one allowed to?  Nobody acts on a change yet, so none shall wait. */
static int try_hold(struct module_source *s, char *why, size_t size)
{
	int ret = 0;

	if (ioctl(s->src.event_fd, HMM_DEV_HOLD, HMM_RANGE_DEFAULT_TIMEOUT))
		ret = -errno;
	ioctl(s->src.event_fd, HMM_DEV_HOLD, 0);
	if (ret == -EPERM)
		snprintf(why, size,
			 "changes wait for root only, as hmm.ko was loaded "
			 "with unprivileged_hold=0");
	else if (ret)
		snprintf(why, size, "/dev/hmm: HMM_DEV_HOLD: %s",
			 strerror(-ret));
	return ret;
}

/* ---- Life --------------------------------------------------------------- */

static int module_attach_to(struct hmm_source **srcp,
			    const struct hmm_attach_to *to, char *why,
			    size_t size)
{
	struct module_source *s = calloc(1, sizeof(*s));
	void *map;
	int ret;

	if (!s)
		return -ENOMEM;
	s->src.ops = &hmm_source_module;
	s->src.mechanism = "hmm.ko, by /dev/hmm";
	s->src.waits = to->wait;
	ret = module_open(s, to->pidfd, why, size);
	if (ret)
		goto out;
	map = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, s->src.event_fd, 0);
	if (map == MAP_FAILED) {
		ret = -errno;
		snprintf(why, size, "/dev/hmm: mmap: %s", strerror(errno));
		goto out_device;
	}
	s->shared = map;
	s->ring = (const void *)((const char *)map + HMM_DEV_RING_OFFSET);
	if (s->shared->version != HMM_DEV_VERSION) {
		ret = -EPROTO;
		snprintf(why, size,
			 "/dev/hmm speaks version %u, this library %u: install "
			 "both from one source",
			 s->shared->version, HMM_DEV_VERSION);
		goto out_map;
	}
	ret = look(s);
	if (ret) {
		snprintf(why, size, "/dev/hmm: %s%s", strerror(-ret),
			 ret == -EAGAIN ? ": too many threads change memory at "
					  "this moment; try again"
					: "");
		goto out_map;
	}
	ret = to->wait ? try_hold(s, why, size) : 0;
	if (ret)
		goto out_map;
	s->src.position = s->taken;
	s->src.started = (const uint64_t *)&s->shared->started;
	s->src.late = (const uint64_t *)&s->shared->late;
	s->src.pfns_virtual = s->shared->pfns_virtual;
	*srcp = &s->src;
	return 0;

out_map:
	munmap(map, MAP_SIZE);
out_device:
	module_close(s);
out:
	free(s);
	return ret;
}

static int module_attach(struct hmm_source **srcp, char *why, size_t size)
{
	const struct hmm_attach_to self = { 0 };

	return module_attach_to(srcp, &self, why, size);
}

static void module_detach(struct hmm_source *src)
{
	struct module_source *s = to_module(src);

	munmap((void *)s->shared, MAP_SIZE);
	module_close(s);
	free(s);
}

/* The counter stays readable, but it is not the parent's any more. */
static void module_forked(struct hmm_source *src)
{
	struct module_source *s = to_module(src);

	module_close(s);
	/* If it fails the parent's pages stay, which nobody looks at. */
	(void)mmap((void *)s->shared, MAP_SIZE, PROT_READ,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

const struct hmm_source_ops hmm_source_module = {
	.name = "module",
	.misses = "",
	.level = 2,
	.attach = module_attach,
	.attach_to = module_attach_to,
	.detach = module_detach,
	.forked = module_forked,
	.drain = module_drain,
	.arm = module_arm,
	.told = module_told,
	.pause = module_pause,
	.let_go = module_let_go,
	.vma = module_vma,
	.read = module_read,
	.fault = module_fault,
};
