/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* dev_opened.h - tests that each begin with an open and mapped /dev/hmm */
#ifndef TESTS_DEV_OPENED_H
#define TESTS_DEV_OPENED_H

#include "dev_support.h"

static struct dev dev;

static int setup(void **state)
{
	(void)state;
	watchdog(30);
	dev_open(&dev);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (dev.shared)
		dev_close(&dev);
	dev.shared = NULL;
	watchdog(0);
	return 0;
}

#define DEV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
