/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report_parts.h - the pictures of the report */
#ifndef HMM_TOOLS_REPORT_PARTS_H
#define HMM_TOOLS_REPORT_PARTS_H

#include <stdio.h>

#include "collect.h"

/* Width of every picture, in its own units. */
#define REPORT_WIDTH 1120

/* Text as HTML takes it; control characters as '?'. */
void report_text(FILE *out, const char *text);

/* The colour of a kind of change. */
const char *report_kind_color(enum hmm_change_kind kind);

/* Changes, faults, waits and mirrored memory over time. */
void report_time_line(FILE *out, const struct collector *collector,
		      uint64_t elapsed_ns);

/* What one process had mapped, where the device was, where changes hit. */
void report_space(FILE *out, struct space *space);

#endif
