// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * main.c - run the groups of lines, print what they found
 */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct bench_options bench_options = { .ms = 700 };

/* Longest that a group may take; it has hung then. */
#define GROUP_SECONDS 600

/* Shared by all processes; written by one at a time. */
static struct {
	struct bench_line line[BENCH_LINES];
	unsigned int nr;
	char note[256];
} * results;

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "valid", bench_valid },   { "register", bench_register },
	{ "mark", bench_mark },     { "change", bench_change },
	{ "device", bench_device }, { "walk", bench_walk },
	{ "wake", bench_wake },     { "peers", bench_peers },
};

struct bench_line *bench_line_of(const char *name, const char *floor, double x,
				 const char *unit)
{
	struct bench_line *line;

	if (results->nr == BENCH_LINES) {
		fprintf(stderr, "bench: raise BENCH_LINES\n");
		exit(1);
	}
	line = &results->line[results->nr++];
	snprintf(line->name, sizeof(line->name), "%s", name);
	snprintf(line->floor, sizeof(line->floor), "%s", floor);
	snprintf(line->unit, sizeof(line->unit), "%s", unit);
	line->x = x;
	return line;
}

struct bench_line *bench_line(const char *name, const char *floor)
{
	return bench_line_of(name, floor, 0, "");
}

void bench_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(results->note, sizeof(results->note), fmt, ap);
	va_end(ap);
}

void bench_value(struct bench_line *line, double value, double floor)
{
	line->ratio = line->q1 = line->q3 = value / floor;
	line->pairs = 1;
}

/* A process for each: what one attaches to must not slow down the others. */
static void run_group(const char *name, void (*run)(void))
{
	unsigned int i, first = results->nr;
	int status;
	pid_t pid;

	fprintf(stderr, "bench: %s...\n", name);
	pid = fork();
	if (!pid) {
		alarm(GROUP_SECONDS);
		run();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return;
	if (!status)
		return;
	for (i = first; i < results->nr; i++)
		if (!results->line[i].pairs && !*results->line[i].skipped)
			bench_skip(&results->line[i], "it failed");
	if (first == results->nr)
		bench_skip(bench_line(name, ""), "it failed");
}

static int usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [--quick] [--ms N] [--json FILE] [--svg DIR] "
		"[GROUP...]\n",
		self);
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
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "ms", required_argument, NULL, 'm' },
		{ "json", required_argument, NULL, 'j' },
		{ "svg", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL, *svg = NULL;
	unsigned int i;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'q':
			bench_options = (struct bench_options){ true, 120 };
			break;
		case 'm':
			bench_options.ms = (unsigned int)atoi(optarg);
			break;
		case 'j':
			json = optarg;
			break;
		case 's':
			svg = optarg;
			break;
		default:
			return usage(argv[0]);
		}
	}
	signal(SIGPIPE, SIG_IGN);
	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED) {
		perror("bench");
		return 1;
	}
	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (wanted(argv + optind, groups[i].name))
			run_group(groups[i].name, groups[i].run);
	bench_table(results->line, results->nr, stdout);
	if (*results->note)
		printf("%s\n", results->note);
	if (json && bench_json(results->line, results->nr, json))
		return 1;
	if (svg && bench_plots(results->line, results->nr, svg))
		return 1;
	return 0;
}
