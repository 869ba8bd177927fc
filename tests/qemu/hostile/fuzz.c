// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fuzz.c - rounds of random requests and actions, each in a new process
 *
 * A round's threads do the same things each time it is run with its seed, if
 * in another order.  It ends by itself, or it is killed in the middle; some
 * threads may then be blocked by a page that never comes.  Either way nothing
 * of it may stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define NOBODY 65534
/* After so many each request must have succeeded once. */
#define ACTIONS_ENOUGH 5000

static struct fuzz_shared *shared;
static struct fuzz_round fuzz_round;
static struct fuzz_thread thread[FUZZ_THREADS];

/* How one round is done, by its seed alone. */
static struct {
	uint64_t seed;
	double seconds;
	enum { BY_ITSELF, KILLED, EXITS, EXECS, THREAD_EXECS } end;
	bool nobody, blocks, kills_target;
} plan;

void fuzz_complain(struct fuzz_thread *t, const char *fmt, ...)
{
	va_list ap;

	if (atomic_fetch_add(&t->round->shared->complaints, 1))
		return;
	va_start(ap, fmt);
	vsnprintf(t->round->shared->complaint,
		  sizeof(t->round->shared->complaint), fmt, ap);
	va_end(ap);
}

/* The first address is the same in the target: both are forked. */
static char *new_area(size_t pages)
{
	char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	mprotect(p + PAGE, pages * PAGE, PROT_READ | PROT_WRITE);
	return p + PAGE;
}

static void target(void *arg)
{
	struct fuzz_thread t = { .round = &fuzz_round };

	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	t.rng.state = plan.seed ^ 1;
	if (plan.nobody && setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
	prctl(PR_SET_DUMPABLE, 1);
	for (;;) {
		char *p =
			fuzz_round.arena + rng_below(&t.rng, AREA_PAGES) * PAGE;

		/* Sixteen pages at most, and what is behind it is unmapped. */
		if (rng_percent(&t.rng, 50))
			munmap(p, PAGE);
		else if (mmap(p, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			      0) != MAP_FAILED)
			*p = 1;
	}
}

static void *run_thread(void *arg)
{
	struct fuzz_thread *t = arg;

	while (now() < t->round->end) {
		if (plan.end == THREAD_EXECS && t->index == 1 &&
		    rng_percent(&t->rng, 1))
			execl("/bin/true", "true", NULL);
		if (rng_percent(&t->rng, 60))
			fuzz_request(t);
		else
			fuzz_action(t);
		atomic_fetch_add(&t->round->shared->actions, 1);
	}
	return NULL;
}

/* Two pages: one is there, the next one nobody will ever bring. */
static char *make_fault_for_ever(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	char *p = new_area(2);

	*p = 1;
	reg.range.start = (uintptr_t)p + PAGE;
	reg.range.len = PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		return NULL;
	return p;
}

static void fuzzer(void *arg)
{
	pthread_t id[FUZZ_THREADS];
	unsigned int i;

	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (plan.blocks)
		fuzz_round.fault_for_ever = make_fault_for_ever();
	if (plan.nobody && setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
	prctl(PR_SET_DUMPABLE, 1);
	fuzz_round.end = now() + plan.seconds;
	for (i = 0; i < FUZZ_FDS; i++)
		fuzz_round.fd[i] = open(DEVICE, O_RDONLY | O_CLOEXEC);
	/* Ids are counted per file: those of one are others' as well. */
	for (i = 0; i < FUZZ_IDS; i++)
		fuzz_round.id[i] =
			register_page(fuzz_round.fd[i % FUZZ_FDS],
				      (unsigned long)fuzz_round.arena +
					      i % AREA_PAGES * PAGE);
	for (i = 0; i < FUZZ_THREADS; i++) {
		thread[i].round = &fuzz_round;
		thread[i].index = i;
		thread[i].rng.state = plan.seed + i * 7919;
		thread[i].argument = new_area(SCRATCH_PAGES);
		thread[i].entries = new_area(SCRATCH_PAGES);
	}
	for (i = 0; i < FUZZ_THREADS; i++)
		if (pthread_create(&id[i], NULL, run_thread, &thread[i]))
			_exit(1);
	if (plan.end == EXITS || plan.end == EXECS) {
		usleep((useconds_t)(plan.seconds * 5e5));
		if (plan.end == EXECS)
			execl("/bin/true", "true", NULL);
		_exit(0);
	}
	for (i = 0; i < FUZZ_THREADS; i++)
		pthread_join(id[i], NULL);
	_exit(0);
}

static void show_doing(void)
{
	const char *what;
	unsigned int i;

	for (i = 0; i < FUZZ_THREADS; i++) {
		what = atomic_load(&shared->doing[i]);
		if (what)
			printf("# thread %u: %s\n", i, what);
	}
}

static void one_round(unsigned int nr)
{
	struct rng rng = { .state = options.seed * 1000003 + nr };
	pid_t pid, target_pid;

	plan.seed = rng_next(&rng);
	plan.seconds = .2 + .001 * (double)rng_below(&rng, 800);
	plan.nobody = rng_percent(&rng, 40);
	plan.end = rng_below(&rng, THREAD_EXECS + 1);
	/* What is blocked for ever does not end by itself. */
	plan.blocks = plan.end != BY_ITSELF && plan.end != THREAD_EXECS &&
		      rng_percent(&rng, 50);
	plan.kills_target = rng_percent(&rng, 50);
	memset(shared->doing, 0, sizeof(shared->doing));

	target_pid = spawn(target, NULL);
	fuzz_round.target = target_pid;
	pid = spawn(fuzzer, NULL);
	if (pid < 0 || target_pid < 0)
		return;
	usleep((useconds_t)(plan.seconds * 5e5));
	if (plan.kills_target)
		kill(target_pid, SIGKILL);
	if (plan.end != KILLED && wait_for(pid) < 0)
		show_doing();
	if (!kill_group(pid) || !kill_group(target_pid))
		show_doing();
	if (shared->complaints)
		failed("%s", shared->complaint);
	if (!good())
		printf("# again by --seed %llu --round %u fuzz\n",
		       (unsigned long long)options.seed, nr);
}

static void summary(unsigned int rounds)
{
	unsigned int i;

	printf("# fuzz: seed %llu, %u rounds, %lu actions; requests ok/refused",
	       (unsigned long long)options.seed, rounds, shared->actions);
	for (i = 0; i < FUZZ_COMMANDS; i++) {
		printf(", %s %lu/%lu", fuzz_command_names[i],
		       shared->succeeded[i], shared->refused[i]);
		/* What is never reached is not tested. */
		if (shared->actions > ACTIONS_ENOUGH && i + 1 < FUZZ_COMMANDS &&
		    !shared->succeeded[i])
			failed("%s never succeeded", fuzz_command_names[i]);
	}
	printf("\n");
}

void fuzz(void)
{
	double end = now() + options.seconds;
	unsigned int nr = 0;
	long before = 0;

	shared = shared_memory(sizeof(*shared));
	fuzz_round.shared = shared;
	fuzz_round.arena = new_area(AREA_PAGES);
	fuzz_round.device = new_area(AREA_PAGES);
	for (nr = 0; nr < FUZZ_FDS; nr++)
		fuzz_round.fd[nr] = -1;
	if (options.round >= 0) {
		one_round((unsigned int)options.round);
		summary(1);
		return;
	}
	for (nr = 0; now() < end && good(); nr++) {
		one_round(nr);
		/* The first ones warm up what stays allocated. */
		if (nr == 5)
			before = memory_used();
	}
	if (before)
		check_memory(before);
	summary(nr);
}
