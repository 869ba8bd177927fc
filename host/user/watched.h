/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* watched.h - is memory mapped and watched by a userfaultfd, all of it? */
#ifndef HMM_WATCHED_H
#define HMM_WATCHED_H

/*
 * fd is /proc/self/pagemap.  1 if every page of [start, end) is; 0 if not;
 * -ENOTTY if this kernel can't tell (before 6.7); -errno.
 */
int hmm_watched(int fd, unsigned long start, unsigned long end);

#endif
