// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * schedule.c - which task runs next, and the search of all such choices
 *
 * A schedule is the list of its choices.  Choice 0 lets the running task go on
 * (or, if it can't, the first that can); any other one in its place is a
 * preemption.  A schedule is found by running the scenario from its beginning
 * with the choices so far and zeros after them; the next one differs in the
 * last choice that still has an alternative within the bound.
 *
 * A state (all of the simulation's memory, the stacks in use and the
 * registers) that was met before with as many preemptions left is not gone on
 * from again.
 */
#include "schedule.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"
#include "sim.h"
#include "state.h"

#define DECISIONS 8192
#define STEPS 20000
#define OPTIONS (2 * FIBERS)

/* How many more schedules to look at for a shorter one that fails as well. */
#define SHORTEN 2000

struct task {
	enum { UNUSED, READY, BLOCKED, DONE } state;
	bool (*ready)(void *);
	void *arg;
	const char *what;
	bool may_time_out;
	bool timed_out;
};

struct decision {
	uint8_t n, choice;
	uint8_t preemptions, faults; /* used before it */
	uint8_t fault_from;          /* the options from here on are faults */
	bool preempts;               /* all but option 0 are preemptions */
	uint64_t hash;
};

static struct task tasks[FIBERS];
static struct decision decisions[DECISIONS];
static unsigned int depth, steps;
static unsigned int preemptions, faults;
static int self = -1;
static bool alone;
static int last;

static uint8_t prefix[DECISIONS];
static unsigned int prefix_len;
static enum { SYSTEMATIC, RANDOM, REPLAY } mode;
static bool verbose;
static uint64_t rng;

static const struct scenario *scenario;
static jmp_buf explorer;
static enum { ENDED, PRUNED, FAILED } outcome;
static char why[256];

static uint32_t random32(void)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng >> 33);
}

static _Noreturn void leave(int result)
{
	outcome = result;
	self = -1;
	_longjmp(explorer, 1);
}

void sched_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	leave(FAILED);
}

int sched_self(void)
{
	return self;
}

static void print_step(const char *what)
{
	printf("  %4u %-10s %s%s\n", steps, scenario->tasks[self].name, what,
	       self == last ? "" : "   <- switched");
	last = self;
}

/*
 * Static variables of what is explored: the linker gathers them in a section of
 * its own, if there are any.
 */
extern char __start_explored[] __attribute__((weak));
extern char __stop_explored[] __attribute__((weak));
#define statics __start_explored

static size_t statics_size(void)
{
	/* cppcheck-suppress comparePointers */
	return (size_t)(__stop_explored - __start_explored);
}

/* As they were when the program began. */
static void reset_statics(void)
{
	static char *initial;

	if (!statics_size())
		return;
	if (!initial) {
		initial = malloc(statics_size());
		if (!initial)
			abort();
		memcpy(initial, statics, statics_size());
	}
	memcpy(statics, initial, statics_size());
}

static uint64_t hash_state(bool current_goes_on)
{
	/* In glibc's jmp_buf the registers come first, then the signal mask. */
	const size_t registers = 8 * sizeof(long);
	uint64_t hash = state_hash(faults, &world, sizeof(world));
	int i;

	hash = state_hash(hash, tasks, sizeof(tasks));
	hash = state_hash(hash, statics, statics_size());
	hash ^= current_goes_on ? (uint64_t)self + 1 : 0;
	for (i = 0; i < FIBERS; i++) {
		const struct fiber *f = &fibers[i];

		if (tasks[i].state == UNUSED || tasks[i].state == DONE)
			continue;
		hash = state_hash(hash, f->ctx, registers);
		hash = state_hash(hash, f->frame,
				  (size_t)((char *)f->top - (char *)f->frame));
	}
	return hash;
}

static void check_known(struct decision *d)
{
	unsigned int i;

	d->hash = hash_state(d->preempts);
	if (!state_seen(d->hash, preemptions))
		return;
	for (i = 0; i < depth; i++)
		if (decisions[i].hash == d->hash)
			sched_fail("E: a task loops without an end");
	leave(PRUNED);
}

static unsigned int decide(struct decision d)
{
	struct decision *rec = &decisions[depth];

	if (depth == DECISIONS)
		sched_fail("E: no end after %u decisions", depth);
	d.preemptions = (uint8_t)preemptions;
	d.faults = (uint8_t)faults;
	d.choice = 0;
	if (depth < prefix_len) {
		d.hash = rec->hash;
		d.choice = prefix[depth] < d.n ? prefix[depth] : 0;
	} else if (mode == RANDOM) {
		if (random32() % 4 == 0)
			d.choice = (uint8_t)(random32() % d.n);
		if (d.choice >= d.fault_from && faults >= scenario->faults)
			d.choice = 0;
	} else if (mode == SYSTEMATIC && d.hash) {
		check_known(&d);
	}
	*rec = d;
	depth++;
	preemptions += d.preempts && d.choice;
	faults += d.choice >= d.fault_from;
	return d.choice;
}

static bool runnable(int i)
{
	return tasks[i].state == READY ||
	       (tasks[i].state == BLOCKED && tasks[i].ready(tasks[i].arg));
}

static void describe_deadlock(void)
{
	char text[200] = "";
	size_t len = 0;
	int i;

	for (i = 0; i < FIBERS && len < sizeof(text); i++)
		if (tasks[i].state == BLOCKED && !scenario->tasks[i].daemon)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"; %s: %s",
						scenario->tasks[i].name,
						tasks[i].what);
	sched_fail("%s%s", oracle_deadlock(), text);
}

/* Let the next task run.  The state of the one that ran is saved. */
static _Noreturn void switch_tasks(void)
{
	struct decision d = { .hash = 1 };
	uint8_t option[OPTIONS];
	bool more = false;
	int i, next;

	if (self >= 0 && runnable(self)) {
		option[d.n++] = (uint8_t)self;
		d.preempts = true;
	}
	for (i = 0; i < FIBERS; i++) {
		if (i != self && runnable(i))
			option[d.n++] = (uint8_t)i;
		if (!scenario->tasks[i].daemon)
			more |= tasks[i].state == BLOCKED;
	}
	/* The others wait for something to do, and time alone won't bring it. */
	if (!d.n && !more)
		leave(ENDED);
	d.fault_from = d.n + !d.n;
	for (i = 0; i < FIBERS; i++)
		if (tasks[i].state == BLOCKED && tasks[i].may_time_out &&
		    !runnable(i))
			option[d.n++] = (uint8_t)i;
	if (!d.n)
		describe_deadlock();
	i = d.n > 1 ? (int)decide(d) : 0;
	next = option[i];
	if (next != self)
		sim_switched();
	tasks[next].timed_out = !runnable(next);
	tasks[next].state = READY;
	self = next;
	_longjmp(fibers[self].ctx, 1);
}

static __attribute__((noinline)) void yield(void)
{
	struct fiber *f = &fibers[self];

	f->frame = __builtin_frame_address(0);
	if (!_setjmp(f->ctx))
		switch_tasks();
}

static void step(const char *what)
{
	if (++steps > STEPS)
		sched_fail("E: no end after %u steps", steps);
	if (!alone) {
		oracle_check();
		yield();
	}
	if (verbose)
		print_step(what);
}

void sched_point(const char *what, const void *obj)
{
	if (self >= 0 && !host_constant(obj))
		step(what);
}

static bool block(const char *what, bool (*ready)(void *), void *arg,
		  bool may_time_out)
{
	struct task *t;

	if (self < 0) {
		if (!ready(arg))
			sched_fail("setup or end would wait: %s", what);
		return true;
	}
	if (alone && !ready(arg))
		sched_fail("a fork's child hangs: %s", what);
	if (alone)
		return true;
	t = &tasks[self];
	t->state = BLOCKED;
	t->ready = ready;
	t->arg = arg;
	t->what = what;
	t->may_time_out = may_time_out;
	step(what);
	t->ready = NULL;
	t->arg = NULL;
	t->may_time_out = false;
	return !t->timed_out;
}

void sched_block(const char *what, const void *obj, bool (*ready)(void *),
		 void *arg)
{
	(void)obj;
	block(what, ready, arg, false);
}

bool sched_wait(const char *what, const void *obj, bool (*ready)(void *),
		void *arg)
{
	(void)obj;
	return block(what, ready, arg, scenario->timeouts);
}

unsigned int sched_choose(unsigned int n, const char *what)
{
	struct decision d = { .n = (uint8_t)n, .fault_from = 1 };
	unsigned int choice;

	if (self < 0 || faults >= scenario->faults)
		return 0;
	choice = decide(d);
	if (verbose && choice)
		printf("       %-10s ! %s\n", scenario->tasks[self].name, what);
	return choice;
}

/* ---- Fork ---------------------------------------------------------------- */

#define FORK_STATICS 4096
#define FORK_STACK 8192

static struct {
	struct world world;
	char statics[FORK_STATICS];
	char stack[FIBERS][FORK_STACK];
} parent;

static size_t stack_used(int i, const char *mine)
{
	const char *frame = i == self ? mine : fibers[i].frame;
	size_t size = (size_t)((char *)fibers[i].top - frame);

	if (size > FORK_STACK || statics_size() > FORK_STATICS)
		sched_fail("the simulated fork has too much to copy");
	return size;
}

static void copy_all(bool save, char *mine)
{
	int i;

	for (i = 0; i < FIBERS; i++) {
		size_t size;
		char *stack;

		if (tasks[i].state == UNUSED)
			continue;
		size = stack_used(i, mine);
		stack = (char *)fibers[i].top - size;
		memcpy(save ? parent.stack[i] : stack,
		       save ? stack : parent.stack[i], size);
	}
	memcpy(save ? &parent.world : &world, save ? &world : &parent.world,
	       sizeof(world));
	memcpy(save ? parent.statics : statics, save ? statics : parent.statics,
	       statics_size());
}

__attribute__((noinline)) void sched_fork(void (*child)(void *), void *arg)
{
	char *mine = __builtin_frame_address(0);

	sched_point("fork", NULL);
	copy_all(true, mine);
	alone = true;
	child(arg);
	alone = false;
	copy_all(false, mine);
}

void fiber_finished(void)
{
	tasks[self].state = DONE;
	/* From here on the stack is not looked at. */
	fibers[self].frame = fibers[self].top;
	oracle_check();
	switch_tasks();
}

/* ---- The search ---------------------------------------------------------- */

static void run(void)
{
	int i;

	depth = 0;
	steps = 0;
	preemptions = 0;
	faults = 0;
	self = -1;
	alone = false;
	last = -1;
	memset(tasks, 0, sizeof(tasks));
	if (_setjmp(explorer))
		return;
	sim_reset();
	reset_statics();
	scenario->setup();
	for (i = 0; i < FIBERS && scenario->tasks[i].fn; i++) {
		tasks[i].state = READY;
		fiber_prepare((unsigned int)i, scenario->tasks[i].fn,
			      scenario->tasks[i].arg);
	}
	if (!_setjmp(explorer))
		switch_tasks();
	if (outcome != ENDED || _setjmp(explorer))
		return;
	oracle_end();
	if (scenario->end)
		scenario->end();
}

static void take_choices(void)
{
	unsigned int i;

	prefix_len = 0;
	for (i = 0; i < depth; i++) {
		prefix[i] = decisions[i].choice;
		if (prefix[i])
			prefix_len = i + 1;
	}
}

static bool next_schedule(const struct search *s)
{
	unsigned int i = depth, c;

	while (i--) {
		const struct decision *d = &decisions[i];

		for (c = d->choice + 1u; c < d->n; c++) {
			if (d->preemptions + 0u + d->preempts > s->bound ||
			    d->faults + 0u + (c >= d->fault_from) >
				    scenario->faults)
				continue;
			take_choices();
			prefix[i] = (uint8_t)c;
			prefix_len = i + 1;
			return true;
		}
	}
	return false;
}

static void account(struct search *s)
{
	if (outcome == FAILED && s->expect && !strstr(why, s->expect))
		outcome = ENDED;
	s->schedules += outcome == ENDED;
	s->pruned += outcome == PRUNED;
	s->steps += steps;
	if (mode == SYSTEMATIC)
		s->states = states_known();
}

static void record(struct search *s)
{
	size_t len = 0;
	unsigned int i;

	s->failed = true;
	s->preemptions = preemptions;
	s->length = steps;
	memcpy(s->why, why, sizeof(s->why));
	take_choices();
	s->replay[0] = '\0';
	for (i = 0; i < prefix_len && len < sizeof(s->replay); i++)
		if (prefix[i])
			len += (size_t)snprintf(s->replay + len,
						sizeof(s->replay) - len,
						"%s%u:%u", len ? "," : "", i,
						prefix[i]);
	if (!len)
		strcpy(s->replay, "0:0");
}

/* Take back one deviation after the other, as long as it fails all the same. */
static void minimise(struct search *s)
{
	static uint8_t best[DECISIONS];
	unsigned int best_len, i;
	bool better = true;

	mode = REPLAY;
	record(s);
	while (better) {
		better = false;
		best_len = prefix_len;
		memcpy(best, prefix, best_len);
		for (i = best_len; i-- && !better;) {
			if (!best[i])
				continue;
			memcpy(prefix, best, best_len);
			prefix_len = best_len;
			prefix[i] = 0;
			run();
			account(s);
			if (outcome != FAILED || preemptions > s->preemptions ||
			    (preemptions == s->preemptions &&
			     steps >= s->length))
				continue;
			record(s);
			better = true;
		}
	}
}

static bool parse(const char *choices)
{
	unsigned int at, choice;
	int used;

	memset(prefix, 0, sizeof(prefix));
	prefix_len = 0;
	while (sscanf(choices, "%u:%u%n", &at, &choice, &used) == 2) {
		if (at >= DECISIONS || choice >= OPTIONS)
			return false;
		prefix[at] = (uint8_t)choice;
		prefix_len = at + 1;
		choices += used;
		if (*choices == ',')
			choices++;
	}
	return !*choices;
}

static void begin(const struct scenario *sc)
{
	scenario = sc;
	prefix_len = 0;
	states_forget();
}

void search_all(const struct scenario *sc, struct search *s)
{
	unsigned int bound = s->bound, left = SHORTEN;
	struct search best = { .length = ~0u };

	/* By rising bound, so that the first failure has the fewest. */
	for (s->bound = s->from; s->bound <= bound && !best.failed;
	     s->bound++) {
		begin(sc);
		mode = SYSTEMATIC;
		do {
			run();
			account(s);
			if (outcome == FAILED && steps < best.length)
				record(&best);
			if (best.failed && !left--)
				break;
		} while (next_schedule(s));
	}
	if (!best.failed)
		return;
	parse(best.replay);
	mode = REPLAY;
	run();
	account(s);
	minimise(s);
}

void search_random(const struct scenario *sc, struct search *s, uint64_t n,
		   uint64_t seed)
{
	begin(sc);
	rng = seed;
	mode = RANDOM;
	while (n--) {
		prefix_len = 0;
		run();
		account(s);
		if (outcome == FAILED) {
			minimise(s);
			return;
		}
	}
}

void search_replay(const struct scenario *sc, struct search *s,
		   const char *choices)
{
	begin(sc);
	if (!parse(choices)) {
		fprintf(stderr, "explore: not a schedule: %s\n", choices);
		exit(2);
	}
	mode = REPLAY;
	verbose = true;
	run();
	verbose = false;
	account(s);
	if (outcome == FAILED)
		record(s);
}
