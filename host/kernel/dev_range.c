// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_range.c - ranges and vmas, by request
 *
 * The core gets a format of ours, not the caller's, whose flags might be
 * such that one can't tell what is a pfn: only who may see a pfn gets one.
 * Entries are in our memory until no lock is held, because writing to the
 * caller's may take the very mmap lock.
 */
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dev.h"
#include "range.h"
#include "walker.h"

/*
 * Whoever changes a page marks all that overlap, and is not preempted: reclaim,
 * page by page, and a thread on each CPU, which wait for one another.
 */
static unsigned int ranges_per_file = 1u << 12;
module_param(ranges_per_file, uint, 0644);
MODULE_PARM_DESC(ranges_per_file,
		 "how many ranges may be registered with one file of /dev/hmm");

/* What the core is asked for, and what it answers. */
#define ENTRY_VALID 0x1ull
#define ENTRY_WRITE 0x2ull
#define ENTRY_DEVICE 0x4ull
#define ENTRY_ERROR 0x10ull
#define ENTRY_NONE 0x20ull
#define ENTRY_SPECIAL 0x40ull
#define ENTRY_PFN_SHIFT 8

static const u64 entry_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = ENTRY_VALID,
	[HMM_PFN_WRITE] = ENTRY_WRITE,
	[HMM_PFN_DEVICE_PRIVATE] = ENTRY_DEVICE,
};

static const u64 entry_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = ENTRY_ERROR,
	[HMM_PFN_NONE] = ENTRY_NONE,
	[HMM_PFN_SPECIAL] = ENTRY_SPECIAL,
};

/*
 * A registered range.  It pins nothing: the ring may be mapped in the very
 * address space that it would pin, whose end is what closes the file then.
 */
struct dev_range {
	struct hmm_range range;
	bool busy; /* a request on it is going on; under the ids' lock */
};

static struct hmm_range unregistered(void)
{
	return (struct hmm_range){
		.flags = entry_flags,
		.values = entry_values,
		.pfn_shift = ENTRY_PFN_SHIFT,
	};
}

/*
 * The mmap lock, for read.  One whom all wait for must not wait for them: the
 * lock may be with a change that waits for an acknowledgement.
 */
static int lock_mm(struct hmm_file *f, struct mm_struct *mm)
{
	if (!dev_hold_is_acker(f))
		return mmap_read_lock_killable(mm) ? -EINTR : 0;
	while (!mmap_read_trylock(mm)) {
		if (dev_hold_would_deadlock(f))
			return -EDEADLK;
		if (schedule_timeout_killable(1) &&
		    fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* ---- Vmas --------------------------------------------------------------- */

long dev_vma(struct hmm_file *f, void __user *user)
{
	struct mm_struct *mm = f->hmm->mm;
	struct hmm_dev_vma answer;
	struct hmm_vma vma;
	int ret;

	BUILD_BUG_ON(HMM_DEV_VM_READ != HMM_VMA_READ ||
		     HMM_DEV_VM_WRITE != HMM_VMA_WRITE ||
		     HMM_DEV_VM_SPECIAL != HMM_VMA_SPECIAL);
	if (copy_from_user(&answer, user, sizeof(answer)))
		return -EFAULT;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	ret = lock_mm(f, mm);
	if (!ret) {
		ret = hmm_host_vma(mm, answer.addr, &vma);
		mmap_read_unlock(mm);
	}
	mmput(mm);
	if (ret)
		return ret;
	answer.start = vma.start;
	answer.end = vma.end;
	answer.flags = vma.flags;
	answer.pad = 0;
	return copy_to_user(user, &answer, sizeof(answer)) ? -EFAULT : 0;
}

/* ---- Registered ranges -------------------------------------------------- */

/* It is the caller's until give() or discard(). */
static struct dev_range *take(struct hmm_file *f, unsigned long id)
{
	struct dev_range *r;

	xa_lock(&f->ranges);
	r = xa_load(&f->ranges, id);
	if (!r)
		r = ERR_PTR(-ENOENT);
	else if (r->busy)
		r = ERR_PTR(-EALREADY);
	else
		r->busy = true;
	xa_unlock(&f->ranges);
	return r;
}

static void give(struct hmm_file *f, struct dev_range *r)
{
	xa_lock(&f->ranges);
	r->busy = false;
	xa_unlock(&f->ranges);
}

static void discard(struct hmm_file *f, struct dev_range *r, unsigned long id)
{
	xa_lock(&f->ranges);
	__xa_erase(&f->ranges, id);
	f->nr_ranges--;
	xa_unlock(&f->ranges);
	hmm_range_remove(&r->range);
	kfree(r);
}

static bool room_for_one(struct hmm_file *f)
{
	bool ret;

	xa_lock(&f->ranges);
	ret = f->nr_ranges < READ_ONCE(ranges_per_file);
	f->nr_ranges += ret;
	xa_unlock(&f->ranges);
	return ret;
}

long dev_register(struct hmm_file *f, void __user *user)
{
	struct mm_struct *mm = f->hmm->mm;
	struct hmm_dev_register req;
	struct dev_range *r;
	int ret;

	if (copy_from_user(&req, user, sizeof(req)))
		return -EFAULT;
	if (req.pad)
		return -EINVAL;
	if (!room_for_one(f))
		return -ENOSPC;
	ret = -ENOMEM;
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		goto out_room;
	r->busy = true;
	r->range = unregistered();
	ret = -ESRCH;
	if (!mmget_not_zero(mm))
		goto out_free;
	ret = hmm_range_insert(&r->range, mm, req.start, req.end);
	mmput(mm);
	if (ret)
		goto out_free;
	ret = xa_alloc(&f->ranges, &req.id, r, xa_limit_32b,
		       GFP_KERNEL_ACCOUNT);
	if (ret)
		goto out_remove;
	if (copy_to_user(user, &req, sizeof(req))) {
		discard(f, r, req.id);
		return -EFAULT;
	}
	give(f, r);
	return 0;

out_remove:
	hmm_range_remove(&r->range);
out_free:
	kfree(r);
out_room:
	xa_lock(&f->ranges);
	f->nr_ranges--;
	xa_unlock(&f->ranges);
	return ret;
}

long dev_unregister(struct hmm_file *f, unsigned long id)
{
	struct dev_range *r = take(f, id);

	if (IS_ERR(r))
		return PTR_ERR(r);
	discard(f, r, id);
	return 0;
}

long dev_valid(struct hmm_file *f, unsigned long id)
{
	struct dev_range *r = take(f, id);
	bool valid;

	if (IS_ERR(r))
		return PTR_ERR(r);
	valid = hmm_range_valid(&r->range);
	give(f, r);
	return valid;
}

/* The API's wait can't be interrupted, so it is done in parts. */
#define WAIT_PART 20ul /* ms */

static int wait_in_parts(struct hmm_file *f, struct hmm_range *range,
			 unsigned long ms)
{
	unsigned long part;

	for (;;) {
		part = min(ms, WAIT_PART);
		if (hmm_range_wait_until_valid(range, part))
			return 0;
		if (READ_ONCE(f->hmm->dead))
			return -ESRCH;
		ms -= part;
		if (!ms)
			return -ETIMEDOUT;
		if (signal_pending(current))
			return -EINTR;
		if (dev_hold_would_deadlock(f))
			return -EDEADLK;
	}
}

long dev_wait(struct hmm_file *f, void __user *user)
{
	struct hmm_dev_wait req;
	struct dev_range *r;
	int ret;

	if (copy_from_user(&req, user, sizeof(req)))
		return -EFAULT;
	r = take(f, req.id);
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = wait_in_parts(f, &r->range, req.ms);
	give(f, r);
	return ret;
}

/* ---- Snapshot and fault ------------------------------------------------- */

struct dev_walk {
	struct hmm_file *f;
	struct hmm_dev_range req;
	struct hmm_range *range;
	u64 *entries;
	unsigned long nr;
	bool fault;
};

static u64 to_entry(const struct hmm_dev_range *req, u64 request)
{
	u64 entry = 0;

	if (!(request & req->flags[HMM_PFN_VALID]))
		return 0;
	entry = ENTRY_VALID;
	if (request & req->flags[HMM_PFN_WRITE])
		entry |= ENTRY_WRITE;
	if (request & req->flags[HMM_PFN_DEVICE_PRIVATE])
		entry |= ENTRY_DEVICE;
	return entry;
}

static u64 from_entry(const struct dev_walk *w, u64 entry, unsigned long i)
{
	const struct hmm_dev_range *req = &w->req;
	u64 pfn, ret;

	if (entry == ENTRY_NONE)
		return req->values[HMM_PFN_NONE];
	if (entry == ENTRY_ERROR)
		return req->values[HMM_PFN_ERROR];
	if (entry == ENTRY_SPECIAL)
		return req->values[HMM_PFN_SPECIAL];
	pfn = entry >> ENTRY_PFN_SHIFT;
	if (!w->f->privileged)
		pfn = (req->start >> PAGE_SHIFT) +
		      ((u64)i << (req->page_shift - PAGE_SHIFT));
	ret = pfn << req->pfn_shift | req->flags[HMM_PFN_VALID];
	if (entry & ENTRY_WRITE)
		ret |= req->flags[HMM_PFN_WRITE];
	if (entry & ENTRY_DEVICE)
		ret |= req->flags[HMM_PFN_DEVICE_PRIVATE];
	return ret;
}

/* What is asked for, in our format. */
static int get_requests(struct dev_walk *w)
{
	const struct hmm_dev_range *req = &w->req;
	struct hmm_range *range = w->range;
	u64 all;
	unsigned long i;

	range->pfns = w->entries;
	range->page_shift = req->page_shift;
	range->default_flags = to_entry(req, req->default_flags);
	range->pfn_flags_mask = 0;
	all = range->default_flags;
	if (w->fault && req->pfn_flags_mask) {
		if (copy_from_user(w->entries, u64_to_user_ptr(req->pfns),
				   w->nr * sizeof(u64)))
			return -EFAULT;
		for (i = 0; i < w->nr; i++) {
			u64 bits = w->entries[i] & req->pfn_flags_mask;

			w->entries[i] =
				to_entry(req, bits | req->default_flags);
			all |= w->entries[i];
		}
		range->default_flags = 0;
		range->pfn_flags_mask = ~0ull;
	}
	if (w->fault && (all & ENTRY_WRITE) && !w->f->writable)
		return -EACCES;
	return 0;
}

static int put_results(struct dev_walk *w, void __user *user)
{
	unsigned long i;

	for (i = 0; i < w->nr; i++)
		w->entries[i] = from_entry(w, w->entries[i], i);
	w->req.nr = w->nr;
	if (copy_to_user(u64_to_user_ptr(w->req.pfns), w->entries,
			 w->nr * sizeof(u64)) ||
	    copy_to_user(user, &w->req, sizeof(w->req)))
		return -EFAULT;
	return 0;
}

/*
 * Up to which count and record the entries hold.  No change starts or ends
 * meanwhile, and if the range is valid none that started so far overlaps.
 */
static int stamp(struct dev_walk *w)
{
	struct hmm_file *f = w->f;
	bool valid;

	hmm_marks_lock(f->hmm);
	valid = hmm_range_valid(w->range);
	w->req.started = f->ring.shared->started;
	w->req.head = f->ring.shared->head;
	hmm_marks_unlock(f->hmm);
	return valid ? 0 : -EBUSY;
}

static int walk_once(struct dev_walk *w, struct mm_struct *mm)
{
	long ret = lock_mm(w->f, mm);

	if (ret)
		return (int)ret;
	ret = w->fault ? hmm_range_fault(w->range, false)
		       : hmm_range_snapshot(w->range);
	if (ret != -EAGAIN)
		mmap_read_unlock(mm);
	/* Which for an address space that is in use means the memory. */
	if (ret == -EFAULT)
		return -ENXIO;
	return ret < 0 ? (int)ret : stamp(w);
}

/* What is asked for at addr, in our format. */
static u64 requested(const struct dev_walk *w, unsigned long addr)
{
	const struct hmm_range *range = w->range;

	if (!range->pfn_flags_mask)
		return range->default_flags;
	return w->entries[(addr - range->start) >> range->page_shift];
}

/*
 * Fault in what is asked for.  Whom a page keeps waiting, one of a file system
 * that is a process for example, holds no lock then and may be interrupted.
 */
static int bring_in(struct dev_walk *w, struct mm_struct *mm)
{
	unsigned long addr = w->range->start;
	int ret = lock_mm(w->f, mm);
	u64 entry;

	if (ret)
		return ret;
	while (addr < w->range->end && !ret) {
		entry = requested(w, addr);
		if (entry & ENTRY_VALID)
			ret = hmm_walker_bring(mm, addr, entry & ENTRY_WRITE);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (!ret)
			addr += PAGE_SIZE;
		if (ret != -EAGAIN) {
			cond_resched();
			continue;
		}
		/* Again: it may be there, or have been taken away. */
		ret = signal_pending(current) ? -EINTR : lock_mm(w->f, mm);
		if (ret)
			return ret;
	}
	mmap_read_unlock(mm);
	return ret == -EFAULT ? -ENXIO : ret;
}

static int walk_mm(struct dev_walk *w, struct mm_struct *mm)
{
	int ret;

	for (;;) {
		ret = walk_once(w, mm);
		if (ret != -EAGAIN || !(w->req.options & HMM_DEV_BLOCK))
			return ret;
		ret = bring_in(w, mm);
		if (ret)
			return ret;
		if (signal_pending(current))
			return -EINTR;
	}
}

/* Check what says how many entries there are, and have room for them. */
static int make_room(struct dev_walk *w)
{
	struct hmm_dev_range *req = &w->req;

	if (req->start >= req->end || req->end > TASK_SIZE)
		return -EINVAL;
	if (!req->page_shift)
		req->page_shift = PAGE_SHIFT;
	if (req->page_shift < PAGE_SHIFT || req->page_shift >= 48 ||
	    ((req->start | req->end) & ((1ull << req->page_shift) - 1)))
		return -EINVAL;
	/* Which pages make a block says how memory lies physically. */
	if (req->page_shift > PAGE_SHIFT && !w->f->privileged)
		return -EPERM;
	if ((req->end - req->start) >> PAGE_SHIFT > HMM_DEV_PAGES)
		return -E2BIG;
	w->nr = (req->end - req->start) >> req->page_shift;
	if (req->nr < w->nr)
		return -EINVAL;
	/* To reach a limit is the caller's affair, not one for the log. */
	w->entries = kvmalloc_array(w->nr, sizeof(u64),
				    GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return w->entries ? 0 : -ENOMEM;
}

static int do_walk(struct dev_walk *w, void __user *user)
{
	struct mm_struct *mm = w->f->hmm->mm;
	struct hmm_range once = unregistered();
	int ret = make_room(w);

	if (ret)
		return ret;
	if (!w->range)
		w->range = &once;
	ret = get_requests(w);
	if (ret)
		goto out;
	ret = -ESRCH;
	if (!mmget_not_zero(mm))
		goto out;
	ret = 0;
	if (w->range == &once)
		ret = hmm_range_register(&once, mm, w->req.start, w->req.end);
	if (!ret)
		ret = walk_mm(w, mm);
	/* Nothing happens if it is not registered. */
	hmm_range_unregister(&once);
	mmput(mm);
	if (!ret)
		ret = put_results(w, user);
out:
	w->range->pfns = NULL;
	kvfree(w->entries);
	return ret;
}

long dev_walk(struct hmm_file *f, void __user *user, bool fault)
{
	struct dev_walk w = { .f = f, .fault = fault };
	struct hmm_dev_range *req = &w.req;
	struct dev_range *r;
	int ret;

	if (copy_from_user(req, user, sizeof(*req)))
		return -EFAULT;
	if (req->options & ~(fault ? HMM_DEV_BLOCK : 0u) ||
	    memchr_inv(req->pad, 0, sizeof(req->pad)) || req->pfn_shift >= 64)
		return -EINVAL;
	if (!req->id) {
		req->start &= PAGE_MASK;
		req->end &= PAGE_MASK;
		return do_walk(&w, user);
	}
	r = take(f, req->id);
	if (IS_ERR(r))
		return PTR_ERR(r);
	w.range = &r->range;
	req->start = r->range.start;
	req->end = r->range.end;
	ret = do_walk(&w, user);
	give(f, r);
	return ret;
}

/* ---- Life --------------------------------------------------------------- */

void dev_ranges_init(struct hmm_file *f)
{
	xa_init_flags(&f->ranges, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
}

void dev_ranges_exit(struct hmm_file *f)
{
	struct dev_range *r;
	unsigned long id;

	xa_for_each(&f->ranges, id, r)
	{
		hmm_range_remove(&r->range);
		kfree(r);
		cond_resched();
	}
	xa_destroy(&f->ranges);
}
