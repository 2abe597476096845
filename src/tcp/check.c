/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Invariants: of one connection, and of the engine. Debug builds check the connection that was
 * touched after each input, output, timer and user call.
 */
#include "tcp/tcp_priv.h"

static void check_send(const struct tcp_conn *c)
{
	uint64_t end = c->sndq.end_off + c->fin_queued;

	if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
		return;
	ASSERT(c->sent.una <= c->sent.nxt);
	ASSERT(c->sent.nxt == tcp_iss(c) || c->sent.nxt <= end);
	ASSERT(c->sent.una == tcp_iss(c) || c->sndq.head_off <= c->sent.una);
	ASSERT(c->sent.una >= tcp_iss(c));
	ASSERT(c->mss >= TCP_MSS_MIN - TCP_TS_LEN && c->cc.mss == c->mss);
	ASSERT(c->cc.cwnd_bytes > 0);
	tcp_sndq_check(&c->sndq);
	tcp_sent_check((struct tcp_sent *)&c->sent);
}

static void check_receive(const struct tcp_conn *c)
{
	if (c->rcvq.env == NULL)
		return;
	ASSERT(c->rcv_adv >= tcp_rcv_nxt(c));
	ASSERT(c->last_ack_sent <= tcp_rcv_nxt(c));
	ASSERT(!c->fin_rcvd || tcp_rcvq_complete(&c->rcvq));
	tcp_rcvq_check(&c->rcvq);
}

/* What is in flight, or waits for a closed window, has a timer: no connection hangs. */
static void check_timers(const struct tcp *t, const struct tcp_conn *c)
{
	uint64_t least = c->rtx_at_ns;

	ASSERT((c->rtx_kind == TCP_RTX_NONE) == (c->rtx_at_ns == TCP_NEVER));
	if (c->delack_at_ns < least)
		least = c->delack_at_ns;
	if (c->life_at_ns < least)
		least = c->life_at_ns;
	ASSERT(least == TCP_NEVER || list_linked(&c->timer.link));
	ASSERT(c->timer.deadline_ns <= least);
	if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
		return;
	ASSERT(tcp_sent_outstanding(&c->sent) == 0 || c->rtx_kind != TCP_RTX_NONE);
	ASSERT(c->sndq.end_off <= c->sent.nxt || c->rtx_kind != TCP_RTX_NONE ||
	       list_linked(&c->out_link));
}

static void check_lists(const struct tcp *t, const struct tcp_conn *c)
{
	if (c->orphan)
		ASSERT(c->events == 0 && c->state != TCP_CLOSED);
	else
		ASSERT(c->events == 0 || list_linked(&c->ev_link));
	if (c->state == TCP_CLOSED)
		ASSERT(!list_linked(&c->out_link));
}

void tcp_check(const struct tcp *t, const struct tcp_conn *c)
{
	check_send(c);
	check_receive(c);
	check_timers(t, c);
	check_lists(t, c);
}

void tcp_check_all(const struct tcp *t)
{
	uint64_t charge = 0;
	uint32_t out = 0, estab = 0;

	for (uint32_t i = 0; i < t->conns.used; i++) {
		const struct tcp_conn *c = slab_at(&t->conns, i);

		if (!slab_is_live(&t->conns, i))
			continue;
		tcp_check(t, c);
		charge += (uint64_t)tcp_rcvq_charge(&c->rcvq) + c->lent;
		out += list_linked(&c->out_link);
		estab += c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT;
	}
	ASSERT(charge == t->rcv_mem);
	ASSERT(out == t->n_out);
	ASSERT(estab == t->n.curr_estab);
	wheel_check(&t->wheel);
}
