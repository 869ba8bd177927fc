# SPDX-License-Identifier: MIT OR GPL-2.0
#
# A plug-in that loads libhmm and is unloaded without having detached: the
# library's threads, and its fork handlers, still have code to run.
set -eu
tmp=$(mktemp -d /tmp/hmm-dlclose.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/host.c" <<'C'
#include <dlfcn.h>
#include <hmm.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int (*attach)(struct mm_struct **, const struct hmm_attach_opts *);
	void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	struct mm_struct *mm;
	int i;

	if (!lib) {
		puts(dlerror());
		return 1;
	}
	*(void **)&attach = dlsym(lib, "hmm_mm_attach");
	if (attach(&mm, NULL))
		return 77;
	dlclose(lib);
	for (i = 0; i < 100; i++) {
		char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		*p = 1;
		munmap(p, 65536);
	}
	/* The watcher looks at least once a second. */
	sleep(2);
	if (!fork())
		_exit(0);
	wait(&i);
	return i;
}
C
${CC-gcc} -Wall -Werror -Iinclude -pthread -o "$tmp/host" "$tmp/host.c" -ldl
"$tmp/host" "$O/libhmm.so"
