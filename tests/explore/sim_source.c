// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * sim_source.c - a source with a counter, a small ring and a barrier, and the
 * kernel that feeds it
 */
#include "host_user.h"
#include "source.h"

/* ---- The kernel's side ----------------------------------------------------- */

static void put_record(unsigned int id, bool end)
{
	struct sim_ring *r = &world.ring;

	if (r->nr == r->size) {
		r->lost++;
		r->lost_ends += end;
		return;
	}
	r->record[r->nr].change = (uint8_t)id;
	r->record[r->nr].end = end;
	r->nr++;
}

/* Who has armed it is woken, once; a source without arm wakes at each. */
static void write_record(unsigned int id, bool end)
{
	struct sim_ring *r = &world.ring;
	bool wake = !r->arms;

	if (r->arms) {
		sched_point("load armed", &r->armed);
		wake = r->armed;
		r->armed = false;
	}
	sched_point("write the record", &r->nr);
	put_record(id, end);
	r->wakes |= wake;
}

static void count(unsigned int id)
{
	struct sim_ring *r = &world.ring;

	sched_point("count the change", &r->started);
	world.change[id].ticket = r->started++;
	oracle_started(id);
	r->owed++;
	write_record(id, false);
	r->owed--;
}

unsigned int source_begin(unsigned int first, unsigned int end)
{
	unsigned int id = oracle_announce(first, end);
	struct sim_change *change = &world.change[id];
	struct sim_ring *r = &world.ring;

	/* What the barrier waits for; see the hole in docs/design.md. */
	change->barred = true;
	change->foreign = r->foreign;
	change->tells_end = r->tells_ends;
	change->task = (uint8_t)(sched_self() + 1);
	count(id);
	return id;
}

void source_end(unsigned int id, enum change_what what)
{
	struct sim_change *change = &world.change[id];
	struct sim_ring *r = &world.ring;

	sim_change_pages(id, what);
	oracle_changed(id);
	if (change->tells_end) {
		sched_point("count the end", &r->ended);
		r->ended++;
		r->owed++;
		write_record(id, true);
		r->owed--;
	}
	sched_point("the change ends", change);
	change->barred = false;
	oracle_over(id);
}

void source_change(unsigned int first, unsigned int end, enum change_what what)
{
	source_end(source_begin(first, end), what);
}

bool ring_polls_readable(void)
{
	return world.ring.wakes;
}

bool ring_owes_record(void)
{
	return world.ring.owed && !world.ring.nr;
}

/* ---- The library's side ---------------------------------------------------- */

static void take_ticket(unsigned int ticket)
{
	struct sim_ring *r = &world.ring;

	if (ticket < r->next)
		return;
	r->ahead |= 1u << ticket;
	while (r->ahead & 1u << r->next)
		r->next++;
}

static struct hmm_event event_of(unsigned int id, bool end)
{
	const struct sim_change *change = &world.change[id];

	return (struct hmm_event){
		.start = SIM_ADDR(change->first),
		.end = SIM_ADDR(change->end),
		.owner = change->foreign ? 0 : change->task,
		.phase = end                 ? HMM_EVENT_END
			 : change->tells_end ? HMM_EVENT_START
					     : HMM_EVENT_OPEN,
		.kind = HMM_CHANGE_UNMAP,
	};
}

/* Their ends may be among what was lost. */
static void end_all(hmm_event_fn fn, void *ctx)
{
	unsigned int id;

	for (id = 1; id <= world.changes; id++) {
		struct hmm_event event = event_of(id, true);

		if (!world.change[id].handed_on)
			continue;
		world.change[id].handed_on = false;
		fn(ctx, &event);
	}
}

static int sim_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		     uint64_t *consumed)
{
	static const struct hmm_event all = {
		.end = ~0ul,
		.phase = HMM_EVENT_OPEN,
		.kind = HMM_CHANGE_LOST,
	};
	struct sim_ring *r = &world.ring;
	unsigned int lost, n;

	(void)src;
	sched_point("load lost", &r->lost);
	if (r->fails && sched_choose(2, "the source fails"))
		return -EIO;
	lost = r->lost;
	sched_point("load the ring's end", &r->nr);
	for (n = r->nr; n; n--) {
		unsigned int id = r->record[0].change;
		bool end = r->record[0].end;
		struct hmm_event event = event_of(id, end);
		unsigned int i;

		sched_point("take a record", r);
		/* Another start, equal to one that was lost, is still to end. */
		if (!end || world.change[id].handed_on)
			fn(ctx, &event);
		world.change[id].handed_on = !end;
		for (i = 1; i < r->nr; i++)
			r->record[i - 1] = r->record[i];
		r->nr--;
		if (end)
			r->ends_taken++;
		else
			take_ticket((unsigned int)world.change[id].ticket);
	}
	if (lost != r->lost_seen) {
		r->lost_seen = lost;
		sched_point("load started", &r->started);
		r->next = (unsigned int)r->started;
		fn(ctx, &all);
		if (world.ring.tells_ends)
			end_all(fn, ctx);
	}
	/* A descriptor is readable as long as there is something to take. */
	r->wakes = r->nr || (!r->arms && r->lost != r->lost_seen);
	*consumed = r->next;
	return 0;
}

static bool sim_arm(struct hmm_source *src, bool soon)
{
	struct sim_ring *r = &world.ring;

	(void)src;
	sched_point("store armed", &r->armed);
	if (!soon) {
		r->armed = false;
		return true;
	}
	r->armed = true;
	sched_point("load started and ended", &r->started);
	return r->started == r->next &&
	       r->ended == r->ends_taken + r->lost_ends;
}

static bool none_barred(void *arg)
{
	unsigned int i, before = *(unsigned int *)arg;

	for (i = 1; i <= before; i++)
		if (world.change[i].barred)
			return false;
	return true;
}

static int sim_barrier(struct hmm_source *src, char *why, size_t size)
{
	unsigned int before;

	(void)src;
	(void)why;
	(void)size;
	sched_point("begin the barrier", &world.ring);
	if (sched_choose(2, "the barrier fails"))
		return -EMFILE;
	before = world.changes;
	world.flag[1] = 1;
	if (!none_barred(&before))
		sched_block("the barrier waits for changes", &world.ring,
			    none_barred, &before);
	return 0;
}

static struct hmm_source source;

static int sim_attach(struct hmm_source **srcp, char *why, size_t size)
{
	(void)why;
	(void)size;
	world.ring.size = SIM_RING - 1;
	source.ops = &hmm_source_kvm;
	source.started = &world.ring.started;
	source.event_fd = SIM_EVENT_FD;
	*srcp = &source;
	return 0;
}

static void sim_detach(struct hmm_source *src)
{
	(void)src;
	world.ring.detached = true;
}

const struct hmm_source_ops hmm_source_kvm = {
	.name = "simulated",
	.misses = "",
	.level = 2,
	.attach = sim_attach,
	.detach = sim_detach,
	.forked = sim_detach,
	.drain = sim_drain,
	.arm = sim_arm,
	.barrier = sim_barrier,
};

static int no_attach(struct hmm_source **srcp, char *why, size_t size)
{
	(void)srcp;
	(void)why;
	(void)size;
	return -ENOTSUP;
}

const struct hmm_source_ops hmm_source_module = {
	.name = "none",
	.attach = no_attach,
};

const struct hmm_source_ops hmm_source_uffd = {
	.name = "none",
	.attach = no_attach,
};
