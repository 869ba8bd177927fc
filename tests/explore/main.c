// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * main.c - the explorer's command line
 *
 *	explore [--bound N] [--random N] [--seed S] [SCENARIO...]
 *	explore --replay CHOICES SCENARIO
 *	explore --expect TEXT SCENARIO...	succeeds if TEXT is found to fail
 *	explore --list
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario.h"
#include "schedule.h"

struct options {
	unsigned int bound;
	uint64_t random;
	uint64_t seed;
	const char *replay;
	const char *expect;
};

static const struct option long_options[] = {
	{ "bound", required_argument, NULL, 'b' },
	{ "random", required_argument, NULL, 'r' },
	{ "seed", required_argument, NULL, 's' },
	{ "replay", required_argument, NULL, 'p' },
	{ "expect", required_argument, NULL, 'e' },
	{ "list", no_argument, NULL, 'l' },
	{ NULL, 0, NULL, 0 },
};

static void crashed(int sig)
{
	sched_fail("crashed: %s", strsignal(sig));
}

/* A crash of what is explored is a schedule that failed. */
static void catch_crashes(void)
{
	static char stack[65536];
	const stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = crashed,
				.sa_flags = SA_ONSTACK | SA_NODEFER };

	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_failure(const struct scenario *sc, const struct search *s)
{
	struct search again = { 0 };

	printf("FAIL %s: %s\n", sc->name, s->why);
	printf("     with %u preemptions in %u steps: --replay %s %s\n",
	       s->preemptions, s->length, s->replay, sc->name);
	search_replay(sc, &again, s->replay);
	if (!again.failed || strcmp(again.why, s->why))
		printf("     does not replay: %s\n", again.why);
}

static unsigned int bound_of(const struct scenario *sc,
			     const struct options *opt)
{
	return opt->bound - (sc->large && opt->bound > 1);
}

/* True if what was expected came out. */
static bool explore(const struct scenario *sc, const struct options *opt)
{
	struct search s = { .bound = bound_of(sc, opt) };
	double began = now();

	if (opt->replay) {
		search_replay(sc, &s, opt->replay);
		printf("%s: %s\n", sc->name, s.failed ? s.why : "no failure");
		return !s.failed;
	}
	search_all(sc, &s);
	if (!s.failed && opt->random)
		search_random(sc, &s, opt->random, opt->seed);
	if (s.failed)
		print_failure(sc, &s);
	printf("%-4s %-18s bound %u %9" PRIu64 " schedules %9" PRIu64
	       " states %10" PRIu64 " steps "
	       "%6.2f s\n",
	       s.failed ? "FAIL" : "ok", sc->name, s.bound - !s.failed,
	       (s.schedules + s.pruned), s.states, s.steps, now() - began);
	fflush(stdout);
	return !s.failed;
}

static bool wanted(const struct scenario *sc, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, sc->name))
			return true;
	return false;
}

/* The first scenario that fails as expected, with the fewest preemptions. */
static bool expect(const struct options *opt, char **names)
{
	unsigned int bound, i;

	for (bound = 0; bound <= opt->bound; bound++) {
		for (i = 0; scenarios[i]; i++) {
			struct search s = { .from = bound,
					    .bound = bound,
					    .expect = opt->expect };

			if (!wanted(scenarios[i], names) ||
			    bound > bound_of(scenarios[i], opt))
				continue;
			search_all(scenarios[i], &s);
			if (!s.failed)
				continue;
			printf("%s: \"%s\" (%u preemptions, %u steps)\n",
			       scenarios[i]->name, s.why, s.preemptions,
			       s.length);
			return true;
		}
	}
	return false;
}

static void list(void)
{
	unsigned int i;

	for (i = 0; scenarios[i]; i++)
		printf("%-18s %s\n", scenarios[i]->name, scenarios[i]->what);
}

int main(int argc, char **argv)
{
	struct options opt = { .bound = 2, .seed = (uint64_t)time(NULL) };
	unsigned int i, passed = 0, failed = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			opt.bound = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'r':
			opt.random = strtoull(optarg, NULL, 0);
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			opt.replay = optarg;
			break;
		case 'e':
			opt.expect = optarg;
			break;
		case 'l':
			list();
			return 0;
		default:
			return 2;
		}
	}
	fibers_init();
	catch_crashes();
	if (opt.expect)
		return !expect(&opt, argv + optind);
	for (i = 0; scenarios[i]; i++) {
		if (!wanted(scenarios[i], argv + optind))
			continue;
		if (explore(scenarios[i], &opt))
			passed++;
		else
			failed++;
	}
	printf("explore: %u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
