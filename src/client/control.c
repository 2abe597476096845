/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fcntl() and ioctl() of sockets, as fcntl(2), tcp(7) and udp(7) have them.
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

static void nonblock_set(struct csock *s, bool on)
{
	s->flags = on ? s->flags | CSOCK_NONBLOCK : s->flags & ~(uint32_t)CSOCK_NONBLOCK;
}

static int socket_fcntl(struct csock *s, int cmd, int arg)
{
	switch (cmd) {
	case F_GETFL:
		return O_RDWR | (s->flags & CSOCK_NONBLOCK ? O_NONBLOCK : 0);
	case F_SETFL:
		nonblock_set(s, (arg & O_NONBLOCK) != 0);
		return 0;
	case F_GETFD:
		return FD_CLOEXEC;
	case F_SETFD:
		return 0;
	}
	return -EINVAL;
}

int zs_fcntl(int fd, int cmd, ...)
{
	struct csock *s;
	va_list ap;
	int arg, r = 0;

	va_start(ap, cmd);
	arg = cmd == F_SETFL || cmd == F_SETFD ? va_arg(ap, int) : 0;
	va_end(ap);
	client_lock_as_is();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_fcntl(s, cmd, arg);
	client_unlock();
	return r;
}

/* Of what stands in its queue. */
static int queued_bytes(const struct csock *s)
{
	const struct core *c = csock_core(s);
	uint32_t n = 0;

	if (s->type == SOCK_STREAM)
		return (int)(s->flags & CSOCK_URG && s->urg_ahead < s->unread && s->urg_ahead > 0
				     ? s->urg_ahead
				     : s->unread);
	for (uint32_t row = s->unread > 0 ? s->head : NIL; row != NIL; row = c->loan[row].next) {
		n += c->loan[row].len;
		if (!c->loan[row].more && !csock_records(s))
			break;
	}
	return (int)n;
}

/* What others may read as well is not here: as far as a look goes. */
static int looked_bytes(struct csock *s)
{
	int r = shared_read(s, INT32_MAX, true), n;

	if (r < 0 && r != -EAGAIN)
		return r;
	n = queued_bytes(csock_reader(s));
	for (unsigned i = 0; i < csock_members(s); i++)
		shared_forget(csock_member(s, i));
	return n;
}

static bool may_look(struct csock *s)
{
	return csock_reader(s)->unread == 0 && shared_asks(s) && !(s->shut & SHUT_RD_BIT) &&
	       (s->state == CSOCK_CONNECTED || (s->type == SOCK_DGRAM && s->sid != 0));
}

/* Bytes that a read would deliver: of a stream up to the urgent mark, of datagrams the next; of
 * records all of them (Linux). */
static int readable_bytes(struct csock *s)
{
	if (s->state == CSOCK_LISTEN)
		return -EINVAL;
	if (s->unread == 0)
		client_dry();
	if (unlikely(csock_shared(s)) && may_look(s))
		return looked_bytes(s);
	return queued_bytes(csock_reader(s));
}

static int socket_ioctl(struct csock *s, unsigned long request, int *arg)
{
	int r = 0;

	switch (request) {
	case FIONREAD:
		r = readable_bytes(s);
		if (r >= 0)
			*arg = r;
		break;
	case FIONBIO:
		nonblock_set(s, *arg != 0);
		break;
	case SIOCATMARK:
		*arg = (s->flags & CSOCK_URG) != 0 && s->urg_ahead == 0;
		break;
	case SIOCOUTQ:
		*arg = (int)s->inflight;
		break;
	default:
		return -ENOTTY;
	}
	return r < 0 ? r : 0;
}

int zs_ioctl(int fd, unsigned long request, ...)
{
	struct csock *s;
	va_list ap;
	int *arg, r = 0;

	va_start(ap, request);
	arg = va_arg(ap, int *);
	va_end(ap);
	if (arg == NULL)
		return -EFAULT;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_ioctl(s, request, arg);
	client_unlock();
	return r;
}
