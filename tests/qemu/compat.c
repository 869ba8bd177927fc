// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * compat.c - a 32-bit program uses /dev/hmm
 *
 * It brings its own system calls: to have a 32-bit libc to build with is rare.
 * What it is told has the same layout for programs of 64 bits, as which this
 * file has to compile, too.
 */
#include <linux/errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hmm_dev.h"

/* An i386 aligns 64 bits to 32. */
#define SAME(type, size) \
	_Static_assert(sizeof(struct type) == (size), "struct " #type)
#define AT(type, member, offset)                                  \
	_Static_assert(offsetof(struct type, member) == (offset), \
		       #type "." #member)

SAME(hmm_dev_shared, 128);
AT(hmm_dev_shared, dead, 16);
AT(hmm_dev_shared, head, 64);
AT(hmm_dev_shared, late, 80);
SAME(hmm_dev_record, 24);
AT(hmm_dev_record, kind, 20);
SAME(hmm_dev_vma, 32);
AT(hmm_dev_vma, flags, 24);
SAME(hmm_dev_sync, 24 + 16 * HMM_DEV_CHANGES);
AT(hmm_dev_sync, change, 24);
SAME(hmm_dev_register, 24);
AT(hmm_dev_register, id, 16);
SAME(hmm_dev_wait, 8);
SAME(hmm_dev_range, 128);
AT(hmm_dev_range, start, 8);
AT(hmm_dev_range, flags, 40);
AT(hmm_dev_range, pfn_flags_mask, 96);
AT(hmm_dev_range, pfn_shift, 104);
AT(hmm_dev_range, started, 112);

#ifdef __i386__

#define PAGE 4096u
#define MAP_SIZE \
	(HMM_DEV_RING_OFFSET + HMM_DEV_RECORDS * sizeof(struct hmm_dev_record))

/* ---- Instead of a libc -------------------------------------------------- */

enum {
	NR_EXIT = 1,
	NR_WRITE = 4,
	NR_OPEN = 5,
	NR_IOCTL = 54,
	NR_GETPPID = 64,
	NR_MUNMAP = 91,
	NR_MMAP2 = 192,
};

#define READ 1
#define READ_WRITE 3
#define SHARED 1
#define PRIVATE_ANONYMOUS 0x22

/* Of a sixth argument, which is an offset, all that is wanted is zero. */
static long call(long nr, long a, long b, long c, long d, long e)
{
	long ret;

	__asm__ volatile("push %%ebp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "int $0x80\n\t"
			 "pop %%ebp"
			 : "=a"(ret)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return ret;
}

static void put(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	call(NR_WRITE, 1, (long)text, n, 0, 0);
}

static bool bad;

static void check(const char *name, bool ok)
{
	put(ok ? "ok " : "not ok ");
	put(name);
	put("\n");
	bad |= !ok;
}

static long open_file(const char *name)
{
	return call(NR_OPEN, (long)name, 0, 0, 0, 0);
}

static char *map(unsigned long len, int prot, int flags, long fd)
{
	long ret = call(NR_MMAP2, 0, (long)len, prot, flags, fd);

	return ret < 0 && ret > -4096 ? NULL : (char *)ret;
}

static long request(long fd, unsigned long nr, void *arg)
{
	return call(NR_IOCTL, fd, (long)nr, (long)arg, 0, 0);
}

static long by_value(long fd, unsigned long nr, unsigned long arg)
{
	return call(NR_IOCTL, fd, (long)nr, (long)arg, 0, 0);
}

/* The compiler calls them. */
void *memset(void *to, int c, size_t n);
void *memset(void *to, int c, size_t n)
{
	char *p = to;

	while (n--)
		*(volatile char *)p++ = (char)c;
	return to;
}

/* ---- What it asks for --------------------------------------------------- */

#define VALID 1u
#define WRITE 2u
#define NONE 0x200u

/* Static, so that nothing of the stack is at stake. */
static struct hmm_dev_range range;
static struct hmm_dev_register reg;
static struct hmm_dev_sync sync;
static struct hmm_dev_wait wait;
static struct hmm_dev_vma vma;
static __u64 pfns[2], taken;

static void want(__u64 start, __u64 end)
{
	memset(&range, 0, sizeof(range));
	range.start = start;
	range.end = end;
	range.pfns = (unsigned long)pfns;
	range.nr = 2;
	range.flags[0] = VALID;
	range.flags[1] = WRITE;
	range.values[1] = NONE;
	range.pfn_shift = 12;
}

/* 0 or an error, once nothing comes in between. */
static long snapshot(long fd)
{
	long ret;

	do
		ret = request(fd, HMM_DEV_SNAPSHOT, &range);
	while (ret == -EBUSY);
	return ret;
}

static void own_memory(long fd, volatile struct hmm_dev_shared *shared)
{
	char *p = map(2 * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1);

	*(volatile char *)p = 1;
	vma.addr = (unsigned long)p;
	check("a vma", !request(fd, HMM_DEV_VMA, &vma) &&
			       vma.start <= vma.addr &&
			       vma.end >= vma.addr + 2 * PAGE);
	reg.start = vma.addr;
	reg.end = reg.start + 2 * PAGE;
	check("a range", !request(fd, HMM_DEV_REGISTER, &reg) && reg.id);
	wait.id = reg.id;
	wait.ms = 1000;
	check("waited for", !request(fd, HMM_DEV_WAIT, &wait));
	want(0, 0);
	range.id = reg.id;
	check("entries",
	      !snapshot(fd) && range.start == reg.start && range.nr == 2 &&
		      (pfns[0] & (VALID | WRITE)) == (VALID | WRITE) &&
		      pfns[1] == NONE);
	check("valid", by_value(fd, HMM_DEV_VALID, reg.id) == 1);
	range.default_flags = VALID | WRITE;
	range.options = HMM_DEV_BLOCK;
	check("a fault",
	      !request(fd, HMM_DEV_FAULT, &range) && pfns[1] & WRITE);

	check("where things are", !request(fd, HMM_DEV_SYNC, &sync) &&
					  sync.head == shared->head &&
					  sync.started == shared->started);
	taken = sync.head;
	check("armed", !request(fd, HMM_DEV_ARM, &taken));
	call(NR_MUNMAP, (long)p, PAGE, 0, 0, 0);
	check("a change", shared->started == sync.started + 1 &&
				  shared->head == taken + 2 &&
				  shared->readable);
	check("armed too late", request(fd, HMM_DEV_ARM, &taken) == 1);
	check("not valid", by_value(fd, HMM_DEV_VALID, reg.id) == 0);

	check("have changes wait", !by_value(fd, HMM_DEV_HOLD, 100));
	check("acknowledge",
	      !by_value(fd, HMM_DEV_ACK, (unsigned long)shared->head));
	check("let them go", !by_value(fd, HMM_DEV_HOLD, 0));
	check("unregistered", !by_value(fd, HMM_DEV_UNREGISTER, reg.id));
}

/* "/proc/PID/mem" */
static const char *mem_of(long pid)
{
	static char name[32];
	const char *before = "/proc/", *after = "/mem";
	char digits[12], *p = name;
	int n = 0;

	for (; pid; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (*before)
		*p++ = *before++;
	while (n)
		*p++ = digits[--n];
	while (*after)
		*p++ = *after++;
	*p = '\0';
	return name;
}

/* Who started this one is of 64 bits, and most of it above 4 GiB. */
static void bigger_process(void)
{
	long fd = open_file("/dev/hmm"), mem;

	mem = open_file(mem_of(call(NR_GETPPID, 0, 0, 0, 0, 0)));
	check("another process's memory", fd >= 0 && mem >= 0);
	check("shown", !by_value(fd, HMM_DEV_BIND, (unsigned long)mem));
	vma.addr = 1ull << 32;
	check("a vma beyond 4 GiB",
	      !request(fd, HMM_DEV_VMA, &vma) && vma.start >= 1ull << 32);
	want(vma.start, vma.start + PAGE);
	check("entries beyond 4 GiB",
	      !snapshot(fd) && range.start == vma.start && range.nr == 1);
	reg.start = vma.start;
	reg.end = vma.start + PAGE;
	check("a range beyond 4 GiB", !request(fd, HMM_DEV_REGISTER, &reg));
}

/* The stack is not as the compiler wants it. */
__attribute__((force_align_arg_pointer)) void _start(void);
void _start(void)
{
	volatile struct hmm_dev_shared *shared = NULL;
	long fd = open_file("/dev/hmm");

	if (fd < 0) {
		put("skip all: no /dev/hmm: load hmm.ko\n");
		call(NR_EXIT, 0, 0, 0, 0, 0);
	}
	shared = (void *)map(MAP_SIZE, READ, SHARED, fd);
	check("mapped", shared && shared->version == HMM_DEV_VERSION);
	own_memory(fd, shared);
	bigger_process();
	call(NR_EXIT, bad, 0, 0, 0, 0);
}

#endif
