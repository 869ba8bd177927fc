// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mm.c - attach to a process, hold on to it, let go; and fork
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm.h"
#include "uncancelled.h"

const struct hmm_source_ops *const hmm_sources[] = {
	&hmm_source_module,
	&hmm_source_kvm,
	&hmm_source_uffd,
	NULL,
};

/*
 * The registry: every mm that ever was, and the lock for attached, pins and
 * the list.  Outside every other lock of the library but the mmap lock; never
 * held while a source attaches or detaches, which attaching below is for.
 */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct mm_struct *mms;

/* One fork at a time.  Outside of the registry, and of a driver's L. */
static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;
static __thread bool forks; /* this thread holds it */

/* Attach and detach one after the other: both of two that race succeed. */
static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER;

/* ---- Holding on --------------------------------------------------------- */

bool mmget_not_zero(struct mm_struct *mm)
{
	bool ret;

	pthread_mutex_lock(&registry);
	ret = mm->attached && mm_alive(mm);
	if (ret)
		mm->pins++;
	pthread_mutex_unlock(&registry);
	return ret;
}

static void mm_free(struct mm_struct *mm)
{
	HMM_UNCANCELLED;

	/* A fork's child closes what it inherited, unless it did not. */
	if (!mm->forked || !mm->private_files) {
		hmm_vmas_close(mm);
		hmm_events_free(mm);
		hmm_pagemap_close(mm);
	}
	if (!mm->forked)
		mm->src->ops->detach(mm->src);
	mm->src = NULL;
	munmap((void *)mm->alive, PAGE_SIZE);
}

void mmput(struct mm_struct *mm)
{
	bool last;

	pthread_mutex_lock(&registry);
	/* The last one stays until all is freed: not for use, nor for fork. */
	last = mm->pins == 1;
	if (last)
		mm->freeing = true;
	else
		mm->pins--;
	pthread_mutex_unlock(&registry);
	if (!last)
		return;
	mm_free(mm);
	pthread_mutex_lock(&registry);
	mm->pins = 0;
	mm->freeing = false;
	pthread_mutex_unlock(&registry);
}

struct hmm *hmm_host_get(struct mm_struct *mm)
{
	return mmget_not_zero(mm) ? &mm->hmm : ERR_PTR(-EFAULT);
}

struct hmm *hmm_host_find(struct mm_struct *mm)
{
	return hmm_host_get(mm);
}

void hmm_host_put(struct hmm *hmm)
{
	mmput(mm_of(hmm));
}

int hmm_host_cover(struct hmm *hmm, unsigned long start, unsigned long end)
{
	struct hmm_source *src = mm_of(hmm)->src;
	HMM_UNCANCELLED;

	return src->ops->cover ? src->ops->cover(src, start, end) : 0;
}

/* ---- The mmap lock ------------------------------------------------------ */

#ifdef HMM_DEBUG
static __thread int reads, writes;

void mmap_assert_locked(struct mm_struct *mm)
{
	if (!mm->forked && !reads && !writes)
		abort();
}

void mmap_assert_write_locked(struct mm_struct *mm)
{
	if (!mm->forked && !writes)
		abort();
}
#define COUNT(n, by) ((n) += (by))
#else
#define COUNT(n, by) ((void)0)
#endif

/*
 * As with the kernel's, who comes to read waits for who waits to write already:
 * else threads that always fault for a device would keep him out for good.
 */
static void mmap_init_lock(struct mm_struct *mm)
{
	mm->mmap_lock = (pthread_rwlock_t)
		PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
}

void mmap_read_lock(struct mm_struct *mm)
{
	if (READ_ONCE(mm->forked))
		return;
	pthread_rwlock_rdlock(&mm->mmap_lock);
	COUNT(reads, 1);
}

void mmap_read_unlock(struct mm_struct *mm)
{
	if (READ_ONCE(mm->forked))
		return;
	COUNT(reads, -1);
	pthread_rwlock_unlock(&mm->mmap_lock);
}

void mmap_write_lock(struct mm_struct *mm)
{
	if (READ_ONCE(mm->forked))
		return;
	pthread_rwlock_wrlock(&mm->mmap_lock);
	COUNT(writes, 1);
}

void mmap_write_unlock(struct mm_struct *mm)
{
	if (READ_ONCE(mm->forked))
		return;
	COUNT(writes, -1);
	pthread_rwlock_unlock(&mm->mmap_lock);
}

/* ---- Fork --------------------------------------------------------------- */

/*
 * The child gets a copy of the locks as they are.  Those that are held only
 * briefly, and never while calling out, are taken around the fork, so that the
 * child finds them free and what they protect whole.  The mmap lock is none of
 * these, and does nothing on an mm that died by fork.
 */
static bool fork_cares(const struct mm_struct *mm)
{
	return mm->pins && !mm->freeing && !mm->forked;
}

/* The first mm, or the first after mm, whose changes wait; pinned. */
static struct mm_struct *next_waiting(struct mm_struct *mm)
{
	pthread_mutex_lock(&registry);
	for (mm = mm ? mm->next : mms; mm; mm = mm->next)
		if (mm->attached && !mm->forked && mm->src->waits)
			break;
	if (mm)
		mm->pins++;
	pthread_mutex_unlock(&registry);
	return mm;
}

void hmm_fork_begin(void)
{
	struct mm_struct *mm = NULL;

	pthread_mutex_lock(&forking);
	forks = true;
	while ((mm = next_waiting(mm))) {
		mm->fork_begun = hmm_events_fork_begin(mm);
		if (!mm->fork_begun)
			mmput(mm);
	}
}

void hmm_fork_prepare(void)
{
	struct mm_struct *mm;

	pthread_mutex_lock(&registry);
	for (mm = mms; mm; mm = mm->next) {
		if (!fork_cares(mm))
			continue;
		pthread_mutex_lock(&mm->events.drain_lock);
		if (mm->fork_begun)
			hmm_events_fork_pause(mm);
		spin_lock(&mm->hmm.lock);
	}
}

static void fork_unlock(void)
{
	struct mm_struct *mm;

	for (mm = mms; mm; mm = mm->next) {
		if (!fork_cares(mm))
			continue;
		spin_unlock(&mm->hmm.lock);
		pthread_mutex_unlock(&mm->events.drain_lock);
	}
}

void hmm_fork_parent(void)
{
	struct mm_struct *mm;

	fork_unlock();
	/* It only grows, at its head. */
	mm = mms;
	pthread_mutex_unlock(&registry);
	/* Not of a fork that began before the first attach. */
	if (!forks)
		return;
	forks = false;
	for (; mm; mm = mm->next) {
		if (!mm->fork_begun)
			continue;
		mm->fork_begun = false;
		hmm_events_fork_end(mm);
		mmput(mm);
	}
	pthread_mutex_unlock(&forking);
}

void hmm_fork_child(void)
{
	struct hmm_mirror *mirror;
	struct mm_struct *mm;

	fork_unlock();
	for (mm = mms; mm; mm = mm->next) {
		if (!fork_cares(mm))
			continue;
		mm->forked = true;
		/* The callers and waiters were threads of the parent. */
		mm->hmm.calls = NULL;
		for (mirror = mm->hmm.mirrors; mirror; mirror = mirror->next)
			mirror->leaving = false;
		init_waitqueue_head(&mm->hmm.wq);
		hmm_kill(&mm->hmm);
		if (!mm->private_files)
			mm->src->ops->forked(mm->src);
		mm->pins -= mm->fork_begun;
		mm->fork_begun = false;
	}
	pthread_mutex_unlock(&registry);
	hmm_events_forget_self();
	/* A thread that no longer exists may have held them. */
	if (forks)
		pthread_mutex_unlock(&forking);
	else
		pthread_mutex_init(&forking, NULL);
	forks = false;
	pthread_mutex_init(&attaching, NULL);
}

/* ---- Attach ------------------------------------------------------------- */

static int make_alive(struct mm_struct *mm)
{
	unsigned char *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, PAGE_SIZE, MADV_WIPEONFORK)) {
		int ret = -errno;

		munmap(page, PAGE_SIZE);
		return ret;
	}
	*page = 1;
	mm->alive = page;
	return 0;
}

/*
 * An mm that nobody has a pin on, or a new one.  Never given back.  Under
 * attaching, so that nobody else gets the same.
 */
static struct mm_struct *get_unused(void)
{
	struct mm_struct *mm;

	pthread_mutex_lock(&registry);
	for (mm = mms; mm && mm->pins; mm = mm->next)
		;
	pthread_mutex_unlock(&registry);
	if (mm)
		return mm;
	/* Not under the lock: what it maps may be a change, which waits. */
	mm = calloc(1, sizeof(*mm));
	if (!mm)
		return NULL;
	/* Once: whoever comes late takes it, whatever became of the mm. */
	mmap_init_lock(mm);
	pthread_mutex_lock(&registry);
	mm->next = mms;
	mms = mm;
	pthread_mutex_unlock(&registry);
	return mm;
}

static const char *what_to_do(int error)
{
	switch (error) {
	case -EMFILE:
		return ": raise RLIMIT_NOFILE";
	case -EAGAIN:
		return ": no thread could be started: raise RLIMIT_NPROC, or "
		       "try again if another thread is inside execve()";
	case -EACCES:
		return ": /proc/self is closed to a process that changed its "
		       "user: call prctl(PR_SET_DUMPABLE, 1)";
	case -ENOENT:
		return ": no /proc/self/pagemap: mount /proc, on a kernel with "
		       "CONFIG_PROC_PAGE_MONITOR";
	default:
		return "";
	}
}

/* Another process, or changes that wait: not to be shared. */
static bool is_special(const struct hmm_attach_opts *opts)
{
	return opts->pidfd || opts->wait;
}

/* Nor with threads for whom its descriptors are other files. */
static bool is_shared(const struct hmm_attach_opts *opts)
{
	return !is_special(opts) && !opts->private_files;
}

static const char *special_wish(const struct hmm_attach_opts *opts)
{
	return opts->pidfd ? "watch another process" : "make changes wait";
}

static int source_attach(struct mm_struct *mm, const struct hmm_source_ops *ops,
			 const struct hmm_attach_opts *opts, char *why,
			 size_t size)
{
	const struct hmm_attach_to to = { opts->pidfd, opts->wait };

	return is_special(opts) ? ops->attach_to(&mm->src, &to, why, size)
				: ops->attach(&mm->src, why, size);
}

static int mm_attach(struct mm_struct *mm, const struct hmm_source_ops *ops,
		     const struct hmm_attach_opts *opts, char *why, size_t size)
{
	int ret;

	/* After a fork that pthread_atfork() did not see, too. */
	hmm_events_forget_self();
	/* A thread that no longer exists may have held it. */
	if (mm->forked)
		mmap_init_lock(mm);
	mm->forked = false;
	mm->private_files = opts->private_files;
	mm->shared = is_shared(opts);
	ret = make_alive(mm);
	if (ret)
		goto out;
	ret = source_attach(mm, ops, opts, why, size);
	if (ret)
		goto out_alive;
	ret = hmm_pagemap_open(mm);
	if (ret)
		goto out_source;
	hmm_init(&mm->hmm, mm, mm->src->started);
	hmm_faulter_init(&mm->faulter);
	ret = hmm_events_start(mm);
	if (ret)
		goto out_pagemap;
	hmm_vmas_open(mm);

	pthread_mutex_lock(&registry);
	mm->attached = 1;
	mm->pins = 1;
	pthread_mutex_unlock(&registry);
	return 0;

out_pagemap:
	hmm_pagemap_close(mm);
out_source:
	ops->detach(mm->src);
	mm->src = NULL;
out_alive:
	munmap((void *)mm->alive, PAGE_SIZE);
out:
	if (ret && !*why)
		snprintf(why, size, "%s%s", strerror(-ret), what_to_do(ret));
	return ret;
}

static struct mm_struct *find_attached(const struct hmm_source_ops *ops)
{
	struct mm_struct *mm;

	pthread_mutex_lock(&registry);
	for (mm = mms; mm; mm = mm->next)
		if (mm->attached && mm->shared && mm_alive(mm) &&
		    mm->src->ops == ops && !READ_ONCE(mm->hmm.dead))
			break;
	if (mm) {
		mm->attached++;
		mm->pins++;
	}
	pthread_mutex_unlock(&registry);
	return mm;
}

static int attach_source(struct mm_struct **mmp,
			 const struct hmm_source_ops *ops,
			 const struct hmm_attach_opts *opts, char *why,
			 size_t size)
{
	struct mm_struct *mm = NULL;
	int ret;

	*why = '\0';
	if (is_special(opts) && !ops->attach_to) {
		snprintf(why, size,
			 "it can't %s; the source module can: load hmm.ko",
			 special_wish(opts));
		return -ENOTSUP;
	}
	if (is_shared(opts))
		mm = find_attached(ops);
	if (!mm) {
		ret = hmm_register_fork();
		if (!ret)
			ret = hmm_register_fork_begin();
		if (!ret) {
			mm = get_unused();
			ret = mm ? 0 : -ENOMEM;
		}
		if (ret) {
			snprintf(why, size, "%s", strerror(-ret));
			return ret;
		}
		ret = mm_attach(mm, ops, opts, why, size);
		if (ret)
			return ret;
	}
	*mmp = mm;
	return 0;
}

/*
 * What the caller knows of the options, and zeroes for the rest.  What it knows
 * beyond ours must be zeroes.
 */
static int read_opts(struct hmm_attach_opts *opts,
		     const struct hmm_attach_opts *from)
{
	size_t i, size = from ? from->size : 0;

	*opts = (struct hmm_attach_opts){ .size = sizeof(*opts) };
	if (!from)
		return 0;
	if (size < sizeof(size))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	for (i = sizeof(*opts); i < size; i++)
		if (((const unsigned char *)from)[i])
			return -E2BIG;
	memcpy(opts, from, size < sizeof(*opts) ? size : sizeof(*opts));
	return opts->pidfd < 0 ? -EBADF : 0;
}

static const char *source_name(const struct hmm_attach_opts *opts)
{
	const char *name = opts->source;

	if (!name)
		name = secure_getenv("HMM_SOURCE");
	return name && *name && strcmp(name, "auto") ? name : NULL;
}

int hmm_mm_attach(struct mm_struct **mmp, const struct hmm_attach_opts *from)
{
	const struct hmm_source_ops *const *ops;
	struct hmm_attach_opts opts;
	char why[256] = "";
	const char *name;
	int ret;
	HMM_UNCANCELLED;

	if (!mmp)
		return -EINVAL;
	ret = read_opts(&opts, from);
	if (ret)
		return ret;
	name = source_name(&opts);

	pthread_mutex_lock(&attaching);
	ret = name ? -ENOENT : -ENOTSUP;
	for (ops = hmm_sources; *ops; ops++) {
		if (name ? strcmp(name, (*ops)->name)
			 : is_special(&opts) && !(*ops)->attach_to)
			continue;
		ret = attach_source(mmp, *ops, &opts, why, sizeof(why));
		if (!ret || name)
			break;
		pr_info("hmm: source %s can't be used: %s", (*ops)->name, why);
	}
	pthread_mutex_unlock(&attaching);
	if (!ret)
		return 0;
	if (name && !*ops)
		pr_warn("hmm: there is no source \"%s\"", name);
	else if (name)
		pr_warn("hmm: source %s can't be used: %s", name, why);
	else if (is_special(&opts))
		pr_warn("hmm: can't %s: %s", special_wish(&opts), why);
	else
		pr_warn("hmm: no source can be used; the last one says: %s",
			why);
	return name || is_special(&opts) ? ret : -ENOTSUP;
}

/* ---- Detach ------------------------------------------------------------- */

/*
 * A callback that doesn't return keeps the pin of the attach, and all that it
 * may look at.
 */
static int stop(struct mm_struct *mm)
{
	hmm_faulter_stop(&mm->faulter);
	if (!hmm_events_stop(mm)) {
		pr_warn("hmm: a mirror's callback did not return in %d ms; its "
			"address space stays in memory",
			HMM_RANGE_DEFAULT_TIMEOUT);
		return -ETIMEDOUT;
	}
	if (mm->src->ops->quit)
		mm->src->ops->quit(mm->src);
	return 0;
}

int hmm_mm_detach(struct mm_struct *mm)
{
	bool stops;
	int ret = 0;
	HMM_UNCANCELLED;

	if (!mm)
		return -EINVAL;
	pthread_mutex_lock(&registry);
	if (!mm->attached)
		ret = -EINVAL;
	else if (!mm_alive(mm))
		mm->forked = true; /* by a system call without handlers */
	pthread_mutex_unlock(&registry);
	if (ret)
		return ret;
	if (!READ_ONCE(mm->forked) && hmm_in_callback(&mm->hmm))
		return -EDEADLK;

	/* Who attaches next finds nothing watched by the one before. */
	pthread_mutex_lock(&attaching);
	/* Nobody is in the middle of a snapshot when the mm goes, nor begins one. */
	mmap_write_lock(mm);
	pthread_mutex_lock(&registry);
	/* In a fork's child there is nobody to wait for. */
	stops = mm->attached == 1 && !mm->forked;
	if (mm->attached)
		mm->attached--;
	else
		ret = -EINVAL;
	pthread_mutex_unlock(&registry);
	if (stops)
		hmm_kill(&mm->hmm);
	mmap_write_unlock(mm);
	if (stops)
		ret = stop(mm);
	pthread_mutex_unlock(&attaching);
	/* Callbacks may attach again. */
	if (!ret && stops)
		hmm_release(&mm->hmm);
	if (!ret)
		mmput(mm);
	return ret;
}

/* ---- Questions ---------------------------------------------------------- */

/*
 * A caller that was compiled with another version has fewer members, or more,
 * which are zeroes then.
 */
static bool size_is_good(size_t size)
{
	return size >= sizeof(size) && size <= PAGE_SIZE;
}

static void answer(void *to, size_t size, const void *from, size_t ours)
{
	memset(to, 0, size);
	memcpy(to, from, size < ours ? size : ours);
	memcpy(to, &size, sizeof(size));
}

static void query(struct mm_struct *mm, struct hmm_mm_info *info)
{
	struct hmm_events *ev;

	if (!mmget_not_zero(mm)) {
		*info = (struct hmm_mm_info){
			.source = "",
			.mechanism = "",
			.misses = "",
			.dead = true,
		};
		return;
	}
	ev = &mm->events;
	hmm_events_look(mm);
	*info = (struct hmm_mm_info){
		.source = mm->src->ops->name,
		.mechanism = mm->src->mechanism,
		.misses = mm->src->ops->misses,
		.level = mm->src->waits ? 3 : mm->src->ops->level,
		.pfns_virtual = mm->pfns_virtual,
		.dead = READ_ONCE(mm->hmm.dead),
		/* told first: it may then only seem further behind than it is. */
		.told = hmm_load_acquire(&ev->told),
		.barriers = READ_ONCE(ev->barriers),
		.late = READ_ONCE(ev->late) +
			(mm->src->late ? READ_ONCE(*mm->src->late) : 0),
	};
	info->started = hmm_load_acquire(mm->hmm.started);
	pthread_mutex_lock(&ev->drain_lock);
	memcpy(info->changes, ev->counts, sizeof(info->changes));
	pthread_mutex_unlock(&ev->drain_lock);
	info->lost = info->changes[HMM_CHANGE_LOST];
	mmput(mm);
}

int hmm_mm_query(struct mm_struct *mm, struct hmm_mm_info *info)
{
	struct hmm_mm_info found;

	if (!mm || !info || !size_is_good(info->size))
		return -EINVAL;
	query(mm, &found);
	answer(info, info->size, &found, sizeof(found));
	return 0;
}

int hmm_source_query(unsigned int index, struct hmm_source_info *info)
{
	const struct hmm_attach_opts opts = { .size = sizeof(opts) };
	const struct hmm_source_ops *ops;
	struct hmm_source_info found;
	struct mm_struct *mm = NULL;
	unsigned int i;
	HMM_UNCANCELLED;

	if (!info || !size_is_good(info->size))
		return -EINVAL;
	for (i = 0; i < index && hmm_sources[i]; i++)
		;
	ops = hmm_sources[i];
	if (!ops)
		return -ENOENT;
	found = (struct hmm_source_info){
		.name = ops->name,
		.misses = ops->misses,
		.level = ops->level,
	};
	pthread_mutex_lock(&attaching);
	found.error = attach_source(&mm, ops, &opts, found.reason,
				    sizeof(found.reason));
	pthread_mutex_unlock(&attaching);
	if (!found.error)
		hmm_mm_detach(mm);
	answer(info, info->size, &found, sizeof(found));
	return 0;
}

const char *hmm_change_kind_name(enum hmm_change_kind kind)
{
	static const char *const names[HMM_CHANGE_KIND_MAX] = {
		[HMM_CHANGE_OTHER] = "other",
		[HMM_CHANGE_UNMAP] = "unmap",
		[HMM_CHANGE_REMAP] = "remap",
		[HMM_CHANGE_PROTECT] = "protect",
		[HMM_CHANGE_DISCARD] = "discard",
		[HMM_CHANGE_TRUNCATE] = "truncate",
		[HMM_CHANGE_COW] = "cow",
		[HMM_CHANGE_FORK] = "fork",
		[HMM_CHANGE_RECLAIM] = "reclaim",
		[HMM_CHANGE_MIGRATE] = "migrate",
		[HMM_CHANGE_MERGE] = "merge",
		[HMM_CHANGE_COLLAPSE] = "collapse",
		[HMM_CHANGE_LOST] = "lost",
	};

	return (unsigned int)kind < HMM_CHANGE_KIND_MAX ? names[kind] : "?";
}

unsigned int hmm_version(void)
{
	return HMM_VERSION_MAJOR << 16 | HMM_VERSION_MINOR;
}
