/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors: one array of tagged pointers to sockets (tag 0) or sets (tag 1), and a bitmap of
 * those in use, for the lowest free one (POSIX open(), "file descriptor allocation").
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "client/client_priv.h"

#define WORDS (FD_MAX / 64)

uintptr_t *fd_table;	/* FD_MAX, mapped; untouched pages cost nothing */
static uint64_t *used;	/* behind it */
static unsigned lowest; /* all words below are full */

#define TABLE_BYTES ((size_t)FD_MAX * sizeof(*fd_table) + (size_t)WORDS * sizeof(*used))

int fd_init(void)
{
	void *p = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	fd_table = p;
	used = (uint64_t *)(fd_table + FD_MAX);
	lowest = 0;
	return 0;
}

void fd_fini(void)
{
	if (fd_table != NULL)
		munmap(fd_table, TABLE_BYTES);
	fd_table = NULL;
}

int fd_open(struct csock *s, struct epset *e)
{
	unsigned w = lowest;

	while (w < WORDS && used[w] == UINT64_MAX)
		w++;
	lowest = w;
	if (w == WORDS)
		return -EMFILE;
	int fd = (int)(w * 64) + __builtin_ctzll(~used[w]);

	used[w] |= 1ull << (fd % 64);
	fd_table[fd] = s != NULL ? (uintptr_t)s : (uintptr_t)e | FD_SET_TAG;
	return fd;
}

int fd_next(int from)
{
	for (int fd = from; fd < FD_MAX; fd++) {
		if (used[fd / 64] == 0)
			fd |= 63;
		else if (fd_table[fd] != 0)
			return fd;
	}
	return -1;
}

void fd_free(int fd)
{
	unsigned w = (unsigned)fd / 64;

	fd_table[fd] = 0;
	used[w] &= ~(1ull << (fd % 64));
	if (w < lowest)
		lowest = w;
}

int fd_csock_error(int fd)
{
	if (!client.running)
		return -ENXIO;
	return (unsigned)fd >= FD_MAX || fd_table[fd] == 0 ? -EBADF : -ENOTSOCK;
}

struct epset *fd_epset(int fd, int *err)
{
	uintptr_t p;

	if (unlikely(!client.running)) {
		*err = -ENXIO;
		return NULL;
	}
	if (unlikely((unsigned)fd >= FD_MAX || (p = fd_table[fd]) == 0)) {
		*err = -EBADF;
		return NULL;
	}
	if (unlikely((p & FD_SET_TAG) == 0)) {
		*err = -EINVAL;
		return NULL;
	}
	return (struct epset *)(p & ~(uintptr_t)FD_SET_TAG);
}
