/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* collect.c - make the session, and read it while the agents write */
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t collect_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

int collect_open(struct collector *c)
{
	char path[32];
	int ret;

	c->fd = memfd_create("hmm-session", MFD_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->fd);
	c->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (c->lock_fd < 0)
		goto out;
	/* As large as it may ever be: only what is written takes memory. */
	if (ftruncate(c->fd, SESSION_BYTES))
		goto out_lock;
	c->header = mmap(NULL, sizeof(*c->header), PROT_READ | PROT_WRITE,
			 MAP_SHARED, c->fd, 0);
	if (c->header == MAP_FAILED)
		goto out_lock;
	c->samples = calloc(COLLECT_SAMPLES, sizeof(*c->samples));
	if (!c->samples)
		goto out_unmap;
	if (getrandom(&c->header->id, sizeof(c->header->id), 0) < 0)
		c->header->id = collect_now();
	c->header->magic = SESSION_MAGIC;
	c->start_ns = collect_now();
	c->sample_every = 1;
	return 0;

out_unmap:
	munmap(c->header, sizeof(*c->header));
out_lock:
	close(c->lock_fd);
out:
	ret = -errno;
	close(c->fd);
	return ret;
}

static void free_process(struct process *process)
{
	space_free(process->space);
	munmap(process->slot, sizeof(*process->slot));
	free(process);
}

void collect_close(struct collector *c)
{
	struct process *process;
	int i;

	while ((process = c->live)) {
		c->live = process->next;
		free_process(process);
	}
	for (i = 0; i < COLLECT_SPACES; i++)
		space_free(c->spaces[i]);
	free(c->samples);
	munmap(c->header, sizeof(*c->header));
	close(c->lock_fd);
	close(c->fd);
}

const char *process_name(const struct process *process)
{
	return process->slot->comm;
}

/* ---- Sums --------------------------------------------------------------- */

static void add_hist(struct dmirror_hist *sum, const struct dmirror_hist *hist)
{
	int i;

	for (i = 0; i < DMIRROR_HIST_BUCKETS; i++)
		sum->bucket[i] += hist->bucket[i];
	if (hist->max > sum->max)
		sum->max = hist->max;
}

static void add_device(struct dmirror_stats *sum, const struct dmirror_stats *s,
		       bool running)
{
	int i;

	for (i = 0; i < DMIRROR_OP_MAX; i++) {
		sum->op[i].ops += s->op[i].ops;
		sum->op[i].bytes += s->op[i].bytes;
		sum->op[i].errors += s->op[i].errors;
	}
	sum->accesses += s->accesses;
	sum->hits += s->hits;
	sum->misses += s->misses;
	sum->faults += s->faults;
	sum->fault_errors += s->fault_errors;
	sum->faulted_pages += s->faulted_pages;
	sum->retries_busy += s->retries_busy;
	sum->retries_valid += s->retries_valid;
	sum->invalidated_pages += s->invalidated_pages;
	sum->verified += s->verified;
	sum->verify_presence += s->verify_presence;
	sum->undecided += s->undecided;
	sum->refused += s->refused;
	if (running)
		sum->mapped_bytes += s->mapped_bytes;
	sum->mapped_peak += s->mapped_peak;
	add_hist(&sum->wait, &s->wait);
	add_hist(&sum->fault, &s->fault);
}

static void add_mirrored(struct totals *sum, const struct session_slot *slot,
			 bool running)
{
	uint64_t stale = slot->device.stale;
	int i;

	if (slot->again)
		sum->executed++;
	else
		sum->mirrored++;
	if (!sum->source[0]) {
		memcpy(sum->source, slot->source, sizeof(sum->source));
		memcpy(sum->mechanism, slot->mechanism, sizeof(sum->mechanism));
		memcpy(sum->misses, slot->misses, sizeof(sum->misses));
		sum->level = slot->level;
	} else if (strcmp(sum->source, slot->source)) {
		sum->mixed = true;
	}
	sum->running += running;
	sum->pfns_virtual |= slot->pfns_virtual;
	sum->forks += slot->forks;
	/* The event comes at once, the counter with the next copy. */
	sum->stale += slot->stale_events > stale ? slot->stale_events : stale;
	sum->dropped += slot->dropped;
	sum->barriers += slot->barriers;
	for (i = 0; i < HMM_CHANGE_KIND_MAX; i++) {
		sum->changes[i] += slot->changes[i];
		sum->invalidations[i] += slot->invalidations[i];
	}
	sum->effective += slot->effective;
	sum->foreign += slot->foreign;
	add_device(&sum->device, &slot->device, running);
}

static void add_slot(struct totals *sum, const struct session_slot *slot,
		     bool running)
{
	if (slot->remark[0] && !sum->remarks++)
		memcpy(sum->remark, slot->remark, sizeof(sum->remark));
	switch (slot->state) {
	case SESSION_CLAIMED:
		sum->too_short += !running;
		break;
	case SESSION_FAILED:
		if (!sum->failed++)
			snprintf(sum->reason, sizeof(sum->reason), "%s",
				 slot->reason[0] ? slot->reason
						 : strerror(-slot->error));
		break;
	case SESSION_LIVE:
	case SESSION_DONE:
		add_mirrored(sum, slot, running);
		break;
	}
}

void collect_totals(const struct collector *c, struct totals *totals)
{
	uint32_t claimed =
		__atomic_load_n(&c->header->claimed, __ATOMIC_RELAXED);
	const struct process *process;

	*totals = c->ended;
	for (process = c->live; process; process = process->next)
		add_slot(totals, process->slot, true);
	if (claimed > SESSION_SLOTS)
		totals->left_out = claimed - SESSION_SLOTS;
}

/* ---- One slot ----------------------------------------------------------- */

static void take_event(struct process *process,
		       const struct session_event *event)
{
	struct collector *c = process->collector;

	if (event->type == SESSION_WAIT && event->ns > c->longest_wait)
		c->longest_wait = event->ns;
	if (process->space)
		space_add_event(process->space, event);
	if (c->on_event)
		c->on_event(c->ctx, process, event);
}

/* An entry that its writer was killed in never completes: last skips it. */
static void take_events(struct process *process, bool last)
{
	struct session_slot *slot = process->slot;
	uint64_t head = __atomic_load_n(&slot->head, __ATOMIC_RELAXED);
	struct session_event *entry, event;
	uint64_t tail = slot->tail;

	for (; tail != head; tail++) {
		entry = &slot->events[tail % SESSION_EVENTS];
		/* Pairs with the writer's release. */
		if (__atomic_load_n(&entry->seq, __ATOMIC_ACQUIRE) ==
		    tail + 1) {
			event = *entry;
			take_event(process, &event);
		} else if (!last) {
			break;
		}
	}
	/* Pairs with the writers' acquire. */
	__atomic_store_n(&slot->tail, tail, __ATOMIC_RELEASE);
}

/* Torn by a new table: half of it is the old one, which was true as well. */
static void take_vmas(struct process *process)
{
	struct session_slot *slot = process->slot;
	uint32_t seq = __atomic_load_n(&slot->vma_seq, __ATOMIC_ACQUIRE);
	uint32_t nr = slot->nr_vmas;
	uint32_t i;

	if (!process->space || seq == process->vma_seq || seq % 2)
		return;
	if (nr > SESSION_VMAS)
		nr = SESSION_VMAS;
	for (i = 0; i < nr; i++)
		space_add_vma(process->space, &slot->vmas[i]);
	process->vma_seq = seq;
}

static bool is_locked(struct collector *c, uint32_t index)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = SESSION_LOCK + index,
		.l_len = 1,
	};

	return !fcntl(c->fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* Between claiming its slot and locking it, an agent has only its pid. */
static bool has_ended(struct process *process)
{
	switch (__atomic_load_n(&process->slot->state, __ATOMIC_ACQUIRE)) {
	case SESSION_CLAIMED:
		return !is_locked(process->collector, process->index) &&
		       kill(process->slot->pid, 0) && errno == ESRCH;
	case SESSION_LIVE:
		return !is_locked(process->collector, process->index);
	case SESSION_DONE:
	case SESSION_FAILED:
		return true;
	}
	return false;
}

/* Keep the busiest. */
static void keep_space(struct collector *c, struct process *process)
{
	struct space **least = &c->spaces[0], *space = process->space;
	int i;

	if (!space || !space->activity)
		return;
	for (i = 0; i < COLLECT_SPACES && *least; i++)
		if (!c->spaces[i] ||
		    c->spaces[i]->activity < (*least)->activity)
			least = &c->spaces[i];
	if (*least && (*least)->activity >= space->activity)
		return;
	space_free(*least);
	*least = space;
	process->space = NULL;
}

static void end_process(struct process *process, bool running)
{
	struct collector *c = process->collector;

	take_vmas(process);
	take_events(process, true);
	add_slot(&c->ended, process->slot, running);
	keep_space(c, process);
	if (!running)
		fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (process->index + 1l) * SESSION_SLOT_BYTES,
			  SESSION_SLOT_BYTES);
	free_process(process);
}

static struct process *begin_process(struct collector *c, uint32_t index)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	process->collector = c;
	process->index = index;
	process->slot =
		mmap(NULL, sizeof(*process->slot), PROT_READ | PROT_WRITE,
		     MAP_SHARED, c->fd, (index + 1l) * SESSION_SLOT_BYTES);
	if (process->slot == MAP_FAILED) {
		free(process);
		return NULL;
	}
	process->next = c->live;
	c->live = process;
	return process;
}

static void take_sample(struct collector *c)
{
	struct totals totals;
	struct sample *sample;
	unsigned int i;

	if (c->sample_skip++ % c->sample_every)
		return;
	if (c->nr_samples == COLLECT_SAMPLES) {
		for (i = 0; i < COLLECT_SAMPLES / 2; i++)
			c->samples[i] = c->samples[2 * i];
		c->nr_samples = COLLECT_SAMPLES / 2;
		c->sample_every *= 2;
	}
	collect_totals(c, &totals);
	sample = &c->samples[c->nr_samples++];
	sample->time = collect_now() - c->start_ns;
	memcpy(sample->invalidations, totals.invalidations,
	       sizeof(sample->invalidations));
	sample->faults = totals.device.faults;
	sample->bytes = 0;
	for (i = 0; i < DMIRROR_OP_MAX; i++)
		sample->bytes += totals.device.op[i].bytes;
	sample->mapped = totals.device.mapped_bytes;
	sample->longest_wait = c->longest_wait;
	c->longest_wait = 0;
}

void collect_poll(struct collector *c, bool last)
{
	uint32_t claimed =
		__atomic_load_n(&c->header->claimed, __ATOMIC_RELAXED);
	struct process **link, *process;
	bool ended;

	while (c->next_slot < claimed && c->next_slot < SESSION_SLOTS &&
	       begin_process(c, c->next_slot))
		c->next_slot++;
	for (link = &c->live; (process = *link);) {
		/* First: what it wrote before it ended is to be taken then. */
		ended = has_ended(process);
		if (c->want_spaces && !process->space && process->slot->pid)
			process->space = space_new(process->slot->pid,
						   process->slot->comm);
		if (ended || last) {
			*link = process->next;
			end_process(process,
				    !ended && is_locked(c, process->index));
			continue;
		}
		take_vmas(process);
		take_events(process, false);
		link = &process->next;
	}
	take_sample(c);
}
