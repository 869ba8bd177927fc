// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * source_kvm.c - learn of every change from a virtual machine that never runs
 *
 * A KVM VM without memory or vcpus makes the kernel attach an mmu notifier to
 * our mm.  From then on each change of our page tables passes code that a BPF
 * program (source_kvm.bpf.c) can watch, before any entry changes.
 *
 * What is needed besides the ring is kept by kvm_keeper.c, and so is the barrier.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kvm_keeper.h"
#include "kvm_kind.h"
#include "own_fd.h"
#include "source.h"
#include "source_kvm.h"
#include "source_kvm.skel.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* How far records may come out of the order in which they were counted. */
#define KVM_WINDOW 1024

/* Typed changes in progress; one more is treated as if it had no end. */
#define KVM_STARTS 256

/*
 * How long to try to see a change that we made ourselves: another's record may
 * be before it, of which the writer has lost its CPU.
 */
#define KVM_HANDSHAKE_MS 1000

struct kvm_source {
	struct hmm_source src;
	struct kvm_shared *shared;
	pid_t pid;
	bool typed;     /* starts and ends, of our mm only */
	bool ids_known; /* BPF's thread ids are ours: no pid namespace */

	/* The ring, as BPF lays it out. */
	uint64_t *consumer_pos;
	const uint64_t *producer_pos; /* its page, then the records */
	uint32_t ring_id;

	/*
	 * Every ticket below next has been handed on; bits for those above.
	 * Records are not written in the order of their tickets, so that the
	 * number of records taken would not say which.
	 */
	uint64_t next;
	uint64_t ahead[KVM_WINDOW / 64];
	uint64_t lost, lost_ends; /* as of the last drain */
	uint64_t ends;
	uint64_t flush_at; /* where the ring ended when ends were lost, or 0 */
	struct {
		uint64_t key, start, end;
	} starts[KVM_STARTS];
	unsigned int nr_starts;

	struct kvm_keeper keeper;
};

static struct kvm_source *to_kvm(struct hmm_source *src)
{
	return (struct kvm_source *)src;
}

/* ---- Taking records ----------------------------------------------------- */

static struct hmm_event event_of(struct kvm_source *s,
				 const struct kvm_record *r)
{
	return (struct hmm_event){
		.start = r->start & PAGE_MASK,
		.end = r->end > PAGE_MASK
			       ? ~0ul
			       : (r->end + PAGE_SIZE - 1) & PAGE_MASK,
		.owner = s->ids_known && r->tgid == (uint32_t)s->pid ? r->tid
								     : 0,
		.phase = HMM_EVENT_OPEN,
		.kind = hmm_kvm_kind(r),
	};
}

static void take_ticket(struct kvm_source *s, uint64_t ticket)
{
	uint64_t bit = ticket % KVM_WINDOW;

	/* Below: a loss has answered for it.  Beyond: let one do so. */
	if (ticket < s->next)
		return;
	if (ticket - s->next >= KVM_WINDOW) {
		s->lost = ~0ull;
		return;
	}
	s->ahead[bit / 64] |= 1ull << bit % 64;
	for (;;) {
		bit = s->next % KVM_WINDOW;
		if (!(s->ahead[bit / 64] & 1ull << bit % 64))
			break;
		s->ahead[bit / 64] &= ~(1ull << bit % 64);
		s->next++;
	}
}

typedef void (*record_fn)(struct kvm_source *s, const struct kvm_record *r,
			  void *ctx);

/* Walk what is ready up to limit; false if a record there is not yet. */
static bool walk(struct kvm_source *s, uint64_t limit, record_fn fn, void *ctx)
{
	const char *data = (const char *)s->producer_pos + PAGE_SIZE;
	uint64_t pos = *s->consumer_pos;

	while (pos < limit) {
		const uint32_t *head =
			(const void *)(data + (pos & (KVM_RING_SIZE - 1)));
		/* Pairs with the commit of the record. */
		uint32_t len = hmm_load_acquire(head);

		if (len & BPF_RINGBUF_BUSY_BIT)
			return false;
		if (!(len & BPF_RINGBUF_DISCARD_BIT)) {
			const struct kvm_record *r =
				(const void *)((const char *)head +
					       BPF_RINGBUF_HDR_SZ);

			fn(s, r, ctx);
			if (r->phase != KVM_PHASE_END)
				take_ticket(s, r->ticket);
			else
				s->ends++;
		}
		len &= ~BPF_RINGBUF_DISCARD_BIT;
		pos += (len + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
		/* Pairs with the reserve that writes over it. */
		__atomic_store_n(s->consumer_pos, pos, __ATOMIC_RELEASE);
	}
	return true;
}

struct sink {
	hmm_event_fn fn;
	void *ctx;
};

static void end_start(struct kvm_source *s, unsigned int i,
		      const struct sink *sink)
{
	struct hmm_event event = {
		.start = s->starts[i].start,
		.end = s->starts[i].end,
		.phase = HMM_EVENT_END,
	};

	s->starts[i] = s->starts[--s->nr_starts];
	sink->fn(sink->ctx, &event);
}

/*
 * The key of a start is the address of a variable of the one who makes the
 * change: while it is in progress nobody else can have the same.  So a start
 * with the key of another says that the other has ended, and an end whose
 * start is not known ends something that was given up when records were lost.
 */
static void take(struct kvm_source *s, const struct kvm_record *r, void *ctx)
{
	const struct sink *sink = ctx;
	struct hmm_event event;
	unsigned int i;

	if (r->phase != KVM_PHASE_OPEN) {
		for (i = 0; i < s->nr_starts; i++)
			if (s->starts[i].key == r->key)
				break;
		if (i < s->nr_starts)
			end_start(s, i, sink);
		if (r->phase == KVM_PHASE_END)
			return;
	}
	event = event_of(s, r);
	if (r->phase == KVM_PHASE_START && s->nr_starts < KVM_STARTS) {
		event.phase = HMM_EVENT_START;
		event.owner = 0;
		i = s->nr_starts++;
		s->starts[i].key = r->key;
		s->starts[i].start = event.start;
		s->starts[i].end = event.end;
	}
	sink->fn(sink->ctx, &event);
}

/* Everything counted so far is answered for by one change of everything. */
static void lose(struct kvm_source *s, const struct sink *sink)
{
	static const struct hmm_event all = {
		.start = 0,
		.end = ~0ul,
		.phase = HMM_EVENT_OPEN,
		.kind = HMM_CHANGE_LOST,
	};

	s->next = hmm_load_acquire(&s->shared->started);
	memset(s->ahead, 0, sizeof(s->ahead));
	sink->fn(sink->ctx, &all);
}

/*
 * Ends were lost, so forget all starts before flush_at, whether their ends were
 * among them or are to come.  What is still in progress is answered for by a
 * change of everything, and by one of now: that of the loss a barrier may have
 * closed, since another's record, which was not written, was in the way.
 */
static void flush(struct kvm_source *s, const struct sink *sink)
{
	s->flush_at = 0;
	lose(s, sink);
	while (s->nr_starts)
		end_start(s, 0, sink);
}

static int kvm_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		     uint64_t *consumed)
{
	struct kvm_source *s = to_kvm(src);
	struct sink sink = { fn, ctx };
	uint64_t lost, lost_ends, limit;

	/*
	 * What was lost first, then the ring's end: whatever was written before
	 * one of these was lost lies before that end.
	 */
	lost = hmm_load_acquire(&s->shared->lost);
	lost_ends = hmm_load_acquire(&s->shared->lost_ends);
	limit = hmm_load_acquire(s->producer_pos);
	if (lost_ends != s->lost_ends)
		s->flush_at = limit;
	if (s->flush_at && walk(s, s->flush_at, take, &sink)) {
		s->lost = lost;
		s->lost_ends = lost_ends;
		flush(s, &sink);
	}
	/* Starts that come later are none of those to be forgotten. */
	if (!s->flush_at)
		walk(s, limit, take, &sink);
	if (lost != s->lost || lost_ends != s->lost_ends) {
		s->lost = lost;
		s->lost_ends = lost_ends;
		lose(s, &sink);
	}
	*consumed = s->next;
	return 0;
}

static bool kvm_arm(struct hmm_source *src, bool soon)
{
	struct kvm_source *s = to_kvm(src);

	if (!soon) {
		/* Those that are there already are among the many. */
		WRITE_ONCE(s->shared->wake, KVM_WAKE_MANY);
		return true;
	}
	/*
	 * Written before the counters are read: pairs with the BPF program,
	 * which counts and then reads it.
	 */
	__atomic_store_n(&s->shared->wake, KVM_WAKE_ARMED, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return hmm_load_acquire(&s->shared->started) == s->next &&
	       hmm_load_acquire(&s->shared->ended) == s->ends + s->lost_ends;
}

static int kvm_barrier(struct hmm_source *src, char *why, size_t size)
{
	struct kvm_source *s = to_kvm(src);
	int ret;

	if (getpid() != s->pid) {
		snprintf(why, size,
			 "this process inherited the source by fork");
		return -ESRCH;
	}
	ret = hmm_keeper_barrier(&s->keeper);
	if (ret)
		snprintf(why, size, "KVM_CREATE_VM: %s%s", strerror(-ret),
			 ret == -EMFILE   ? "; raise RLIMIT_NOFILE"
			 : ret == -ENFILE ? "; raise fs.file-max"
					  : "");
	return ret;
}

/* ---- Attach ------------------------------------------------------------- */

static int open_kvm(char *why, size_t size)
{
	int ret, fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	ret = -errno;
	if (ret == -ENOENT || ret == -ENODEV || ret == -ENXIO)
		snprintf(why, size,
			 "no /dev/kvm: load kvm_intel or kvm_amd; inside a "
			 "virtual machine, turn nested virtualisation on");
	else if (ret == -EACCES || ret == -EPERM)
		snprintf(why, size,
			 "/dev/kvm may not be opened: be root, or join its "
			 "group (and have CAP_BPF and CAP_PERFMON)");
	else
		snprintf(why, size, "/dev/kvm: %s%s", strerror(-ret),
			 ret == -EMFILE ? ": raise RLIMIT_NOFILE" : "");
	return ret;
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list args)
{
	char line[512];
	int len;

	(void)level;
	len = vsnprintf(line, sizeof(line), fmt, args);
	if (len > 0 && len < (int)sizeof(line) && line[len - 1] == '\n')
		line[len - 1] = '\0';
	pr_debug("hmm: %s", line);
	return 0;
}

static void why_no_bpf(int err, char *why, size_t size)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		snprintf(why, size,
			 "no /sys/kernel/btf/vmlinux: the kernel needs "
			 "CONFIG_DEBUG_INFO_BTF");
	else if (err == -EPERM || err == -EACCES)
		snprintf(why, size,
			 "BPF is not permitted: needs root, or CAP_BPF and "
			 "CAP_PERFMON");
	else if (err == -EMFILE)
		snprintf(why, size, "BPF: %s: raise RLIMIT_NOFILE",
			 strerror(-err));
	else if (err == -ENOENT || err == -ESRCH)
		snprintf(why, size,
			 "the kernel has no tracepoint kvm_unmap_hva_range "
			 "with BTF: load kvm, or use Linux 5.15 or later");
	else
		snprintf(why, size, "BPF: %s (HMM_LOG=debug says more)",
			 strerror(-err));
}

static int get_ring_id(int fd, uint32_t *id)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*id = info.id;
	return 0;
}

static int map_shared(struct kvm_source *s, int shared_fd, int ring_fd)
{
	void *p;

	p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd,
		 0);
	if (p == MAP_FAILED)
		return -errno;
	s->shared = p;
	p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd,
		 0);
	if (p == MAP_FAILED)
		return -errno;
	s->consumer_pos = p;
	/* Twice as long as the ring, so that no record is cut in two. */
	p = mmap(NULL, PAGE_SIZE + 2 * KVM_RING_SIZE, PROT_READ, MAP_SHARED,
		 ring_fd, PAGE_SIZE);
	if (p == MAP_FAILED)
		return -errno;
	s->producer_pos = p;
	/* A child that took records would take them from us. */
	if (madvise(s->consumer_pos, PAGE_SIZE, MADV_DONTFORK) ||
	    madvise(p, PAGE_SIZE + 2 * KVM_RING_SIZE, MADV_DONTFORK))
		return -errno;
	return 0;
}

static void unmap_shared(struct kvm_source *s)
{
	if (s->shared)
		munmap(s->shared, PAGE_SIZE);
	if (s->consumer_pos)
		munmap(s->consumer_pos, PAGE_SIZE);
	if (s->producer_pos)
		munmap((void *)s->producer_pos, PAGE_SIZE + 2 * KVM_RING_SIZE);
	s->shared = NULL;
	s->consumer_pos = NULL;
	s->producer_pos = NULL;
}

/* The ring's fd is in the process's file table: whose is that number now? */
static void close_ring(struct kvm_source *s)
{
	uint32_t id = 0;

	if (s->src.event_fd >= 0 && !get_ring_id(s->src.event_fd, &id) &&
	    id == s->ring_id)
		close(s->src.event_fd);
	s->src.event_fd = -1;
}

/* Load and attach the programs, take what is needed, drop libbpf's objects. */
static int attach_bpf(struct kvm_source *s, char *why, size_t size)
{
	struct source_kvm_bpf *skel;
	int i, ret;

	skel = source_kvm_bpf__open();
	if (!skel) {
		ret = -errno;
		goto out_why;
	}
	bpf_program__set_autoload(skel->progs.hva_range, !s->typed);
	bpf_program__set_autoload(skel->progs.range_start, s->typed);
	bpf_program__set_autoload(skel->progs.range_end, s->typed);
	ret = source_kvm_bpf__load(skel);
	if (!ret)
		ret = source_kvm_bpf__attach(skel);
	if (ret)
		goto out;

	if (s->typed) {
		s->keeper.link_fd[0] =
			hmm_own_fd_dup(bpf_link__fd(skel->links.range_start));
		s->keeper.link_fd[1] =
			hmm_own_fd_dup(bpf_link__fd(skel->links.range_end));
	} else {
		s->keeper.link_fd[0] =
			hmm_own_fd_dup(bpf_link__fd(skel->links.hva_range));
	}
	s->src.event_fd = hmm_own_fd_dup(bpf_map__fd(skel->maps.ring));
	for (i = 0; i < KVM_LINKS && !ret; i++)
		if (s->keeper.link_fd[i] < 0 && s->keeper.link_fd[i] != -1)
			ret = s->keeper.link_fd[i];
	if (!ret && s->src.event_fd < 0)
		ret = s->src.event_fd;
	if (!ret)
		ret = get_ring_id(s->src.event_fd, &s->ring_id);
	if (!ret)
		ret = map_shared(s, bpf_map__fd(skel->maps.shared),
				 s->src.event_fd);
out:
	source_kvm_bpf__destroy(skel);
out_why:
	if (ret)
		why_no_bpf(ret, why, size);
	return ret;
}

struct handshake {
	uint64_t start, end;
	uint64_t mm;
	uint32_t tgid, tid;
	bool seen;
};

static void shake(struct kvm_source *s, const struct kvm_record *r, void *ctx)
{
	struct handshake *h = ctx;

	(void)s;
	if (r->phase == KVM_PHASE_END || r->start != h->start ||
	    r->end != h->end)
		return;
	h->mm = r->mm;
	h->tgid = r->tgid;
	h->tid = r->tid;
	h->seen = true;
}

static bool make_and_see_change(struct kvm_source *s, struct handshake *h,
				size_t pages)
{
	char *p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t deadline = hmm_now_ms() + KVM_HANDSHAKE_MS;

	if (p == MAP_FAILED)
		return false;
	*h = (struct handshake){
		(uintptr_t)p, (uintptr_t)p + pages * PAGE_SIZE, 0, 0, 0, false
	};
	/*
	 * As long as our mm's name is not known, the changes of all others come
	 * as well, and may fill the ring: so take what is there, and do it again.
	 */
	for (;;) {
		walk(s, hmm_load_acquire(s->producer_pos), shake, h);
		*p = 1;
		/* mlockall(MCL_FUTURE) has locked it, which only that undoes. */
		if (madvise(p, pages * PAGE_SIZE, MADV_DONTNEED))
			madvise(p, pages * PAGE_SIZE, MADV_DONTNEED_LOCKED);
		walk(s, hmm_load_acquire(s->producer_pos), shake, h);
		if (h->seen || hmm_now_ms() >= deadline)
			break;
		sched_yield();
	}
	munmap(p, pages * PAGE_SIZE);
	return h->seen;
}

/*
 * Changes of our own must be seen, else nothing here is worth anything.  They
 * also tell the name that BPF has for our mm, and whether its thread ids are
 * ours.  Twice: the second one must get through the filter that the first has
 * set.
 */
static int handshake(struct kvm_source *s, char *why, size_t size)
{
	struct handshake h;

	if (!make_and_see_change(s, &h, 3))
		goto deaf;
	s->shared->mm = h.mm;
	if (!make_and_see_change(s, &h, 5) || h.mm != s->shared->mm)
		goto deaf;
	s->ids_known =
		h.tgid == (uint32_t)s->pid && h.tid == (uint32_t)gettid();
	s->lost = hmm_load_acquire(&s->shared->lost);
	s->lost_ends = hmm_load_acquire(&s->shared->lost_ends);
	return 0;
deaf:
	snprintf(why, size,
		 "the kernel does not report changes through KVM's notifier");
	return -EOPNOTSUPP;
}

static int attach_as(struct hmm_source **srcp, bool typed, char *why,
		     size_t size)
{
	struct kvm_source *s = calloc(1, sizeof(*s));
	int ret;

	/* What an earlier attempt said is not why this one fails. */
	*why = '\0';
	if (!s)
		return -ENOMEM;
	s->src.ops = &hmm_source_kvm;
	s->src.mechanism = typed ? "BPF on the mmu notifiers' start and end"
				 : "BPF on KVM's tracepoint, and a barrier";
	s->src.event_fd = -1;
	s->pid = getpid();
	s->typed = typed;
	hmm_keeper_init(&s->keeper);

	s->keeper.kvm_fd = ret = open_kvm(why, size);
	if (ret < 0)
		goto out;
	ret = attach_bpf(s, why, size);
	if (ret)
		goto out;
	/* Only now, so that a change has ended before, or is counted. */
	ret = hmm_keeper_create_vm(&s->keeper);
	if (ret) {
		snprintf(why, size, "KVM_CREATE_VM: %s", strerror(-ret));
		goto out;
	}
	ret = handshake(s, why, size);
	if (ret)
		goto out;
	ret = hmm_keeper_start(&s->keeper);
	if (ret) {
		snprintf(why, size, "can't start a thread: %s%s",
			 strerror(-ret),
			 ret == -EAGAIN ? ": raise RLIMIT_NPROC" : "");
		goto out;
	}
	s->src.started = (const uint64_t *)&s->shared->started;
	*srcp = &s->src;
	return 0;
out:
	hmm_keeper_drop(&s->keeper);
	/* Not close_ring(): its id may not be known yet. */
	if (s->src.event_fd >= 0)
		close(s->src.event_fd);
	unmap_shared(s);
	free(s);
	return ret;
}

static void kvm_detach(struct hmm_source *src)
{
	struct kvm_source *s = to_kvm(src);

	hmm_keeper_stop(&s->keeper);
	close_ring(s);
	unmap_shared(s);
	free(s);
}

static int kvm_attach(struct hmm_source **srcp, char *why, size_t size)
{
	/* A kernel that takes the tracepoint only will not learn more. */
	static bool never_typed;
	libbpf_print_fn_t print = libbpf_set_print(print_libbpf);
	int ret = -EOPNOTSUPP;

	if (!READ_ONCE(never_typed))
		ret = attach_as(srcp, true, why, size);
	if (ret) {
		pr_debug("hmm: kvm: no typed notifications: %s", why);
		ret = attach_as(srcp, false, why, size);
		if (!ret)
			WRITE_ONCE(never_typed, true);
	}
	libbpf_set_print(print);
	if (ret)
		return ret;
	/*
	 * What the handshake took, from other threads, is over once this has
	 * returned; and a barrier that can't work is better known now.
	 */
	ret = kvm_barrier(*srcp, why, size);
	if (ret)
		kvm_detach(*srcp);
	return ret;
}

/*
 * The keeper has not been forked, nor what it keeps.  The counter stays
 * readable, and should be the parent's no more.
 */
static void kvm_forked(struct hmm_source *src)
{
	struct kvm_source *s = to_kvm(src);

	close_ring(s);
	(void)mmap(s->shared, PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

const struct hmm_source_ops hmm_source_kvm = {
	.name = "kvm",
	.misses = "",
	.level = 2,
	.attach = kvm_attach,
	.detach = kvm_detach,
	.forked = kvm_forked,
	.drain = kvm_drain,
	.arm = kvm_arm,
	.barrier = kvm_barrier,
};
