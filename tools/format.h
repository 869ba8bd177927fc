/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* format.h - quantities as people read them */
#ifndef HMM_TOOLS_FORMAT_H
#define HMM_TOOLS_FORMAT_H

#include <stdint.h>

/* A formatted quantity, by value so that several fit into one printf(). */
struct text {
	char s[48];
};

struct text format_bytes(uint64_t bytes); /* 1.5 MiB */
struct text format_count(uint64_t n);     /* 1,234,567 */
struct text format_ns(uint64_t ns);       /* 12.3 us */

#endif
