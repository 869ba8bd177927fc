// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * machine.c - a swap and KSM, where there are none and one may have them
 *
 * A process of its own does it, and undoes it when its socket to the supervisor
 * is closed: also when that is killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <unistd.h>

#include "../migrations.h"
#include "torture.h"

#define KSM "/sys/kernel/mm/ksm/"
#define ZRAM "/sys/class/zram-control/"
#define SWAP_SIZE "256M"

static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ret;

	if (fd < 0)
		return false;
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ret;
}

/* ---- Swap ------------------------------------------------------------------- */

static int zram = -1;

static bool make_swap(void)
{
	char path[64], command[96], text[16];

	if (!read_text(ZRAM "hot_add", text, sizeof(text)))
		return false;
	zram = atoi(text);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", zram);
	if (!write_text(path, SWAP_SIZE))
		return false;
	snprintf(command, sizeof(command), "mkswap /dev/zram%d >/dev/null 2>&1",
		 zram);
	if (system(command))
		return false;
	snprintf(path, sizeof(path), "/dev/zram%d", zram);
	return !swapon(path, 0);
}

static void swap_prepare(void)
{
	char text[1024], *line;

	read_text("/proc/swaps", text, sizeof(text));
	line = strchr(text, '\n');
	if (line && line[1])
		printf("machine: the swap that is there is used\n");
	else if (make_swap())
		printf("machine: swap of " SWAP_SIZE " on zram%d\n", zram);
	else
		printf("machine: no swap, and none can be made on zram: "
		       "nothing is swapped out\n");
}

static void swap_undo(void)
{
	char path[64], text[16];

	if (zram < 0)
		return;
	snprintf(path, sizeof(path), "/dev/zram%d", zram);
	swapoff(path);
	snprintf(path, sizeof(path), "/sys/block/zram%d/reset", zram);
	write_text(path, "1");
	snprintf(text, sizeof(text), "%d", zram);
	write_text(ZRAM "hot_remove", text);
}

/* ---- KSM -------------------------------------------------------------------- */

static struct knob {
	const char *path, *value;
	char old[32];
} knobs[] = {
	{ KSM "sleep_millisecs", "20", "" },
	{ KSM "pages_to_scan", "200", "" },
	{ KSM "run", "1", "" },
};
#define NR_KNOBS (sizeof(knobs) / sizeof(knobs[0]))

static void ksm_prepare(void)
{
	unsigned int i;
	bool done = true;

	for (i = 0; i < NR_KNOBS; i++) {
		done &= read_text(knobs[i].path, knobs[i].old,
				  sizeof(knobs[i].old)) &&
			write_text(knobs[i].path, knobs[i].value);
		/* Another torture's, maybe: it undoes that, not this one. */
		if (atoi(knobs[i].old) == atoi(knobs[i].value))
			*knobs[i].old = '\0';
	}
	printf("machine: KSM %s\n", done ? "on" : "can't be turned on");
}

static void ksm_undo(void)
{
	unsigned int i;

	for (i = 0; i < NR_KNOBS; i++)
		if (*knobs[i].old)
			write_text(knobs[i].path, knobs[i].old);
}

/* ---- Migration and reclaim ------------------------------------------------------ */

static uint64_t migrations_before, reclaims_before;

bool machine_migrates(void)
{
	return moved_since(migrations, migrations_before);
}

bool machine_reclaims(void)
{
	return moved_since(reclaims, reclaims_before);
}

/* ---- The process ------------------------------------------------------------ */

static void keep(int fd)
{
	char c;

	/* What ends the supervisor must not end this one. */
	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	swap_prepare();
	ksm_prepare();
	fflush(stdout);
	(void)!write(fd, "", 1);
	/* Nobody writes: it ends when the other end is closed. */
	(void)!read(fd, &c, 1);
	ksm_undo();
	swap_undo();
}

void machine_prepare(void)
{
	int fds[2];
	char c;

	migrations_before = migrations();
	reclaims_before = reclaims();
	if (t.level < 2)
		return;
	if (getuid()) {
		printf("machine: not root, no swap and no KSM\n");
		return;
	}
	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return;
	switch (fork()) {
	case 0:
		close(fds[0]);
		keep(fds[1]);
		_exit(0);
	default:
		close(fds[1]);
		(void)!read(fds[0], &c, 1);
	}
}
