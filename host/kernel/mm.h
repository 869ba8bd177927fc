/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* mm.h - the parts of hmm.ko, for one another */
#ifndef HMM_KERNEL_MM_H
#define HMM_KERNEL_MM_H

/* Wait until no mm is known any more; nobody may register meanwhile. */
void hmm_mms_exit(void);

#endif
