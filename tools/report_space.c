/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report_space.c - the report's map of an address space */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "report_parts.h"

#define PAGE_BYTES 4096ul
#define MAX_ROWS 36
#define ROW 25
#define BAR_LEFT 372
#define BAR_MAX 560
#define BAR_MIN 14
#define CELL 6
#define MAX_CELLS (BAR_MAX / CELL)
#define TOP 26

/* One mapping in the picture. */
struct row {
	const struct space_extent *extent;
	uint64_t changes, accesses;
	uint64_t cell_changes[MAX_CELLS], cell_accesses[MAX_CELLS];
	int nr_cells;
	double width;
};

struct map {
	struct row *rows;
	unsigned int nr;
	unsigned int nr_quiet; /* mappings that the picture leaves out */
	uint64_t quiet_bytes;
	uint64_t most_changes, most_accesses; /* of a cell */
};

static uint64_t count_hits(const struct space_table *table,
			   const struct space_extent *extent)
{
	uint64_t count = 0;
	uint32_t i;

	for (i = 0; i < table->capacity; i++)
		if (table->hits[i].count &&
		    table->hits[i].start < extent->end &&
		    extent->start < table->hits[i].end)
			count += table->hits[i].count;
	return count;
}

static void spread_hits(const struct space_table *table, const struct row *row,
			uint64_t *cells, uint64_t *most)
{
	const struct space_extent *extent = row->extent;
	double per_byte = row->nr_cells / (double)(extent->end - extent->start);
	const struct space_hits *hits;
	int first, last, c;
	uint32_t i;

	for (i = 0; i < table->capacity; i++) {
		hits = &table->hits[i];
		if (!hits->count || hits->start >= extent->end ||
		    extent->start >= hits->end)
			continue;
		first = hits->start <= extent->start
				? 0
				: (hits->start - extent->start) * per_byte;
		last = hits->end >= extent->end
			       ? row->nr_cells - 1
			       : (hits->end - 1 - extent->start) * per_byte;
		for (c = first; c <= last && c < row->nr_cells; c++) {
			cells[c] += hits->count;
			if (cells[c] > *most)
				*most = cells[c];
		}
	}
}

static int by_activity(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t p = x->changes * 4 + x->accesses;
	uint64_t q = y->changes * 4 + y->accesses;

	return p > q ? -1 : p < q;
}

static int by_address(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->extent->start < y->extent->start
		       ? -1
		       : x->extent->start > y->extent->start;
}

/* From one page to a terabyte: lengths are logarithmic. */
static void size_row(struct row *row)
{
	unsigned long pages =
		(row->extent->end - row->extent->start) / PAGE_BYTES;
	double share = log2(pages) / 18;

	row->width = BAR_MIN + (BAR_MAX - BAR_MIN) * fmin(share, 1);
	row->nr_cells = row->width / CELL;
	if ((unsigned long)row->nr_cells > pages)
		row->nr_cells = pages;
	if (row->nr_cells < 1)
		row->nr_cells = 1;
	if (row->nr_cells > MAX_CELLS)
		row->nr_cells = MAX_CELLS;
}

static bool make_map(struct map *map, struct space *space)
{
	struct row *row;
	uint32_t i;

	map->rows = calloc(space->nr_extents, sizeof(*map->rows));
	if (!map->rows)
		return false;
	for (i = 0; i < space->nr_extents; i++) {
		row = &map->rows[map->nr];
		row->extent = &space->extents[i];
		row->changes = count_hits(&space->changes, row->extent);
		row->accesses = count_hits(&space->accesses, row->extent);
		if (row->changes || row->accesses) {
			map->nr++;
			continue;
		}
		map->nr_quiet++;
		map->quiet_bytes += row->extent->end - row->extent->start;
	}
	qsort(map->rows, map->nr, sizeof(*map->rows), by_activity);
	for (; map->nr > MAX_ROWS; map->nr--) {
		row = &map->rows[map->nr - 1];
		map->nr_quiet++;
		map->quiet_bytes += row->extent->end - row->extent->start;
	}
	qsort(map->rows, map->nr, sizeof(*map->rows), by_address);
	for (i = 0; i < map->nr; i++) {
		row = &map->rows[i];
		size_row(row);
		spread_hits(&space->changes, row, row->cell_changes,
			    &map->most_changes);
		spread_hits(&space->accesses, row, row->cell_accesses,
			    &map->most_accesses);
	}
	return true;
}

/* 0 to 1, so that one hit is to be seen beside ten thousand. */
static double share(uint64_t count, uint64_t most)
{
	return most ? log1p(count) / log1p(most) : 0;
}

static void write_blue(FILE *out, double s)
{
	fprintf(out, "rgb(%d,%d,%d)", (int)(207 - 172 * s),
		(int)(224 - 124 * s), (int)(242 - 72 * s));
}

/* Pale yellow to dark red. */
static void write_heat(FILE *out, double s)
{
	fprintf(out, "rgb(%d,%d,%d)",
		(int)(s < 0.5 ? 253 : 253 - 220 * (s - 0.5)),
		(int)(218 - 190 * s), (int)(120 - 90 * s));
}

static void write_cells(FILE *out, const struct map *map, const struct row *row,
			double y)
{
	double cell = row->width / row->nr_cells;
	int i;

	fprintf(out,
		"<rect x=\"%d\" y=\"%g\" width=\"%.1f\" height=\"17\" "
		"fill=\"#e4e8ec\"/>\n",
		BAR_LEFT, y, row->width);
	for (i = 0; i < row->nr_cells; i++) {
		if (row->cell_accesses[i]) {
			fprintf(out,
				"<rect x=\"%.2f\" y=\"%g\" width=\"%.2f\" "
				"height=\"9\" fill=\"",
				BAR_LEFT + i * cell, y, cell + 0.1);
			write_blue(out, share(row->cell_accesses[i],
					      map->most_accesses));
			fputs("\"/>\n", out);
		}
		if (row->cell_changes[i]) {
			fprintf(out,
				"<rect x=\"%.2f\" y=\"%g\" width=\"%.2f\" "
				"height=\"8\" fill=\"",
				BAR_LEFT + i * cell, y + 9, cell + 0.1);
			write_heat(out, share(row->cell_changes[i],
					      map->most_changes));
			fputs("\"/>\n", out);
		}
	}
}

/* Of a long path the slot has only the end, so it need not begin with '/'. */
static const char *short_name(const struct space_extent *extent)
{
	const char *slash = strrchr(extent->name, '/');

	if (!extent->name[0])
		return "[anonymous]";
	return slash && extent->name[0] != '[' ? slash + 1 : extent->name;
}

static void write_row(FILE *out, const struct map *map, const struct row *row,
		      double y)
{
	const struct space_extent *extent = row->extent;
	char name[24];

	snprintf(name, sizeof(name), "%.21s", short_name(extent));
	fprintf(out, "<g><title>");
	report_text(out, extent->name[0] ? extent->name : "[anonymous]");
	fprintf(out,
		" %lx-%lx %s: %s accesses, %s invalidations</title>\n"
		"<text class=\"mono\" x=\"0\" y=\"%g\">%012lx</text>"
		"<text class=\"mono\" x=\"98\" y=\"%g\">%s</text>"
		"<text class=\"name\" x=\"140\" y=\"%g\">",
		extent->start, extent->end, extent->perms,
		format_count(row->accesses).s, format_count(row->changes).s,
		y + 13, extent->start, y + 13, extent->perms, y + 13);
	report_text(out, name);
	fprintf(out,
		"</text><text x=\"%d\" y=\"%g\" "
		"text-anchor=\"end\">%s</text>\n",
		BAR_LEFT - 10, y + 13,
		format_bytes(extent->end - extent->start).s);
	write_cells(out, map, row, y);
	fprintf(out,
		"<text x=\"%d\" y=\"%g\" text-anchor=\"end\">%s</text>"
		"<text x=\"%d\" y=\"%g\" text-anchor=\"end\">%s</text></g>\n",
		REPORT_WIDTH - 110, y + 13, format_count(row->accesses).s,
		REPORT_WIDTH - 4, y + 13,
		row->changes ? format_count(row->changes).s : "-");
}

static void write_scale(FILE *out, double x, double y, const char *low,
			const char *high, void (*color)(FILE *out, double s))
{
	int i;

	fprintf(out, "<text x=\"%g\" y=\"%g\">%s</text>", x, y + 10, low);
	x += strlen(low) * 6.4 + 6;
	for (i = 0; i < 10; i++) {
		fprintf(out,
			"<rect x=\"%g\" y=\"%g\" width=\"10.2\" "
			"height=\"11\" fill=\"",
			x + i * 10, y);
		color(out, i / 9.0);
		fputs("\"/>", out);
	}
	fprintf(out, "<text x=\"%g\" y=\"%g\">%s</text>\n", x + 107, y + 10,
		high);
}

static void write_legend(FILE *out, const struct map *map, double y)
{
	fprintf(out,
		"<rect x=\"0\" y=\"%g\" width=\"24\" height=\"11\" "
		"fill=\"#e4e8ec\"/><text x=\"30\" y=\"%g\">mapped, never "
		"used by the device</text>\n",
		y, y + 10);
	write_scale(out, 260, y, "upper half: used by the device once",
		    format_count(map->most_accesses).s, write_blue);
	if (map->most_changes)
		write_scale(out, 690, y, "lower half: invalidated once",
			    format_count(map->most_changes).s, write_heat);
}

void report_space(FILE *out, struct space *space)
{
	struct map map = { 0 };
	double y = TOP;
	unsigned int i;

	space_sort(space);
	if (!make_map(&map, space) || !map.nr)
		goto out;
	fputs("<h2>Address space of ", out);
	report_text(out, space->comm);
	fprintf(out,
		", process %d</h2>\n<p>From low to high addresses, lengths "
		"logarithmic. %u mapping%s of %s with less or nothing going "
		"on are not shown, nor %s invalidation%s of everything.</p>\n"
		"<svg viewBox=\"0 0 %d %d\" role=\"img\">\n"
		"<text x=\"0\" y=\"14\">address</text>"
		"<text x=\"140\" y=\"14\">mapping</text>"
		"<text x=\"%d\" y=\"14\" text-anchor=\"end\">size</text>"
		"<text x=\"%d\" y=\"14\" text-anchor=\"end\">accesses</text>"
		"<text x=\"%d\" y=\"14\" text-anchor=\"end\">invalidations"
		"</text>\n",
		space->pid, map.nr_quiet, map.nr_quiet == 1 ? "" : "s",
		format_bytes(map.quiet_bytes).s,
		format_count(space->everything).s,
		space->everything == 1 ? "" : "s", REPORT_WIDTH,
		TOP + (int)map.nr * ROW + 32, BAR_LEFT - 10, REPORT_WIDTH - 110,
		REPORT_WIDTH - 4);
	for (i = 0; i < map.nr; i++, y += ROW)
		write_row(out, &map, &map.rows[i], y);
	write_legend(out, &map, y + 12);
	fputs("</svg>\n", out);
	if (space->changes.left_out || space->accesses.left_out)
		fprintf(out, "<p>%s events found no more room.</p>\n",
			format_count(space->changes.left_out +
				     space->accesses.left_out)
				.s);
out:
	free(map.rows);
}
