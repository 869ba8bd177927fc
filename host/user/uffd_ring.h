/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * uffd_ring.h - the memory that a process and its uffd monitor share
 *
 * The kernel makes a thread that unmaps watched memory wait until the
 * userfaultfd has been read.  The monitor reads it, in a process of its own:
 * a reader among the threads of the watched process would sooner or later wait
 * for a lock that a waiting thread holds.
 *
 * The kernel lets the thread go as soon as the record is read, before anybody
 * could have looked at it.  So the monitor counts first:
 *
 *	monitor				a thread in munmap()
 *	started.count++			(waits)
 *	read()				goes on
 *	record, head			sees started != what was consumed:
 *	done = started.count		nothing is valid
 *
 * The kernel takes the lock of the userfaultfd's queue in read() to let the
 * thread go, and the thread has to take it to see that it may: hence what was
 * stored before read() is visible to everything that thread does, and to
 * whoever learns from it that it goes on.
 */
#ifndef HMM_UFFD_RING_H
#define HMM_UFFD_RING_H

#include <linux/futex.h>
#include <stdint.h>

#define UFFD_PAGE 4096
#define UFFD_RECORDS 4096

enum uffd_record_kind {
	UFFD_RECORD_UNMAP,
	UFFD_RECORD_REMAP,
	UFFD_RECORD_REMOVE,
};

struct uffd_record {
	uint64_t start, end;
	uint32_t kind;
	uint32_t unused;
};

/*
 * The counter is the low half of the word that everybody compares.  The high
 * half is a robust futex that the monitor owns: when it dies, whatever of, the
 * kernel writes FUTEX_OWNER_DIED there.  It does so before it closes the
 * userfaultfd, which is what lets waiting threads go and later changes pass
 * unseen.  So no comparison can succeed once there is nobody to count.
 */
union uffd_started {
	uint64_t word;
	struct {
		uint32_t count;
		uint32_t owner;
	};
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the count is the low half");

/*
 * Written by the monitor only; the process maps it read-only.
 *
 * The count wraps around.  A range that was armed exactly 2^32 counts ago would
 * look untouched, so a loss is reported every 2^31 counts.
 */
struct uffd_monitor_page {
	union uffd_started started;
	uint32_t done; /* the count up to which all is published */
	uint32_t head; /* records put so far */
	uint32_t lost; /* how often a record was dropped */
	/* Here, since the OOM killer may take private memory before the end. */
	struct robust_list_head robust;
	struct robust_list node;
};

/* Written by the process. */
struct uffd_user_page {
	uint32_t tail;  /* records taken so far */
	uint32_t lost;  /* losses seen so far */
	uint32_t armed; /* write to the eventfd when there is more */
	/* What the monitor inherits. */
	int uffd, sock, pidfd, eventfd;
};

struct uffd_shared {
	union {
		struct uffd_monitor_page monitor;
		char page0[UFFD_PAGE];
	};
	union {
		struct uffd_user_page user;
		char page1[UFFD_PAGE];
	};
	struct uffd_record ring[UFFD_RECORDS];
};

/* Watch [start, end): a request on the socket. */
struct uffd_request {
	uint64_t start, end;
	uint64_t id;
};

/* The answer, and once unasked, with id 0, when the monitor is ready. */
struct uffd_reply {
	uint64_t id;
	int32_t error; /* 0 or -errno */
};

#endif
