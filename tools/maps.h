/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* maps.h - the list of vmas that /proc/PID/maps shows */
#ifndef HMM_TOOLS_MAPS_H
#define HMM_TOOLS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/**
 * struct maps_entry - one line of /proc/PID/maps
 * @start: first byte
 * @end: last byte, exclusive
 * @perms: e.g. "rw-p"
 * @file: backed by an inode
 * @name: path or [heap] and the like; "" if it has none
 */
struct maps_entry {
	unsigned long start, end;
	char perms[5];
	bool file;
	char name[256];
};

/*
 * The next entry of an open maps file; names longer than fit keep their end.
 * False at its end, or if a line can't be understood.
 */
bool maps_next(FILE *f, struct maps_entry *entry);

#endif
