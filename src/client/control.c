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

/* Bytes that a read would deliver: of a stream up to the urgent mark, of datagrams the next; of
 * records all of them (Linux). */
static int readable_bytes(struct csock *s)
{
	struct core *c;
	uint32_t n = 0;

	if (s->state == CSOCK_LISTEN)
		return -EINVAL;
	if (s->unread == 0)
		client_dry();
	s = csock_reader(s);
	c = csock_core(s);
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
