// SPDX-License-Identifier: MIT OR GPL-2.0
/* state.c - states that were seen, so that none is explored twice */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	uint64_t hash;
	uint8_t preemptions;
};

static struct slot *table;
static size_t size, used;

uint64_t state_hash(uint64_t hash, const void *data, size_t bytes)
{
	const unsigned char *p = data;
	uint64_t word;

	for (; bytes >= sizeof(word);
	     bytes -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	for (; bytes; bytes--, p++)
		hash = (hash ^ *p) * 0xbf58476d1ce4e5b9ull;
	return hash ^ (hash >> 29);
}

static struct slot *find(uint64_t hash)
{
	size_t i = hash & (size - 1);

	while (table[i].hash && table[i].hash != hash)
		i = (i + 1) & (size - 1);
	return &table[i];
}

static void grow(void)
{
	struct slot *old = table;
	size_t i, n = size;

	size = n ? n * 4 : 1 << 14;
	table = calloc(size, sizeof(*table));
	if (!table) {
		fprintf(stderr, "explore: no memory for %zu states\n", size);
		exit(2);
	}
	for (i = 0; i < n; i++)
		if (old[i].hash)
			*find(old[i].hash) = old[i];
	free(old);
}

void states_forget(void)
{
	free(table);
	table = NULL;
	size = 0;
	used = 0;
}

uint64_t states_known(void)
{
	return used;
}

bool state_seen(uint64_t hash, unsigned int preemptions)
{
	struct slot *slot;

	if (2 * (used + 1) > size)
		grow();
	hash += !hash;
	slot = find(hash);
	if (!slot->hash) {
		slot->hash = hash;
		used++;
	} else if (slot->preemptions <= preemptions) {
		return true;
	}
	slot->preemptions = (uint8_t)preemptions;
	return false;
}
