/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* walker.h - the request of hmm_bench.ko */
#ifndef HMM_BENCH_WALKER_H
#define HMM_BENCH_WALKER_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct hmm_bench_walk {
	__u64 start, end;
	__u64 pfns;
};

#define HMM_BENCH_WALK _IOW('h', 0xb0, struct hmm_bench_walk)

#endif
