/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* hmm_selftest.h - what /dev/hmm_selftest can be told to do */
#ifndef HMM_SELFTEST_H
#define HMM_SELFTEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct hmm_selftest_range {
	__u64 start, end;
};

struct hmm_selftest_seen {
	__u32 calls;    /* of the callback, for what overlaps the range */
	__u32 refused;  /* of those, answered with -EAGAIN */
	__u32 trusting; /* of those, begun with the range still valid */
	__u32 released;
	__s32 inside; /* what unregistering the mirror in the callback said */
	__u32 stuck;
};

/*
 * An open file is a driver with one mirror and one range.  Each request is a
 * call of hmm.h's function, and says what that said.
 */
#define ST_BIND _IO('S', 0) /* to the memory of the caller */
#define ST_MIRROR _IO('S', 1)
#define ST_UNMIRROR _IO('S', 2)
#define ST_RANGE _IOW('S', 3, struct hmm_selftest_range)
#define ST_UNRANGE _IO('S', 4) /* under a spinlock */
#define ST_WAIT _IO('S', 5)    /* so many ms: 1 or 0 */
#define ST_SNAPSHOT _IO('S', 6)
#define ST_FAULT _IO('S', 7)   /* for reading, with block as the argument */
#define ST_VALID _IO('S', 8)   /* under the lock of the callback: 1 or 0 */
#define ST_PRESENT _IO('S', 9) /* entries with a page in the last answer */

#define ST_MODE _IO('S', 10) /* of the callback, by these bits */
#define ST_REFUSE 0x1        /* whatever does not block */
#define ST_UNMIRROR_INSIDE 0x2
#define ST_UNRANGE_INSIDE 0x4
#define ST_STICK_INSIDE 0x8 /* as ST_STICK */
#define ST_SEEN _IOR('S', 11, struct hmm_selftest_seen)

#define ST_STICK _IO('S', 12) /* asleep, not to be killed, until ST_UNSTICK */
#define ST_UNSTICK _IO('S', 13)
/*
 * The same to the last user of the bound memory, when that is about to be torn
 * down and before whoever had a notifier until now is told.
 */
#define ST_STICK_AT_END _IO('S', 14)

/* The mmap lock is not what the answer of a snapshot or fault says it is. */
#define ST_LOCK_ERROR 71 /* EPROTO */

#endif
