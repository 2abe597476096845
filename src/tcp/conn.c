/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Life of a connection: made, found, told of, ended, freed.
 *
 * A connection has at most two holders: the user (or the listener that will hand it to one), and
 * the protocol, as long as its state is not CLOSED. tcp_conn_end takes the protocol away, the flag
 * `orphan` says that the user is gone; who goes last frees. So a caller that may have ended a
 * connection does not look at it again.
 */
#include "tcp/tcp_priv.h"

struct tcp_conn *tcp_find(const struct tcp *t, const struct tcp_key *k, uint32_t hash)
{
	struct demux_walk w = demux_walk(&t->demux, hash);
	uint32_t i;

	while ((i = demux_next(&w)) != DEMUX_NONE) {
		struct tcp_conn *c = slab_at(&t->conns, i);

		if (memcmp(&c->key, k, sizeof(*k)) == 0)
			return c;
	}
	return NULL;
}

struct tcp_conn *tcp_conn_by_key(const struct tcp *t, const struct tcp_key *key)
{
	return tcp_find(t, key, tcp_key_hash(t, key));
}

static uint32_t clamp(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

/* Options that live in the connection as they are, or fall back to the engine's defaults. */
static void init_options(struct tcp *t, struct tcp_conn *c, const struct tcp_opt *o)
{
	c->snd_auto = o->sndbuf == 0;
	c->rcv_auto = o->rcvbuf == 0;
	c->sndbuf = c->snd_auto ? t->cfg.sndbuf_bytes : o->sndbuf;
	c->rcvbuf = c->rcv_auto ? t->cfg.rcvbuf_bytes : o->rcvbuf;
	c->rcvbuf = clamp(c->rcvbuf, t->cfg.rcvbuf_max_bytes);
	if (tcp_opt_set(t, c, o) != 0)
		c->mss_max = 0; /* options of a listener were checked when it was made */
}

static void init_conn(struct tcp *t, struct tcp_conn *c, const struct tcp_key *k,
		      const struct tcp_link *link)
{
	*c = (struct tcp_conn){
		.key = *k,
		.state = TCP_CLOSED,
		.quickacks = TCP_QUICKACKS,
		.rtx_at_ns = TCP_NEVER,
		.delack_at_ns = TCP_NEVER,
		.life_at_ns = TCP_NEVER,
		.link = *link,
		.mtu = link->mtu,
		.rcv_mss = TCP_MSS_V4,
		.rcv_ratio = 128,
		.last_rcv_ns = t->now_ns,
		.drs_wnd_ns = t->now_ns,
	};
	list_init(&c->out_link);
	list_init(&c->ev_link);
	wheel_node_init(&c->timer);
	tcp_rtt_init(&c->rtt, t->cfg.min_rto_us, t->cfg.max_rto_us, 10000000);
}

struct tcp_conn *tcp_conn_new(struct tcp *t, const struct tcp_key *k, const struct tcp_link *link,
			      const struct tcp_opt *opt)
{
	uint32_t i = slab_alloc(&t->conns);
	struct tcp_opt defaults;
	struct tcp_conn *c;

	if (i == SLAB_NONE && tcp_time_wait_recycle(t))
		i = slab_alloc(&t->conns);
	if (i == SLAB_NONE)
		return NULL;
	c = slab_at(&t->conns, i);
	init_conn(t, c, k, link);
	c->hash = tcp_key_hash(t, k);
	if (demux_add(&t->demux, c->hash, i) != 0) {
		slab_free(&t->conns, i);
		return NULL;
	}
	if (opt == NULL) {
		tcp_opt_defaults(t, &defaults);
		opt = &defaults;
	}
	tcp_cc_init(&c->cc, t->cc, TCP_MSS_V4);
	init_options(t, c, opt);
	c->peer_mss = tcp_is_v6(c) ? TCP_MSS_V6 : TCP_MSS_V4;
	c->advmss = tcp_advmss(link, tcp_is_v6(c), c->mss_max);
	c->ts_off = tcp_ts_offset(t, k);
	tcp_mss_update(t, c);
	return c;
}

/* RFC 9293 §3.7.1: what we announce is what the link carries, without options. */
uint16_t tcp_advmss(const struct tcp_link *link, bool v6, uint16_t mss_max)
{
	uint32_t hdr = tcp_ip_hdr(v6) + sizeof(struct tcp_hdr);
	uint32_t mss = link->mtu > hdr + TCP_MSS_MIN ? link->mtu - hdr : TCP_MSS_MIN;

	return (uint16_t)(mss_max != 0 && mss_max < mss ? mss_max : mss);
}

/* RFC 9293 §3.7.1, RFC 6691: Eff.snd.MSS = min(SendMSS, MTU - headers) - options */
void tcp_mss_update(struct tcp *t, struct tcp_conn *c)
{
	uint32_t hdr = tcp_ip_hdr(tcp_is_v6(c)) + sizeof(struct tcp_hdr);
	uint32_t mss = c->mtu > hdr + TCP_MSS_MIN ? c->mtu - hdr : TCP_MSS_MIN;

	if (mss > c->peer_mss)
		mss = c->peer_mss;
	if (c->mss_max != 0 && mss > c->mss_max)
		mss = c->mss_max;
	if (mss < TCP_MSS_MIN)
		mss = TCP_MSS_MIN;
	c->mss = (uint16_t)(c->ts ? mss - TCP_TS_LEN : mss);
	tcp_cc_mss_update(c);
}

void tcp_conn_link(struct tcp *t, struct tcp_conn *c, const struct tcp_link *link)
{
	c->link = *link;
	c->mtu = link->mtu;
	tcp_mss_update(t, c);
}

void tcp_conn_set_path(struct tcp_conn *c, uint32_t path)
{
	c->link.path = path;
}

/* ---- what the application is told ------------------------------------------------------------ */

struct tcp_conn *tcp_event_next(struct tcp *t, uint32_t *events)
{
	struct list *l = list_pop(&t->events);
	struct tcp_conn *c;

	if (l == NULL)
		return NULL;
	c = container_of(l, struct tcp_conn, ev_link);
	*events = c->events;
	c->events = 0;
	return c;
}

static void leave_output(struct tcp *t, struct tcp_conn *c)
{
	if (!list_linked(&c->out_link))
		return;
	list_del(&c->out_link);
	t->n_out--;
}

/* ---- the end --------------------------------------------------------------------------------- */

void tcp_release_send(struct tcp *t, struct tcp_conn *c)
{
	tcp_sndq_fini(&c->sndq);
	tcp_sent_fini(&c->sent, &t->mem);
	tcp_repair_free(t, c);
}

void tcp_release_recv(struct tcp *t, struct tcp_conn *c)
{
	uint32_t before = tcp_rcvq_charge(&c->rcvq);

	tcp_rcvq_fini(&c->rcvq);
	tcp_rcv_mem_add(t, c, before);
}

void tcp_conn_free(struct tcp *t, struct tcp_conn *c)
{
	tcp_release_send(t, c);
	tcp_release_recv(t, c);
	t->rcv_mem -= c->lent;
	leave_output(t, c);
	list_del(&c->ev_link);
	wheel_cancel(&t->wheel, &c->timer);
	c->key = (struct tcp_key){0}; /* segments of this burst that were looked up don't match */
	slab_free(&t->conns, slab_index(&t->conns, c));
}

/* RFC 4022 tcpCurrEstab */
static bool counts_as_established(enum tcp_state s)
{
	return s == TCP_ESTABLISHED || s == TCP_CLOSE_WAIT;
}

void tcp_set_state(struct tcp *t, struct tcp_conn *c, enum tcp_state s)
{
	t->n.curr_estab += counts_as_established(s);
	t->n.curr_estab -= counts_as_established(c->state);
	c->state = (uint8_t)s;
}

void tcp_conn_end(struct tcp *t, struct tcp_conn *c, int err)
{
	demux_del(&t->demux, c->hash, slab_index(&t->conns, c));
	tcp_set_state(t, c, TCP_CLOSED);
	c->err = (int16_t)err;
	tcp_timer_stop(t, c);
	leave_output(t, c);
	tcp_release_send(t, c);
	if (c->listener != NULL) {
		tcp_accept_remove(c);
		c->orphan = true;
	}
	if (c->orphan) {
		tcp_conn_free(t, c);
		return;
	}
	tcp_event(t, c, TCP_EV_CLOSED | (err != 0 ? TCP_EV_ERROR : 0));
}
