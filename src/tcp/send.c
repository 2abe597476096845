/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the application wants sent: data (RFC 9293 §3.10.2), the urgent mark (§3.8.5), the end of
 * the stream (§3.10.4). Nothing is sent here; the connection is put on the list that tcp_output
 * walks.
 */
#include "tcp/tcp_priv.h"

static int may_queue(const struct tcp_conn *c)
{
	if (c->err != 0)
		return c->err;
	if (c->fin_queued)
		return -EPIPE;
	switch (c->state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RCVD:
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return 0;
	case TCP_CLOSED:
		return -ENOTCONN;
	default:
		return -EPIPE;
	}
}

int tcp_send(struct tcp *t, struct tcp_conn *c, struct rte_mbuf *m, unsigned flags)
{
	int err = may_queue(c);

	if (err != 0)
		return err;
	if (tcp_sent_outstanding(&c->sent) == 0 && c->sndq.end_off <= c->sent.nxt)
		c->stuck_ms = t->now_ms; /* nothing waited for the peer until now */
	tcp_sndq_append(&c->sndq, m, flags & TCP_SEND_COPIED);
	c->more = flags & TCP_SEND_MORE;
	c->quickacks = 0; /* a dialogue: answers carry the ACKs */
	if (flags & TCP_SEND_OOB) {
		c->snd_urg = true;
		c->snd_up = c->sndq.end_off;
		c->push = true;
		/* §3.8.5: a closed window doesn't hold back the news, only the byte. */
		if (c->state >= TCP_ESTABLISHED && c->snd_wnd == 0)
			c->ack_now = true;
	}
	tcp_want_output(t, c);
	tcp_debug_check(t, c);
	return 0;
}

uint64_t tcp_send_space(const struct tcp_conn *c)
{
	uint64_t held = c->sndq.end_off - c->sndq.head_off;

	if (may_queue(c) != 0)
		return 0;
	return held < c->sndbuf ? c->sndbuf - held : 0;
}

uint64_t tcp_conn_sent_at(const struct tcp_conn *c)
{
	return c->sndq.end_off;
}

void tcp_send_each(struct tcp_conn *c, void (*fn)(void *arg, struct rte_mbuf *m), void *arg)
{
	for (struct rte_mbuf *m = c->sndq.head; m != NULL; m = m->next)
		fn(arg, m);
}

void tcp_send_push(struct tcp *t, struct tcp_conn *c)
{
	if (c->sndq.end_off <= c->sent.nxt)
		return;
	c->more = false;
	c->push = true;
	tcp_want_output(t, c);
}

void tcp_send_uncork(struct tcp *t, struct tcp_conn *c)
{
	if (!c->more)
		return;
	c->more = false;
	if (c->state >= TCP_ESTABLISHED && c->state != TCP_TIME_WAIT)
		tcp_want_output(t, c);
	tcp_debug_check(t, c);
}

uint64_t tcp_send_limit(const struct tcp_conn *c)
{
	return c->sndbuf;
}

/* RFC 9293 §3.10.4: the FIN follows what is queued; the state changes now. */
int tcp_shutdown_send(struct tcp *t, struct tcp_conn *c)
{
	int err = may_queue(c);

	if (err != 0)
		return c->fin_queued ? 0 : err;
	c->fin_queued = true;
	if (c->state == TCP_ESTABLISHED)
		tcp_set_state(t, c, TCP_FIN_WAIT_1);
	else if (c->state == TCP_CLOSE_WAIT)
		tcp_set_state(t, c, TCP_LAST_ACK);
	tcp_want_output(t, c);
	tcp_debug_check(t, c);
	return 0;
}
