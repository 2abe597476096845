/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is known of a number beside its kind: which others stand for the same thing, its twin, what
 * the program set on it. Only numbers that are not plainly the kernel's have anything here.
 */
#include <pthread.h>
#include <stdlib.h>

#include "preload/preload.h"
#include "preload/route.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void number_lock(void)
{
	enter(); /* a handler may want it, too */
	pthread_mutex_lock(&lock);
	/* Every thread would wait with this one. */
	host_wait_for_service(false);
}

void number_unlock(void)
{
	host_wait_for_service(true);
	pthread_mutex_unlock(&lock);
	leave(0);
}

void number_unlock_child(void)
{
	host_wait_for_service(true);
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	leave(0);
}

int number_next(int fd)
{
	int next = number_known(fd)->next;

	return next != 0 ? next - 1 : fd;
}

bool number_alone(int fd)
{
	return number_known(fd)->next == 0;
}

void number_join(int from, int to)
{
	struct number *f = number_at(from), *t = number_at(to);

	t->options = f->options;
	t->twin = f->twin;
	t->blocks = f->blocks;
	t->group_if = f->group_if;
	t->next = number_next(from) + 1;
	f->next = to + 1;
}

static void leave_ring(int fd)
{
	struct number *n = number_at(fd);
	int prev = fd;

	while (number_next(prev) != fd)
		prev = number_next(prev);
	if (prev != fd)
		number_at(prev)->next = number_next(fd) != prev ? n->next : 0;
	n->next = n->twin = 0;
	n->options = 0;
	n->blocks = false;
	n->group_if.len = 0;
}

static bool is_fresh(int fd)
{
	const struct number *n = number_known(fd);

	return n->next == 0 && n->twin == 0 && n->options == 0 && n->group_if.len == 0;
}

void number_fresh(int fd)
{
	if (!is_fresh(fd))
		leave_ring(fd);
}

int number_begin(int fd, enum fd_kind kind)
{
	if ((unsigned)fd >= FD_KINDS)
		return 0;
	if (kind != FD_KERNEL && unlikely(number_room(fd) < 0))
		return -ENOMEM;
	/* What had the number was closed past the hooks. */
	if (unlikely(!is_fresh(fd))) {
		number_lock();
		number_fresh(fd);
		number_unlock();
	}
	fd_set_kind(fd, kind);
	return 0;
}

int twin_of(int fd)
{
	return number_known(fd)->twin - 1;
}

void twin_set(int fd, int twin)
{
	number_at(fd)->twin = twin + 1;
}

void number_twin(int fd, int twin, bool blocks)
{
	int high, n = fd;

	if (twin < 0)
		return;
	high = own_dup(twin);
	real.close(twin);
	if (high < 0)
		return;
	do {
		twin_set(n, high);
		fd_set_kind(n, FD_BOTH);
		n = number_next(n);
	} while (n != fd);
	number_set_blocks(fd, blocks);
}

const struct group_if *number_group_if(int fd)
{
	const struct number *n = number_known(fd);

	return n->group_if.len != 0 ? &n->group_if : NULL;
}

void number_set_group_if(int fd, const struct group_if *g)
{
	int n = fd;

	do {
		number_at(n)->group_if = *g;
		n = number_next(n);
	} while (n != fd);
}

bool number_blocks(int fd)
{
	return number_known(fd)->blocks;
}

void number_set_blocks(int fd, bool blocks)
{
	int n = fd;

	do {
		number_at(n)->blocks = blocks;
		n = number_next(n);
	} while (n != fd);
}

uint64_t number_options(int fd)
{
	return number_known(fd)->options;
}

void number_add_option(int fd, unsigned bit)
{
	int n = fd;

	do {
		number_at(n)->options |= 1ull << bit;
		n = number_next(n);
	} while (n != fd);
}

int number_drop(int fd)
{
	enum fd_kind kind;
	int twin = -1;

	if (fd_kind(fd) == FD_KERNEL)
		return 0;
	stdio_give_back(fd);
	number_lock();
	kind = fd_kind(fd);
	epoll_forget(fd);
	if (kind == FD_ROUTE)
		route_closed(fd);
	if (kind == FD_BOTH && number_alone(fd))
		twin = twin_of(fd);
	fd_set_kind(fd, FD_KERNEL);
	number_fresh(fd);
	if (twin >= 0) {
		fd_set_kind(twin, FD_KERNEL);
		real.close(twin);
	}
	number_unlock();
	return kind >= FD_SOCKET || kind == FD_EPOLL ? zs_close(fd) : 0;
}
