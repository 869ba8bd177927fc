/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report_time.c - the report's time line */
#include <math.h>
#include <string.h>

#include "format.h"
#include "report_parts.h"

#define LEFT 80
#define RIGHT 10
#define PLOT (REPORT_WIDTH - LEFT - RIGHT)
#define MAX_BUCKETS 200
#define PANEL 96
#define PANEL_GAP 34
#define TOP 24
#define NR_PANELS 4

/* What happened within one step of the time line. */
struct bucket {
	double kinds[HMM_CHANGE_KIND_MAX];
	double changes;
	double faults;
	double mapped;
	double wait;
};

struct time_line {
	struct bucket bucket[MAX_BUCKETS];
	int nr;
	double width; /* of one, in units of the picture */
	uint64_t elapsed_ns;
};

/* Samples are sums: what came in one step is the growth since the last one. */
static void fill(struct time_line *line, const struct collector *c)
{
	const struct sample *sample, *before;
	static const struct sample zero;
	struct bucket *b;
	unsigned int i;
	int at, kind;

	for (i = 0; i < c->nr_samples; i++) {
		sample = &c->samples[i];
		before = i ? sample - 1 : &zero;
		at = (double)sample->time / line->elapsed_ns * line->nr;
		if (at >= line->nr)
			at = line->nr - 1;
		b = &line->bucket[at];
		for (kind = 0; kind < HMM_CHANGE_KIND_MAX; kind++) {
			double n = sample->invalidations[kind] -
				   before->invalidations[kind];

			b->kinds[kind] += n;
			b->changes += n;
		}
		b->faults += sample->faults - before->faults;
		if (sample->mapped > b->mapped)
			b->mapped = sample->mapped;
		if (sample->longest_wait > b->wait)
			b->wait = sample->longest_wait;
	}
}

static double panel_top(int panel)
{
	return TOP + panel * (PANEL + PANEL_GAP);
}

static void write_panel(FILE *out, int panel, const char *title,
			const char *least, const char *most)
{
	double top = panel_top(panel);

	fprintf(out, "<text class=\"title\" x=\"%d\" y=\"%g\">", LEFT, top - 8);
	report_text(out, title);
	fprintf(out,
		"</text>\n<path d=\"M%d %gh%d\" stroke=\"#eef1f4\"/>"
		"<path d=\"M%d %gh%d\" stroke=\"#aab4bf\"/>\n"
		"<text x=\"%d\" y=\"%g\" text-anchor=\"end\">%s</text>\n"
		"<text x=\"%d\" y=\"%g\" text-anchor=\"end\">%s</text>\n",
		LEFT, top, PLOT, LEFT, top + PANEL, PLOT, LEFT - 8, top + 5,
		most, LEFT - 8, top + PANEL + 4, least);
}

static void write_bar(FILE *out, const struct time_line *line, int i,
		      double bottom, double height, const char *color)
{
	if (height < 0.01)
		return;
	fprintf(out,
		"<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
		"height=\"%.2f\" fill=\"%s\"/>\n",
		LEFT + i * line->width, bottom - height, line->width * 0.92,
		height, color);
}

static void write_changes(FILE *out, const struct time_line *line)
{
	double most = 1, bottom, height;
	char title[96];
	int i, kind;

	for (i = 0; i < line->nr; i++)
		most = fmax(most, line->bucket[i].changes);
	snprintf(title, sizeof(title), "Invalidations per %s, by kind",
		 format_ns(line->elapsed_ns / line->nr).s);
	write_panel(out, 0, title, "0", format_count(most).s);
	for (i = 0; i < line->nr; i++) {
		bottom = panel_top(0) + PANEL;
		for (kind = 0; kind < HMM_CHANGE_KIND_MAX; kind++) {
			height = line->bucket[i].kinds[kind] / most * PANEL;
			write_bar(out, line, i, bottom, height,
				  report_kind_color(kind));
			bottom -= height;
		}
	}
}

/* To the right of the first panel's title: the kinds that occurred. */
static void write_legend(FILE *out, const struct time_line *line)
{
	double x = REPORT_WIDTH - RIGHT, sum;
	int i, kind;

	for (kind = HMM_CHANGE_KIND_MAX - 1; kind >= 0; kind--) {
		const char *name = hmm_change_kind_name(kind);

		for (sum = 0, i = 0; i < line->nr; i++)
			sum += line->bucket[i].kinds[kind];
		if (!sum)
			continue;
		x -= strlen(name) * 7.5 + 34;
		fprintf(out,
			"<rect x=\"%g\" y=\"%g\" width=\"11\" height=\"11\" "
			"rx=\"2\" fill=\"%s\"/><text x=\"%g\" y=\"%g\">%s"
			"</text>\n",
			x, panel_top(0) - 18, report_kind_color(kind), x + 16,
			panel_top(0) - 8, name);
	}
}

static void write_faults(FILE *out, const struct time_line *line)
{
	double most = 1;
	char title[96];
	int i;

	for (i = 0; i < line->nr; i++)
		most = fmax(most, line->bucket[i].faults);
	snprintf(title, sizeof(title), "Device page faults per %s",
		 format_ns(line->elapsed_ns / line->nr).s);
	write_panel(out, 1, title, "0", format_count(most).s);
	for (i = 0; i < line->nr; i++)
		write_bar(out, line, i, panel_top(1) + PANEL,
			  line->bucket[i].faults / most * PANEL, "#4c78a8");
}

/* Waits span from nanoseconds to milliseconds: the scale is logarithmic. */
static void write_waits(FILE *out, const struct time_line *line)
{
	double most = 1000, least = 100, y;
	int i;

	for (i = 0; i < line->nr; i++)
		most = fmax(most, line->bucket[i].wait);
	write_panel(out, 2, "Longest wait for a change to end (logarithmic)",
		    format_ns(least).s, format_ns(most).s);
	for (i = 0; i < line->nr; i++) {
		if (!line->bucket[i].wait)
			continue;
		y = log(fmax(line->bucket[i].wait, least) / least) /
		    log(most / least) * (PANEL - 6);
		fprintf(out,
			"<path d=\"M%.2f %.2fv%.2f\" stroke=\"#f0c9a4\"/>"
			"<circle cx=\"%.2f\" cy=\"%.2f\" r=\"2.6\" "
			"fill=\"#d9772b\"/>\n",
			LEFT + (i + 0.5) * line->width, panel_top(2) + PANEL,
			-y, LEFT + (i + 0.5) * line->width,
			panel_top(2) + PANEL - y);
	}
}

static void write_mapped(FILE *out, const struct time_line *line)
{
	double bottom = panel_top(3) + PANEL;
	double most = 4096;
	int i;

	for (i = 0; i < line->nr; i++)
		most = fmax(most, line->bucket[i].mapped);
	write_panel(out, 3, "Memory mapped by the device", "0",
		    format_bytes(most).s);
	fprintf(out, "<path fill=\"#cfe8dc\" stroke=\"#35a07f\" d=\"M%d %g",
		LEFT, bottom);
	for (i = 0; i < line->nr; i++)
		fprintf(out, "L%.2f %.2fh%.2f", LEFT + i * line->width,
			bottom - line->bucket[i].mapped / most * PANEL,
			line->width);
	fprintf(out, "V%gZ\"/>\n", bottom);
}

static void write_axis(FILE *out, const struct time_line *line)
{
	double seconds = line->elapsed_ns / 1e9;
	double step = pow(10, floor(log10(seconds)));
	double bottom = panel_top(NR_PANELS - 1) + PANEL;
	double x;
	int i;

	if (seconds / step < 2)
		step /= 5;
	else if (seconds / step < 5)
		step /= 2;
	for (i = 0; i * step <= seconds * 1.0001; i++) {
		x = LEFT + i * step / seconds * PLOT;
		fprintf(out,
			"<path d=\"M%.2f %gV%g\" stroke=\"#000\" "
			"stroke-opacity=\".06\"/><text x=\"%.2f\" "
			"y=\"%g\" text-anchor=\"middle\">%g s</text>\n",
			x, panel_top(0), bottom + 5, x, bottom + 20, i * step);
	}
}

void report_time_line(FILE *out, const struct collector *c, uint64_t elapsed_ns)
{
	struct time_line line = { .elapsed_ns = elapsed_ns };

	if (!c->nr_samples || !elapsed_ns)
		return;
	/* A step without a sample would look like a pause. */
	line.nr = c->nr_samples < MAX_BUCKETS ? c->nr_samples : MAX_BUCKETS;
	line.nr = line.nr > 20 ? line.nr * 3 / 4 : line.nr;
	line.width = (double)PLOT / line.nr;
	fill(&line, c);
	fprintf(out,
		"<h2>Time line</h2>\n<p>Of all processes together.</p>\n"
		"<svg viewBox=\"0 0 %d %g\" role=\"img\">\n",
		REPORT_WIDTH, panel_top(NR_PANELS - 1) + PANEL + 28);
	write_changes(out, &line);
	write_legend(out, &line);
	write_faults(out, &line);
	write_waits(out, &line);
	write_mapped(out, &line);
	write_axis(out, &line);
	fputs("</svg>\n", out);
}
