// SPDX-License-Identifier: MIT OR GPL-2.0
/* engine.c - the command queue, and the threads that empty it */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

/* Above this there are no addresses of a user: see TASK_SIZE in the kernel. */
#define USER_END (1ul << 47)

static int check(struct dmirror *dm, const struct dmirror_op *op)
{
	if (!dm || !op || (unsigned int)op->type >= DMIRROR_OP_MAX)
		return -EINVAL;
	if (op->addr > USER_END || op->len > USER_END - op->addr)
		return -EINVAL;
	switch (op->type) {
	case DMIRROR_READ:
	case DMIRROR_WRITE:
		if (op->len && !op->buf)
			return -EINVAL;
		break;
	case DMIRROR_COPY:
		if (op->dst > USER_END - op->len)
			return -EINVAL;
		if (op->dst < op->addr + op->len &&
		    op->addr < op->dst + op->len)
			return -EINVAL;
		break;
	case DMIRROR_ADD:
		if (op->len != sizeof(uint64_t))
			return -EINVAL;
		break;
	default:
		break;
	}
	return dm->pid == getpid() ? 0 : -EFAULT;
}

/* The end of a command.  qlock held; the op is its owner's again. */
static void finish(struct dmirror *dm, struct dmirror_op *op, int status)
{
	dm_count(dm, op[op->type].ops, 1);
	dm_count(dm, op[op->type].bytes, op->bytes);
	if (status)
		dm_count(dm, op[op->type].errors, 1);
	op->status = status;
	op->busy = false;
	pthread_cond_broadcast(&dm->changed);
}

/* Whoever uses the queue is counted, so that destroy can wait for him. */
static void enter(struct dmirror *dm)
{
	pthread_mutex_lock(&dm->qlock);
	dm->users++;
}

static void leave(struct dmirror *dm)
{
	if (!--dm->users && dm->stopping)
		pthread_cond_broadcast(&dm->changed);
	pthread_mutex_unlock(&dm->qlock);
}

static bool no_room(const struct dmirror *dm)
{
	return dm->queued == dm->opts.queue_depth && !dm->stopping;
}

/* Between enter() and leave(). */
static int enqueue(struct dmirror *dm, struct dmirror_op *op)
{
	if (dm->stopping)
		return -ECANCELED;
	if (no_room(dm))
		return -EAGAIN;
	op->result = 0;
	op->bytes = 0;
	op->next = NULL;
	op->busy = true;
	*dm->tail = op;
	dm->tail = &op->next;
	dm->queued++;
	pthread_cond_signal(&dm->work);
	return 0;
}

static int wait(struct dmirror *dm, struct dmirror_op *op)
{
	while (op->busy)
		pthread_cond_wait(&dm->changed, &dm->qlock);
	return op->status;
}

int dmirror_submit(struct dmirror *dm, struct dmirror_op *op)
{
	int ret;

	ret = check(dm, op);
	if (ret)
		return ret;
	enter(dm);
	ret = enqueue(dm, op);
	leave(dm);
	return ret;
}

int dmirror_wait(struct dmirror *dm, struct dmirror_op *op)
{
	int ret;

	if (!dm || !op)
		return -EINVAL;
	if (dm->pid != getpid())
		return -EFAULT;
	enter(dm);
	ret = wait(dm, op);
	leave(dm);
	return ret;
}

int dmirror_run(struct dmirror *dm, struct dmirror_op *op)
{
	int ret;

	ret = check(dm, op);
	if (ret)
		return ret;
	enter(dm);
	while (no_room(dm))
		pthread_cond_wait(&dm->changed, &dm->qlock);
	ret = enqueue(dm, op);
	if (!ret)
		ret = wait(dm, op);
	leave(dm);
	return ret;
}

/* The next command, or NULL if there will be none.  qlock held. */
static struct dmirror_op *next_op(struct dmirror *dm)
{
	struct dmirror_op *op;

	while (!dm->head && !dm->stopping)
		pthread_cond_wait(&dm->work, &dm->qlock);
	op = dm->head;
	if (!op)
		return NULL;
	dm->head = op->next;
	if (!dm->head)
		dm->tail = &dm->head;
	dm->queued--;
	pthread_cond_broadcast(&dm->changed);
	return op;
}

static void *engine_main(void *arg)
{
	struct engine *engine = arg;
	struct dmirror *dm = engine->dm;
	struct dmirror_op *op;
	int status;

	pthread_mutex_lock(&dm->qlock);
	while ((op = next_op(dm))) {
		pthread_mutex_unlock(&dm->qlock);
		status = dm_execute(engine, op);
		pthread_mutex_lock(&dm->qlock);
		finish(dm, op, status);
	}
	pthread_mutex_unlock(&dm->qlock);
	return NULL;
}

bool dm_engines_stopping(struct dmirror *dm)
{
	return __atomic_load_n(&dm->stopping, __ATOMIC_RELAXED);
}

static int engine_start(struct dmirror *dm, unsigned int i)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	char name[24];
	int ret;

	if (!engine)
		return -ENOMEM;
	engine->dm = dm;
	ret = pthread_create(&engine->thread, NULL, engine_main, engine);
	if (ret) {
		free(engine);
		return -ret;
	}
	snprintf(name, sizeof(name), "dmirror/%u", i);
	pthread_setname_np(engine->thread, name);
	dm->engines[i] = engine;
	dm->nr_engines++;
	return 0;
}

int dm_engines_start(struct dmirror *dm)
{
	sigset_t all, old;
	unsigned int i;
	int ret = 0;

	dm->tail = &dm->head;
	pthread_mutex_init(&dm->add_lock, NULL);
	pthread_mutex_init(&dm->qlock, NULL);
	pthread_cond_init(&dm->work, NULL);
	pthread_cond_init(&dm->changed, NULL);
	dm->engines = calloc(dm->opts.engines, sizeof(struct engine *));
	if (!dm->engines)
		return -ENOMEM;

	/* The signals of the process whose memory we use are not for us. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; !ret && i < dm->opts.engines; i++)
		ret = engine_start(dm, i);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		dm_engines_stop(dm);
		free(dm->engines);
	}
	return ret;
}

void dm_engines_stop(struct dmirror *dm)
{
	struct dmirror_op *op;

	/* A fork's child has neither engines nor any right to the lock. */
	if (dm->pid == getpid()) {
		pthread_mutex_lock(&dm->qlock);
		/* Read without the lock, only as a hint, while executing. */
		__atomic_store_n(&dm->stopping, true, __ATOMIC_RELAXED);
		while ((op = dm->head)) {
			dm->head = op->next;
			finish(dm, op, -ECANCELED);
		}
		dm->tail = &dm->head;
		dm->queued = 0;
		pthread_cond_broadcast(&dm->work);
		pthread_cond_broadcast(&dm->changed);
		while (dm->users)
			pthread_cond_wait(&dm->changed, &dm->qlock);
		pthread_mutex_unlock(&dm->qlock);
	}
	while (dm->nr_engines) {
		struct engine *engine = dm->engines[--dm->nr_engines];

		if (dm->pid == getpid())
			pthread_join(engine->thread, NULL);
		free(engine);
	}
}
