// SPDX-License-Identifier: MIT OR GPL-2.0
/* vmas.c - vmas are found where names and file systems are out of the ordinary */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "line.h"
#include "mm.h"

#include "support.h"

/* ---- Devices of another's /dev -------------------------------------------- */

#define SKIPPED 77

static const char *const nodes[] = { "null", "kvm", "mem" };

/* As a rootless container has it: a tmpfs, and on it nodes of the host's. */
static bool make_dev(const char *dir)
{
	char from[64], to[PATH_MAX];
	unsigned int i;

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, NULL))
		return false;
	for (i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		snprintf(from, sizeof(from), "/dev/%s", nodes[i]);
		snprintf(to, sizeof(to), "%s/%s", dir, nodes[i]);
		if (access(from, F_OK))
			continue;
		close(open(to, O_CREAT | O_WRONLY, 0600));
		if (mount(from, to, NULL, MS_BIND, NULL))
			return false;
	}
	return !mount(dir, "/dev", NULL, MS_BIND | MS_REC, NULL);
}

/* The BIOS, where root may look at it. */
static bool is_found_special(struct mm_struct *mm)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	struct vm_area_struct vma;
	char *p;

	if (fd < 0)
		return true;
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000);
	close(fd);
	if (p == MAP_FAILED)
		return true;
	return !hmm_find_vma(mm, (unsigned long)p, &vma) &&
	       vma.vm_start == (unsigned long)p &&
	       (vma.vm_flags & HMM_VM_SPECIAL);
}

static int in_container(const char *dir)
{
	struct mm_struct *mm;
	struct stat node;
	unsigned int i;

	if (!make_dev(dir) || stat("/dev/null", &node)) {
		fprintf(stderr, "skip: no /dev of one's own: %s\n",
			strerror(errno));
		return SKIPPED;
	}
	if (hmm_mm_attach(&mm, NULL) || mm->src->ops->vma) {
		fprintf(stderr, "skip: no source that leaves it to libhmm\n");
		return SKIPPED;
	}
	for (i = 0; i < mm->vmas.nr_devices; i++)
		if (mm->vmas.devices[i] == node.st_dev)
			return !is_found_special(mm);
	return 1;
}

static void devices_of_the_host(void **state)
{
	char dir[] = "/tmp/hmm-dev-XXXXXX";
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	pid = fork();
	if (!pid) {
		watchdog(60);
		_exit(in_container(dir));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir(dir);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Names that look like what they are not ------------------------------- */

/* Where the name is in a line of /proc/PID/maps. */
#define NAME_AT 73
#define VMA "1000-7fffffff0000 rwxp 00000000 00:00 0"

static void make_path(char *path, size_t size)
{
	char *real = realpath(path, NULL);
	size_t from, to = HMM_LINE - 1 - NAME_AT;

	/* What does not fit in a line begins with a vma of everything. */
	assert_non_null(real);
	from = strlen(real);
	assert_true(from < to && to + sizeof(VMA) < size);
	memcpy(path, real, from);
	free(real);
	path[from] = '/';
	while (++from < to)
		path[from] =
			(to - from) % 200 || path[from - 1] == '/' ? 'x' : '/';
	strcpy(path + to, VMA);
}

static int open_at(char *path, size_t dir)
{
	char *slash = path + dir;

	while ((slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	return open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
}

static void remove_up_to(char *path, size_t dir)
{
	unlink(path);
	while (strlen(path) > dir) {
		*strrchr(path, '/') = '\0';
		rmdir(path);
	}
}

static void a_name_like_a_vma(void **state)
{
	char path[PATH_MAX] = "/tmp/hmm-vma-XXXXXX";
	struct vm_area_struct vma;
	struct mm_struct *mm;
	size_t dir;
	char *p;
	int fd;

	(void)state;
	watchdog(60);
	mm = attach();
	assert_non_null(mkdtemp(path));
	dir = strlen(path);
	make_path(path, sizeof(path));
	fd = open_at(path, dir);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = quiet_mmap(PAGE, PROT_READ, MAP_SHARED, fd);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	/* As on kernels that can't be asked but by reading all of it. */
	hmm_vmas_close(mm);
	assert_int_equal(hmm_find_vma(mm, (unsigned long)p, &vma), 0);
	assert_int_equal(vma.vm_start, (unsigned long)p);
	assert_int_equal(hmm_find_vma(mm, vma.vm_end, &vma), 0);
	assert_true(vma.vm_start >= (unsigned long)p + PAGE);
	munmap(p, PAGE);
	remove_up_to(path, dir);
	assert_int_equal(hmm_mm_detach(mm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_of_the_host),
		cmocka_unit_test(a_name_like_a_vma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
