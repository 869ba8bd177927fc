/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * migrations.h - has the kernel moved pages elsewhere, of anybody?
 *
 * A source of level 1 does not see that, nor the moment in which a page that
 * can't be moved is not there.
 */
#ifndef TESTS_MIGRATIONS_H
#define TESTS_MIGRATIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline uint64_t migrations(void)
{
	static const char *const counters[] = { "pgmigrate_success",
						"pgmigrate_fail",
						"thp_collapse_alloc" };
	FILE *file = fopen("/proc/vmstat", "re");
	uint64_t n, sum = 0;
	char name[64];
	size_t i;

	while (file && fscanf(file, "%63s %lu", name, &n) == 2)
		for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
			if (!strcmp(name, counters[i]))
				sum += n;
	if (file)
		fclose(file);
	return sum;
}

/* The kernel counts many at once, when the last of them is done. */
static inline bool migrated_since(uint64_t before)
{
	int tries = 100;

	while (migrations() == before && --tries)
		usleep(10000);
	return tries;
}

#endif
