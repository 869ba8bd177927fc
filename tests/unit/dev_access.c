// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_access.c - /dev/hmm: who may see what
 *
 * check: once
 */
#include <sys/prctl.h>

#include "dev_opened.h"
#include "dev_requests.h"

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(20);
}

/* A _exit() code says which of the questions was answered wrong. */
static void look_as_nobody(struct child *c, void *arg)
{
	struct hmm_dev_range r;
	uint64_t pfn;
	struct dev d;
	char *p;
	int fd;

	(void)c;
	(void)arg;
	become_nobody();
	d.fd = open("/dev/hmm", O_RDONLY);
	if (d.fd < 0)
		_exit(21);
	d.shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, d.fd, 0);
	if (d.shared == MAP_FAILED || !d.shared->pfns_virtual)
		_exit(22);
	p = map_touched(1);
	r = entries(p, 1, &pfn);
	if (walk(d.fd, false, &r) || !(pfn & DEV_VALID) ||
	    pfn >> DEV_SHIFT != (uintptr_t)p / PAGE)
		_exit(23);
	/* A format by which one can't tell that the entry has a pfn. */
	memset(r.flags, 0, sizeof(r.flags));
	memset(r.values, 0, sizeof(r.values));
	r.pfn_shift = 0;
	if (walk(d.fd, false, &r) || pfn != (uintptr_t)p / PAGE)
		_exit(24);
	/* Which pages are neighbours is as good as some bits of their numbers. */
	r = entries(p, 1, &pfn);
	r.start &= ~(2 * PAGE - 1);
	r.end = r.start + 2 * PAGE;
	r.page_shift = 13;
	if (walk(d.fd, false, &r) != -EPERM || walk(d.fd, true, &r) != -EPERM)
		_exit(28);
	/* Neither the first process nor who started us. */
	fd = open("/dev/hmm", O_RDONLY);
	if (dev_bind_to(fd, 1, O_RDONLY) != EACCES)
		_exit(25);
	if (dev_bind_to(fd, getppid(), O_RDONLY) != EACCES)
		_exit(26);
	if (req(fd, HMM_DEV_HOLD, HMM_DEV_HOLD_DEFAULT + 1) != -EPERM)
		_exit(27);
}

static void nobody_sees_no_more_than_elsewhere(void **state)
{
	(void)state;
	if (!is_root()) {
		print_message("skip: only root can become nobody\n");
		skip();
	}
	assert_int_equal(child_end(child_start(look_as_nobody, NULL)), 0);
}

/* Judged by who opened the file, as pagemap does. */
static void opener_decides_about_pfns(void **state)
{
	uint64_t pfn, map;
	struct hmm_dev_range r;
	char *p;
	int fd;

	(void)state;
	if (!is_root()) {
		print_message("skip: only root can become nobody\n");
		skip();
	}
	p = map_touched(1);
	r = entries(p, 1, &pfn);
	assert_int_equal(seteuid(NOBODY), 0);
	fd = dev_open_file();
	/* dev.fd is root's. */
	assert_int_equal(walk(dev.fd, false, &r), 0);
	assert_int_equal(seteuid(0), 0);
	read_pagemap(getpid(), p, 1, &map);
	assert_int_equal(pfn >> DEV_SHIFT, map & PFN_MASK);
	assert_int_equal(walk(fd, false, &r), 0);
	assert_int_equal(pfn >> DEV_SHIFT, (uintptr_t)p / PAGE);
	close(fd);
	munmap(p, PAGE);
}

static bool everyone_may_hold(void)
{
	FILE *file = fopen("/sys/module/hmm/parameters/unprivileged_hold", "r");
	int c = file ? fgetc(file) : 'Y';

	if (file)
		fclose(file);
	return c == 'Y';
}

static bool said_why;

static void look_for_why(enum hmm_log_level level, const char *line)
{
	(void)level;
	if (strstr(line, "unprivileged_hold=0"))
		said_why = true;
}

static void hold_as_nobody(struct child *c, void *arg)
{
	const struct hmm_attach_opts opts = { .size = sizeof(opts),
					      .source = "module",
					      .wait = true };
	int expected = everyone_may_hold() ? 0 : -EPERM;
	struct mm_struct *mm;
	int fd;

	(void)c;
	(void)arg;
	become_nobody();
	/* Our own /proc is ours. */
	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/dev/hmm", O_RDONLY);
	if (req(fd, HMM_DEV_HOLD, 1) != expected || req(fd, HMM_DEV_HOLD, 0))
		_exit(21);
	hmm_set_log(look_for_why);
	if (hmm_mm_attach(&mm, &opts) != expected)
		_exit(22);
	if (said_why != !!expected)
		_exit(23);
	if (!expected && hmm_mm_detach(mm))
		_exit(24);
}

/* Whatever the module was loaded with. */
static void changes_wait_for_whom_they_may(void **state)
{
	(void)state;
	if (!is_root()) {
		print_message("skip: only root can become nobody\n");
		skip();
	}
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, 1), 0);
	assert_int_equal(req(dev.fd, HMM_DEV_HOLD, 0), 0);
	assert_int_equal(child_end(child_start(hold_as_nobody, NULL)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(nobody_sees_no_more_than_elsewhere),
		DEV_TEST(opener_decides_about_pfns),
		DEV_TEST(changes_wait_for_whom_they_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
