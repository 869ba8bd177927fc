/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* blocked.h - does a thread sleep in the kernel, and no signal wakes it? */
#ifndef TESTS_BLOCKED_H
#define TESTS_BLOCKED_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

static inline bool is_blocked(pid_t tid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (file)
		fclose(file);
	return state == 'D';
}

#endif
