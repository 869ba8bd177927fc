/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * agent_device.c - keep the device busy on the program's memory
 *
 * The device reads what the program has in its page table: what was just
 * invalidated first, then writable memory, then the rest.  It never makes the
 * kernel page in what the program did not, and it writes only a buffer of the
 * agent's; from outside, where there is none, it only reads.  Bursts with pauses
 * leave the processors to the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"

#define PAGE_BYTES 4096ul
#define PM_PRESENT (1ull << 63)

#define BURST_NS 2000000ull
#define PAUSE_MS 6
#define ACCESS_BYTES (64ul << 10) /* most of one command */
#define LOOK_PAGES 512u           /* pagemap entries read at once */
#define LOOK_TRIES 16             /* over holes, for one command */
#define VERIFY_PAGES 256u         /* each burst */
#define VERIFY_LAST_PAGES 8192u   /* when the program exits */
#define NR_RECENT 64u
#define MAX_BATCH 16u

struct range {
	unsigned long start, end;
};

/* A walk round all writable vmas, or round all others. */
struct cursor {
	bool writable;
	unsigned long addr;
};

struct device {
	struct agent *agent;
	struct dmirror *dm;
	struct agent_vmas vmas;
	struct cursor hot, cold;
	int pagemap;
	unsigned int batch;
	unsigned int turn;
	unsigned char *buffer;  /* what the device may write */
	unsigned char *landing; /* READ's, not in the device's reach */

	/* What was invalidated lately; the watcher thread adds to it. */
	pthread_mutex_t lock;
	struct range recent[NR_RECENT];
	unsigned int nr_recent;
};

/* ---- What the device tells ---------------------------------------------- */

static void remember(struct device *dev, unsigned long start, unsigned long end)
{
	pthread_mutex_lock(&dev->lock);
	if (dev->nr_recent == NR_RECENT)
		dev->nr_recent = 0;
	dev->recent[dev->nr_recent++] = (struct range){ start, end };
	pthread_mutex_unlock(&dev->lock);
}

/* In the library's watcher thread alone.  False if it was not of this mm. */
static bool count_change(struct device *dev, const struct dmirror_event *event)
{
	struct session_slot *slot = dev->agent->slot;

	if (!event->pages &&
	    !agent_vmas_near(dev->agent, event->start, event->end)) {
		slot->foreign++;
		return false;
	}
	slot->invalidations[event->kind]++;
	if (event->pages)
		slot->effective++;
	if (event->end - event->start <= 16 * ACCESS_BYTES)
		remember(dev, event->start, event->end);
	return true;
}

static void on_event(void *ctx, const struct dmirror_event *event)
{
	static const uint16_t types[] = {
		[DMIRROR_EVENT_FAULT] = SESSION_FAULT,
		[DMIRROR_EVENT_WAIT] = SESSION_WAIT,
		[DMIRROR_EVENT_INVALIDATE] = SESSION_CHANGE,
		[DMIRROR_EVENT_STALE] = SESSION_STALE,
	};
	struct device *dev = ctx;
	struct session_event out = {
		.time = event->time,
		.start = event->start,
		.end = event->end,
		.ns = event->ns,
		.type = types[event->type],
		.kind = event->kind,
		.pages = event->pages,
	};

	if (event->type == DMIRROR_EVENT_STALE)
		__atomic_fetch_add(&dev->agent->slot->stale_events, 1,
				   __ATOMIC_RELAXED);
	if (event->type == DMIRROR_EVENT_INVALIDATE &&
	    !count_change(dev, event))
		return;
	agent_event(dev->agent, &out);
}

/* ---- What to access ----------------------------------------------------- */

static bool is_wanted(const struct cursor *cursor, const struct agent_vma *vma)
{
	return vma->readable && !vma->ours && vma->writable == cursor->writable;
}

/* The first wanted vma that ends above the cursor, from the start at the end. */
static const struct agent_vma *next_vma(struct device *dev,
					struct cursor *cursor)
{
	unsigned int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < dev->vmas.nr; i++) {
			if (dev->vmas.vma[i].end <= cursor->addr ||
			    !is_wanted(cursor, &dev->vmas.vma[i]))
				continue;
			if (cursor->addr < dev->vmas.vma[i].start)
				cursor->addr = dev->vmas.vma[i].start;
			return &dev->vmas.vma[i];
		}
		cursor->addr = 0;
	}
	return NULL;
}

/* The first present pages of [start, end), at most what one command takes. */
static bool find_present(struct device *dev, unsigned long start,
			 unsigned long end, struct range *found)
{
	uint64_t entries[LOOK_PAGES];
	size_t nr = (end - start) / PAGE_BYTES;
	size_t first, last;
	ssize_t size;

	if (nr > LOOK_PAGES)
		nr = LOOK_PAGES;
	size = pread(dev->pagemap, entries, nr * 8, start / PAGE_BYTES * 8);
	if (size < 8)
		return false;
	nr = size / 8;
	for (first = 0; first < nr && !(entries[first] & PM_PRESENT); first++)
		;
	if (first == nr)
		return false;
	for (last = first; last < nr && entries[last] & PM_PRESENT &&
			   (last - first) * PAGE_BYTES < ACCESS_BYTES;
	     last++)
		;
	found->start = start + first * PAGE_BYTES;
	found->end = start + last * PAGE_BYTES;
	return true;
}

static bool scan(struct device *dev, struct cursor *cursor, struct range *found)
{
	const struct agent_vma *vma;
	int tries;

	for (tries = 0; tries < LOOK_TRIES; tries++) {
		vma = next_vma(dev, cursor);
		if (!vma)
			return false;
		if (find_present(dev, cursor->addr, vma->end, found)) {
			cursor->addr = found->end;
			return true;
		}
		cursor->addr += LOOK_PAGES * PAGE_BYTES;
		if (cursor->addr > vma->end)
			cursor->addr = vma->end;
	}
	return false;
}

static bool take_recent(struct device *dev, struct range *range)
{
	bool found;

	pthread_mutex_lock(&dev->lock);
	found = dev->nr_recent;
	if (found)
		*range = dev->recent[--dev->nr_recent];
	pthread_mutex_unlock(&dev->lock);
	return found;
}

static bool choose(struct device *dev, struct range *range)
{
	struct range recent;

	if (dev->turn % 2 && take_recent(dev, &recent) &&
	    find_present(dev, recent.start, recent.end, range))
		return true;
	if (dev->turn % 4 == 0 && scan(dev, &dev->cold, range))
		return true;
	return scan(dev, &dev->hot, range) || scan(dev, &dev->cold, range);
}

/* Mostly loads; in turn all that a device does, where that is ours to change. */
static bool make_op(struct device *dev, unsigned int nth, struct dmirror_op *op)
{
	unsigned long ours = (unsigned long)dev->buffer + nth * ACCESS_BYTES;
	struct range range;

	dev->turn++;
	if (!choose(dev, &range))
		return false;
	*op = (struct dmirror_op){
		.type = DMIRROR_CHECKSUM,
		.addr = range.start,
		.len = range.end - range.start,
	};
	if (dev->agent->pid && dev->turn % 16 != 3)
		return true;
	switch (dev->turn % 16) {
	case 3:
		op->type = DMIRROR_READ;
		op->buf = dev->landing + nth * ACCESS_BYTES;
		break;
	case 6:
		op->type = DMIRROR_COPY;
		op->dst = ours;
		break;
	case 9:
		op->type = DMIRROR_WRITE;
		op->buf = dev->landing + nth * ACCESS_BYTES;
		op->addr = ours;
		break;
	case 12:
		op->type = DMIRROR_FILL;
		op->value = dev->turn;
		op->addr = ours;
		break;
	case 15:
		op->type = DMIRROR_ADD;
		op->value = 1;
		op->addr = ours;
		op->len = 8;
		break;
	}
	return true;
}

/* ---- The work ----------------------------------------------------------- */

static void report_access(struct device *dev, const struct dmirror_op *op)
{
	struct session_event event = {
		.time = agent_now(),
		.start = op->addr,
		.end = op->addr + op->len,
		.type = SESSION_ACCESS,
	};

	agent_event(dev->agent, &event);
}

/* False if there is nothing to do. */
static bool run_batch(struct device *dev)
{
	struct dmirror_op ops[MAX_BATCH];
	unsigned int nr, i;

	for (nr = 0; nr < dev->batch && make_op(dev, nr, &ops[nr]); nr++)
		if (dmirror_submit(dev->dm, &ops[nr]))
			break;
	for (i = 0; i < nr; i++)
		if (!dmirror_wait(dev->dm, &ops[i]))
			report_access(dev, &ops[i]);
	return nr;
}

static void verify(struct device *dev, unsigned long pages)
{
	if (dev->agent->header->verify)
		dmirror_verify(dev->dm, pages);
}

static void publish(struct device *dev)
{
	dmirror_stats(dev->dm, &dev->agent->slot->device);
	agent_publish_mm(dev->agent);
}

static void *make_buffer(unsigned int batch)
{
	void *buffer = mmap(NULL, batch * ACCESS_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return buffer == MAP_FAILED ? NULL : buffer;
}

static void work(struct device *dev)
{
	struct agent *agent = dev->agent;
	uint64_t deadline;

	agent_vmas_refresh(agent, &dev->vmas);
	agent_ready(agent);
	while (!agent_stopping(agent)) {
		agent_vmas_refresh(agent, &dev->vmas);
		deadline = agent_now() + BURST_NS;
		while (agent_now() < deadline && !agent_stopping(agent) &&
		       run_batch(dev))
			;
		verify(dev, VERIFY_PAGES);
		publish(dev);
		agent_sleep(agent, PAUSE_MS);
	}
	verify(dev, VERIFY_LAST_PAGES);
	publish(dev);
}

static int start(struct device *dev)
{
	struct agent *agent = dev->agent;
	struct dmirror_opts opts = {
		.engines = agent->header->engines,
		.pid = agent->pid,
		.verify = agent->header->verify,
		.event = on_event,
		.event_ctx = dev,
	};
	char path[32];
	int ret;

	dev->batch = opts.engines * 2;
	if (dev->batch > MAX_BATCH)
		dev->batch = MAX_BATCH;
	dev->pagemap = open(agent_proc(agent, "pagemap", path, sizeof(path)),
			    O_RDONLY | O_CLOEXEC);
	if (dev->pagemap < 0)
		return -errno;
	dev->buffer = make_buffer(dev->batch);
	dev->landing = make_buffer(dev->batch);
	if (!dev->buffer || !dev->landing)
		return -ENOMEM;
	do
		ret = dmirror_create(&dev->dm, agent->mm, &opts);
	while (agent_again(agent, ret));
	return ret;
}

static void free_device(struct device *dev)
{
	/* A callback that does not return may still look at it. */
	if (dmirror_destroy(dev->dm))
		return;
	if (dev->buffer)
		munmap(dev->buffer, dev->batch * ACCESS_BYTES);
	if (dev->landing)
		munmap(dev->landing, dev->batch * ACCESS_BYTES);
	if (dev->pagemap >= 0)
		close(dev->pagemap);
	free(dev->vmas.vma);
	free(dev);
}

int agent_run_device(struct agent *agent)
{
	struct device *dev = calloc(1, sizeof(*dev));
	int ret;

	if (!dev)
		return -ENOMEM;
	dev->hot.writable = true;
	dev->agent = agent;
	pthread_mutex_init(&dev->lock, NULL);
	ret = start(dev);
	if (!ret)
		work(dev);
	/* Inside it goes with the process: to stop it makes exit() slower. */
	if (agent->pid)
		free_device(dev);
	return ret;
}
