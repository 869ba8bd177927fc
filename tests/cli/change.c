/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * change.c - a program with changes to be seen: change ROUNDS exit|_exit|kill
 *
 * Maps memory at a known place, leaves it there so long that everybody who
 * looks finds it ($SLOW times as long), unmaps it, and prints the place.  After
 * SIGUSR1 there are no more rounds.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACE ((void *)0x123400000000)
#define SIZE (1ul << 20)

static volatile sig_atomic_t enough;

static void on_signal(int sig)
{
	(void)sig;
	enough = 1;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	const char *end = argc > 2 ? argv[2] : "exit";
	const char *slow = getenv("SLOW");
	int times = slow ? atoi(slow) : 1, i;
	unsigned char *p;
	unsigned long sum;

	signal(SIGUSR1, on_signal);
	while (rounds-- && !enough) {
		p = mmap(PLACE, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			 0);
		if (p != PLACE)
			return 2;
		memset(p, rounds, SIZE);
		for (i = 0; i < times; i++)
			usleep(250000);
		for (sum = 0; p < (unsigned char *)PLACE + SIZE; p++)
			sum += *p;
		if (sum != SIZE * (unsigned char)rounds)
			return 3;
		munmap(PLACE, SIZE);
		printf("%lx\n", (unsigned long)PLACE);
		fflush(stdout);
	}
	if (!strcmp(end, "_exit"))
		_exit(7);
	if (!strcmp(end, "kill"))
		raise(SIGKILL);
	return 7;
}
