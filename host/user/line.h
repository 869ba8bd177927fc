/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* line.h - the lines of a file of /proc that names files */
#ifndef HMM_LINE_H
#define HMM_LINE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HMM_LINE 512

/*
 * The next line, or its beginning: a file's name may be long and hold anything,
 * so the rest must not pass for a line of its own.  False at the end.
 */
static inline bool hmm_next_line(FILE *f, char line[HMM_LINE])
{
	char rest[HMM_LINE], *read = line;

	if (!fgets(line, HMM_LINE, f))
		return false;
	while (!strchr(read, '\n')) {
		if (!fgets(rest, sizeof(rest), f))
			return !ferror(f);
		read = rest;
	}
	return true;
}

#endif
