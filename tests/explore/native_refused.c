// SPDX-License-Identifier: MIT OR GPL-2.0
/* native_refused.c - a mirror refused: the change is not made, so it has ended */
#include "sim.h"

void native_refused(struct hmm *hmm, unsigned long start, unsigned long end)
{
	hmm_invalidate_end(hmm, start, end);
}
