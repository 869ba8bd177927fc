// SPDX-License-Identifier: MIT OR GPL-2.0
/* scenario_native.c - drivers against changes that are told before and after */
#include "scenario.h"

#include "sim.h"

/* ---- Tasks --------------------------------------------------------------- */

struct changer {
	unsigned int first, end;
	enum change_what what;
	bool nonblock;
	unsigned int loops;
};

static void changer(void *arg)
{
	const struct changer *c = arg;
	unsigned int i;

	for (i = 0; i < c->loops; i++)
		native_change(c->first, c->end, c->what, !c->nonblock);
}

static void exiter(void *arg)
{
	(void)arg;
	native_exit();
}

static void killer(void *arg)
{
	(void)arg;
	world.exiting = true;
	hmm_kill(world.native.hmm);
	oracle_dead();
}

static void listener(void *arg)
{
	struct sim_device *dev = arg;

	device_listen(dev);
	if (dev->listens && device_unlisten(dev))
		sched_fail("unregister failed without a reason");
}

static void unlistener(void *arg)
{
	if (device_unlisten(arg))
		sched_fail("unregister failed without a reason");
}

static struct changer unmap_0 = { 0, 1, CHANGE_UNMAP, false, 1 };
static struct changer unmap_0_twice = { 0, 1, CHANGE_UNMAP, false, 2 };
static struct changer replace_01 = { 0, 2, CHANGE_REPLACE, false, 1 };
static struct changer replace_1 = { 1, 2, CHANGE_REPLACE, false, 1 };
static struct changer protect_1 = { 1, 2, CHANGE_PROTECT, false, 1 };
static struct changer reap_0 = { 0, 1, CHANGE_UNMAP, true, 2 };
static struct changer hold_1 = { 1, 2, CHANGE_HOLD, false, 1 };
static struct changer hold_2 = { 2, 3, CHANGE_HOLD, false, 1 };

static struct sim_driver read_0 = { .first = 0, .end = 1, .loops = 1 };
static struct sim_driver read_01 = { .first = 0, .end = 2, .loops = 1 };
static struct sim_driver read_12_other = {
	.device = 1, .first = 1, .end = 3, .loops = 1
};
static struct sim_driver write_01 = {
	.first = 0, .end = 2, .write = true, .loops = 1
};
static struct sim_driver look_01 = {
	.first = 0, .end = 2, .snapshot = true, .loops = 1
};
static struct sim_driver nonblock_01 = {
	.first = 0, .end = 2, .nonblock = true, .loops = 1
};
static struct sim_driver read_0_twice = { .first = 0, .end = 1, .loops = 2 };
static struct sim_driver many = { .first = 0, .end = 34, .loops = 1 };

/* ---- Setup --------------------------------------------------------------- */

static void two_pages(void)
{
	native_reset();
	world.oracle.precise = true;
	sim_populate(0, 2);
}

static void one_device(void)
{
	two_pages();
	device_listen(&world.device[0]);
}

static void two_devices(void)
{
	one_device();
	device_listen(&world.device[1]);
}

static void shared_pages(void)
{
	one_device();
	world.page[0].writable = false;
	world.page[0].shared = true;
}

static void refusing_devices(void)
{
	two_devices();
	world.device[0].refuses = true;
	world.device[1].refuses = true;
}

static void unmapped_pages(void)
{
	native_reset();
	world.oracle.precise = true;
	device_listen(&world.device[0]);
}

static void one_calls_back(void)
{
	one_device();
	world.device[0].calls_back = true;
	world.device[1].calls_back = true;
}

/* Nothing may be in progress, be armed or be registered when all is over. */
static void nothing_left(void)
{
	unsigned int i;

	for (i = 0; i < world.hmms_used; i++) {
		const struct hmm *hmm = &world.hmms[i];

		if (world.native.hmm != hmm)
			continue;
		if (hmm->changes.nr || hmm->changes.unlisted)
			sched_fail("E: a change that is over is not ended");
		if (hmm->ranges.root || hmm->calls)
			sched_fail("E: a range or a call is left behind");
	}
}

/* After a change that was refused, the next driver must get its pages. */
static void usable_again(void)
{
	nothing_left();
	if (device_map(&read_0) && !world.oracle.dead)
		sched_fail("E: a driver alone does not get its pages");
}

/* ---- Scenarios ----------------------------------------------------------- */

static const struct scenario scenario_driver = {
	.name = "driver",
	.what = "the driver loop against two changes of its pages",
	.setup = one_device,
	.tasks = { { "driver", device_driver, &read_01 },
		   { "unmap", changer, &unmap_0 },
		   { "replace", changer, &replace_1 } },
	.end = usable_again,
};

static const struct scenario scenario_driver_aba = {
	.name = "driver-aba",
	.what = "the driver loop against changes that come and go",
	.setup = one_device,
	.tasks = { { "driver", device_driver, &look_01 },
		   { "unmap", changer, &unmap_0_twice } },
	.end = nothing_left,
};

static const struct scenario scenario_write = {
	.name = "write",
	.what = "write faults that copy a page, against a change of protection",
	.setup = shared_pages,
	.tasks = { { "driver", device_driver, &write_01 },
		   { "protect", changer, &protect_1 },
		   { "unmap", changer, &unmap_0 } },
	.end = nothing_left,
};

static const struct scenario scenario_nonblock_fault = {
	.name = "fault-nonblock",
	.what = "faults that would block drop the lock, against a change",
	.setup = unmapped_pages,
	.tasks = { { "driver", device_driver, &nonblock_01 },
		   { "unmap", changer, &unmap_0 } },
	.end = nothing_left,
	.faults = 2,
};

static const struct scenario scenario_register = {
	.name = "register",
	.what = "register and unregister against start and end, creating the "
		"hmm",
	.setup = two_pages,
	.tasks = { { "driver", device_driver, &read_0_twice },
		   { "other", device_driver, &read_12_other },
		   { "replace", changer, &replace_01 } },
	.end = nothing_left,
	.faults = 1,
};

static const struct scenario scenario_refuse = {
	.name = "refuse",
	.what = "changes that may not block, refused at each place",
	.setup = refusing_devices,
	.tasks = { { "reaper", changer, &reap_0 },
		   { "driver", device_driver, &read_01 } },
	.end = usable_again,
	.faults = 2,
};

static const struct scenario scenario_release = {
	.name = "release",
	.what = "the end of the mm against a driver and a change",
	.setup = one_device,
	.tasks = { { "driver", device_driver, &read_01 },
		   { "exit", exiter, NULL },
		   { "unmap", changer, &unmap_0 } },
	.end = nothing_left,
};

static const struct scenario scenario_release_register = {
	.name = "release-register",
	.what = "the end of the mm against a mirror and ranges that come and "
		"go",
	.setup = two_pages,
	.tasks = { { "driver", device_driver, &read_0_twice },
		   { "mirror", listener, &world.device[0] },
		   { "exit", exiter, NULL } },
};

static const struct scenario scenario_mirrors = {
	.name = "mirrors",
	.what = "mirrors register and unregister while callbacks run",
	.setup = one_calls_back,
	.tasks = { { "leaves", unlistener, &world.device[0] },
		   { "comes", listener, &world.device[1] },
		   { "unmap", changer, &unmap_0 },
		   { "replace", changer, &replace_1 } },
};

static const struct scenario scenario_mirrors_release = {
	.name = "mirrors-release",
	.what = "two mirrors unregister while release and a change call them",
	.setup = two_devices,
	.tasks = { { "leaves", unlistener, &world.device[0] },
		   { "leaves-too", unlistener, &world.device[1] },
		   { "exit", exiter, NULL },
		   { "unmap", changer, &unmap_0 } },
};

static void patient_unlistener(void *arg)
{
	struct sim_device *dev = arg;

	/* Time is up: the mirror stays registered, and is of use as before. */
	while (device_unlisten(dev) == -ETIMEDOUT) {
		/* Who has seen a valid range under L before is done by now. */
		device_lock(dev);
		dev->listens = true;
		device_unlock(dev);
		device_map(&read_0);
	}
}

static const struct scenario scenario_mirrors_timeout = {
	.name = "mirrors-timeout",
	.what = "unregister gives up waiting for a callback, and tries again",
	.setup = one_device,
	.tasks = { { "leaves", patient_unlistener, &world.device[0] },
		   { "unmap", changer, &unmap_0_twice },
		   { "driver", device_driver, &read_0 } },
	.faults = 1,
	.timeouts = true,
};

/* Called second, as it was registered first: until the first one is gone. */
static void chained_devices(void)
{
	two_devices();
	world.device[0].waits = true;
}

static void unlisten_then_flag(void *arg)
{
	unlistener(arg);
	sim_flag_set(0);
}

static const struct scenario scenario_mirrors_chain = {
	.name = "mirrors-chain",
	.what = "a mirror unregisters while the call that left it goes on",
	.setup = chained_devices,
	.tasks = { { "leaves", unlisten_then_flag, &world.device[1] },
		   { "unmap", changer, &unmap_0 } },
};

static const struct scenario scenario_mirrors_refuse = {
	.name = "mirrors-refuse",
	.what = "a mirror unregisters while it refuses a change",
	.setup = refusing_devices,
	.tasks = { { "leaves", unlistener, &world.device[0] },
		   { "leaves-too", unlistener, &world.device[1] },
		   { "reaper", changer, &reap_0 } },
	.faults = 2,
};

static void driver_any_then_flag(void *arg)
{
	device_map(arg);
	sim_flag_set(0);
}

static const struct scenario scenario_kill = {
	.name = "kill",
	.what = "the mm is given up while a driver waits for a change",
	.setup = one_device,
	.tasks = { { "driver", driver_any_then_flag, &read_01 },
		   { "hold", changer, &hold_1 },
		   { "kill", killer, NULL } },
};

static const struct scenario scenario_release_twice = {
	.name = "release-twice",
	.what = "the end of the mm, told twice, against unregister",
	.setup = two_devices,
	.tasks = { { "leaves", unlistener, &world.device[0] },
		   { "exit", exiter, NULL },
		   { "exit-too", exiter, NULL } },
};

static void driver_then_flag(void *arg)
{
	if (device_map(arg))
		sched_fail("C: disjoint changes kept a driver from its pages");
	sim_flag_set(0);
}

static const struct scenario scenario_disjoint = {
	.name = "disjoint",
	.what = "a disjoint change that lasts until the driver has its pages",
	.setup = one_device,
	.tasks = { { "driver", driver_then_flag, &read_01 },
		   { "hold", changer, &hold_2 } },
	.end = nothing_left,
};

static const struct scenario scenario_two_drivers = {
	.name = "two-drivers",
	.what = "two drivers with overlapping ranges and a change of both",
	.setup = two_devices,
	.tasks = { { "driver", device_driver, &read_01 },
		   { "other", device_driver, &read_12_other },
		   { "replace", changer, &replace_01 } },
	.end = nothing_left,
};

static const struct scenario scenario_out_of_memory = {
	.name = "out-of-memory",
	.what = "each allocation, read and fault fails once, against a change",
	.setup = two_pages,
	.tasks = { { "driver", device_driver, &many },
		   { "unmap", changer, &unmap_0 } },
	.end = nothing_left,
	.faults = 1,
};

/* clang-format off */
const struct scenario *const scenarios[] = {
	&scenario_driver,
	&scenario_driver_aba,
	&scenario_write,
	&scenario_nonblock_fault,
	&scenario_refuse,
	&scenario_release,
	&scenario_release_register,
	&scenario_release_twice,
	&scenario_mirrors,
	&scenario_mirrors_release,
	&scenario_mirrors_timeout,
	&scenario_mirrors_chain,
	&scenario_mirrors_refuse,
	&scenario_kill,
	&scenario_disjoint,
	&scenario_two_drivers,
	&scenario_out_of_memory,
	&scenario_register,
	NULL,
};
