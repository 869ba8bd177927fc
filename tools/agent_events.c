/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* agent_events.c - the writing side of a slot's ring of events */
#include "agent.h"

/*
 * Several threads write.  Each takes a position by advancing head and then
 * completes the entry by its seq, which is never the same twice; the reader
 * takes nothing before that.  A full ring drops the new, as the old may be
 * just what the reader is at.
 */
void agent_event(struct agent *agent, const struct session_event *event)
{
	struct session_slot *slot = agent->slot;
	struct session_event *entry;
	uint64_t head = __atomic_load_n(&slot->head, __ATOMIC_RELAXED);

	do {
		/* Pairs with the reader's release: the entry has been read. */
		if (head - __atomic_load_n(&slot->tail, __ATOMIC_ACQUIRE) >=
		    SESSION_EVENTS) {
			__atomic_fetch_add(&slot->dropped, 1, __ATOMIC_RELAXED);
			return;
		}
	} while (!__atomic_compare_exchange_n(&slot->head, &head, head + 1,
					      true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	entry = &slot->events[head % SESSION_EVENTS];
	entry->time = event->time;
	entry->start = event->start;
	entry->end = event->end;
	entry->ns = event->ns;
	entry->type = event->type;
	entry->kind = event->kind;
	entry->pages = event->pages;
	/* Pairs with the reader's acquire. */
	__atomic_store_n(&entry->seq, head + 1, __ATOMIC_RELEASE);
}
