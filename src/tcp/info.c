/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options of a connection and what is told about it (tcp_info).
 */
#include "tcp/tcp_priv.h"

#define KEEPIDLE_S  7200 /* RFC 9293 MUST-28: no less than two hours */
#define KEEPINTVL_S 75
#define KEEPCNT	    9
#define LINGER2_S   60

void tcp_opt_defaults(const struct tcp *t, struct tcp_opt *o)
{
	*o = (struct tcp_opt){.keepidle_s = KEEPIDLE_S,
			      .keepintvl_s = KEEPINTVL_S,
			      .keepcnt = KEEPCNT,
			      .linger2_s = LINGER2_S};
	strncpy(o->cc, t->cc->name, sizeof(o->cc) - 1);
}

void tcp_opt_get(const struct tcp_conn *c, struct tcp_opt *o)
{
	*o = (struct tcp_opt){
		.nodelay = c->nodelay,
		.cork = c->cork,
		.keepalive = c->keepalive,
		.quickack = c->quickack,
		.oob_inline = c->oob_inline,
		.tos = c->tos,
		.ttl = c->ttl,
		.mss_max = c->mss_max,
		.keepidle_s = c->keepidle_s,
		.keepintvl_s = c->keepintvl_s,
		.keepcnt = c->keepcnt,
		.user_timeout_ms = c->user_timeout_ms,
		.linger2_s = c->linger2_s,
		.sndbuf = c->snd_auto ? 0 : c->sndbuf,
		.rcvbuf = c->rcv_auto ? 0 : c->rcvbuf,
		.max_pacing_rate = c->max_pacing_rate,
	};
	strncpy(o->cc, c->cc.ops->name, sizeof(o->cc) - 1);
}

static uint16_t seconds(uint32_t s, uint16_t none)
{
	if (s == 0)
		return none;
	return s < UINT16_MAX ? (uint16_t)s : UINT16_MAX;
}

static void set_buffers(struct tcp *t, struct tcp_conn *c, const struct tcp_opt *o)
{
	if (o->sndbuf != 0) {
		c->snd_auto = false;
		c->sndbuf = o->sndbuf;
	}
	if (o->rcvbuf == 0)
		return;
	c->rcv_auto = false;
	c->rcvbuf = o->rcvbuf < t->cfg.rcvbuf_max_bytes ? o->rcvbuf : t->cfg.rcvbuf_max_bytes;
	c->rcvq.max_charge = c->rcvbuf;
}

static void set_flags(struct tcp_conn *c, const struct tcp_opt *o)
{
	c->nodelay = o->nodelay;
	c->cork = o->cork;
	c->quickack = o->quickack;
	c->oob_inline = o->oob_inline;
	c->tos = o->tos;
	c->ttl = o->ttl;
	c->mss_max = o->mss_max;
	c->max_pacing_rate = o->max_pacing_rate;
	c->user_timeout_ms = o->user_timeout_ms;
	c->keepidle_s = seconds(o->keepidle_s, KEEPIDLE_S);
	c->keepintvl_s = seconds(o->keepintvl_s, KEEPINTVL_S);
	c->keepcnt = (uint8_t)(o->keepcnt == 0 ? KEEPCNT : o->keepcnt < 255 ? o->keepcnt : 255);
	c->linger2_s = seconds(o->linger2_s, LINGER2_S);
}

int tcp_opt_set(struct tcp *t, struct tcp_conn *c, const struct tcp_opt *o)
{
	const struct tcp_cc_ops *cc = o->cc[0] != '\0' ? tcp_cc_find(o->cc) : c->cc.ops;
	bool pushes = (!c->nodelay && o->nodelay) || (c->cork && !o->cork);

	if (memchr(o->cc, '\0', sizeof(o->cc)) == NULL)
		return -EINVAL;
	if (cc == NULL)
		return -ENOENT;
	if (cc != c->cc.ops)
		tcp_cc_switch(&c->cc, cc);
	set_flags(c, o);
	set_buffers(t, c, o);
	c->keepalive = o->keepalive;
	if (c->state >= TCP_ESTABLISHED)
		tcp_timer_established(t, c);
	if (pushes && c->state >= TCP_ESTABLISHED && c->state != TCP_TIME_WAIT)
		tcp_want_output(t, c);
	return 0;
}

const char *tcp_state_name(enum tcp_state s)
{
	static const char *const names[] = {
		"CLOSED",     "LISTEN",	    "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
		"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",	"LAST-ACK",	"TIME-WAIT"};

	return (unsigned)s < array_size(names) ? names[s] : "?";
}

uint64_t tcp_conn_user(const struct tcp_conn *c)
{
	return c->user;
}

void tcp_conn_set_user(struct tcp_conn *c, uint64_t user)
{
	c->user = user;
}

const struct tcp_key *tcp_conn_key(const struct tcp_conn *c)
{
	return &c->key;
}

enum tcp_state tcp_conn_state(const struct tcp_conn *c)
{
	return c->state;
}

bool tcp_conn_readable(const struct tcp_conn *c)
{
	return c->rcvq.ready.head != NULL;
}

bool tcp_conn_got_fin(const struct tcp_conn *c)
{
	return c->fin_rcvd;
}

int tcp_conn_error(const struct tcp_conn *c)
{
	return c->err;
}

/* ---- tcp_info -------------------------------------------------------------------------------- */

static uint8_t ca_state(const struct tcp_conn *c)
{
	if (c->cc.phase == TCP_CC_RECOVERY)
		return 3;
	if (c->cc.phase == TCP_CC_LOSS)
		return 4;
	return c->sent.sacked_bytes > 0 || (c->repair != NULL && c->repair->rack.dupacks > 0);
}

static uint32_t saturate(uint64_t v)
{
	return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

static uint64_t age(const struct tcp *t, uint64_t at_ns)
{
	return at_ns != 0 ? t->now_ns - at_ns : 0;
}

static uint64_t age_ms(const struct tcp *t, uint32_t at_ms)
{
	return at_ms != 0 ? (t->now_ms - at_ms) * 1000000ull : 0;
}

static void info_path(const struct tcp *t, const struct tcp_conn *c, struct tcp_info_full *i)
{
	uint32_t min_us = tcp_rtt_min_us(&c->rtt, t->now_ns);

	i->rto_us = tcp_rtt_rto_us(&c->rtt);
	i->srtt_us = tcp_rtt_srtt_us(&c->rtt);
	i->rttvar_us = tcp_rtt_rttvar_us(&c->rtt);
	i->min_rtt_us = min_us == TCP_RTT_NONE ? 0 : min_us;
	i->ato_us = t->cfg.delack_us;
	i->snd_mss = c->mss;
	i->rcv_mss = c->rcv_mss;
	i->advmss = c->advmss;
	i->pmtu = c->mtu;
	i->cwnd_bytes = saturate(tcp_cwnd(c));
	i->ssthresh_bytes = saturate(c->cc.ssthresh_bytes);
	i->snd_wnd = c->snd_wnd;
	i->rcv_wnd = c->rcv_adv > tcp_rcv_nxt(c) ? (uint32_t)(c->rcv_adv - tcp_rcv_nxt(c)) : 0;
	i->rcv_space = c->drs_space;
}

static void info_scoreboard(const struct tcp_conn *c, struct tcp_info_full *i)
{
	uint32_t mss = c->mss;

	i->unacked = (uint32_t)((tcp_sent_outstanding(&c->sent) + mss - 1) / mss);
	i->sacked = (uint32_t)((c->sent.sacked_bytes + mss - 1) / mss);
	i->lost = (uint32_t)((c->sent.lost_bytes + mss - 1) / mss);
	i->retrans = (uint32_t)((c->sent.rtx_bytes + mss - 1) / mss);
	i->total_retrans = c->total_retrans;
	if (c->repair != NULL && c->repair->rack.reordering_seen)
		i->reordering = c->repair->rack.reo_mult;
	i->dsack_dups = c->dsack_dups;
}

static void info_counts(const struct tcp *t, const struct tcp_conn *c, struct tcp_info_full *i)
{
	uint64_t first = tcp_iss(c) + 1, irs1 = seq_start(c->irs) + 1;

	i->bytes_acked = c->sent.una > first ? c->sent.una - first - tcp_fin_acked(c) : 0;
	i->bytes_sent = c->bytes_retrans;
	i->bytes_sent += c->sent.nxt > first ? c->sent.nxt - first - tcp_fin_sent(c) : 0;
	i->bytes_received = c->rcvq.rcv_nxt > irs1 ? c->rcvq.rcv_nxt - irs1 : 0;
	i->bytes_retrans = c->bytes_retrans;
	i->segs_in = c->segs_in;
	i->segs_out = c->segs_out;
	i->data_segs_in = c->data_segs_in;
	i->data_segs_out = c->data_segs_out;
	i->notsent_bytes = c->sndq.end_off > c->sent.nxt ? c->sndq.end_off - c->sent.nxt : 0;
	i->unread_bytes = c->rcvq.ready.bytes;
	i->sndbuf = c->sndbuf;
	i->rcvbuf = c->rcvbuf;
	i->last_data_sent_ns = age(t, c->last_snd_ns);
	i->last_data_recv_ns = age_ms(t, c->last_data_rcv_ms);
	i->last_ack_recv_ns = age_ms(t, c->last_ack_ms);
}

uint32_t tcp_conn_progress_ms(const struct tcp *t, const struct tcp_conn *c)
{
	uint32_t ack = c->last_ack_ms != 0 ? t->now_ms - c->last_ack_ms : UINT32_MAX;
	uint32_t data = c->last_data_rcv_ms != 0 ? t->now_ms - c->last_data_rcv_ms : UINT32_MAX;

	return ack < data ? ack : data;
}

void tcp_conn_info(const struct tcp *t, const struct tcp_conn *c, struct tcp_info_full *i)
{
	*i = (struct tcp_info_full){
		.state = c->state,
		.ca_state = ca_state(c),
		.tstamps = c->ts,
		.sack = c->sack,
		.snd_wscale = c->snd_wscale,
		.rcv_wscale = c->rcv_wscale,
		.retransmits = c->retries,
		.backoff = c->rtt.backoff,
		.probes = c->probes,
	};
	info_path(t, c, i);
	info_scoreboard(c, i);
	info_counts(t, c, i);
	strncpy(i->cc, c->cc.ops->name, sizeof(i->cc) - 1);
}
