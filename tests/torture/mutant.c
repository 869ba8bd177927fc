// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mutant.c - sources with something left out, to see that it is missed
 *
 * Linked with --wrap in the place of the real ones.  $MUTANT says what:
 *
 *	barrier	returns at once: a change is taken to be over too early
 *	counter	that is all there is: no change is ever in progress
 *	drop	one change of 8 is counted and has no effect
 */
#include <stdlib.h>
#include <string.h>

#include "source.h"

extern const struct hmm_source_ops __real_hmm_source_kvm,
	__real_hmm_source_uffd;

static struct hmm_source_ops ops;
static const struct hmm_source_ops *real;
static enum { BARRIER, COUNTER, DROP } mutant;

struct sink {
	hmm_event_fn fn;
	void *ctx;
};

static void pass_on(void *ctx, const struct hmm_event *event)
{
	static unsigned int nr;
	struct hmm_event changed = *event;
	struct sink *sink = ctx;

	if (mutant == COUNTER && event->phase == HMM_EVENT_OPEN)
		changed.phase = HMM_EVENT_PAST;
	if (mutant == DROP && ++nr % 8 == 0)
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
	return mutant == BARRIER ? 0 : real->barrier(src, why, size);
}

static int attach(const struct hmm_source_ops *source, struct hmm_source **srcp,
		  char *why, size_t size)
{
	const char *name = getenv("MUTANT");
	int ret = source->attach(srcp, why, size);

	if (ret)
		return ret;
	if (!name || !strcmp(name, "barrier"))
		mutant = BARRIER;
	else
		mutant = strcmp(name, "counter") ? DROP : COUNTER;
	real = source;
	ops = *source;
	ops.drain = drain;
	ops.barrier = barrier;
	(*srcp)->ops = &ops;
	return 0;
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

extern const struct hmm_source_ops __wrap_hmm_source_kvm,
	__wrap_hmm_source_uffd;

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
