// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * atfork.c - be there before who uses the library, in order to come after him
 *
 * Before a fork the handlers run in the reverse order of their registration.  A
 * driver that takes its L there, and calls the library under L elsewhere, has to
 * do so before the library's locks are taken, which are inside of L.
 */
#include "mm.h"

/* At load, and under attaching: again only if it failed. */
int hmm_register_fork(void)
{
	static bool done;
	int ret = 0;

	if (!done)
		ret = -pthread_atfork(hmm_fork_prepare, hmm_fork_parent,
				      hmm_fork_child);
	done = !ret;
	return ret;
}

/*
 * Where changes wait the mirrors are told before, and their callbacks take L: so
 * this has to come before a driver's handler, and is registered when one attaches.
 */
int hmm_register_fork_begin(void)
{
	static bool done;
	int ret = 0;

	if (!done)
		ret = -pthread_atfork(hmm_fork_begin, NULL, NULL);
	done = !ret;
	return ret;
}

__attribute__((constructor)) static void at_load(void)
{
	/* If it fails the first attach tries again, and says so. */
	hmm_register_fork();
}
