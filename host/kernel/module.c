// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * module.c - hmm.ko: what other modules may call, load and unload
 */
#include <linux/module.h>

#include "host.h"
#include "mm.h"

EXPORT_SYMBOL_GPL(hmm_mirror_register);
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);
EXPORT_SYMBOL_GPL(hmm_range_register);
EXPORT_SYMBOL_GPL(hmm_range_unregister);
EXPORT_SYMBOL_GPL(hmm_range_wait_until_valid);
EXPORT_SYMBOL_GPL(hmm_range_snapshot);
EXPORT_SYMBOL_GPL(hmm_range_fault);
EXPORT_SYMBOL_GPL(hmm_range_recheck);
EXPORT_SYMBOL_GPL(hmm_vma_fault);

static int __init hmm_module_init(void)
{
	return hmm_dev_init();
}

/* Whoever calls us holds a reference to the module: there are none left. */
static void __exit hmm_module_exit(void)
{
	hmm_dev_exit();
	hmm_mms_exit();
}

module_init(hmm_module_init);
module_exit(hmm_module_exit);

MODULE_DESCRIPTION(
	"Heterogeneous Memory Management: mirror a process's page table");
MODULE_LICENSE("Dual MIT/GPL");
