/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The user's close and abort (RFC 9293 §3.10.4, §3.10.5), resets that we send, and TIME-WAIT.
 *
 * TIME-WAIT keeps the connection's object and gives back all that hangs on it. When there are as
 * many connections as may be, the one that has waited longest makes place.
 */
#include "tcp/tcp_priv.h"

/* A row in the ring of replies, so that the connection may go at once. */
void tcp_send_rst(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_reply r = {.key = c->key,
			      .seq = (uint32_t)c->sent.nxt,
			      .ack = (uint32_t)tcp_rcv_nxt(c),
			      .path = c->link.path,
			      .tos = c->tos,
			      .ttl = c->ttl,
			      .flags = TCP_RST | TCP_ACK};

	t->n.out_rsts++;
	tcp_reply(t, &r);
}

/* Does the peer know of us, and expect more? RFC 9293 §3.10.5 */
static bool reset_is_due(const struct tcp_conn *c)
{
	switch (c->state) {
	case TCP_SYN_RCVD:
	case TCP_ESTABLISHED:
	case TCP_FIN_WAIT_1:
	case TCP_FIN_WAIT_2:
	case TCP_CLOSE_WAIT:
		return true;
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		/* The RFC enters these when the FIN leaves; here data may stand before it. */
		return c->sndq.end_off > c->sndq.head_off;
	default:
		return false;
	}
}

static void orphan(struct tcp *t, struct tcp_conn *c)
{
	c->orphan = true;
	c->events = 0;
	list_del(&c->ev_link);
}

void tcp_abort(struct tcp *t, struct tcp_conn *c)
{
	orphan(t, c);
	if (c->state == TCP_CLOSED) {
		tcp_conn_free(t, c);
		return;
	}
	if (reset_is_due(c))
		tcp_send_rst(t, c);
	tcp_conn_end(t, c, -ECONNABORTED);
}

/* RFC 2525 §2.17, RFC 9293 §3.10.4: the peer must learn that data was thrown away. */
static bool throws_data_away(const struct tcp_conn *c)
{
	return c->rcvq.ready.bytes > 0 && (tcp_may_receive(c) || c->state == TCP_CLOSE_WAIT);
}

void tcp_close(struct tcp *t, struct tcp_conn *c)
{
	if (throws_data_away(c)) {
		t->n.aborts_close++;
		tcp_abort(t, c);
		return;
	}
	if (c->state == TCP_SYN_SENT || c->state == TCP_CLOSED) {
		tcp_abort(t, c);
		return;
	}
	(void)tcp_shutdown_send(t, c);
	orphan(t, c);
	c->stuck_ms = t->now_ms; /* an orphan's patience begins here */
	t->rcv_mem -= c->lent;
	c->lent = 0;
	if (c->state == TCP_TIME_WAIT) {
		tcp_release_recv(t, c);
		list_add_tail(&t->time_wait, &c->ev_link);
	}
	tcp_timer_orphaned(t, c);
	tcp_debug_check(t, c);
}

/* What still arrives is acknowledged and thrown away. */
void tcp_shutdown_recv(struct tcp *t, struct tcp_conn *c)
{
	c->rcv_shut = true;
}

void tcp_time_wait(struct tcp *t, struct tcp_conn *c)
{
	tcp_set_state(t, c, TCP_TIME_WAIT);
	t->n.time_wait++;
	tcp_release_send(t, c);
	c->tlp_due = false;
	c->probe_due = false;
	if (c->orphan) {
		tcp_release_recv(t, c);
		list_add_tail(&t->time_wait, &c->ev_link);
	}
	tcp_event(t, c, TCP_EV_CLOSED);
	tcp_timer_time_wait(t, c);
}

bool tcp_time_wait_recycle(struct tcp *t)
{
	if (list_empty(&t->time_wait))
		return false;
	t->n.time_wait_recycled++;
	tcp_conn_end(t, container_of(t->time_wait.next, struct tcp_conn, ev_link), 0);
	return true;
}
