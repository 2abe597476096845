/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The error queue of a socket (MSG_ERRQUEUE, ip(7)). What is in it:
 *
 *	errors	of datagrams that were sent, and of connections that could not be made, of a
 *		socket with IP_RECVERR: who says so, of which datagram, and the first bytes of that
 *		(of a connection, of TCP's header). As in Linux the socket has an error
 *		(SO_ERROR) as long as one of them is first in the queue.
 *	sends	with MSG_ZEROCOPY, of a socket with SO_ZEROCOPY, that are complete
 *		(Documentation/networking/msg_zerocopy.rst). They were copied, so they are complete
 *		at once, and the notice says so (SO_EE_CODE_ZEROCOPY_COPIED): a program that asks
 *		takes that for its answer. Sends are numbered from 0; one notice is for all that
 *		have not been told. <zstack/zc.h> has what copies nothing.
 *	stamps	of datagrams that are gone, of a socket with SO_TIMESTAMPING: the time at which
 *		their memory came back, without the packet (as with SOF_TIMESTAMPING_OPT_TSONLY).
 *
 * A queue that is full loses what is new. It is made when it is first needed, and is its process's:
 * who has the socket too (fork) has another.
 */
#include <stdlib.h>
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/iov.h"

#define ERRORS_MAX 32u
#define QUOTED_MAX 128u

struct told_error {
	struct sock_extended_err e;
	uint8_t to[16], offender[16]; /* IPv4 mapped */
	uint16_t port;		      /* of to */
	uint16_t quoted;
	uint8_t ttl; /* of ICMP's message */
	int64_t stamp_ns;
	uint8_t quote[QUOTED_MAX];
};

struct errq {
	uint32_t zc_sent, zc_untold; /* sends with MSG_ZEROCOPY: all of them; not yet told of */
	uint32_t numbered;	     /* datagrams sent since SOF_TIMESTAMPING_OPT_ID was set */
	uint32_t head, n;
	bool filling; /* a quote for the last one follows */
	struct told_error error[ERRORS_MAX];
};

/* The socket of its descriptor. */
static struct csock *first(struct csock *s)
{
	return s->group != NULL ? s->group->sock[0] : s;
}

int errqueue_make(struct csock *s)
{
	s = first(s);
	if (s->errq == NULL)
		s->errq = calloc(1, sizeof(*s->errq));
	return s->errq != NULL ? 0 : -ENOBUFS;
}

void errqueue_free(struct csock *s)
{
	free(s->errq);
	s->errq = NULL;
	s->flags &= ~(uint32_t)CSOCK_ERRQUEUE;
}

static void flag(struct csock *s)
{
	if (s->errq->n != 0 || s->errq->zc_untold != 0)
		s->flags |= CSOCK_ERRQUEUE;
	else
		s->flags &= ~(uint32_t)CSOCK_ERRQUEUE;
}

void errqueue_empty(struct csock *s)
{
	if (s->errq == NULL)
		return;
	s->errq->n = s->errq->zc_untold = 0;
	flag(s);
}

void errqueue_sent(struct csock *s)
{
	s = first(s);
	if (errqueue_make(s) != 0)
		return;
	s->errq->zc_sent++;
	s->errq->zc_untold++;
	flag(s);
	csock_notify(s, EPOLLERR);
}

void errqueue_recverr(struct csock *s, bool on)
{
	s = first(s);
	if (on) {
		s->flags |= CSOCK_HEARS;
	} else if (s->errq != NULL) {
		s->errq->n = 0;
		flag(s);
	}
}

/* ---- errors ---- */

/* A place at the end; NULL: there is none. */
static struct told_error *place(struct csock *s)
{
	if (errqueue_make(s) != 0)
		return NULL;
	s->errq->filling = false;
	if (s->errq->n == ERRORS_MAX)
		return NULL;
	return &s->errq->error[(s->errq->head + s->errq->n++) % ERRORS_MAX];
}

void errqueue_error(struct csock *s, const struct chan_cqe *e)
{
	struct told_error *t;

	s = first(s);
	/* Of a connection that could not be made connect() says it. */
	if (!csock_connects(s))
		s->err = e->res;
	t = place(s);
	if (t != NULL) {
		*t = (struct told_error){
			.e = {.ee_errno = (uint32_t)-e->res,
			      .ee_origin = (uint8_t)e->aux,
			      .ee_type = (uint8_t)(e->aux >> 8),
			      .ee_code = (uint8_t)(e->aux >> 16),
			      .ee_info = (uint32_t)e->off},
			.port = e->port,
			.ttl = (uint8_t)(e->aux >> 24),
			.stamp_ns = s->stamps != 0 ? real_ns() : 0,
		};
		memcpy(t->to, e->addr, sizeof(t->to));
		memcpy(t->offender, e->laddr, sizeof(t->offender));
		s->errq->filling = (e->flags & CHAN_CQ_MORE) != 0;
		flag(s);
	}
	csock_notify(s, EPOLLERR);
}

bool errqueue_quote(struct csock *s, const struct chan_cqe *e)
{
	struct errq *q = first(s)->errq;
	struct told_error *t;
	uint32_t n = (uint32_t)e->res;

	if (e->res <= 0 || e->res > CHAN_DATA_MAX)
		return false;
	/* Of one that found no place, or was read meanwhile. */
	if (q == NULL || !q->filling || q->n == 0)
		return true;
	t = &q->error[(q->head + q->n - 1) % ERRORS_MAX];
	q->filling = (e->flags & CHAN_CQ_MORE) != 0;
	if (t->quoted + n > QUOTED_MAX)
		return false;
	memcpy(t->quote + t->quoted, e->data, n);
	t->quoted = (uint16_t)(t->quoted + n);
	return true;
}

/* ---- time stamps of datagrams sent ---- */

static uint32_t stamping(const struct csock *s)
{
	return (s->stamps & STAMPS_FLAGS) >> STAMPS_FLAG_SHIFT;
}

static void stamp_put(struct csock *s, uint32_t what, uint32_t number)
{
	struct told_error *t = place(s);

	if (t == NULL)
		return;
	*t = (struct told_error){
		.e = {.ee_errno = ENOMSG,
		      .ee_origin = SO_EE_ORIGIN_TIMESTAMPING,
		      .ee_info = what,
		      .ee_data = number},
		.stamp_ns = real_ns(),
	};
	flag(s);
	csock_notify(s, EPOLLERR);
}

void errqueue_number(struct csock *s)
{
	s = first(s);
	if (s->errq != NULL)
		s->errq->numbered = 0;
}

void errqueue_sends(struct csock *s, struct token *t)
{
	uint32_t flags, number = 0;

	s = first(s);
	flags = stamping(s);
	if ((flags & (SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED)) == 0 ||
	    errqueue_make(s) != 0)
		return;
	if (flags & SOF_TIMESTAMPING_OPT_ID)
		number = s->errq->numbered++;
	if (flags & SOF_TIMESTAMPING_TX_SCHED)
		stamp_put(s, SCM_TSTAMP_SCHED, number);
	if ((flags & SOF_TIMESTAMPING_TX_SOFTWARE) == 0)
		return;
	t->stamp = number + 1;
	/* Who sleeps is woken for it. */
	core_wants_tokens(csock_core(s));
}

void errqueue_gone(struct csock *s, uint32_t number)
{
	s = first(s);
	/* A service that is lost takes with it what it had not sent. */
	if (s->state != CSOCK_CLOSED && !client.lost)
		stamp_put(s, SCM_TSTAMP_SND, number);
}

/* ---- what the program gets ---- */

/* As ip_recv_error() of Linux: struct sock_extended_err, and room for the offender's address. */
static void error_put(const struct csock *s, const struct sock_extended_err *e,
		      const uint8_t *offender, struct msghdr *m, size_t *used)
{
	bool v4 = s->domain == AF_INET;
	socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	uint8_t b[sizeof(*e) + sizeof(struct sockaddr_in6)] = {0};

	memcpy(b, e, sizeof(*e));
	if (offender != NULL)
		endpoint_to(offender, 0, 0, s->domain, (void *)(b + sizeof(*e)), &len);
	cmsg_put(m, used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, b,
		 sizeof(*e) + len);
	m->msg_flags |= MSG_ERRQUEUE;
}

static void controls_put(const struct csock *s, const struct told_error *t, struct msghdr *m)
{
	bool icmp = t->e.ee_origin == SO_EE_ORIGIN_ICMP || t->e.ee_origin == SO_EE_ORIGIN_ICMP6;
	int ttl = t->ttl;
	size_t used = 0;

	if (m->msg_control == NULL)
		m->msg_controllen = 0;
	cmsg_stamp(s, t->stamp_ns, t->e.ee_origin == SO_EE_ORIGIN_TIMESTAMPING, m, &used);
	if (icmp && (s->flags & CSOCK_RECVTTL) && s->domain == AF_INET)
		cmsg_put(m, &used, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	else if (icmp && (s->flags & CSOCK_RECVTTL))
		cmsg_put(m, &used, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	error_put(s, &t->e, icmp ? t->offender : NULL, m, &used);
	m->msg_controllen = used;
}

static bool is_icmp(const struct errq *q)
{
	uint8_t origin = q->error[q->head % ERRORS_MAX].e.ee_origin;

	return q->n != 0 && (origin == SO_EE_ORIGIN_ICMP || origin == SO_EE_ORIGIN_ICMP6);
}

static ssize_t error_recv(struct csock *s, struct iov_it *it, struct msghdr *m)
{
	struct errq *q = s->errq;
	const struct told_error *t = &q->error[q->head % ERRORS_MAX];
	bool was_icmp = is_icmp(q);
	size_t n = iov_put(it, t->quote, t->quoted);

	if (m != NULL) {
		if (n < t->quoted)
			m->msg_flags |= MSG_TRUNC;
		if (t->e.ee_origin != SO_EE_ORIGIN_TIMESTAMPING)
			endpoint_to(t->to, t->port, 0, s->domain, m->msg_name, &m->msg_namelen);
		else
			m->msg_namelen = 0;
		controls_put(s, t, m);
	}
	q->head++;
	q->n--;
	/* sock_dequeue_err_skb() of Linux: the next one is the socket's error. */
	if (is_icmp(q))
		s->err = -(int32_t)q->error[q->head % ERRORS_MAX].e.ee_errno;
	else if (was_icmp)
		s->err = 0;
	return (ssize_t)n;
}

static ssize_t sends_recv(struct csock *s, struct msghdr *m)
{
	struct errq *q = s->errq;
	struct sock_extended_err e = {
		.ee_origin = SO_EE_ORIGIN_ZEROCOPY,
		.ee_code = SO_EE_CODE_ZEROCOPY_COPIED,
		.ee_info = q->zc_sent - q->zc_untold,
		.ee_data = q->zc_sent - 1,
	};
	size_t used = 0;

	q->zc_untold = 0;
	if (m == NULL)
		return 0;
	if (m->msg_control == NULL)
		m->msg_controllen = 0;
	error_put(s, &e, NULL, m, &used);
	m->msg_controllen = used;
	m->msg_namelen = 0;
	return 0;
}

ssize_t errqueue_recv(struct csock *s, struct iov_it *it, struct msghdr *m)
{
	ssize_t n;

	if ((s->flags & CSOCK_ERRQUEUE) == 0)
		client_dry();
	if ((s->flags & CSOCK_ERRQUEUE) == 0)
		return -EAGAIN;
	n = s->errq->n != 0 ? error_recv(s, it, m) : sends_recv(s, m);
	flag(s);
	return n;
}
