// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * leftovers.c - what the kernel still holds when nobody uses the device
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

static long module_users(void)
{
	FILE *f = fopen("/sys/module/hmm/refcnt", "r");
	long n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* Areas that hmm.ko has mapped, not those that it is in itself. */
static unsigned int mapped_areas(void)
{
	FILE *f = fopen("/proc/vmallocinfo", "r");
	unsigned int n = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		n += !!strstr(line, "[hmm]");
	if (f)
		fclose(f);
	return n;
}

void check_nothing_left(void)
{
	double end = now() + options.hang;

	/* Files are closed by who dies, mms are let go a little later. */
	while ((module_users() > 0 || mapped_areas()) && now() < end)
		usleep(10000);
	if (module_users() > 0)
		failed("the module has %ld users", module_users());
	if (mapped_areas())
		failed("the module has %u areas mapped", mapped_areas());
}

static long meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kib = atol(line + strlen(name));
	if (f)
		fclose(f);
	return kib;
}

/*
 * What stays allocated for other reasons, and comes and goes in a guest.  One
 * object of the least size for each of a million ranges would be more.
 */
#define TOLERANCE_KIB (16 * 1024)

void check_memory(long before)
{
	double end = now() + options.hang;
	long after = memory_used();

	/* What was freed comes back when the kernel gets round to it. */
	while (after > before + TOLERANCE_KIB && now() < end)
		after = memory_used();
	if (after > before + TOLERANCE_KIB)
		failed("%ld KiB more in use than before", after - before);
}

long memory_used(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	/* Freed behind RCU and by work queues, some of it twice so. */
	sync();
	usleep(300000);
	if (fd >= 0) {
		if (write(fd, "3", 1) != 1)
			perror("drop_caches");
		close(fd);
	}
	usleep(300000);
	return meminfo("SUnreclaim:") + meminfo("AnonPages:") +
	       meminfo("PageTables:") + meminfo("KernelStack:") +
	       meminfo("Percpu:") + meminfo("VmallocUsed:");
}
