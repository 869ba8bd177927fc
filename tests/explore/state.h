/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* state.h - states that were seen, so that none is explored twice */
#ifndef EXPLORE_STATE_H
#define EXPLORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t state_hash(uint64_t hash, const void *data, size_t size);

void states_forget(void);
uint64_t states_known(void);
/*
 * Has this state been seen with no more preemptions used?  If not, it is now.
 */
bool state_seen(uint64_t hash, unsigned int preemptions);

#endif
