/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* summary.h - the totals of a session as a table, and as JSON */
#ifndef HMM_TOOLS_SUMMARY_H
#define HMM_TOOLS_SUMMARY_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#include "collect.h"

/**
 * struct summary - what is summed up
 * @command: as it was started, in one line
 * @elapsed_ns: how long it ran; @status: its exit status
 * @verify: the oracle ran
 * @report: path of the HTML file, or NULL
 * @obstacle: why no process was mirrored, or NULL
 */
struct summary {
	struct totals totals;
	const char *command;
	uint64_t elapsed_ns;
	int status;
	bool verify;
	const char *report;
	const char *obstacle;
};

/* One line of the table. */
struct summary_row {
	char label[40];
	char value[640];
	bool bad; /* to be seen at once */
};

#define SUMMARY_ROWS 24

/* How many rows were filled. */
unsigned int summary_rows(const struct summary *summary,
			  struct summary_row rows[SUMMARY_ROWS]);

void summary_print(const struct summary *summary, FILE *out);
void summary_print_json(const struct summary *summary, FILE *out);

/* argv in one line; to be freed.  NULL without memory. */
char *summary_command(char **argv);

#endif
