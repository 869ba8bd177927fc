// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * plot.c - a picture for each ratio that is a function of something
 *
 * Both axes are logarithmic: ranges go from one to a million, and the seed's
 * list does, too.
 */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

#define WIDTH 640
#define HEIGHT 360
#define LEFT 70
#define RIGHT 20
#define TOP 50
#define BOTTOM 50

struct axis {
	double low, high; /* logarithms to base 10 */
	double from, to;  /* where these are drawn */
};

static double at(const struct axis *a, double value)
{
	return a->from +
	       (log10(value) - a->low) / (a->high - a->low) * (a->to - a->from);
}

static void include(struct axis *a, double value)
{
	a->low = fmin(a->low, log10(value));
	a->high = fmax(a->high, log10(value));
}

static bool belongs(const struct bench_line *l, const struct bench_line *first)
{
	return !*l->skipped && *l->unit && !strcmp(l->name, first->name);
}

static void ticks(FILE *out, const struct axis *x, const struct axis *y)
{
	static const double steps[] = { 1, 1.5, 2, 3, 5, 7 };
	bool narrow = y->high - y->low < 1.5;
	unsigned int s;
	int p;

	for (p = (int)floor(y->low); p <= (int)ceil(y->high); p++)
		for (s = 0; s < (narrow ? 6 : 1); s++) {
			double value = steps[s] * pow(10, p);

			if (log10(value) < y->low || log10(value) > y->high)
				continue;
			fprintf(out,
				"<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' "
				"class='g'/>"
				"<text x='%d' y='%.1f' "
				"text-anchor='end'>%g</text>\n",
				LEFT, WIDTH - RIGHT, at(y, value), at(y, value),
				LEFT - 8, at(y, value) + 4, value);
		}
	for (p = (int)ceil(x->low); p <= (int)floor(x->high); p++)
		fprintf(out,
			"<text x='%.1f' y='%d' "
			"text-anchor='middle'>%.0f</text>\n",
			at(x, pow(10, p)), HEIGHT - BOTTOM + 20, pow(10, p));
}

static void draw(FILE *out, const struct bench_line *first,
		 const struct bench_line *end)
{
	struct axis x = { INFINITY, -INFINITY, LEFT + 20, WIDTH - RIGHT - 20 };
	struct axis y = { INFINITY, -INFINITY, HEIGHT - BOTTOM, TOP };
	const struct bench_line *l;

	include(&y, 1);
	for (l = first; l < end; l++) {
		if (!belongs(l, first))
			continue;
		include(&x, l->x);
		include(&y, l->q1);
		include(&y, l->q3);
		if (l->goal)
			include(&y, l->goal);
	}
	if (x.high - x.low < .1)
		x.high = x.low + .1;
	y.low -= .05;
	y.high += .05;

	fprintf(out,
		"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d'>\n"
		"<style>text{font:13px sans-serif;fill:#333}"
		".t{font-size:15px;font-weight:bold}.g{stroke:#ddd}"
		".o{stroke:#2a7;stroke-dasharray:5 4}"
		".m{stroke:#36c;stroke-width:2;fill:none}"
		".q{stroke:#36c;stroke-width:6;stroke-opacity:.3}"
		".d{fill:#36c}</style>\n"
		"<rect width='%d' height='%d' fill='#fff'/>\n"
		"<text class='t' x='%d' y='22'>%s</text>\n"
		"<text x='%d' y='40'>over %s</text>\n"
		"<text x='%d' y='%d' text-anchor='end'>%s</text>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, first->name, LEFT,
		first->floor, WIDTH - RIGHT, HEIGHT - 10, first->unit);
	ticks(out, &x, &y);
	fputs("<path class='m' d='", out);
	for (l = first; l < end; l++)
		if (belongs(l, first))
			fprintf(out, "%c%.1f %.1f", l == first ? 'M' : 'L',
				at(&x, l->x), at(&y, l->ratio));
	fputs("'/>\n", out);
	for (l = first; l < end; l++) {
		if (!belongs(l, first))
			continue;
		fprintf(out,
			"<line class='q' x1='%.1f' x2='%.1f' y1='%.1f' "
			"y2='%.1f'/>"
			"<circle class='d' cx='%.1f' cy='%.1f' r='4'/>\n",
			at(&x, l->x), at(&x, l->x), at(&y, l->q1),
			at(&y, l->q3), at(&x, l->x), at(&y, l->ratio));
		if (l->goal)
			fprintf(out,
				"<line class='o' x1='%.1f' x2='%.1f' y1='%.1f' "
				"y2='%.1f'/>\n",
				at(&x, l->x) - 20, at(&x, l->x) + 20,
				at(&y, l->goal), at(&y, l->goal));
	}
	fputs("</svg>\n", out);
}

/* "register + unregister, scattered" -> register-unregister-scattered */
static void file_name(char *path, size_t size, const char *dir,
		      const char *name)
{
	size_t n = (size_t)snprintf(path, size, "%s/", dir);
	bool word = false;

	for (; *name && n + 6 < size; name++) {
		if (isalnum((unsigned char)*name)) {
			path[n++] = (char)tolower((unsigned char)*name);
			word = true;
		} else if (word) {
			path[n++] = '-';
			word = false;
		}
	}
	if (n && path[n - 1] == '-')
		n--;
	snprintf(path + n, size - n, ".svg");
}

static bool is_first(const struct bench_line *lines, const struct bench_line *l)
{
	const struct bench_line *earlier;

	if (*l->skipped || !*l->unit)
		return false;
	for (earlier = lines; earlier < l; earlier++)
		if (belongs(earlier, l))
			return false;
	return true;
}

int bench_plots(const struct bench_line *lines, unsigned int nr,
		const char *dir)
{
	const struct bench_line *l;
	char path[512];
	FILE *out;

	mkdir(dir, 0777);
	for (l = lines; l < lines + nr; l++) {
		if (!is_first(lines, l))
			continue;
		file_name(path, sizeof(path), dir, l->name);
		out = fopen(path, "we");
		if (!out) {
			perror(path);
			return -1;
		}
		draw(out, l, lines + nr);
		if (fclose(out)) {
			perror(path);
			return -1;
		}
	}
	return 0;
}
