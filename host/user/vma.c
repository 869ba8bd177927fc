// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * vma.c - look up vmas: by the source, if it can, else this process's
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "line.h"
#include "mm.h"
#include "uncancelled.h"

/* PROCMAP_QUERY of <linux/fs.h>, since Linux 6.11; Debian 12 has it not. */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset;
	uint64_t inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#define PROCMAP_QUERY_COVERING_OR_NEXT 0x10

/* What hmm_find_vma() tells. */
#define HMM_VM_ALL                                                  \
	(HMM_VM_READ | HMM_VM_WRITE | HMM_VM_EXEC | HMM_VM_SHARED | \
	 HMM_VM_SPECIAL)

/* What a vma is, before we know whether it is special. */
struct found {
	struct hmm_vma vma;
	bool file;
	unsigned int major, minor;
};

static int query(int fd, unsigned long addr, struct found *f)
{
	struct procmap_query q = {
		.size = sizeof(q),
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT,
		.query_addr = addr,
	};

	if (ioctl(fd, PROCMAP_QUERY, &q))
		return -errno;
	*f = (struct found){
		.vma = {
			.start = q.vma_start,
			.end = q.vma_end,
			/* The same four bits. */
			.flags = q.vma_flags & (HMM_VM_READ | HMM_VM_WRITE |
						HMM_VM_EXEC | HMM_VM_SHARED),
		},
		.file = q.inode != 0,
		.major = q.dev_major,
		.minor = q.dev_minor,
	};
	return 0;
}

static bool parse(const char *line, struct found *f)
{
	unsigned long long inode;
	unsigned long start, end;
	unsigned int major, minor;
	char perms[5];

	if (sscanf(line, "%lx-%lx %4s %*x %x:%x %llu", &start, &end, perms,
		   &major, &minor, &inode) != 6)
		return false;
	*f = (struct found){
		.vma = {
			.start = start,
			.end = end,
			.flags = (perms[0] == 'r' ? HMM_VM_READ : 0) |
				 (perms[1] == 'w' ? HMM_VM_WRITE : 0) |
				 (perms[2] == 'x' ? HMM_VM_EXEC : 0) |
				 (perms[3] == 's' ? HMM_VM_SHARED : 0),
		},
		.file = inode != 0,
		.major = major,
		.minor = minor,
	};
	return true;
}

/* Older kernels: read the text.  Whole lines at a time, as the kernel does. */
static int scan(unsigned long addr, struct found *f)
{
	FILE *maps = fopen("/proc/thread-self/maps", "re");
	char line[HMM_LINE];
	int ret = -ENOENT;

	if (!maps)
		return -errno;
	while (ret && hmm_next_line(maps, line))
		if (parse(line, f) && f->vma.end > addr)
			ret = 0;
	/* An end that is none must not pass for a hole. */
	if (ret && ferror(maps))
		ret = -EIO;
	fclose(maps);
	return ret;
}

/*
 * Only smaps tells VM_IO and VM_PFNMAP, and it is slow.  They come from device
 * drivers: from files of devtmpfs, sysfs, proc and anonymous inodes.  Without
 * a file it's the kernel's own vvar, which this finds as well.
 */
static bool smaps_says_special(unsigned long start)
{
	FILE *smaps = fopen("/proc/thread-self/smaps", "re");
	bool found = false, ret = false;
	char line[HMM_LINE];
	struct found f;

	if (!smaps)
		return true;
	while (hmm_next_line(smaps, line)) {
		if (parse(line, &f)) {
			if (found)
				break;
			found = f.vma.start == start;
		} else if (found && !strncmp(line, "VmFlags:", 8)) {
			ret = strstr(line, " io") || strstr(line, " pf");
			break;
		}
	}
	if (ferror(smaps))
		ret = true;
	fclose(smaps);
	return ret;
}

static bool may_be_special(struct mm_struct *mm, const struct found *f)
{
	struct hmm_vmas *v = &mm->vmas;
	unsigned int i;

	if (v->unknown)
		return true;
	for (i = 0; i < v->nr_devices; i++)
		if (f->file && makedev(f->major, f->minor) == v->devices[i])
			return true;
	/* Not mapped by any file, read-only, near the vdso. */
	return !f->file && !(f->vma.flags & HMM_VM_WRITE) &&
	       hmm_overlap(f->vma.start, f->vma.end, v->vvar_start,
			   v->vvar_end);
}

int hmm_host_vma(struct mm_struct *mm, unsigned long addr, struct hmm_vma *vma)
{
	struct found f;
	int ret = -ENOTTY;
	HMM_UNCANCELLED;

	if (mm->src->ops->vma)
		return mm->src->ops->vma(mm->src, addr, vma);
	if (mm->vmas.maps.fd >= 0)
		ret = query(mm->vmas.maps.fd, addr, &f);
	if (ret == -ENOTTY)
		ret = scan(addr, &f);
	if (ret)
		return ret;
	if (may_be_special(mm, &f) && smaps_says_special(f.vma.start))
		f.vma.flags |= HMM_VMA_SPECIAL;
	if (f.file)
		f.vma.flags |= HMM_VMA_FILE;
	/*
	 * munmap(), mremap() and mapping over always tell, mprotect() where
	 * there is a page; with such a page nothing else gets there.
	 */
	if (mm->src->ops->level >= 2)
		f.vma.flags |= HMM_VMA_STAYS;
	*vma = f.vma;
	return 0;
}

int hmm_find_vma(struct mm_struct *mm, unsigned long addr,
		 struct vm_area_struct *vma)
{
	struct hmm_vma found;
	int ret;

	if (!mm || !vma)
		return -EINVAL;
	if (!mmget_not_zero(mm))
		return -EFAULT;
	ret = READ_ONCE(mm->hmm.dead) ? -EFAULT
				      : hmm_host_vma(mm, addr, &found);
	mmput(mm);
	if (ret)
		return ret;
	*vma = (struct vm_area_struct){
		.vm_start = found.start,
		.vm_end = found.end,
		.vm_flags = found.flags & HMM_VM_ALL,
		.vm_mm = mm,
	};
	return 0;
}

/* ---- Life --------------------------------------------------------------- */

static void add_device(struct hmm_vmas *v, dev_t dev)
{
	if (v->nr_devices < HMM_VMA_DEVICES)
		v->devices[v->nr_devices++] = dev;
}

/*
 * Where the kernel put vvar; it stays there unless the process moves it.  False
 * if that can't be told.
 */
static bool find_vvar(struct hmm_vmas *v)
{
	FILE *maps = fopen("/proc/thread-self/maps", "re");
	char line[HMM_LINE];
	struct found f;
	bool ret;

	if (!maps)
		return false;
	while (hmm_next_line(maps, line)) {
		if (!strstr(line, "[vvar") || !parse(line, &f))
			continue;
		if (!v->vvar_end)
			v->vvar_start = f.vma.start;
		v->vvar_end = f.vma.end;
	}
	ret = !ferror(maps);
	fclose(maps);
	return ret;
}

void hmm_vmas_open(struct mm_struct *mm)
{
	/* In a container /dev may be a tmpfs, and each device another's node. */
	static const char *const paths[] = { "/dev", "/dev/null", "/sys",
					     "/proc" };
	struct hmm_vmas *v = &mm->vmas;
	struct stat st;
	unsigned int i;
	int fd;

	*v = (struct hmm_vmas){ .maps.fd = -1 };
	if (mm->src->ops->vma)
		return;
	/* Without it there is a slower way. */
	hmm_own_fd_set(&v->maps,
		       open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC));
	for (i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if (!stat(paths[i], &st))
			add_device(v, st.st_dev);
		else if (errno != ENOENT)
			v->unknown = true;
	/* It shows the device of all anonymous inodes. */
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &st))
		add_device(v, st.st_dev);
	else
		v->unknown = true;
	if (fd >= 0)
		close(fd);
	if (!find_vvar(v))
		v->unknown = true;
}

void hmm_vmas_close(struct mm_struct *mm)
{
	hmm_own_fd_close(&mm->vmas.maps);
}
