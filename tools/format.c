/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* format.c - quantities as people read them */
#include <stdio.h>
#include <string.h>

#include "format.h"

struct text format_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B",   "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double value = bytes;
	struct text text;
	int unit = 0;

	while (value >= 1024 && unit < 6) {
		value /= 1024;
		unit++;
	}
	snprintf(text.s, sizeof(text.s),
		 value < 10 && value != (uint64_t)value ? "%.1f %s" : "%.0f %s",
		 value, units[unit]);
	return text;
}

struct text format_count(uint64_t n)
{
	char digits[24];
	struct text text = { "" };
	char *out = text.s;
	int len, i;

	len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	for (i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return text;
}

struct text format_ns(uint64_t ns)
{
	struct text text;

	if (ns < 1000)
		snprintf(text.s, sizeof(text.s), "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		snprintf(text.s, sizeof(text.s), "%.1f us", ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text.s, sizeof(text.s), "%.1f ms", ns / 1e6);
	else
		snprintf(text.s, sizeof(text.s), "%.2f s", ns / 1e9);
	return text;
}
