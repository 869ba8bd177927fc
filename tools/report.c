/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report.c - a session as one HTML file, without scripts or other files */
#include "report.h"

#include <time.h>

#include "format.h"
#include "report_parts.h"

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width\">\n"
	"<title>hmm run</title>\n<style>\n"
	"body{margin:0 auto;padding:28px 32px 60px;max-width:1120px;"
	"font:15px/1.45 system-ui,sans-serif;color:#1d2733;background:#fff}\n"
	"h1{font:600 22px/1.3 ui-monospace,monospace;margin:2px 0 4px;"
	"overflow-wrap:anywhere}\n"
	"h2{font-size:18px;margin:38px 0 4px}\n"
	"p{margin:4px 0 12px;color:#5b6876}\n"
	".over{font-size:13px;color:#5b6876;letter-spacing:.04em}\n"
	".cards{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;"
	"margin:22px 0 8px}\n"
	".card{border:1px solid #dde3ea;border-radius:8px;padding:11px 14px}\n"
	".card b{display:block;font-size:23px;line-height:1.25}\n"
	".card span{font-size:13px;color:#5b6876}\n"
	".good{background:#edf8f0;border-color:#b5dfc1}.good b{color:#14723a}\n"
	".bad{background:#fdeeec;border-color:#efb8b1}.bad b{color:#b3261e}\n"
	"svg{display:block;width:100%;height:auto}\n"
	"svg text{font:12px system-ui,sans-serif;fill:#5b6876}\n"
	"svg .mono{font-family:ui-monospace,monospace;font-size:11.5px}\n"
	"svg .name{fill:#1d2733;font-size:12.5px}\n"
	"svg .title{fill:#1d2733;font-weight:600}\n"
	"table{border-collapse:collapse;width:100%}\n"
	"td{padding:6px 10px 6px 0;border-top:1px solid #e8ecf0;"
	"vertical-align:top}\n"
	"td:first-child{color:#5b6876;white-space:pre;width:210px}\n"
	"tr.bad td{color:#b3261e;background:#fdeeec}\n"
	"</style>\n";

void report_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc((unsigned char)*text < ' ' ? '?' : *text, out);
		}
	}
}

const char *report_kind_color(enum hmm_change_kind kind)
{
	static const char *const colors[HMM_CHANGE_KIND_MAX] = {
		[HMM_CHANGE_OTHER] = "#9aa5b1",
		[HMM_CHANGE_UNMAP] = "#d1495b",
		[HMM_CHANGE_REMAP] = "#ef8a3c",
		[HMM_CHANGE_PROTECT] = "#7b5ea7",
		[HMM_CHANGE_DISCARD] = "#e2b33c",
		[HMM_CHANGE_TRUNCATE] = "#a3513a",
		[HMM_CHANGE_COW] = "#3d8bc9",
		[HMM_CHANGE_FORK] = "#35a07f",
		[HMM_CHANGE_RECLAIM] = "#5c6b73",
		[HMM_CHANGE_MIGRATE] = "#20504f",
		[HMM_CHANGE_MERGE] = "#b56fae",
		[HMM_CHANGE_COLLAPSE] = "#7fb069",
		[HMM_CHANGE_LOST] = "#000000",
	};

	return colors[kind];
}

static void card(FILE *out, const char *class, const char *value,
		 const char *label)
{
	fprintf(out, "<div class=\"card %s\"><b>", class);
	report_text(out, value);
	fputs("</b><span>", out);
	report_text(out, label);
	fputs("</span></div>\n", out);
}

static void write_cards(FILE *out, const struct summary *s)
{
	const struct totals *t = &s->totals;
	const struct dmirror_stats *d = &t->device;
	uint64_t changes = 0, bytes = 0, ops = 0;
	char text[120];
	int i;

	for (i = 0; i < HMM_CHANGE_KIND_MAX; i++)
		changes += t->invalidations[i];
	for (i = 0; i < DMIRROR_OP_MAX; i++) {
		ops += d->op[i].ops;
		bytes += d->op[i].bytes;
	}
	fputs("<div class=\"cards\">\n", out);
	card(out, t->stale ? "bad" : "good", format_count(t->stale).s,
	     "stale translations used");
	snprintf(text, sizeof(text), "translations verified%s",
		 d->verify_presence ? " (presence)" : "");
	card(out, "", s->verify ? format_count(d->verified).s : "off", text);
	snprintf(text, sizeof(text), "source, level %d", t->level);
	card(out, "", t->source, text);
	snprintf(text, sizeof(text), "process%s mirrored",
		 t->mirrored == 1 ? "" : "es");
	card(out, "", format_count(t->mirrored).s, text);
	card(out, "", format_bytes(d->mapped_peak).s,
	     "memory mirrored, sum of peaks");
	snprintf(text, sizeof(text), "accessed by %s commands",
		 format_count(ops).s);
	card(out, "", format_bytes(bytes).s, text);
	snprintf(text, sizeof(text), "device page faults, p99 %s",
		 format_ns(dmirror_hist_quantile(&d->fault, 0.99)).s);
	card(out, "", format_count(d->faults).s, text);
	snprintf(text, sizeof(text), "invalidations; waits p99 %s",
		 format_ns(dmirror_hist_quantile(&d->wait, 0.99)).s);
	card(out, "", format_count(changes).s, text);
	fputs("</div>\n", out);
}

static void write_table(FILE *out, const struct summary *s)
{
	struct summary_row rows[SUMMARY_ROWS];
	unsigned int nr = summary_rows(s, rows);
	unsigned int i;

	fputs("<h2>All numbers</h2>\n<table>\n", out);
	for (i = 0; i < nr; i++) {
		fprintf(out, "<tr%s><td>", rows[i].bad ? " class=\"bad\"" : "");
		report_text(out, rows[i].label);
		fputs("<td>", out);
		report_text(out, rows[i].value);
		fputc('\n', out);
	}
	fputs("</table>\n", out);
}

void report_write(const struct summary *s, struct collector *collector,
		  FILE *out)
{
	time_t now = time(NULL);
	char date[40] = "";
	struct tm tm;
	int i;

	if (localtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm);
	fputs(head, out);
	fprintf(out,
		"<div class=\"over\">hmm run, %s, %s, exit status %d</div>\n",
		date, format_ns(s->elapsed_ns).s, s->status);
	fputs("<h1>", out);
	report_text(out, s->command);
	fputs("</h1>\n", out);
	write_cards(out, s);
	if (s->totals.mirrored)
		report_time_line(out, collector, s->elapsed_ns);
	for (i = 0; i < COLLECT_SPACES; i++)
		if (collector->spaces[i])
			report_space(out, collector->spaces[i]);
	write_table(out, s);
	fputs("</html>\n", out);
}
