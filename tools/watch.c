/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* watch.c - hmm watch: a line for each change of a program's page table */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "collect.h"
#include "format.h"
#include "launch.h"
#include "program.h"
#include "tree.h"

static const char usage[] =
	"Usage: hmm watch [OPTION]... [--] COMMAND [ARGUMENT]...\n"
	"       hmm watch [OPTION]... PID\n"
	"\n"
	"Run COMMAND and print a line to stderr for each change of its page "
	"table,\n"
	"and of those of the programs that it executes (with the source "
	"module of\n"
	"all its children): when, in which process, of which kind, where, how "
	"long\n"
	"until it was certainly over, and what was mapped there.  The exit "
	"status is\n"
	"COMMAND's, 128 + N if signal N killed it, 127 or 126 if it can't be "
	"run.\n"
	"\n"
	"With PID, attach to a process that runs, and to the children that it "
	"makes\n"
	"from then on, until it ends or you interrupt (SIGINT, SIGTERM).  "
	"That takes\n"
	"the permission to trace it, and the source module.  The exit status "
	"is then\n"
	"0.\n"
	"\n"
	"  --source NAME   how changes are noticed; hmm info lists the "
	"sources\n"
	"  --json          each line a JSON object\n"
	"  -o FILE         print to FILE instead of stderr\n";

#define TICK_MS 20

struct watch {
	struct collector collector;
	FILE *out;
	bool json;
	uint64_t shown;
};

/* By the last list of vmas, which may be older or newer than the change. */
static const char *find_name(const struct session_slot *slot,
			     const struct session_event *event)
{
	const struct session_vma *vma;
	uint32_t nr = slot->nr_vmas;
	uint32_t i;

	if (event->end == ~0ull)
		return "everything";
	if (nr > SESSION_VMAS)
		nr = SESSION_VMAS;
	for (i = 0; i < nr; i++) {
		vma = &slot->vmas[i];
		if (vma->start < event->end && event->start < vma->end)
			return vma->name[0] ? vma->name : "[anonymous]";
	}
	return "-";
}

static void print_line(struct watch *watch, const struct process *process,
		       const struct session_event *event)
{
	uint64_t since = event->time - watch->collector.start_ns;

	fprintf(watch->out, "%10.6f %7d %-8s %012llx-%012llx %8s %9s  %s\n",
		since / 1e9, process->slot->pid,
		hmm_change_kind_name(event->kind),
		(unsigned long long)event->start,
		(unsigned long long)event->end,
		format_bytes(event->end - event->start).s,
		event->ns ? format_ns(event->ns).s : "?",
		find_name(process->slot, event));
}

static void print_json(struct watch *watch, const struct process *process,
		       const struct session_event *event)
{
	struct json_object *obj = json_object_new_object();
	char addr[24];

	json_object_object_add(
		obj, "time_ns",
		json_object_new_int64(event->time - watch->collector.start_ns));
	json_object_object_add(obj, "pid",
			       json_object_new_int(process->slot->pid));
	json_object_object_add(
		obj, "kind",
		json_object_new_string(hmm_change_kind_name(event->kind)));
	snprintf(addr, sizeof(addr), "0x%llx",
		 (unsigned long long)event->start);
	json_object_object_add(obj, "start", json_object_new_string(addr));
	snprintf(addr, sizeof(addr), "0x%llx", (unsigned long long)event->end);
	json_object_object_add(obj, "end", json_object_new_string(addr));
	json_object_object_add(obj, "stable_after_ns",
			       event->ns ? json_object_new_int64(event->ns)
					 : NULL);
	json_object_object_add(
		obj, "name",
		json_object_new_string(find_name(process->slot, event)));
	fprintf(watch->out, "%s\n",
		json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN));
	json_object_put(obj);
}

static void on_event(void *ctx, const struct process *process,
		     const struct session_event *event)
{
	struct watch *watch = ctx;

	if (event->type != SESSION_CHANGE)
		return;
	watch->shown++;
	if (watch->json)
		print_json(watch, process, event);
	else
		print_line(watch, process, event);
}

static void tick(void *ctx)
{
	struct watch *watch = ctx;

	collect_poll(&watch->collector, false);
	fflush(watch->out);
}

/* Always to stderr: it is about the lines, and none of them. */
static void print_summary(const struct watch *watch, const char *program)
{
	struct totals totals;
	const char *obstacle;

	collect_totals(&watch->collector, &totals);
	if (totals.failed)
		cmd_error("%s process%s could not be watched: %s",
			  format_count(totals.failed).s,
			  totals.failed == 1 ? "" : "es",
			  totals.reason[0] ? totals.reason : "no reason known");
	if (totals.remarks)
		cmd_error("%s process%s: %s", format_count(totals.remarks).s,
			  totals.remarks == 1 ? "" : "es", totals.remark);
	if (!totals.mirrored) {
		obstacle = program ? program_obstacle(program) : NULL;
		if (!obstacle && totals.too_short)
			obstacle = "what ran ended before its mirror was up";
		cmd_error("0 processes were watched%s%s", obstacle ? ": " : "",
			  obstacle ? obstacle : "");
		return;
	}
	cmd_error("%s changes shown, %s dropped, %s of other processes left "
		  "out; source %s, level %d, does not "
		  "see: %s",
		  format_count(watch->shown).s, format_count(totals.dropped).s,
		  format_count(totals.foreign).s, totals.source, totals.level,
		  totals.misses[0] ? totals.misses : "nothing");
}

static void print_header(const struct watch *watch)
{
	if (!watch->json)
		fprintf(watch->out, "%10s %7s %-8s %-25s %8s %9s  %s\n",
			"seconds", "pid", "kind", "address", "size",
			"stable in", "mapping");
}

static int watch_command(struct watch *watch, char **argv)
{
	struct launch launched;
	int ret;

	print_header(watch);
	ret = launch(&launched, &watch->collector, argv);
	if (ret)
		return ret;
	ret = launch_wait(&launched, TICK_MS, tick, watch);
	collect_poll(&watch->collector, true);
	print_summary(watch, launched.outside ? NULL : argv[0]);
	return ret;
}

/* ---- A process that runs -------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction action = { .sa_handler = on_signal };
	size_t i;

	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &action, NULL);
}

/* It, and what it forks from now on.  Not traced: it is somebody's work. */
static struct member *begin_watch(struct tree *tree, pid_t pid)
{
	struct pollfd pollfd = { .fd = tree->remotes.wake, .events = POLLIN };
	struct member *m = tree_add(tree, pid);

	if (!m) {
		cmd_error("there is no process %d", (int)pid);
		return NULL;
	}
	m->loose = true;
	tree_look(tree, m);
	while (m->remote && !remote_ready(m->remote) && !interrupted) {
		poll(&pollfd, 1, TICK_MS);
		tree_woken(tree);
	}
	if (!m->remote)
		return NULL;
	if (!remote_ready(m->remote) || !remote_failure(m->remote))
		return m;
	cmd_error("%s", remote_failure(m->remote));
	return NULL;
}

static void watch_tree(struct watch *watch, struct tree *tree,
		       const struct member *m)
{
	struct pollfd pollfd = { .fd = tree->remotes.wake, .events = POLLIN };
	pid_t pid = m->pid;
	int due;

	do {
		due = tree_tend(tree);
		tick(watch);
		poll(&pollfd, 1, due < 0 || due > TICK_MS ? TICK_MS : due);
		tree_woken(tree);
	} while (tree_find(tree, pid) && !interrupted);
}

static bool watch_process(struct watch *watch, pid_t pid)
{
	struct tree tree;
	struct member *m;
	int ret;

	catch_signals();
	tree_raise_limit();
	ret = tree_open(&tree, &watch->collector);
	if (ret) {
		cmd_error("can't look at process %d: %s", (int)pid,
			  strerror(-ret));
		return false;
	}
	m = begin_watch(&tree, pid);
	if (m) {
		print_header(watch);
		watch_tree(watch, &tree, m);
	}
	tree_close(&tree);
	if (!m)
		return false;
	collect_poll(&watch->collector, true);
	fflush(watch->out);
	print_summary(watch, NULL);
	return true;
}

/* ---- Both ------------------------------------------------------------------ */

static int watch_session(struct watch *watch, char **argv, pid_t pid,
			 const char *source)
{
	struct session_header *header;
	int ret;

	ret = collect_open(&watch->collector);
	if (ret) {
		cmd_error("can't make the memory to share with the program: %s",
			  strerror(-ret));
		return EXIT_FAILURE;
	}
	watch->collector.on_event = on_event;
	watch->collector.ctx = watch;
	header = watch->collector.header;
	header->watch = true;
	if (source)
		snprintf(header->source, sizeof(header->source), "%s", source);
	if (pid)
		ret = watch_process(watch, pid) ? EXIT_SUCCESS : EXIT_FAILURE;
	else
		ret = watch_command(watch, argv);
	collect_close(&watch->collector);
	return ret;
}

int cmd_watch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "source", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct watch watch = { .out = stderr };
	const char *source = NULL, *output = NULL;
	pid_t pid = 0;
	int opt, ret;

	argv[0] = (char *)cmd_name;
	while ((opt = getopt_long(argc, argv, "+ho:", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			source = optarg;
			break;
		case 'j':
			watch.json = true;
			break;
		case 'o':
			output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return cmd_usage_error("which command?");
	/* A command of that name is what follows "--". */
	if (argc - optind == 1 && strcmp(argv[optind - 1], "--"))
		if (!cmd_parse_pid(argv[optind], &pid) && *argv[optind] &&
		    !argv[optind][strspn(argv[optind], "0123456789")])
			return cmd_usage_error("'%s' is not a process id",
					       argv[optind]);
	hmm_set_log(NULL);
	ret = source ? cmd_check_source(source) : EXIT_SUCCESS;
	if (ret)
		return ret;
	if (output && !(watch.out = cmd_open_output(output)))
		return EXIT_FAILURE;
	ret = watch_session(&watch, argv + optind, pid, source);
	if (output)
		cmd_close_output(watch.out, output);
	return ret;
}
