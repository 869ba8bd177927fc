/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* host_user.h - libhmm's own host in the simulation, and its source */
#ifndef EXPLORE_HOST_USER_H
#define EXPLORE_HOST_USER_H

#include "sim.h"

#define SIM_EVENT_FD 4

/* A thread of the library, as a task; arg: its number. */
void user_thread(void *arg);
void user_attach(void);
void user_detach(void);
/* fork(), with what pthread_atfork() has been given around it. */
void user_fork(void (*child)(void *), void *arg);

/* ---- sim_source.c ---------------------------------------------------------- */

/* The ring's file descriptor is readable. */
bool ring_polls_readable(void);
/* A change was counted, and neither recorded nor lost so far. */
bool ring_owes_record(void);
/* A change in two halves, for scenarios that interleave several. */
unsigned int source_begin(unsigned int first, unsigned int end);
void source_end(unsigned int id, enum change_what what);
/* Change pages as the kernel does under this source. */
void source_change(unsigned int first, unsigned int end, enum change_what what);

#endif
