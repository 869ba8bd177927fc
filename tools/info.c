/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* info.c - hmm info: what this machine has for libhmm, and what it lacks */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd.h"
#include "format.h"
#include "hmm.h"

static const char usage[] =
	"Usage: hmm info [--json]\n"
	"\n"
	"Print the notification sources of libhmm, best first: whether each "
	"can\n"
	"be used here and by you, what to do if not, what it does not see, "
	"and\n"
	"which one a program would get.  $HMM_SOURCE is respected.\n"
	"\n"
	"  --json   the same as JSON\n";

#define MAX_SOURCES 8

struct facts {
	struct hmm_source_info sources[MAX_SOURCES];
	unsigned int nr_sources;
	int live;           /* index, or -1 */
	const char *wanted; /* $HMM_SOURCE, or NULL */
	struct utsname uts;
	struct rlimit nofile, memlock;
	long max_map_count;            /* -1 if unknown */
	long unprivileged_userfaultfd; /* -1 if the kernel has none */
	uint64_t capabilities;         /* effective */
};

static const struct {
	unsigned int bit;
	const char *name;
	const char *use;
} capabilities[] = {
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN",
	  "real page frame numbers; without it virtual ones" },
	{ CAP_BPF, "CAP_BPF", "load the program of source kvm" },
	{ CAP_PERFMON, "CAP_PERFMON", "attach the program of source kvm" },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE",
	  "hmm snapshot of other users' processes" },
};
#define NR_CAPABILITIES (sizeof(capabilities) / sizeof(capabilities[0]))

static const char *level_text(int level)
{
	switch (level) {
	case 3:
		return "changes wait for the device";
	case 2:
		return "exact at use";
	default:
		return "mapped addresses only";
	}
}

static long read_sysctl(const char *path)
{
	FILE *f = fopen(path, "re");
	long value = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static uint64_t effective_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capget, &header, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

/* CAP_SYS_ADMIN still includes the two that were split off it. */
static bool has_capability(const struct facts *facts, unsigned int bit)
{
	return (facts->capabilities >> bit & 1) ||
	       (facts->capabilities >> CAP_SYS_ADMIN & 1 &&
		(bit == CAP_BPF || bit == CAP_PERFMON));
}

static void gather(struct facts *facts)
{
	struct hmm_source_info *info;

	memset(facts, 0, sizeof(*facts));
	facts->live = -1;
	facts->wanted = getenv("HMM_SOURCE");
	if (facts->wanted && !*facts->wanted)
		facts->wanted = NULL;
	while (facts->nr_sources < MAX_SOURCES) {
		info = &facts->sources[facts->nr_sources];
		info->size = sizeof(*info);
		if (hmm_source_query(facts->nr_sources, info))
			break;
		if (facts->live < 0 && !info->error &&
		    (!facts->wanted || !strcmp(facts->wanted, info->name)))
			facts->live = facts->nr_sources;
		facts->nr_sources++;
	}
	uname(&facts->uts);
	getrlimit(RLIMIT_NOFILE, &facts->nofile);
	getrlimit(RLIMIT_MEMLOCK, &facts->memlock);
	facts->max_map_count = read_sysctl("/proc/sys/vm/max_map_count");
	facts->unprivileged_userfaultfd =
		read_sysctl("/proc/sys/vm/unprivileged_userfaultfd");
	facts->capabilities = effective_capabilities();
}

/* Print text as a paragraph behind an indent. */
static void print_wrapped(const char *indent, const char *text)
{
	const int width = 78 - strlen(indent);
	int len, cut;

	while (*text) {
		len = strlen(text);
		cut = len;
		if (len > width) {
			cut = width;
			while (cut > 0 && text[cut] != ' ')
				cut--;
			if (!cut)
				cut = strcspn(text, " ");
		}
		printf("%s%.*s\n", indent, cut, text);
		text += cut;
		while (*text == ' ')
			text++;
	}
}

static void print_sources(const struct facts *facts)
{
	const struct hmm_source_info *info;
	char line[512];
	unsigned int i;

	printf("Sources, best first\n");
	for (i = 0; i < facts->nr_sources; i++) {
		info = &facts->sources[i];
		printf("\n  %-7s level %d: %s%s\n", info->name, info->level,
		       level_text(info->level),
		       (int)i == facts->live ? "  <- used" : "");
		if (info->error) {
			snprintf(line, sizeof(line), "not available: %s",
				 info->reason[0] ? info->reason
						 : strerror(-info->error));
			print_wrapped("          ", line);
		} else {
			printf("          available\n");
		}
		snprintf(line, sizeof(line), "does not see: %s",
			 info->misses[0] ? info->misses : "nothing");
		print_wrapped("          ", line);
	}
	if (facts->live >= 0)
		return;
	if (facts->wanted)
		printf("\n  HMM_SOURCE=%s: no such source, or not available\n",
		       facts->wanted);
	else
		printf("\n  None is available: libhmm can't be used here.\n");
}

static struct text limit_text(rlim_t limit, bool bytes)
{
	struct text text = { "unlimited" };

	if (limit == RLIM_INFINITY)
		return text;
	return bytes ? format_bytes(limit) : format_count(limit);
}

static void print_limits(const struct facts *facts)
{
	size_t i;

	printf("\nLimits\n\n");
	printf("  %-30s %s of %s\n", "open files (ulimit -n)",
	       limit_text(facts->nofile.rlim_cur, false).s,
	       limit_text(facts->nofile.rlim_max, false).s);
	printf("  %-30s %s of %s\n", "locked memory (ulimit -l)",
	       limit_text(facts->memlock.rlim_cur, true).s,
	       limit_text(facts->memlock.rlim_max, true).s);
	if (facts->max_map_count >= 0)
		printf("  %-30s %s\n", "mappings (vm.max_map_count)",
		       format_count(facts->max_map_count).s);
	if (facts->unprivileged_userfaultfd < 0)
		printf("  %-30s %s\n", "userfaultfd", "not in this kernel");
	else
		printf("  %-30s %ld (%s)\n", "vm.unprivileged_userfaultfd",
		       facts->unprivileged_userfaultfd,
		       facts->unprivileged_userfaultfd
			       ? "everybody, all of it"
			       : "for users: user mode only, which is enough");
	for (i = 0; i < NR_CAPABILITIES; i++)
		printf("  %-30s %s (%s)\n", capabilities[i].name,
		       has_capability(facts, capabilities[i].bit) ? "yes"
								  : "no",
		       capabilities[i].use);
}

static struct json_object *limit_json(rlim_t limit)
{
	return limit == RLIM_INFINITY ? NULL : json_object_new_int64(limit);
}

static struct json_object *sources_json(const struct facts *facts)
{
	struct json_object *array = json_object_new_array();
	const struct hmm_source_info *info;
	struct json_object *source;
	unsigned int i;

	for (i = 0; i < facts->nr_sources; i++) {
		info = &facts->sources[i];
		source = json_object_new_object();
		json_object_object_add(source, "name",
				       json_object_new_string(info->name));
		json_object_object_add(source, "level",
				       json_object_new_int(info->level));
		json_object_object_add(
			source, "guarantee",
			json_object_new_string(level_text(info->level)));
		json_object_object_add(source, "misses",
				       json_object_new_string(info->misses));
		json_object_object_add(source, "available",
				       json_object_new_boolean(!info->error));
		if (info->error) {
			json_object_object_add(
				source, "error",
				json_object_new_int(info->error));
			json_object_object_add(
				source, "reason",
				json_object_new_string(info->reason));
		}
		json_object_array_add(array, source);
	}
	return array;
}

static struct json_object *limits_json(const struct facts *facts)
{
	struct json_object *limits = json_object_new_object();
	struct json_object *caps = json_object_new_object();
	size_t i;

	json_object_object_add(limits, "open_files",
			       limit_json(facts->nofile.rlim_cur));
	json_object_object_add(limits, "locked_memory",
			       limit_json(facts->memlock.rlim_cur));
	json_object_object_add(limits, "max_map_count",
			       json_object_new_int64(facts->max_map_count));
	json_object_object_add(
		limits, "unprivileged_userfaultfd",
		facts->unprivileged_userfaultfd < 0
			? NULL
			: json_object_new_int64(
				  facts->unprivileged_userfaultfd));
	for (i = 0; i < NR_CAPABILITIES; i++)
		json_object_object_add(caps, capabilities[i].name,
				       json_object_new_boolean(has_capability(
					       facts, capabilities[i].bit)));
	json_object_object_add(limits, "capabilities", caps);
	return limits;
}

static void print_json(const struct facts *facts, const char *version)
{
	struct json_object *root = json_object_new_object();

	json_object_object_add(root, "version",
			       json_object_new_string(version));
	json_object_object_add(root, "kernel",
			       json_object_new_string(facts->uts.release));
	json_object_object_add(root, "machine",
			       json_object_new_string(facts->uts.machine));
	json_object_object_add(
		root, "live",
		facts->live < 0 ? NULL
				: json_object_new_string(
					  facts->sources[facts->live].name));
	json_object_object_add(root, "sources", sources_json(facts));
	json_object_object_add(root, "limits", limits_json(facts));
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
}

int cmd_info(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool json = false;
	struct facts facts;
	char version[16];
	int opt;

	argv[0] = (char *)cmd_name;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cmd_usage_error("what is '%s'?", argv[optind]);

	/* What is missing is in the table; the log would say it again. */
	hmm_set_log(NULL);
	gather(&facts);
	snprintf(version, sizeof(version), "%u.%u", hmm_version() >> 16,
		 hmm_version() & 0xffff);
	if (json) {
		print_json(&facts, version);
		return EXIT_SUCCESS;
	}
	printf("hmm %s on Linux %s (%s)\n\n", version, facts.uts.release,
	       facts.uts.machine);
	print_sources(&facts);
	print_limits(&facts);
	return EXIT_SUCCESS;
}
