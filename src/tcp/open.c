/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Active and simultaneous open (RFC 9293 §3.5, §3.10.1, §3.10.7.3), and what any handshake agrees
 * on: MSS (§3.7.1), window scaling and timestamps (RFC 7323 §2.2, §3.2), SACK (RFC 2018 §2).
 *
 * Text on a SYN-ACK is taken. Text on a SYN of a simultaneous open is not: the peer sends it again.
 */
#include "base/hash.h"
#include "tcp/tcp_priv.h"

/* RFC 7323 §5.4: an offset of each flow's own, the same for its next incarnation (RFC 6191). */
uint32_t tcp_ts_offset(const struct tcp *t, const struct tcp_key *k)
{
	return (uint32_t)hash_bytes(k, sizeof(*k), hash_u64(t->hash_key, 3));
}

void tcp_init_send(struct tcp *t, struct tcp_conn *c, uint32_t iss)
{
	c->iss = iss;
	tcp_sndq_init(&c->sndq, seq_start(iss) + 1);
	tcp_sent_init(&c->sent, seq_start(iss));
	c->snd_sml = seq_start(iss);
	c->stuck_ms = t->now_ms;
}

void tcp_apply_syn(struct tcp *t, struct tcp_conn *c, const struct tcp_syn *syn)
{
	if (syn->mss != 0)
		c->peer_mss = syn->mss;
	c->ts = syn->ts;
	c->ts_recent = syn->ts_val;
	c->ts_recent_at = tcp_age_clock(t);
	c->sack = syn->sack;
	c->wscale = syn->scaled;
	c->snd_wscale = syn->scaled ? syn->wscale : 0;
	c->rcv_wscale = syn->scaled ? t->rcv_wscale : 0;
	c->rcv_mss = c->advmss < TCP_MSS_V4 ? c->advmss : TCP_MSS_V4;
	tcp_init_recv(t, c, syn->irs);
	tcp_mss_update(t, c);
}

void tcp_established(struct tcp *t, struct tcp_conn *c)
{
	tcp_set_state(t, c, c->fin_queued ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED);
	c->undo = false;
	c->eifel = false;
	c->retries = 0;
	if (c->listener != NULL) {
		t->n.passive_opens++;
		tcp_accept_push(t, c);
	} else {
		tcp_event(t, c, TCP_EV_CONNECTED);
	}
	tcp_timer_established(t, c);
}

/* May the tuple of a connection in TIME-WAIT be used again by us? RFC 6191: when timestamps will
 * tell old segments from new ones, that is when our clock has moved on. */
static int make_place(struct tcp *t, struct tcp_conn *old)
{
	if (old->state != TCP_TIME_WAIT || !old->ts || !old->orphan ||
	    t->now_ns - old->last_rcv_ns < 1000000000)
		return -EADDRINUSE;
	t->n.time_wait_reused++;
	tcp_conn_end(t, old, 0);
	return 0;
}

int tcp_connect(struct tcp *t, const struct tcp_open *o, struct tcp_conn **out)
{
	struct tcp_conn *c = tcp_find(t, &o->key, tcp_key_hash(t, &o->key));
	int err = c != NULL ? make_place(t, c) : 0;

	if (err != 0)
		return err;
	c = tcp_conn_new(t, &o->key, &o->link, o->opt);
	if (c == NULL)
		return -ENOBUFS;
	c->user = o->user;
	tcp_init_send(t, c, tcp_isn(t->cfg.secret, &o->key, t->now_ns));
	tcp_set_state(t, c, TCP_SYN_SENT);
	t->n.active_opens++;
	tcp_want_output(t, c);
	*out = c;
	return 0;
}

/* RFC 9293 §3.10.7.3 fourth: the peer's SYN. */
static void syn_arrives(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_syn syn = {.irs = s->seq,
			      .mss = s->opts.have_mss ? s->opts.mss : 0,
			      .wscale = s->opts.wscale,
			      .scaled = s->opts.have_wscale,
			      .ts = s->opts.have_ts,
			      .sack = s->opts.sack_ok,
			      .ts_val = s->opts.ts_val};

	tcp_apply_syn(t, c, &syn);
	tcp_set_state(t, c, TCP_SYN_RCVD);
}

/* Fourth, without ACK: both ends began. Our SYN goes again, now with the ACK of theirs. */
static void simultaneous_open(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
	syn_arrives(t, c, s);
	c->snd_wnd = s->wnd;
	c->snd_wnd_max = s->wnd;
	c->snd_wl1 = seq_start(s->seq);
	if (c->sent.count > 0)
		(void)tcp_sent_mark_lost(&c->sent, 0);
	tcp_want_output(t, c);
}

void tcp_syn_sent_input(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s)
{
	uint64_t ack = seq_unwrap(c->sent.una, s->ack);
	bool good_ack = (s->flags & TCP_ACK) && ack > tcp_iss(c) && ack <= c->sent.nxt;

	p->drop = DROP_TCP_BAD_ACK;
	if ((s->flags & TCP_ACK) && !good_ack) { /* first */
		tcp_reply_rst(t, p, s);
	} else if (s->flags & TCP_RST) { /* second */
		p->drop = good_ack ? DROP_TCP_RST : DROP_TCP_RST_BLIND;
		if (good_ack) {
			t->n.in_rsts++;
			t->n.attempt_fails++;
			tcp_conn_end(t, c, -ECONNREFUSED);
		}
	} else if (!(s->flags & TCP_SYN)) { /* fifth */
		p->drop = DROP_TCP_NO_CONN;
	} else if (good_ack) { /* fourth */
		syn_arrives(t, c, s);
		tcp_syn_ack_arrives(t, c, p, s);
		return;
	} else {
		p->drop = DROP_TCP_PURE_ACK;
		simultaneous_open(t, c, s);
	}
	pkt_drop(t->cfg.drops, p->m, p->drop);
}
