/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* main.c - hmm: mirror, watch and inspect the memory of processes */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "hmm.h"

const char *cmd_name = "hmm";

static const struct {
	const char *name;
	const char *full_name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "info", "hmm info", cmd_info },
	{ "run", "hmm run", cmd_run },
	{ "watch", "hmm watch", cmd_watch },
	{ "snapshot", "hmm snapshot", cmd_snapshot },
};

static const char usage[] =
	"Usage: hmm COMMAND [OPTION]...\n"
	"\n"
	"  info       which notification sources this machine has, what each\n"
	"             sees and does not see, and the limits that matter\n"
	"  run        run a program while a software device uses its memory\n"
	"  watch      run a program, or attach to one, and print every change "
	"of\n"
	"             its page table\n"
	"  snapshot   what the page table of a process holds\n"
	"\n"
	"hmm COMMAND --help tells more, and hmm(1) everything.\n";

static void complain(const char *fmt, va_list ap)
{
	fprintf(stderr, "%s: ", cmd_name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void cmd_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
}

int cmd_usage_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try '%s --help'.\n", cmd_name);
	return EXIT_USAGE;
}

bool cmd_parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *end || end == text || value <= 0 || value > INT_MAX)
		return false;
	*pid = value;
	return true;
}

int cmd_check_source(const char *name)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++) {
		if (strcmp(info.name, name))
			continue;
		/* EAGAIN: in a moment it can. */
		if (!info.error || info.error == -EAGAIN)
			return EXIT_SUCCESS;
		cmd_error("source %s can't be used here: %s", name,
			  info.reason[0] ? info.reason : strerror(-info.error));
		return EXIT_FAILURE;
	}
	return cmd_usage_error("there is no source '%s'; hmm info lists them",
			       name);
}

FILE *cmd_open_output(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		cmd_error("can't write %s: %s", path, strerror(errno));
	return f;
}

bool cmd_close_output(FILE *f, const char *path)
{
	bool failed = ferror(f);

	/* Of what failed earlier the reason is not known any more. */
	if (fclose(f))
		cmd_error("can't write all of %s: %s", path, strerror(errno));
	else if (failed)
		cmd_error("can't write all of %s", path);
	else
		return true;
	return false;
}

/*
 * Descriptors that are closed would be given to what is opened next, and
 * messages go there.  The command finds them as they were.
 */
static void open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run(int argc, char **argv)
{
	unsigned int version = hmm_version();
	size_t i;

	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("hmm %u.%u\n", version >> 16, version & 0xffff);
		return EXIT_SUCCESS;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		cmd_name = commands[i].full_name;
		return commands[i].run(argc - 1, argv + 1);
	}
	return cmd_usage_error("there is no command '%s'", argv[1]);
}

int main(int argc, char **argv)
{
	int ret;

	open_standard_files();
	ret = run(argc, argv);
	if (!cmd_close_output(stdout, "the output") && ret == EXIT_SUCCESS)
		ret = EXIT_FAILURE;
	return ret;
}
