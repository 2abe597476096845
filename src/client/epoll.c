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
 *events gets round to all.
 *
 * Not done: sets in sets; EPOLLEXCLUSIVE wakes like any other.
 */
#include <stdlib.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define ALWAYS (EPOLLERR | EPOLLHUP)
#define KNOWN                                                                                      \
	(EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM |    \
	 EPOLLWRBAND | EPOLLMSG | ALWAYS)

struct epset {
	struct list ready;
	struct list items;
	struct wlink *waiters;
	uint32_t serial; /* changes when it is closed */
	uint32_t users;	 /* threads inside zs_epoll_wait */
	int fd;		 /* -1 when closed */
};

/* Memory for items: taken by the page, one cache line each, kept until the process ends. */
#define ITEMS_PAGE 64u
static struct epitem *items_free; /* by next */

static bool items_more(void)
{
	struct epitem *page = aligned_alloc(sizeof(*page), ITEMS_PAGE * sizeof(*page));

	if (page == NULL)
		return false;
	for (unsigned i = 0; i < ITEMS_PAGE; i++) {
		page[i].next = items_free;
		items_free = &page[i];
	}
	return true;
}

static struct epitem *item_alloc(void)
{
	struct epitem *i;

	if (items_free == NULL && !items_more())
		return NULL;
	i = items_free;
	items_free = i->next;
	*i = (struct epitem){.events = 0};
	return i;
}

static inline struct csock *item_sock(const struct epitem *i)
{
	return &client.sock[i->sock];
}

static void item_ready(struct epitem *i)
{
	if (!list_linked(&i->ready))
		list_add_tail(&i->set->ready, &i->ready);
	if (i->set->waiters != NULL)
		wlink_wake(i->set->waiters);
}

void epitem_notify(struct epitem *i, uint32_t mask)
{
	for (; i != NULL; i = i->next) {
		if (i->events & mask)
			item_ready(i);
	}
}

static void item_free(struct epitem *i)
{
	struct epitem **p = &item_sock(i)->items;

	while (*p != i)
		p = &(*p)->next;
	*p = i->next;
	list_del(&i->ready);
	list_del(&i->of_set);
	i->next = items_free;
	items_free = i;
}

void epitem_forget(struct csock *s)
{
	while (s->items != NULL)
		item_free(s->items);
}

static void set_free_if_unused(struct epset *e)
{
	if (e->fd < 0 && e->users == 0)
		free(e);
}

void epset_close(struct epset *e)
{
	while (!list_empty(&e->items))
		item_free(container_of(e->items.next, struct epitem, of_set));
	e->serial++;
	e->fd = -1;
	wlink_wake(e->waiters);
	set_free_if_unused(e);
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

int epset_new(int at)
{
	struct epset *e = calloc(1, sizeof(*e));
	int fd;

	if (e == NULL)
		return -ENOMEM;
	list_init(&e->ready);
	list_init(&e->items);
	client_lock();
	fd = client_ready();
	if (fd == 0)
		fd = fd_open(NULL, e, at, 0);
	e->fd = fd;
	client_unlock();
	if (fd < 0)
		free(e);
	return fd;
}

int zs_epoll_create1(int flags)
{
	return (flags & ~EPOLL_CLOEXEC) != 0 ? -EINVAL : epset_new(FD_ANY);
}

static struct epitem *item_find(struct epset *e, struct csock *s)
{
	struct epitem *i = s->items;

	while (i != NULL && i->set != e)
		i = i->next;
	return i;
}

/* What is so already counts as news. */
static void item_ask(struct epitem *i, const struct epoll_event *ev)
{
	i->events = ev->events | ALWAYS;
	i->data = ev->data.u64;
	if (csock_mask(item_sock(i)) & i->events)
		item_ready(i);
}

static int item_add(struct epset *e, struct csock *s, const struct epoll_event *ev)
{
	struct epitem *i;

	if (item_find(e, s) != NULL)
		return -EEXIST;
	csock_wanted(s);
	i = item_alloc();
	if (i == NULL)
		return -ENOMEM;
	list_init(&i->ready);
	list_init(&i->of_set);
	list_add_tail(&e->items, &i->of_set);
	i->set = e;
	i->sock = csock_row(s);
	i->next = s->items;
	s->items = i;
	item_ask(i, ev);
	return 0;
}

static int set_ctl(struct epset *e, int op, struct csock *s, const struct epoll_event *ev)
{
	struct epitem *i;

	if (op == EPOLL_CTL_ADD)
		return item_add(e, s, ev);
	i = item_find(e, s);
	if (i == NULL)
		return -ENOENT;
	if (op == EPOLL_CTL_DEL) {
		item_free(i);
		return 0;
	}
	if (ev->events & EPOLLEXCLUSIVE)
		return -EINVAL;
	item_ask(i, ev);
	return 0;
}

/* Both must be descriptors before either is asked what it is (Linux). */
static int ctl_check(int epfd, int fd, struct epset **e, struct csock **s)
{
	int bad_set = 0, bad_fd = 0;

	*e = fd_epset(epfd, &bad_set);
	*s = fd_csock(fd, &bad_fd);
	if (bad_set == -EBADF || bad_set == -ENXIO)
		return bad_set;
	if (bad_fd == -EBADF)
		return bad_fd;
	return *e == NULL || *s == NULL ? -EINVAL : 0;
}

int zs_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct epset *e;
	struct csock *s;
	int r;

	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL && ev == NULL)
		return -EFAULT;
	client_lock();
	r = ctl_check(epfd, fd, &e, &s);
	if (r == 0)
		r = set_ctl(e, op, s, ev);
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
		uint32_t now = csock_mask(item_sock(i)) & i->events;

		list_del(&i->ready);
		if ((now & KNOWN) == 0)
			continue;
		out[n].events = now & KNOWN;
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
	set_free_if_unused(e);
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
