// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * events.c - from a source's records to the core and to the mirrors
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mm.h"
#include "uncancelled.h"

/*
 * How long to look again for a record that is counted but not there yet: its
 * writer is between the two, which takes longer only if its CPU was taken away.
 */
#define RECORD_WAIT_MS 2

/* How long the watcher leaves records alone after it has taken some. */
#define QUIET_NS (300 * 1000)

/* Nobody can wake the watcher by what the application has closed. */
#define LOOK_MS 1000

/* A barrier that fails is tried again as long as someone may be waiting. */
#define BARRIER_RETRY_MS 10
#define BARRIER_TRIES (HMM_RANGE_DEFAULT_TIMEOUT / BARRIER_RETRY_MS)

/* ---- Taking records ----------------------------------------------------- */

/* Leave an update for the watcher.  Bounded: many become one for everything. */
static void put_pending(struct hmm_events *ev, const struct hmm_event *event)
{
	if (ev->tail - ev->head == HMM_PENDING) {
		struct hmm_update *last =
			&ev->pending[(ev->tail - 1) % HMM_PENDING];

		last->start = 0;
		last->end = TASK_SIZE;
		last->kind = HMM_CHANGE_OTHER;
		return;
	}
	ev->pending[ev->tail++ % HMM_PENDING] = (struct hmm_update){
		.start = event->start,
		.end = event->end < TASK_SIZE ? event->end : TASK_SIZE,
		.event = HMM_UPDATE_INVALIDATE,
		.kind = event->kind,
		.blockable = true,
	};
}

static void take(void *ctx, const struct hmm_event *event)
{
	struct mm_struct *mm = ctx;
	struct hmm *hmm = &mm->hmm;

	mm->events.taken++;
	switch (event->phase) {
	case HMM_EVENT_OPEN:
		hmm_invalidate_open(hmm, event->start, event->end,
				    event->owner);
		break;
	case HMM_EVENT_START:
		hmm_invalidate_start(hmm, event->start, event->end);
		break;
	case HMM_EVENT_END:
		hmm_invalidate_end(hmm, event->start, event->end);
		return;
	case HMM_EVENT_PAST:
		hmm_invalidate_past(hmm, event->start, event->end);
		break;
	}
	mm->events.counts[event->kind]++;
	/* With five levels of page tables there is more, which no range is in. */
	if (event->start < TASK_SIZE && hmm_has_mirrors(hmm))
		put_pending(&mm->events, event);
}

/* Take what is ready.  True if the watcher has something to do. */
static bool drain(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;
	struct hmm *hmm = &mm->hmm;
	uint64_t consumed, taken;
	bool work;
	int ret = 0;
	HMM_UNCANCELLED;

	pthread_mutex_lock(&ev->drain_lock);
	taken = ev->taken;
	if (!ev->failed) {
		consumed = mm->hmm.consumed;
		ret = mm->src->ops->drain(mm->src, take, mm, &consumed);
		hmm_advance(&mm->hmm, consumed);
		WRITE_ONCE(ev->failed, ret);
	}
	/* Whoever makes a change may be waiting although no mirror is told. */
	work = ev->head != ev->tail || (mm->src->waits && ev->taken != taken);
	/*
	 * The watcher sleeps on when the record that was to wake it is gone
	 * before it looks, and the next one would be silent.  Or it was in no
	 * hurry, and what was taken is a start whose end is to be told.
	 */
	if (READ_ONCE(ev->armed) && ev->taken != taken && !work && !ret)
		work = !mm->src->ops->arm(mm->src, hmm_wants_records(hmm));
	pthread_mutex_unlock(&ev->drain_lock);
	if (ret) {
		if (ret == -ESRCH)
			pr_info("hmm: the process has ended or executes "
				"another program: its mm is dead");
		else
			pr_err("hmm: source %s failed (%s): changes can't be "
			       "seen any more, the mm is dead; detach and "
			       "attach again",
			       mm->src->ops->name, strerror(-ret));
		hmm_kill(&mm->hmm);
		work = true;
	}
	return work;
}

static void kick(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;
	HMM_UNCANCELLED;

	/* One that is full has been kicked enough. */
	if (hmm_own_fd_valid(&ev->kicks[1]) &&
	    send(ev->kicks[1].fd, "", 1, MSG_NOSIGNAL) < 0)
		return;
}

/* gettid(), as sources name the owner of a change; remembered. */
static __thread uint64_t self_tid;

static uint64_t self(void)
{
	if (!self_tid)
		self_tid = (uint64_t)gettid();
	return self_tid;
}

void hmm_events_forget_self(void)
{
	self_tid = 0;
}

void hmm_host_mirrors(struct hmm *hmm)
{
	kick(mm_of(hmm));
}

void hmm_events_look(struct mm_struct *mm)
{
	hmm_host_sync(&mm->hmm);
	/* Only the watcher says how far nobody has been told. */
	if (!hmm_has_mirrors(&mm->hmm) &&
	    hmm_load_acquire(&mm->events.told) != READ_ONCE(mm->hmm.consumed))
		kick(mm);
}

bool hmm_host_sync(struct hmm *hmm)
{
	struct mm_struct *mm = mm_of(hmm);
	uint64_t first, started, deadline = 0;

	if (!mm_alive(mm)) {
		WRITE_ONCE(hmm->dead, true);
		return false;
	}
	first = READ_ONCE(hmm->consumed);
	/* Pairs with the source's increment before the change it counts. */
	started = hmm_load_acquire(hmm->started);
	while (READ_ONCE(hmm->consumed) != started) {
		if (READ_ONCE(hmm->dead))
			return false;
		if (drain(mm))
			kick(mm);
		/*
		 * Others may have taken more than was counted above.  From where
		 * it was: a source may use some of the bits for something else.
		 */
		if (READ_ONCE(hmm->consumed) - first >= started - first)
			break;
		if (!deadline)
			deadline = hmm_now_ms() + RECORD_WAIT_MS;
		else if (hmm_now_ms() > deadline)
			return false;
		sched_yield();
	}
	/*
	 * A change made by this very thread is over, since this runs.  Its end,
	 * which is not counted, may be in a record, with nobody about to look.
	 */
	if (hmm_invalidate_close_owner(hmm, self()) && drain(mm))
		kick(mm);
	return true;
}

/* ---- The watcher -------------------------------------------------------- */

/* How far the mirrors will have been told once pending is empty up to until. */
struct goal {
	unsigned int until;
	uint64_t consumed, position;
};

static struct goal next_goal(const struct mm_struct *mm)
{
	return (struct goal){
		.until = mm->events.tail,
		.consumed = mm->hmm.consumed,
		.position = mm->src->position,
	};
}

static void reached(struct mm_struct *mm, const struct goal *goal)
{
	struct hmm_events *ev = &mm->events;

	__atomic_store_n(&ev->told, goal->consumed, __ATOMIC_RELEASE);
	if (!mm->src->waits)
		return;
	WRITE_ONCE(ev->reached, goal->until);
	if (ev->fork == FORK_BEGUN)
		wake_up_all(&ev->wq);
	if (ev->fork == FORK_PAUSED)
		return;
	mm->src->ops->told(mm->src, goal->position);
	if (ev->fork == FORK_OVER) {
		ev->fork = FORK_NONE;
		hmm_invalidate_end(&mm->hmm, 0, ~0ul);
	}
}

/*
 * Run the callbacks for what was taken, and say how far they have been told.
 * If changes come fast enough there is always more: so say it each time that
 * what was there when it was said last has been told.
 *
 * Returns how many records had been taken by then.
 */
static uint64_t tell(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;
	struct hmm_update update;
	struct goal goal;
	uint64_t taken;

	pthread_mutex_lock(&ev->drain_lock);
	goal = next_goal(mm);
	while (ev->head != ev->tail) {
		update = ev->pending[ev->head++ % HMM_PENDING];
		pthread_mutex_unlock(&ev->drain_lock);
		hmm_mirrors_sync(&mm->hmm, &update);
		pthread_mutex_lock(&ev->drain_lock);
		if (ev->head != goal.until)
			continue;
		reached(mm, &goal);
		goal = next_goal(mm);
	}
	goal = next_goal(mm);
	reached(mm, &goal);
	taken = ev->taken;
	pthread_mutex_unlock(&ev->drain_lock);
	return taken;
}

/* Nothing to do for the watcher until a file descriptor says so. */
static bool may_sleep(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;
	bool ret;

	if (!mm->src->ops->arm)
		return true;
	pthread_mutex_lock(&ev->drain_lock);
	ret = ev->head == ev->tail &&
	      (ev->failed ||
	       mm->src->ops->arm(mm->src, hmm_wants_records(&mm->hmm)));
	WRITE_ONCE(ev->armed, ret && !ev->failed);
	pthread_mutex_unlock(&ev->drain_lock);
	return ret;
}

/*
 * To be woken at each change costs the one who makes it several times what the
 * change does.  So only the first after a pause wakes us; those that follow it
 * are taken together, QUIET_NS later.  Unless it waits for us anyway.
 *
 * More than 0 if there should be records; -1 if nothing can wake us.
 */
static int wait_for_work(struct mm_struct *mm, struct pollfd fds[2], bool busy)
{
	const struct timespec quiet = { .tv_nsec = QUIET_NS };
	bool sleeps;
	int ret;

	if (!hmm_own_fd_valid(&mm->events.kicks[0]))
		return -1;
	fds[0].revents = 0;
	if (busy && mm->src->ops->arm && !mm->src->waits)
		return ppoll(&fds[1], 1, &quiet, NULL);
	sleeps = may_sleep(mm);
	ret = poll(fds, 2, sleeps ? LOOK_MS : 0);
	if ((fds[0].revents | fds[1].revents) & POLLNVAL)
		return -1;
	return ret ? ret : !sleeps;
}

/* Only what was there: who kicks later has something more. */
static void take_kicks(struct hmm_events *ev)
{
	char kicks[64];

	while (hmm_own_fd_valid(&ev->kicks[0]) &&
	       recv(ev->kicks[0].fd, kicks, sizeof(kicks), 0) == sizeof(kicks))
		;
}

static void *watcher(void *arg)
{
	struct mm_struct *mm = arg;
	struct hmm_events *ev = &mm->events;
	struct pollfd fds[2] = {
		{ .fd = mm->src->event_fd, .events = POLLIN },
		{ .fd = ev->kicks[0].fd, .events = POLLIN },
	};
	const struct timespec pause = { .tv_nsec = QUIET_NS };
	uint64_t consumed = READ_ONCE(mm->hmm.consumed);
	uint64_t taken = 0, before;
	bool busy = false, misled = false;
	int ret;

	if (mm->src->waits) {
		tell(mm);
		WRITE_ONCE(ev->watching, true);
		wake_up_all(&ev->wq);
	}
	while (!__atomic_load_n(&ev->stop, __ATOMIC_ACQUIRE)) {
		if (READ_ONCE(ev->failed))
			fds[0].fd = -1;
		/* The mirrors must not wait: look without being told. */
		ret = misled ? -1 : wait_for_work(mm, fds, busy);
		if (ret < 0)
			nanosleep(&pause, NULL);
		WRITE_ONCE(ev->armed, false);
		if (fds[1].revents & POLLIN)
			take_kicks(ev);
		drain(mm);
		before = taken;
		taken = tell(mm);
		/* The number of the source's descriptor may be another file's. */
		misled = ret > 0 && taken == before &&
			 !(fds[1].revents & POLLIN);
		/* What the mirrors hold will never be invalidated: only once. */
		if (READ_ONCE(ev->failed))
			hmm_release(&mm->hmm);
		/* Whoever took the records: more are likely to follow. */
		busy = READ_ONCE(mm->hmm.consumed) != consumed &&
		       hmm_wants_records(&mm->hmm);
		consumed = READ_ONCE(mm->hmm.consumed);
	}
	return NULL;
}

/* ---- Fork, where changes wait ------------------------------------------- */

/*
 * A fork is a change, and is made with locks held that the watcher needs to
 * acknowledge it.  So before they are taken the mirrors are told that
 * everything changes, and that change stays in progress until changes wait
 * again: no translation is there meanwhile that another change could outrun.
 */
bool hmm_events_fork_begin(struct mm_struct *mm)
{
	static const struct hmm_event all = {
		.start = 0,
		.end = ~0ul,
		.kind = HMM_CHANGE_FORK,
	};
	struct hmm_events *ev = &mm->events;
	unsigned int until;

	/* The watcher's own changes don't wait. */
	if (hmm_in_callback(&mm->hmm))
		return false;
	pthread_mutex_lock(&ev->drain_lock);
	/* The last one may not have been ended yet. */
	if (ev->fork == FORK_NONE)
		hmm_invalidate_start(&mm->hmm, 0, ~0ul);
	ev->fork = FORK_BEGUN;
	put_pending(ev, &all);
	until = ev->tail;
	pthread_mutex_unlock(&ev->drain_lock);
	kick(mm);
	if (!wait_event_timeout(ev->wq,
				(int)(READ_ONCE(ev->reached) - until) >= 0 ||
					READ_ONCE(ev->stop),
				HMM_RANGE_DEFAULT_TIMEOUT))
		WRITE_ONCE(ev->late, ev->late + 1);
	return true;
}

void hmm_events_fork_pause(struct mm_struct *mm)
{
	mm->events.fork = FORK_PAUSED;
	mm->src->ops->pause(mm->src);
}

void hmm_events_fork_end(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;

	pthread_mutex_lock(&ev->drain_lock);
	ev->fork = FORK_OVER;
	pthread_mutex_unlock(&ev->drain_lock);
	kick(mm);
}

/* ---- The barrier -------------------------------------------------------- */

static int run_barrier(struct mm_struct *mm, bool complain)
{
	struct hmm_source *src = mm->src;
	char why[256] = "";
	uint64_t gen;
	int ret;

	/* Open everything that is counted; only that will be closed. */
	if (drain(mm))
		kick(mm);
	gen = hmm_barrier_begin(&mm->hmm);
	if (!gen)
		return 0;
	ret = src->ops->barrier(src, why, sizeof(why));
	if (ret) {
		if (complain)
			pr_warn("hmm: source %s can't tell when changes end: "
				"%s",
				src->ops->name, *why ? why : strerror(-ret));
		return ret;
	}
	__atomic_fetch_add(&mm->events.barriers, 1, __ATOMIC_RELAXED);
	/* Ends that were recorded first: they are no longer told of after it. */
	if (drain(mm))
		kick(mm);
	hmm_barrier_end(&mm->hmm, gen);
	return 0;
}

static void *barrier(void *arg)
{
	struct mm_struct *mm = arg;
	struct hmm_events *ev = &mm->events;
	const struct timespec pause = { .tv_nsec = BARRIER_RETRY_MS * 1000000 };
	int tries;

	while (!__atomic_load_n(&ev->stop, __ATOMIC_ACQUIRE)) {
		wait_event_timeout(ev->wq,
				   READ_ONCE(ev->wanted) || READ_ONCE(ev->stop),
				   60 * 1000);
		if (!__atomic_exchange_n(&ev->wanted, false, __ATOMIC_ACQ_REL))
			continue;
		for (tries = 0; tries < BARRIER_TRIES; tries++) {
			if (!run_barrier(mm, tries == 0) ||
			    READ_ONCE(ev->stop) || READ_ONCE(mm->hmm.dead))
				break;
			nanosleep(&pause, NULL);
		}
		/* Who still waits asks again, for another round. */
		if (tries == BARRIER_TRIES)
			wake_up_all(&mm->hmm.wq);
	}
	return NULL;
}

void hmm_host_settle(struct hmm *hmm)
{
	struct mm_struct *mm = mm_of(hmm);

	/* One barrier serves all who ask before it begins. */
	if (!mm_alive(mm) ||
	    __atomic_exchange_n(&mm->events.wanted, true, __ATOMIC_ACQ_REL))
		return;
	wake_up_all(&mm->events.wq);
}

/* ---- Life --------------------------------------------------------------- */

static void close_kicks(struct hmm_events *ev)
{
	hmm_own_fd_close(&ev->kicks[0]);
	hmm_own_fd_close(&ev->kicks[1]);
}

/*
 * Not a pipe: an application that closes one descriptor after the other would
 * be killed (SIGPIPE) by a kick between the two.
 */
static int open_kicks(struct hmm_events *ev)
{
	int fds[2], ret, ret2;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fds))
		return -errno;
	ret = hmm_own_fd_set(&ev->kicks[0], fds[0]);
	ret2 = hmm_own_fd_set(&ev->kicks[1], fds[1]);
	ret = ret ? ret : ret2;
	if (ret)
		close_kicks(ev);
	return ret;
}

int hmm_events_start(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;
	sigset_t all, old;
	int ret;

	*ev = (struct hmm_events){ .told = mm->hmm.consumed };
	pthread_mutex_init(&ev->drain_lock, NULL);
	init_waitqueue_head(&ev->wq);
	ret = open_kicks(ev);
	if (ret)
		return ret;

	/* Records of the time before would only be found at the next change. */
	drain(mm);

	/* The process's signals are not for our threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&ev->watcher, NULL, watcher, mm);
	if (ret)
		goto out;
	ret = -pthread_create(&ev->barrier, NULL, barrier, mm);
	if (ret) {
		__atomic_store_n(&ev->stop, true, __ATOMIC_RELEASE);
		kick(mm);
		pthread_join(ev->watcher, NULL);
		goto out;
	}
	pthread_setname_np(ev->watcher, "hmm-watcher");
	pthread_setname_np(ev->barrier, "hmm-barrier");
	/* Changes begin to wait only then, and who attached relies on it. */
	while (mm->src->waits &&
	       !wait_event_timeout(ev->wq, READ_ONCE(ev->watching),
				   HMM_RANGE_DEFAULT_TIMEOUT))
		;
out:
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		close_kicks(ev);
	return ret;
}

bool hmm_events_stop(struct mm_struct *mm)
{
	struct hmm_events *ev = &mm->events;

	if (mm->src->waits) {
		pthread_mutex_lock(&ev->drain_lock);
		mm->src->ops->let_go(mm->src);
		pthread_mutex_unlock(&ev->drain_lock);
	}
	__atomic_store_n(&ev->stop, true, __ATOMIC_RELEASE);
	kick(mm);
	wake_up_all(&ev->wq);
	pthread_join(ev->barrier, NULL);
	if (!hmm_wait_callbacks(&mm->hmm, HMM_RANGE_DEFAULT_TIMEOUT)) {
		pthread_detach(ev->watcher);
		return false;
	}
	pthread_join(ev->watcher, NULL);
	return true;
}

void hmm_events_free(struct mm_struct *mm)
{
	close_kicks(&mm->events);
	pthread_mutex_destroy(&mm->events.drain_lock);
}
