/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* attach.h - how a test gets an address space, or skips */
#ifndef HMM_TESTS_ATTACH_H
#define HMM_TESTS_ATTACH_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hmm.h"

/*
 * The source that the test is to run with ($HMM_SOURCE, else any): skips the
 * test if it can't be used here, and says why.  If it can, attaching works.
 */
static inline struct mm_struct *test_attach(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	const char *wanted = getenv("HMM_SOURCE");
	struct mm_struct *mm = NULL;
	bool usable = false;
	unsigned int i;

	for (i = 0; !usable && !hmm_source_query(i, &info); i++) {
		if (wanted && strcmp(wanted, info.name))
			continue;
		usable = !info.error;
		if (info.error)
			print_message("skip: %s: %s\n", info.name, info.reason);
	}
	if (!usable)
		skip();
	assert_int_equal(hmm_mm_attach(&mm, NULL), 0);
	assert_non_null(mm);
	return mm;
}

#endif
