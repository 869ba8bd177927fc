/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* dev_support.h - what the tests of /dev/hmm share */
#ifndef TESTS_DEV_SUPPORT_H
#define TESTS_DEV_SUPPORT_H

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "hmm_dev.h"
#include "support.h"

#define NOBODY 65534
#define MAP_SIZE \
	(HMM_DEV_RING_OFFSET + HMM_DEV_RECORDS * sizeof(struct hmm_dev_record))

/* An open and mapped file. */
struct dev {
	int fd;
	const struct hmm_dev_shared *shared;
	const struct hmm_dev_record *ring;
};

static inline int dev_open_file(void)
{
	int fd = open("/dev/hmm", O_RDONLY | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
		print_message("skip: no /dev/hmm: load hmm.ko\n");
		skip();
	}
	assert_true(fd >= 0);
	return fd;
}

static inline void dev_map(struct dev *dev)
{
	void *map = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, dev->fd, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	dev->shared = map;
	dev->ring = (const void *)((const char *)map + HMM_DEV_RING_OFFSET);
}

static inline void dev_open(struct dev *dev)
{
	dev->fd = dev_open_file();
	dev_map(dev);
	assert_int_equal(dev->shared->version, HMM_DEV_VERSION);
}

static inline void dev_close(struct dev *dev)
{
	munmap((void *)dev->shared, MAP_SIZE);
	close(dev->fd);
}

/* A descriptor of /proc/PID/mem. */
static inline int open_mem(pid_t pid, int flags)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	return open(name, flags | O_CLOEXEC);
}

/* Show another process.  0 or an errno. */
static inline int dev_bind_to(int fd, pid_t pid, int flags)
{
	int mem = open_mem(pid, flags), ret;

	if (mem < 0)
		return errno;
	ret = ioctl(fd, HMM_DEV_BIND, mem) ? errno : 0;
	close(mem);
	return ret;
}

/* What a request says: 0 or more, or a negative errno. */
#define req(fd, request, arg)                               \
	({                                                  \
		int ret_ = ioctl(fd, request, (long)(arg)); \
		ret_ < 0 ? -errno : ret_;                   \
	})

static inline uint64_t dev_head(const struct dev *dev)
{
	return hmm_load_acquire(&dev->shared->head);
}

static inline uint32_t dev_load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Has a change of the page at p started, as record `from' or later? */
static inline bool dev_recorded(const struct dev *dev, uint64_t from,
				const void *p)
{
	uint64_t n, head = dev_head(dev);

	assert_true(head - from < HMM_DEV_RECORDS);
	for (n = from; n < head; n++) {
		const struct hmm_dev_record *r =
			&dev->ring[n % HMM_DEV_RECORDS];

		if (!r->ends && r->start < (uintptr_t)p + PAGE &&
		    r->end > (uintptr_t)p)
			return true;
	}
	return false;
}

/* As long as it takes: a watchdog ends what never comes. */
#define wait_for(condition)           \
	do {                          \
		while (!(condition))  \
			usleep(1000); \
	} while (0)

/* A child that does as it is told, one step after another. */
struct child {
	pid_t pid;
	int step; /* how far it may go */
	int at;   /* how far it has come */
};

static inline struct child *child_start(void (*run)(struct child *, void *),
					void *arg)
{
	struct child *c = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	pid_t pid;

	assert_ptr_not_equal(c, MAP_FAILED);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* A test that failed leaves nobody who uses the module. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		watchdog(60);
		run(c, arg);
		_exit(0);
	}
	c->pid = pid;
	return c;
}

/* In the child: step n is done; go on when the next one may begin. */
static inline void child_at(struct child *c, int n)
{
	__atomic_store_n(&c->at, n, __ATOMIC_RELEASE);
	while (__atomic_load_n(&c->step, __ATOMIC_ACQUIRE) <= n)
		usleep(1000);
}

static inline bool child_is_at(struct child *c, int n)
{
	return __atomic_load_n(&c->at, __ATOMIC_ACQUIRE) >= n;
}

/* Let it begin step n. */
static inline void child_let(struct child *c, int n)
{
	__atomic_store_n(&c->step, n, __ATOMIC_RELEASE);
}

/* Wait for its end. */
static inline int child_end(struct child *c)
{
	int status;

	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	munmap(c, PAGE);
	return status;
}

static inline int child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	return child_end(c);
}

/* For cgroups. */
static inline bool write_file(const char *dir, const char *name,
			      const char *text)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) > 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Set one of the module; what it was. */
static inline unsigned int parameter(const char *name, unsigned int value)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/module/hmm/parameters/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		print_message("skip: %s: %s\n", path, strerror(errno));
		skip();
	}
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	dprintf(fd, "%u", value);
	close(fd);
	return (unsigned int)strtoul(text, NULL, 10);
}

#endif
