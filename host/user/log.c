// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * log.c - the library's messages
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "uncancelled.h"

static void to_stderr(enum hmm_log_level level, const char *line)
{
	static const char *const names[] = { "error", "warning", "info",
					     "debug" };
	const char *wanted = secure_getenv("HMM_LOG");
	enum hmm_log_level limit = HMM_LOG_WARN, i;

	for (i = HMM_LOG_ERR; wanted && i <= HMM_LOG_DEBUG; i++)
		if (!strcmp(wanted, names[i]))
			limit = i;
	if (level <= limit)
		fprintf(stderr, "%s\n", line);
}

static void (*log_fn)(enum hmm_log_level level, const char *line) = to_stderr;

void hmm_set_log(void (*fn)(enum hmm_log_level level, const char *line))
{
	__atomic_store_n(&log_fn, fn, __ATOMIC_RELEASE);
}

void hmm_log(enum hmm_log_level level, const char *fmt, ...)
{
	void (*fn)(enum hmm_log_level level, const char *line) =
		__atomic_load_n(&log_fn, __ATOMIC_ACQUIRE);
	char line[512];
	va_list args;
	size_t len;
	HMM_UNCANCELLED;

	if (!fn)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	len = strlen(line);
	if (len && line[len - 1] == '\n')
		line[len - 1] = '\0';
	fn(level, line);
}
