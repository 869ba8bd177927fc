// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * other_process.c - mirror the memory of a process that changes it on command
 *
 * The process is a fork's child, so that both know the addresses; what is at
 * them is each one's own.
 *
 * check: once
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <time.h>

#include "support.h"

#define PAGES 8ul
#define NOBODY 65534
#define LINE 512

/* ---- A process that does what it is told ---------------------------------- */

enum order {
	TOUCH,
	UNMAP,
	MAP_OVER,
	PROTECT,
	DISCARD,
	FORK, /* and the child does it all again */
	READ,
	EXIT,
	EXECUTE,
};

struct command {
	enum order order;
	char *addr;
	size_t len;
};

struct puppet {
	pid_t pid;
	int pidfd, fd;
	char *memory; /* PAGES, none touched since the fork */
};

/* What both can see: set by a callback, looked at by the puppet. */
static volatile struct {
	int told;
	int seen;
} * both;

static int obey(const struct command *c)
{
	static char *const none[] = { NULL };
	volatile char *p = c->addr;
	int status, ret = 0;
	size_t i;
	pid_t pid;

	switch (c->order) {
	case TOUCH:
		/* To read it first would be a change more: the page of zeroes. */
		for (i = 0; i < c->len; i += PAGE)
			p[i] = 1;
		break;
	case UNMAP:
		ret = munmap(c->addr, c->len);
		break;
	case MAP_OVER:
		ret = mmap(c->addr, c->len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			   0) == MAP_FAILED;
		break;
	case PROTECT:
		ret = mprotect(c->addr, c->len, PROT_READ);
		break;
	case DISCARD:
		ret = madvise(c->addr, c->len, MADV_DONTNEED);
		break;
	case FORK:
		pid = fork();
		if (!pid) {
			munmap(c->addr, c->len);
			_exit(0);
		}
		ret = waitpid(pid, &status, 0) != pid || status;
		break;
	case READ:
		ret = *p;
		break;
	case EXIT:
		_exit(0);
	case EXECUTE:
		execve("/bin/sleep", (char *const[]){ "sleep", "600", NULL },
		       none);
		break;
	}
	both->seen = both->told;
	return ret;
}

static _Noreturn void dance(int fd)
{
	struct command c;
	int ret;

	watchdog(60);
	while (read(fd, &c, sizeof(c)) == sizeof(c)) {
		ret = obey(&c);
		if (write(fd, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

static void send_order(struct puppet *p, enum order order, size_t page,
		       size_t pages)
{
	const struct command c = { order, p->memory + page * PAGE,
				   pages * PAGE };

	assert_int_equal(write(p->fd, &c, sizeof(c)), sizeof(c));
}

/* Done: the call has returned in the other process. */
static int tell(struct puppet *p, enum order order, size_t page, size_t pages)
{
	int ret;

	send_order(p, order, page, pages);
	assert_int_equal(read(p->fd, &ret, sizeof(ret)), sizeof(ret));
	return ret;
}

static void puppet_start(struct puppet *p)
{
	int fds[2];

	p->memory = map_touched(PAGES);
	assert_int_equal(madvise(p->memory, PAGES * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid) {
		close(fds[0]);
		dance(fds[1]);
	}
	close(fds[1]);
	p->fd = fds[0];
	p->pidfd = pidfd_open(p->pid, 0);
	assert_true(p->pidfd > 0);
}

static void puppet_end(struct puppet *p)
{
	int status;

	close(p->fd);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	close(p->pidfd);
	munmap(p->memory, PAGES * PAGE);
}

/* ---- A mirror that takes notes -------------------------------------------- */

struct notes {
	struct hmm_mirror mirror;
	pthread_mutex_t lock;
	pthread_cond_t more;
	const char *from, *to; /* of changes in here */
	unsigned int changes, releases;
	unsigned int ms; /* how long the callback takes */
};

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&t, &t))
		;
}

static int note_change(struct hmm_mirror *mirror, const struct hmm_update *u)
{
	struct notes *n = (struct notes *)mirror;

	if (u->start >= (unsigned long)n->to ||
	    u->end <= (unsigned long)n->from)
		return 0;
	sleep_ms(n->ms);
	both->told++;
	pthread_mutex_lock(&n->lock);
	n->changes++;
	pthread_cond_broadcast(&n->more);
	pthread_mutex_unlock(&n->lock);
	return 0;
}

static void note_release(struct hmm_mirror *mirror)
{
	struct notes *n = (struct notes *)mirror;

	pthread_mutex_lock(&n->lock);
	n->releases++;
	pthread_cond_broadcast(&n->more);
	pthread_mutex_unlock(&n->lock);
}

static const struct hmm_mirror_ops note_ops = {
	.release = note_release,
	.sync_cpu_device_pagetables = note_change,
};

static void notes_start(struct notes *n, struct mm_struct *mm, char *memory)
{
	*n = (struct notes){
		.mirror.ops = &note_ops,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER,
		.from = memory,
		.to = memory + PAGES * PAGE,
	};
	mmap_write_lock(mm);
	assert_int_equal(hmm_mirror_register(&n->mirror, mm), 0);
	mmap_write_unlock(mm);
}

/* It is told at some time: hence no time limit but the test's. */
static void wait_changes(struct notes *n, unsigned int changes)
{
	pthread_mutex_lock(&n->lock);
	while (n->changes < changes)
		pthread_cond_wait(&n->more, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

static void wait_release(struct notes *n)
{
	pthread_mutex_lock(&n->lock);
	while (!n->releases)
		pthread_cond_wait(&n->more, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

/* ---- Attaching ------------------------------------------------------------- */

static char last_line[LINE];

static void keep_line(enum hmm_log_level level, const char *line)
{
	if (level <= HMM_LOG_WARN)
		snprintf(last_line, sizeof(last_line), "%s", line);
}

static int try_attach(struct mm_struct **mm, int pidfd, bool wait,
		      const char *source)
{
	const struct hmm_attach_opts opts = {
		.size = sizeof(opts),
		.source = source,
		.pidfd = pidfd,
		.wait = wait,
	};
	int ret;

	last_line[0] = '\0';
	hmm_set_log(keep_line);
	ret = hmm_mm_attach(mm, &opts);
	hmm_set_log(NULL);
	return ret;
}

static void need_module(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (strcmp(info.name, "module"))
			continue;
		if (!info.error)
			return;
		print_message("skip: %s\n", info.reason);
	}
	skip();
}

static struct mm_struct *attach_to(const struct puppet *p, bool wait)
{
	struct mm_struct *mm = NULL;

	assert_int_equal(try_attach(&mm, p->pidfd, wait, NULL), 0);
	return mm;
}

static struct hmm_mm_info query(struct mm_struct *mm)
{
	struct hmm_mm_info info = { .size = sizeof(info) };

	assert_int_equal(hmm_mm_query(mm, &info), 0);
	return info;
}

/* An entry of a process's pagemap; 0 if there is no page. */
static uint64_t pfn_of(pid_t pid, const char *p)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, sizeof(entry),
			       (off_t)((unsigned long)p / PAGE * 8)),
			 sizeof(entry));
	close(fd);
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	both = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return both == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	hmm_set_log(NULL);
	munmap((void *)both, PAGE);
	watchdog(0);
	return 0;
}

/* ---- What is refused -------------------------------------------------------- */

static void only_the_module_can(void **state)
{
	static const char *const sources[] = { "kvm", "uffd" };
	struct mm_struct *mm;
	struct puppet p;
	int i;

	(void)state;
	puppet_start(&p);
	for (i = 0; i < 2; i++) {
		assert_int_equal(try_attach(&mm, p.pidfd, false, sources[i]),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "another process"));
		assert_non_null(strstr(last_line, "hmm.ko"));
		assert_int_equal(try_attach(&mm, 0, true, sources[i]),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "wait"));
		assert_non_null(strstr(last_line, "hmm.ko"));
	}
	if (access("/dev/hmm", F_OK)) {
		assert_int_equal(try_attach(&mm, p.pidfd, false, NULL),
				 -ENOTSUP);
		assert_non_null(strstr(last_line, "hmm.ko"));
	}
	puppet_end(&p);
}

static void options_grow(void **state)
{
	struct {
		struct hmm_attach_opts opts;
		char more[64];
	} big = { .opts.size = sizeof(big), .opts.source = "nonesuch" };
	struct mm_struct *mm;

	(void)state;
	hmm_set_log(NULL);
	/* As far as each knows: no such source. */
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -ENOENT);
	big.more[63] = 1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -E2BIG);
	big.opts.size = ~0ul;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -E2BIG);
	/* An older program's: what is beyond is not looked at. */
	big.opts.size = offsetof(struct hmm_attach_opts, pidfd);
	big.opts.pidfd = -1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -ENOENT);
	big.opts.size = sizeof(big.opts);
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -EBADF);
	big.opts.size = 1;
	assert_int_equal(hmm_mm_attach(&mm, &big.opts), -EINVAL);
}

static void not_a_process(void **state)
{
	struct pollfd ended = { .events = POLLIN };
	struct mm_struct *mm;
	struct puppet p;
	int fd, status;

	(void)state;
	need_module();
	assert_int_equal(try_attach(&mm, -1, false, NULL), -EBADF);
	assert_int_equal(try_attach(&mm, 9999, false, NULL), -EBADF);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(try_attach(&mm, fd, false, NULL), -EBADF);
	assert_non_null(strstr(last_line, "pidfd"));
	close(fd);

	puppet_start(&p);
	kill(p.pid, SIGKILL);
	/* Dead, and not yet waited for. */
	ended.fd = p.pidfd;
	assert_int_equal(poll(&ended, 1, -1), 1);
	assert_int_equal(try_attach(&mm, p.pidfd, false, NULL), -ESRCH);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	assert_int_equal(try_attach(&mm, p.pidfd, false, NULL), -ESRCH);
	assert_non_null(strstr(last_line, "ended"));
	puppet_end(&p);
}

static int attach_as_nobody(int pidfd)
{
	struct mm_struct *mm;

	if (setgid(NOBODY) || setuid(NOBODY))
		return 1;
	if (try_attach(&mm, pidfd, false, NULL) != -EACCES)
		return 2;
	return strstr(last_line, "CAP_SYS_PTRACE") ? 0 : 3;
}

static void who_may_not_trace_may_not_attach(void **state)
{
	struct puppet p;
	int status;
	pid_t pid;

	(void)state;
	need_module();
	if (getuid())
		skip();
	puppet_start(&p);
	pid = fork();
	if (!pid)
		_exit(attach_as_nobody(p.pidfd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	puppet_end(&p);
}

/* ---- Entries ----------------------------------------------------------------- */

static void entries_are_the_other_process_s(void **state)
{
	struct vm_area_struct vma;
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	size_t i;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(query(mm).level, 2);
	assert_int_equal(hmm_find_vma(mm, (unsigned long)p.memory, &vma), 0);
	assert_true(vma.vm_start <= (unsigned long)p.memory);
	assert_int_equal(vma.vm_flags, HMM_VM_READ | HMM_VM_WRITE);

	assert_int_equal(tell(&p, TOUCH, 1, 2), 0);
	range_start(&range, mm, p.memory, PAGES, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++) {
		if (i < 1 || i > 2) {
			assert_int_equal(pfns[i], DEV_NONE);
			continue;
		}
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID | DEV_WRITE);
		if (!query(mm).pfns_virtual)
			assert_int_equal(pfns[i] >> DEV_SHIFT,
					 pfn_of(p.pid, p.memory + i * PAGE));
	}
	/* Ours is another memory, where nobody touched anything. */
	assert_int_equal(pfn_of(getpid(), p.memory + PAGE), 0);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void faults_happen_there(void **state)
{
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	size_t i;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID);
	assert_int_equal(range_fault_until_valid(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID);
	hmm_range_unregister(&range);

	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	assert_int_equal(range_fault_until_valid(&range, mm), PAGES);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(pfns[i] & 0xfff, DEV_VALID | DEV_WRITE);
	assert_true(hmm_range_valid(&range));
	/* It was done there, and not here. */
	if (!query(mm).pfns_virtual)
		assert_int_equal(pfns[3] >> DEV_SHIFT,
				 pfn_of(p.pid, p.memory + 3 * PAGE));
	assert_int_equal(pfn_of(getpid(), p.memory + 3 * PAGE), 0);
	hmm_range_unregister(&range);

	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	assert_int_equal(tell(&p, PROTECT, 2, 1), 0);
	assert_int_equal(range_fault(&range, mm), -EPERM);
	assert_int_equal(tell(&p, UNMAP, 2, 1), 0);
	assert_int_equal(range_fault(&range, mm), -EFAULT);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* block == false goes on in the kernel; asked again it is there. */
static void faults_need_not_wait(void **state)
{
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	long ret;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, PAGES, pfns, DEV_VALID | DEV_WRITE);
	do {
		assert_true(range_wait(&range));
		mmap_read_lock(mm);
		ret = hmm_range_fault(&range, false);
		if (ret != -EAGAIN)
			mmap_read_unlock(mm);
	} while (ret == -EBUSY || ret == -EAGAIN);
	assert_int_equal(ret, PAGES);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* ---- Changes ------------------------------------------------------------------ */

/* Whatever it does there: not valid once it is done, and the mirror is told. */
static void changes_are_seen(void **state)
{
	static const enum order orders[] = { PROTECT, DISCARD, MAP_OVER, FORK,
					     UNMAP };
	struct hmm_range range;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	size_t i;

	(void)state;
	need_module();
	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		puppet_start(&p);
		mm = attach_to(&p, false);
		assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
		notes_start(&n, mm, p.memory + PAGE);
		range_start(&range, mm, p.memory + PAGE, 2, pfns, 0);
		assert_int_equal(range_snapshot(&range, mm), 2);
		assert_true(range_valid_soon(&range));
		assert_int_equal(tell(&p, orders[i], 1, 1), 0);
		assert_false(hmm_range_valid(&range));
		wait_changes(&n, 1);
		hmm_range_unregister(&range);
		assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
		assert_int_equal(hmm_mm_detach(mm), 0);
		puppet_end(&p);
	}
}

/* Until it writes, the page is also its child's: copied, it is another one. */
static void copy_on_write_is_seen(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;
	uint64_t pfn;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	range_start(&range, mm, p.memory, 1, &pfn, DEV_VALID);
	/* Read by the device, it is the page of zeroes. */
	assert_int_equal(range_fault_until_valid(&range, mm), 1);
	assert_int_equal(pfn & 0xfff, DEV_VALID);
	assert_int_equal(tell(&p, TOUCH, 0, 1), 0);
	assert_false(hmm_range_valid(&range));
	assert_int_equal(range_snapshot(&range, mm), 1);
	assert_int_equal(pfn & 0xfff, DEV_VALID | DEV_WRITE);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void elsewhere_does_not_matter(void **state)
{
	struct hmm_range range;
	uint64_t pfns[2];
	struct mm_struct *mm;
	struct puppet p;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 2, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), 2);
	assert_int_equal(tell(&p, UNMAP, 4, 2), 0);
	/* Nor what we do with our own at the same addresses. */
	memset(p.memory, 1, PAGES * PAGE);
	madvise(p.memory, PAGES * PAGE, MADV_DONTNEED);
	assert_true(range_valid_soon(&range));
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void several_can_watch_one(void **state)
{
	struct mm_struct *mm[3];
	struct notes n[3];
	struct puppet p;
	int i;

	(void)state;
	need_module();
	puppet_start(&p);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	for (i = 0; i < 3; i++) {
		mm[i] = attach_to(&p, false);
		assert_true(!i || mm[i] != mm[i - 1]);
		notes_start(&n[i], mm[i], p.memory);
	}
	assert_int_equal(tell(&p, UNMAP, 0, PAGES), 0);
	for (i = 0; i < 3; i++) {
		wait_changes(&n[i], 1);
		assert_int_equal(hmm_mirror_unregister(&n[i].mirror), 0);
		assert_int_equal(hmm_mm_detach(mm[i]), 0);
	}
	puppet_end(&p);
}

/* ---- The end ------------------------------------------------------------------- */

static void by_exit(struct puppet *p)
{
	int status;

	send_order(p, EXIT, 0, 0);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
}

static void by_kill(struct puppet *p)
{
	int status;

	kill(p->pid, SIGKILL);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
}

/* Goes on as another program. */
static void by_exec(struct puppet *p)
{
	send_order(p, EXECUTE, 0, 0);
}

static void ends(void (*end)(struct puppet *))
{
	struct hmm_range range, other;
	struct vm_area_struct vma;
	uint64_t pfns[PAGES];
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;

	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	notes_start(&n, mm, p.memory);
	range_start(&range, mm, p.memory + PAGE, PAGES - 1, pfns, 0);
	assert_int_equal(range_snapshot(&range, mm), PAGES - 1);
	assert_true(range_valid_soon(&range));
	/* Who is told has something else to do: it is found out all the same. */
	n.ms = 500;
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	assert_true(range_valid_soon(&range));
	end(&p);
	if (end != by_exec)
		assert_false(hmm_range_valid(&range));
	wait_release(&n);
	assert_false(hmm_range_valid(&range));
	assert_false(range_wait(&range));
	mmap_read_lock(mm);
	assert_int_equal(hmm_range_snapshot(&range), -EFAULT);
	assert_int_equal(hmm_range_fault(&range, true), -EFAULT);
	mmap_read_unlock(mm);
	assert_int_equal(hmm_find_vma(mm, (unsigned long)p.memory, &vma),
			 -EFAULT);
	range_init(&other, pfns);
	assert_int_equal(hmm_range_register(&other, mm, PAGE, 2 * PAGE),
			 -EFAULT);
	assert_true(query(mm).dead);
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(n.releases, 1);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

static void exit_is_the_end(void **state)
{
	(void)state;
	ends(by_exit);
}

static void a_kill_is_the_end(void **state)
{
	(void)state;
	ends(by_kill);
}

static void another_program_is_the_end(void **state)
{
	(void)state;
	ends(by_exec);
}

/* Nobody has to look: a thread that waits for memory to rest is woken. */
static void attach_again_after_exec(void **state)
{
	struct mm_struct *mm, *again;
	struct puppet p;
	struct notes n;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	notes_start(&n, mm, p.memory);
	by_exec(&p);
	wait_release(&n);
	again = attach_to(&p, false);
	assert_false(query(again).dead);
	assert_int_equal(hmm_mm_detach(again), 0);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* ---- Fork of the one who watches ------------------------------------------------ */

static int in_our_child(struct mm_struct *mm, struct hmm_range *range,
			struct puppet *p)
{
	struct hmm_range other = { 0 };
	struct mm_struct *own;

	watchdog(30);
	if (hmm_range_valid(range))
		return 1;
	if (hmm_range_register(&other, mm, PAGE, 2 * PAGE) != -EFAULT)
		return 2;
	if (hmm_mm_detach(mm))
		return 3;
	if (try_attach(&own, p->pidfd, false, NULL))
		return 4;
	if (hmm_range_register(&other, own, (unsigned long)p->memory,
			       (unsigned long)p->memory + PAGE))
		return 5;
	hmm_range_unregister(&other);
	return hmm_mm_detach(own) ? 6 : 0;
}

static void our_child_attaches_anew(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;
	uint64_t pfn;
	int status;
	pid_t pid;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, false);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 1, &pfn, 0);
	assert_int_equal(range_snapshot(&range, mm), 1);
	pid = fork();
	if (!pid)
		_exit(in_our_child(mm, &range, &p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* For us nothing has changed. */
	assert_true(range_valid_soon(&range));
	assert_int_equal(tell(&p, DISCARD, 0, 1), 0);
	assert_false(hmm_range_valid(&range));
	hmm_range_unregister(&range);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* ---- Level 3 ---------------------------------------------------------------------- */

/* The puppet looks, after its call has returned, whether the callback has. */
static void a_change_waits_for_the_callback(void **state)
{
	static const enum order orders[] = { PROTECT, DISCARD, MAP_OVER,
					     UNMAP };
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;
	size_t i;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(query(mm).level, 3);
	notes_start(&n, mm, p.memory);
	n.ms = 50;
	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		assert_int_equal(tell(&p, TOUCH, i, 1), 0);
		both->told = both->seen = 0;
		assert_int_equal(tell(&p, orders[i], i, 1), 0);
		assert_true(both->seen >= 1);
	}
	assert_int_equal(query(mm).late, 0);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	puppet_end(&p);
}

/* Nobody is held up for ever, nor when there is nobody to tell. */
static void a_change_does_not_wait_for_ever(void **state)
{
	struct mm_struct *mm;
	struct puppet p;
	struct notes n;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	assert_int_equal(tell(&p, UNMAP, 0, 1), 0);
	assert_int_equal(query(mm).late, 0);
	notes_start(&n, mm, p.memory + PAGE);
	n.ms = 3 * HMM_RANGE_DEFAULT_TIMEOUT;
	both->told = both->seen = 0;
	assert_int_equal(tell(&p, UNMAP, 1, 1), 0);
	assert_int_equal(both->seen, 0);
	assert_int_equal(query(mm).late, 1);
	wait_changes(&n, 1);
	n.ms = 0;
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	/* And nobody is told now. */
	assert_int_equal(tell(&p, UNMAP, 2, 1), 0);
	puppet_end(&p);
}

static void detach_lets_go_of_changes(void **state)
{
	struct hmm_range range;
	struct mm_struct *mm;
	struct puppet p;

	(void)state;
	need_module();
	puppet_start(&p);
	mm = attach_to(&p, true);
	assert_int_equal(tell(&p, TOUCH, 0, PAGES), 0);
	range_start(&range, mm, p.memory, 1, NULL, 0);
	/* The range keeps the device open, whose watcher is gone. */
	assert_int_equal(hmm_mm_detach(mm), 0);
	assert_int_equal(tell(&p, UNMAP, 0, PAGES), 0);
	hmm_range_unregister(&range);
	puppet_end(&p);
}

static void *unmap_own(void *memory)
{
	munmap(memory, PAGE);
	both->seen = both->told;
	return NULL;
}

/* Allowed for one's own memory, as long as the callback needs none of it. */
static void own_changes_can_wait(void **state)
{
	struct mm_struct *mm = NULL, *plain = NULL;
	pthread_t thread;
	struct notes n;
	char *memory;

	(void)state;
	need_module();
	memory = map_touched(PAGES);
	assert_int_equal(try_attach(&mm, 0, true, NULL), 0);
	assert_int_equal(query(mm).level, 3);
	assert_int_equal(try_attach(&plain, 0, false, "module"), 0);
	assert_ptr_not_equal(mm, plain);
	assert_int_equal(query(plain).level, 2);
	notes_start(&n, mm, memory);
	n.ms = 50;
	both->told = both->seen = 0;
	assert_int_equal(pthread_create(&thread, NULL, unmap_own, memory), 0);
	pthread_join(thread, NULL);
	assert_int_equal(both->seen, 1);
	assert_int_equal(hmm_mirror_unregister(&n.mirror), 0);
	assert_int_equal(hmm_mm_detach(plain), 0);
	assert_int_equal(hmm_mm_detach(mm), 0);
	munmap(memory, PAGES * PAGE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_the_module_can),
		TEST(options_grow),
		TEST(not_a_process),
		TEST(who_may_not_trace_may_not_attach),
		TEST(entries_are_the_other_process_s),
		TEST(faults_happen_there),
		TEST(faults_need_not_wait),
		TEST(changes_are_seen),
		TEST(copy_on_write_is_seen),
		TEST(elsewhere_does_not_matter),
		TEST(several_can_watch_one),
		TEST(exit_is_the_end),
		TEST(a_kill_is_the_end),
		TEST(another_program_is_the_end),
		TEST(attach_again_after_exec),
		TEST(our_child_attaches_anew),
		TEST(a_change_waits_for_the_callback),
		TEST(a_change_does_not_wait_for_ever),
		TEST(detach_lets_go_of_changes),
		TEST(own_changes_can_wait),
	};

	/* Puppets that end early are no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
