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

#define LANES 4
#define PRIME 0x9e3779b97f4a7c15ull

/* Several words at a time: this is where most of the explorer's time goes. */
uint64_t state_hash(uint64_t hash, const void *data, size_t bytes)
{
	uint64_t lane[LANES] = { hash, ~hash, hash ^ PRIME, bytes };
	const unsigned char *p = data;
	uint64_t word[LANES];
	int i;

	for (; bytes >= sizeof(word); bytes -= sizeof(word)) {
		memcpy(word, p, sizeof(word));
		for (i = 0; i < LANES; i++) {
			lane[i] = (lane[i] ^ word[i]) * PRIME;
			lane[i] ^= lane[i] >> 32;
		}
		p += sizeof(word);
	}
	for (; bytes; bytes--)
		lane[0] = (lane[0] ^ *p++) * PRIME;
	for (i = 1; i < LANES; i++) {
		lane[0] = (lane[0] ^ lane[i]) * PRIME;
		lane[0] ^= lane[0] >> 29;
	}
	return lane[0];
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
