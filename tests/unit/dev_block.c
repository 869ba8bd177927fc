// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * dev_block.c - /dev/hmm: faults that wait, for a userfaultfd here
 *
 * check: once
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "dev_opened.h"
#include "dev_requests.h"

static int userfaultfd(char *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		print_message("skip: userfaultfd: %s\n", strerror(errno));
		skip();
	}
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}

/* A thread that faults memory in, and waits for as long as that takes. */
struct faulter {
	pthread_t thread;
	const char *p;
	unsigned long pages;
	uint64_t *pfns;
	int ret;
	bool done;
};

static void *fault(void *arg)
{
	struct faulter *f = arg;
	struct hmm_dev_range r = entries(f->p, f->pages, f->pfns);

	r.default_flags = DEV_VALID;
	f->ret = walk(dev.fd, true, &r);
	__atomic_store_n(&f->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void start(struct faulter *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, fault, f), 0);
}

static void wait_for_fault(int uffd, const struct faulter *f)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };

	while (!poll(&pollfd, 1, 10))
		if (__atomic_load_n(&f->done, __ATOMIC_ACQUIRE))
			fail_msg("it did not wait: %s", strerror(-f->ret));
}

static void fault_waits_for_who_handles_it(void **state)
{
	uint64_t pfn = 0;
	char *p = map_pages(1, PROT_READ | PROT_WRITE);
	struct faulter f = { .p = p, .pages = 1, .pfns = &pfn };
	struct uffdio_zeropage zero = { .range = { (uintptr_t)p, PAGE } };
	struct hmm_dev_range r = entries(p, 1, &pfn);
	int uffd;

	(void)state;
	uffd = userfaultfd(p);
	r.default_flags = DEV_VALID;
	assert_int_equal(req(dev.fd, HMM_DEV_FAULT, &r), -EAGAIN);
	start(&f);
	wait_for_fault(uffd, &f);
	/* It holds no lock that changes want. */
	munmap(map_touched(1), PAGE);
	assert_int_equal(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
	pthread_join(f.thread, NULL);
	assert_int_equal(f.ret, 0);
	assert_true(pfn & DEV_VALID);
	close(uffd);
	munmap(p, PAGE);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void signal_ends_the_wait(void **state)
{
	struct sigaction action = { .sa_handler = on_signal };
	uint64_t pfn = 7;
	char *p = map_pages(1, PROT_READ | PROT_WRITE);
	struct faulter f = { .p = p, .pages = 1, .pfns = &pfn };
	int uffd;

	(void)state;
	uffd = userfaultfd(p);
	sigaction(SIGUSR1, &action, NULL);
	start(&f);
	wait_for_fault(uffd, &f);
	pthread_kill(f.thread, SIGUSR1);
	pthread_join(f.thread, NULL);
	assert_int_equal(f.ret, -EINTR);
	assert_int_equal(pfn, 7);
	close(uffd);
	munmap(p, PAGE);
}

static void fault_for_ever(struct child *c, void *p)
{
	uint64_t pfn;
	struct hmm_dev_range r = entries(p, 1, &pfn);
	int uffd = userfaultfd(p);

	(void)uffd;
	dev_open(&dev);
	r.default_flags = DEV_VALID;
	__atomic_store_n(&c->at, 1, __ATOMIC_RELEASE);
	walk(dev.fd, true, &r);
}

static void who_waits_can_be_killed(void **state)
{
	char *p = map_pages(1, PROT_READ | PROT_WRITE);
	struct child *c;
	int status;

	(void)state;
	close(userfaultfd(p));
	c = child_start(fault_for_ever, p);
	wait_for(child_is_at(c, 1));
	/* Nothing tells that it waits; if it does not yet, all is well, too. */
	usleep(100000);
	status = child_kill(c);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	munmap(p, PAGE);
}

#define MANY 4096ul
#define TIMES 20

/*
 * Who closes it waits for all who hold the mmap lock, and one of these had it
 * that the page comes first.
 */
static void userfaultfd_is_closed_meanwhile(void **state)
{
	uint64_t *pfns = malloc(MANY * sizeof(*pfns));
	char *p = map_touched(MANY), *last = p + (MANY - 1) * PAGE;
	struct faulter f = { .p = p, .pages = MANY, .pfns = pfns };
	int i, uffd;

	(void)state;
	assert_non_null(pfns);
	for (i = 0; i < TIMES; i++) {
		madvise(last, PAGE, MADV_DONTNEED);
		uffd = userfaultfd(last);
		start(&f);
		usleep((useconds_t)(i * 500));
		close(uffd);
		pthread_join(f.thread, NULL);
		assert_int_equal(f.ret, 0);
		assert_true(pfns[MANY - 1] & DEV_VALID);
	}
	munmap(p, MANY * PAGE);
	free(pfns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEV_TEST(fault_waits_for_who_handles_it),
		DEV_TEST(signal_ends_the_wait),
		DEV_TEST(who_waits_can_be_killed),
		DEV_TEST(userfaultfd_is_closed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
