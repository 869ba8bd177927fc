// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * driver.c - what the device needs from hmm.h: a mirror, and the driver loop
 *
 * Where the self-test's idea of an error differs from hmm.h's, the device
 * translates.
 */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "dmirror.h"

static const u64 dm_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = PTE_VALID,
	[HMM_PFN_WRITE] = PTE_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = PTE_DEVICE,
};

static const u64 dm_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = PTE_ERROR,
	[HMM_PFN_NONE] = 0,
	[HMM_PFN_SPECIAL] = PTE_SPECIAL,
};

#define DM_TABLES 256 /* of a page each: what is mapped of 500 MiB in a row */

/* ---- The mirror --------------------------------------------------------- */

static int dm_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);

	if (update->blockable)
		mutex_lock(&dm->lock);
	else if (!mutex_trylock(&dm->lock))
		return -EAGAIN;
	pt_unmap(&dm->pt, update->start, update->end);
	dm_claim_told(dm, update);
	mutex_unlock(&dm->lock);
	return 0;
}

static void dm_gone(struct hmm_mirror *mirror)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);

	mutex_lock(&dm->lock);
	pt_unmap(&dm->pt, 0, PT_ADDR_END);
	mutex_unlock(&dm->lock);
}

static const struct hmm_mirror_ops dm_ops = {
	.release = dm_gone,
	.sync_cpu_device_pagetables = dm_sync,
};

int dm_attach(struct dmirror *dm, struct mm_struct *mm)
{
	int ret = pt_init(&dm->pt, DM_TABLES);

	if (ret)
		return ret;
	mutex_init(&dm->lock);
	mutex_init(&dm->claiming);
	dm->mm = mm;
	dm->mirror.ops = &dm_ops;
	mmap_write_lock(mm);
	ret = hmm_mirror_register(&dm->mirror, mm);
	mmap_write_unlock(mm);
	if (ret) {
		pt_destroy(&dm->pt);
		return ret;
	}
	mmgrab(mm);
	return 0;
}

void dm_detach(struct dmirror *dm)
{
	/* A callback of ours waits for nothing but our lock: it will return. */
	while (hmm_mirror_unregister(&dm->mirror) == -ETIMEDOUT)
		;
	mmdrop(dm->mm);
	pt_destroy(&dm->pt);
}

/* ---- The driver loop ---------------------------------------------------- */

/* Get the entries of [start, end) and use them.  The driver loop of hmm.h. */
static int get(struct dmirror *dm, unsigned long start, unsigned long end,
	       u64 request, u64 *pfns, dm_use_fn use, void *arg)
{
	struct hmm_range range = {
		.pfns = pfns,
		.flags = dm_flags,
		.values = dm_values,
		.pfn_shift = PTE_PFN_SHIFT,
		.default_flags = request,
		.dev_private_owner = dm->device->memory,
	};
	int retries = DM_RETRIES;
	long ret;

	ret = hmm_range_register(&range, dm->mm, start, end);
	if (ret)
		return ret;
again:
	ret = -EINTR;
	if (fatal_signal_pending(current))
		goto out;
	ret = -EBUSY;
	if (!retries--)
		goto out;
	if (!hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT))
		goto out;
	mmap_read_lock(dm->mm);
	ret = request ? hmm_range_fault(&range, true)
		      : hmm_range_snapshot(&range);
	mmap_read_unlock(dm->mm);
	if (ret == -EBUSY)
		goto again;
	if (ret < 0)
		goto out;

	mutex_lock(&dm->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&dm->lock);
		goto again;
	}
	ret = use(dm, start, pfns, ret, arg);
	mutex_unlock(&dm->lock);
out:
	hmm_range_unregister(&range);
	return ret;
}

int dm_look(struct dmirror *dm, unsigned long start, unsigned long end,
	    u64 *pfns, dm_use_fn use, void *arg)
{
	return get(dm, start, end, 0, pfns, use, arg);
}

/* ---- Demand faults ------------------------------------------------------ */

int dm_map(struct dmirror *dm, unsigned long start, const u64 *entries,
	   unsigned long n)
{
	int ret = pt_map(&dm->pt, start, entries, n);

	lockdep_assert_held(&dm->lock);
	if (ret) {
		/* Nobody is hurt by dropping all but the time to fault again. */
		pt_unmap(&dm->pt, 0, PT_ADDR_END);
		ret = pt_map(&dm->pt, start, entries, n);
	}
	return ret;
}

static int install(struct dmirror *dm, unsigned long start, const u64 *pfns,
		   unsigned long n, void *arg)
{
	const enum dm_want *want = arg;
	unsigned long i;

	for (i = 0; i < n; i++) {
		if (*want == DM_RESIDENT &&
		    !dm_memory_has(dm->device->memory,
				   pfns[i] >> PTE_PFN_SHIFT))
			return -ENOENT;
		if (!(pfns[i] & PTE_VALID))
			return -EFAULT;
	}
	return dm_map(dm, start, pfns, n);
}

int dm_fault(struct dmirror *dm, unsigned long start, unsigned long end,
	     enum dm_want want)
{
	static const u64 request[] = {
		[DM_READ] = PTE_VALID,
		[DM_WRITE] = PTE_VALID | PTE_WRITE,
		[DM_RESIDENT] = 0,
	};
	unsigned long addr, stop;
	int ret = 0;
	u64 *pfns;

	if (want == DM_EXCLUSIVE)
		return dm_claim(dm, start, end);
	pfns = kvcalloc(DM_CHUNK, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;
	for (addr = start; addr < end && !ret; addr = stop) {
		stop = min(end, addr + DM_CHUNK * PAGE_SIZE);
		ret = get(dm, addr, stop, request[want], pfns, install, &want);
	}
	kvfree(pfns);
	/* To the self-test, memory that can't be read is not there at all. */
	return ret == -EPERM && want != DM_WRITE ? -EFAULT : ret;
}
