/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * migrations.h - has the kernel moved pages elsewhere, or taken them, of anybody?
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

static inline uint64_t vmstat_sum(const char *const *counters)
{
	FILE *file = fopen("/proc/vmstat", "re");
	uint64_t n, sum = 0;
	char name[64];
	size_t i;

	while (file && fscanf(file, "%63s %lu", name, &n) == 2)
		for (i = 0; counters[i]; i++)
			if (!strcmp(name, counters[i]))
				sum += n;
	if (file)
		fclose(file);
	return sum;
}

static inline uint64_t migrations(void)
{
	static const char *const counters[] = { "pgmigrate_success",
						"pgmigrate_fail",
						"thp_collapse_alloc", NULL };

	return vmstat_sum(counters);
}

/*
 * To another place, so that nothing is left here; or, after MADV_FREE, to none,
 * which needs no swap: where a container's memory is full of cached files, it
 * happens all the time.
 */
static inline uint64_t reclaims(void)
{
	static const char *const counters[] = { "pglazyfreed", "pswpout",
						"zswpout", "swpout_zero",
						NULL };

	return vmstat_sum(counters);
}

/* The kernel counts many at once, when the last of them is done. */
static inline bool moved_since(uint64_t (*counted)(void), uint64_t before)
{
	int tries = 100;

	while (counted() == before && --tries)
		usleep(10000);
	return tries;
}

#endif
