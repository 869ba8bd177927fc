// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * requests.c - one ioctl() on /dev/hmm: half sense, half nonsense
 *
 * What comes back is held against hmm_dev.h: an errno that is named there, no
 * byte written when a request fails, none behind what was asked for.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"

#define FILL 0xa5

struct command {
	unsigned int request;
	size_t size;
	/* Highest result that is no error. */
	int max;
};

static const struct command commands[] = {
	{ HMM_DEV_SYNC, sizeof(struct hmm_dev_sync), 0 },
	{ HMM_DEV_ARM, sizeof(uint64_t), 1 },
	{ HMM_DEV_CLEAR, 0, 0 },
	{ HMM_DEV_BIND, 0, 0 },
	{ HMM_DEV_VMA, sizeof(struct hmm_dev_vma), 0 },
	{ HMM_DEV_REGISTER, sizeof(struct hmm_dev_register), 0 },
	{ HMM_DEV_UNREGISTER, 0, 0 },
	{ HMM_DEV_WAIT, sizeof(struct hmm_dev_wait), 0 },
	{ HMM_DEV_SNAPSHOT, sizeof(struct hmm_dev_range), 0 },
	{ HMM_DEV_FAULT, sizeof(struct hmm_dev_range), 0 },
	{ HMM_DEV_VALID, 0, 1 },
	{ HMM_DEV_HOLD, 0, 0 },
	{ HMM_DEV_ACK, 0, 0 },
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

const char *const fuzz_command_names[FUZZ_COMMANDS] = {
	"SYNC", "ARM",      "CLEAR", "BIND",  "VMA",  "REGISTER", "UNREGISTER",
	"WAIT", "SNAPSHOT", "FAULT", "VALID", "HOLD", "ACK",      "unknown",
};

static const int documented[] = {
	ENOTTY, EFAULT,   ESRCH,     EINTR,  ENOMEM, EDEADLK, EUSERS,
	ENOSPC, E2BIG,    EBADF,     EINVAL, EACCES, EBUSY,   EOPNOTSUPP,
	ENOENT, EALREADY, ETIMEDOUT, EPERM,  EAGAIN, ENXIO,
};

static bool known(int error)
{
	unsigned int i;

	for (i = 0; i < sizeof(documented) / sizeof(*documented); i++)
		if (documented[i] == error)
			return true;
	return false;
}

/* ---- Arguments ----------------------------------------------------------- */

static uint64_t number(struct rng *rng)
{
	static const uint64_t edges[] = {
		0,
		1,
		2,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		1u << 18,
		(1u << 18) + 1,
		INT32_MAX,
		UINT32_MAX,
		1ull << 47,
		(1ull << 47) - PAGE,
		INT64_MAX,
		UINT64_MAX,
		-PAGE,
		1ull << 63,
		(1ull << 52),
		1ull << 32,
		(1ull << 47) - 1,
	};

	if (rng_percent(rng, 50))
		return rng_of(rng, edges);
	return rng_next(rng) >> rng_below(rng, 64);
}

static uint64_t address(struct fuzz_thread *t)
{
	struct fuzz_piece piece;

	if (rng_percent(&t->rng, 10))
		return number(&t->rng);
	if (rng_percent(&t->rng, 10))
		return (uintptr_t)t->entries;
	piece = fuzz_piece(t, rng_percent(&t->rng, 90) ? t->round->arena
						       : t->round->device);
	return (uintptr_t)piece.addr +
	       (rng_percent(&t->rng, 10) ? rng_below(&t->rng, PAGE) : 0);
}

static uint32_t an_id(struct fuzz_thread *t)
{
	if (rng_percent(&t->rng, 10))
		return (uint32_t)number(&t->rng);
	return atomic_load(&t->round->id[rng_below(&t->rng, FUZZ_IDS)]);
}

/* Where there may be memory, or not, or for a moment; end: before a hole. */
static char *bad_place(struct fuzz_thread *t, char *end, size_t size)
{
	switch (rng_below(&t->rng, 7)) {
	case 0: /* runs into the hole */
		return end - rng_below(&t->rng, size + 1);
	case 1:
		return t->round->arena + rng_below(&t->rng, AREA_PAGES * PAGE);
	case 2: /* read-only */
		return t->round->device + rng_below(&t->rng, AREA_PAGES * PAGE);
	case 3:
		return (char *)number(&t->rng);
	case 4: /* the kernel's */
		return (char *)0xffff888000001000ul;
	case 5:
		if (t->round->fault_for_ever)
			return t->round->fault_for_ever +
			       rng_below(&t->rng, 2 * PAGE);
		return NULL;
	default:
		return NULL;
	}
}

static char *end_of(char *scratch)
{
	return scratch + SCRATCH_PAGES * PAGE;
}

/* The last page is for those that run into the hole. */
#define ENTRIES_MAX ((SCRATCH_PAGES - 1) * PAGE / sizeof(uint64_t))

static void fill_range(struct fuzz_thread *t, unsigned int request,
		       struct hmm_dev_range *r, bool *entries_private)
{
	struct rng *rng = &t->rng;

	*entries_private = rng_percent(rng, 80);
	*r = (struct hmm_dev_range){
		.id = rng_percent(rng, 50) ? an_id(t) : 0,
		.start = address(t),
		.nr = rng_below(rng, ENTRIES_MAX),
		.flags = { 1, 2, 4 },
		.values = { 8, 0, 16 },
		.default_flags = rng_below(rng, 8),
		.pfn_shift = 12,
	};
	r->end = r->start + rng_below(rng, 64) * PAGE;
	if (request == HMM_DEV_FAULT && rng_percent(rng, 50))
		r->options = HMM_DEV_BLOCK;
	if (rng_percent(rng, 30))
		r->pfn_flags_mask = rng_below(rng, 8);
	if (rng_percent(rng, 5))
		r->options = (uint32_t)number(rng);
	if (rng_percent(rng, 5))
		r->end = number(rng);
	if (rng_percent(rng, 5))
		r->nr = number(rng);
	if (rng_percent(rng, 5))
		r->pfn_shift = (uint8_t)rng_next(rng);
	if (rng_percent(rng, 10))
		r->page_shift = (uint8_t)(rng_percent(rng, 50)
						  ? rng_next(rng)
						  : 12 + rng_below(rng, 10));
	if (rng_percent(rng, 5))
		r->pad[rng_below(rng, sizeof(r->pad))] = (uint8_t)rng_next(rng);
	if (rng_percent(rng, 5))
		r->flags[rng_below(rng, 3)] = number(rng);
	if (rng_percent(rng, 5))
		r->values[rng_below(rng, 3)] = number(rng);
	if (r->nr > ENTRIES_MAX)
		*entries_private = false;
	r->pfns = (uintptr_t)(*entries_private
				      ? t->entries
				      : bad_place(t, end_of(t->entries), 128));
}

struct argument {
	unsigned long value; /* of the ioctl */
	char *copy;          /* of what value points to; NULL: not checked */
	bool entries_private;
};

static _Thread_local union {
	struct hmm_dev_sync sync;
	uint64_t taken;
	struct hmm_dev_vma vma;
	struct hmm_dev_register reg;
	struct hmm_dev_wait wait;
	struct hmm_dev_range range;
	char bytes[2048];
} made, copy_of_made;

static bool is_range(unsigned int request)
{
	return request == HMM_DEV_SNAPSHOT || request == HMM_DEV_FAULT;
}

static void make(struct fuzz_thread *t, unsigned int request,
		 struct argument *arg)
{
	struct rng *rng = &t->rng;

	memset(&made, 0, sizeof(made));
	switch (request) {
	case HMM_DEV_ARM:
		made.taken = number(rng);
		break;
	case HMM_DEV_VMA:
		made.vma.addr = address(t);
		break;
	case HMM_DEV_REGISTER:
		made.reg.start = address(t);
		made.reg.end = made.reg.start + rng_below(rng, 64) * PAGE;
		if (rng_percent(rng, 5))
			made.reg.end = number(rng);
		if (rng_percent(rng, 5))
			made.reg.pad = (uint32_t)rng_next(rng);
		break;
	case HMM_DEV_WAIT:
		made.wait.id = an_id(t);
		made.wait.ms = rng_percent(rng, 95) ? rng_below(rng, 20)
						    : rng_below(rng, 2000);
		break;
	case HMM_DEV_SNAPSHOT:
	case HMM_DEV_FAULT:
		fill_range(t, request, &made.range, &arg->entries_private);
		break;
	default:
		break;
	}
	if (rng_percent(rng, 3))
		made.bytes[rng_below(rng, 160)] ^= (char)rng_next(rng);
}

static unsigned long plain_value(struct fuzz_thread *t, unsigned int request,
				 int fd)
{
	struct hmm_dev_sync sync;
	struct rng *rng = &t->rng;

	switch (request) {
	case HMM_DEV_UNREGISTER:
	case HMM_DEV_VALID:
		return an_id(t);
	case HMM_DEV_HOLD:
		if (rng_percent(rng, 5))
			return number(rng);
		return rng_below(rng, rng_percent(rng, 10) ? 200 : 10);
	case HMM_DEV_ACK:
		if (rng_percent(rng, 10) || ioctl(fd, HMM_DEV_SYNC, &sync))
			return number(rng);
		return sync.head - rng_below(rng, 3);
	case HMM_DEV_BIND:
		return rng_percent(rng, 70) ? (unsigned long)fuzz_fd(t)
					    : rng_below(rng, 64);
	default:
		return number(rng);
	}
}

/* ---- The answer ---------------------------------------------------------- */

static bool filled(const char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != (char)FILL)
			return false;
	return true;
}

static void check_failure(struct fuzz_thread *t, const char *name,
			  const struct argument *arg, size_t size, int error)
{
	if (!known(error))
		fuzz_complain(t, "%s: errno %d is not documented", name, error);
	/* The copying itself may have failed half way. */
	if (error == EFAULT)
		return;
	if (arg->copy && memcmp(arg->copy, &copy_of_made, size))
		fuzz_complain(t, "%s failed (%d), and wrote its argument", name,
			      error);
	if (arg->entries_private &&
	    !filled(t->entries, t->entries + ENTRIES_MAX * sizeof(uint64_t)))
		fuzz_complain(t, "%s failed (%d), and wrote entries", name,
			      error);
}

static void check_success(struct fuzz_thread *t, const char *name,
			  unsigned int request, const struct argument *arg)
{
	const struct hmm_dev_range *r = (void *)arg->copy;
	const struct hmm_dev_register *reg = (void *)arg->copy;

	if (!r)
		return;
	if (request == HMM_DEV_REGISTER) {
		if (!reg->id)
			fuzz_complain(t, "%s: id 0", name);
		atomic_store(&t->round->id[rng_below(&t->rng, FUZZ_IDS)],
			     reg->id);
	}
	if (!is_range(request) || !arg->entries_private)
		return;
	if (r->nr > ENTRIES_MAX ||
	    r->nr != (r->end - r->start) >> (r->page_shift ?: 12))
		fuzz_complain(t, "%s: %llu entries of %#llx-%#llx", name,
			      (unsigned long long)r->nr,
			      (unsigned long long)r->start,
			      (unsigned long long)r->end);
	else if (!filled(t->entries + r->nr * sizeof(uint64_t),
			 t->entries + ENTRIES_MAX * sizeof(uint64_t)))
		fuzz_complain(t, "%s: more than %llu entries written", name,
			      (unsigned long long)r->nr);
}

void fuzz_request(struct fuzz_thread *t)
{
	unsigned int which = (unsigned int)rng_below(&t->rng, COMMANDS);
	const struct command *command = &commands[which];
	const char *name = fuzz_command_names[which];
	unsigned int request = command->request;
	struct argument arg = { .copy = NULL };
	size_t size = command->size;
	int fd = fuzz_fd(t);
	int ret;

	if (rng_percent(&t->rng, 4)) {
		request = rng_percent(&t->rng, 50)
				  ? request ^ (1u << rng_below(&t->rng, 32))
				  : (unsigned int)rng_next(&t->rng);
		which = COMMANDS;
		name = fuzz_command_names[which];
	}
	/* What a request that is none does to its argument is checked, too. */
	make(t, request, &arg);
	if (size) {
		char *p = end_of(t->argument);

		if (rng_percent(&t->rng, 15))
			p = bad_place(t, p, size);
		else
			arg.copy = p -= size + rng_below(&t->rng, 64);
		arg.value = (unsigned long)p;
		if (arg.copy) {
			memcpy(p, &made, size);
			memcpy(&copy_of_made, &made, size);
		}
	} else {
		arg.value = plain_value(t, request, fd);
	}
	memset(t->entries, FILL, ENTRIES_MAX * sizeof(uint64_t));

	atomic_store(&t->round->shared->doing[t->index], name);
	ret = ioctl(fd, request, arg.value);
	atomic_store(&t->round->shared->doing[t->index], NULL);

	if (which == COMMANDS) {
		/* May have been another one that exists, of this file or any. */
		atomic_fetch_add(&t->round->shared->refused[which], 1);
		return;
	}
	if (ret < 0) {
		atomic_fetch_add(&t->round->shared->refused[which], 1);
		check_failure(t, name, &arg, size, errno);
		return;
	}
	atomic_fetch_add(&t->round->shared->succeeded[which], 1);
	if (ret > command->max)
		fuzz_complain(t, "%s: result %d", name, ret);
	check_success(t, name, request, &arg);
}
