/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* migrations.h - pages that the kernel has moved elsewhere, of anybody */
#ifndef TESTS_MIGRATIONS_H
#define TESTS_MIGRATIONS_H

#include <stdint.h>
#include <stdio.h>

static inline uint64_t migrations(void)
{
	char line[128];
	uint64_t n = 0;
	FILE *file = fopen("/proc/vmstat", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "pgmigrate_success %lu", &n) == 1)
			break;
	if (file)
		fclose(file);
	return n;
}

#endif
