/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* maps.c - parse /proc/PID/maps */
#include <limits.h>
#include <string.h>

#include "maps.h"

/*
 * The kernel prints a path's newlines as \012, so a line is an entry, and a
 * path is at most PATH_MAX long.  No allocation: the agent reads its own maps.
 */
bool maps_next(FILE *f, struct maps_entry *entry)
{
	char line[PATH_MAX + 128];
	unsigned long inode;
	const char *name;
	int at = 0;

	if (!fgets(line, sizeof(line), f))
		return false;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu %n", &entry->start,
		   &entry->end, entry->perms, &inode, &at) != 4)
		return false;
	name = line + at;
	if (strlen(name) >= sizeof(entry->name))
		name += strlen(name) + 1 - sizeof(entry->name);
	strcpy(entry->name, name);
	entry->file = inode != 0;
	return true;
}
