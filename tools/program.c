/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* program.c - what a program's file tells of how it can be looked at */
#include "program.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SEGMENTS 64u
#define DYNAMIC_ENTRIES 512u
#define STRINGS_MAX (16ul << 20)

static bool find_command(const char *name, char *path, size_t size)
{
	const char *dir = getenv("PATH");
	int len;

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return true;
	}
	for (; dir && *dir; dir += len + (dir[len] == ':')) {
		len = (int)strcspn(dir, ":");
		snprintf(path, size, "%.*s/%s", len, dir, name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/* ---- The file's format ----------------------------------------------------- */

struct elf {
	int fd;
	unsigned int nr;
	Elf64_Phdr segment[SEGMENTS];
};

static const char foreign[] = "it is a program for another processor";

/* NULL and no segments if it is no ELF file. */
static const char *read_elf(struct elf *elf, int fd)
{
	size_t size = sizeof(elf->segment[0]);
	Elf64_Ehdr ehdr;
	unsigned int nr;

	elf->fd = fd;
	elf->nr = 0;
	if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr) ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG))
		return NULL;
	if (ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_machine != EM_X86_64)
		return foreign;
	nr = ehdr.e_phnum < SEGMENTS ? ehdr.e_phnum : SEGMENTS;
	if (ehdr.e_phentsize == size &&
	    pread(fd, elf->segment, nr * size, (off_t)ehdr.e_phoff) ==
		    (ssize_t)(nr * size))
		elf->nr = nr;
	return NULL;
}

static const Elf64_Phdr *find_segment(const struct elf *elf, Elf64_Word type)
{
	unsigned int i;

	for (i = 0; i < elf->nr; i++)
		if (elf->segment[i].p_type == type)
			return &elf->segment[i];
	return NULL;
}

/* Where in the file is an address? */
static off_t file_offset(const struct elf *elf, Elf64_Addr addr)
{
	const Elf64_Phdr *segment;
	unsigned int i;

	for (i = 0; i < elf->nr; i++) {
		segment = &elf->segment[i];
		if (segment->p_type == PT_LOAD && segment->p_vaddr <= addr &&
		    addr - segment->p_vaddr < segment->p_filesz)
			return (off_t)(segment->p_offset + addr -
				       segment->p_vaddr);
	}
	return -1;
}

/* The names of what it takes from libraries, to be freed; NULL if of none. */
static char *read_strings(const struct elf *elf, size_t *size)
{
	const Elf64_Phdr *segment = find_segment(elf, PT_DYNAMIC);
	Elf64_Dyn dynamic[DYNAMIC_ENTRIES];
	Elf64_Addr addr = 0;
	off_t offset;
	ssize_t got;
	size_t i;
	char *strings;

	*size = 0;
	if (!segment)
		return NULL;
	got = pread(elf->fd, dynamic,
		    segment->p_filesz < sizeof(dynamic) ? segment->p_filesz
							: sizeof(dynamic),
		    (off_t)segment->p_offset);
	for (i = 0; got > 0 && i < (size_t)got / sizeof(dynamic[0]); i++) {
		if (dynamic[i].d_tag == DT_STRTAB)
			addr = dynamic[i].d_un.d_ptr;
		else if (dynamic[i].d_tag == DT_STRSZ)
			*size = dynamic[i].d_un.d_val;
	}
	offset = file_offset(elf, addr);
	if (offset < 0 || !*size || *size > STRINGS_MAX)
		return NULL;
	strings = malloc(*size);
	if (!strings)
		return NULL;
	got = pread(elf->fd, strings, *size, offset);
	*size = got > 0 ? (size_t)got : 0;
	return strings;
}

/*
 * Does it call ptrace(), or is it built with a sanitizer that does at exit?
 * Who does so behind a library's back is not found, and told EPERM.
 */
static bool calls_ptrace(int fd)
{
	static const struct {
		const char *name;
		size_t size;
	} names[] = {
		{ "ptrace", sizeof("ptrace") },
		{ "__asan_init", sizeof("__asan_init") },
		{ "__hwasan_init", sizeof("__hwasan_init") },
		{ "liblsan.so", sizeof("liblsan.so") - 1 },
	};
	struct elf elf;
	size_t size, i;
	char *strings;
	bool found = false;

	if (read_elf(&elf, fd))
		return false;
	strings = read_strings(&elf, &size);
	for (i = 0; strings && i < sizeof(names) / sizeof(names[0]); i++)
		found |= memmem(strings, size, names[i].name, names[i].size) !=
			 NULL;
	free(strings);
	return found;
}

/* ---- Whose rights ----------------------------------------------------------- */

static bool changes_user(const struct stat *st, uid_t uid, gid_t gid)
{
	const mode_t sgid = S_ISGID | S_IXGRP; /* else it is about locks */

	return (st->st_mode & S_ISUID && st->st_uid != uid) ||
	       ((st->st_mode & sgid) == sgid && st->st_gid != gid);
}

/* Its effective rights; false if they could not have been others anyway. */
static bool rights_of(pid_t pid, uid_t *uid, gid_t *gid)
{
	bool may_change = true;
	char path[32], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Uid: %*u %u", uid);
		sscanf(line, "Gid: %*u %u", gid);
		if (!strncmp(line, "NoNewPrivs:\t1", 13))
			may_change = false;
	}
	fclose(f);
	return may_change;
}

static bool lost_rights(pid_t pid, int fd)
{
	struct statvfs fs;
	struct stat st;
	uid_t uid = 0;
	gid_t gid = 0;

	return !fstat(fd, &st) && st.st_mode & (S_ISUID | S_ISGID) &&
	       !fstatvfs(fd, &fs) && !(fs.f_flag & ST_NOSUID) &&
	       rights_of(pid, &uid, &gid) && changes_user(&st, uid, gid);
}

bool program_needs_rights(const char *command)
{
	char path[PATH_MAX];
	struct stat st;

	return geteuid() && find_command(command, path, sizeof(path)) &&
	       !stat(path, &st) && changes_user(&st, getuid(), getgid());
}

/* ---- Both -------------------------------------------------------------------- */

const char *program_obstacle(const char *command)
{
	const char *obstacle = NULL;
	char path[PATH_MAX];
	struct stat st;
	struct elf elf;
	int fd;

	if (!find_command(command, path, sizeof(path)) || stat(path, &st))
		return NULL;
	if (changes_user(&st, getuid(), getgid()))
		return "it is set-user-ID, and takes no preloaded library";
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	obstacle = read_elf(&elf, fd);
	if (!obstacle && elf.nr && !find_segment(&elf, PT_INTERP))
		obstacle = "it is statically linked, and takes no preloaded "
			   "library";
	close(fd);
	return obstacle;
}

bool program_look(pid_t pid, char *remark, size_t size)
{
	char path[32], exe[PATH_MAX];
	const char *name;
	bool traces;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = readlink(path, exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = '\0';
	name = strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe;
	traces = calls_ptrace(fd);
	if (traces)
		snprintf(remark, size,
			 "%.40s may use ptrace(2) itself, and was not traced: "
			 "its children were found some ms late",
			 name);
	else if (lost_rights(pid, fd))
		snprintf(remark, size,
			 "%.40s is set-user-ID, and ran without those rights, "
			 "since it was traced",
			 name);
	close(fd);
	return traces;
}
