// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * table.c - the lines for a person, and for a program
 */
#include <json-c/json.h>

#include "bench.h"

struct cell {
	char s[32];
};

static struct cell number(double value)
{
	struct cell c;

	snprintf(c.s, sizeof(c.s),
		 value >= 100    ? "%.0f"
		 : value >= 10   ? "%.1f"
		 : value >= .1   ? "%.2f"
		 : value >= .001 ? "%.4f"
				 : "%.1e",
		 value);
	return c;
}

static struct cell duration(double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	struct cell c = { "" };
	unsigned int i = 0;

	if (!ns)
		return c;
	for (; ns >= 1000 && i < 3; i++)
		ns /= 1000;
	snprintf(c.s, sizeof(c.s), "%.20s %s", number(ns).s, units[i]);
	return c;
}

static struct cell parameter(const struct bench_line *l)
{
	struct cell c = { "" };

	if (*l->unit)
		snprintf(c.s, sizeof(c.s), "%.0f %s", l->x, l->unit);
	return c;
}

static struct cell goal(const struct bench_line *l)
{
	struct cell c = { "" };

	if (l->goal_ns)
		snprintf(c.s, sizeof(c.s), "<= %.20s", duration(l->goal_ns).s);
	else if (l->goal)
		snprintf(c.s, sizeof(c.s), "<= %.20s", number(l->goal).s);
	return c;
}

static bool has_goal(const struct bench_line *l)
{
	return (l->goal || l->goal_ns) && !*l->skipped;
}

static bool met(const struct bench_line *l)
{
	/* As far as it is printed. */
	return l->goal_ns ? l->ns <= l->goal_ns : l->ratio < l->goal + .005;
}

void bench_table(const struct bench_line *lines, unsigned int nr, FILE *out)
{
	const struct bench_line *l;
	unsigned int goals = 0, reached = 0;

	fprintf(out, "%-42s %-16s %8s  %-17s %-10s %-4s %10s %10s  %s\n",
		"what", "of", "ratio", "quartiles", "goal", "met", "takes",
		"floor", "the floor is");
	for (l = lines; l < lines + nr; l++) {
		struct cell quartiles;

		if (*l->skipped) {
			fprintf(out, "%-42s %-16s skipped: %s\n", l->name,
				parameter(l).s, l->skipped);
			continue;
		}
		snprintf(quartiles.s, sizeof(quartiles.s), "%.8s to %.8s",
			 number(l->q1).s, number(l->q3).s);
		fprintf(out,
			"%-42s %-16s %8s  %-17s %-10s %-4s %10s %10s  %s\n",
			l->name, parameter(l).s, number(l->ratio).s,
			l->pairs > 1 ? quartiles.s : "", goal(l).s,
			!has_goal(l) ? ""
			: met(l)     ? "yes"
				     : "NO",
			duration(l->ns).s, duration(l->floor_ns).s, l->floor);
		goals += has_goal(l);
		reached += has_goal(l) && met(l);
	}
	fprintf(out, "%u of %u goals met\n", reached, goals);
}

static void add(json_object *object, const char *key, double value)
{
	json_object_object_add(object, key, json_object_new_double(value));
}

int bench_json(const struct bench_line *lines, unsigned int nr,
	       const char *path)
{
	json_object *array = json_object_new_array();
	const struct bench_line *l;
	int ret;

	for (l = lines; l < lines + nr; l++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "name",
				       json_object_new_string(l->name));
		json_object_object_add(o, "floor",
				       json_object_new_string(l->floor));
		if (*l->unit) {
			add(o, "x", l->x);
			json_object_object_add(o, "unit",
					       json_object_new_string(l->unit));
		}
		if (*l->skipped) {
			json_object_object_add(
				o, "skipped",
				json_object_new_string(l->skipped));
		} else {
			add(o, "ratio", l->ratio);
			add(o, "q1", l->q1);
			add(o, "q3", l->q3);
			add(o, "ns", l->ns);
			add(o, "floor_ns", l->floor_ns);
			json_object_object_add(
				o, "pairs", json_object_new_int((int)l->pairs));
		}
		if (l->goal)
			add(o, "goal", l->goal);
		if (l->goal_ns)
			add(o, "goal_ns", l->goal_ns);
		if (has_goal(l))
			json_object_object_add(o, "met",
					       json_object_new_boolean(met(l)));
		json_object_array_add(array, o);
	}
	ret = json_object_to_file_ext(path, array, JSON_C_TO_STRING_PRETTY);
	json_object_put(array);
	if (ret)
		perror(path);
	return ret;
}
