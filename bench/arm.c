// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * arm.c - a side of a pair in a process of its own
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct request {
	unsigned int op, n;
};

static void serve(int from, int to, bench_setup_fn setup, const void *arg,
		  const bench_fn *ops)
{
	char why[sizeof(((struct bench_arm *)0)->why)] = "";
	struct request req;
	uint64_t ns;
	void *ctx;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ctx = setup(arg, why, sizeof(why));
	if (write(to, why, sizeof(why)) != sizeof(why) || !ctx)
		_exit(1);
	while (read(from, &req, sizeof(req)) == sizeof(req)) {
		ns = bench_batch(ops[req.op], ctx, req.n);
		if (write(to, &ns, sizeof(ns)) != sizeof(ns))
			break;
	}
	_exit(0);
}

bool bench_arm_start(struct bench_arm *arm, bench_setup_fn setup,
		     const void *arg, const bench_fn *ops)
{
	int to[2], from[2];

	memset(arm, 0, sizeof(*arm));
	snprintf(arm->why, sizeof(arm->why), "no process to be had");
	if (pipe(to))
		return false;
	if (pipe(from)) {
		close(to[0]);
		close(to[1]);
		return false;
	}
	arm->pid = fork();
	if (!arm->pid) {
		close(to[1]);
		close(from[0]);
		serve(to[0], from[1], setup, arg, ops);
	}
	close(to[0]);
	close(from[1]);
	arm->to = to[1];
	arm->from = from[0];
	if (arm->pid > 0 &&
	    read(arm->from, arm->why, sizeof(arm->why)) == sizeof(arm->why) &&
	    !*arm->why)
		return true;
	bench_arm_stop(arm);
	return false;
}

void bench_arm_stop(struct bench_arm *arm)
{
	close(arm->to);
	close(arm->from);
	if (arm->pid > 0)
		waitpid(arm->pid, NULL, 0);
	arm->pid = 0;
}

uint64_t bench_arm_run(void *ctx, unsigned int n)
{
	struct bench_arm *arm = ctx;
	struct request req = { arm->op, n };
	uint64_t ns;

	if (write(arm->to, &req, sizeof(req)) != sizeof(req) ||
	    read(arm->from, &ns, sizeof(ns)) != sizeof(ns)) {
		fprintf(stderr, "bench: a measured process died\n");
		exit(1);
	}
	return ns;
}
