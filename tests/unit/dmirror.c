// SPDX-License-Identifier: MIT OR GPL-2.0
/* dmirror.c - the software device: every command, every kind of memory */
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "device.h"

#include "internal.h"

#define LEN (32 * PAGE)

static struct mm_struct *mm;
static struct dmirror *dm;

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	mm = attach();
	dm = device(mm, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(device_destroy(dm), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	watchdog(0);
	return 0;
}

/* ---- Every command, on this memory --------------------------------------- */

static void pattern(unsigned char *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (unsigned char)(rand_r(&seed) >> 7);
}

static uint64_t fnv1a(const unsigned char *p, size_t len)
{
	uint64_t hash = 14695981039346656037u;

	while (len--)
		hash = (hash ^ *p++) * 1099511628211u;
	return hash;
}

/* What the device reads is what is there, from any address to any other. */
static void exercise_reads(const unsigned char *p, size_t len)
{
	static const size_t offs[] = { 0, 1, 7, PAGE - 1, PAGE, 2 * PAGE - 3 };
	unsigned char *buf = malloc(len);
	uint64_t sum;
	size_t i, n;

	for (i = 0; i < sizeof(offs) / sizeof(*offs); i++) {
		for (n = 1; offs[i] + n <= len; n = n * 7 + 1) {
			memset(buf, 0xee, n);
			assert_int_equal(dev_read(dm, p + offs[i], buf, n), 0);
			assert_memory_equal(p + offs[i], buf, n);
		}
	}
	assert_int_equal(dev_read(dm, p, buf, len), 0);
	assert_memory_equal(p, buf, len);
	assert_int_equal(dev_checksum(dm, p + 1, len - 2, &sum), 0);
	assert_int_equal(sum, fnv1a(p + 1, len - 2));
	free(buf);
}

static void exercise(unsigned char *p, size_t len)
{
	unsigned char *buf = malloc(len), *want = malloc(len);
	const size_t part = len / 2 - 13;
	uint64_t before, old;

	pattern(p, len, 1);
	exercise_reads(p, len);

	pattern(buf, len, 2);
	memcpy(want, p, len);
	memcpy(want + 5, buf, part);
	assert_int_equal(dev_write(dm, p + 5, buf, part), 0);
	assert_memory_equal(p, want, len);

	memcpy(want + len - part, want + 3, part);
	assert_int_equal(dev_copy(dm, p + len - part, p + 3, part), 0);
	assert_memory_equal(p, want, len);

	memset(want + PAGE - 1, 0xa5, PAGE + 2);
	assert_int_equal(dev_fill(dm, p + PAGE - 1, 0xa5, PAGE + 2), 0);
	assert_memory_equal(p, want, len);

	/* Across a page's end, and odd. */
	memcpy(&before, p + PAGE - 3, sizeof(before));
	assert_int_equal(dev_add(dm, p + PAGE - 3, 0x100000001, &old), 0);
	assert_int_equal(old, before);
	before += 0x100000001;
	assert_memory_equal(p + PAGE - 3, &before, sizeof(before));

	/* And the CPUs' writes are seen, whatever the device has mapped. */
	pattern(p, len, 3);
	exercise_reads(p, len);
	free(want);
	free(buf);
	assert_not_stale(dm);
}

static void on_anonymous(void **state)
{
	unsigned char *p = (void *)map_pages(32, PROT_READ | PROT_WRITE);

	(void)state;
	exercise(p, LEN);
	munmap(p, LEN);
}

static void on_never_touched(void **state)
{
	char *p = map_pages(32, PROT_READ | PROT_WRITE);
	static const char zeroes[LEN];
	static char buf[LEN];
	uint64_t old;

	(void)state;
	memset(buf, 1, LEN);
	assert_int_equal(dev_read(dm, p, buf, LEN), 0);
	assert_memory_equal(buf, zeroes, LEN);
	/* Now the zero page has to give way. */
	assert_int_equal(dev_add(dm, p, 42, &old), 0);
	assert_int_equal(old, 0);
	assert_int_equal(*p, 42);
	assert_not_stale(dm);
	munmap(p, LEN);
}

static void on_huge_pages(void **state)
{
	const size_t size = 4ul << 20;
	char *map = map_pages(3 * size / 2 / PAGE, PROT_READ | PROT_WRITE);
	char *p = (char *)(((unsigned long)map + PT_HUGE_SIZE - 1) &
			   ~(PT_HUGE_SIZE - 1));
	struct dmirror_stats stats;
	int tries = 10;

	(void)state;
	if (madvise(p, size, MADV_HUGEPAGE))
		print_message("no transparent huge pages here\n");
	exercise((unsigned char *)p, size);

	/*
	 * A device that knows nothing takes a fault a window; or more, if
	 * something else, like a migration, changes the memory meanwhile.
	 */
	do {
		assert_true(tries--);
		madvise(p, size, MADV_DONTNEED);
		memset(p, 1, size);
		assert_int_equal(device_destroy(dm), 0);
		dm = device(mm, NULL);
		assert_int_equal(dev_fill(dm, p, 7, size), 0);
		stats = stats_of(dm);
	} while (stats.faults != 2 || stats.mapped_bytes != size);
	assert_int_equal(stats.faulted_pages, size / PAGE);
	print_message("huge entries: %lu of 2\n", stats.huge_entries);

	/* Half of one goes: the rest is still right. */
	munmap(p + PAGE, PAGE);
	assert_int_equal(dev_fill(dm, p, 8, PAGE), 0);
	assert_int_equal(dev_fill(dm, p + 2 * PAGE, 8, size - 2 * PAGE), 0);
	assert_int_equal(dev_fill(dm, p, 8, size), -EFAULT);
	assert_not_stale(dm);
	munmap(map, 3 * size / 2);
}

static void on_hugetlb(void **state)
{
	unsigned char *p =
		mmap(NULL, PT_HUGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	(void)state;
	if (p == MAP_FAILED) {
		print_message("skip: no huge page to be had; "
			      "echo 4 > /proc/sys/vm/nr_hugepages\n");
		skip();
	}
	/* It's there only if somebody reserved it and nobody took it. */
	if (madvise(p, PAGE, MADV_POPULATE_WRITE)) {
		munmap(p, PT_HUGE_SIZE);
		skip();
	}
	exercise(p, PT_HUGE_SIZE);
	munmap(p, PT_HUGE_SIZE);
}

static void on_shared(void **state)
{
	unsigned char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int id = shmget(IPC_PRIVATE, LEN, IPC_CREAT | 0600);

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	exercise(p, LEN);
	munmap(p, LEN);

	assert_true(id >= 0);
	p = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	assert_ptr_not_equal(p, (void *)-1);
	exercise(p, LEN);
	shmdt(p);
}

static void on_files(void **state)
{
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	char name[] = "/tmp/hmm-dmirror-XXXXXX";
	int fd[2] = { memfd_create("dmirror", MFD_CLOEXEC), mkstemp(name) };
	unsigned int i;

	(void)state;
	unlink(name);
	for (i = 0; i < 4; i++) {
		unsigned char *p;

		assert_int_equal(ftruncate(fd[i / 2], LEN), 0);
		p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, flags[i % 2],
			 fd[i / 2], 0);
		assert_ptr_not_equal(p, MAP_FAILED);
		exercise(p, LEN);
		munmap(p, LEN);
	}
	close(fd[0]);
	close(fd[1]);
}

static void on_program(void **state)
{
	static unsigned char data[LEN] = { 1 };
	unsigned char stack[LEN], *heap = malloc(LEN);

	(void)state;
	exercise(data, LEN);
	exercise(stack, LEN);
	exercise(heap, LEN);
	free(heap);
	exercise_reads((const unsigned char *)&exercise_reads, 64);
}

/* ---- What can't be had ---------------------------------------------------- */

static void errors(void **state)
{
	const int rw = PROT_READ | PROT_WRITE;
	char *p = map_pages(16, rw), *ro = map_pages(4, rw), buf[64];
	struct dmirror_op op = { .type = DMIRROR_READ,
				 .addr = (unsigned long)p,
				 .len = 4 * PAGE,
				 .buf = malloc(4 * PAGE) };
	uint64_t old;
	int fd;

	(void)state;
	memset(p, 1, 16 * PAGE);
	memset(ro, 1, 4 * PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_NONE);
	munmap(p + 8 * PAGE, PAGE);
	mprotect(ro, 4 * PAGE, PROT_READ);

	/* It stops at the bad page, and says where that is. */
	assert_int_equal(dmirror_run(dm, &op), -EPERM);
	assert_int_equal(op.bytes, 2 * PAGE);
	op.addr = (unsigned long)p + 5 * PAGE + 1;
	assert_int_equal(dmirror_run(dm, &op), -EFAULT);
	assert_int_equal(op.bytes, 3 * PAGE - 1);

	assert_int_equal(dev_read(dm, p + 2 * PAGE, buf, 1), -EPERM);
	assert_int_equal(dev_fill(dm, p + 2 * PAGE, 1, 1), -EPERM);
	assert_int_equal(dev_read(dm, p + 8 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(dev_write(dm, p + 8 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(dev_add(dm, p + 8 * PAGE - 4, 1, &old), -EFAULT);
	assert_int_equal(dev_read(dm, NULL, buf, 1), -EFAULT);

	assert_int_equal(dev_read(dm, ro, buf, 64), 0);
	assert_int_equal(dev_write(dm, ro, buf, 64), -EPERM);
	assert_int_equal(dev_fill(dm, ro, 1, 1), -EPERM);
	assert_int_equal(dev_copy(dm, ro, p, 64), -EPERM);
	assert_int_equal(dev_add(dm, ro, 1, &old), -EPERM);

	/* Beyond the end of a file, there is a vma but no page. */
	fd = memfd_create("dmirror", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_ptr_equal(mmap(p, 2 * PAGE, rw, MAP_SHARED | MAP_FIXED, fd, 0),
			 p);
	assert_int_equal(dev_fill(dm, p, 1, PAGE), 0);
	assert_int_equal(dev_fill(dm, p + PAGE, 1, 1), -EFAULT);
	close(fd);

	/* The other side of a command can be bad, too: no crash. */
	assert_int_equal(dev_read(dm, ro, p + 8 * PAGE, 64), -EFAULT);
	assert_int_equal(dev_write(dm, p, p + 8 * PAGE, 64), -EFAULT);
	assert_int_equal(dev_read(dm, ro, ro, 64), -EFAULT);

	free(op.buf);
	assert_not_stale(dm);
	munmap(p, 16 * PAGE);
	munmap(ro, 4 * PAGE);
}

static void bad_arguments(void **state)
{
	struct dmirror_opts opts = { .max_tables = 3 };
	struct dmirror *other = NULL;
	char buf[64];
	uint64_t old;

	(void)state;
	assert_int_equal(dev_read(dm, buf, buf, 0), 0);
	assert_int_equal(dev_read(dm, NULL, NULL, 0), 0);
	assert_int_equal(dev_read(dm, buf, NULL, 1), -EINVAL);
	assert_int_equal(dev_read(dm, (void *)-16ul, buf, 32), -EINVAL);
	assert_int_equal(dev_read(dm, (void *)(1ul << 63), buf, 1), -EINVAL);
	assert_int_equal(dev_read(dm, buf, buf, ~0ul), -EINVAL);
	assert_int_equal(dev_copy(dm, buf, buf + 1, 8), -EINVAL);
	assert_int_equal(dev_copy(dm, (void *)-16ul, buf, 32), -EINVAL);
	assert_int_equal(dev_add(NULL, buf, 1, &old), -EINVAL);
	assert_int_equal(dmirror_submit(dm, NULL), -EINVAL);
	assert_int_equal(dmirror_submit(dm, &(struct dmirror_op){ .type = 77 }),
			 -EINVAL);
	assert_int_equal(
		dmirror_submit(dm, &(struct dmirror_op){ .type = DMIRROR_ADD,
							 .len = 4 }),
		-EINVAL);
	assert_int_equal(dmirror_create(NULL, mm, NULL), -EINVAL);
	assert_int_equal(dmirror_create(&other, NULL, NULL), -EINVAL);
	assert_int_equal(dmirror_create(&other, mm, &opts), -EINVAL);
	opts = (struct dmirror_opts){ .engines = 65 };
	assert_int_equal(dmirror_create(&other, mm, &opts), -EINVAL);
	opts = (struct dmirror_opts){ .window_pages = 513 };
	assert_int_equal(dmirror_create(&other, mm, &opts), -EINVAL);
	assert_int_equal(device_destroy(NULL), 0);
}

/* More memory than the page table has room for: it starts anew, and goes on. */
static void small_page_table(void **state)
{
	/* Windows too small for huge entries, which need no table. */
	const struct dmirror_opts opts = { .max_tables = 4,
					   .window_pages = 256 };
	char *p = map_touched(1024);
	char *q = (char *)(((unsigned long)p | (PT_HUGE_SIZE - 1)) + 1);
	struct dmirror_stats stats;
	uint64_t old;

	(void)state;
	device_destroy(dm);
	dm = device(mm, &opts);
	assert_int_equal(dev_fill(dm, p, 1, 1024 * PAGE), 0);
	assert_int_equal(p[0] + p[1024 * PAGE - 1], 2);
	stats = stats_of(dm);
	assert_true(stats.evictions >= 1);
	assert_true(stats.tables <= 4);
	/* Both pages at once need a table more than there is. */
	assert_int_equal(dev_add(dm, q - 4, 1, &old), -EBUSY);
	munmap(p, 1024 * PAGE);
}

/* ---- The oracle can find something ---------------------------------------- */

/* Of a page that is somewhere else; without PFNs, of one that is nowhere. */
#define WRONG (1ull << PTE_PFN_SHIFT | PTE_VALID | PTE_WRITE)

static void plant(const void *p)
{
	uint64_t entry = WRONG;

	pthread_rwlock_wrlock(&dm->lock);
	assert_int_equal(pt_map(&dm->pt, (unsigned long)p, &entry, 1), 0);
	pthread_rwlock_unlock(&dm->lock);
}

static unsigned int told_stale;

static void count_stale(void *ctx, const struct dmirror_event *event)
{
	if (event->type == DMIRROR_EVENT_STALE && event->start == *(ulong *)ctx)
		told_stale++;
}

static void oracle_finds_stale(void **state)
{
	char *p = map_touched(2), buf[8];
	unsigned long addr = (unsigned long)p;
	struct dmirror_opts opts = { .event = count_stale, .event_ctx = &addr };
	struct dmirror_stats stats;

	(void)state;
	device_destroy(dm);
	dm = device(mm, &opts);
	told_stale = 0;

	if (dm->presence)
		madvise(p, PAGE, MADV_DONTNEED);
	settle(mm);
	/* Again, if a change, like a migration, has taken it away before. */
	do
		plant(p);
	while (!dmirror_verify(dm, ~0ul));
	stats = stats_of(dm);
	assert_int_equal(stats.stale, 1);
	assert_int_equal(stats.last_stale.addr, addr);
	assert_false(stats.last_stale.access);
	assert_int_equal(told_stale, 1);
	/* The device has dropped it. */
	assert_int_equal(dmirror_verify(dm, ~0ul), 0);
	assert_int_equal(dev_read(dm, p, buf, 8), 0);

	/* An access through a translation of what is not there. */
	munmap(p, PAGE);
	assert_int_equal(dev_read(dm, p, buf, 8), -EFAULT);
	assert_int_equal(stats_of(dm).stale, 1);
	settle(mm);
	plant(p);
	assert_int_equal(dev_read(dm, p, buf, 8), -EFAULT);
	stats = stats_of(dm);
	assert_int_equal(stats.stale, 2);
	assert_true(stats.last_stale.access);
	assert_int_equal(told_stale, 2);
	munmap(p, 2 * PAGE);
}

static void plant_suspect(const void *p, struct suspects *suspects)
{
	unsigned long addr = (unsigned long)p;
	uint64_t entry = WRONG;

	*suspects = (struct suspects){ 0 };
	pthread_rwlock_wrlock(&dm->lock);
	pt_unmap(&dm->pt, addr, addr + PAGE);
	assert_int_equal(pt_map(&dm->pt, addr, &entry, 1), 0);
	assert_int_equal(dm_oracle_look(dm, addr, 1, suspects), 0);
	pthread_rwlock_unlock(&dm->lock);
	assert_int_equal(suspects->nr, 1);
}

/* What is suspected there now is another entry: somebody else judges that. */
static void oracle_judges_its_own(void **state)
{
	struct suspects mine, later;
	char *p = map_touched(1);
	unsigned int stale;

	(void)state;
	if (dm->presence)
		madvise(p, PAGE, MADV_DONTNEED);
	settle(mm);
	do {
		plant_suspect(p, &mine);
		plant_suspect(p, &later);
		assert_int_equal(dm_oracle_judge(dm, &mine).left, 0);
		/* Unless a change has taken it away. */
		stale = dm_oracle_judge(dm, &later).stale;
	} while (!stale);
	assert_int_equal(stats_of(dm).stale, 1);
	munmap(p, PAGE);
}

/* Memory that the kernel keeps to the CPUs is an error, and not stale. */
static void refused_memory(void **state)
{
	char *p, buf[8];

	(void)state;
	p = map_secret();
	assert_int_equal(dev_read(dm, p, buf, 8), -EFAULT);
	assert_not_stale(dm);
	munmap(p, PAGE);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(on_anonymous),       test(on_never_touched),
		test(on_huge_pages),      test(on_hugetlb),
		test(on_shared),          test(on_files),
		test(on_program),         test(errors),
		test(bad_arguments),      test(small_page_table),
		test(oracle_finds_stale), test(oracle_judges_its_own),
		test(refused_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
