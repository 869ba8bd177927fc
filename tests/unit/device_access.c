// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * device_access.c - hmm_dmirror.ko reads and writes any memory that it may
 *
 * check: once root
 */
#include "kernel_device.h"

/* To the CPU's entries, which know only of the CPU's, the pages are clean. */
static void what_it_writes_is_kept(void **state)
{
	char *p;

	(void)state;
	need_device();
	p = filled(SOME, 1);
	assert_int_equal(madvise(p, SOME * PAGE, MADV_FREE), 0);
	fill(scratch, SOME, 2);
	move(device[0], DEVICE_WRITE, p, SOME);
	assert_int_equal(madvise(p, SOME * PAGE, MADV_PAGEOUT), 0);
	assert_filled(p, SOME, 2);
	munmap(p, SOME * PAGE);
	if (has_memory()) {
		p = filled(SOME, 1);
		assert_int_equal(madvise(p, SOME * PAGE, MADV_FREE), 0);
		move(device[0], TO_DEVICE, p, SOME);
		fill(scratch, SOME, 3);
		move(device[0], DEVICE_WRITE, p, SOME);
		move(device[0], TO_SYSTEM, p, SOME);
		assert_int_equal(madvise(p, SOME * PAGE, MADV_PAGEOUT), 0);
		assert_filled(p, SOME, 3);
		munmap(p, SOME * PAGE);
	}
}

/* It gets on with what is asked for, be it more than its table has room for. */
static void no_fault_is_for_ever(void **state)
{
	const size_t pages = 600ul << 8, at = SOME / 2;
	char *p = mmap(NULL, pages * PAGE, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *buffer = map_pages(SOME, PROT_READ | PROT_WRITE);

	(void)state;
	need_device();
	assert_ptr_not_equal(p, MAP_FAILED);
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	fill(buffer, SOME, 1);
	munmap(buffer + at * PAGE, (SOME - at) * PAGE);
	assert_int_equal(request(device[0], DEVICE_READ, p, buffer, pages,
				 NULL),
			 -EFAULT);
	assert_memory_equal(buffer, p, at * PAGE);
	munmap(p, pages * PAGE);
	munmap(buffer, at * PAGE);
}

/* Linux gives such addresses to who asks for them, with page tables for that. */
static void no_more_than_48_bits(void **state)
{
	char *p = mmap((void *)(1ul << 50), PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	need_device();
	assert_ptr_not_equal(p, MAP_FAILED);
	if ((uintptr_t)p < 1ul << 48) {
		munmap(p, PAGE);
		print_message("skip: page tables of four levels\n");
		skip();
	}
	*p = 1;
	assert_int_equal(request(device[0], DEVICE_READ, p, scratch, 1, NULL),
			 -EINVAL);
	munmap(p, PAGE);
}

/* The kernel itself can't reach it. */
static void secret_memory_is_kept(void **state)
{
	char *p;

	(void)state;
	need_device();
	p = map_secret();
	fill(p, 1, 1);
	assert_int_equal(request(device[0], DEVICE_READ, p, scratch, 1, NULL),
			 -EFAULT);
	assert_int_equal(request(device[0], DEVICE_WRITE, p, scratch, 1, NULL),
			 -EFAULT);
	assert_int_equal(seen(device[0], p), SEEN_ERROR);
	if (has_memory())
		assert_int_equal(request(device[0], TO_DEVICE, p, scratch, 1,
					 NULL),
				 -ENOENT);
	assert_filled(p, 1, 1);
	munmap(p, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(what_it_writes_is_kept),
		PRIVATE_ONLY(no_fault_is_for_ever),
		PRIVATE_ONLY(no_more_than_48_bits),
		BOTH(secret_memory_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
