/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* uffd_spawn.h - start the process that reads the userfaultfd */
#ifndef HMM_UFFD_SPAWN_H
#define HMM_UFFD_SPAWN_H

#include <stdbool.h>
#include <stddef.h>

#include "uffd_ring.h"

/**
 * struct hmm_uffd_spawned - what became of it
 * @monitor: its pidfd, in our files; -1 if it did not come to life
 * @files: it can watch the memory of files
 */
struct hmm_uffd_spawned {
	int monitor;
	bool files;
};

/*
 * Start it, with the descriptors that user names, and that of the ring.  0 or
 * -errno, and why; spawned is filled in either case.
 */
int hmm_uffd_spawn(struct uffd_user_page *user, int ring,
		   struct hmm_uffd_spawned *spawned, char *why, size_t size);

#endif
