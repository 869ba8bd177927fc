// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * registration_cache.c - registrations that end when their memory changes
 *
 * What a library for fast networks keeps: memory that the card has pinned, to
 * be used again for the next message from the same place.  The memory may have
 * been unmapped meanwhile, and other memory be there now.
 *
 * What this takes the place of: docs/registration-cache.md, which also says what
 * to do for many registrations and threads; here they are a list, under a mutex.
 * The card is two functions that print; ibv_reg_mr() and ibv_dereg_mr() go there.
 */

#include <errno.h>
#include <hmm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define TRIES 100

struct registration {
	struct registration *next;
	struct hmm_range range;
	int users, card;
	bool listed;
};

struct cache {
	struct hmm_mirror mirror; /* first: the callback is given it */
	struct mm_struct *mm;
	pthread_mutex_t lock; /* L: the list, users */
	struct registration *list;
};

/* ---- The card ----------------------------------------------------------- */

static int card_pin(const struct hmm_range *range)
{
	static int last;

	printf("register %d: %lu pages\n", ++last,
	       (range->end - range->start) / PAGE);
	return last;
}

static void card_unpin(int card)
{
	printf("release %d\n", card);
}

/* ---- The cache ---------------------------------------------------------- */

/* Not found any more; gone when nobody uses it.  Under the lock. */
static void end(struct cache *cache, struct registration *reg)
{
	struct registration **link = &cache->list;

	while (*link != reg)
		link = &(*link)->next;
	*link = reg->next;
	reg->listed = false;
}

static void drop(struct registration *reg)
{
	card_unpin(reg->card);
	hmm_range_unregister(&reg->range);
	free(reg);
}

/*
 * Memory changes: release what is pinned, without waiting for the next look-up.
 * What is still valid was registered after the change that this is about.
 */
static int changed(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct cache *cache = (struct cache *)mirror;
	struct registration *reg, *next;

	pthread_mutex_lock(&cache->lock);
	for (reg = cache->list; reg; reg = next) {
		next = reg->next;
		if (update->start >= reg->range.end ||
		    reg->range.start >= update->end ||
		    hmm_range_valid(&reg->range))
			continue;
		end(cache, reg);
		if (!reg->users)
			drop(reg);
	}
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

/* One that is there, and whose memory has not changed.  Under the lock. */
static struct registration *find(struct cache *cache, unsigned long start,
				 unsigned long last)
{
	struct registration *reg;

	for (reg = cache->list; reg; reg = reg->next)
		if (reg->range.start <= start && last <= reg->range.end &&
		    hmm_range_valid(&reg->range)) {
			reg->users++;
			return reg;
		}
	return NULL;
}

/*
 * Pin what is mapped there now.  The range is armed first; if it is still valid
 * when the card has pinned, these are the pages.  0 or -errno.
 */
static int pin(struct cache *cache, struct registration *reg)
{
	static const uint64_t flags[] = { 1, 2, 4 }, values[] = { 8, 0, 16 };
	struct hmm_range *range = &reg->range;
	int tries;
	long ret;

	/* Faulted for writing, so that pinning changes nothing itself. */
	range->flags = flags;
	range->values = values;
	range->default_flags = 1 | 2;
	range->pfn_shift = 12;
	range->pfns = calloc((range->end - range->start) / PAGE,
			     sizeof(*range->pfns));
	ret = range->pfns ? 0 : -ENOMEM;
	for (tries = 0; !ret && tries < TRIES; tries++) {
		if (!hmm_range_wait_until_valid(range,
						HMM_RANGE_DEFAULT_TIMEOUT))
			break;
		mmap_read_lock(cache->mm);
		ret = hmm_range_fault(range, true);
		mmap_read_unlock(cache->mm);
		if (ret == -EBUSY) {
			ret = 0;
			continue;
		}
		if (ret < 0)
			break;
		reg->card = card_pin(range);
		pthread_mutex_lock(&cache->lock);
		if (hmm_range_valid(range)) {
			reg->users = 1;
			reg->listed = true;
			reg->next = cache->list;
			cache->list = reg;
			pthread_mutex_unlock(&cache->lock);
			break;
		}
		pthread_mutex_unlock(&cache->lock);
		card_unpin(reg->card);
		ret = 0;
	}
	free(range->pfns); /* a card that takes frames would look at them */
	range->pfns = NULL;
	return ret > 0 ? 0 : ret ? (int)ret : -EBUSY;
}

/* A registration of [p, p + len), which the caller puts; NULL, errno. */
static struct registration *cache_get(struct cache *cache, void *p, size_t len)
{
	unsigned long start = (unsigned long)p & ~(PAGE - 1);
	unsigned long last = ((unsigned long)p + len + PAGE - 1) & ~(PAGE - 1);
	struct registration *reg;
	int ret;

	pthread_mutex_lock(&cache->lock);
	reg = find(cache, start, last);
	pthread_mutex_unlock(&cache->lock);
	if (reg)
		return reg;
	reg = calloc(1, sizeof(*reg));
	if (!reg)
		return NULL;
	ret = hmm_range_register(&reg->range, cache->mm, start, last);
	if (!ret)
		ret = pin(cache, reg);
	if (!ret)
		return reg;
	hmm_range_unregister(&reg->range);
	free(reg);
	errno = -ret;
	return NULL;
}

/* It stays in the cache, unless its memory has changed. */
static void cache_put(struct cache *cache, struct registration *reg)
{
	pthread_mutex_lock(&cache->lock);
	if (!--reg->users && !reg->listed)
		drop(reg);
	pthread_mutex_unlock(&cache->lock);
}

static int cache_open(struct cache *cache)
{
	static const struct hmm_mirror_ops ops = { NULL, changed };
	int ret;

	*cache = (struct cache){ .mirror = { .ops = &ops } };
	pthread_mutex_init(&cache->lock, NULL);
	ret = hmm_mm_attach(&cache->mm, NULL);
	if (ret)
		return ret;
	mmap_write_lock(cache->mm);
	ret = hmm_mirror_register(&cache->mirror, cache->mm);
	mmap_write_unlock(cache->mm);
	if (ret)
		hmm_mm_detach(cache->mm);
	return ret;
}

/* Nobody uses any of it. */
static void cache_close(struct cache *cache)
{
	struct registration *reg;

	hmm_mirror_unregister(&cache->mirror);
	while ((reg = cache->list)) {
		end(cache, reg);
		drop(reg);
	}
	hmm_mm_detach(cache->mm);
	pthread_mutex_destroy(&cache->lock);
}

/* ---- A program that sends twice from the same buffer, and then again ------ */

static void *map(void *at)
{
	return mmap(at, 16 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

static int transmit(struct cache *cache, char *p)
{
	struct registration *reg = cache_get(cache, p, 16 * PAGE);

	if (!reg) {
		printf("no registration: %s\n", strerror(errno));
		return 1;
	}
	printf("send from %d\n", reg->card);
	cache_put(cache, reg);
	return 0;
}

int main(void)
{
	struct cache cache;
	char *p = map(NULL);
	int ret;

	if (cache_open(&cache))
		return 1; /* it has said why */
	ret = transmit(&cache, p);
	ret |= transmit(&cache, p);
	printf("the same address, other memory\n");
	map(p);
	ret |= transmit(&cache, p);
	cache_close(&cache);
	return ret;
}
