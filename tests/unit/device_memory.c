// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * device_memory.c - hmm_dmirror.ko's own memory: no page and no write is lost
 *
 * Devices 0 and 1 have private memory, where the kernel has such, 2 and 3 have
 * coherent memory.  Most of it is the same for both, and what the CPU does with a
 * page is not: it uses a coherent one as any other, and takes a private one back.
 *
 * A page in use holds a reference to the module, so lsmod's count, less the
 * open files, is that of the pages.
 *
 * check: once root
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

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

static int request(int fd, unsigned long what, void *addr, void *buffer,
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
static void move(int fd, unsigned long what, void *addr, size_t pages)
{
	uint64_t done = 0;

	assert_int_equal(request(fd, what, addr, scratch, pages, &done), 0);
	assert_int_equal(done, pages);
}

static unsigned char seen(int fd, void *addr)
{
	unsigned char prot;

	assert_int_equal(request(fd, SNAPSHOT, addr, &prot, 1, NULL), 0);
	return prot;
}

static unsigned long references(void)
{
	FILE *file = fopen("/sys/module/hmm_dmirror/refcnt", "re");
	unsigned long n = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &n), 1);
	fclose(file);
	return n;
}

static unsigned long in_use(void)
{
	return references() - (device[0] >= 0) - (device[1] >= 0);
}

/* The last reference to a page may be dropped a little later. */
static void assert_in_use(unsigned long pages)
{
	while (in_use() != pages)
		usleep(1000);
}

static void fill(char *p, size_t pages, unsigned long salt)
{
	size_t i;

	for (i = 0; i < pages; i++)
		*(unsigned long *)(p + i * PAGE) = i * 7919 + salt;
}

static bool is_filled(const char *p, size_t pages, unsigned long salt)
{
	size_t i;

	for (i = 0; i < pages; i++)
		if (*(unsigned long *)(p + i * PAGE) != i * 7919 + salt)
			return false;
	return true;
}

#define assert_filled(p, pages, salt) assert_true(is_filled(p, pages, salt))

static char *filled(size_t pages, unsigned long salt)
{
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	fill(p, pages, salt);
	return p;
}

static int open_device(int n)
{
	char name[] = "/dev/hmm_dmirror0";

	name[sizeof(name) - 2] += (char)(kind + n);
	return open(name, O_RDWR | O_CLOEXEC);
}

static void close_device(int n)
{
	assert_int_equal(close(device[n]), 0);
	device[n] = -1;
}

static int setup(void)
{
	watchdog(30);
	device[0] = open_device(0);
	device[1] = open_device(1);
	scratch = malloc(SOME * PAGE);
	return 0;
}

static int setup_private(void **state)
{
	(void)state;
	kind = PRIVATE;
	return setup();
}

static int setup_coherent(void **state)
{
	(void)state;
	kind = COHERENT;
	return setup();
}

static int teardown(void **state)
{
	int i;

	(void)state;
	free(scratch);
	for (i = 0; i < 2; i++)
		if (device[i] >= 0)
			close_device(i);
	return 0;
}

static bool has_memory(void)
{
	return request(device[0], RELEASE, NULL, NULL, 1, NULL) != -EOPNOTSUPP;
}

static void need_device(void)
{
	if (device[0] >= 0)
		return;
	print_message("skip: no hmm_dmirror.ko\n");
	skip();
}

static void need_memory(void)
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

static void need_exclusive(void *page)
{
	if (request(device[0], EXCLUSIVE, page, scratch, 1, NULL) !=
	    -EOPNOTSUPP)
		return;
	print_message("skip: the kernel exports no make_device_exclusive()\n");
	skip();
}

/* ---- Any memory --------------------------------------------------------- */

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

/* ---- There and back ----------------------------------------------------- */

static void moves_there_and_back(void **state)
{
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	move(device[0], TO_DEVICE, p, SOME);
	assert_filled(scratch, SOME, 1);
	assert_int_equal(seen(device[0], p), SEEN_LOCAL);
	assert_int_equal(seen(device[1], p + (SOME - 1) * PAGE), SEEN_REMOTE);
	assert_in_use(SOME);

	/* What the CPU writes there the device reads, and the other way. */
	fill(p, SOME, 2);
	move(device[0], DEVICE_READ, p, SOME);
	assert_filled(scratch, SOME, 2);
	fill(scratch, SOME, 3);
	move(device[1], DEVICE_WRITE, p, SOME);
	assert_filled(p, SOME, 3);

	/* Not from the one to the other, nor back by who does not have it. */
	assert_int_equal(request(device[1], TO_DEVICE, p, scratch, SOME, NULL),
			 -ENOENT);
	assert_int_equal(request(device[1], TO_SYSTEM, p, NULL, SOME, NULL), 0);
	assert_in_use(SOME);

	move(device[0], TO_SYSTEM, p, SOME);
	assert_in_use(0);
	assert_int_equal(seen(device[0], p), SEEN_WRITE);
	assert_filled(p, SOME, 3);
	munmap(p, SOME * PAGE);
}

static void holes_stay_holes(void **state)
{
	uint64_t done;
	char *p;

	(void)state;
	need_memory();
	p = map_pages(SOME, PROT_READ | PROT_WRITE);
	assert_int_equal(request(device[0], TO_SYSTEM, p, NULL, SOME, &done),
			 0);
	assert_int_equal(done, 0);
	assert_int_equal(seen(device[0], p), SEEN_NONE);
	/* To the device they go as pages of zeroes. */
	memset(scratch, 1, PAGE);
	move(device[0], TO_DEVICE, p, 1);
	assert_int_equal(*(long *)scratch, 0);
	assert_in_use(1);
	assert_int_equal(*(long *)p, 0);
	munmap(p, SOME * PAGE);
	assert_in_use(0);
}

static void does_without(void **state)
{
	char *p;

	(void)state;
	if (device[0] < 0 || has_memory()) {
		print_message("skip: no device without memory\n");
		skip();
	}
	p = filled(1, 1);
	assert_int_equal(request(device[0], TO_DEVICE, p, scratch, 1, NULL),
			 -EOPNOTSUPP);
	assert_int_equal(request(device[0], TO_SYSTEM, p, scratch, 1, NULL),
			 -EOPNOTSUPP);
	move(device[0], DEVICE_READ, p, 1);
	assert_filled(scratch, 1, 1);
	munmap(p, PAGE);
}

static void refuses(void **state)
{
	uint64_t done;
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	assert_int_equal(request(device[0], TO_DEVICE, p + 1, scratch, 1, NULL),
			 -EINVAL);
	assert_int_equal(request(device[0], TO_DEVICE, p, NULL, 1, NULL),
			 -EFAULT);
	move(device[0], TO_SYSTEM, p, 1);
	munmap(p + PAGE, PAGE);
	assert_int_equal(request(device[0], TO_DEVICE, p, scratch, 2, NULL),
			 -EINVAL);
	mprotect(p, PAGE, PROT_NONE);
	assert_int_equal(request(device[0], TO_SYSTEM, p, NULL, 1, &done),
			 -EINVAL);
	munmap(p, SOME * PAGE);
	assert_in_use(0);
}

/* ---- Private memory, and who wants what is in it ------------------------- */

static int ignore(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	(void)mirror;
	(void)update;
	return 0;
}

static uint64_t pagemap(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	assert_int_equal(pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)),
			 8);
	close(fd);
	return entry;
}

static void the_cpu_takes_it_back(void **state)
{
	int pipes[2];
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	move(device[0], TO_DEVICE, p, SOME);
	assert_filled(scratch, SOME, 1);
	assert_int_equal(seen(device[0], p), SEEN_PRIVATE | SEEN_WRITE);
	assert_int_equal(pagemap(p) >> 63, 0);

	/* The device itself uses it where it is. */
	fill(scratch, SOME, 2);
	move(device[0], DEVICE_WRITE, p, SOME);
	assert_in_use(SOME);

	/* One page for one access, be it the kernel's. */
	assert_filled(p, 1, 2);
	assert_in_use(SOME - 1);
	assert_int_equal(seen(device[0], p), SEEN_WRITE);
	assert_int_equal(pagemap(p) >> 63, 1);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], p + PAGE, PAGE), PAGE);
	assert_int_equal(read(pipes[0], p + 2 * PAGE, PAGE), PAGE);
	close(pipes[0]);
	close(pipes[1]);
	assert_in_use(SOME - 3);
	assert_memory_equal(p + PAGE, p + 2 * PAGE, PAGE);
	fill(p, SOME, 3);
	assert_in_use(0);
	move(device[0], DEVICE_READ, p, SOME);
	assert_filled(scratch, SOME, 3);
	munmap(p, SOME * PAGE);
}

static void another_device_takes_it_back(void **state)
{
	uint64_t done;
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	move(device[0], TO_DEVICE, p, SOME);
	assert_int_equal(seen(device[1], p), SEEN_NONE);
	assert_int_equal(request(device[1], TO_DEVICE, p, scratch, SOME, NULL),
			 -ENOENT);
	assert_int_equal(request(device[1], TO_SYSTEM, p, NULL, SOME, &done),
			 0);
	assert_int_equal(done, 0);
	assert_in_use(SOME);

	fill(scratch, SOME, 2);
	move(device[1], DEVICE_WRITE, p, SOME / 2);
	assert_in_use(SOME - SOME / 2);
	move(device[1], DEVICE_READ, p, SOME);
	assert_in_use(0);
	assert_filled(p, SOME / 2, 2);
	munmap(p, SOME * PAGE);
}

/* Who is not the owner, /dev/hmm for one, finds nothing there. */
static void not_there_for_others(void **state)
{
	uint64_t pfns[SOME];
	struct hmm_range range;
	struct hmm_mirror mirror = {
		.ops =
			&(const struct hmm_mirror_ops){
				.sync_cpu_device_pagetables = ignore },
	};
	struct mm_struct *mm;
	size_t i;
	char *p;

	(void)state;
	need_memory();
	mm = attach();
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&mirror, mm), 0);
	mmap_write_unlock(mm);
	p = filled(SOME, 1);
	range_start(&range, mm, p, SOME, pfns, DEV_VALID | DEV_WRITE);
	assert_int_equal(range_fault_until_valid(&range, mm), SOME);
	move(device[0], TO_DEVICE, p, SOME);
	assert_false(range_valid_soon(&range));
	assert_int_equal(range_snapshot(&range, mm), SOME);
	for (i = 0; i < SOME; i++)
		assert_int_equal(pfns[i], DEV_NONE);
	assert_in_use(SOME);

	/* Requests, for that matter, were read from what it had found. */
	assert_int_equal(range_fault_until_valid(&range, mm), SOME);
	for (i = 0; i < SOME; i++) {
		assert_int_equal(pfns[i] &
					 (DEV_VALID | DEV_WRITE | DEV_PRIVATE),
				 DEV_VALID | DEV_WRITE);
		assert_int_equal(hmm_pfn_to_pfn(&range, pfns[i]),
				 pagemap(p + i * PAGE) << 9 >> 9);
	}
	assert_in_use(0);
	assert_filled(p, SOME, 1);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	munmap(p, SOME * PAGE);
}

/* A page that is shared since a fork is no place for the device to write to. */
static void a_fork_has_its_own(void **state)
{
	int up[2], down[2], status;
	char *p, c = 0;
	pid_t pid;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	move(device[0], TO_DEVICE, p, SOME);
	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	pid = fork();
	if (!pid) {
		int fd = open_device(0);

		if (seen(fd, p) != (SEEN_PRIVATE | SEEN_READ) ||
		    write(up[1], &c, 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(1);
		_exit(request(fd, DEVICE_READ, p, scratch, SOME, NULL) ||
		      !is_filled(scratch, SOME, 1) || !is_filled(p, SOME, 1));
	}
	assert_int_equal(read(up[0], &c, 1), 1);
	/* To read nothing need be moved. */
	move(device[0], DEVICE_READ, p, SOME);
	assert_filled(scratch, SOME, 1);
	assert_int_equal(seen(device[0], p), SEEN_PRIVATE | SEEN_READ);
	fill(scratch, SOME, 2);
	move(device[0], DEVICE_WRITE, p, SOME);
	assert_int_equal(write(down[1], &c, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_filled(p, SOME, 2);
	assert_in_use(0);
	munmap(p, SOME * PAGE);
	close(up[0]);
	close(up[1]);
	close(down[0]);
	close(down[1]);
}

static void the_owner_changes_it(void **state)
{
	char *p, *q;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	q = quiet_address(SOME * PAGE);
	move(device[0], TO_DEVICE, p, SOME);
	assert_ptr_equal(mremap(p, SOME * PAGE, SOME * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, q),
			 q);
	assert_int_equal(request(device[0], DEVICE_READ, p, scratch, 1, NULL),
			 -EFAULT);
	move(device[0], DEVICE_READ, q, SOME);
	assert_filled(scratch, SOME, 1);

	mprotect(q, SOME * PAGE, PROT_READ);
	assert_int_equal(request(device[0], DEVICE_WRITE, q, scratch, 1, NULL),
			 -EPERM);
	move(device[0], DEVICE_READ, q, SOME);
	assert_in_use(SOME);
	mprotect(q, SOME * PAGE, PROT_READ | PROT_WRITE);

	madvise(q, SOME / 2 * PAGE, MADV_DONTNEED);
	assert_in_use(SOME - SOME / 2);
	move(device[0], DEVICE_READ, q, 1);
	assert_int_equal(*(unsigned long *)scratch, 0);
	munmap(q, (SOME - 1) * PAGE);
	assert_in_use(1);
	assert_int_equal(*(unsigned long *)(q + (SOME - 1) * PAGE),
			 (SOME - 1) * 7919 + 1);
	assert_in_use(0);
	munmap(q, SOME * PAGE);
}

static unsigned long kib_available(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	assert_non_null(file);
	while (!kib && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %lu", &kib);
	fclose(file);
	return kib;
}

/* What the device keeps of a page goes with it. */
static void nothing_is_kept(void **state)
{
	const unsigned long moved = SOME * PAGE / 1024, rounds = 64;
	unsigned long before, i;
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	before = kib_available();
	for (i = 0; i < rounds; i++) {
		move(device[0], TO_DEVICE, p, SOME);
		fill(p, SOME, i);
	}
	assert_in_use(0);
	assert_true(kib_available() + rounds * moved / 2 > before);
	munmap(p, SOME * PAGE);
}

/* ---- Where pages go ----------------------------------------------------- */

/* What a child does with pages of the device before it is gone. */
enum end {
	END_EXIT,
	END_UNMAP,
	END_EXEC,
	END_KILLED,
};

static void child(enum end end, int up)
{
	char *const argv[] = { "/bin/true", NULL };
	int fd = open_device(0);
	char *p = filled(SOME, 1);

	int ret = request(fd, TO_DEVICE, p, scratch, SOME, NULL);

	if (ret) {
		print_error("TO_DEVICE: %s\n", strerror(-ret));
		_exit(1);
	}
	/* A copy of the child's own, of what is still in the device. */
	if (!fork())
		_exit(*(unsigned long *)p != 1);
	if (end == END_UNMAP)
		munmap(p, SOME * PAGE);
	if (write(up, "", 1) != 1)
		_exit(1);
	if (end == END_EXEC)
		execv(argv[0], argv);
	while (end == END_KILLED)
		pause();
	_exit(0);
}

static void pages_come_back(void **state)
{
	enum end end;
	int up[2];
	char c;

	(void)state;
	need_memory();
	for (end = END_EXIT; end <= END_KILLED; end++) {
		pid_t pid;

		assert_int_equal(pipe(up), 0);
		pid = fork();
		if (!pid)
			child(end, up[1]);
		close(up[1]);
		assert_int_equal(read(up[0], &c, 1), 1);
		close(up[0]);
		if (end == END_KILLED)
			kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_in_use(0);
	}
}

static void memory_runs_out(void **state)
{
	size_t i, more = SOME, all = MEMORY_PAGES + more;
	int ret = 0;
	char *p;

	(void)state;
	need_memory();
	p = filled(all, 5);
	for (i = 0; i < all && !ret; i += SOME)
		ret = request(device[1], TO_DEVICE, p + i * PAGE, scratch, SOME,
			      NULL);
	assert_int_equal(ret, -ENOMEM);
	assert_int_equal(i, all);
	assert_in_use(MEMORY_PAGES);
	assert_filled(p, all, 5);
	/* What it has it can still use. */
	move(device[1], TO_DEVICE, p, SOME);
	munmap(p, all * PAGE);
	assert_in_use(0);
}

/* Of anyone's memory. */
static void release_moves_all(void **state)
{
	int up[2], down[2], status;
	char *p, c = 0;
	pid_t pid;

	(void)state;
	need_memory();
	p = filled(SOME, 1);
	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	move(device[0], TO_DEVICE, p, SOME);
	pid = fork();
	if (!pid) {
		int fd = open_device(0);

		p = filled(SOME, 9);
		if (request(fd, TO_DEVICE, p, scratch, SOME, NULL) ||
		    write(up[1], &c, 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(1);
		_exit(seen(fd, p) != SEEN_WRITE ||
		      *(unsigned long *)(p + PAGE) != 7919 + 9);
	}
	assert_int_equal(read(up[0], &c, 1), 1);
	assert_int_equal(request(device[0], RELEASE, p, NULL, 1, NULL), 0);
	/* The child's file. */
	assert_in_use(1);
	assert_int_equal(write(down[1], &c, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_filled(p, SOME, 1);
	munmap(p, SOME * PAGE);
	close(up[0]);
	close(up[1]);
	close(down[0]);
	close(down[1]);
}

/* ---- Leaving ------------------------------------------------------------ */

static void last_close_moves_all(void **state)
{
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 4);
	move(device[0], TO_DEVICE, p, SOME);
	close_device(0);
	assert_in_use(0);
	assert_filled(p, SOME, 4);
	munmap(p, SOME * PAGE);
}

static void pinned_page_keeps_the_module(void **state)
{
	struct iovec iov;
	int pipes[2];
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 4);
	iov = (struct iovec){ p + PAGE, PAGE };
	assert_int_equal(pipe(pipes), 0);
	move(device[0], TO_DEVICE, p, SOME);
	assert_int_equal(vmsplice(pipes[1], &iov, 1, 0), PAGE);
	assert_int_equal(request(device[0], RELEASE, p, NULL, 1, NULL), -EBUSY);
	assert_in_use(1);
	close_device(0);
	close_device(1);
	assert_in_use(1);
	assert_int_equal(syscall(SYS_delete_module, "hmm_dmirror", O_NONBLOCK),
			 -1);
	assert_int_equal(errno, EWOULDBLOCK);
	munmap(p, SOME * PAGE);
	assert_in_use(1);
	assert_int_equal(read(pipes[0], scratch, PAGE), PAGE);
	assert_int_equal(*(unsigned long *)scratch, 7919 + 4);
	assert_in_use(0);
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- To ourselves ------------------------------------------------------- */

static void exclusive_until_used(void **state)
{
	char *p;

	(void)state;
	need_memory();
	p = filled(SOME, 6);
	need_exclusive(p);
	move(device[0], EXCLUSIVE, p, SOME);
	assert_filled(scratch, SOME, 6);
	assert_int_equal(request(device[0], CHECK_EXCLUSIVE, p, NULL, SOME,
				 NULL),
			 -EPERM);
	/* By the CPU, by the other device, by who discards it. */
	assert_int_equal(*(unsigned long *)p, 6);
	move(device[1], DEVICE_READ, p + PAGE, 1);
	assert_int_equal(*(unsigned long *)scratch, 7919 + 6);
	madvise(p + 2 * PAGE, (SOME - 2) * PAGE, MADV_DONTNEED);
	assert_int_equal(
		request(device[0], CHECK_EXCLUSIVE, p, NULL, SOME, NULL), 0);
	munmap(p, SOME * PAGE);
}

/* ---- All at once -------------------------------------------------------- */

#define CONTESTED 8ul

static char *contested;
static atomic_bool stop;
static atomic_ulong moves, accesses, wrong;

static unsigned long number(unsigned int *seed, unsigned long max)
{
	return (unsigned long)rand_r(seed) % max;
}

static void *mover(void *arg)
{
	const unsigned long ways[] = { TO_DEVICE, TO_SYSTEM, EXCLUSIVE };
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	char buffer[PAGE];

	while (!stop) {
		int fd = device[number(&seed, 2)];
		unsigned long what = ways[number(&seed, 3)];
		unsigned long i = number(&seed, CONTESTED);

		/* It may be used just now, or be at the other device. */
		moves += !request(fd, what, contested + i * PAGE, buffer, 1,
				  NULL);
	}
	return NULL;
}

static void *forker(void *arg)
{
	pid_t pid;

	while (!stop) {
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		usleep(1000);
	}
	return arg;
}

/* -EBUSY: it changed too often meanwhile. */
static void use(int fd, unsigned long what, void *addr, unsigned long *buffer)
{
	int ret;

	do {
		ret = request(fd, what, addr, buffer, 1, NULL);
	} while (ret == -EBUSY);
	accesses++;
	wrong += ret != 0;
}

/* The only one to write this page: by a device or itself, any may read it. */
static void *writer(void *arg)
{
	unsigned long page = (uintptr_t)arg, n, buffer[PAGE / sizeof(long)];
	volatile unsigned long *word =
		(volatile unsigned long *)(contested + page * PAGE);
	unsigned int seed = (unsigned int)page;

	for (n = 1; !stop; n++) {
		buffer[0] = n;
		if (number(&seed, 2))
			*word = n;
		else
			use(device[number(&seed, 2)], DEVICE_WRITE,
			    contested + page * PAGE, buffer);
		wrong += *word != n;
		buffer[0] = 0;
		use(device[number(&seed, 2)], DEVICE_READ,
		    contested + page * PAGE, buffer);
		wrong += buffer[0] != n;

		/* And what is discarded is gone for the devices, too. */
		if (number(&seed, 4))
			continue;
		madvise(contested + page * PAGE, PAGE, MADV_DONTNEED);
		use(device[number(&seed, 2)], DEVICE_READ,
		    contested + page * PAGE, buffer);
		wrong += buffer[0] != 0;
	}
	return NULL;
}

static void no_write_is_lost(void **state)
{
	pthread_t thread[8];
	unsigned long i, n = 0;

	(void)state;
	need_memory();
	stop = false;
	moves = accesses = wrong = 0;
	contested = filled(CONTESTED, 0);
	for (i = 0; i < 4; i++)
		pthread_create(&thread[n++], NULL, writer,
			       (void *)(uintptr_t)(i * 2));
	for (i = 1; i < 4; i++)
		pthread_create(&thread[n++], NULL, mover, (void *)i);
	pthread_create(&thread[n++], NULL, forker, NULL);
	sleep(is_slow() ? 10 : 3);
	/* Enough to mean something, however long that takes. */
	while (moves <= 100 || accesses <= 100)
		usleep(100000);
	stop = true;
	while (n)
		pthread_join(thread[--n], NULL);
	print_message("%lu pages moved, %lu accesses, %lu wrong\n", moves,
		      accesses, wrong);
	assert_int_equal(wrong, 0);
	munmap(contested, CONTESTED * PAGE);
	assert_in_use(0);
}

/* ---- A claim and a change ------------------------------------------------ */

static void *claimer(void *arg)
{
	char buffer[PAGE];

	while (!stop)
		moves += !request(device[0], EXCLUSIVE, contested, buffer, 1,
				  NULL);
	return arg;
}

/* Whoever wants the device's lock has to wait, a claimer that is done too. */
static void *hog(void *arg)
{
	char prots[512];

	while (!stop)
		request(device[0], SNAPSHOT, arg, prots, sizeof(prots), NULL);
	return NULL;
}

static void claim_is_not_late(void **state)
{
	unsigned long i, n, buffer[PAGE / sizeof(long)];
	time_t end = time(NULL) + (is_slow() ? 10 : 3);
	pthread_t thread[4];
	char *other;

	(void)state;
	need_memory();
	stop = false;
	moves = accesses = wrong = 0;
	contested = filled(1, 0);
	need_exclusive(contested);
	other = filled(512, 0);
	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, i < 2 ? claimer : hog, other);
	for (n = 1; time(NULL) < end; n++) {
		*(volatile unsigned long *)contested = n;
		madvise(contested, PAGE, MADV_DONTNEED);
		use(device[0], DEVICE_READ, contested, buffer);
		wrong += buffer[0] != 0;
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	print_message("%lu claims, %lu accesses, %lu wrong\n", moves, accesses,
		      wrong);
	assert_int_equal(wrong, 0);
	munmap(contested, PAGE);
	munmap(other, 512 * PAGE);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(what_it_writes_is_kept),
		PRIVATE_ONLY(no_fault_is_for_ever),
		PRIVATE_ONLY(no_more_than_48_bits),
		BOTH(secret_memory_is_kept),
		COHERENT_ONLY(moves_there_and_back),
		PRIVATE_ONLY(the_cpu_takes_it_back),
		PRIVATE_ONLY(another_device_takes_it_back),
		PRIVATE_ONLY(not_there_for_others),
		PRIVATE_ONLY(a_fork_has_its_own),
		PRIVATE_ONLY(the_owner_changes_it),
		PRIVATE_ONLY(nothing_is_kept),
		PRIVATE_ONLY(does_without),
		BOTH(holes_stay_holes),
		BOTH(refuses),
		BOTH(pages_come_back),
		BOTH(memory_runs_out),
		BOTH(release_moves_all),
		BOTH(last_close_moves_all),
		COHERENT_ONLY(pinned_page_keeps_the_module),
		BOTH(exclusive_until_used),
		BOTH(claim_is_not_late),
		BOTH(no_write_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
