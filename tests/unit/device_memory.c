// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * device_memory.c - hmm_dmirror.ko's own memory: pages go there and come back
 *
 * check: once root
 */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kernel_device.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
