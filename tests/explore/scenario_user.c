// SPDX-License-Identifier: MIT OR GPL-2.0
/* scenario_user.c - libhmm's host: a counter, a ring, a barrier, two threads */
#include "scenario.h"

#include "host_user.h"

/* ---- Tasks ----------------------------------------------------------------- */

struct changer {
	unsigned int first, end;
	enum change_what what;
	unsigned int loops;
};

static void changer(void *arg)
{
	const struct changer *c = arg;
	unsigned int i;

	for (i = 0; i < c->loops; i++)
		source_change(c->first, c->end, c->what);
}

static void detacher(void *arg)
{
	(void)arg;
	user_detach();
}

static void driver_then_flag(void *arg)
{
	if (device_map(arg))
		sched_fail("C: disjoint changes kept a driver from its pages");
	sim_flag_set(0);
}

/* In a fork's child nothing is watched: all says so, and nothing hangs. */
static void in_child(void *arg)
{
	struct hmm_range *range = arg;
	struct hmm_range other;
	uint64_t pfn;
	long ret;

	if (hmm_range_valid(range))
		sched_fail("a range is valid in a fork's child");
	if (hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT))
		sched_fail("a wait succeeds in a fork's child");
	mmap_read_lock(world.mm);
	ret = hmm_range_snapshot(range);
	if (ret != -EFAULT)
		sched_fail("a snapshot says %ld in a fork's child", ret);
	mmap_read_unlock(world.mm);
	hmm_range_unregister(range);
	if (device_range_init(&other, &pfn) != -EFAULT)
		sched_fail("a range registers in a fork's child");
	/* L may be held by a task that is not here: the driver's own affair. */
	if (hmm_mirror_unregister(&world.device[0].mirror))
		sched_fail("a mirror stays in a fork's child");
	user_detach();
	user_attach();
	if (device_range_init(&other, &pfn))
		sched_fail("a fork's child can't attach anew");
	hmm_range_unregister(&other);
}

static void forker(void *arg)
{
	struct hmm_range range;
	uint64_t pfn;

	(void)arg;
	if (device_range_init(&range, &pfn))
		sched_fail("register fails without a reason");
	mmap_read_lock(world.mm);
	hmm_range_snapshot(&range);
	mmap_read_unlock(world.mm);
	user_fork(in_child, &range);
	hmm_range_unregister(&range);
}

/* A driver that comes late and leaves early. */
static void guest(void *arg)
{
	const struct sim_driver *drv = arg;
	struct sim_device *dev = &world.device[drv->device];

	device_listen(dev);
	if (!dev->listens)
		return;
	device_map(drv);
	if (device_unlisten(dev))
		sched_fail("unregister failed without a reason");
}

/* One page after the other, with one between that stays. */
static void scatterer(void *arg)
{
	unsigned int page = *(unsigned int *)arg;

	for (;; page -= 2) {
		source_change(page, page + 1, CHANGE_UNMAP);
		if (!page || page == 3)
			break;
	}
}

/*
 * Three equal changes at a time: the end of one is lost; of the others, one
 * begins after the barrier that makes up for the loss.
 */
static void three_changes(void *arg)
{
	unsigned int first, lost, late;

	(void)arg;
	first = source_begin(0, 1);
	lost = source_begin(0, 1);
	source_end(lost, CHANGE_UNMAP);
	sim_flag_set(0);
	if (world.ring.lost)
		sim_flag_wait(1);
	late = source_begin(0, 1);
	source_end(first, CHANGE_UNMAP);
	source_end(late, CHANGE_UNMAP);
}

static void driver_after_flag(void *arg)
{
	sim_flag_wait(0);
	device_map(arg);
}

static unsigned int down_to_0 = 4, down_to_3 = 5;

static struct changer unmap_0 = { 0, 1, CHANGE_UNMAP, 1 };
static struct changer unmap_0_twice = { 0, 1, CHANGE_UNMAP, 2 };
static struct changer replace_1 = { 1, 2, CHANGE_REPLACE, 1 };
static struct changer unmap_three_times = { 0, 2, CHANGE_UNMAP, 3 };
static struct changer hold_2 = { 2, 3, CHANGE_HOLD, 1 };

static struct sim_driver read_0 = { .first = 0, .end = 1, .loops = 1 };
static struct sim_driver read_0_twice = { .first = 0, .end = 1, .loops = 2 };
static struct sim_driver read_0_other = {
	.device = 1, .first = 0, .end = 1, .loops = 1
};
static struct sim_driver look_0 = {
	.first = 0, .end = 1, .snapshot = true, .loops = 1
};
static struct sim_driver read_01 = { .first = 0, .end = 2, .loops = 1 };
static struct sim_driver write_0 = {
	.first = 0, .end = 1, .write = true, .loops = 1
};

#define THREADS                                                   \
	{ "watcher", user_thread, (void *)0, .daemon = true },    \
	{                                                         \
		"barrier", user_thread, (void *)1, .daemon = true \
	}

/* ---- Setup ----------------------------------------------------------------- */

static void no_device(void)
{
	sim_populate(0, 2);
	user_attach();
}

static void one_device(void)
{
	no_device();
	device_listen(&world.device[0]);
	world.user.mirrors = 1;
}

static void ending(void)
{
	one_device();
	world.user.ends = true;
}

static void foreign(void)
{
	one_device();
	world.ring.foreign = true;
}

static void larger_ring(void)
{
	foreign();
	world.ring.size = SIM_RING;
}

static void told_ends(void)
{
	one_device();
	world.ring.tells_ends = true;
}

static void told_lost(void)
{
	told_ends();
	world.ring.size = 1;
}

static void silent(void)
{
	one_device();
	world.ring.arms = true;
}

static void silent_told(void)
{
	no_device();
	world.ring.arms = true;
	world.ring.tells_ends = true;
}

static void silent_ends(void)
{
	silent();
	world.ring.tells_ends = true;
}

static void shared_page(void)
{
	one_device();
	world.page[0].writable = false;
	world.page[0].shared = true;
}

static void may_fail(void)
{
	one_device();
	world.ring.fails = true;
}

/* ---- Scenarios ------------------------------------------------------------- */

static const struct scenario scenario_open = {
	.name = "open",
	.what = "changes whose end nobody tells; the barrier closes them",
	.setup = foreign,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
};

static const struct scenario scenario_open_again = {
	.name = "open-again",
	.what = "a change that begins after the barrier for another did",
	.setup = foreign,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0_twice },
		   THREADS },
};

static const struct scenario scenario_open_two = {
	.name = "open-two",
	.what = "two changers, and records in another order than counts",
	.setup = one_device,
	.tasks = { { "driver", device_driver, &read_01 },
		   { "unmap", changer, &unmap_0 },
		   { "replace", changer, &replace_1 },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_told = {
	.name = "told",
	.what = "changes whose start and end are recorded",
	.setup = told_ends,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0_twice },
		   THREADS },
};

static const struct scenario scenario_told_lost = {
	.name = "told-lost",
	.what = "records of starts and ends are lost between equal changes",
	.setup = told_lost,
	.tasks = { { "driver", driver_after_flag, &read_0 },
		   { "changes", three_changes, NULL },
		   THREADS },
};

static const struct scenario scenario_silent = {
	.name = "silent",
	.what = "a source that wakes only the watcher that asked for it",
	.setup = silent,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0_twice },
		   THREADS },
};

static const struct scenario scenario_silent_told = {
	.name = "silent-told",
	.what = "such a source that records ends, and nobody to call back",
	.setup = silent_told,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
};

static const struct scenario scenario_silent_ends = {
	.name = "silent-ends",
	.what = "such a source: the record of an end is taken by a driver",
	.setup = silent_ends,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0_twice },
		   THREADS },
};

static const struct scenario scenario_own = {
	.name = "own",
	.what = "the driver's own fault copies a page: no barrier is needed",
	.setup = shared_page,
	.tasks = { { "driver", device_driver, &write_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
};

static const struct scenario scenario_own_two = {
	.name = "own-two",
	.what = "another driver waits for the change that a driver's fault "
		"made",
	.setup = shared_page,
	.tasks = { { "driver", device_driver, &write_0 },
		   { "other", device_driver, &read_0_other },
		   THREADS },
};

static const struct scenario scenario_overflow = {
	.name = "overflow",
	.what = "more changes than the ring, the watcher and the core have "
		"room",
	.setup = foreign,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_three_times },
		   THREADS },
};

static const struct scenario scenario_pending = {
	.name = "pending",
	.what = "more updates than the watcher has room for at a time",
	.setup = larger_ring,
	.tasks = { { "driver", device_driver, &read_0_twice },
		   { "scatter", scatterer, &down_to_0 },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_slots = {
	.name = "slots",
	.what = "more changes in progress than the core can tell apart",
	.setup = foreign,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   { "scatter", scatterer, &down_to_3 },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_late_record = {
	.name = "late-record",
	.what = "a record that comes so late that nobody waits for it",
	.setup = foreign,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
	.faults = 2,
	.timeouts = true,
	.large = true,
};

static const struct scenario scenario_guest = {
	.name = "guest",
	.what = "a mirror comes and goes while changes are under way",
	.setup = no_device,
	.tasks = { { "guest", guest, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
};

static const struct scenario scenario_two_drivers = {
	.name = "two-drivers",
	.what = "two drivers of one mm take each other's records",
	.setup = one_device,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "other", guest, &read_0_other },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_detach = {
	.name = "detach",
	.what = "the last detach against a driver and a change",
	.setup = ending,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   { "detach", detacher, NULL },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_fork = {
	.name = "fork",
	.what = "fork while a driver, a change and the watcher are at work",
	.setup = ending,
	.tasks = { { "forker", forker, NULL },
		   { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
	.large = true,
};

static const struct scenario scenario_fork_driver = {
	.name = "fork-driver",
	.what = "fork at any step of a driver",
	.setup = ending,
	.tasks = { { "forker", forker, NULL },
		   { "driver", device_driver, &look_0 },
		   THREADS },
};

static const struct scenario scenario_failing = {
	.name = "failing",
	.what = "the barrier fails once, or the source for ever",
	.setup = may_fail,
	.tasks = { { "driver", device_driver, &read_0 },
		   { "unmap", changer, &unmap_0 },
		   THREADS },
	.faults = 1,
};

static const struct scenario scenario_disjoint = {
	.name = "disjoint",
	.what = "a disjoint change that lasts until the driver has its pages",
	.setup = one_device,
	.tasks = { { "driver", driver_then_flag, &read_01 },
		   { "hold", changer, &hold_2 },
		   THREADS },
};

/* clang-format off */
const struct scenario *const scenarios[] = {
	&scenario_open,
	&scenario_open_again,
	&scenario_open_two,
	&scenario_told,
	&scenario_told_lost,
	&scenario_silent,
	&scenario_silent_told,
	&scenario_silent_ends,
	&scenario_own,
	&scenario_own_two,
	&scenario_overflow,
	&scenario_pending,
	&scenario_slots,
	&scenario_late_record,
	&scenario_guest,
	&scenario_two_drivers,
	&scenario_detach,
	&scenario_fork,
	&scenario_fork_driver,
	&scenario_failing,
	&scenario_disjoint,
	NULL,
};
