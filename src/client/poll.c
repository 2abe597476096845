/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll(2) and select(2): a waiter linked to each socket asked about. They cost what they ask about,
 * on every call, as they do everywhere; sets (epoll.c) don't.
 */
#include <stdlib.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define ALWAYS	   (POLLERR | POLLHUP | POLLNVAL)
#define POLL_STACK 64 /* links that fit on the stack */

/* The socket, or the set, that a descriptor stands for. */
struct polled {
	struct csock *s;
	struct epset *e;
};

static struct polled polled(int fd)
{
	struct polled p = {.s = NULL};
	int err = 0;

	if (fd < 0)
		return p;
	p.s = fd_csock(fd, &err);
	if (p.s == NULL && err == -ENOTSOCK)
		p.e = fd_epset(fd, &err);
	return p;
}

int poll_look(struct pollfd *fds, nfds_t n, short unknown)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		struct polled p = polled(fds[i].fd);
		uint32_t now = 0;

		if (p.s != NULL)
			now = csock_mask(p.s);
		else if (p.e != NULL)
			now = epset_ready(p.e) ? EPOLLIN | EPOLLRDNORM : 0;
		fds[i].revents = (short)(now & (uint32_t)(fds[i].events | ALWAYS));
		if (p.s == NULL && p.e == NULL)
			fds[i].revents = fds[i].fd < 0 ? 0 : unknown;
		ready += fds[i].revents != 0;
	}
	return ready;
}

void poll_link(const struct pollfd *fds, nfds_t n, struct poll_link *links, struct waiter *w,
	       bool exclusive)
{
	for (nfds_t i = 0; i < n; i++) {
		struct polled p = polled(fds[i].fd);
		struct wlink **list = NULL;

		if (p.s != NULL) {
			csock_wanted(p.s);
			list = &p.s->waiters;
		} else if (p.e != NULL) {
			p.e->users++;
			list = &p.e->waiters;
		}
		links[i] = (struct poll_link){.list = list, .set = p.e};
		if (list == NULL)
			continue;
		links[i].link = (struct wlink){.w = w, .next = *list, .exclusive = exclusive};
		*list = &links[i].link;
		if (p.s != NULL && unlikely((p.s->flags & CSOCK_EXCLUSIVE) || exclusive))
			shared_exclusive(p.s);
	}
}

void poll_unlink(nfds_t n, struct poll_link *links)
{
	for (nfds_t i = n; i-- > 0;) {
		if (links[i].list == NULL)
			continue;
		wlink_remove(links[i].list, &links[i].link);
		if (links[i].set == NULL)
			continue;
		links[i].set->users--;
		epset_free_if_unused(links[i].set);
	}
}

static int poll_wait(struct pollfd *fds, nfds_t n, struct poll_link *links, int64_t deadline)
{
	int ready = 0, r = 0;
	struct waiter w;

	while (ready == 0 && r == 0) {
		waiter_init(&w);
		w.interruptible = true;
		poll_link(fds, n, links, &w, false);
		r = client_wait(&w, deadline);
		poll_unlink(n, links);
		if (client.stopping)
			return -ENXIO;
		ready = poll_look(fds, n, POLLNVAL);
	}
	return ready > 0 ? ready : r == -ETIMEDOUT ? 0 : r;
}

/* Links of one call: on the stack, or allocated. */
static int poll_slow(struct pollfd *fds, nfds_t n, int64_t deadline)
{
	struct poll_link few[POLL_STACK], *links = few;
	int r;

	if (n > POLL_STACK)
		links = calloc(n, sizeof(*links));
	r = links != NULL ? poll_wait(fds, n, links, deadline) : -ENOMEM;
	if (links != few)
		free(links);
	return r;
}

static int poll_ns(struct pollfd *fds, nfds_t n, int64_t timeout_ns)
{
	int r;

	if (n > FD_MAX)
		return -EINVAL;
	client_lock();
	r = client_ready();
	if (r == 0) {
		client_turn();
		r = poll_look(fds, n, POLLNVAL);
		if (r == 0 && timeout_ns != 0)
			r = poll_slow(fds, n, timeout_ns < 0 ? FOREVER : now_ns() + timeout_ns);
	}
	client_unlock();
	return r;
}

int zs_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return poll_ns(fds, n, timeout < 0 ? -1 : timeout * 1000000ll);
}

/* ---- select ---- */

#define SELECT_IN  (POLLIN | POLLRDNORM | POLLHUP | POLLERR)
#define SELECT_OUT (POLLOUT | POLLWRNORM | POLLERR)

static bool set_has(int fd, const fd_set *set)
{
	return set != NULL && FD_ISSET(fd, set);
}

static int set_answer(int fd, fd_set *set, bool is)
{
	if (set == NULL || !FD_ISSET(fd, set))
		return 0;
	if (!is)
		FD_CLR(fd, set);
	return is;
}

int zs_select(int n, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, struct timeval *timeout)
{
	struct pollfd fds[FD_SETSIZE];
	int64_t timeout_ns = -1;
	int count = 0, ready = 0, r;

	if (n < 0 || n > FD_SETSIZE)
		return -EINVAL;
	if (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_usec < 0))
		return -EINVAL;
	if (timeout != NULL && timeout->tv_sec < INT32_MAX)
		timeout_ns = timeout->tv_sec * 1000000000ll + timeout->tv_usec * 1000;
	for (int fd = 0; fd < n; fd++) {
		short ev = (short)((set_has(fd, readfds) ? POLLIN : 0) |
				   (set_has(fd, writefds) ? POLLOUT : 0) |
				   (set_has(fd, exceptfds) ? POLLPRI : 0));

		if (ev != 0)
			fds[count++] = (struct pollfd){.fd = fd, .events = ev};
	}
	r = poll_ns(fds, (nfds_t)count, timeout_ns);
	if (r < 0)
		return r;
	for (int i = 0; i < count; i++) {
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
		ready += set_answer(fds[i].fd, readfds, (fds[i].revents & SELECT_IN) != 0);
		ready += set_answer(fds[i].fd, writefds, (fds[i].revents & SELECT_OUT) != 0);
		ready += set_answer(fds[i].fd, exceptfds, (fds[i].revents & POLLPRI) != 0);
	}
	return ready;
}
