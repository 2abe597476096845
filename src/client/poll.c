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

static int poll_look(struct pollfd *fds, nfds_t n)
{
	struct csock *s;
	int ready = 0, err;

	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		s = fd_csock(fds[i].fd, &err);
		if (s == NULL)
			fds[i].revents = POLLNVAL;
		else
			fds[i].revents =
				(short)(csock_mask(s) & (uint32_t)(fds[i].events | ALWAYS));
		ready += fds[i].revents != 0;
	}
	return ready;
}

static void poll_link(struct pollfd *fds, nfds_t n, struct wlink *links, struct csock **socks,
		      struct waiter *w)
{
	int err;

	for (nfds_t i = 0; i < n; i++) {
		socks[i] = fds[i].fd < 0 ? NULL : fd_csock(fds[i].fd, &err);
		if (socks[i] == NULL)
			continue;
		csock_wanted(socks[i]);
		links[i] = (struct wlink){.w = w, .next = socks[i]->waiters};
		socks[i]->waiters = &links[i];
	}
}

static void poll_unlink(nfds_t n, struct wlink *links, struct csock **socks)
{
	for (nfds_t i = n; i-- > 0;) {
		if (socks[i] != NULL)
			wlink_remove(&socks[i]->waiters, &links[i]);
	}
}

static int poll_wait(struct pollfd *fds, nfds_t n, struct wlink *links, struct csock **socks,
		     int64_t deadline)
{
	int ready = 0, r = 0;
	struct waiter w;

	while (ready == 0 && r == 0) {
		waiter_init(&w);
		w.interruptible = true;
		poll_link(fds, n, links, socks, &w);
		r = client_wait(&w, deadline);
		poll_unlink(n, links, socks);
		if (client.stopping)
			return -ENXIO;
		ready = poll_look(fds, n);
	}
	return ready > 0 ? ready : r == -ETIMEDOUT ? 0 : r;
}

/* Links and sockets of one call: on the stack, or allocated. */
static int poll_slow(struct pollfd *fds, nfds_t n, int64_t deadline)
{
	struct wlink few[POLL_STACK], *links = few;
	struct csock *few_socks[POLL_STACK], **socks = few_socks;
	int r;

	if (n > POLL_STACK) {
		links = calloc(n, sizeof(*links));
		socks = calloc(n, sizeof(struct csock *));
	}
	r = links != NULL && socks != NULL ? poll_wait(fds, n, links, socks, deadline) : -ENOMEM;
	if (links != few)
		free(links);
	if (socks != few_socks)
		free(socks);
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
		r = poll_look(fds, n);
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
