// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * main.c - torture: everything changes while devices and driver loops run, and
 * no translation may outlive its page
 *
 *	torture [-t SECONDS] [-s SEED] [-i] [-f]
 *
 * -i: signals at a high rate to every thread; -f: fork storms.  HMM_SOURCE is
 * the source.  Exits 0; 77 if that can't be used here; 1 if anything was found,
 * or if a thread made no progress, whose stacks are printed.
 *
 * The same seed makes every thread draw the same numbers; what the kernel's
 * scheduler makes of it is another matter.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#define REPORT_S 60

struct torture t;

static unsigned int seconds = 10;

/* On an emulated machine, where all takes many times as long. */
static bool is_slow(void)
{
	return getenv("HMM_TEST_SLOW");
}

/* A thread that does not get on for so long hangs, however busy it is here. */
#define STALL_S 300

/* ---- Tallies ---------------------------------------------------------------- */

struct tally *tally_new(const char *name)
{
	struct tally *tally = &t.shared->tally[t.shared->nr_tallies++];

	if (t.shared->nr_tallies == MAX_TALLIES)
		abort();
	tally->name = name;
	return tally;
}

void tally(struct tally *tally, bool done)
{
	__atomic_fetch_add(done ? &tally->done : &tally->refused, 1,
			   __ATOMIC_RELAXED);
}

static void print_tallies(void)
{
	const struct tally *tally = t.shared->tally;
	unsigned int i, shown = 0;
	uint64_t all = 0;

	printf("done (refused):");
	for (i = 0; i < t.shared->nr_tallies; i++, tally++) {
		if (!tally->done && !tally->refused)
			continue;
		printf("%s%s %lu (%lu)", shown++ % 4 ? "; " : "\n  ",
		       tally->name, tally->done, tally->refused);
		all += tally->done;
	}
	printf("\n  all %lu\n", all);
}

/* ---- The tortured process --------------------------------------------------- */

static uint64_t print_seen(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	enum hmm_change_kind kind;
	uint64_t all = 0;

	hmm_mm_query(t.mm, &info);
	printf("changes seen:");
	for (kind = 0; kind < HMM_CHANGE_KIND_MAX; kind++) {
		if (info.changes[kind])
			printf(" %s %lu", hmm_change_kind_name(kind),
			       info.changes[kind]);
		all += info.changes[kind];
	}
	printf("; barriers %lu, lost %lu\n", info.barriers, info.lost);
	return all;
}

static int attach(void)
{
	struct hmm_mm_info info = { .size = sizeof(info) };
	int ret;

	ret = hmm_mm_attach(&t.mm, NULL);
	if (ret)
		return ret;
	hmm_mm_query(t.mm, &info);
	printf("source %s (%s), level %d\n", info.source, info.mechanism,
	       info.level);
	return 0;
}

static void victim_main(void)
{
	static const struct role *const roles[] = {
		&role_change, &role_uring, &role_heap,   &role_dl,
		&role_thread, &role_stack, &role_twins,  &role_huge,
		&role_fork,   &role_loop,  &role_submit, &role_verify,
		&role_device,
	};
	uint64_t checks, seen;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Where ptrace is restricted, the one outside must be allowed. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	poke_init();
	ret = attach();
	if (!ret)
		ret = loops_init();
	if (!ret)
		ret = engines_init();
	if (!ret)
		ret = workers_start(roles, sizeof(roles) / sizeof(roles[0]));
	if (ret) {
		printf("can't start: %s\n", strerror(-ret));
		exit(1);
	}
	__atomic_store_n(&t.shared->ready, true, __ATOMIC_RELEASE);
	workers_join();
	checks = loops_report() + engines_report();
	seen = print_seen();
	print_tallies();
	ret = hmm_mm_detach(t.mm);
	/* The watcher may not get a CPU for a second. */
	if (ret == -ETIMEDOUT)
		ret = 0;
	if (ret)
		printf("UNEXPECTED: detach: %s\n", strerror(-ret));
	if (t.signals)
		printf("%lu signals\n", t.shared->signals);
	if (t.shared->unseen)
		printf("%lu translations of pages that were moved or "
		       "reclaimed, which this source does not see\n",
		       t.shared->unseen);
	printf("%lu checks in %u s (%.1f million an hour), %lu changes seen, "
	       "%u threads: %lu stale, %lu undecided\n",
	       checks, seconds, (double)checks / seconds * 3600 / 1e6, seen,
	       t.shared->nr_workers, t.shared->stale, t.shared->undecided);
	/* Where it is slow, time is up for some questions. */
	exit(ret || t.shared->stale || !checks ||
	     (t.shared->undecided && !is_slow()));
}

/* ---- The supervisor --------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void print_proc(pid_t pid, const char *tid, const char *name)
{
	char path[96], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", pid, tid, name);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		printf("  %s: %s", name, line);
	fclose(file);
	printf("\n");
}

/* Where each thread is: in the kernel, then, if there is gdb, in the program. */
static void print_stacks(pid_t pid)
{
	struct dirent *entry;
	char command[160];
	DIR *dir;

	snprintf(command, sizeof(command), "/proc/%d/task", pid);
	dir = opendir(command);
	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		printf("thread %s\n", entry->d_name);
		print_proc(pid, entry->d_name, "comm");
		print_proc(pid, entry->d_name, "syscall");
		print_proc(pid, entry->d_name, "stack");
	}
	if (dir)
		closedir(dir);
	fflush(stdout);
	snprintf(command, sizeof(command),
		 "timeout 30 gdb -p %d -batch -nx -ex 'thread apply all bt' "
		 "</dev/null 2>&1",
		 pid);
	if (system(command))
		printf("no stacks of gdb\n");
}

/* The name of a worker that does not get on, or NULL. */
static const char *stalled(uint64_t now)
{
	static struct {
		uint64_t steps, since;
	} last[MAX_WORKERS];
	unsigned int i, nr = nr_workers();
	uint64_t steps;

	for (i = 0; i < nr; i++) {
		steps = __atomic_load_n(&t.shared->worker[i].steps,
					__ATOMIC_RELAXED);
		if (steps != last[i].steps || !last[i].since) {
			last[i].steps = steps;
			last[i].since = now;
		}
		if (now - last[i].since > STALL_S * 1000)
			return t.shared->worker[i].name;
	}
	return NULL;
}

static int hang(const char *who)
{
	printf("HANG: %s made no progress for %d s\n", who, STALL_S);
	print_stacks(t.shared->victim);
	kill(t.shared->victim, SIGKILL);
	return 1;
}

static int supervise(void)
{
	uint64_t from = now_ms(), begin = from, now = from, report = from;
	uint64_t stop = 0;
	const char *who;
	int status;

	while (waitpid(t.shared->victim, &status, WNOHANG) == 0) {
		usleep(50000);
		now = now_ms();
		/* What it takes to attach, and to start, is not torture. */
		if (!__atomic_load_n(&t.shared->ready, __ATOMIC_ACQUIRE) &&
		    now - from < STALL_S * 1000)
			begin = now;
		if (!stop && now - begin >= seconds * 1000ull) {
			__atomic_store_n(&t.shared->stop, true,
					 __ATOMIC_RELAXED);
			stop = now;
		}
		if (stop && now - stop > STALL_S * 1000)
			return hang("the end");
		who = stop ? NULL : stalled(now);
		if (who)
			return hang(who);
		if (now - report >= REPORT_S * 1000) {
			printf("%lu s, %lu stale\n", (now - begin) / 1000,
			       t.shared->stale);
			report = now;
		}
	}
	if (WIFSIGNALED(status)) {
		printf("CRASH: %s\n", strsignal(WTERMSIG(status)));
		return 1;
	}
	return WEXITSTATUS(status);
}

/* What HMM_SOURCE, or the best, is worth here.  False if it can't be used. */
static bool find_level(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	const char *wanted = getenv("HMM_SOURCE");
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (wanted && strcmp(wanted, info.name))
			continue;
		t.level = info.level;
		if (!info.error) {
			/* Not the next one, should this one fail after all. */
			setenv("HMM_SOURCE", info.name, true);
			return true;
		}
		printf("skip: %s: %s\n", info.name, info.reason);
	}
	return false;
}

static void options(int argc, char **argv)
{
	int c;

	t.seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	while ((c = getopt(argc, argv, "t:s:if")) != -1) {
		switch (c) {
		case 't':
			seconds = (unsigned int)atoi(optarg);
			break;
		case 's':
			t.seed = strtoull(optarg, NULL, 0);
			break;
		case 'i':
			t.signals = true;
			break;
		case 'f':
			t.storm = true;
			break;
		default:
			exit(2);
		}
	}
}

static pid_t start(void (*run)(void))
{
	pid_t pid = fork();

	if (!pid)
		run();
	if (pid < 0)
		perror("torture: fork");
	return pid;
}

/* Not of a process that could not be started: to kill -1 is to kill all. */
static void end(pid_t pid)
{
	if (pid < 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	pid_t outside;
	int ret = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	options(argc, argv);
	if (!find_level())
		return 77;
	t.shared = mmap(NULL, sizeof(*t.shared), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.shared == MAP_FAILED)
		return 1;
	printf("torture: %u s, seed %#lx%s%s\n", seconds, t.seed,
	       t.signals ? ", signals" : "", t.storm ? ", fork storms" : "");
	changes_init();
	life_init();
	outside_init();
	if (zones_init())
		return 1;
	machine_prepare();

	t.shared->victim = start(victim_main);
	outside = t.shared->victim < 0 ? -1 : start(outside_main);
	if (outside < 0)
		end(t.shared->victim);
	else
		ret = supervise();
	end(outside);
	printf("torture: %s, seed %#lx\n", ret ? "FAILED" : "passed", t.seed);
	return ret;
}
