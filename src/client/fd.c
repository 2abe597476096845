/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors: one array of tagged pointers to sockets (tag 0) or sets (tag 1), and a bitmap of
 * those in use, for the lowest free one (POSIX open(), "file descriptor allocation"). Under a host
 * (host.h) the numbers are the kernel's: the host chooses, and several may stand for one thing.
 * These are a ring: each names the next, so one that is alone costs nothing.
 */
#include <string.h>

#include "client/client_priv.h"
#include "client/host.h"
#include "client/table.h"

#define ROOM_MIN 1024u

uintptr_t *fd_table;	/* fd_room places, mapped */
unsigned fd_room;	/* a power of two: twice as large when a number is not in it */
static uint64_t *used;	/* behind it */
static int32_t *ring;	/* behind that: the next number of the same thing and 1; 0 = it is alone */
static unsigned lowest; /* all words below are full */
static const struct host_ops *host;

/* A place in all three. */
#define PLACES	    64
#define PLACE_BYTES (PLACES * (sizeof(*fd_table) + sizeof(*ring)) + sizeof(*used))

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

static int resize(unsigned room)
{
	uintptr_t *table = table_new(room / PLACES, PLACE_BYTES);
	uint64_t *words = (uint64_t *)(table + room);
	int32_t *rings = (int32_t *)(words + room / 64);

	if (table == NULL)
		return -ENOMEM;
	if (fd_room > 0) {
		memcpy(table, fd_table, fd_room * sizeof(*table));
		memcpy(words, used, fd_room / 64 * sizeof(*words));
		memcpy(rings, ring, fd_room * sizeof(*rings));
	}
	table_free(fd_table, fd_room / PLACES, PLACE_BYTES);
	fd_table = table;
	used = words;
	ring = rings;
	fd_room = room;
	return 0;
}

int fd_make_room(int fd)
{
	unsigned room = fd_room > 0 ? fd_room : ROOM_MIN;

	if (likely((unsigned)fd < fd_room))
		return 0;
	if (fd < 0 || fd >= FD_MAX)
		return -EMFILE;
	while (room <= (unsigned)fd)
		room *= 2;
	return resize(room);
}

void fd_fini(void)
{
	table_free(fd_table, fd_room / PLACES, PLACE_BYTES);
	fd_table = NULL;
	fd_room = 0;
}

int fd_init(void)
{
	fd_fini();
	lowest = 0;
	return resize(ROOM_MIN);
}

static int lowest_free(void)
{
	unsigned w = lowest;

	while (w < fd_room / 64 && used[w] == UINT64_MAX)
		w++;
	lowest = w;
	return w < fd_room / 64 ? (int)(w * 64) + __builtin_ctzll(~used[w]) : (int)(w * 64);
}

/* What we still know by this number is gone: somebody closed it in the kernel, past the host. */
static int host_number(int flags)
{
	int fd = host->fd_new(flags);
	int r = fd >= 0 ? fd_make_room(fd) : 0;

	if (r < 0) {
		host->fd_back(fd);
		return r;
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
	int fd = at, r;

	if (at == FD_ANY)
		fd = host != NULL ? host_number(flags) : lowest_free();
	else if (at < 0 || fd_is_used(at))
		return at < 0 ? -EBADF : -EBUSY;
	if (fd < 0)
		return fd;
	r = fd_make_room(fd);
	if (r < 0)
		return r;
	fd_put(fd, tagged(s, e));
	return fd;
}

int fd_dup(int from, int to)
{
	int r;

	if (!fd_is_used(from) || to < 0)
		return -EBADF;
	r = fd_make_room(to);
	if (r < 0)
		return r;
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

	if (!fd_is_used(fd))
		return -EBADF;
	for (int i = ring[fd]; i != 0 && i != fd + 1; i = ring[i - 1])
		n++;
	return n;
}

int fd_next(int from)
{
	for (int fd = from; (unsigned)fd < fd_room; fd++) {
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
	return fd_is_used(fd) ? -ENOTSOCK : -EBADF;
}

struct epset *fd_epset(int fd, int *err)
{
	uintptr_t p;

	if (unlikely(!client.running)) {
		*err = -ENXIO;
		return NULL;
	}
	if (unlikely((unsigned)fd >= fd_room || (p = fd_table[fd]) == 0)) {
		*err = -EBADF;
		return NULL;
	}
	if (unlikely((p & FD_SET_TAG) == 0)) {
		*err = -EINVAL;
		return NULL;
	}
	return (struct epset *)(p & ~(uintptr_t)FD_SET_TAG);
}
