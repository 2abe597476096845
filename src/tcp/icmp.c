/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors from the network (RFC 9293 §3.9.2.2, RFC 5927, RFC 1191, RFC 8201). They count only when
 * the segment they quote is in flight (H18). Hard ones end a connection that is being opened, and
 * nothing else (RFC 5927 §5.2); soft ones are the reason given if time runs out. A smaller path MTU
 * cuts the segments smaller, and what was too large is sent again at once; that is no sign of
 * congestion (RFC 1191 §6.5).
 *
 * Not done: finding the path's MTU without ICMP (RFC 4821).
 */
#include "tcp/tcp_priv.h"

/* Nobody needs less: RFC 791 asks for 576 in one piece, RFC 8200 for 1,280. */
#define MTU_MIN_V4 552
#define MTU_MIN_V6 1280

static void mtu_reduce(struct tcp *t, struct tcp_conn *c, uint16_t mtu)
{
	uint16_t least = tcp_is_v6(c) ? MTU_MIN_V6 : MTU_MIN_V4;

	if (mtu < least)
		mtu = least;
	if (mtu >= c->mtu)
		return;
	c->mtu = mtu;
	t->n.pmtu_reduced++;
	tcp_mss_update(t, c);
	for (uint32_t i = 0; i < c->sent.count; i++) {
		const struct tcp_sent_rec *r = tcp_sent_at(&c->sent, i);

		if (r->end - r->start > c->mss)
			(void)tcp_sent_mark_lost(&c->sent, i);
	}
	tcp_want_output(t, c);
}

/* The connection that has the quoted segment in flight; NULL: none. */
static struct tcp_conn *concerned(struct tcp *t, const struct tcp_icmp *e)
{
	struct tcp_conn *c = tcp_find(t, &e->key, tcp_key_hash(t, &e->key));
	uint64_t seq;

	if (c == NULL || c->state == TCP_TIME_WAIT)
		return NULL;
	seq = seq_unwrap(c->sent.una, e->seq);
	return seq >= c->sent.una && seq < c->sent.nxt ? c : NULL;
}

uint64_t tcp_icmp_user(struct tcp *t, const struct tcp_icmp *e)
{
	struct tcp_conn *c = concerned(t, e);

	return c != NULL ? c->user : 0;
}

void tcp_icmp_error(struct tcp *t, const struct tcp_icmp *e)
{
	struct tcp_conn *c = concerned(t, e);

	if (c == NULL)
		return;
	if (e->err == EMSGSIZE)
		mtu_reduce(t, c, e->mtu);
	else if (e->hard && c->state == TCP_SYN_SENT)
		tcp_conn_end(t, c, -e->err);
	else
		c->soft_err = (int16_t)-e->err;
	tcp_debug_check(t, c);
}
