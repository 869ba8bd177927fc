/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * attached.h - tests that each begin with an attached mm, and end without
 *
 * To be included last: others have arguments of the name mm.
 */
#ifndef TESTS_ATTACHED_H
#define TESTS_ATTACHED_H

#include "support.h"

/* A test that detaches it leaves NULL. */
static struct mm_struct *mm;

static int setup(void **state)
{
	(void)state;
	watchdog(60);
	mm = attach();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (mm)
		assert_int_equal(hmm_mm_detach(mm), 0);
	watchdog(0);
	return 0;
}

#endif
