// SPDX-License-Identifier: MIT OR GPL-2.0
/* worker.c - threads that do the same again and again until all stop */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#define PASS_NS 100000000000ull

static struct worker workers[MAX_WORKERS];

/* splitmix64: every seed is as good as another. */
static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t draw(struct worker *w, uint64_t n)
{
	return mix(&w->random) % n;
}

void worker_init(struct worker *w, unsigned int i)
{
	uint64_t state = t.seed + i;

	*w = (struct worker){ .random = mix(&state) };
}

/* ---- Signals, as many as a profiler would send ------------------------------ */

static void on_signal(int sig)
{
	(void)sig;
	__atomic_fetch_add(&t.shared->signals, 1, __ATOMIC_RELAXED);
}

static timer_t timer_start(int sig, long ns)
{
	struct itimerspec every = {
		.it_interval.tv_nsec = ns,
		.it_value.tv_nsec = ns,
	};
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = sig,
	};
	timer_t timer;

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &every, NULL)) {
		perror("torture: timer");
		_exit(1);
	}
	return timer;
}

/* One that restarts system calls, and one that ends them with EINTR. */
static void signals_init(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGRTMIN + 1, &action, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGRTMIN, &action, NULL);
}

/* ---- Workers ---------------------------------------------------------------- */

void worker_inside(struct worker *w)
{
	if (w->progress)
		__atomic_store_n(&w->progress->inside, true, __ATOMIC_SEQ_CST);
}

void worker_outside(struct worker *w)
{
	if (!w->progress)
		return;
	__atomic_fetch_add(&w->progress->steps, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w->progress->inside, false, __ATOMIC_SEQ_CST);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	timer_t timer[2] = { 0 };

	if (t.signals) {
		timer[0] = timer_start(SIGRTMIN, 1700000);
		timer[1] = timer_start(SIGRTMIN + 1, 2300000);
	}
	while (!stopping()) {
		worker_inside(w);
		w->role->step(w);
		worker_outside(w);
	}
	if (t.signals) {
		timer_delete(timer[0]);
		timer_delete(timer[1]);
	}
	return NULL;
}

static int worker_start(const struct role *role)
{
	unsigned int i = t.shared->nr_workers;
	struct worker *w = &workers[i];
	int ret;

	worker_init(w, i);
	w->role = role;
	w->progress = &t.shared->worker[i];
	snprintf(w->progress->name, sizeof(w->progress->name), "%s",
		 role->name);
	ret = -pthread_create(&w->thread, NULL, worker_main, w);
	if (ret)
		return ret;
	pthread_setname_np(w->thread, w->progress->name);
	/* Pairs with nr_workers(): it is filled in. */
	__atomic_store_n(&t.shared->nr_workers, i + 1, __ATOMIC_RELEASE);
	return 0;
}

int workers_start(const struct role *const *roles, unsigned int nr)
{
	unsigned int i, j;
	int ret = 0;

	if (t.signals)
		signals_init();
	for (i = 0; i < nr && !ret; i++)
		for (j = 0; j < roles[i]->threads && !ret; j++)
			if (t.level >= 2 || roles[i]->level1)
				ret = worker_start(roles[i]);
	return ret;
}

void workers_join(void)
{
	unsigned int i;

	for (i = 0; i < t.shared->nr_workers; i++)
		pthread_join(workers[i].thread, NULL);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool workers_pass(void)
{
	uint64_t before[MAX_WORKERS], deadline = now_ns() + PASS_NS;
	unsigned int i, nr = nr_workers();

	for (i = 0; i < nr; i++)
		before[i] = __atomic_load_n(&t.shared->worker[i].steps,
					    __ATOMIC_SEQ_CST);
	for (i = 0; i < nr; i++) {
		struct progress *p = &t.shared->worker[i];

		while (__atomic_load_n(&p->inside, __ATOMIC_SEQ_CST) &&
		       __atomic_load_n(&p->steps, __ATOMIC_SEQ_CST) ==
			       before[i]) {
			if (now_ns() > deadline)
				return false;
			usleep(100);
		}
	}
	return true;
}
