// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * closed.c - an application that closes every descriptor it does not know
 *
 * ... and uses the numbers again.  What the library does later must not take
 * from those files, nor add to them, nor close them; and it has to come back.
 *
 * check: no-tsan (which rightly says that the application does wrong)
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "support.h"

#define FIRST 3
#define FILES 64

static const char content[] = "not hmm's";
static bool told;

static int tell(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	__atomic_store_n(&told, true, __ATOMIC_RELEASE);
	return 0;
}

static const struct hmm_mirror_ops ops = { .sync_cpu_device_pagetables = tell };

/* Pipes and sockets in turn, each readable, each with one to read and no more. */
static void use_numbers_again(void)
{
	int fds[2], i;

	close_range(FIRST, ~0u, 0);
	for (i = 0; i < FILES; i += 2) {
		if (i & 2)
			assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		else
			assert_int_equal(socketpair(AF_UNIX,
						    SOCK_SEQPACKET |
							    SOCK_NONBLOCK,
						    0, fds),
					 0);
		assert_int_equal(fds[0], FIRST + i);
		assert_int_equal(write(fds[1], content, sizeof(content)),
				 sizeof(content));
	}
}

static void files_are_as_they_were(void)
{
	char buf[2 * sizeof(content)];
	int fd;

	for (fd = FIRST; fd < FIRST + FILES; fd += 2) {
		assert_int_equal(read(fd, buf, sizeof(buf)), sizeof(content));
		assert_string_equal(buf, content);
		assert_int_equal(read(fd, buf, sizeof(buf)), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(fcntl(fd + 1, F_GETFD), 0);
	}
}

static bool is_dead(struct mm_struct *mm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return info.dead;
}

static void all_closed(bool busy)
{
	struct hmm_mirror mirror = { .ops = &ops };
	struct hmm_range range;
	struct mm_struct *mm;
	uint64_t pfns[4];
	char *p;

	watchdog(60);
	told = false;
	mm = attach();
	p = map_touched(4);
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 4, pfns, 0);
	assert_int_equal(range_get(&range, mm, false), 4);
	if (!busy)
		usleep(10000);
	use_numbers_again();
	munmap(p, 4 * PAGE);
	assert_false(hmm_range_valid(&range));
	while (!__atomic_load_n(&told, __ATOMIC_ACQUIRE) && !is_dead(mm))
		usleep(1000);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	files_are_as_they_were();
	close_range(FIRST, ~0u, 0);
}

static void while_the_watcher_sleeps(void **state)
{
	(void)state;
	all_closed(false);
}

static void at_any_time(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 20; i++)
		all_closed(true);
}

/* Between any two of them something may change, and be told to the watcher. */
static void one_after_the_other(void **state)
{
	struct hmm_mirror mirror = { .ops = &ops };
	struct hmm_range range;
	struct mm_struct *mm;
	uint64_t pfns[4];
	char *p;
	int fd, i;

	(void)state;
	watchdog(60);
	mm = attach();
	p = map_touched(4);
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	range_start(&range, mm, p, 4, pfns, 0);
	for (fd = FIRST; fd < FIRST + FILES; fd++) {
		close(fd);
		/* While the watcher polls it, it is open still: more than once. */
		for (i = 0; i < 3; i++) {
			/* Watched as long as it can be read, and is not dead. */
			range_get(&range, mm, false);
			madvise(p, 4 * PAGE, MADV_DONTNEED);
			assert_false(hmm_range_valid(&range));
			/* Takes the record, and kicks the watcher. */
			hmm_range_wait_until_valid(&range, 0);
			usleep(1000);
		}
	}
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	munmap(p, 4 * PAGE);
}

/* A number that is another file's is no page table, whatever can be read. */
static void files_in_their_place(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	uint64_t pfns[4];
	char *p;
	int fd;

	(void)state;
	watchdog(60);
	mm = attach();
	p = map_touched(4);
	range_start(&range, mm, p, 4, pfns, DEV_VALID);
	assert_int_equal(range_get(&range, mm, true), 4);
	close_range(FIRST, ~0u, 0);
	for (fd = FIRST; fd < FIRST + FILES; fd++) {
		assert_int_equal(memfd_create("", 0), fd);
		assert_int_equal(write(fd, content, sizeof(content)),
				 sizeof(content));
	}
	/* The module needs no descriptor but its own. */
	assert_true(range_get(&range, mm, false) < 0);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	close_range(FIRST, ~0u, 0);
	munmap(p, 4 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_in_their_place),
		cmocka_unit_test(while_the_watcher_sleeps),
		cmocka_unit_test(at_any_time),
		cmocka_unit_test(one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
