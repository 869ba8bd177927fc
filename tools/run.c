/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* run.c - hmm run: a program while a software device uses its memory */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd.h"
#include "collect.h"
#include "format.h"
#include "launch.h"
#include "program.h"
#include "report.h"
#include "summary.h"

static const char usage[] =
	"Usage: hmm run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
	"\n"
	"Run COMMAND, unchanged, while a software device with a page table of "
	"its\n"
	"own uses the same memory, in it and in every program that it "
	"executes\n"
	"(with the source module in all its children, too, and without a "
	"library).\n"
	"Then print what happened, to stderr.  The exit status is COMMAND's, "
	"128 + N\n"
	"if signal N killed it, 127 or 126 if it can't be run.\n"
	"\n"
	"  --source NAME   how changes are noticed; hmm info lists the "
	"sources\n"
	"  --engines N     threads of the device, 1 to 64; default 2\n"
	"  --verify        compare the device's translations with the kernel's "
	"page\n"
	"                  table all the time\n"
	"  --report FILE   write an HTML report with pictures\n"
	"  --json          print JSON instead of a table\n"
	"  -o FILE         print it to FILE instead of stderr\n";

#define TICK_MS 20
#define STATUS_EVERY 10 /* ticks */

struct run {
	struct collector collector;
	bool terminal;
	unsigned int tick;
};

static void clear_status(const struct run *run)
{
	if (run->terminal)
		fputs("\r\033[K", stderr);
}

static void print_status(const struct run *run)
{
	const struct dmirror_stats *device;
	struct winsize size = { 0 };
	struct totals totals;
	uint64_t bytes = 0, changes = 0;
	char line[512];
	int i, width;

	collect_totals(&run->collector, &totals);
	device = &totals.device;
	for (i = 0; i < DMIRROR_OP_MAX; i++)
		bytes += device->op[i].bytes;
	for (i = 0; i < HMM_CHANGE_KIND_MAX; i++)
		changes += totals.invalidations[i];
	snprintf(line, sizeof(line),
		 "hmm: %s running, %s stale, %s mirrored, %s accessed, "
		 "%s faults, %s invalidations",
		 format_count(totals.running).s, format_count(totals.stale).s,
		 format_bytes(device->mapped_bytes).s, format_bytes(bytes).s,
		 format_count(device->faults).s, format_count(changes).s);
	width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col
			? 79
			: size.ws_col - 1;
	fprintf(stderr, "\r\033[K%.*s", width, line);
}

static void tick(void *ctx)
{
	struct run *run = ctx;

	collect_poll(&run->collector, false);
	if (run->terminal && run->tick++ % STATUS_EVERY == STATUS_EVERY - 1)
		print_status(run);
}

static bool parse_engines(const char *text, uint32_t *engines)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < 1 || value > 64)
		return false;
	*engines = value;
	return true;
}

struct options {
	const char *source;
	const char *report;
	const char *output;
	uint32_t engines;
	bool verify;
	bool json;
};

/* EXIT_SUCCESS, with optind at the command; -1 if all is said; EXIT_USAGE. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "source", required_argument, NULL, 's' },
		{ "engines", required_argument, NULL, 'e' },
		{ "verify", no_argument, NULL, 'v' },
		{ "report", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+ho:", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			o->source = optarg;
			break;
		case 'e':
			if (!parse_engines(optarg, &o->engines))
				return cmd_usage_error("--engines takes a "
						       "number from 1 to 64");
			break;
		case 'v':
			o->verify = true;
			break;
		case 'r':
			o->report = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'o':
			o->output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return cmd_usage_error("which command?");
	hmm_set_log(NULL);
	return o->source ? cmd_check_source(o->source) : EXIT_SUCCESS;
}

static int run_command(struct run *run, char **argv, struct summary *summary)
{
	struct launch launched;
	int status;

	status = launch(&launched, &run->collector, argv);
	if (status)
		return -status;
	status = launch_wait(&launched, TICK_MS, tick, run);
	collect_poll(&run->collector, true);
	clear_status(run);
	collect_totals(&run->collector, &summary->totals);
	summary->elapsed_ns = collect_now() - run->collector.start_ns;
	summary->status = status;
	if (!summary->totals.mirrored && !launched.outside)
		summary->obstacle = program_obstacle(argv[0]);
	return status;
}

static int run_session(const struct options *o, char **argv, FILE *out,
		       FILE *report)
{
	struct run run = { .terminal = isatty(STDERR_FILENO) };
	struct session_header *header;
	struct summary summary = {
		.verify = o->verify,
		.report = o->report,
	};
	char *command;
	int ret;

	ret = collect_open(&run.collector);
	if (ret) {
		cmd_error("can't make the memory to share with the program: %s",
			  strerror(-ret));
		return EXIT_FAILURE;
	}
	run.collector.want_spaces = report;
	header = run.collector.header;
	header->engines = o->engines;
	header->verify = o->verify;
	if (o->source)
		snprintf(header->source, sizeof(header->source), "%s",
			 o->source);
	command = summary_command(argv);
	summary.command = command ? command : argv[0];
	ret = run_command(&run, argv, &summary);
	if (ret < 0) {
		ret = -ret;
		goto out;
	}
	if (report)
		report_write(&summary, &run.collector, report);
	if (o->json)
		summary_print_json(&summary, out);
	else
		summary_print(&summary, out);
out:
	free(command);
	collect_close(&run.collector);
	return ret;
}

int cmd_run(int argc, char **argv)
{
	struct options options = { .engines = 2 };
	FILE *report = NULL, *out = stderr;
	int ret;

	argv[0] = (char *)cmd_name;
	ret = parse_options(argc, argv, &options);
	if (ret)
		return ret < 0 ? EXIT_SUCCESS : ret;
	if (options.output && !(out = cmd_open_output(options.output)))
		return EXIT_FAILURE;
	if (options.report && !(report = cmd_open_output(options.report))) {
		ret = EXIT_FAILURE;
		goto out;
	}
	ret = run_session(&options, argv + optind, out, report);
	if (report)
		cmd_close_output(report, options.report);
out:
	if (options.output)
		cmd_close_output(out, options.output);
	return ret;
}
