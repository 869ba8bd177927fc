/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * churn.h - a thread that changes memory as fast as it can, and commands there
 */
#ifndef TESTS_CHURN_H
#define TESTS_CHURN_H

#include "device.h"

#define PAGES 64
#define LEN (PAGES * PAGE)
#define BYTE 0x5a

/*
 * Where nobody else maps anything: what is unmapped here is mapped again, and
 * must not have become a thread's stack meanwhile.
 */
#define PLACE ((char *)0x20000000)

static inline char *map_place(void)
{
	char *p =
		mmap(PLACE, 2 * LEN, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(p, PLACE);
	return p;
}

/* ---- Changes, as fast as they go ------------------------------------------ */

struct churn {
	char *p;
	bool stop, all_kinds;
	pthread_t thread;
	unsigned long rounds;
};

static inline void fresh(char *p)
{
	assert_ptr_equal(mmap(p, LEN, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 p);
}

/* The one that runs, if one does. */
static struct churn *churning;

/*
 * For the oracle, under a source that tells of a change when it has been made:
 * let whoever makes one now get done with it.
 */
static inline bool churn_settle(void *ctx)
{
	struct churn *c = __atomic_load_n(&churning, __ATOMIC_ACQUIRE);
	unsigned long rounds;

	(void)ctx;
	if (!c)
		return true;
	rounds = __atomic_load_n(&c->rounds, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(&c->rounds, __ATOMIC_ACQUIRE) < rounds + 2 &&
	       __atomic_load_n(&churning, __ATOMIC_ACQUIRE))
		usleep(100);
	return true;
}

static inline void *churn_main(void *arg)
{
	struct churn *c = arg;
	unsigned int seed = 1;
	char *p = c->p, *away;
	pid_t pid;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		size_t at = (size_t)rand_r(&seed) % PAGES * PAGE;
		size_t len = LEN - at;

		memset(p, BYTE, LEN);
		switch (rand_r(&seed) % (c->all_kinds ? 7 : 4)) {
		case 0:
			fresh(p);
			break;
		case 1:
			madvise(p + at, len, MADV_DONTNEED);
			break;
		case 2:
			munmap(p + at, len);
			break;
		case 3:
			away = mremap(p, LEN, LEN,
				      MREMAP_MAYMOVE | MREMAP_FIXED, p + LEN);
			if (away != MAP_FAILED)
				munmap(away, LEN);
			break;
		/* What a source of level 1 does not see. */
		case 4:
			mprotect(p + at, len, PROT_NONE);
			break;
		case 5:
			mprotect(p + at, len, PROT_READ);
			break;
		case 6:
			pid = fork();
			if (!pid)
				_exit(0);
			p[at] = BYTE;
			/* If there is none, not for one of somebody else. */
			if (pid > 0)
				waitpid(pid, NULL, 0);
			break;
		}
		__atomic_fetch_add(&c->rounds, 1, __ATOMIC_RELEASE);
		if (rand_r(&seed) % 4 == 0)
			usleep(100);
		fresh(p);
	}
	__atomic_store_n(&churning, NULL, __ATOMIC_RELEASE);
	return NULL;
}

static inline void churn_start(struct churn *c, struct mm_struct *mm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	*c = (struct churn){ .all_kinds = info.level >= 2 };
	/* Twice the size: the other half is where it is moved to. */
	c->p = map_place();
	churning = c;
	assert_int_equal(pthread_create(&c->thread, NULL, churn_main, c), 0);
}

static inline bool churned(struct churn *c, unsigned long rounds)
{
	return __atomic_load_n(&c->rounds, __ATOMIC_RELAXED) >= rounds;
}

static inline void churn_stop(struct churn *c)
{
	__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
	pthread_join(c->thread, NULL);
	print_message("%lu changes\n", c->rounds);
	munmap(c->p, 2 * LEN);
}

/* ---- Commands against changes --------------------------------------------- */

static inline bool tolerable(int status)
{
	switch (status) {
	case 0:
	case -EFAULT:
	case -EPERM:
	case -EBUSY:
	case -ETIMEDOUT:
		return true;
	}
	print_message("a command ended with %d\n", status);
	return false;
}

/* One command somewhere in the memory; -1 if it saw what never was there. */
static inline int random_op(struct dmirror *dm, char *p, unsigned int *seed)
{
	static __thread unsigned char buf[LEN];
	struct dmirror_op op = {
		.type = (unsigned int)rand_r(seed) % DMIRROR_OP_MAX,
		.addr = (unsigned long)p + (size_t)rand_r(seed) % (LEN / 2),
		.len = (size_t)rand_r(seed) % (LEN / 2) + 1,
		.value = BYTE,
		.buf = buf,
	};
	size_t i;
	int ret;

	memset(buf, BYTE, sizeof(buf));
	switch (op.type) {
	case DMIRROR_COPY:
		op.dst = op.addr + op.len;
		if (op.dst + op.len > (unsigned long)p + LEN)
			op.len = (unsigned long)p + LEN - op.dst;
		break;
	case DMIRROR_ADD:
		op.value = 0;
		op.len = 8;
		break;
	default:
		break;
	}
	ret = dmirror_run(dm, &op);
	if (op.type == DMIRROR_READ)
		for (i = 0; i < op.bytes; i++)
			if (buf[i] && buf[i] != BYTE)
				return -1;
	return ret;
}

#endif
