// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * wake.c - the end of a change wakes who waits; and the barrier that finds it
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm.h"
#include "setup.h"

#define SLEEPERS 8
#define PLACE (1ul << 32)

struct bedroom;

struct sleeper {
	struct bedroom *room;
	struct hmm_range range;
	pthread_t thread;
	int stat_fd;
	uint32_t ready; /* about to sleep */
	uint64_t woke;
};

struct bedroom {
	struct mm_struct *mm;
	struct sleeper sleeper[SLEEPERS];
	unsigned int nr;
	bool plain; /* on a futex, instead of for a range */
	bool stop;
	uint32_t word; /* the plain futex */
	pthread_barrier_t bed, breakfast;
};

static long futex(uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void *sleep_and_wake(void *arg)
{
	struct sleeper *s = arg;
	struct bedroom *room = s->room;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", gettid());
	s->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	for (;;) {
		pthread_barrier_wait(&room->bed);
		if (room->stop)
			break;
		__atomic_store_n(&s->ready, 1, __ATOMIC_SEQ_CST);
		if (!room->plain)
			hmm_range_wait_until_valid(&s->range, 10000);
		else
			while (!__atomic_load_n(&room->word, __ATOMIC_ACQUIRE))
				futex(&room->word, FUTEX_WAIT_PRIVATE, 0);
		s->woke = bench_now();
		pthread_barrier_wait(&room->breakfast);
	}
	close(s->stat_fd);
	return NULL;
}

/* "tid (name) S ...": our names have no parenthesis. */
static bool asleep(const struct sleeper *s)
{
	char buf[64] = "", *state;

	if (!__atomic_load_n(&s->ready, __ATOMIC_SEQ_CST) ||
	    pread(s->stat_fd, buf, sizeof(buf) - 1, 0) <= 0)
		return false;
	state = strchr(buf, ')');
	return state && state[2] == 'S';
}

/* From the call that wakes until the last one runs. */
static uint64_t night(struct bedroom *room)
{
	uint64_t begin, end = 0;
	unsigned int i;

	room->word = 0;
	for (i = 0; i < room->nr; i++)
		room->sleeper[i].ready = 0;
	if (!room->plain)
		hmm_invalidate_start(&room->mm->hmm, PLACE, PLACE + PAGE_SIZE);
	pthread_barrier_wait(&room->bed);
	for (i = 0; i < room->nr; i++)
		while (!asleep(&room->sleeper[i]))
			usleep(50);
	begin = bench_now();
	if (!room->plain) {
		hmm_invalidate_end(&room->mm->hmm, PLACE, PLACE + PAGE_SIZE);
	} else {
		__atomic_store_n(&room->word, 1, __ATOMIC_RELEASE);
		futex(&room->word, FUTEX_WAKE_PRIVATE, INT_MAX);
	}
	pthread_barrier_wait(&room->breakfast);
	for (i = 0; i < room->nr; i++)
		if (room->sleeper[i].woke > end)
			end = room->sleeper[i].woke;
	return end - begin;
}

static uint64_t wake(void *ctx, unsigned int n, bool plain)
{
	struct bedroom *room = ctx;
	uint64_t ns = 0;

	room->plain = plain;
	while (n--)
		ns += night(room);
	return ns;
}

static uint64_t wake_range(void *ctx, unsigned int n)
{
	return wake(ctx, n, false);
}

static uint64_t wake_futex(void *ctx, unsigned int n)
{
	return wake(ctx, n, true);
}

static void wake_line(struct mm_struct *mm, unsigned int nr)
{
	static struct bedroom room;
	struct bench_line *line = bench_line_of(
		"wake who waits for a range", "wake of a futex", nr, "threads");
	unsigned int i;

	line->goal = 1.5;
	memset(&room, 0, sizeof(room));
	room.mm = mm;
	room.nr = nr;
	pthread_barrier_init(&room.bed, NULL, nr + 1);
	pthread_barrier_init(&room.breakfast, NULL, nr + 1);
	for (i = 0; i < nr; i++) {
		struct sleeper *s = &room.sleeper[i];

		s->room = &room;
		range_init(&s->range, NULL);
		if (hmm_range_register(&s->range, mm, PLACE,
				       PLACE + PAGE_SIZE) ||
		    pthread_create(&s->thread, NULL, sleep_and_wake, s))
			exit(1);
	}
	/* One at a time: each batch is as noisy as one, and there are more. */
	bench_pair(line, &(struct bench_side){ wake_range, &room, 1 },
		   &(struct bench_side){ wake_futex, &room, 1 });
	room.stop = true;
	pthread_barrier_wait(&room.bed);
	for (i = 0; i < nr; i++) {
		pthread_join(room.sleeper[i].thread, NULL);
		hmm_range_unregister(&room.sleeper[i].range);
	}
}

/* ---- The barrier -------------------------------------------------------- */

struct vm {
	struct mm_struct *mm;
	struct hmm_range range;
	int kvm;
};

static uint64_t create_vm(void *ctx, unsigned int n)
{
	struct vm *vm = ctx;
	uint64_t begin = bench_now();
	int fd;

	while (n--) {
		fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
		if (fd < 0)
			abort();
		close(fd);
	}
	return bench_now() - begin;
}

static uint64_t barrier(void *ctx, unsigned int n)
{
	struct vm *vm = ctx;
	struct hmm_source *src = vm->mm->src;
	uint64_t begin = bench_now();
	char why[256];

	while (n--)
		src->ops->barrier(src, why, sizeof(why));
	return bench_now() - begin;
}

/* A change of someone who isn't seen again: until that is known to be over. */
static uint64_t wait_foreign(void *ctx, unsigned int n)
{
	struct vm *vm = ctx;
	uint64_t begin, ns = 0;

	while (n--) {
		hmm_invalidate_open(&vm->mm->hmm, PLACE, PLACE + PAGE_SIZE, 0);
		begin = bench_now();
		hmm_range_wait_until_valid(&vm->range, 10000);
		ns += bench_now() - begin;
	}
	return ns;
}

static void barrier_lines(struct mm_struct *mm)
{
	struct vm vm = { .mm = mm,
			 .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	struct bench_line *line;

	line = bench_line("the barrier", "KVM_CREATE_VM, close");
	/* Its VM belongs to a thread with files of its own: two switches. */
	line->goal = 1.5;
	bench_pair(line, &(struct bench_side){ barrier, &vm, 0 },
		   &(struct bench_side){ create_vm, &vm, 0 });
	range_init(&vm.range, NULL);
	hmm_range_register(&vm.range, mm, PLACE, PLACE + PAGE_SIZE);
	line = bench_line("wait for a change by someone else",
			  "KVM_CREATE_VM, close");
	bench_pair(line, &(struct bench_side){ wait_foreign, &vm, 0 },
		   &(struct bench_side){ create_vm, &vm, 0 });
	hmm_range_unregister(&vm.range);
	close(vm.kvm);
}

void bench_wake(void)
{
	char why[192] = "";
	struct mm_struct *mm = bench_attach(NULL, why, sizeof(why));

	if (!mm) {
		bench_skip(bench_line("wake", ""), "%s", why);
		return;
	}
	wake_line(mm, 1);
	wake_line(mm, SLEEPERS);
	if (!strcmp(mm->src->ops->name, "kvm"))
		barrier_lines(mm);
	hmm_mm_detach(mm);
}
