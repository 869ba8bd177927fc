/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report.h - a session as one HTML file with pictures */
#ifndef HMM_TOOLS_REPORT_H
#define HMM_TOOLS_REPORT_H

#include <stdio.h>

#include "collect.h"
#include "summary.h"

/* Errors are found by ferror(). */
void report_write(const struct summary *summary, struct collector *collector,
		  FILE *out);

#endif
