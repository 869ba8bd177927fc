/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* snapshot.c - hmm snapshot: what the page table of a process holds */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "format.h"
#include "maps.h"
#include "pages.h"
#include "writable.h"

static const char usage[] =
	"Usage: hmm snapshot PID [START-END] [--pfns] [--json]\n"
	"\n"
	"Print for each mapping of a process how much of it is present in its\n"
	"page table, known to be writable, anonymous or of a file, mapped by\n"
	"huge pages, swapped out, and mapped to the kernel's page of zeroes.\n"
	"The process runs on meanwhile.\n"
	"\n"
	"  START-END   only these addresses (hexadecimal)\n"
	"  --pfns      also each run of pages with its page frame numbers, "
	"which\n"
	"              only CAP_SYS_ADMIN may see\n"
	"  --json      the same as JSON, sizes in bytes\n"
	"\n"
	"A page counts as writable if a write needs no page fault for sure: in "
	"a\n"
	"shared writable mapping, or anonymous and mapped only here.  The "
	"source\n"
	"module knows it page by page, and is used if it is there.\n";

/* Bytes of a vma, or of all, by what the page table says of them. */
struct tally {
	uint64_t size;
	uint64_t present;
	uint64_t writable;
	uint64_t anon;
	uint64_t file;
	uint64_t huge;
	uint64_t swapped;
	uint64_t zero;
};

struct snapshot {
	pid_t pid;
	unsigned long start, end;
	bool show_pfns;
	struct pages pages;
	struct mm_struct *mm; /* where the module tells what may be written */
	FILE *maps;
	FILE *smaps; /* only where pages don't tell huge ones */
	struct json_object *json;
	struct tally total;
	bool huge_unknown; /* of some vma at least */
	unsigned int nr_vmas;
	/* of the vma at hand */
	struct maps_entry vma;
	struct tally tally;
	struct json_object *runs;
};

static void describe_run(const struct pages_run *run, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s%s%s",
		 run->flags & PAGES_PRESENT ? "present" : "swapped",
		 run->flags & PAGES_FILE ? " file" : " anon",
		 run->flags & PAGES_EXCLUSIVE ? " exclusive" : "",
		 run->flags & PAGES_HUGE ? " huge" : "",
		 run->flags & PAGES_ZERO ? " zero" : "");
}

static struct json_object *json_address(unsigned long addr)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%lx", addr);
	return json_object_new_string(text);
}

static struct json_object *json_run(const struct snapshot *snap,
				    const struct pages_run *run)
{
	struct json_object *obj = json_object_new_object();
	char text[64];

	describe_run(run, text, sizeof(text));
	json_object_object_add(obj, "start", json_address(run->start));
	json_object_object_add(obj, "end", json_address(run->end));
	json_object_object_add(obj, "pfn",
			       snap->pages.knows_pfns &&
					       run->flags & PAGES_PRESENT
				       ? json_object_new_int64(run->pfn)
				       : NULL);
	json_object_object_add(obj, "state", json_object_new_string(text));
	return obj;
}

static void print_run(const struct snapshot *snap, const struct pages_run *run)
{
	unsigned long nr = (run->end - run->start) / PAGE_BYTES;
	char state[64], pfns[48] = "";

	describe_run(run, state, sizeof(state));
	if (snap->pages.knows_pfns && run->flags & PAGES_PRESENT) {
		if (run->flags & PAGES_ZERO || nr == 1)
			snprintf(pfns, sizeof(pfns), "  pfn %llx",
				 (unsigned long long)run->pfn);
		else
			snprintf(pfns, sizeof(pfns), "  pfn %llx-%llx",
				 (unsigned long long)run->pfn,
				 (unsigned long long)(run->pfn + nr - 1));
	}
	printf("    %012lx-%012lx %6lu page%s  %s%s\n", run->start, run->end,
	       nr, nr == 1 ? " " : "s", state, pfns);
}

static void count_run(void *ctx, const struct pages_run *run)
{
	uint64_t bytes = run->end - run->start;
	struct snapshot *snap = ctx;
	struct tally *tally = &snap->tally;
	const char *perms = snap->vma.perms;

	if (run->flags & PAGES_PRESENT)
		tally->present += bytes;
	else
		tally->swapped += bytes;
	if (run->flags & PAGES_FILE)
		tally->file += bytes;
	else
		tally->anon += bytes;
	if (run->flags & PAGES_HUGE)
		tally->huge += bytes;
	if (run->flags & PAGES_ZERO)
		tally->zero += bytes;
	if (run->flags & PAGES_PRESENT && perms[1] == 'w' &&
	    (perms[3] == 's' ||
	     (run->flags & PAGES_EXCLUSIVE && !(run->flags & PAGES_FILE))))
		tally->writable += bytes;
	if (!snap->show_pfns)
		return;
	if (snap->json)
		json_object_array_add(snap->runs, json_run(snap, run));
	else
		print_run(snap, run);
}

/*
 * Huge bytes of the current vma from smaps, where the page table does not
 * tell.  smaps has them for whole vmas only.
 */
static bool huge_from_smaps(struct snapshot *snap, unsigned long start,
			    unsigned long end, uint64_t *bytes)
{
	unsigned long vm_start, vm_end;
	bool found = false;
	char line[512];
	unsigned long kib;

	*bytes = 0;
	if (!snap->smaps || start != snap->vma.start || end != snap->vma.end)
		return false;
	rewind(snap->smaps);
	while (fgets(line, sizeof(line), snap->smaps)) {
		if (sscanf(line, "%lx-%lx ", &vm_start, &vm_end) == 2) {
			if (found)
				break;
			found = vm_start == start && vm_end == end;
		} else if (found &&
			   (sscanf(line, "AnonHugePages: %lu", &kib) == 1 ||
			    sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1 ||
			    sscanf(line, "FilePmdMapped: %lu", &kib) == 1 ||
			    sscanf(line, "Shared_Hugetlb: %lu", &kib) == 1 ||
			    sscanf(line, "Private_Hugetlb: %lu", &kib) == 1)) {
			*bytes += kib << 10;
		}
	}
	return found;
}

static struct json_object *json_tally(const struct snapshot *snap,
				      const struct tally *tally, bool huge)
{
	const struct {
		const char *name;
		uint64_t bytes;
		bool known;
	} fields[] = {
		{ "size", tally->size, true },
		{ "present", tally->present, true },
		{ "writable", tally->writable, true },
		{ "anonymous", tally->anon, true },
		{ "file", tally->file, true },
		{ "huge", tally->huge, huge },
		{ "swapped", tally->swapped, true },
		{ "zero", tally->zero, snap->pages.knows_zero },
	};
	struct json_object *obj = json_object_new_object();
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_object_add(
			obj, fields[i].name,
			fields[i].known ? json_object_new_int64(fields[i].bytes)
					: NULL);
	return obj;
}

static struct text cell(uint64_t bytes, bool known)
{
	struct text text = { "-" };

	if (!known)
		return (struct text){ "?" };
	return bytes ? format_bytes(bytes) : text;
}

static void print_tally(const struct snapshot *snap, const struct tally *tally,
			bool huge)
{
	printf(" %8s %8s %8s %8s %8s %8s %8s %8s", cell(tally->size, true).s,
	       cell(tally->present, true).s, cell(tally->writable, true).s,
	       cell(tally->anon, true).s, cell(tally->file, true).s,
	       cell(tally->huge, huge).s, cell(tally->swapped, true).s,
	       cell(tally->zero, snap->pages.knows_zero).s);
}

static void add_tally(struct tally *sum, const struct tally *tally)
{
	sum->size += tally->size;
	sum->present += tally->present;
	sum->writable += tally->writable;
	sum->anon += tally->anon;
	sum->file += tally->file;
	sum->huge += tally->huge;
	sum->swapped += tally->swapped;
	sum->zero += tally->zero;
}

static void print_vma(const struct snapshot *snap, unsigned long start,
		      unsigned long end, bool huge)
{
	printf("%012lx-%012lx %s", start, end, snap->vma.perms);
	print_tally(snap, &snap->tally, huge);
	printf("  %s\n", snap->vma.name[0] ? snap->vma.name : "[anonymous]");
}

static void add_json_vma(struct snapshot *snap, unsigned long start,
			 unsigned long end, bool huge)
{
	struct json_object *obj = json_tally(snap, &snap->tally, huge);

	json_object_object_add(obj, "start", json_address(start));
	json_object_object_add(obj, "end", json_address(end));
	json_object_object_add(obj, "perms",
			       json_object_new_string(snap->vma.perms));
	json_object_object_add(obj, "name",
			       json_object_new_string(snap->vma.name));
	if (snap->runs)
		json_object_object_add(obj, "pages", snap->runs);
	json_object_array_add(snap->json, obj);
}

static int snapshot_vma(struct snapshot *snap)
{
	unsigned long start = snap->vma.start, end = snap->vma.end;
	bool huge = snap->pages.knows_huge;
	uint64_t writable;
	int ret;

	if (start < snap->start)
		start = snap->start;
	if (end > snap->end)
		end = snap->end;
	/* The vsyscall page is in the kernel's half: it has no entries. */
	if (start >= end || start > LONG_MAX)
		return 0;

	snap->tally = (struct tally){ .size = end - start };
	snap->runs = NULL;
	if (snap->json && snap->show_pfns)
		snap->runs = json_object_new_array();
	else if (snap->show_pfns)
		printf("%012lx-%012lx %s %s\n", start, end, snap->vma.perms,
		       snap->vma.name[0] ? snap->vma.name : "[anonymous]");

	ret = pages_walk(&snap->pages, start, end, snap->show_pfns, count_run,
			 snap);
	if (ret) {
		json_object_put(snap->runs);
		return ret;
	}
	if (snap->mm && writable_bytes(snap->mm, start, end, &writable))
		snap->tally.writable = writable;
	if (!huge)
		huge = huge_from_smaps(snap, start, end, &snap->tally.huge);
	snap->huge_unknown |= !huge;
	add_tally(&snap->total, &snap->tally);
	snap->nr_vmas++;
	if (snap->json)
		add_json_vma(snap, start, end, huge);
	else if (!snap->show_pfns)
		print_vma(snap, start, end, huge);
	return 0;
}

static void print_header(void)
{
	printf("%-25s %s %8s %8s %8s %8s %8s %8s %8s %8s  %s\n", "address",
	       "perm", "size", "present", "writable", "anon", "file", "huge",
	       "swapped", "zero", "name");
}

static void print_total(const struct snapshot *snap)
{
	char title[32];

	snprintf(title, sizeof(title), "total of %u mapping%s", snap->nr_vmas,
		 snap->nr_vmas == 1 ? "" : "s");
	if (snap->show_pfns)
		print_header();
	printf("%-25s     ", title);
	print_tally(snap, &snap->total, !snap->huge_unknown);
	putchar('\n');
	if (snap->show_pfns && !snap->pages.knows_pfns)
		printf("Page frame numbers are shown only with "
		       "CAP_SYS_ADMIN.\n");
	if (snap->huge_unknown)
		printf("huge ?: for a part of a mapping this kernel does not "
		       "tell; "
		       "Linux 6.7 does.\n");
	if (!snap->pages.knows_zero)
		printf("zero ?: this kernel tells it only with CAP_SYS_ADMIN; "
		       "Linux 6.7 does to all.\n");
}

static void print_json(struct snapshot *snap)
{
	struct json_object *root = json_object_new_object();

	json_object_object_add(root, "pid", json_object_new_int(snap->pid));
	json_object_object_add(root, "mappings", snap->json);
	json_object_object_add(root, "total",
			       json_tally(snap, &snap->total,
					  !snap->huge_unknown));
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
}

static int explain(pid_t pid, int error)
{
	if (error == -ENOENT || error == -ESRCH)
		cmd_error("there is no process %d", (int)pid);
	else if (error == -EACCES || error == -EPERM)
		cmd_error("not permitted to look at process %d: it needs the "
			  "same user, or CAP_SYS_PTRACE (run as root)",
			  (int)pid);
	else
		cmd_error("process %d: %s", (int)pid, strerror(-error));
	return EXIT_FAILURE;
}

static int take_snapshot(struct snapshot *snap)
{
	char path[40];
	int ret;

	ret = pages_open(&snap->pages, snap->pid);
	if (ret)
		return explain(snap->pid, ret);
	snap->mm = writable_open(snap->pid);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)snap->pid);
	snap->maps = fopen(path, "re");
	if (!snap->maps) {
		ret = explain(snap->pid, -errno);
		goto out_pages;
	}
	if (!snap->pages.knows_huge) {
		snprintf(path, sizeof(path), "/proc/%d/smaps", (int)snap->pid);
		snap->smaps = fopen(path, "re");
	}
	if (!snap->json && !snap->show_pfns)
		print_header();
	while (!ret && maps_next(snap->maps, &snap->vma))
		ret = snapshot_vma(snap);
	if (ret) {
		ret = explain(snap->pid, ret);
		goto out;
	}
	if (!snap->nr_vmas && snap->start == 0) {
		cmd_error("process %d has no memory: a kernel thread, or it "
			  "has exited",
			  (int)snap->pid);
		ret = EXIT_FAILURE;
		goto out;
	}
	if (snap->json) {
		print_json(snap);
		snap->json = NULL;
	} else {
		print_total(snap);
	}
	ret = EXIT_SUCCESS;
out:
	if (snap->smaps)
		fclose(snap->smaps);
	fclose(snap->maps);
out_pages:
	writable_close(snap->mm);
	pages_close(&snap->pages);
	return ret;
}

static bool parse_range(const char *text, unsigned long *start,
			unsigned long *end)
{
	char *rest;

	errno = 0;
	if (*text == '-')
		return false;
	*start = strtoul(text, &rest, 16);
	if (errno || *rest != '-' || rest[1] == '-')
		return false;
	text = rest + 1;
	*end = strtoul(text, &rest, 16);
	if (errno || rest == text || *rest)
		return false;
	if (*start >= *end || *end > LONG_MAX)
		return false;
	*start &= -PAGE_BYTES;
	*end = (*end + PAGE_BYTES - 1) & -PAGE_BYTES;
	return true;
}

int cmd_snapshot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pfns", no_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct snapshot snap = { .end = LONG_MAX };
	int opt, ret;

	argv[0] = (char *)cmd_name;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			snap.show_pfns = true;
			break;
		case 'j':
			if (!snap.json)
				snap.json = json_object_new_array();
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return cmd_usage_error("which process?");
	if (argc - optind > 2)
		return cmd_usage_error("what is '%s'?", argv[optind + 2]);
	if (!cmd_parse_pid(argv[optind], &snap.pid))
		return cmd_usage_error("'%s' is not a process id",
				       argv[optind]);
	if (argc - optind == 2 &&
	    !parse_range(argv[optind + 1], &snap.start, &snap.end))
		return cmd_usage_error("'%s' is not a range of user addresses: "
				       "START-END, hexadecimal, START < END",
				       argv[optind + 1]);
	ret = take_snapshot(&snap);
	json_object_put(snap.json);
	return ret;
}
