/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Readiness: epoll(7). A set has a list of items that may be ready. News of a socket puts its items
 * there; zs_epoll_wait() asks each socket on the list for its state of that moment, reports it, and
 *
 *	level      keeps the item on the list: the next call asks again, and takes it off when it is
 *	           not ready any more
 *	EPOLLET    takes it off: only further news bring it back
 *	ONESHOT    takes it off and forgets what was asked for, until EPOLL_CTL_MOD
 *
 * A level-triggered item that is reported goes to the end, so that a caller with room for few
 * events gets round to all.
 *
 * EPOLLEXCLUSIVE: news go to one of the sets that sleep, not to all (epitem.c), and to one of the
 * programs that hold the socket (shared.c).
 */
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define KNOWN                                                                                      \
	(EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM |    \
	 EPOLLWRBAND | EPOLLMSG | EPOLLERR | EPOLLHUP)

void epset_close(struct epset *e)
{
	while (!list_empty(&e->items))
		epitem_drop(container_of(e->items.next, struct epitem, of_set));
	while (e->outer != NULL)
		epitem_free(e->outer);
	e->serial++;
	e->fd = -1;
	wlink_wake(e->waiters);
	epset_free_if_unused(e);
}

void epset_alone(struct epset *e)
{
	e->waiters = NULL;
	e->users = 0;
}

void epset_rename(struct epset *e, int fd)
{
	e->fd = fd;
}

static int set_open(int at)
{
	struct epset *e = epset_alloc();
	int fd;

	if (e == NULL)
		return -ENOMEM;
	fd = fd_open(NULL, e, at, 0);
	if (fd >= 0)
		e->fd = fd;
	else
		epset_free_if_unused(e);
	return fd;
}

int epset_new(int at)
{
	int r;

	client_lock();
	r = client_ready();
	if (r == 0)
		r = set_open(at);
	client_unlock();
	return r;
}

int zs_epoll_create1(int flags)
{
	return (flags & ~EPOLL_CLOEXEC) != 0 ? -EINVAL : epset_new(FD_ANY);
}

/* Both must be descriptors before either is asked what it is (Linux). */
static int ctl_check(int epfd, struct epset **e, struct eptarget *t)
{
	int bad_set = 0, bad_fd = 0;

	*e = fd_epset(epfd, &bad_set);
	t->s = fd_csock(t->fd, &bad_fd);
	if (bad_set == -EBADF || bad_set == -ENXIO)
		return bad_set;
	if (bad_fd == -EBADF)
		return bad_fd;
	if (t->s == NULL)
		t->e = fd_epset(t->fd, &bad_fd);
	return *e == NULL || *e == t->e ? -EINVAL : 0;
}

int zs_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct eptarget t = {.fd = fd};
	struct epset *e;
	int r;

	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL && ev == NULL)
		return -EFAULT;
	client_lock();
	r = ctl_check(epfd, &e, &t);
	if (r == 0)
		r = epitem_ctl(e, op, &t, ev);
	client_unlock();
	return r;
}

static int set_collect(struct epset *e, struct epoll_event *out, int max)
{
	struct list seen;
	int n = 0;

	if (list_empty(&e->ready))
		return 0;
	/* The list as it is now; what goes back to the set's goes behind what is not yet seen. */
	list_init(&seen);
	list_insert(e->ready.prev, &seen, &e->ready);
	while (n < max && e->ready.next != &seen) {
		struct epitem *i = container_of(e->ready.next, struct epitem, ready);
		uint32_t now = epitem_mask(i) & KNOWN;

		list_del(&i->ready);
		if (now == 0)
			continue;
		out[n].events = now;
		out[n++].data.u64 = i->data;
		if (i->events & EPOLLONESHOT)
			i->events = 0;
		else if ((i->events & EPOLLET) == 0)
			list_add_tail(&e->ready, &i->ready);
	}
	list_del(&seen);
	return n;
}

/* Waits, after the first look found nothing. */
static int set_wait(struct epset *e, struct epoll_event *out, int max, int timeout)
{
	int64_t deadline = deadline_ms(timeout);
	uint32_t serial = e->serial;
	int n = 0, r = 0;
	struct waiter w;
	struct wlink l;

	e->users++;
	while (n == 0 && r == 0) {
		waiter_init(&w);
		w.interruptible = true;
		l = (struct wlink){.w = &w, .next = e->waiters};
		e->waiters = &l;
		r = client_wait(&w, deadline);
		wlink_remove(&e->waiters, &l);
		if (e->serial != serial || client.stopping)
			r = -EBADF;
		else
			n = set_collect(e, out, max);
	}
	e->users--;
	epset_free_if_unused(e);
	return n > 0 ? n : r == -ETIMEDOUT ? 0 : r;
}

int zs_epoll_wait(int epfd, struct epoll_event *out, int max, int timeout)
{
	struct epset *e;
	int n = 0;

	if (max <= 0)
		return -EINVAL;
	client_lock();
	e = fd_epset(epfd, &n);
	if (likely(e != NULL)) {
		client_turn();
		n = set_collect(e, out, max);
		if (n == 0 && timeout != 0)
			n = set_wait(e, out, max, timeout);
	}
	client_unlock();
	return n;
}
