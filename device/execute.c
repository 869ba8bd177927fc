// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * execute.c - what an engine does with a command
 *
 * Memory is only touched through translations, and they are held while it is
 * touched.  The engine's own memory is a chunk: commands go through it piece by
 * piece, so that no access keeps an unmap waiting for long.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

/* How often a translation may vanish before it is used. */
#define ATTEMPTS 1000

/* Between the engine's own memory and an address.  Bytes, or -errno. */
static ssize_t transfer(pid_t pid, unsigned long addr, void *own, size_t len,
			bool write)
{
	struct iovec local = { own, len };
	struct iovec remote = { (void *)addr, len };
	ssize_t ret;

	ret = write ? process_vm_writev(pid, &local, 1, &remote, 1, 0)
		    : process_vm_readv(pid, &local, 1, &remote, 1, 0);
	return ret < 0 ? -errno : ret;
}

int dm_execute_probe(void)
{
	char from = 1, to = 0;
	ssize_t ret;

	ret = transfer(getpid(), (unsigned long)&from, &to, 1, false);
	return ret < 0 ? (int)ret : 0;
}

/* How many bytes from addr on, up to len, have translations.  L held. */
static size_t translate(struct dmirror *dm, unsigned long addr, size_t len,
			bool write)
{
	const uint64_t need = PTE_VALID | (write ? PTE_WRITE : 0);
	unsigned long at, end = addr + len;
	uint64_t pages = 0;

	for (at = addr; at < end; at = (at | (PT_PAGE_SIZE - 1)) + 1) {
		if ((pt_lookup(&dm->pt, at) & need) != need) {
			dm_count(dm, misses, 1);
			break;
		}
		pages++;
	}
	dm_count(dm, hits, pages);
	return at < end ? at > addr ? at - addr : 0 : len;
}

/*
 * Get translations of at least min and at most len bytes at addr, and hold
 * them: returns how many with L read-held, or -errno without.
 */
static ssize_t hold(struct engine *engine, unsigned long addr, size_t min,
		    size_t len, unsigned long end, bool write)
{
	struct dmirror *dm = engine->dm;
	int attempts = ATTEMPTS;
	size_t held;
	int ret;

	while (attempts-- && !dm_engines_stopping(dm)) {
		pthread_rwlock_rdlock(&dm->lock);
		held = translate(dm, addr, len, write);
		if (held >= min)
			return (ssize_t)held;
		pthread_rwlock_unlock(&dm->lock);
		ret = dm_fault(dm, addr + held, end, write, engine->pfns);
		if (ret)
			return ret;
	}
	return attempts < 0 ? -EBUSY : -ECANCELED;
}

static void let_go(struct engine *engine)
{
	pthread_rwlock_unlock(&engine->dm->lock);
}

/*
 * Between the engine's memory and [addr, addr + len), of a command that ends at
 * end.  *done bytes have been moved, also on an error.
 */
static int access_memory(struct engine *engine, unsigned long addr,
			 unsigned long end, unsigned char *own, size_t len,
			 bool write, size_t *done)
{
	struct dmirror *dm = engine->dm;
	int attempts = ATTEMPTS;
	ssize_t ret;

	*done = 0;
	while (*done < len) {
		ret = hold(engine, addr + *done, 1, len - *done, end, write);
		if (ret < 0)
			return (int)ret;
		ret = transfer(dm->target, addr + *done, own + *done,
			       (size_t)ret, write);
		let_go(engine);
		dm_count(dm, accesses, 1);
		if (ret == -EFAULT)
			ret = dm_oracle_access_failed(dm, addr + *done, write);
		if (ret < 0)
			return (int)ret;
		if (!ret && !attempts--)
			return -EBUSY;
		*done += (size_t)ret;
	}
	return 0;
}

/* The command's buffer is not the device's business: no translation. */
static int access_buf(struct engine *engine, void *buf, size_t len, bool write)
{
	ssize_t ret;

	ret = transfer(engine->dm->pid, (unsigned long)buf, engine->chunk, len,
		       write);
	if (ret < 0)
		return (int)ret;
	return (size_t)ret < len ? -EFAULT : 0;
}

static uint64_t fnv1a(uint64_t hash, const unsigned char *p, size_t len)
{
	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3;
	return hash;
}

/* One chunk of any command but ADD.  *done as in access_memory(). */
static int step(struct engine *engine, struct dmirror_op *op, size_t len,
		size_t *done)
{
	unsigned long addr = op->addr + op->bytes, end = op->addr + op->len;
	unsigned long dst = op->dst + op->bytes, dst_end = op->dst + op->len;
	unsigned char *own = engine->chunk;
	size_t loaded = 0;
	int ret, err;

	switch (op->type) {
	case DMIRROR_WRITE:
		ret = access_buf(engine, (char *)op->buf + op->bytes, len,
				 false);
		if (ret)
			return ret;
		return access_memory(engine, addr, end, own, len, true, done);
	case DMIRROR_FILL:
		memset(own, (int)op->value, len);
		return access_memory(engine, addr, end, own, len, true, done);
	default:
		break;
	}

	ret = access_memory(engine, addr, end, own, len, false, &loaded);
	switch (op->type) {
	case DMIRROR_READ:
		err = access_buf(engine, (char *)op->buf + op->bytes, loaded,
				 true);
		*done = err ? 0 : loaded;
		break;
	case DMIRROR_COPY:
		err = access_memory(engine, dst, dst_end, own, loaded, true,
				    done);
		break;
	default:
		op->result = fnv1a(op->result, own, loaded);
		*done = loaded;
		err = 0;
		break;
	}
	return err ? err : ret;
}

/* Read, add and write under one hold: the page can't change in between. */
static int add(struct engine *engine, struct dmirror_op *op)
{
	const size_t len = sizeof(uint64_t);
	struct dmirror *dm = engine->dm;
	int attempts = ATTEMPTS;
	uint64_t old, new;
	ssize_t ret;

	while (attempts--) {
		ret = hold(engine, op->addr, len, len, op->addr + len, true);
		if (ret < 0)
			return (int)ret;
		pthread_mutex_lock(&dm->add_lock);
		ret = transfer(dm->target, op->addr, &old, len, false);
		if (ret == (ssize_t)len) {
			new = old + op->value;
			ret = transfer(dm->target, op->addr, &new, len, true);
		}
		pthread_mutex_unlock(&dm->add_lock);
		let_go(engine);
		dm_count(dm, accesses, 2);
		if (ret == (ssize_t)len) {
			op->result = old;
			op->bytes = len;
			return 0;
		}
		/* Half of it worked: it's the next page that is gone. */
		ret = dm_oracle_access_failed(
			dm, op->addr + (ret > 0 ? (size_t)ret : 0), true);
		if (ret)
			return (int)ret;
	}
	return -EBUSY;
}

int dm_execute(struct engine *engine, struct dmirror_op *op)
{
	size_t len, done;
	int ret = 0;

	if (op->type == DMIRROR_ADD)
		return add(engine, op);
	if (op->type == DMIRROR_CHECKSUM)
		op->result = 0xcbf29ce484222325;
	while (!ret && op->bytes < op->len) {
		if (dm_engines_stopping(engine->dm))
			return -ECANCELED;
		len = op->len - op->bytes;
		done = 0;
		ret = step(engine, op, len < CHUNK ? len : CHUNK, &done);
		op->bytes += done;
	}
	return ret;
}
