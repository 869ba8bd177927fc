// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mutant.c - sources with something left out, to see that it is missed
 *
 * Linked with --wrap in the place of the real ones.  $MUTANT says what:
 *
 *	barrier	returns at once: a change is taken to be over too early
 *	counter	that is all there is: no change is ever in progress
 *	KIND	changes of that kind (unmap, fork ...) are counted, and no more
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

extern const struct hmm_source_ops __real_hmm_source_module,
	__real_hmm_source_kvm, __real_hmm_source_uffd;

static struct hmm_source_ops ops;
static const struct hmm_source_ops *real;
static const char *mutant;

struct sink {
	hmm_event_fn fn;
	void *ctx;
};

static void pass_on(void *ctx, const struct hmm_event *event)
{
	struct hmm_event changed = *event;
	struct sink *sink = ctx;

	if (!strcmp(mutant, "counter") && event->phase == HMM_EVENT_END)
		return;
	if (!strcmp(mutant, "counter"))
		changed.phase = HMM_EVENT_PAST;
	if (!strcmp(mutant, hmm_change_kind_name(event->kind)))
		return;
	sink->fn(sink->ctx, &changed);
}

static int drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		 uint64_t *consumed)
{
	struct sink sink = { fn, ctx };

	return real->drain(src, pass_on, &sink, consumed);
}

static int barrier(struct hmm_source *src, char *why, size_t size)
{
	return strcmp(mutant, "barrier") ? real->barrier(src, why, size) : 0;
}

static int attach(const struct hmm_source_ops *source, struct hmm_source **srcp,
		  char *why, size_t size)
{
	int ret;

	mutant = getenv("MUTANT");
	if (!mutant)
		return -EINVAL;
	ret = source->attach(srcp, why, size);
	if (ret)
		return ret;
	real = source;
	ops = *source;
	ops.drain = drain;
	ops.barrier = barrier;
	(*srcp)->ops = &ops;
	return 0;
}

static int attach_module(struct hmm_source **srcp, char *why, size_t size)
{
	return attach(&__real_hmm_source_module, srcp, why, size);
}

static int attach_kvm(struct hmm_source **srcp, char *why, size_t size)
{
	return attach(&__real_hmm_source_kvm, srcp, why, size);
}

static int attach_uffd(struct hmm_source **srcp, char *why, size_t size)
{
	return attach(&__real_hmm_source_uffd, srcp, why, size);
}

static void detach(struct hmm_source *src)
{
	real->detach(src);
}

extern const struct hmm_source_ops __wrap_hmm_source_module,
	__wrap_hmm_source_kvm, __wrap_hmm_source_uffd;

const struct hmm_source_ops __wrap_hmm_source_module = {
	.name = "module",
	.misses = "",
	.level = 2,
	.attach = attach_module,
	.detach = detach,
};

const struct hmm_source_ops __wrap_hmm_source_kvm = {
	.name = "kvm",
	.misses = "",
	.level = 2,
	.attach = attach_kvm,
	.detach = detach,
};

const struct hmm_source_ops __wrap_hmm_source_uffd = {
	.name = "uffd",
	.misses = "",
	.level = 1,
	.attach = attach_uffd,
	.detach = detach,
};
