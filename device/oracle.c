// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * oracle.c - does the device hold what the CPUs hold?
 *
 * An entry that differs from the CPUs' is not wrong yet: it may be that its
 * removal is on the way.  So it becomes a suspect, marked in the page table,
 * and is judged later:
 *
 *  1. look, under L: the entry differs; mark it.
 *  2. Let everybody who holds the kernel's mmap lock drop it.  munmap() takes a
 *     vma away, which pagemap sees, before it changes entries, which sources
 *     see; but both under one hold of that lock.
 *  3. Sample started.  The change that was seen in 1 is counted by now.
 *  4. Wait until told has got there: the mirrors' callbacks have run for it.
 *  5. That mark is still there, so it is the same entry: it is stale.
 *
 * A source of level 1 counts a change only when it has been made: 3 gives it
 * some time, or asks the one who knows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define PM_PRESENT (1ull << 63)
#define PM_PFN ((1ull << 55) - 1)

/* How long an event of a level 1 source may be behind its change. */
#define GRACE_NS 1000000000ull
/* How long the mirrors may take to be told, on a machine that is busy. */
#define TOLD_NS 100000000000ull

static int open_pagemap(pid_t other)
{
	char path[32] = "/proc/self/pagemap";
	int fd;

	if (other)
		snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)other);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Our own is opened each time: the device may be used by threads with descriptor
 * tables of their own, and by a fork's child that has none of ours.  Another
 * process's was opened once, and is of the memory that it had then, even while
 * it executes something.  -ESRCH: that memory is gone.
 */
static int read_pagemap(struct dmirror *dm, unsigned long addr, unsigned long n,
			uint64_t *entries)
{
	int fd = dm->opts.pid ? dm->pagemap : open_pagemap(0);
	size_t len = n * sizeof(*entries);
	ssize_t ret;

	if (fd < 0)
		return fd;
	ret = pread(fd, entries, len,
		    (off_t)(addr / PT_PAGE_SIZE * sizeof(*entries)));
	ret = ret < 0 ? -errno : ret;
	if (!dm->opts.pid)
		close(fd);
	else if (!ret)
		return -ESRCH;
	if (ret < 0)
		return (int)ret;
	/* The file ends with the user's half, and nothing is mapped beyond. */
	memset((char *)entries + ret, 0, len - (size_t)ret);
	return 0;
}

static struct hmm_mm_info query(struct dmirror *dm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	hmm_mm_query(dm->mm, &info);
	return info;
}

int dm_oracle_init(struct dmirror *dm)
{
	uint64_t entry = 0;
	int fd = open_pagemap(0);
	ssize_t ret;

	if (fd < 0)
		return fd;
	ret = pread(
		fd, &entry, sizeof(entry),
		(off_t)((unsigned long)&entry / PT_PAGE_SIZE * sizeof(entry)));
	ret = ret < 0 ? -errno : 0;
	close(fd);
	if (ret)
		return (int)ret;
	/* Our rights now and the library's when it attached may differ. */
	dm->presence = !(entry & PM_PFN) || query(dm).pfns_virtual;
	dm->pagemap = dm->opts.pid ? open_pagemap(dm->opts.pid) : -1;
	return dm->opts.pid && dm->pagemap < 0 ? dm->pagemap : 0;
}

void dm_oracle_exit(struct dmirror *dm)
{
	if (dm->opts.pid)
		close(dm->pagemap);
}

static bool differs(struct dmirror *dm, uint64_t entry, uint64_t pagemap)
{
	if (!(pagemap & PM_PRESENT))
		return true;
	return !dm->presence && (pagemap & PM_PFN) != entry >> PTE_PFN_SHIFT;
}

static bool full(const struct suspects *suspects)
{
	return suspects->nr == SUSPECTS;
}

/* What is there may be suspect already, or again.  0: it is not.  L held. */
static uint64_t mark_at(struct dmirror *dm, unsigned long addr)
{
	uint64_t entry = pt_lookup(&dm->pt, addr);

	if (!(entry & PTE_SUSPECT))
		return 0;
	return entry >> PTE_PFN_SHIFT & ~(PT_HUGE_PAGES - 1);
}

static bool is_left(struct dmirror *dm, const struct suspect *s)
{
	return mark_at(dm, s->addr) == s->mark;
}

/* L held for write. */
static void suspect(struct dmirror *dm, struct suspects *suspects,
		    struct suspect s)
{
	s.mark = mark_at(dm, s.addr);
	if (!s.mark) {
		s.mark = dm->last_mark += PT_HUGE_PAGES;
		pt_suspect(&dm->pt, s.addr, s.mark);
	}
	suspects->s[suspects->nr++] = s;
	dm_count(dm, suspects, 1);
}

int dm_oracle_look(struct dmirror *dm, unsigned long addr, unsigned long n,
		   struct suspects *suspects)
{
	uint64_t pagemap[PT_HUGE_PAGES];
	unsigned long i, seen = 0;
	uint64_t entry;
	int ret;

	ret = read_pagemap(dm, addr, n, pagemap);
	if (ret)
		return ret;
	for (i = 0; i < n && !full(suspects); i++, addr += PT_PAGE_SIZE) {
		entry = pt_lookup(&dm->pt, addr);
		if (!(entry & PTE_VALID))
			continue;
		seen++;
		if (!(entry & PTE_SUSPECT) && differs(dm, entry, pagemap[i]))
			suspect(dm, suspects,
				(struct suspect){ .addr = addr,
						  .entry = entry,
						  .pagemap = pagemap[i] });
	}
	dm_count(dm, verified, seen);
	if (dm->presence)
		dm_count(dm, verify_presence, seen);
	return 0;
}

/* Is anyone left whose mark is still in the page table? */
static bool any_left(struct dmirror *dm, const struct suspects *suspects)
{
	bool ret = false;
	unsigned int i;

	pthread_rwlock_rdlock(&dm->lock);
	for (i = 0; i < suspects->nr && !ret; i++)
		ret = is_left(dm, &suspects->s[i]);
	pthread_rwlock_unlock(&dm->lock);
	return ret;
}

/*
 * Another process's lock is taken for write to forget its peak of resident
 * memory, which no other thing depends on.
 */
static int pass_mmap_lock_of(pid_t pid)
{
	char path[32];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "5", 1) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/*
 * Step 2: the permissions that the mapping has anyway change nothing, but are
 * set under the mmap lock held for write.
 */
static int pass_mmap_lock(struct dmirror *dm)
{
	if (dm->opts.pid)
		return pass_mmap_lock_of(dm->opts.pid);
	if (mprotect(dm->pt.table, PT_PAGE_SIZE, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

/*
 * Steps 2 to 4.  1: the mirrors were told of all that can be an excuse; 0: no
 * suspect is left; -errno: can't know.
 */
static int wait_told(struct dmirror *dm, const struct suspects *suspects,
		     struct hmm_mm_info *info)
{
	uint64_t grace = 0, deadline, started = 0;
	struct timespec ms = { .tv_nsec = 1000000 };
	bool sampled = false;
	int ret;

	ret = pass_mmap_lock(dm);
	if (ret)
		return ret;
	*info = query(dm);
	if (info->level < 2 && !dm->opts.settle)
		grace = dm_now_ns() + GRACE_NS;
	if (info->level < 2 && dm->opts.settle &&
	    !dm->opts.settle(dm->opts.event_ctx))
		return -ETIMEDOUT;
	deadline = dm_now_ns() + GRACE_NS + TOLD_NS;
	while (any_left(dm, suspects)) {
		uint64_t now = dm_now_ns();

		*info = query(dm);
		if (!sampled && now >= grace) {
			started = info->started;
			sampled = true;
		}
		if (sampled && info->told >= started)
			return 1;
		if (now >= deadline)
			return -ETIMEDOUT;
		nanosleep(&ms, NULL);
	}
	return 0;
}

/*
 * The access failed, but the page is there and may be used: memory that the
 * kernel keeps from process_vm_readv(), like that of memfd_secret().
 */
static bool refused(struct dmirror *dm, const struct suspect *s)
{
	unsigned long need = HMM_VM_READ | (s->write ? HMM_VM_WRITE : 0);
	struct vm_area_struct vma;
	uint64_t pagemap;

	return s->access && !hmm_find_vma(dm->mm, s->addr, &vma) &&
	       vma.vm_start <= s->addr && (vma.vm_flags & need) == need &&
	       !read_pagemap(dm, s->addr, 1, &pagemap) &&
	       !differs(dm, s->entry, pagemap);
}

/*
 * A process that executes something has new memory, which accesses go to, some
 * time before the end of the old one is told.
 */
static bool gone(struct dmirror *dm, const struct suspect *s)
{
	uint64_t pagemap;

	return dm->opts.pid && read_pagemap(dm, s->addr, 1, &pagemap) == -ESRCH;
}

static void convict(struct dmirror *dm, const struct suspect *s,
		    const struct hmm_mm_info *info)
{
	dm_count(dm, stale, 1);
	pthread_mutex_lock(&dm->last_lock);
	dm->stats.last_stale = (struct dmirror_stale){
		.addr = s->addr,
		.entry = s->entry,
		.pagemap = s->pagemap,
		.started = info->started,
		.told = info->told,
		.access = s->access,
	};
	pthread_mutex_unlock(&dm->last_lock);
	dm_tell(dm, (struct dmirror_event){ .type = DMIRROR_EVENT_STALE,
					    .start = s->addr,
					    .end = s->addr + PT_PAGE_SIZE,
					    .pages = 1 });
}

/* Step 5.  True if it was still marked; whatever it is, it is dropped. */
static bool drop(struct dmirror *dm, const struct suspect *s)
{
	bool left;

	pthread_rwlock_wrlock(&dm->lock);
	left = is_left(dm, s);
	if (left)
		pt_unmap(&dm->pt, s->addr, s->addr + PT_PAGE_SIZE);
	pthread_rwlock_unlock(&dm->lock);
	return left;
}

struct verdict dm_oracle_judge(struct dmirror *dm, struct suspects *suspects)
{
	struct verdict verdict = { 0 };
	struct hmm_mm_info info = { 0 };
	unsigned int i;
	int told;

	if (!suspects->nr)
		return verdict;
	told = wait_told(dm, suspects, &info);
	for (i = 0; told && i < suspects->nr; i++) {
		const struct suspect *s = &suspects->s[i];
		bool refuses = refused(dm, s);

		if (!drop(dm, s))
			continue;
		verdict.left++;
		if (told < 0) {
			dm_count(dm, undecided, 1);
		} else if (refuses) {
			dm_count(dm, refused, 1);
		} else if (!gone(dm, s)) {
			convict(dm, s, &info);
			verdict.stale++;
		}
	}
	suspects->nr = 0;
	return verdict;
}

int dm_oracle_access_failed(struct dmirror *dm, unsigned long addr, bool write)
{
	const uint64_t need = PTE_VALID | (write ? PTE_WRITE : 0);
	struct suspects suspects = { 0 };
	struct suspect s = { .addr = addr & ~(PT_PAGE_SIZE - 1),
			     .access = true,
			     .write = write };
	bool left;

	pthread_rwlock_wrlock(&dm->lock);
	s.entry = pt_lookup(&dm->pt, addr);
	left = (s.entry & need) == need;
	if (left)
		suspect(dm, &suspects, s);
	pthread_rwlock_unlock(&dm->lock);
	if (!left)
		return 0;
	read_pagemap(dm, s.addr, 1, &suspects.s[0].pagemap);
	return dm_oracle_judge(dm, &suspects).left ? -EFAULT : 0;
}

long dmirror_verify(struct dmirror *dm, unsigned long max_pages)
{
	struct suspects suspects = { 0 };
	unsigned long n, addr;
	long stale = 0;
	int ret = 0;

	if (!dm)
		return -EINVAL;
	if (dm->pid != getpid())
		return -EFAULT;
	while (!ret && max_pages) {
		pthread_rwlock_wrlock(&dm->lock);
		addr = pt_next(&dm->pt, dm->cursor);
		n = (PT_ADDR_END - addr) / PT_PAGE_SIZE;
		if (n > PT_HUGE_PAGES)
			n = PT_HUGE_PAGES;
		if (n > max_pages)
			n = max_pages;
		if (n)
			ret = dm_oracle_look(dm, addr, n, &suspects);
		/* From the start, next time. */
		dm->cursor = n ? addr + n * PT_PAGE_SIZE : 0;
		pthread_rwlock_unlock(&dm->lock);
		stale += dm_oracle_judge(dm, &suspects).stale;
		if (!n)
			break;
		max_pages -= n;
	}
	return ret ? ret : stale;
}
