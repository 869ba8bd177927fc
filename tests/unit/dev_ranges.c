// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_ranges.c - /dev/hmm: registered ranges, and how many of all there may be
 *
 * check: once
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "dev_opened.h"
#include "dev_requests.h"

static void range_is_valid_until_it_changes(void **state)
{
	struct hmm_dev_wait wait = { .ms = 1000 };
	uint64_t pfns[2];
	struct hmm_dev_range r;
	uint32_t id;
	char *p, *q;

	(void)state;
	p = map_touched(2);
	q = map_touched(1);
	id = wait.id = registered(dev.fd, p, 2);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), 0);

	r = entries(NULL, 2, pfns);
	r.id = id;
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(r.start, (uintptr_t)p);
	assert_int_equal(r.end, (uintptr_t)p + 2 * PAGE);
	assert_true(pfns[0] & DEV_VALID && pfns[1] & DEV_VALID);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);

	munmap(q, PAGE);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	/* Only looking again makes it valid again. */
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 0);
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(pfns[1], DEV_NONE);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), 1);

	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, id), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, &wait), -ENOENT);
	assert_int_equal(walk(dev.fd, false, &r), -ENOENT);
	munmap(p, 2 * PAGE);
}

/* A change of one file's range is one of the other's, the number is not. */
static void files_share_no_ids(void **state)
{
	struct dev other;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	dev_open(&other);
	id = registered(dev.fd, p, 1);
	assert_int_equal(req(other.fd, HMM_DEV_VALID, id), -ENOENT);
	assert_int_equal(req(other.fd, HMM_DEV_UNREGISTER, id), -ENOENT);
	dev_close(&other);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	munmap(p, PAGE);
}

static void ranges_may_be_left_to_close(void **state)
{
	struct dev other;
	char *p;
	int i;

	(void)state;
	p = map_touched(1);
	dev_open(&other);
	for (i = 0; i < 1000; i++)
		registered(other.fd, p, 1);
	dev_close(&other);
	munmap(p, PAGE);
}

static void bad_ranges_are_refused(void **state)
{
	struct hmm_dev_register r = { .start = PAGE, .end = 2 * PAGE };

	(void)state;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, 8), -EFAULT);
	r.pad = 1;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	r.pad = 0;
	r.end = PAGE;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	r.end = ~0ull;
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -EINVAL);
	assert_int_equal(req(dev.fd, HMM_DEV_WAIT, 8), -EFAULT);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, 0), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, ~0ul), -ENOENT);
	assert_int_equal(req(dev.fd, HMM_DEV_VALID, 1ul << 32), -ENOENT);
}

/* ---- Limits ------------------------------------------------------------- */

static void ranges_are_limited(void **state)
{
	struct hmm_dev_register r;
	unsigned int old;
	uint32_t id;
	char *p;

	(void)state;
	p = map_touched(1);
	old = parameter("ranges_per_file", 2);
	r = (struct hmm_dev_register){ .start = (uintptr_t)p,
				       .end = (uintptr_t)p + PAGE };
	registered(dev.fd, p, 1);
	id = registered(dev.fd, p, 1);
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -ENOSPC);
	assert_int_equal(req(dev.fd, HMM_DEV_UNREGISTER, id), 0);
	registered(dev.fd, p, 1);
	assert_int_equal(req(dev.fd, HMM_DEV_REGISTER, &r), -ENOSPC);
	parameter("ranges_per_file", old);
	registered(dev.fd, p, 1);
	munmap(p, PAGE);
}

static void files_of_one_mm_are_limited(void **state)
{
	unsigned int old;
	struct dev second;
	int fd;

	(void)state;
	old = parameter("files_per_mm", 2);
	dev_open(&second);
	fd = open("/dev/hmm", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EUSERS);
	dev_close(&second);
	dev_open(&second);
	dev_close(&second);
	parameter("files_per_mm", old);
}

#define CHARGED_FILES 16
#define CHARGED_RANGES 20000

static void take_memory(struct child *c, void *p)
{
	int fd[CHARGED_FILES], i;

	child_at(c, 1);
	for (i = 0; i < CHARGED_FILES; i++)
		fd[i] = open("/dev/hmm", O_RDONLY);
	child_at(c, 2);
	for (i = 0; i < CHARGED_RANGES; i++)
		registered(fd[i % CHARGED_FILES], p, 1);
	child_at(c, 3);
}

static unsigned long charge_of(const char *dir)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/memory.current", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtoul(text, NULL, 10);
}

static void memory_is_charged_to_the_caller(void **state)
{
	char mnt[] = "/tmp/cgroup-XXXXXX", dir[64], text[16];
	unsigned long charge[3];
	struct child *c;
	char *p;
	int i;

	(void)state;
	assert_non_null(mkdtemp(mnt));
	if (mount("cgroup2", mnt, "cgroup2", 0, NULL) ||
	    !write_file(mnt, "cgroup.subtree_control", "+memory")) {
		print_message("skip: cgroup's memory: %s\n", strerror(errno));
		umount(mnt);
		rmdir(mnt);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/test", mnt);
	assert_int_equal(mkdir(dir, 0755), 0);
	p = map_touched(1);
	c = child_start(take_memory, p);
	snprintf(text, sizeof(text), "%d", c->pid);
	assert_true(write_file(dir, "cgroup.procs", text));
	for (i = 0; i < 3; i++) {
		wait_for(child_is_at(c, i + 1));
		charge[i] = charge_of(dir);
		child_let(c, i + 2);
	}
	child_end(c);
	rmdir(dir);
	umount(mnt);
	rmdir(mnt);
	munmap(p, PAGE);
	/* The ring alone, and the range alone. */
	assert_true(charge[1] - charge[0] >= CHARGED_FILES * 12 * PAGE);
	assert_true(charge[2] - charge[1] >= CHARGED_RANGES * 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(range_is_valid_until_it_changes),
		DEV_TEST(files_share_no_ids),
		DEV_TEST(ranges_may_be_left_to_close),
		DEV_TEST(bad_ranges_are_refused),
		DEV_TEST(ranges_are_limited),
		DEV_TEST(files_of_one_mm_are_limited),
		DEV_TEST(memory_is_charged_to_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
