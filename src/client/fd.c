/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors: one array of tagged pointers to sockets (tag 0) or sets (tag 1), and a bitmap of
 * those in use, for the lowest free one (POSIX open(), "file descriptor allocation").
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "client/client_priv.h"

#define FD_MAX	(1 << 22)
#define TAG_SET 1u
#define WORDS	(FD_MAX / 64)

static uintptr_t *table; /* FD_MAX, mapped; untouched pages cost nothing */
static uint64_t *used;	 /* behind it */
static unsigned lowest;	 /* all words below are full */

#define TABLE_BYTES ((size_t)FD_MAX * sizeof(*table) + (size_t)WORDS * sizeof(*used))

int fd_init(void)
{
	void *p = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	table = p;
	used = (uint64_t *)(table + FD_MAX);
	lowest = 0;
	return 0;
}

void fd_fini(void)
{
	if (table != NULL)
		munmap(table, TABLE_BYTES);
	table = NULL;
}

int fd_limit(void)
{
	return FD_MAX;
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
	table[fd] = s != NULL ? (uintptr_t)s : (uintptr_t)e | TAG_SET;
	return fd;
}

int fd_next(int from)
{
	for (int fd = from; fd < FD_MAX; fd++) {
		if (used[fd / 64] == 0)
			fd |= 63;
		else if (table[fd] != 0)
			return fd;
	}
	return -1;
}

void fd_free(int fd)
{
	unsigned w = (unsigned)fd / 64;

	table[fd] = 0;
	used[w] &= ~(1ull << (fd % 64));
	if (w < lowest)
		lowest = w;
}

struct csock *fd_csock(int fd, int *err)
{
	uintptr_t p;

	if (unlikely(!client.running)) {
		*err = -ENXIO;
		return NULL;
	}
	if (unlikely((unsigned)fd >= FD_MAX || (p = table[fd]) == 0)) {
		*err = -EBADF;
		return NULL;
	}
	if (unlikely(p & TAG_SET)) {
		*err = -ENOTSOCK;
		return NULL;
	}
	return (struct csock *)p;
}

struct epset *fd_epset(int fd, int *err)
{
	uintptr_t p;

	if (unlikely(!client.running)) {
		*err = -ENXIO;
		return NULL;
	}
	if (unlikely((unsigned)fd >= FD_MAX || (p = table[fd]) == 0)) {
		*err = -EBADF;
		return NULL;
	}
	if (unlikely((p & TAG_SET) == 0)) {
		*err = -EINVAL;
		return NULL;
	}
	return (struct epset *)(p & ~(uintptr_t)TAG_SET);
}
