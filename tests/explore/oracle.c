// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * oracle.c - what is true, and what must hold at every step
 *
 * It knows the true page table, every change from before its start until after
 * its end, and what each task has read.  The letters are those of the
 * guarantees in docs/design.md.
 */
#include "sim.h"

#define MSG_STALE \
	"A: valid() is true, and page %u has changed since it was read"
#define MSG_BUSY "A: valid() is true, and a change of page %u is in progress"

static unsigned int page_of(unsigned long addr)
{
	return (unsigned int)((addr - SIM_BASE) >> PAGE_SHIFT);
}

/* Setup and end have a slot, too. */
static unsigned int task(void)
{
	return sched_self() < 0 ? FIBERS : (unsigned int)sched_self();
}

/* ---- The life of a change ------------------------------------------------ */

unsigned int oracle_announce(unsigned int first, unsigned int end)
{
	unsigned int i, id = ++world.changes;

	if (id == SIM_CHANGES)
		sched_fail("the simulation is out of changes");
	world.change[id].first = first;
	world.change[id].end = end;
	for (i = first; i < end; i++) {
		world.page[i].announced++;
		world.page[i].in_flight++;
	}
	return id;
}

void oracle_started(unsigned int id)
{
	unsigned int i;

	for (i = world.change[id].first; i < world.change[id].end; i++) {
		world.page[i].started++;
		world.page[i].active++;
	}
}

void oracle_told(unsigned int id)
{
	world.change[id].told = true;
}

void oracle_changed(unsigned int id)
{
	unsigned int i;

	for (i = world.change[id].first; i < world.change[id].end; i++)
		world.page[i].active--;
}

void oracle_over(unsigned int id)
{
	unsigned int i;

	world.change[id].over = true;
	for (i = world.change[id].first; i < world.change[id].end; i++)
		world.page[i].in_flight--;
}

void oracle_dead(void)
{
	world.oracle.dead = true;
}

/* ---- What a task reads and is answered ----------------------------------- */

void oracle_read(unsigned int page)
{
	world.oracle.read[task()][page] = world.page[page].started;
}

/* No overlapping change is anywhere between announced and over. */
static bool quiet(const struct hmm_range *range)
{
	unsigned int i;

	for (i = page_of(range->start); i < page_of(range->end); i++)
		if (world.page[i].in_flight)
			return false;
	return true;
}

/* None was announced since the last snapshot began. */
static bool undisturbed(const struct hmm_range *range)
{
	const uint16_t *armed = world.oracle.armed[task()];
	unsigned int i;

	for (i = page_of(range->start); i < page_of(range->end); i++)
		if (world.page[i].announced != armed[i])
			return false;
	return true;
}

long oracle_snapshot(struct hmm_range *range, bool fault, bool block)
{
	bool dead = world.oracle.dead, calm = quiet(range);
	unsigned int i;
	long ret;

	/* What is under way may disturb without being announced again. */
	for (i = page_of(range->start); i < page_of(range->end); i++)
		world.oracle.armed[task()][i] =
			(uint16_t)(world.page[i].announced - !calm);
	ret = fault ? hmm_range_fault(range, block) : hmm_range_snapshot(range);
	if (dead && ret != -EFAULT)
		sched_fail("D: a snapshot of a dead mm says %ld", ret);
	if (ret < 0 && range->valid)
		sched_fail("A: a snapshot failed, and the range is valid");
	if (ret == -EBUSY && world.oracle.precise && calm && !world.exiting &&
	    undisturbed(range))
		sched_fail("C: a disjoint change made a snapshot fail");
	return ret;
}

bool oracle_valid(struct hmm_range *range)
{
	uint16_t started[SIM_PAGES], active[SIM_PAGES];
	uint64_t pfn[SIM_PAGES], entry;
	bool valid, dead = world.oracle.dead;
	unsigned int i, first = page_of(range->start),
			end = page_of(range->end);

	for (i = first; i < end; i++) {
		started[i] = world.page[i].started;
		active[i] = world.page[i].active;
		pfn[i] = world.page[i].pfn;
	}
	valid = hmm_range_valid(range);
	if (!valid && world.oracle.precise && !world.oracle.dead &&
	    !world.exiting && undisturbed(range))
		sched_fail("C: a disjoint change made a range invalid");
	if (!valid)
		return false;
	if (dead)
		sched_fail("D: valid() is true, and the mm is dead");
	for (i = first; i < end; i++) {
		if (started[i] != world.oracle.read[task()][i])
			sched_fail(MSG_STALE, i);
		if (active[i])
			sched_fail(MSG_BUSY, i);
		/* What was not there may have come without a change. */
		entry = hmm_pfn_to_pfn(range, range->pfns[i - first]);
		if (entry != ~0ull && entry != pfn[i])
			sched_fail(MSG_STALE, i);
	}
	return true;
}

bool oracle_wait(struct hmm_range *range)
{
	bool dead = world.oracle.dead;
	bool ret = hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT);

	if (dead && ret)
		sched_fail("D: a wait for a dead mm succeeds");
	return ret;
}

/* ---- At every step ------------------------------------------------------- */

static bool on_its_way(unsigned int change)
{
	return change && !host_told(change);
}

static void check_device(const struct sim_device *dev)
{
	unsigned int i;

	for (i = 0; i < SIM_PAGES; i++) {
		uint64_t pfn = dev->entry[i].pfn;
		const struct sim_page *page = &world.page[i];

		if (!pfn)
			continue;
		if (pfn != page->pfn && !on_its_way(world.killer[pfn]))
			sched_fail("B: the device uses page %u after it is "
				   "gone, and nobody will tell it",
				   i);
		if (pfn == page->pfn && dev->entry[i].write &&
		    !page->writable && !on_its_way(world.protector[pfn]))
			sched_fail("B: the device may write page %u, which is "
				   "protected, and nobody will tell it",
				   i);
	}
}

void oracle_check(void)
{
	unsigned int i;

	for (i = 0; i < SIM_DEVICES; i++)
		if (world.device[i].listens)
			check_device(&world.device[i]);
}

void oracle_end(void)
{
	unsigned int i;

	if (world.allocations)
		sched_fail("E: memory was leaked");
	for (i = 0; i <= FIBERS; i++)
		if (world.spinlocks[i])
			sched_fail("E: a lock is still held");
	host_end();
}

const char *oracle_deadlock(void)
{
	unsigned int i;

	for (i = 1; i <= world.changes; i++)
		if (!world.change[i].over)
			return "E: deadlock";
	return "E: deadlock, and no change is in progress";
}
