// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * watcher.c - what the watcher makes of what a source has to say
 *
 * The source is the test's own, in the place of the module's.
 *
 * check: once
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "mm.h"

#include "support.h"

#define MAX 8
/* Where the upper half of a user with five levels of page tables may be. */
#define FAR (1ul << 50)

static uint64_t started;
static struct hmm_event ready[MAX];
static unsigned int nr_ready; /* under the library's drain lock */
static struct hmm_source source;

static int fake_drain(struct hmm_source *src, hmm_event_fn fn, void *ctx,
		      uint64_t *consumed)
{
	eventfd_t wakes;
	unsigned int i;

	if (nr_ready)
		eventfd_read(src->event_fd, &wakes);
	for (i = 0; i < nr_ready; i++)
		fn(ctx, &ready[i]);
	nr_ready = 0;
	*consumed = __atomic_load_n(&started, __ATOMIC_ACQUIRE);
	return 0;
}

static int fake_attach(struct hmm_source **srcp, char *why, size_t size)
{
	(void)why;
	(void)size;
	source.ops = &hmm_source_module;
	source.started = &started;
	source.mechanism = "";
	source.event_fd = eventfd(0, EFD_CLOEXEC);
	if (source.event_fd < 0)
		return -errno;
	*srcp = &source;
	return 0;
}

static void fake_detach(struct hmm_source *src)
{
	close(src->event_fd);
}

const struct hmm_source_ops hmm_source_module = {
	.name = "fake",
	.misses = "",
	.level = 2,
	.attach = fake_attach,
	.detach = fake_detach,
	.forked = fake_detach,
	.drain = fake_drain,
};

static void change(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	pthread_mutex_lock(&mm->events.drain_lock);
	ready[nr_ready++] = (struct hmm_event){
		.start = start,
		.end = end,
		.phase = HMM_EVENT_PAST,
	};
	__atomic_fetch_add(&started, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&mm->events.drain_lock);
	assert_int_equal(eventfd_write(source.event_fd, 1), 0);
}

static struct mm_struct *attach_fake(void)
{
	const struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = "fake",
	};
	struct mm_struct *mm;

	watchdog(60);
	assert_int_equal(hmm_mm_attach(&mm, &opts), 0);
	return mm;
}

/* ---- Addresses that only some processors have ---------------------------- */

static struct hmm_update seen[MAX];
static unsigned int nr_seen;

static int note(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	assert_true(nr_seen < MAX);
	seen[nr_seen] = *update;
	__atomic_store_n(&nr_seen, nr_seen + 1, __ATOMIC_RELEASE);
	return 0;
}

static const struct hmm_mirror_ops ops = { .sync_cpu_device_pagetables = note };

static void a_mirror_is_told_of_what_it_may_have(void **state)
{
	struct mm_struct *mm = attach_fake();
	struct hmm_mirror mirror = { .ops = &ops };
	unsigned int i, n;

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	change(mm, FAR, FAR + PAGE);
	change(mm, TASK_SIZE, FAR);
	change(mm, PAGE, FAR);
	change(mm, 0, ~0ul);
	change(mm, PAGE, 2 * PAGE);
	/* Until the last of them. */
	while (!(n = __atomic_load_n(&nr_seen, __ATOMIC_ACQUIRE)) ||
	       seen[n - 1].end != 2 * PAGE)
		usleep(1000);
	assert_int_equal(n, 3);
	for (i = 0; i < n; i++) {
		assert_true(seen[i].start < seen[i].end);
		assert_true(seen[i].end <= TASK_SIZE);
	}
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

/* ---- A number that is another file's -------------------------------------- */

/* How often a thread went to sleep by itself; false if that is another's name. */
static bool sleeps_of_task(const char *task, const char *name,
			   unsigned long *sleeps)
{
	char path[300], line[128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	f = fopen(path, "r");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Name:", 5))
			found = strstr(line, name);
		sscanf(line, "voluntary_ctxt_switches: %lu", sleeps);
	}
	fclose(f);
	return found;
}

static unsigned long sleeps_of(const char *name)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned long sleeps;
	struct dirent *entry;

	assert_non_null(tasks);
	do {
		entry = readdir(tasks);
		assert_non_null(entry);
	} while (!sleeps_of_task(entry->d_name, name, &sleeps));
	closedir(tasks);
	return sleeps;
}

static void what_is_always_readable_keeps_nobody_awake(void **state)
{
	struct mm_struct *mm = attach_fake();
	int other = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	unsigned long first;

	(void)state;
	assert_true(other >= 0);
	assert_int_equal(dup3(other, source.event_fd, O_CLOEXEC),
			 source.event_fd);
	/* It is in poll() with what was there before, until it is woken. */
	hmm_host_mirrors(&mm->hmm);
	first = sleeps_of("hmm-watcher");
	while (sleeps_of("hmm-watcher") < first + 100)
		usleep(1000);
	close(other);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mirror_is_told_of_what_it_may_have),
		cmocka_unit_test(what_is_always_readable_keeps_nobody_awake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
