/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors: one array of tagged pointers to sockets (tag 0) or sets (tag 1), and a bitmap of
 * those in use, for the lowest free one (POSIX open(), "file descriptor allocation"). Under a host
 * (host.h) the numbers are the kernel's: the host chooses, and several may stand for one thing.
 * These are a ring: each names the next, so one that is alone costs nothing.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "client/client_priv.h"
#include "client/host.h"

#define WORDS (FD_MAX / 64)

uintptr_t *fd_table;	/* FD_MAX, mapped; untouched pages cost nothing */
static uint64_t *used;	/* behind it */
static int32_t *ring;	/* behind that: the next number of the same thing and 1; 0 = it is alone */
static unsigned lowest; /* all words below are full */
static const struct host_ops *host;

#define TABLE_BYTES                                                                                \
	((size_t)FD_MAX * (sizeof(*fd_table) + sizeof(*ring)) + (size_t)WORDS * sizeof(*used))

void host_set(const struct host_ops *ops)
{
	host = ops;
	interrupt_by(ops->interrupted);
}

bool fd_hosted(void)
{
	return host != NULL;
}

bool fd_is_hosted(void)
{
	return host != NULL;
}

int fd_init(void)
{
	void *p = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	fd_table = p;
	used = (uint64_t *)(fd_table + FD_MAX);
	ring = (int32_t *)(used + WORDS);
	lowest = 0;
	return 0;
}

void fd_fini(void)
{
	if (fd_table != NULL)
		munmap(fd_table, TABLE_BYTES);
	fd_table = NULL;
}

static int lowest_free(void)
{
	unsigned w = lowest;

	while (w < WORDS && used[w] == UINT64_MAX)
		w++;
	lowest = w;
	return w < WORDS ? (int)(w * 64) + __builtin_ctzll(~used[w]) : -EMFILE;
}

/* What we still know by this number is gone: somebody closed it in the kernel, past the host. */
static int host_number(int flags)
{
	int fd = host->fd_new(flags);

	if (fd >= FD_MAX) {
		host->fd_gone(fd);
		return -EMFILE;
	}
	if (fd >= 0 && fd_table[fd] != 0)
		descriptor_close(fd);
	return fd;
}

static void fd_put(int fd, uintptr_t what)
{
	used[fd / 64] |= 1ull << (fd % 64);
	fd_table[fd] = what;
}

static uintptr_t tagged(const struct csock *s, const struct epset *e)
{
	return s != NULL ? (uintptr_t)s : (uintptr_t)e | FD_SET_TAG;
}

int fd_open(struct csock *s, struct epset *e, int at, int flags)
{
	int fd = at;

	if (at == FD_ANY)
		fd = host != NULL ? host_number(flags) : lowest_free();
	else if (at >= FD_MAX)
		return -EMFILE;
	else if (at < 0 || fd_table[at] != 0)
		return at < 0 ? -EBADF : -EBUSY;
	if (fd >= 0)
		fd_put(fd, tagged(s, e));
	return fd;
}

int fd_dup(int from, int to)
{
	if ((unsigned)from >= FD_MAX || fd_table[from] == 0 || to < 0)
		return -EBADF;
	if (to >= FD_MAX)
		return -EMFILE;
	if (fd_table[to] != 0)
		return -EBUSY;
	fd_put(to, fd_table[from]);
	ring[to] = ring[from] != 0 ? ring[from] : from + 1;
	ring[from] = to + 1;
	return 0;
}

int fd_count(int fd)
{
	int n = 1;

	if ((unsigned)fd >= FD_MAX || fd_table[fd] == 0)
		return -EBADF;
	for (int i = ring[fd]; i != 0 && i != fd + 1; i = ring[i - 1])
		n++;
	return n;
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

/* Takes it out of its ring: a number that stays; -1 if it was alone. */
static int ring_leave(int fd)
{
	int prev = ring[fd] - 1;

	if (likely(prev < 0))
		return -1;
	while (ring[prev] != fd + 1)
		prev = ring[prev] - 1;
	ring[prev] = ring[fd] != prev + 1 ? ring[fd] : 0;
	ring[fd] = 0;
	return prev;
}

int fd_free(int fd)
{
	unsigned w = (unsigned)fd / 64;
	int other = ring_leave(fd);

	fd_table[fd] = 0;
	used[w] &= ~(1ull << (fd % 64));
	if (w < lowest)
		lowest = w;
	return other;
}

void fd_lose(int fd)
{
	while (fd >= 0) {
		int other = fd_free(fd);

		if (host != NULL)
			host->fd_gone(fd);
		fd = other;
	}
}

void fd_lose_all(void)
{
	if (fd_table == NULL)
		return;
	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1))
		fd_lose(fd);
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
