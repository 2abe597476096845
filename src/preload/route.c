/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of NETLINK_ROUTE. A program asks for all interfaces or addresses; the kernel answers with
 * some datagrams of messages, the last of which says that this is all (NLMSG_DONE). The stack's are
 * one or more datagrams before the kernel's first, with the same sequence number. So nothing of the
 * kernel's is looked into or changed, and a program that sleeps in poll() has it ready for the
 * kernel's part, which is there as soon as the request was sent.
 *
 * Not done: requests for one interface by name or index, routes, news of changes (groups), copies
 * of such a descriptor, and what comes by readv() or recvmmsg(): the kernel's alone.
 */
#include "preload/route.h"

#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"

#define PENDING_MAX 16
#define DATAGRAM    3584 /* less than the smallest buffer that programs have, a page */

/* Answers that were not taken yet, oldest first. Under number_lock(). */
static struct pending {
	int fd;
	char *text; /* of malloc; from `at` on it is still to be received */
	size_t len, at;
} pending[PENDING_MAX];
static _Atomic unsigned n_pending;

/* ---- the list ---- */

static struct pending *oldest(int fd)
{
	for (unsigned i = 0; i < n_pending; i++)
		if (pending[i].fd == fd)
			return &pending[i];
	return NULL;
}

static void drop(struct pending *p)
{
	unsigned i = (unsigned)(p - pending);

	free(p->text);
	n_pending--;
	memmove(p, p + 1, (n_pending - i) * sizeof(*p));
}

void route_closed(int fd)
{
	struct pending *p;

	while ((p = oldest(fd)) != NULL)
		drop(p);
}

/* ---- sending ---- */

/* The kind is a hint: another file may have the number. */
static bool is_route(int fd)
{
	int domain = 0, protocol = -1;
	socklen_t len = sizeof(domain);

	if (real.getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_NETLINK)
		return false;
	len = sizeof(protocol);
	return real.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       protocol == NETLINK_ROUTE;
}

bool route_sending(int fd, const struct iovec *iov, size_t n)
{
	struct pending p = {.fd = fd};
	struct route_dump d;
	int err = errno;
	bool kept;

	/* A request lies in one piece. */
	if (n == 0 || iov[0].iov_base == NULL || is_inside() ||
	    !route_request(&d, iov[0].iov_base, iov[0].iov_len) || !is_route(fd))
		return false;
	p.text = route_answer(&d, &p.len);
	number_lock();
	kept = p.text != NULL && n_pending < PENDING_MAX;
	if (kept)
		pending[n_pending++] = p;
	number_unlock();
	if (!kept)
		free(p.text);
	errno = err;
	return kept;
}

void route_unsent(int fd)
{
	struct pending *last = NULL;

	number_lock();
	for (unsigned i = 0; i < n_pending; i++)
		if (pending[i].fd == fd)
			last = &pending[i];
	if (last != NULL)
		drop(last);
	number_unlock();
}

/* ---- receiving ---- */

/* Whole messages, at least one, as many as one datagram has. */
static size_t datagram(const struct pending *p)
{
	size_t at = p->at;

	while (at < p->len) {
		const struct nlmsghdr *h = (const void *)(p->text + at);

		if (at > p->at && at + NLMSG_ALIGN(h->nlmsg_len) > p->at + DATAGRAM)
			break;
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
	return at - p->at;
}

/* The port that the socket has by now. */
static void address_it(const struct pending *p, size_t len)
{
	struct sockaddr_nl own = {.nl_pid = 0};
	socklen_t n = sizeof(own);

	(void)real.getsockname(p->fd, (struct sockaddr *)&own, &n);
	for (size_t at = p->at; at < p->at + len;) {
		struct nlmsghdr *h = (void *)(p->text + at);

		h->nlmsg_pid = own.nl_pid;
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
}

static size_t scatter(const struct msghdr *msg, const char *from, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < msg->msg_iovlen && done < len; i++) {
		size_t n =
			msg->msg_iov[i].iov_len < len - done ? msg->msg_iov[i].iov_len : len - done;

		memcpy(msg->msg_iov[i].iov_base, from + done, n);
		done += n;
	}
	return done;
}

static void from_kernel(struct msghdr *msg)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (msg->msg_name == NULL)
		return;
	memcpy(msg->msg_name, &kernel,
	       msg->msg_namelen < sizeof(kernel) ? msg->msg_namelen : sizeof(kernel));
	msg->msg_namelen = sizeof(kernel);
}

static ssize_t receive(struct pending *p, struct msghdr *msg, int flags)
{
	size_t len = datagram(p), n;

	address_it(p, len);
	n = scatter(msg, p->text + p->at, len);
	from_kernel(msg);
	msg->msg_controllen = 0;
	msg->msg_flags = n < len ? MSG_TRUNC : 0;
	if (flags & MSG_PEEK)
		return (ssize_t)(flags & MSG_TRUNC ? len : n);
	p->at += len;
	if (p->at >= p->len)
		drop(p);
	return (ssize_t)(flags & MSG_TRUNC ? len : n);
}

bool route_receive(int fd, struct msghdr *msg, int flags, ssize_t *r)
{
	struct pending *p;

	if (likely(n_pending == 0) || (flags & (MSG_OOB | MSG_ERRQUEUE)) != 0)
		return false;
	number_lock();
	p = oldest(fd);
	if (p != NULL)
		*r = receive(p, msg, flags);
	number_unlock();
	return p != NULL;
}
