/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * kernel_device.h - requests to hmm_dmirror.ko
 *
 * Devices 0 and 1 have private memory, where the kernel has such, 2 and 3 have
 * coherent memory.  Most of it is the same for both, and what the CPU does with a
 * page is not: it uses a coherent one as any other, and takes a private one back.
 *
 * A page in use holds a reference to the module, so lsmod's count, less the
 * open files, is that of the pages.
 */
#ifndef TESTS_KERNEL_DEVICE_H
#define TESTS_KERNEL_DEVICE_H

#include <fcntl.h>
#include <sys/ioctl.h>

#include "support.h"

struct cmd {
	uint64_t addr, ptr, npages, cpages, faults;
};

#define DEVICE_READ _IOWR('H', 0, struct cmd)
#define DEVICE_WRITE _IOWR('H', 1, struct cmd)
#define TO_DEVICE _IOWR('H', 2, struct cmd)
#define TO_SYSTEM _IOWR('H', 3, struct cmd)
#define SNAPSHOT _IOWR('H', 4, struct cmd)
#define EXCLUSIVE _IOWR('H', 5, struct cmd)
#define CHECK_EXCLUSIVE _IOWR('H', 6, struct cmd)
#define RELEASE _IOWR('H', 7, struct cmd)

#define SEEN_ERROR 0xff
#define SEEN_NONE 0x00
#define SEEN_READ 0x01
#define SEEN_WRITE 0x02
#define SEEN_PRIVATE 0x20
#define SEEN_LOCAL 0x42
#define SEEN_REMOTE 0x52

#define MEMORY_PAGES 16384ul /* that a device has */
#define SOME 256ul

/* The first of the two devices. */
static enum { PRIVATE = 0, COHERENT = 2 } kind;
static int device[2] = { -1, -1 };
static char *scratch;

static inline int request(int fd, unsigned long what, void *addr, void *buffer,
			  size_t pages, uint64_t *done)
{
	struct cmd cmd = { (uintptr_t)addr, (uintptr_t)buffer, pages, 0, 0 };

	if (ioctl(fd, what, &cmd))
		return -errno;
	if (done)
		*done = cmd.cpages;
	return 0;
}

/* Both ways; all of it. */
static inline void move(int fd, unsigned long what, void *addr, size_t pages)
{
	uint64_t done = 0;

	assert_int_equal(request(fd, what, addr, scratch, pages, &done), 0);
	assert_int_equal(done, pages);
}

static inline unsigned char seen(int fd, void *addr)
{
	unsigned char prot;

	assert_int_equal(request(fd, SNAPSHOT, addr, &prot, 1, NULL), 0);
	return prot;
}

static inline unsigned long references(void)
{
	FILE *file = fopen("/sys/module/hmm_dmirror/refcnt", "re");
	unsigned long n = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &n), 1);
	fclose(file);
	return n;
}

static inline unsigned long in_use(void)
{
	return references() - (device[0] >= 0) - (device[1] >= 0);
}

/* The last reference to a page may be dropped a little later. */
static inline void assert_in_use(unsigned long pages)
{
	while (in_use() != pages)
		usleep(1000);
}

static inline void fill(char *p, size_t pages, unsigned long salt)
{
	size_t i;

	for (i = 0; i < pages; i++)
		*(unsigned long *)(p + i * PAGE) = i * 7919 + salt;
}

static inline bool is_filled(const char *p, size_t pages, unsigned long salt)
{
	size_t i;

	for (i = 0; i < pages; i++)
		if (*(unsigned long *)(p + i * PAGE) != i * 7919 + salt)
			return false;
	return true;
}

#define assert_filled(p, pages, salt) assert_true(is_filled(p, pages, salt))

static inline char *filled(size_t pages, unsigned long salt)
{
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	fill(p, pages, salt);
	return p;
}

static inline int open_device(int n)
{
	char name[] = "/dev/hmm_dmirror0";

	name[sizeof(name) - 2] += (char)(kind + n);
	return open(name, O_RDWR | O_CLOEXEC);
}

static inline void close_device(int n)
{
	assert_int_equal(close(device[n]), 0);
	device[n] = -1;
}

static inline int setup(void)
{
	watchdog(30);
	device[0] = open_device(0);
	device[1] = open_device(1);
	scratch = malloc(SOME * PAGE);
	return 0;
}

static inline int setup_private(void **state)
{
	(void)state;
	kind = PRIVATE;
	return setup();
}

static inline int setup_coherent(void **state)
{
	(void)state;
	kind = COHERENT;
	return setup();
}

static inline int teardown(void **state)
{
	int i;

	(void)state;
	free(scratch);
	for (i = 0; i < 2; i++)
		if (device[i] >= 0)
			close_device(i);
	return 0;
}

static inline bool has_memory(void)
{
	return request(device[0], RELEASE, NULL, NULL, 1, NULL) != -EOPNOTSUPP;
}

static inline void need_device(void)
{
	if (device[0] >= 0)
		return;
	print_message("skip: no hmm_dmirror.ko\n");
	skip();
}

static inline void need_memory(void)
{
	if (device[1] >= 0 && has_memory())
		return;
	if (device[1] < 0)
		print_message("skip: no hmm_dmirror.ko%s\n",
			      kind == COHERENT ? " with hidden memory" : "");
	else
		print_message("skip: no private device memory\n");
	skip();
}

static inline void need_exclusive(void *page)
{
	if (request(device[0], EXCLUSIVE, page, scratch, 1, NULL) !=
	    -EOPNOTSUPP)
		return;
	print_message("skip: the kernel exports no make_device_exclusive()\n");
	skip();
}

#define PRIVATE_ONLY(test)                                         \
	{                                                          \
		"private_" #test, test, setup_private, teardown, 0 \
	}
#define COHERENT_ONLY(test)                                          \
	{                                                            \
		"coherent_" #test, test, setup_coherent, teardown, 0 \
	}
#define BOTH(test) PRIVATE_ONLY(test), COHERENT_ONLY(test)

#endif
