/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP_CORK and TCP_NODELAY of connections. Servers set them again and again (nginx with tcp_nopush:
 * four times for each response), so nobody waits for an answer here:
 *
 *	corked	  sends go with CHAN_SEND_MORE, and the service does not know of the cork; taking it
 *		  out is a command, which pushes what waits
 *	delayed	  TCP_NODELAY that was taken back is told by the next send that is not corked: until
 *		  then it changes nothing, and mostly it is set again before
 *	else	  a command without an answer, in the order of the stream
 *
 * Only of a connection that this process holds alone: another could not see what the service does
 * not know. cork_settle() tells it, before there is another holder.
 *
 * DEVIATION(Linux): with TCP_NODELAY taken back, taking the cork out pushes at once, also while a
 * small segment is unacknowledged.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "client/client_priv.h"

/* -EBADF: the descriptor was closed while there was no room. */
static int say(struct csock *s, int name, int value)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(csock_core(s));

	if (unlikely(s->serial != serial))
		return -EBADF;
	if (unlikely(q == NULL || s->sid == 0))
		return 0; /* the connection went with its service */
	cmd_of(q, s, TOKEN_NOBODY);
	q->len = sizeof(value);
	q->opt.level = IPPROTO_TCP;
	q->opt.name = (int16_t)name;
	memcpy(q->opt.value, &value, sizeof(value));
	cmd_push_first(csock_core(s), chan_first(CHAN_OP_SETOPT, CHAN_OPT_QUIET, 0));
	return 0;
}

static int set_nodelay(struct csock *s, bool on)
{
	if (s->flags & CSOCK_NODELAY) {
		s->flags = on ? s->flags & ~(uint32_t)CSOCK_DELAYED : s->flags | CSOCK_DELAYED;
		return 0;
	}
	if (on)
		s->flags |= CSOCK_NODELAY;
	return say(s, TCP_NODELAY, on);
}

static int set_cork(struct csock *s, bool on)
{
	if (on) {
		s->flags |= CSOCK_CORKED;
		return 0;
	}
	s->flags &= ~(uint32_t)CSOCK_CORKED;
	return say(s, TCP_CORK, 0);
}

static bool is_alone(const struct csock *s)
{
	return s->type == SOCK_STREAM && s->state == CSOCK_CONNECTED &&
	       (s->sid != 0 || csock_kept(s)) && (s->flags & (CSOCK_SHARED | CSOCK_GROUPED)) == 0;
}

int cork_set(struct csock *s, int level, int name, int value, socklen_t len)
{
	if (level != IPPROTO_TCP || len < sizeof(value) || !is_alone(s))
		return 1;
	if (name == TCP_NODELAY)
		return set_nodelay(s, value != 0);
	return name == TCP_CORK ? set_cork(s, value != 0) : 1;
}

int cork_get(const struct csock *s, int level, int name)
{
	if (level == IPPROTO_TCP && name == TCP_NODELAY && (s->flags & CSOCK_NODELAY))
		return (s->flags & CSOCK_DELAYED) == 0;
	if (level == IPPROTO_TCP && name == TCP_CORK && (s->flags & CSOCK_CORKED))
		return 1;
	return -1;
}

int cork_send(struct csock *s, int *flags)
{
	if (s->flags & CSOCK_CORKED) {
		*flags |= MSG_MORE;
		return 0;
	}
	s->flags &= ~(uint32_t)(CSOCK_NODELAY | CSOCK_DELAYED);
	return say(s, TCP_NODELAY, 0);
}

void cork_settle(struct csock *s)
{
	uint32_t was = s->flags;

	s->flags &= ~(uint32_t)(CSOCK_CORKED | CSOCK_NODELAY | CSOCK_DELAYED);
	if (!is_alone(s))
		return;
	if ((was & CSOCK_DELAYED) && say(s, TCP_NODELAY, 0) < 0)
		return;
	if (was & CSOCK_CORKED)
		(void)!say(s, TCP_CORK, 1);
}
