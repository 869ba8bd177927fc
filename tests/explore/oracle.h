/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* oracle.h - what is true, and what must hold at every step */
#ifndef EXPLORE_ORACLE_H
#define EXPLORE_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "fiber.h"

struct hmm_range;

#define ORACLE_PAGES 34

struct oracle {
	bool dead;    /* hmm_kill() is over: D */
	bool precise; /* C holds without exception: the native host */
	/* How often each page had been changed when a task read its entry. */
	uint16_t read[FIBERS + 1][ORACLE_PAGES];
	/* The same for changes that were announced when the read began. */
	uint16_t armed[FIBERS + 1][ORACLE_PAGES];
};

/* A change in the order of its life. */
unsigned int oracle_announce(unsigned int first, unsigned int end);
void oracle_started(unsigned int id);
void oracle_told(unsigned int id);
void oracle_changed(unsigned int id); /* the page table is stable again */
void oracle_over(unsigned int id);    /* and the core knows it */

/* What a task reads and is answered. */
void oracle_read(unsigned int page);
long oracle_snapshot(struct hmm_range *range, bool fault, bool block);
bool oracle_valid(struct hmm_range *range);
bool oracle_wait(struct hmm_range *range);
void oracle_dead(void);

/* At every step. */
void oracle_check(void);
/* At the end of a schedule. */
void oracle_end(void);
/* What to say about a deadlock. */
const char *oracle_deadlock(void);

#endif
