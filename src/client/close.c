/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of a socket: shutdown(2) of a direction, or of a listener, and close(2) of a descriptor,
 * which may have to wait for what was sent last (SO_LINGER), as Linux does it.
 */
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

/* ---- shutdown ---- */

/* 0; -EBADF: closed meanwhile; -ENOTCONN: the service is gone. */
static int shutdown_say(struct csock *s, int how)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(csock_core(s));

	if (unlikely(s->serial != serial))
		return -EBADF;
	if (unlikely(q == NULL || s->sid == 0))
		return -ENOTCONN;
	cmd_of(q, s, TOKEN_NOBODY);
	q->arg[0] = how;
	cmd_push(csock_core(s), CHAN_OP_SHUTDOWN);
	return 0;
}

/* As Linux does: it listens no more, and keeps its port. */
static void unlisten(struct csock *s, int how)
{
	csock_drop_accepted(s);
	s->state = CSOCK_IDLE;
	s->flags |= CSOCK_LISTENED;
	s->taken = s->backlog = 0;
	(void)!shutdown_say(s, how);
}

static int listener_shutdown(struct csock *s, int how)
{
	struct group *g = s->group;
	int r;

	if (how == SHUT_WR)
		return 0;
	r = group_begin(s);
	if (r < 0)
		return r;
	if (s->state != CSOCK_LISTEN)
		r = -ENOTCONN;
	else if (g == NULL)
		unlisten(s, how);
	for (unsigned i = 0; r == 0 && g != NULL && !g->closed && i < g->n; i++)
		unlisten(g->sock[i], how);
	group_end(g);
	csock_notify(s, EPOLLIN | EPOLLOUT | EPOLLHUP);
	return r;
}

static int socket_shutdown(struct csock *s, int how)
{
	int r = 0;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (s->state == CSOCK_LISTEN)
		return listener_shutdown(s, how);
	if (s->state != CSOCK_CONNECTED)
		return -ENOTCONN;
	s->shut |= how == SHUT_RD   ? SHUT_RD_BIT
		   : how == SHUT_WR ? SHUT_WR_BIT
				    : SHUT_RD_BIT | SHUT_WR_BIT;
	if (unlikely(csock_kept(s)))
		link_shutdown(s);
	else
		r = csock_connects(s) ? shutdown_say(s, how) : 0;
	if (unlikely(r < 0))
		return r;
	csock_notify(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return 0;
}

int zs_shutdown(int fd, int how)
{
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_shutdown(s, how);
	client_unlock();
	return r;
}

/* ---- close ---- */

/* SO_LINGER with a time: until everything is acknowledged, or the time is up (POSIX close()). */
static void linger_wait(struct csock *s, uint32_t sid, int64_t deadline)
{
	struct waiter w;
	struct wlink l;
	int r = 0;

	s->flags |= CSOCK_LINGERS;
	while (s->sid == sid && r == 0) {
		waiter_init(&w);
		l = (struct wlink){.w = &w, .next = s->waiters};
		s->waiters = &l;
		r = client_wait(&w, deadline);
		wlink_remove(&s->waiters, &l);
	}
}

int socket_close(struct csock *s)
{
	bool waits =
		s->linger_s > 0 && csock_connects(s) && s->state == CSOCK_CONNECTED && s->sid != 0;
	int64_t deadline = waits ? now_ns() + s->linger_s * 1000000000ll : 0;
	uint32_t sid = s->sid;

	group_close(s);
	if (waits && !client.stopping)
		linger_wait(s, sid, deadline);
	return 0;
}

int descriptor_close(int fd)
{
	int err, other;
	struct csock *s = fd_csock(fd, &err);
	struct epset *e = s == NULL ? fd_epset(fd, &err) : NULL;

	other = fd_free(fd);
	if (s != NULL && other < 0)
		return socket_close(s);
	if (s != NULL)
		s->fd = other;
	else if (other >= 0)
		epset_rename(e, other);
	else
		epset_close(e);
	return 0;
}

int zs_close(int fd)
{
	int r;

	client_lock_as_is();
	if (child_unborn()) {
		if (child_close(fd)) {
			client_unlock();
			return 0;
		}
		child_born();
	}
	r = client_ready();
	if (r == 0)
		r = fd_is_used(fd) ? descriptor_close(fd) : -EBADF;
	client_unlock();
	return r;
}
