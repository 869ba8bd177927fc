// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * main.c - make every call of the library fail in turn
 *
 * For each scenario, source, call and error: the first call fails, then the
 * second, until a run in which none did; and the same with all that follow
 * failing too.  With -q each call fails with one of the errors, the next one
 * with the next, and for good from the first on only.  After each run nothing may be left over, and the library has to
 * work.
 *
 *	inject [-q] SOURCE [SCENARIO [CALL]]
 *	inject			what scenarios there are
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "plan.h"

/* A call that is repeated while the library waits has no end. */
#define MOST 60
#define RUN_SECONDS 600
#define SHOWN 40
/* ms */
#define LEFTOVER_TRIES 60000

static const char *scenario_name = "start";
static long wrongs, runs;
static bool quick;

/* ---- What is said ------------------------------------------------------- */

static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;
static char last[512], kept[512];
static bool any;

static void keep_line(enum hmm_log_level level, const char *line)
{
	if (level > HMM_LOG_WARN)
		return;
	pthread_mutex_lock(&line_lock);
	snprintf(last, sizeof(last), "%s", line);
	any = true;
	pthread_mutex_unlock(&line_lock);
}

bool said(void)
{
	bool ret;

	pthread_mutex_lock(&line_lock);
	ret = any;
	any = false;
	pthread_mutex_unlock(&line_lock);
	return ret;
}

const char *last_said(void)
{
	pthread_mutex_lock(&line_lock);
	memcpy(kept, last, sizeof(kept));
	pthread_mutex_unlock(&line_lock);
	return kept;
}

static const char *const fates[] = {
	[MONITOR_BEFORE] = "is killed before a call",
	[MONITOR_AFTER] = "is killed after a call",
	[MONITOR_FAILS] = "fails",
};

void wrong(const char *fmt, ...)
{
	va_list args;

	if (wrongs++ > SHOWN)
		return;
	printf("not ok %s %s, ", scenario_name, source);
	if (monitor_plan.fate)
		printf("the monitor %s, %d: ", fates[monitor_plan.fate],
		       monitor_plan.n);
	else if (plan.error)
		printf("%s %s %ld%s: ", calls[plan.call].name,
		       strerrorname_np(plan.error), plan.n,
		       plan.on ? " and on" : "");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

bool check(bool ok, const char *what)
{
	if (!ok)
		wrong("%s", what);
	return ok;
}

/* What is being done, for the signal handler. */
static char doing[256];

static void hung(int sig)
{
	(void)sig;
	if (write(STDOUT_FILENO, doing, strlen(doing)) < 0)
		_exit(1);
	/* For its core; the program can't go on. */
	abort();
}

/* ---- What is left over -------------------------------------------------- */

struct leftover {
	long fds, threads, children, mapped;
};

static long entries(const char *path)
{
	DIR *dir = opendir(path);
	long n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* PF_EXITING, from the list's directory; what is gone exits no more. */
static bool is_exiting(int tasks, const char *tid)
{
	enum { EXITING = 0x4 };
	unsigned int flags = EXITING;
	char path[32];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%.20s/stat", tid);
	fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	file = fdopen(fd, "r");
	if (!file)
		abort();
	if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %u", &flags) !=
	    1)
		flags = EXITING;
	fclose(file);
	return flags & EXITING;
}

/*
 * A thread that was joined is listed until it gets a CPU again; and while one
 * goes, the list may pass over another.  -1 if there is one that goes.
 */
static long list_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	long n = 0;

	if (!dir)
		abort();
	while (n >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		n = is_exiting(dirfd(dir), entry->d_name) ? -1 : n + 1;
	}
	closedir(dir);
	return n;
}

static long threads(void)
{
	long n;

	while ((n = list_threads()) < 0)
		usleep(1000);
	return n;
}

static long children(void)
{
	FILE *file = fopen("/proc/thread-self/children", "re");
	long n = 0;
	int pid;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	while (file && fscanf(file, "%d", &pid) == 1)
		n++;
	if (file)
		fclose(file);
	return n;
}

static struct leftover look(void)
{
	return (struct leftover){
		.fds = entries("/proc/self/fd"),
		.threads = threads(),
		.children = children(),
		.mapped = __atomic_load_n(&mapped, __ATOMIC_RELAXED),
	};
}

static bool same(const struct leftover *a, const struct leftover *b)
{
	return a->fds == b->fds && a->threads == b->threads &&
	       a->children == b->children && a->mapped == b->mapped;
}

static void check_leftover(const struct leftover *before)
{
	struct leftover after;
	int tries;

	for (tries = 0; tries < LEFTOVER_TRIES; tries++) {
		after = look();
		/* Whose file that number is now can't be told: not closed. */
		if (plan.call == CALL_bpf_obj_get_info_by_fd &&
		    after.fds == before->fds + 1)
			after.fds--;
		if (same(before, &after))
			return;
		usleep(1000);
	}
	wrong("left over: %ld files, %ld threads, %ld processes, %ld bytes",
	      after.fds - before->fds, after.threads - before->threads,
	      after.children - before->children, after.mapped - before->mapped);
}

/* ---- Runs --------------------------------------------------------------- */

static bool selected(const char *wanted, const char *name)
{
	return !wanted || !strcmp(wanted, name);
}

/* One run.  How many calls failed. */
static long run_once(const struct scenario *s, enum call call, int error,
		     long n, bool on)
{
	struct leftover before;
	long injected;

	snprintf(doing, sizeof(doing),
		 "not ok %s %s, %s error %d, %ld%s, monitor %d %d: hangs\n",
		 scenario_name, source, calls[call].name, error, n,
		 on ? " and on" : "", monitor_plan.fate, monitor_plan.n);
	alarm(RUN_SECONDS);
	runs++;
	if (s->attached && (s->fresh || !mm))
		mm = attach();
	if (s->attached && !mm)
		exit(1);
	if (s->text)
		forget_procmap(mm);
	before = look();
	said();
	plan_start(call, error, n, on);
	s->run();
	injected = plan_stop();
	if (s->attached && is_dead(mm)) {
		check(said(), "dead in silence");
		if (strcmp(source, "uffd"))
			wrong("dead");
		detach(mm);
		mm = NULL;
	} else if (s->attached) {
		/* A thread for faults stays until the end. */
		if (!s->fresh)
			check_leftover(&before);
		check_usable(mm);
	} else {
		check_leftover(&before);
	}
	if (s->fresh && mm) {
		detach(mm);
		mm = NULL;
	}
	return injected;
}

static void sweep(const struct scenario *s, enum call call, int error, bool on)
{
	long n;

	for (n = 1; n <= MOST; n++)
		if (!run_once(s, call, error, n, on))
			break;
}

static void sweep_quickly(const struct scenario *s, enum call call)
{
	const int *errors = calls[call].errors;
	int nr = 1;
	long n;

	while (errors[nr])
		nr++;
	for (n = 1; n <= MOST; n++)
		if (!run_once(s, call, errors[n % nr], n, false))
			break;
}

/* How often it died or failed. */
static long sweep_monitor(const struct scenario *s)
{
	enum monitor_fate fate;
	long hits = 0;
	int n;

	for (fate = MONITOR_BEFORE; fate <= MONITOR_FAILS; fate++)
		for (n = 1; n < 1000; n++) {
			monitor_plan = (struct monitor_plan){
				.fate = fate,
				.error = ENOMEM,
				.n = n,
			};
			monitor_last = (struct monitor_plan){ 0 };
			run_once(s, 0, 0, 0, false);
			monitor_plan.fate = MONITOR_LIVES;
			/* Its first call tells it: that can't fail. */
			if (!monitor_last.done && n > 1)
				break;
			hits++;
			if (quick && n % 8)
				continue;
			mm = attach();
			check_usable(mm);
			detach(mm);
			mm = NULL;
		}
	return hits;
}

static void run_scenario(const struct scenario *s, const char *wanted_call)
{
	long counts[NR_CALLS], began = runs, failures = 0, before = wrongs;
	struct timespec t0, t1;
	struct leftover at_first;
	int i, calls_seen = 0;
	enum call call;

	scenario_name = s->name;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (s->kind == MONITOR) {
		failures = sweep_monitor(s);
		if (before == wrongs)
			printf("ok %s %s\n", s->name, source);
		printf("   %s %s: %ld runs, %ld deaths and failures\n", s->name,
		       source, runs - began, failures);
		return;
	}
	/* Twice: what is made once stays, and is not left over. */
	run_once(s, 0, 0, 0, false);
	if (mm) {
		detach(mm);
		mm = NULL;
	}
	at_first = look();
	memcpy(counts, called, sizeof(counts));
	run_once(s, 0, 0, 0, false);
	for (call = 0; call < NR_CALLS; call++)
		counts[call] = called[call] - counts[call];
	for (call = 0; call < NR_CALLS; call++)
		failures -= failed[call];
	for (call = 0; call < NR_CALLS; call++) {
		if (s->kind == BARRIER &&
		    call == (strcmp(source, "kvm") ? CALL_opendir : CALL_ioctl))
			run_once(s, call, EMFILE, 1, true);
		if (s->kind != EACH_CALL ||
		    !selected(wanted_call, calls[call].name) ||
		    !calls[call].errors[0] || !counts[call])
			continue;
		calls_seen++;
		if (quick)
			sweep_quickly(s, call);
		for (i = 0; !quick && calls[call].errors[i]; i++)
			sweep(s, call, calls[call].errors[i], false);
		/* EINTR for ever is no kernel's. */
		if (calls[call].errors[0] == EINTR)
			continue;
		if (quick)
			run_once(s, call, calls[call].errors[0], 1, true);
		else
			sweep(s, call, calls[call].errors[0], true);
	}
	if (mm) {
		detach(mm);
		mm = NULL;
	}
	plan = (struct plan){ 0 };
	if (!failed[CALL_bpf_obj_get_info_by_fd])
		check_leftover(&at_first);
	if (__lsan_do_recoverable_leak_check())
		wrong("memory is left over");
	for (call = 0; call < NR_CALLS; call++)
		failures += failed[call];
	clock_gettime(CLOCK_MONOTONIC, &t1);
	if (before == wrongs)
		printf("ok %s %s\n", s->name, source);
	printf("   %s %s: %ld runs, %ld failures of %d functions, %ld ms\n",
	       s->name, source, runs - began, failures, calls_seen,
	       (t1.tv_sec - t0.tv_sec) * 1000 +
		       (t1.tv_nsec - t0.tv_nsec) / 1000000);
	fflush(stdout);
}

static bool usable(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (strcmp(info.name, source))
			continue;
		if (info.error)
			printf("skip %s: %s\n", info.name, info.reason);
		return !info.error;
	}
	printf("not ok %s: no such source\n", source);
	return false;
}

/* The library asks for fork handlers when it is loaded: not then. */
__attribute__((constructor(101))) static void fail_at_load(void)
{
	plan_start(CALL_pthread_atfork, ENOMEM, 1, false);
}

/* And each attach asks again, until it has got them. */
static void check_first(void)
{
	static const struct scenario first = { "first", .run = run_attach };

	scenario_name = first.name;
	if (plan_stop() != 1)
		wrong("nothing was asked for at load");
	if (!run_once(&first, CALL_pthread_atfork, ENOMEM, 1, false) ||
	    !attach_failed)
		wrong("did not fail");
}

int main(int argc, char **argv)
{
	const char *wanted, *wanted_call;
	const struct scenario *s;
	enum call call;

	quick = argc > 1 && !strcmp(argv[1], "-q");
	argv += quick;
	argc -= quick;
	wanted = argc > 2 ? argv[2] : NULL;
	wanted_call = argc > 3 ? argv[3] : NULL;
	for (s = scenarios; argc < 2 && s->name; s++)
		printf("%s\n", s->name);
	if (argc < 2)
		return 0;
	source = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	mallopt(M_ARENA_MAX, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGALRM, hung);
	hmm_set_log(keep_line);
	bench_init();
	check_first();
	if (!usable())
		return 0;
	for (s = scenarios; s->name; s++)
		if ((!wanted || !strcmp(wanted, s->name)) &&
		    (!s->only || !strcmp(s->only, source)))
			run_scenario(s, wanted_call);
	for (call = 0; call < NR_CALLS; call++)
		if (failed[call])
			printf("failed %s %ld\n", calls[call].name,
			       failed[call]);
	return wrongs ? 1 : 0;
}
