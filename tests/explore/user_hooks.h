/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * user_hooks.h - included before libhmm's own files: what they ask of libc and
 * of the compiler becomes a scheduling point
 *
 * The real headers come first, so that their types stay what they are; a lock
 * of theirs is only the memory in which ours is kept.
 */
#ifndef EXPLORE_USER_HOOKS_H
#define EXPLORE_USER_HOOKS_H

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hooks.h"

/* ---- Atomics -------------------------------------------------------------- */

#define SIM_ATOMIC(what, p) (sched_point(what, p), (volatile __typeof__(p))(p))

#define __atomic_load_n(p, order) (*SIM_ATOMIC("load " #p, p))
#define __atomic_store_n(p, v, order) \
	((void)(*SIM_ATOMIC("store " #p, p) = (v)))
#define __atomic_exchange_n(p, v, order)        \
	({                                      \
		__typeof__(*(p)) old_;          \
		sched_point("exchange " #p, p); \
		old_ = *(p);                    \
		*(p) = (v);                     \
		old_;                           \
	})
#define __atomic_fetch_add(p, v, order)       \
	({                                    \
		__typeof__(*(p)) old_;        \
		sched_point("add to " #p, p); \
		old_ = *(p);                  \
		*(p) += (v);                  \
		old_;                         \
	})

/* ---- Locks ---------------------------------------------------------------- */

void sim_mutex_lock(pthread_mutex_t *m, const char *what);
void sim_mutex_unlock(pthread_mutex_t *m, const char *what);
void sim_rwlock_lock(pthread_rwlock_t *m, int write, const char *what);
void sim_rwlock_unlock(pthread_rwlock_t *m);
void sim_zero(void *p, size_t size);
int sim_once(pthread_once_t *once, void (*fn)(void));

#define pthread_mutex_init(m, attr) sim_zero(m, sizeof(*(m)))
#define pthread_mutex_destroy(m) ((void)(m))
#define pthread_mutex_lock(m) sim_mutex_lock(m, "lock " #m)
#define pthread_mutex_unlock(m) sim_mutex_unlock(m, "unlock " #m)
#define pthread_rwlock_rdlock(m) sim_rwlock_lock(m, 0, "read-lock " #m)
#define pthread_rwlock_wrlock(m) sim_rwlock_lock(m, 1, "write-lock " #m)
#define pthread_rwlock_unlock(m) sim_rwlock_unlock(m)
#define pthread_once(once, fn) sim_once(once, fn)

/* ---- Threads and fork ----------------------------------------------------- */

int sim_thread_create(pthread_t *t, void *(*fn)(void *), void *arg);
void sim_thread_join(pthread_t t);

#define pthread_create(t, attr, fn, arg) sim_thread_create(t, fn, arg)
#define pthread_join(t, ret) sim_thread_join(t)
#define pthread_detach(t) ((void)(t))
#define pthread_setname_np(t, name) ((void)(t))
#define pthread_sigmask(how, set, old) ((void)(set), (void)(old))
#define pthread_setcancelstate(state, old) ((void)(*(old) = (state)))
#define gettid() (sched_self() + 1)

/* ---- System calls --------------------------------------------------------- */

int sim_poll(struct pollfd *fds, unsigned int n, int timeout);
ssize_t sim_recv(int fd, void *buf, size_t size);
ssize_t sim_send(int fd, const void *buf, size_t size);
void sim_yield(void);
uint64_t hmm_now_ms(void);
void *sim_keep(size_t size);
void *sim_page(void);

#define poll(fds, n, timeout) sim_poll(fds, n, timeout)
/* A moment later, which may be at once. */
#define ppoll(fds, n, time, mask) ((void)(time), sim_poll(fds, n, 0))
#define recv(fd, buf, size, flags) sim_recv(fd, buf, size)
#define send(fd, buf, size, flags) sim_send(fd, buf, size)
#define socketpair(domain, type, protocol, fds) ((fds)[0] = (fds)[1] = 3, 0)
#define fstat(fd, st) (*(st) = (struct stat){ .st_ino = (ino_t)(fd) }, 0)
#define close(fd) ((void)(fd))
#define sched_yield() sim_yield()
#define nanosleep(t, left) sched_point("sleep a while", t)
/* Only a struct mm_struct, whose memory is never given back. */
#define calloc(n, size) sim_keep((n) * (size))
#define mmap(a, size, prot, flags, fd, off) sim_page()
#define munmap(p, size) ((void)(p))
#define madvise(p, size, advice) 0
#define secure_getenv(name) NULL

#endif
