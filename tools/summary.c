/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* summary.c - the totals of a session, as people and as programs read them */
#include "summary.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"

#define WRAP 56

struct rows {
	struct summary_row *row;
	unsigned int nr;
};

__attribute__((format(printf, 3, 4))) static void
add_row(struct rows *rows, const char *label, const char *fmt, ...)
{
	struct summary_row *row = &rows->row[rows->nr++];
	va_list ap;

	row->bad = false;
	snprintf(row->label, sizeof(row->label), "%s", label);
	va_start(ap, fmt);
	vsnprintf(row->value, sizeof(row->value), fmt, ap);
	va_end(ap);
}

/* Append to a row's value; what does not fit is cut off. */
__attribute__((format(printf, 2, 3))) static void
extend_row(struct summary_row *row, const char *fmt, ...)
{
	size_t len = strlen(row->value);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(row->value + len, sizeof(row->value) - len, fmt, ap);
	va_end(ap);
}

static const char *level_text(int level)
{
	return level >= 3   ? "changes wait for the device"
	       : level == 2 ? "exact at use"
			    : "mapped addresses only";
}

static uint64_t sum(const uint64_t *counts, int nr)
{
	uint64_t total = 0;
	int i;

	for (i = 0; i < nr; i++)
		total += counts[i];
	return total;
}

static void add_processes(struct rows *rows, const struct summary *s)
{
	const struct totals *t = &s->totals;
	struct summary_row *row = &rows->row[rows->nr];

	add_row(rows, "processes mirrored", "%s", format_count(t->mirrored).s);
	if (t->running)
		extend_row(row, ", %s of them still running",
			   format_count(t->running).s);
	if (t->executed)
		extend_row(row, "; programs executed by them %s",
			   format_count(t->executed).s);
	if (t->too_short)
		extend_row(row, "; %s ended before their mirror was up",
			   format_count(t->too_short).s);
	if (t->forks)
		extend_row(row, "; %s fork%s, mirrored only once they execute",
			   format_count(t->forks).s, t->forks == 1 ? "" : "s");
	if (t->left_out)
		extend_row(row, "; %s were too many",
			   format_count(t->left_out).s);
	if (!t->mirrored && s->obstacle) {
		extend_row(row, ": %s", s->obstacle);
		row->bad = true;
	}
	if (t->failed) {
		row = &rows->row[rows->nr];
		add_row(rows, "could not be mirrored", "%s: %s",
			format_count(t->failed).s, t->reason);
		row->bad = true;
	}
	if (t->remarks)
		add_row(rows, "not as usual", "%s: %s",
			format_count(t->remarks).s, t->remark);
}

static void add_source(struct rows *rows, const struct totals *t)
{
	add_row(rows, "source", "%s, level %d: %s%s", t->source, t->level,
		level_text(t->level),
		t->mixed ? " (and others in some processes)" : "");
	if (t->mechanism[0])
		add_row(rows, "  attached", "%s", t->mechanism);
	add_row(rows, "  does not see", "%s",
		t->misses[0] ? t->misses : "nothing");
}

static void add_accesses(struct rows *rows, const struct dmirror_stats *d)
{
	uint64_t ops = 0, bytes = 0, errors = 0;
	struct summary_row *row;
	int i;

	for (i = 0; i < DMIRROR_OP_MAX; i++) {
		ops += d->op[i].ops;
		bytes += d->op[i].bytes;
		errors += d->op[i].errors;
	}
	add_row(rows, "device accesses", "%s commands on %s",
		format_count(ops).s, format_bytes(bytes).s);
	row = &rows->row[rows->nr];
	add_row(rows, "  by command", "%s", "");
	for (i = 0; i < DMIRROR_OP_MAX; i++)
		if (d->op[i].ops)
			extend_row(row, "%s%s %s", row->value[0] ? ", " : "",
				   dmirror_op_name(i),
				   format_count(d->op[i].ops).s);
	if (!ops)
		rows->nr--;
	if (errors)
		add_row(rows, "  found no memory",
			"%s: taken away meanwhile, or can't be mirrored",
			format_count(errors).s);
}

static void add_times(struct rows *rows, const char *label,
		      const struct dmirror_hist *hist)
{
	uint64_t nr = sum(hist->bucket, DMIRROR_HIST_BUCKETS);

	if (nr)
		add_row(rows, label, "%s, p50 %s, p99 %s, longest %s",
			format_count(nr).s,
			format_ns(dmirror_hist_quantile(hist, 0.5)).s,
			format_ns(dmirror_hist_quantile(hist, 0.99)).s,
			format_ns(hist->max).s);
	else
		add_row(rows, label, "0");
}

static void add_invalidations(struct rows *rows, const struct totals *t)
{
	struct summary_row *row;
	int i;

	add_row(rows, "invalidations",
		"%s, of which %s removed translations of %s",
		format_count(sum(t->invalidations, HMM_CHANGE_KIND_MAX)).s,
		format_count(t->effective).s,
		format_bytes(t->device.invalidated_pages << 12).s);
	row = &rows->row[rows->nr];
	add_row(rows, "  by kind", "%s", "");
	for (i = 0; i < HMM_CHANGE_KIND_MAX; i++)
		if (t->invalidations[i])
			extend_row(row, "%s%s %s", row->value[0] ? ", " : "",
				   hmm_change_kind_name(i),
				   format_count(t->invalidations[i]).s);
	if (!row->value[0])
		rows->nr--;
	if (t->foreign)
		add_row(rows, "  not counted",
			"%s of other processes, which this source tells too",
			format_count(t->foreign).s);
}

static void add_verdict(struct rows *rows, const struct summary *s)
{
	const struct totals *t = &s->totals;
	struct summary_row *row;

	if (s->verify && t->device.verify_presence)
		add_row(rows, "translations verified",
			"%s; %s of them only for presence (no CAP_SYS_ADMIN)",
			format_count(t->device.verified).s,
			format_count(t->device.verify_presence).s);
	else if (s->verify)
		add_row(rows, "translations verified", "%s",
			format_count(t->device.verified).s);
	row = &rows->row[rows->nr];
	add_row(rows, "stale translations used", "%s",
		format_count(t->stale).s);
	row->bad = t->stale;
	if (t->stale && t->level < 2)
		extend_row(row, " (by changes that this source does not see)");
}

unsigned int summary_rows(const struct summary *s,
			  struct summary_row array[SUMMARY_ROWS])
{
	struct rows rows = { array, 0 };
	const struct totals *t = &s->totals;

	add_row(&rows, "run time", "%s, exit status %d",
		format_ns(s->elapsed_ns).s, s->status);
	add_processes(&rows, s);
	if (t->mirrored) {
		add_source(&rows, t);
		add_row(&rows, "memory mirrored",
			"%s (sum of peaks), %s mapped in all",
			format_bytes(t->device.mapped_peak).s,
			format_bytes(t->device.faulted_pages << 12).s);
		add_accesses(&rows, &t->device);
		add_times(&rows, "device page faults", &t->device.fault);
		add_times(&rows, "waits for changes", &t->device.wait);
		add_invalidations(&rows, t);
		add_verdict(&rows, s);
	}
	if (s->report)
		add_row(&rows, "report", "%s", s->report);
	return rows.nr;
}

/* The value in lines of WRAP, the next ones below the first. */
static void print_wrapped(FILE *out, const char *value)
{
	int len, cut;

	for (;;) {
		len = strlen(value);
		cut = len;
		if (len > WRAP) {
			for (cut = WRAP; cut && value[cut] != ' '; cut--)
				;
			if (!cut)
				cut = strcspn(value, " ");
		}
		fprintf(out, "%.*s\n", cut, value);
		value += cut;
		while (*value == ' ')
			value++;
		if (!*value)
			return;
		fprintf(out, "  %-24s", "");
	}
}

void summary_print(const struct summary *s, FILE *out)
{
	struct summary_row rows[SUMMARY_ROWS];
	unsigned int nr = summary_rows(s, rows);
	unsigned int i;

	fprintf(out, "\nhmm run: %s\n\n", s->command);
	for (i = 0; i < nr; i++) {
		fprintf(out, "  %-24s", rows[i].label);
		print_wrapped(out, rows[i].value);
	}
	fputc('\n', out);
}

/* ---- JSON ---------------------------------------------------------------- */

static void add_int(struct json_object *obj, const char *key, uint64_t value)
{
	json_object_object_add(obj, key, json_object_new_int64(value));
}

static void add_string(struct json_object *obj, const char *key,
		       const char *value)
{
	json_object_object_add(obj, key,
			       value ? json_object_new_string(value) : NULL);
}

static struct json_object *json_kinds(const uint64_t *counts)
{
	struct json_object *obj = json_object_new_object();
	int i;

	for (i = 0; i < HMM_CHANGE_KIND_MAX; i++)
		add_int(obj, hmm_change_kind_name(i), counts[i]);
	return obj;
}

static struct json_object *json_ops(const struct dmirror_stats *d)
{
	struct json_object *ops = json_object_new_object();
	struct json_object *op;
	int i;

	for (i = 0; i < DMIRROR_OP_MAX; i++) {
		op = json_object_new_object();
		add_int(op, "ops", d->op[i].ops);
		add_int(op, "bytes", d->op[i].bytes);
		add_int(op, "errors", d->op[i].errors);
		json_object_object_add(ops, dmirror_op_name(i), op);
	}
	return ops;
}

static struct json_object *json_times(const struct dmirror_hist *hist)
{
	struct json_object *obj = json_object_new_object();

	add_int(obj, "count", sum(hist->bucket, DMIRROR_HIST_BUCKETS));
	add_int(obj, "p50_ns", dmirror_hist_quantile(hist, 0.5));
	add_int(obj, "p99_ns", dmirror_hist_quantile(hist, 0.99));
	add_int(obj, "max_ns", hist->max);
	return obj;
}

static void add_json_processes(struct json_object *root,
			       const struct summary *s)
{
	struct json_object *processes = json_object_new_object();
	const struct totals *t = &s->totals;

	add_int(processes, "mirrored", t->mirrored);
	add_int(processes, "still_running", t->running);
	add_int(processes, "executed", t->executed);
	add_int(processes, "too_short", t->too_short);
	add_int(processes, "failed", t->failed);
	add_int(processes, "left_out", t->left_out);
	add_int(processes, "forks", t->forks);
	add_string(processes, "reason",
		   t->failed      ? t->reason
		   : !t->mirrored ? s->obstacle
				  : NULL);
	add_int(processes, "remarks", t->remarks);
	add_string(processes, "remark", t->remarks ? t->remark : NULL);
	json_object_object_add(root, "processes", processes);
}

static void add_json_device(struct json_object *root, const struct totals *t)
{
	const struct dmirror_stats *d = &t->device;
	struct json_object *device = json_object_new_object();

	json_object_object_add(device, "ops", json_ops(d));
	add_int(device, "hits", d->hits);
	add_int(device, "misses", d->misses);
	add_int(device, "mirrored_peak_bytes", d->mapped_peak);
	add_int(device, "faults", d->faults);
	add_int(device, "fault_errors", d->fault_errors);
	add_int(device, "faulted_pages", d->faulted_pages);
	add_int(device, "retries_busy", d->retries_busy);
	add_int(device, "retries_valid", d->retries_valid);
	json_object_object_add(device, "invalidations",
			       json_kinds(t->invalidations));
	add_int(device, "effective_invalidations", t->effective);
	add_int(device, "foreign_invalidations", t->foreign);
	add_int(device, "invalidated_pages", d->invalidated_pages);
	json_object_object_add(device, "fault_time", json_times(&d->fault));
	json_object_object_add(device, "wait_time", json_times(&d->wait));
	add_int(device, "verified", d->verified);
	add_int(device, "verified_presence_only", d->verify_presence);
	add_int(device, "undecided", d->undecided);
	json_object_object_add(root, "device", device);
}

void summary_print_json(const struct summary *s, FILE *out)
{
	struct json_object *root = json_object_new_object();
	const struct totals *t = &s->totals;

	add_string(root, "command", s->command);
	add_int(root, "exit_status", s->status);
	add_int(root, "elapsed_ns", s->elapsed_ns);
	add_json_processes(root, s);
	add_string(root, "source", t->mirrored ? t->source : NULL);
	add_int(root, "level", t->level);
	add_string(root, "mechanism", t->mechanism);
	add_string(root, "misses", t->misses);
	json_object_object_add(root, "pfns_virtual",
			       json_object_new_boolean(t->pfns_virtual));
	json_object_object_add(root, "changes", json_kinds(t->changes));
	add_int(root, "barriers", t->barriers);
	add_json_device(root, t);
	json_object_object_add(root, "verify",
			       json_object_new_boolean(s->verify));
	add_int(root, "stale", t->stale);
	add_int(root, "events_dropped", t->dropped);
	add_string(root, "report", s->report);
	fprintf(out, "%s\n",
		json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
}

char *summary_command(char **argv)
{
	size_t size = 0;
	FILE *f;
	char *text;
	int i;

	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	for (i = 0; argv[i]; i++)
		fprintf(f, "%s%s", i ? " " : "", argv[i]);
	return fclose(f) ? NULL : text;
}
