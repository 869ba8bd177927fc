// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * main.c - hostile: misuse /dev/hmm in all ways, one case after another
 *
 * For a guest in which nothing else uses hmm.ko.  Prints "ok" or "not ok" for
 * each case; whether the kernel complained is for others to see.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

struct options options = {
	.seed = 1,
	.seconds = 10,
	.times = 50,
	/* Far longer than any timeout of the device: its clock may be fast. */
	.hang = 120,
	.round = -1,
};

static const struct {
	const char *name;
	void (*run)(void);
	const char *what;
} cases[] = {
	{ "acknowledger", acknowledger_killed,
	  "kill -9 of the one who acknowledges" },
	{ "changer", changer_killed, "kill -9 of the one who waits" },
	{ "nobody", nobody_acknowledges, "nobody acknowledges" },
	{ "million", million_ranges, "1,000,000 ranges" },
	{ "files", files_in_one_process, "as many files as there may be" },
	{ "next", last_and_next, "the last file closed, the next one opened" },
	{ "interrupted", interrupted, "opened while signals come" },
	{ "processes", processes, "hundreds of processes" },
	{ "limit", memory_limit, "ranges up to the limit of a memory cgroup" },
	{ "oom-user", oom_of_the_user, "out of memory: the user" },
	{ "oom-mirrored", oom_of_the_mirrored,
	  "out of memory: the mirrored process" },
	{ "fuzz", fuzz,
	  "random requests, mappings, changes, ends of processes" },
};

static const char *current;
static bool bad;

void failed(const char *fmt, ...)
{
	va_list ap;

	printf("# %s: ", current);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	bad = true;
}

bool good(void)
{
	return !bad;
}

static int usage(const char *self)
{
	unsigned int i;

	fprintf(stderr,
		"usage: %s [--seed N] [--seconds N] [--times N] [--hang N] "
		"[--round N] [CASE...]\n",
		self);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		fprintf(stderr, "  %-14s %s\n", cases[i].name, cases[i].what);
	return 2;
}

static bool wanted(char **argv, const char *name)
{
	if (!*argv)
		return true;
	for (; *argv; argv++)
		if (!strcmp(*argv, name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "times", required_argument, NULL, 'n' },
		{ "hang", required_argument, NULL, 'h' },
		{ "round", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned int i;
	int opt, ret = 0;
	double began;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			options.seconds = (unsigned int)atoi(optarg);
			break;
		case 'n':
			options.times = (unsigned int)atoi(optarg);
			break;
		case 'h':
			options.hang = (unsigned int)atoi(optarg);
			break;
		case 'r':
			options.round = atoi(optarg);
			break;
		default:
			return usage(argv[0]);
		}
	}
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (!wanted(argv + optind, cases[i].name))
			continue;
		current = cases[i].name;
		bad = false;
		began = now();
		cases[i].run();
		check_nothing_left();
		printf("%s %s\n# %s took %.1f s\n", bad ? "not ok" : "ok",
		       cases[i].what, current, now() - began);
		fflush(stdout);
		ret |= bad;
	}
	return ret;
}
