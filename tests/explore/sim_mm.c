// SPDX-License-Identifier: MIT OR GPL-2.0
/* sim_mm.c - the simulated address space and the primitives of port.h */
#include <string.h>

#include "sim.h"

struct world world;

void sim_reset(void)
{
	memset(&world, 0, sizeof(world));
	world.vma_flags = HMM_VMA_READ | HMM_VMA_WRITE;
	world.next_pfn = 1;
}

/* ---- Locks --------------------------------------------------------------- */

static bool spin_free(void *arg)
{
	return !((spinlock_t *)arg)->holder;
}

void sim_spin_lock(spinlock_t *lock, const char *what)
{
	int me = sched_self() + 1;

	sched_point(what, lock);
	if (lock->holder == me && me)
		sched_fail("%s: held already by this task", what);
	if (lock->holder < 0 || lock->holder > FIBERS)
		sched_fail("%s: in memory that was freed", what);
	if (!spin_free(lock))
		sched_block(what, lock, spin_free, lock);
	lock->holder = me ? me : FIBERS;
	world.spinlocks[me]++;
}

void sim_spin_unlock(spinlock_t *lock, const char *what)
{
	int me = sched_self() + 1;

	if (lock->holder != (me ? me : FIBERS))
		sched_fail("%s: not held by this task", what);
	lock->holder = 0;
	world.spinlocks[me]--;
}

bool sim_spin_held(const spinlock_t *lock)
{
	return lock->holder == (sched_self() < 0 ? FIBERS : sched_self() + 1);
}

static void may_sleep(const char *what)
{
	if (world.spinlocks[sched_self() + 1])
		sched_fail("%s: sleeps under a spin lock", what);
}

struct sem_wait {
	struct sim_rwsem *sem;
	bool write;
};

static bool sem_free(void *arg)
{
	const struct sem_wait *w = arg;

	return !w->sem->writer && !(w->write && w->sem->readers);
}

void sim_down(struct sim_rwsem *sem, bool write, const char *what)
{
	struct sem_wait w = { .sem = sem, .write = write };

	may_sleep(what);
	sched_point(what, sem);
	if (!sem_free(&w))
		sched_block(what, sem, sem_free, &w);
	if (write)
		sem->writer = sched_self() + 2;
	else
		sem->readers++;
}

void sim_up(struct sim_rwsem *sem, bool write)
{
	if (write)
		sem->writer = 0;
	else if (--sem->readers < 0)
		sched_fail("a read lock was dropped that was not held");
}

/* ---- Waiting ------------------------------------------------------------- */

struct wait {
	const wait_queue_head_t *wq;
	uint32_t seq;
};

static bool woken(void *arg)
{
	const struct wait *w = arg;

	return w->wq->seq != w->seq;
}

void wake_up_all(wait_queue_head_t *wq)
{
	sched_point("wake_up_all", wq);
	wq->seq++;
}

uint32_t sim_wait_begin(wait_queue_head_t *wq)
{
	sched_point("prepare to wait", wq);
	return wq->seq;
}

bool sim_wait_sleep(wait_queue_head_t *wq, uint32_t seq, const char *what)
{
	struct wait w = { .wq = wq, .seq = seq };

	may_sleep(what);
	return sched_wait(what, wq, woken, &w);
}

static bool flag_is_set(void *arg)
{
	return *(unsigned int *)arg;
}

void sim_flag_wait(unsigned int i)
{
	sched_block("wait for the other task", &world.flag[i], flag_is_set,
		    &world.flag[i]);
}

void sim_flag_set(unsigned int i)
{
	sched_point("let the other task go on", &world.flag[i]);
	world.flag[i] = 1;
}

/* ---- Memory -------------------------------------------------------------- */

void *sim_alloc(size_t size)
{
	uint64_t *p = world.heap + world.heap_used;

	may_sleep("allocation");
	if (sched_choose(2, "the allocation fails"))
		return NULL;
	world.heap_used += (size + 7) / 8;
	if (world.heap_used > sizeof(world.heap) / sizeof(world.heap[0]))
		sched_fail("the simulated heap is too small");
	world.allocations++;
	return p;
}

void sim_free(void *p)
{
	world.allocations -= !!p;
}

/* ---- The address space --------------------------------------------------- */

static unsigned int page_of(unsigned long addr)
{
	return (unsigned int)((addr - SIM_BASE) >> PAGE_SHIFT);
}

static void map_new_page(struct sim_page *page, bool writable)
{
	page->pfn = world.next_pfn++;
	page->writable = writable;
	page->shared = false;
	if (world.next_pfn > SIM_PFNS)
		sched_fail("the simulation is out of pages");
}

void sim_populate(unsigned int first, unsigned int end)
{
	for (; first < end; first++)
		map_new_page(&world.page[first], true);
}

void sim_change_pages(unsigned int id, enum change_what what)
{
	const struct sim_change *change = &world.change[id];
	unsigned int i;

	if (what == CHANGE_HOLD)
		sim_flag_wait(0);
	for (i = change->first; i < change->end; i++) {
		struct sim_page *page = &world.page[i];

		sched_point("change the entry", page);
		if (what == CHANGE_PROTECT) {
			world.protector[page->pfn] = (uint8_t)id;
			page->writable = false;
			continue;
		}
		world.killer[page->pfn] = (uint8_t)id;
		page->pfn = 0;
		if (what == CHANGE_REPLACE)
			map_new_page(page, true);
	}
}

int hmm_host_vma(struct mm_struct *mm, unsigned long addr, struct hmm_vma *vma)
{
	(void)mm;
	may_sleep("hmm_host_vma");
	if (addr >= SIM_ADDR(SIM_PAGES))
		return -ENOENT;
	*vma = (struct hmm_vma){
		.start = SIM_ADDR(0),
		.end = SIM_ADDR(SIM_PAGES),
		.flags = world.vma_flags,
	};
	return 0;
}

int hmm_host_read(const struct hmm_range *range, struct hmm_vma *vma,
		  unsigned long start, unsigned long end, uint64_t *cpu)
{
	(void)vma;
	may_sleep("hmm_host_read");
	mmap_assert_locked(range->hmm->mm);
	if (sched_choose(2, "reading the page table fails"))
		return -ENOMEM;
	for (; start < end; start += PAGE_SIZE) {
		const struct sim_page *page = &world.page[page_of(start)];

		sched_point("read the entry", page);
		oracle_read(page_of(start));
		*cpu++ = !page->pfn
				 ? 0
				 : page->pfn << HMM_CPU_PFN_SHIFT |
					   HMM_CPU_PRESENT |
					   (page->writable ? HMM_CPU_WRITE : 0);
	}
	return 0;
}

/* The copy of a shared page is a change like any other. */
static int fault_page(unsigned int i, bool write)
{
	struct sim_page *page = &world.page[i];

	sched_point("fault in the page", page);
	if (!page->pfn) {
		map_new_page(page, write);
	} else if (write && !page->writable) {
		if (page->shared)
			return host_copy_page(i);
		page->writable = true;
	}
	return 0;
}

int hmm_host_fault(struct mm_struct *mm, const struct hmm_vma *vma,
		   unsigned long start, unsigned long end, bool write,
		   bool block)
{
	unsigned int i;
	int ret;

	(void)vma;
	may_sleep("hmm_host_fault");
	mmap_assert_locked(mm);
	if (!block && sched_choose(2, "the fault would block")) {
		mmap_read_unlock(mm);
		return -EAGAIN;
	}
	if (sched_choose(2, "the fault fails"))
		return -ENOMEM;
	for (i = page_of(start); i < page_of(end); i++) {
		ret = fault_page(i, write);
		if (ret)
			return ret;
	}
	return 0;
}
