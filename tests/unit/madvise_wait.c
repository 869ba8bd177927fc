// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * madvise_wait.c - a thread in madvise() is not forgotten
 *
 * check: once
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "madvise_wait.h"
#include "support.h"

static pid_t discarder, leaver;
static pthread_t leaver_thread;
static bool leave, hide;

static void *leave_when_told(void *arg)
{
	(void)arg;
	__atomic_store_n(&leaver, gettid(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&leave, __ATOMIC_ACQUIRE))
		usleep(1000);
	return NULL;
}

/* Joined, a thread may still be there for a moment. */
static void make_it_leave(void)
{
	__atomic_store_n(&leave, true, __ATOMIC_RELEASE);
	pthread_join(leaver_thread, NULL);
	while (!tgkill(getpid(), leaver, 0))
		usleep(1000);
}

/*
 * In place of the C library's, once as the kernel has it about one time in ten
 * thousand with threads that come and go: of those that it has shown one ends,
 * and it passes over another.
 */
struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR * dir);
	struct dirent *entry;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	entry = real(dir);
	if (!hide)
		return entry;
	if (entry && atoi(entry->d_name) == discarder)
		entry = real(dir);
	if (!entry) {
		hide = false;
		make_it_leave();
		errno = 0;
	}
	return entry;
}

/* A discard that is not over before somebody reads of it. */
static char *map_unread(int *fd)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_EVENT_REMOVE |
			    UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	char *p = map_touched(1);

	*fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_CLOEXEC);
	if (*fd < 0) {
		print_message("skip: userfaultfd(): %s\n", strerror(errno));
		skip();
	}
	reg.range.start = (uintptr_t)p;
	reg.range.len = PAGE;
	assert_int_equal(ioctl(*fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(*fd, UFFDIO_REGISTER, &reg), 0);
	return p;
}

static void *discard(void *p)
{
	__atomic_store_n(&discarder, gettid(), __ATOMIC_RELEASE);
	madvise(p, PAGE, MADV_DONTNEED);
	return NULL;
}

static bool is_in_madvise(pid_t tid)
{
	char path[64];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	f = fopen(path, "r");
	assert_non_null(f);
	if (fscanf(f, "%ld", &nr) != 1)
		nr = -1;
	fclose(f);
	return nr == SYS_madvise;
}

static pid_t wait_tid(const pid_t *tid)
{
	while (!__atomic_load_n(tid, __ATOMIC_ACQUIRE))
		usleep(1000);
	return *tid;
}

static void none_is_passed_over(void **state)
{
	struct hmm_discards d = { .nr = 1 };
	char *p, why[256] = "", number[32];
	pthread_t thread;
	int fd, ret;

	(void)state;
	watchdog(60);
	p = map_unread(&fd);
	d.range[0].start = (unsigned long)p;
	d.range[0].end = d.range[0].start + PAGE;
	assert_int_equal(
		pthread_create(&leaver_thread, NULL, leave_when_told, NULL), 0);
	wait_tid(&leaver);
	assert_int_equal(pthread_create(&thread, NULL, discard, p), 0);
	while (!is_in_madvise(wait_tid(&discarder)))
		usleep(1000);

	hide = true;
	ret = hmm_madvise_wait(&d, 100, why, sizeof(why));
	assert_false(hide);
	assert_int_equal(ret, -ETIMEDOUT);
	snprintf(number, sizeof(number), "thread %d ", discarder);
	assert_non_null(strstr(why, number));
	/* It goes on when there is nobody who could read. */
	close(fd);
	pthread_join(thread, NULL);
	assert_int_equal(hmm_madvise_wait(&d, 60000, why, sizeof(why)), 0);
	munmap(p, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
