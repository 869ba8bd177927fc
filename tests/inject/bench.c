// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * bench.c - the scenarios
 *
 * What is asked here of the library is exact while nothing fails.  With
 * something failing each call may say so, but what it says otherwise is true:
 * entries are right as long as the range is valid, and it is not valid once
 * its memory has changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* First: it has parameters of that name. */
#include "mm.h"

#include "bench.h"
#include "plan.h"

static const uint64_t flags[HMM_PFN_FLAG_MAX] = { DEV_VALID, DEV_WRITE, 0x4 };
static const uint64_t values[HMM_PFN_VALUE_MAX] = { 0x100, DEV_NONE,
						    DEV_SPECIAL };

struct mm_struct *mm;
const char *source;

void range_init(struct hmm_range *range, uint64_t *pfns)
{
	*range = (struct hmm_range){
		.pfns = pfns,
		.flags = flags,
		.values = values,
		.pfn_shift = DEV_SHIFT,
	};
}

char *map_at(uintptr_t at, size_t pages, int prot)
{
	char *p =
		mmap((void *)at, pages * PAGE, prot,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at) {
		perror("mmap");
		abort();
	}
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static int pagemap;

void bench_init(void)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static uint64_t real_pfn(const char *p)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry),
		  (off_t)((uintptr_t)p / PAGE * sizeof(entry))) < 0)
		abort();
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

bool is_dead(struct mm_struct *what)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	return hmm_mm_query(what, &info) || info.dead;
}

/* What a snapshot or fault may say with something failing. */
static bool documented(long ret)
{
	switch (ret) {
	case -EBUSY:
	case -EFAULT:
	case -EPERM:
	case -EINVAL:
	case -ENOMEM:
	case -EOPNOTSUPP:
	case -EIO:
		return true;
	default:
		return plan.error && ret == -plan.error;
	}
}

/* ---- A mirror ----------------------------------------------------------- */

unsigned long watched;
int told;

static int sync_pages(struct hmm_mirror *mirror, const struct hmm_update *u)
{
	(void)mirror;
	if (u->start <= watched && watched < u->end)
		__atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);
	return -fails(CALL_callback);
}

static const struct hmm_mirror_ops mirror_ops = {
	.sync_cpu_device_pagetables = sync_pages,
};

int mirror_start(struct hmm_mirror *mirror, struct mm_struct *what)
{
	int ret;

	*mirror = (struct hmm_mirror){ .ops = &mirror_ops };
	mmap_write_lock(what);
	ret = hmm_mirror_register(mirror, what);
	mmap_write_unlock(what);
	return ret;
}

/* A callback that runs may take longer than the library waits. */
int mirror_end(struct hmm_mirror *mirror)
{
	int ret, tries = 0;

	do
		ret = hmm_mirror_unregister(mirror);
	while (ret == -ETIMEDOUT && ++tries < PATIENCE_MS / 1000);
	return ret;
}

bool was_told(void)
{
	return __atomic_load_n(&told, __ATOMIC_SEQ_CST);
}

/* ---- Afterwards --------------------------------------------------------- */

static long get(struct hmm_range *range, struct mm_struct *what, bool fault)
{
	int tries = 0;
	long ret;

	do {
		if (!hmm_range_wait_until_valid(range, PATIENCE_MS))
			return -ETIMEDOUT;
		mmap_read_lock(what);
		ret = fault ? hmm_range_fault(range, true)
			    : hmm_range_snapshot(range);
		mmap_read_unlock(what);
		if (++tries > 200)
			usleep(1000);
	} while (ret == -EBUSY && tries < PATIENCE_MS);
	return ret;
}

/* Given time: a change elsewhere may be counted and not yet described. */
static bool valid_soon(struct hmm_range *range)
{
	int tries;

	for (tries = 0; tries < PATIENCE_MS; tries++) {
		if (hmm_range_valid(range))
			return true;
		if (!__atomic_load_n(&range->valid, __ATOMIC_RELAXED))
			return false;
		usleep(1000);
	}
	return false;
}

long get_valid(struct hmm_range *range, struct mm_struct *what, bool fault)
{
	int tries = 50;
	long ret;

	do {
		ret = get(range, what, fault);
	} while (ret > 0 && !valid_soon(range) && --tries);
	return tries ? ret : -EBUSY;
}

static void check_special(struct mm_struct *what)
{
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
	struct hmm_range range;
	uint64_t pfn;
	long ret;

	if (!vdso)
		return;
	range_init(&range, &pfn);
	if (hmm_range_register(&range, what, vdso - PAGE, vdso))
		return;
	ret = get_valid(&range, what, false);
	if (ret != 1)
		wrong("a snapshot of vvar says %ld", ret);
	else
		check(pfn == DEV_SPECIAL, "vvar is special");
	hmm_range_unregister(&range);
}

/* A mapping of an anonymous inode's, of memory that is not ordinary. */
static void check_device(struct mm_struct *what)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	static int special = -1;
	struct vm_area_struct vma;
	void *p;
	int fd;

	if (!special)
		return;
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0)
		return;
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	if (!hmm_find_vma(what, (uintptr_t)p, &vma)) {
		/* Newer kernels only: what the very first attach says. */
		if (special < 0)
			special = !!(vma.vm_flags & HMM_VM_SPECIAL);
		else
			check(vma.vm_flags & HMM_VM_SPECIAL,
			      "a device's memory is special");
	}
	munmap(p, 2 * PAGE);
}

void check_usable(struct mm_struct *what)
{
	char *p = map_at(0x41000000, 3, PROT_READ | PROT_WRITE);
	struct hmm_mirror mirror;
	struct hmm_range range;
	uint64_t pfns[3];
	int tries;
	long ret;

	memset(p, 1, 3 * PAGE);
	range_init(&range, pfns);
	range.default_flags = DEV_VALID | DEV_WRITE;
	told = 0;
	watched = (uintptr_t)p + PAGE;
	if (!check(!mirror_start(&mirror, what), "afterwards: a mirror"))
		goto out;
	if (!check(!hmm_range_register(&range, what, (uintptr_t)p,
				       (uintptr_t)p + 3 * PAGE),
		   "afterwards: register"))
		goto out_mirror;
	ret = get_valid(&range, what, true);
	if (ret != 3)
		wrong("afterwards: a fault says %ld", ret);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	check(!hmm_range_valid(&range), "afterwards: a change is seen");
	for (tries = 0; tries < PATIENCE_MS && !was_told(); tries++)
		usleep(1000);
	check(was_told(), "afterwards: the mirror is told");
	range.default_flags = 0;
	ret = get_valid(&range, what, false);
	if (ret != 3)
		wrong("afterwards: a snapshot says %ld", ret);
	else
		check(pfns[1] == DEV_NONE, "afterwards: the discarded page");
	hmm_range_unregister(&range);
	check_special(what);
	check_device(what);
out_mirror:
	check(!mirror_end(&mirror), "afterwards: the mirror goes");
out:
	munmap(p, 3 * PAGE);
}

/* ---- Attach, detach, query ---------------------------------------------- */

struct mm_struct *attach(void)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = source };
	struct mm_struct *new = NULL;
	int ret = hmm_mm_attach(&new, &opts);

	if (!ret && new)
		return new;
	wrong("afterwards: attach says %d: %s", ret, last_said());
	return NULL;
}

void detach(struct mm_struct *old)
{
	int ret = hmm_mm_detach(old);

	if (ret)
		wrong("detach says %d", ret);
}

/* vmas from the text of /proc/self/maps. */
void forget_procmap(struct mm_struct *what)
{
	hmm_own_fd_close(&what->vmas.maps);
}

bool attach_failed;

void run_attach(void)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = source };
	struct mm_struct *new = NULL;
	struct hmm_range range;
	uint64_t pfn;
	int ret;

	said();
	ret = hmm_mm_attach(&new, &opts);
	attach_failed = ret != 0;
	if (ret) {
		const char *line = last_said();

		check(ret < 0 && ret > -4096, "attach: an errno");
		check(said(), "attach fails silently");
		if (line[strlen(line) - 1] == ' ' || !strcmp(line, "") ||
		    strstr(line, "(null)") || strstr(line, "Success"))
			wrong("attach says \"%s\"", line);
		return;
	}
	range_init(&range, &pfn);
	if (!hmm_range_register(&range, new, 0x41000000, 0x41001000))
		hmm_range_unregister(&range);
	detach(new);
}

/* The same, used once it is there: what failed on the way must not matter. */
static void run_attach_and_use(void)
{
	struct hmm_attach_opts opts = { .size = sizeof(opts),
					.source = source };
	struct mm_struct *new = NULL;

	if (hmm_mm_attach(&new, &opts))
		return;
	plan_pause();
	if (!is_dead(new))
		check_usable(new);
	else
		check(said(), "dead in silence");
	detach(new);
}

static void run_query(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (strcmp(info.name, source))
			continue;
		if (info.error)
			check(*info.reason, "query: no reason");
	}
}

/* ---- Driver's calls ----------------------------------------------------- */

enum { TOUCHED = 40, HOLE = 42, ALL = 48 };

static void verify(const uint64_t *pfns, const char *p, bool fault,
		   struct hmm_range *range)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	uint64_t pfn[ALL];
	int i;

	for (i = 0; i < ALL; i++)
		pfn[i] = i < TOUCHED ? real_pfn(p + i * PAGE) : 0;
	hmm_mm_query(mm, &info);
	if (!hmm_range_valid(range))
		return;
	for (i = 0; i < ALL; i++) {
		if (i < TOUCHED && !(pfns[i] & DEV_VALID))
			wrong("page %d is there, and the entry %llx", i,
			      (unsigned long long)pfns[i]);
		/* Only such a source sees a page move. */
		else if (i < TOUCHED && !info.pfns_virtual && !*info.misses &&
			 pfns[i] >> DEV_SHIFT != pfn[i])
			wrong("page %d has another pfn", i);
		else if (i >= TOUCHED && i < HOLE && pfns[i] != DEV_NONE)
			wrong("page %d is a hole, and the entry %llx", i,
			      (unsigned long long)pfns[i]);
		else if (i >= HOLE && fault && !(pfns[i] & DEV_VALID))
			wrong("page %d was not faulted", i);
		else if (fault && (i < TOUCHED || i >= HOLE) && i % 2 &&
			 !(pfns[i] & DEV_WRITE))
			wrong("page %d can't be written", i);
	}
}

/* What can't be mirrored must not look as if it could, whatever fails. */
static void look_at_special(void)
{
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
	struct hmm_range range;
	uint64_t pfn;

	range_init(&range, &pfn);
	if (!vdso || hmm_range_register(&range, mm, vdso - PAGE, vdso))
		return;
	hmm_range_wait_until_valid(&range, 300);
	mmap_read_lock(mm);
	if (hmm_range_snapshot(&range) == 1)
		check(pfn == DEV_SPECIAL, "vvar is special");
	mmap_read_unlock(mm);
	hmm_range_unregister(&range);
}

static void run_use(void)
{
	char *p = map_at(0x42000000, TOUCHED, PROT_READ | PROT_WRITE);
	struct hmm_mirror mirror = { 0 };
	struct hmm_range range;
	uint64_t pfns[ALL];
	bool dead;
	long ret;
	int i;

	memset(p, 1, TOUCHED * PAGE);
	map_at(0x42000000 + HOLE * PAGE, ALL - HOLE, PROT_READ | PROT_WRITE);
	range_init(&range, pfns);
	watched = (uintptr_t)p;
	ret = hmm_range_register(&range, mm, (uintptr_t)p,
				 (uintptr_t)p + ALL * PAGE);
	if (!check(!ret, "register"))
		goto out;
	check(!mirror_start(&mirror, mm), "mirror");
	hmm_range_wait_until_valid(&range, 300);
	mmap_read_lock(mm);
	ret = hmm_range_snapshot(&range);
	mmap_read_unlock(mm);
	dead = is_dead(mm);
	if (ret == ALL)
		verify(pfns, p, false, &range);
	else if (!documented(ret) || (ret == -EFAULT && !dead))
		wrong("snapshot says %ld", ret);

	range.pfn_flags_mask = DEV_VALID | DEV_WRITE;
	for (i = 0; i < ALL; i++)
		pfns[i] = i >= TOUCHED && i < HOLE ? 0
			  : i % 2                  ? DEV_VALID | DEV_WRITE
						   : DEV_VALID;
	hmm_range_wait_until_valid(&range, 300);
	mmap_read_lock(mm);
	ret = hmm_range_fault(&range, true);
	mmap_read_unlock(mm);
	if (ret == ALL)
		verify(pfns, p, true, &range);
	else if (!documented(ret))
		wrong("fault says %ld", ret);
	madvise(p + 5 * PAGE, PAGE, MADV_DONTNEED);
	check(!hmm_range_valid(&range), "valid after a change");
	hmm_range_wait_until_valid(&range, 300);
	mmap_read_lock(mm);
	ret = hmm_range_snapshot(&range);
	mmap_read_unlock(mm);
	if (ret == ALL && hmm_range_valid(&range))
		check(pfns[5] == DEV_NONE, "what was discarded is gone");
	munmap(p + 7 * PAGE, PAGE);
	check(!hmm_range_valid(&range), "valid after munmap");
	look_at_special();
out:
	hmm_range_unregister(&range);
	ret = mirror_end(&mirror);
	if (ret)
		wrong("the mirror goes: %ld", ret);
	munmap(p, ALL * PAGE);
}

static void check_vma(unsigned long addr, unsigned long start,
		      unsigned long end, unsigned long vm_flags)
{
	struct vm_area_struct vma;
	int ret = hmm_find_vma(mm, addr, &vma);

	if (ret == -ENOENT && plan.error != ENOENT)
		wrong("find_vma: nothing at %lx", addr);
	if (ret)
		return;
	if (vma.vm_start != start || vma.vm_end != end ||
	    vma.vm_flags != vm_flags)
		wrong("find_vma: %lx-%lx %lx", vma.vm_start, vma.vm_end,
		      vma.vm_flags);
}

static void run_find_vma(void)
{
	char *p = map_at(0x43000000, 8, PROT_READ);
	unsigned long start = (uintptr_t)p;

	mprotect(p + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE);
	check_vma(start + PAGE, start, start + 2 * PAGE, HMM_VM_READ);
	check_vma(start - PAGE, start, start + 2 * PAGE, HMM_VM_READ);
	check_vma(start + 3 * PAGE, start + 2 * PAGE, start + 4 * PAGE,
		  HMM_VM_READ | HMM_VM_WRITE);
	munmap(p, 8 * PAGE);
}

/* ---- Without blocking --------------------------------------------------- */

static char *map_cold_file(size_t pages)
{
	char path[] = "/var/tmp/hmm-inject-XXXXXX";
	int fd = mkstemp(path);
	char *p;

	if (fd < 0 || unlink(path) || ftruncate(fd, (off_t)(pages * PAGE)) ||
	    pwrite(fd, "x", 1, 0) != 1)
		abort();
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	p = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	close(fd);
	return p;
}

static void run_nonblock(void)
{
	char *p = map_cold_file(2);
	struct hmm_range range;
	int tries = 100;
	uint64_t pfns[2];
	long ret;

	range_init(&range, pfns);
	range.default_flags = DEV_VALID;
	if (!check(!hmm_range_register(&range, mm, (uintptr_t)p,
				       (uintptr_t)p + 2 * PAGE),
		   "register"))
		goto out;
	do {
		/* The disk may take its time. */
		if (tries < 50)
			usleep(PATIENCE_MS / 50 * 1000);
		if (tries == 50)
			plan_pause();
		hmm_range_wait_until_valid(&range, 100);
		mmap_read_lock(mm);
		ret = hmm_range_fault(&range, false);
		if (ret != -EAGAIN) {
			mmap_read_unlock(mm);
			continue;
		}
		if (plan.call == CALL_pthread_create && plan_hits() &&
		    tries > 50)
			wrong("no thread, and to come back does not help");
		usleep(500);
	} while ((ret == -EAGAIN || ret == -EBUSY) && --tries);
	if (ret > 0 && hmm_range_valid(&range))
		check(pfns[0] & DEV_VALID, "the page was faulted");
	if (ret < 0 && !documented(ret))
		wrong("non-blocking fault says %ld", ret);
	if (plan.call == CALL_pthread_create && plan_hits())
		check(said(), "no thread, and no message");
	hmm_range_unregister(&range);
out:
	munmap(p, 2 * PAGE);
}

/* ---- The end of a change ------------------------------------------------ */

static sem_t go, done;
static char *discarded;

/* Another thread, which says nothing of itself to the library afterwards. */
static void *discarder(void *arg)
{
	(void)arg;
	for (;;) {
		sem_wait(&go);
		if (!discarded)
			return NULL;
		madvise(discarded, PAGE, MADV_DONTNEED);
		sem_post(&done);
	}
}

static void run_wait(void)
{
	char *p = map_at(0x44000000, 2, PROT_READ | PROT_WRITE);
	struct hmm_range range;
	pthread_t thread;
	uint64_t pfns[2];
	long ret;

	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	if (pthread_create(&thread, NULL, discarder, NULL))
		abort();
	memset(p, 1, 2 * PAGE);
	range_init(&range, pfns);
	if (!check(!hmm_range_register(&range, mm, (uintptr_t)p,
				       (uintptr_t)p + 2 * PAGE),
		   "register"))
		goto out;
	get(&range, mm, false);
	discarded = p;
	sem_post(&go);
	sem_wait(&done);
	check(!hmm_range_valid(&range), "valid after another's change");
	hmm_range_wait_until_valid(&range, 100);
	/* It works when the failure is gone. */
	plan_pause();
	ret = get_valid(&range, mm, false);
	if (ret == 2)
		check(pfns[0] == DEV_NONE && (pfns[1] & DEV_VALID),
		      "what is there");
	else if (!is_dead(mm))
		wrong("a snapshot after the failure says %ld", ret);
	hmm_range_unregister(&range);
out:
	discarded = NULL;
	sem_post(&go);
	pthread_join(thread, NULL);
	munmap(p, 2 * PAGE);
}

/* ---- Fork --------------------------------------------------------------- */

static void run_fork(void)
{
	char *p = map_at(0x45000000, 1, PROT_READ | PROT_WRITE);
	struct hmm_range range, other = { 0 };
	int status = -1;
	uint64_t pfn;
	pid_t pid;

	*p = 1;
	range_init(&range, &pfn);
	range.default_flags = DEV_VALID;
	if (!check(!hmm_range_register(&range, mm, (uintptr_t)p,
				       (uintptr_t)p + PAGE),
		   "register"))
		goto out;
	get(&range, mm, true);
	pid = fork();
	if (!pid) {
		alarm(PATIENCE_MS / 1000);
		if (hmm_range_valid(&range))
			_exit(1);
		if (hmm_range_register(&other, mm, (uintptr_t)p,
				       (uintptr_t)p + PAGE) != -EFAULT)
			_exit(2);
		hmm_range_unregister(&range);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		wrong("the child ends with %x", status);
	hmm_range_unregister(&range);
out:
	munmap(p, PAGE);
}

const struct scenario scenarios[] = {
	{ "attach", .run = run_attach },
	{ "attach-and-use", .run = run_attach_and_use },
	{ "query", .run = run_query },
	{ "use", .run = run_use, .attached = true },
	{ "use-text", .run = run_use, .attached = true, .text = true },
	{ "find-vma", .run = run_find_vma, .attached = true },
	{ "find-vma-text", .run = run_find_vma, .attached = true,
	  .text = true },
	{ "nonblock", .run = run_nonblock, .attached = true, .fresh = true },
	{ "wait", .run = run_wait, .attached = true },
	{ "fork", .run = run_fork, .attached = true },
	{ "monitor", .run = run_monitor, .kind = MONITOR, .only = "uffd" },
	{ "barrier-late", .run = run_barrier_late, .attached = true,
	  .kind = BARRIER },
	{ "answers", .run = run_answers, .attached = true },
	{ "threads", .run = run_threads },
	{ "overflow", .run = run_overflow, .attached = true, .kind = NOTHING },
	{ .name = NULL },
};
