/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * own_fd.h - a descriptor of the library's in the application's table
 *
 * An application that closes descriptors that it does not know (closefrom())
 * closes ours, and uses their numbers again.  So what would change a file, or
 * take from it, asks first whether the number still means the file it did.
 * Files without an inode of their own (eventfd) can't be told apart.
 *
 * None is where standard input, output and error should be: a daemon that has
 * closed them may write there all the same.
 */
#ifndef HMM_OWN_FD_H
#define HMM_OWN_FD_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

struct hmm_own_fd {
	int fd;
	dev_t dev;
	ino_t ino;
};

#define HMM_NO_FD ((struct hmm_own_fd){ .fd = -1 })

static inline bool hmm_own_fd_valid(const struct hmm_own_fd *own)
{
	struct stat st;

	if (own->fd < 0)
		return false;
	/* Any other error does not say that it has changed hands. */
	if (fstat(own->fd, &st))
		return errno != EBADF;
	return st.st_dev == own->dev && st.st_ino == own->ino;
}

static inline void hmm_own_fd_close(struct hmm_own_fd *own)
{
	if (hmm_own_fd_valid(own))
		close(own->fd);
	own->fd = -1;
}

#define HMM_FIRST_FD 3

/* A second descriptor of the same file; -errno. */
static inline int hmm_own_fd_dup(int fd)
{
	int ret = fcntl(fd, F_DUPFD_CLOEXEC, HMM_FIRST_FD);

	if (ret >= 0)
		return ret;
	/* Not so much as the first one is allowed. */
	return errno == EINVAL ? -EMFILE : -errno;
}

/* Takes what open() or the like returned.  0; -errno, then it is closed. */
static inline int hmm_own_fd_set(struct hmm_own_fd *own, int fd)
{
	struct stat st;
	int ret;

	*own = HMM_NO_FD;
	if (fd < 0)
		return -errno;
	if (fd < HMM_FIRST_FD) {
		ret = hmm_own_fd_dup(fd);
		close(fd);
		if (ret < 0)
			return ret;
		fd = ret;
	}
	if (fstat(fd, &st)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	*own = (struct hmm_own_fd){ fd, st.st_dev, st.st_ino };
	return 0;
}

#endif
