// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dmirror.c - the driver: what a device needs from hmm.h, and how to use it
 *
 * Three things make a driver: a mirror whose callback removes translations, a
 * demand fault that installs them, and a lock that both take.  Everything else
 * in this directory is the device that a driver would find in hardware.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

/* How often a window may change under a fault before the command is failed. */
#define RETRIES 1000

/* hmm_range's entries are the device's own: they are installed as they come. */
static const uint64_t dmirror_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = PTE_VALID,
	[HMM_PFN_WRITE] = PTE_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = PTE_DEVICE,
};

static const uint64_t dmirror_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = PTE_ERROR,
	[HMM_PFN_NONE] = 0,
	[HMM_PFN_SPECIAL] = PTE_SPECIAL,
};

/* ---- The mirror --------------------------------------------------------- */

static struct dmirror *to_dmirror(struct hmm_mirror *mirror)
{
	return (struct dmirror *)((char *)mirror -
				  offsetof(struct dmirror, mirror));
}

static int dmirror_sync(struct hmm_mirror *mirror,
			const struct hmm_update *update)
{
	struct dmirror *dm = to_dmirror(mirror);
	uint64_t begin = dm_now_ns();
	unsigned long removed;

	/* For write: once it is ours, no access is in flight any more. */
	if (update->blockable)
		pthread_rwlock_wrlock(&dm->lock);
	else if (pthread_rwlock_trywrlock(&dm->lock))
		return -EAGAIN;
	removed = pt_unmap(&dm->pt, update->start, update->end);
	pthread_rwlock_unlock(&dm->lock);

	dm_count(dm, invalidations[update->kind], 1);
	dm_count(dm, invalidated_pages, removed);
	dm_tell(dm, (struct dmirror_event){
			    .type = DMIRROR_EVENT_INVALIDATE,
			    .start = update->start,
			    .end = update->end,
			    .ns = dm_now_ns() - begin,
			    .pages = removed,
			    .kind = update->kind,
		    });
	return 0;
}

static void dmirror_release(struct hmm_mirror *mirror)
{
	struct dmirror *dm = to_dmirror(mirror);

	pthread_rwlock_wrlock(&dm->lock);
	pt_unmap(&dm->pt, 0, PT_ADDR_END);
	pthread_rwlock_unlock(&dm->lock);
	dm_count(dm, releases, 1);
}

static const struct hmm_mirror_ops dmirror_ops = {
	.release = dmirror_release,
	.sync_cpu_device_pagetables = dmirror_sync,
};

/* ---- The demand fault --------------------------------------------------- */

/* Called with L held for write, after hmm_range_valid(). */
static int install(struct dmirror *dm, const struct hmm_range *range, long n)
{
	int ret;

	ret = pt_map(&dm->pt, range->start, range->pfns, (unsigned long)n);
	if (ret == -ENOMEM) {
		/* Nobody is hurt by dropping all but the time to fault again. */
		pt_unmap(&dm->pt, 0, PT_ADDR_END);
		dm_count(dm, evictions, 1);
		ret = pt_map(&dm->pt, range->start, range->pfns,
			     (unsigned long)n);
	}
	if (!ret)
		dm_count(dm, faulted_pages, n);
	return ret;
}

static bool wait_until_valid(struct dmirror *dm, struct hmm_range *range)
{
	uint64_t ns, begin = dm_now_ns();
	bool ret;

	ret = hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT);
	ns = dm_now_ns() - begin;
	dm_hist_add(&dm->stats.wait, ns);
	dm_tell(dm, (struct dmirror_event){
			    .type = DMIRROR_EVENT_WAIT,
			    .start = range->start,
			    .end = range->end,
			    .ns = ns,
		    });
	return ret;
}

/* The driver loop of hmm.h: fault, and install what still holds. */
static int map_window(struct dmirror *dm, unsigned long start,
		      unsigned long end, bool write, uint64_t *pfns)
{
	struct hmm_range range = {
		.pfns = pfns,
		.flags = dmirror_flags,
		.values = dmirror_values,
		.pfn_shift = PTE_PFN_SHIFT,
		.default_flags = PTE_VALID | (write ? PTE_WRITE : 0),
	};
	struct suspects suspects = { 0 };
	int retries = RETRIES;
	long ret;

	/* -EFAULT: the mm is dead.  -EINVAL: not an address of a user. */
	ret = hmm_range_register(&range, dm->mm, start, end);
	if (ret)
		return (int)ret;
again:
	ret = -ECANCELED;
	if (dm_engines_stopping(dm))
		goto out;
	ret = -EBUSY;
	if (!retries--)
		goto out;
	if (!wait_until_valid(dm, &range)) {
		/* A dead mm is told by register, should anybody try again. */
		ret = -ETIMEDOUT;
		goto out;
	}

	mmap_read_lock(dm->mm);
	ret = hmm_range_fault(&range, true);
	if (ret == -EAGAIN)
		goto again; /* the one code that means: lock dropped */
	mmap_read_unlock(dm->mm);
	if (ret == -EBUSY) {
		dm_count(dm, retries_busy, 1);
		goto again;
	}
	if (ret < 0)
		goto out; /* -EFAULT, -EPERM, -ENOMEM: it can't be had */

	pthread_rwlock_wrlock(&dm->lock);
	if (!hmm_range_valid(&range)) {
		pthread_rwlock_unlock(&dm->lock);
		dm_count(dm, retries_valid, 1);
		goto again;
	}
	ret = install(dm, &range, ret);
	if (dm->opts.verify)
		dm_oracle_look(dm, start, (end - start) / PT_PAGE_SIZE,
			       &suspects);
	pthread_rwlock_unlock(&dm->lock);
out:
	hmm_range_unregister(&range);
	dm_oracle_judge(dm, &suspects);
	return (int)ret;
}

int dm_fault(struct dmirror *dm, unsigned long addr, unsigned long end,
	     bool write, uint64_t *pfns)
{
	unsigned long window = dm->opts.window_pages * PT_PAGE_SIZE;
	uint64_t ns, begin = dm_now_ns();
	int ret;

	/* Windows end where their size says: huge entries need alignment. */
	addr &= ~(PT_PAGE_SIZE - 1);
	end = (end + PT_PAGE_SIZE - 1) & ~(PT_PAGE_SIZE - 1);
	if (end > (addr / window + 1) * window)
		end = (addr / window + 1) * window;

	/*
	 * A window fails as a whole for one bad page, which the command may
	 * never reach.  So halve it until it's the page at addr that is bad.
	 */
	for (;;) {
		unsigned long pages = (end - addr) / PT_PAGE_SIZE;

		ret = map_window(dm, addr, end, write, pfns);
		if (!ret || ret == -EBUSY || ret == -ETIMEDOUT ||
		    ret == -ECANCELED || pages == 1)
			break;
		end = addr + pages / 2 * PT_PAGE_SIZE;
	}

	ns = dm_now_ns() - begin;
	dm_count(dm, faults, 1);
	if (ret)
		dm_count(dm, fault_errors, 1);
	dm_hist_add(&dm->stats.fault, ns);
	dm_tell(dm, (struct dmirror_event){
			    .type = DMIRROR_EVENT_FAULT,
			    .start = addr,
			    .end = end,
			    .ns = ns,
			    .pages = ret ? 0 : (end - addr) / PT_PAGE_SIZE,
			    .status = ret,
		    });
	return ret;
}

/* ---- Life --------------------------------------------------------------- */

/* The defaults for what is zero.  -EINVAL. */
static int check_opts(struct dmirror_opts *opts)
{
	if (!opts->engines)
		opts->engines = 2;
	if (!opts->window_pages)
		opts->window_pages = PT_HUGE_PAGES;
	if (!opts->queue_depth)
		opts->queue_depth = 64;
	if (!opts->max_tables)
		opts->max_tables = 4096;
	if (opts->engines > 64 || opts->window_pages > PT_HUGE_PAGES ||
	    opts->max_tables < 4)
		return -EINVAL;
	return 0;
}

/* An unmap must not starve behind accesses that keep coming. */
static void lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

int dmirror_create(struct dmirror **dmp, struct mm_struct *mm,
		   const struct dmirror_opts *opts)
{
	struct dmirror *dm;
	int ret;

	if (!dmp || !mm)
		return -EINVAL;
	ret = dm_execute_probe();
	if (ret)
		return ret;
	dm = calloc(1, sizeof(*dm));
	if (!dm)
		return -ENOMEM;
	dm->mm = mm;
	dm->pid = getpid();
	dm->mirror.ops = &dmirror_ops;
	if (opts)
		dm->opts = *opts;
	dm->target = dm->opts.pid ? dm->opts.pid : dm->pid;
	ret = check_opts(&dm->opts);
	if (ret)
		goto out_free;
	lock_init(&dm->lock);
	pthread_mutex_init(&dm->last_lock, NULL);
	ret = pt_init(&dm->pt, dm->opts.max_tables);
	if (ret)
		goto out_free;
	ret = dm_oracle_init(dm);
	if (ret)
		goto out_pt;

	/* First the mirror: a translation without it would never be removed. */
	mmap_write_lock(mm);
	ret = hmm_mirror_register(&dm->mirror, mm);
	mmap_write_unlock(mm);
	if (ret)
		goto out_oracle;
	ret = dm_engines_start(dm);
	if (ret)
		goto out_mirror;
	*dmp = dm;
	return 0;

out_mirror:
	/* -ETIMEDOUT: a callback still runs in it.  Better leak than free it. */
	if (hmm_mirror_unregister(&dm->mirror))
		return ret;
out_oracle:
	dm_oracle_exit(dm);
out_pt:
	pt_destroy(&dm->pt);
out_free:
	free(dm);
	return ret;
}

int dmirror_destroy(struct dmirror *dm)
{
	int ret;

	if (!dm)
		return 0;
	dm_engines_stop(dm);
	/* After this no callback runs, and what it uses may go. */
	ret = hmm_mirror_unregister(&dm->mirror);
	if (ret)
		return ret;
	dm_oracle_exit(dm);
	pt_destroy(&dm->pt);
	free(dm->engines);
	free(dm);
	return 0;
}
