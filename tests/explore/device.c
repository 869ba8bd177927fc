// SPDX-License-Identifier: MIT OR GPL-2.0
/* device.c - a device with a page table under L, and its driver's loop */
#include "sim.h"

/* The driver's format: just what is easy to look at. */
#define DEV_VALID 1
#define DEV_WRITE 2
#define DEV_SHIFT 4
#define RETRIES 3

static const uint64_t dev_flags[HMM_PFN_FLAG_MAX] = { DEV_VALID, DEV_WRITE, 4 };
static const uint64_t dev_values[HMM_PFN_VALUE_MAX] = { 1ull << 60, 0,
							1ull << 61 };

static bool unlocked(void *arg)
{
	return !*(int *)arg;
}

void device_lock(struct sim_device *dev)
{
	sched_point("lock L", dev);
	if (dev->lock)
		sched_block("lock L", dev, unlocked, &dev->lock);
	dev->lock = sched_self() + 2;
}

void device_unlock(struct sim_device *dev)
{
	dev->lock = 0;
}

static struct sim_device *device_of(struct hmm_mirror *mirror)
{
	return (struct sim_device *)mirror;
}

static void device_drop(struct sim_device *dev, unsigned long start,
			unsigned long end)
{
	unsigned int i;

	for (i = 0; i < SIM_PAGES; i++) {
		if (SIM_ADDR(i) < start || SIM_ADDR(i) >= end)
			continue;
		dev->entry[i].pfn = 0;
		dev->entry[i].write = false;
	}
}

static void callback_begin(struct sim_device *dev)
{
	if (world.spinlocks[sched_self() + 1])
		sched_fail("a callback is called under a spin lock");
	if (dev->never_call)
		sched_fail("a callback is called after unregister returned");
	dev->in_callback++;
}

static void callback_end(struct sim_device *dev)
{
	if (dev->never_call)
		sched_fail("unregister returned before a callback did");
	dev->in_callback--;
}

static int device_sync(struct hmm_mirror *mirror,
		       const struct hmm_update *update)
{
	struct sim_device *dev = device_of(mirror);
	int ret = 0;

	callback_begin(dev);
	if (!update->blockable && dev->refuses &&
	    sched_choose(2, "the callback says -EAGAIN")) {
		ret = -EAGAIN;
	} else {
		if (dev->calls_back &&
		    hmm_mirror_unregister(mirror) != -EDEADLK)
			sched_fail("unregister from a callback is let through");
		if (dev->waits)
			sim_flag_wait(0);
		device_lock(dev);
		device_drop(dev, update->start, update->end);
		device_unlock(dev);
	}
	callback_end(dev);
	return ret;
}

static void device_release(struct hmm_mirror *mirror)
{
	struct sim_device *dev = device_of(mirror);

	callback_begin(dev);
	if (dev->released++)
		sched_fail("release is called twice");
	device_lock(dev);
	device_drop(dev, 0, ~0ul);
	device_unlock(dev);
	callback_end(dev);
}

static const struct hmm_mirror_ops device_ops = {
	.sync_cpu_device_pagetables = device_sync,
	.release = device_release,
};

void device_listen(struct sim_device *dev)
{
	bool dead = world.oracle.dead;
	int ret;

	dev->mirror.ops = &device_ops;
	dev->never_call = false;
	mmap_write_lock(world.mm);
	ret = hmm_mirror_register(&dev->mirror, world.mm);
	mmap_write_unlock(world.mm);
	dev->listens = !ret;
	if (dead && ret != -EFAULT)
		sched_fail("D: a mirror registers with a dead mm: %d", ret);
}

int device_unlisten(struct sim_device *dev)
{
	int ret;

	/* Nothing is to be used any more that nobody watches over. */
	device_lock(dev);
	dev->listens = false;
	device_drop(dev, 0, ~0ul);
	device_unlock(dev);
	ret = hmm_mirror_unregister(&dev->mirror);
	if (!ret)
		dev->never_call = true;
	return ret;
}

static void install(struct sim_device *dev, const struct hmm_range *range,
		    const struct sim_driver *drv, long n)
{
	unsigned int first = drv->first;
	long i;

	if (n != (long)(drv->end - first))
		sched_fail("%ld entries of %u", n, drv->end - first);
	if (!dev->listens)
		return;
	for (i = 0; i < n; i++) {
		uint64_t entry = range->pfns[i];
		uint64_t pfn = hmm_pfn_to_pfn(range, entry);
		bool write = entry & DEV_WRITE;

		if (!drv->snapshot && pfn == ~0ull)
			sched_fail("a page that was faulted in is not there");
		if (!drv->snapshot && drv->write && !write)
			sched_fail("a page faulted for write can't be written");
		if (pfn == ~0ull)
			continue;
		dev->entry[first + i].pfn = pfn;
		dev->entry[first + i].write = write;
	}
}

int device_range_init(struct hmm_range *range, uint64_t *pfns)
{
	*range = (struct hmm_range){
		.pfns = pfns,
		.flags = dev_flags,
		.values = dev_values,
		.pfn_shift = DEV_SHIFT,
	};
	return hmm_range_register(range, world.mm, SIM_ADDR(0), SIM_ADDR(1));
}

long device_map(const struct sim_driver *drv)
{
	struct sim_device *dev = &world.device[drv->device];
	struct mm_struct *mm = world.mm;
	uint64_t pfns[SIM_PAGES] = { 0 };
	struct hmm_range range = {
		.pfns = pfns,
		.flags = dev_flags,
		.values = dev_values,
		.pfn_shift = DEV_SHIFT,
		.default_flags = DEV_VALID | (drv->write ? DEV_WRITE : 0),
	};
	bool dead = world.oracle.dead;
	int retries = RETRIES;
	long ret;

	ret = hmm_range_register(&range, mm, SIM_ADDR(drv->first),
				 SIM_ADDR(drv->end));
	if (dead && ret != -EFAULT)
		sched_fail("D: a range registers with a dead mm: %ld", ret);
	if (ret)
		return ret;
again:
	if (!retries--) {
		ret = -EBUSY;
		goto out;
	}
	if (!oracle_wait(&range)) {
		ret = -ETIMEDOUT;
		goto out;
	}
	mmap_read_lock(mm);
	ret = oracle_snapshot(&range, !drv->snapshot, !drv->nonblock);
	if (ret == -EAGAIN)
		goto again;
	mmap_read_unlock(mm);
	if (ret == -EBUSY)
		goto again;
	if (ret < 0)
		goto out;

	device_lock(dev);
	if (!oracle_valid(&range)) {
		device_unlock(dev);
		goto again;
	}
	install(dev, &range, drv, ret);
	device_unlock(dev);
	ret = 0;
out:
	hmm_range_unregister(&range);
	if (range.hmm || range.valid)
		sched_fail("a range that was unregistered is valid");
	return ret;
}

void device_driver(void *arg)
{
	const struct sim_driver *drv = arg;
	unsigned int i;

	for (i = 0; i < drv->loops; i++)
		device_map(drv);
}
