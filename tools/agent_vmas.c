/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* agent_vmas.c - which memory the program has */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "maps.h"

#define REFRESH_NS 100000000ull
/* Reading a long list may not take more than 1 / this of our time. */
#define COST_FACTOR 20
#define NEAR (1ul << 30)

/* The library's and ours, and the kernel's pages that no device may have. */
static bool is_ours(const struct maps_entry *entry)
{
	static const char *const prefixes[] = { "/memfd:hmm-",
						"anon_inode:", "[vvar",
						"[vsyscall]" };
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(entry->name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static bool add_vma(struct agent_vmas *vmas, const struct maps_entry *entry)
{
	struct agent_vma *grown;

	if (vmas->nr == vmas->capacity) {
		grown = reallocarray(vmas->vma, vmas->capacity + 1024,
				     sizeof(*grown));
		if (!grown)
			return false;
		vmas->vma = grown;
		vmas->capacity += 1024;
	}
	vmas->vma[vmas->nr++] = (struct agent_vma){
		.start = entry->start,
		.end = entry->end,
		.readable = entry->perms[0] == 'r',
		.writable = entry->perms[1] == 'w',
		.ours = is_ours(entry),
	};
	return true;
}

static void publish_vma(struct session_vma *vma, const struct maps_entry *entry)
{
	const char *name = entry->name;
	size_t len = strlen(name);

	if (len >= sizeof(vma->name))
		name += len + 1 - sizeof(vma->name);
	vma->start = entry->start;
	vma->end = entry->end;
	memcpy(vma->perms, entry->perms, sizeof(vma->perms));
	strcpy(vma->name, name);
}

static void add_span(struct agent_spans *spans, const struct maps_entry *entry)
{
	unsigned int last = spans->nr - 1;

	if (spans->nr && (entry->start < spans->span[last].end + NEAR ||
			  spans->nr == AGENT_SPANS)) {
		spans->span[last].end = entry->end;
	} else {
		spans->span[spans->nr].start = entry->start;
		spans->span[spans->nr++].end = entry->end;
	}
}

bool agent_vmas_near(struct agent *agent, unsigned long start,
		     unsigned long end)
{
	struct agent_spans *spans = &agent->spans;
	bool near;
	unsigned int i;

	if (agent->pid)
		return true;
	pthread_mutex_lock(&spans->lock);
	near = !spans->nr;
	for (i = 0; i < spans->nr && !near; i++)
		near = start < spans->span[i].end + NEAR &&
		       spans->span[i].start < end + NEAR;
	pthread_mutex_unlock(&spans->lock);
	return near;
}

void agent_vmas_refresh(struct agent *agent, struct agent_vmas *vmas)
{
	struct session_slot *slot = agent->slot;
	uint64_t begin = agent_now(), spent = agent_cost();
	struct maps_entry entry;
	uint32_t nr = 0;
	uint64_t cost;
	char path[32];
	FILE *f;

	if (begin < vmas->due)
		return;
	f = fopen(agent_proc(agent, "maps", path, sizeof(path)), "re");
	if (!f)
		return;
	vmas->nr = 0;
	__atomic_store_n(&slot->vma_seq, slot->vma_seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	pthread_mutex_lock(&agent->spans.lock);
	agent->spans.nr = 0;
	while (maps_next(f, &entry) && add_vma(vmas, &entry)) {
		add_span(&agent->spans, &entry);
		if (!vmas->vma[vmas->nr - 1].ours && nr < SESSION_VMAS)
			publish_vma(&slot->vmas[nr++], &entry);
	}
	pthread_mutex_unlock(&agent->spans.lock);
	slot->vmas_left_out = nr < SESSION_VMAS ? 0 : vmas->nr - nr;
	slot->nr_vmas = nr;
	__atomic_store_n(&slot->vma_seq, slot->vma_seq + 1, __ATOMIC_RELEASE);
	fclose(f);
	cost = (agent_cost() - spent) * COST_FACTOR;
	vmas->due = begin + (cost > REFRESH_NS ? cost : REFRESH_NS);
}
