/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Passive open (RFC 9293 §3.10.7.2): listeners, the SYN cache in front of them, SYN cookies when it
 * is full (RFC 4987 §3.6, H15). A connection exists from the third segment on; that segment then
 * goes through the same steps as any other, so data and FIN on it count.
 *
 *	SYN ──► listener? ──► room in the accept queue? ──► entry in the cache ──► SYN-ACK
 *	                              no: dropped            full: cookie     ──► SYN-ACK
 *	ACK ──► entry, or a good cookie ──► connection in SYN-RECEIVED ──► tcp_segment_arrives
 *
 * SYN-ACKs are replies without a connection: under pressure few of them are sent.
 * Not done: fast open (RFC 7413).
 */
#include <stdlib.h>

#include "tcp/tcp_priv.h"

#define COOKIE_LIFE_NS (128ull * 1000000000)

static struct list *listen_head(struct tcp *t, uint16_t lport)
{
	return &t->listen[lport % TCP_LISTEN_HEADS];
}

/* How well a listener fits: 0 not at all, 3 its address, 2 the wildcard of the family, 1 IPv6's for
 * IPv4, as in Linux. */
static unsigned fits(const struct tcp_listener *l, const struct ip_addr *laddr, uint16_t lport)
{
	const struct ip_addr *own = &l->l.laddr;

	if (l->l.lport != lport)
		return 0;
	if (!ip_addr_is_any(own))
		return ip_addr_eq(own, laddr) ? 3 : 0;
	if (ip_addr_is_v4(laddr) == ip_addr_is_v4(own))
		return 2;
	return ip_addr_is_v4(laddr) && !l->l.v6only;
}

/* The connection at the other end, if that is ours as well. */
static const struct tcp_conn *opener(const struct tcp *t, const struct tcp_key *k)
{
	struct tcp_key back = {
		.laddr = k->raddr, .raddr = k->laddr, .lport = k->rport, .rport = k->lport};

	return tcp_conn_by_key(t, &back);
}

/* Over loopback only the listeners of one zone can be reached: that of the connection at the other
 * end. False: there is none any more. */
static bool loopback_zone(const struct tcp *t, const struct tcp_key *k, uint16_t *zone)
{
	const struct tcp_conn *c = opener(t, k);

	*zone = c != NULL ? c->link.zone : 0;
	return c != NULL;
}

static bool opened_for_records(const struct tcp *t, const struct tcp_key *k)
{
	const struct tcp_conn *c = opener(t, k);

	return c != NULL && c->link.records;
}

/* The best fit; among several equal ones (SO_REUSEPORT) the flow's hash chooses. */
static struct tcp_listener *listener_find(struct tcp *t, const struct tcp_key *k, uint32_t hash)
{
	bool lo = ip_addr_is_loopback(&k->laddr) || ip_addr_is_loopback(&k->raddr);
	struct tcp_listener *found = NULL;
	unsigned best = 1, n = 0;
	uint16_t zone = 0;

	if (unlikely(lo) && !loopback_zone(t, k, &zone))
		return NULL;
	LIST_EACH (i, listen_head(t, k->lport)) {
		struct tcp_listener *l = container_of(i, struct tcp_listener, link);
		unsigned f = fits(l, &k->laddr, k->lport);

		if (f < best || (lo && l->l.zone != zone))
			continue;
		if (unlikely(l->l.records) && !opened_for_records(t, k))
			continue;
		n = f > best ? 1 : n + 1;
		best = f;
		if (n == 1 || (uint32_t)((hash * 2654435761u ^ n * 40503u) >> 8) % n == 0)
			found = l;
	}
	return found;
}

int tcp_listen(struct tcp *t, const struct tcp_listen *in, struct tcp_listener **out)
{
	struct tcp_listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOBUFS;
	l->l = *in;
	if (in->opt != NULL)
		l->opt = *in->opt;
	else
		tcp_opt_defaults(t, &l->opt);
	l->l.opt = NULL;
	list_init(&l->link);
	list_init(&l->accept);
	list_init(&l->news);
	list_add_tail(listen_head(t, in->lport), &l->link);
	*out = l;
	return 0;
}

void tcp_listen_backlog(struct tcp_listener *l, uint32_t backlog)
{
	l->l.backlog = backlog;
}

void tcp_listen_opt(struct tcp_listener *l, const struct tcp_opt *o)
{
	l->opt = *o;
}

uint64_t tcp_listener_user(const struct tcp_listener *l)
{
	return l->l.user;
}

void tcp_listener_set_user(struct tcp_listener *l, uint64_t user)
{
	l->l.user = user;
}

void tcp_unlisten(struct tcp *t, struct tcp_listener *l)
{
	struct list *i;

	list_del(&l->link);
	list_del(&l->news);
	while ((i = list_pop(&l->accept)) != NULL) {
		struct tcp_conn *c = container_of(i, struct tcp_conn, ev_link);

		c->listener = NULL;
		c->unaccepted = false;
		tcp_abort(t, c);
	}
	free(l);
}

/* ---- accept queue ---------------------------------------------------------------------------- */

static bool accept_full(const struct tcp_listener *l)
{
	return l->queued >= (l->l.backlog > 0 ? l->l.backlog : 1);
}

void tcp_accept_push(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_listener *l = c->listener;

	list_add_tail(&l->accept, &c->ev_link);
	l->queued++;
	if (!list_linked(&l->news))
		list_add_tail(&t->accept_news, &l->news);
}

void tcp_accept_remove(struct tcp_conn *c)
{
	if (list_linked(&c->ev_link)) {
		list_del(&c->ev_link);
		c->listener->queued--;
	}
	c->listener = NULL;
	c->unaccepted = false;
}

struct tcp_listener *tcp_accept_next(struct tcp *t)
{
	struct list *i;

	while ((i = list_pop(&t->accept_news)) != NULL) {
		struct tcp_listener *l = container_of(i, struct tcp_listener, news);

		if (l->queued > 0)
			return l;
	}
	return NULL;
}

bool tcp_listener_ready(const struct tcp_listener *l)
{
	return !list_empty(&l->accept);
}

uint32_t tcp_listener_waiting(const struct tcp_listener *l)
{
	return l->queued;
}

struct tcp_conn *tcp_accept(struct tcp *t, struct tcp_listener *l)
{
	struct tcp_conn *c;

	if (list_empty(&l->accept))
		return NULL;
	c = container_of(l->accept.next, struct tcp_conn, ev_link);
	tcp_accept_remove(c);
	if (c->events != 0)
		tcp_event(t, c, c->events);
	return c;
}

/* ---- SYN-ACK --------------------------------------------------------------------------------- */

static struct tcp_key entry_key(const struct syn_entry *e)
{
	return (struct tcp_key){
		.laddr = e->laddr, .raddr = e->raddr, .lport = e->lport, .rport = e->rport};
}

/* What goes back for an entry, as a reply: SYN-ACK or, when challenged, ACK. */
static struct tcp_reply entry_reply(struct tcp *t, const struct tcp_listener *l,
				    const struct syn_entry *e, uint32_t ts_val)
{
	struct tcp_key key = entry_key(e);
	const struct tcp_link *link = tcp_link_default(t, &key.raddr);
	uint32_t rcvbuf = l->opt.rcvbuf != 0 ? l->opt.rcvbuf : t->cfg.rcvbuf_bytes;

	return (struct tcp_reply){
		.key = key,
		.seq = e->iss,
		.ack = e->irs + 1,
		.path = link->path,
		.wnd = tcp_syn_window(t, rcvbuf),
		.flags = TCP_SYN | TCP_ACK,
		.tos = l->opt.tos,
		.ttl = l->opt.ttl,
		.opts = {.mss = tcp_advmss(link, !ip_addr_is_v4(&key.raddr), l->opt.mss_max),
			 .have_wscale = e->flags & SYN_F_WSCALE,
			 .wscale = t->rcv_wscale,
			 .sack_ok = e->flags & SYN_F_SACK,
			 .have_ts = e->flags & SYN_F_TS,
			 .ts_val = ts_val,
			 .ts_ecr = e->ts_val},
	};
}

static void send_syn_ack(struct tcp *t, const struct tcp_listener *l, const struct syn_entry *e)
{
	struct tcp_key key = entry_key(e);
	struct tcp_reply r = entry_reply(t, l, e, t->now_ms + tcp_ts_offset(t, &key));

	tcp_reply(t, &r);
}

static void challenge_entry(struct tcp *t, const struct tcp_listener *l, const struct syn_entry *e)
{
	struct tcp_key key = entry_key(e);
	struct tcp_reply r = entry_reply(t, l, e, t->now_ms + tcp_ts_offset(t, &key));

	r.seq++;
	r.flags = TCP_ACK;
	if (r.opts.have_wscale)
		r.wnd >>= t->rcv_wscale;
	r.opts.mss = 0;
	r.opts.have_wscale = false;
	r.opts.sack_ok = false;
	t->n.challenge_acks++;
	tcp_reply(t, &r);
}

static struct syn_entry entry_of_syn(const struct tcp_key *k, const struct tcp_seg *s)
{
	uint16_t none = ip_addr_is_v4(&k->raddr) ? TCP_MSS_V4 : TCP_MSS_V6;

	return (struct syn_entry){
		.laddr = k->laddr,
		.raddr = k->raddr,
		.lport = k->lport,
		.rport = k->rport,
		.irs = s->seq,
		.ts_val = s->opts.ts_val,
		.mss = s->opts.have_mss ? s->opts.mss : none,
		.wscale = s->opts.wscale & 15,
		.flags = (uint8_t)((s->opts.sack_ok ? SYN_F_SACK : 0) |
				   (s->opts.have_ts ? SYN_F_TS : 0) |
				   (s->opts.have_wscale ? SYN_F_WSCALE : 0)),
	};
}

/* The cache is full: all that must be remembered travels in the sequence number and the timestamp.
 */
static void send_cookie(struct tcp *t, const struct tcp_listener *l, const struct tcp_key *k,
			struct syn_entry *e)
{
	struct tcp_cookie ck = {.wscale = TCP_COOKIE_NO_WSCALE, .sack = e->flags & SYN_F_SACK};
	uint32_t ts = t->now_ms + tcp_ts_offset(t, k);
	struct tcp_reply r;

	e->iss = tcp_cookie_make(t->cfg.secret, k, e->irs, e->mss, t->now_ns);
	if (e->flags & SYN_F_WSCALE)
		ck.wscale = e->wscale;
	if (e->flags & SYN_F_TS)
		ts = tcp_cookie_ts(ts, &ck);
	else
		e->flags = 0; /* no place to remember them */
	r = entry_reply(t, l, e, ts);
	t->n.syn_cookies_sent++;
	t->cookies_until_ns = t->now_ns + COOKIE_LIFE_NS;
	tcp_reply(t, &r);
}

/* RFC 9293 §3.10.7.2 third. */
static enum drop_reason syn_arrives(struct tcp *t, struct tcp_listener *l, const struct tcp_key *k,
				    const struct tcp_seg *s)
{
	struct syn_entry e = entry_of_syn(k, s), *kept;

	if (accept_full(l)) {
		t->n.listen_overflows++;
		return DROP_TCP_ACCEPT_FULL;
	}
	e.iss = tcp_isn(t->cfg.secret, k, t->now_ns);
	kept = syncache_add(&t->syncache, &e, t->now_ms);
	if (kept != NULL) {
		t->n.syn_cache++;
		send_syn_ack(t, l, kept);
	} else {
		send_cookie(t, l, k, &e);
	}
	return DROP_TCP_PURE_ACK;
}

/* ---- the third segment ----------------------------------------------------------------------- */

/* The connection that was agreed on. The SYN-ACK counts as sent twice, so that Karn's rule keeps it
 * from being a sample: when it was sent is not known well enough. */
static struct tcp_conn *make_conn(struct tcp *t, struct tcp_listener *l, const struct tcp_key *k,
				  const struct syn_entry *e)
{
	struct tcp_conn *c = tcp_conn_new(t, k, tcp_link_default(t, &k->raddr), &l->opt);
	struct tcp_syn syn = {.irs = e->irs,
			      .mss = e->mss,
			      .wscale = e->wscale,
			      .scaled = e->flags & SYN_F_WSCALE,
			      .ts = e->flags & SYN_F_TS,
			      .sack = e->flags & SYN_F_SACK,
			      .ts_val = e->ts_val};

	if (c == NULL)
		return NULL;
	c->listener = l;
	c->unaccepted = true;
	c->passive = true;
	c->syn_rtx = e->tries > 1;
	tcp_apply_syn(t, c, &syn);
	tcp_init_send(t, c, e->iss);
	tcp_sent_append(&c->sent, c->sent.nxt + 1, t->now_ns);
	tcp_sent_at(&c->sent, 0)->n_xmit = 2;
	tcp_set_state(t, c, TCP_SYN_RCVD);
	tcp_timer_data_sent(t, c);
	return c;
}

/* cached: e where it is an entry of the cache, which stays until there is a connection: the SYN-ACK
 * is repeated then. Who came with a cookie is told. Takes p->m. */
static void complete(struct tcp *t, struct tcp_listener *l, const struct syn_entry *e,
		     struct syn_entry *cached, struct pkt *p, struct tcp_seg *s)
{
	struct tcp_key key = tcp_key_of(p);
	struct tcp_conn *c;

	if (accept_full(l)) {
		/* The peer believes in a connection. Of an entry, the SYN-ACK reminds it; who came
		 * with a cookie repeats its data, which carries the cookie again. */
		t->n.listen_overflows++;
		pkt_drop(t->cfg.drops, p->m, DROP_TCP_ACCEPT_FULL);
		return;
	}
	c = make_conn(t, l, &key, e);
	if (c == NULL) {
		t->n.listen_drops++;
		if (cached == NULL)
			tcp_reply_rst(t, p, s);
		pkt_drop(t->cfg.drops, p->m, DROP_NO_MEMORY);
		return;
	}
	if (cached != NULL)
		syncache_del(&t->syncache, cached);
	c->segs_in++;
	tcp_segment_arrives(t, c, p, s);
	tcp_debug_check(t, c);
}

/* In the window that the SYN-ACK offered, and not older than the SYN (RFC 7323 §5.3). */
static bool entry_accepts(struct tcp *t, const struct tcp_listener *l, const struct syn_entry *e,
			  const struct tcp_seg *s)
{
	uint32_t rcvbuf = l->opt.rcvbuf != 0 ? l->opt.rcvbuf : t->cfg.rcvbuf_bytes;

	if ((e->flags & SYN_F_TS) &&
	    (!s->opts.have_ts || (int32_t)(s->opts.ts_val - e->ts_val) < 0))
		return false;
	return s->seq - (e->irs + 1) < tcp_syn_window(t, rcvbuf);
}

/* A segment for an entry of the cache: RFC 9293 §3.10.7.4 for SYN-RECEIVED. Takes p->m. */
static void entry_input(struct tcp *t, struct tcp_listener *l, struct syn_entry *e, struct pkt *p,
			struct tcp_seg *s)
{
	enum drop_reason why = DROP_TCP_PURE_ACK;

	if (s->flags & TCP_RST) {
		why = s->seq == e->irs + 1 ? DROP_TCP_RST : DROP_TCP_RST_BLIND;
		if (why == DROP_TCP_RST) {
			t->n.attempt_fails++;
			syncache_del(&t->syncache, e);
		}
	} else if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && s->seq == e->irs) {
		send_syn_ack(t, l, e); /* the first one was lost */
	} else if ((s->flags & TCP_SYN) || !(s->flags & TCP_ACK)) {
		why = DROP_TCP_RST_BLIND;
		challenge_entry(t, l, e);
	} else if (s->ack != e->iss + 1) {
		why = DROP_TCP_BAD_ACK;
		tcp_reply_rst(t, p, s);
	} else if (!entry_accepts(t, l, e, s)) {
		why = DROP_TCP_WINDOW;
		challenge_entry(t, l, e);
	} else {
		complete(t, l, e, e, p, s);
		return;
	}
	pkt_drop(t->cfg.drops, p->m, why);
}

/* Is this the answer to a cookie? Cookies are looked at only when some were sent not long ago: then
 * stray ACKs cost no keyed hash. Takes p->m when true. */
static bool cookie_input(struct tcp *t, struct tcp_listener *l, const struct tcp_key *k,
			 struct pkt *p, struct tcp_seg *s)
{
	struct syn_entry e = {.irs = s->seq - 1, .iss = s->ack - 1, .tries = 1};
	struct tcp_cookie ck;

	if (t->now_ns > t->cookies_until_ns)
		return false;
	if (!tcp_cookie_check(t->cfg.secret, k, e.irs, e.iss, t->now_ns, &ck)) {
		t->n.syn_cookies_bad++;
		return false;
	}
	t->n.syn_cookies_ok++;
	e.mss = ck.mss;
	if (s->opts.have_ts) {
		tcp_cookie_ts_read(s->opts.ts_ecr, &ck);
		e.ts_val = s->opts.ts_val;
		e.wscale = ck.wscale & 15;
		e.flags = SYN_F_TS;
		if (ck.sack)
			e.flags |= SYN_F_SACK;
		if (ck.wscale != TCP_COOKIE_NO_WSCALE)
			e.flags |= SYN_F_WSCALE;
	}
	complete(t, l, &e, NULL, p, s);
	return true;
}

/* ---- a segment for nobody -------------------------------------------------------------------- */

/* H17: what no connection can come from, or go to. */
static bool impossible(const struct pkt *p)
{
	return (p->flags & PKT_F_BCAST) || ip_addr_is_any(&p->src) ||
	       ip_addr_is_multicast(&p->src) || ip_addr_is_multicast(&p->dst) ||
	       (p->sport == p->dport && ip_addr_eq(&p->src, &p->dst));
}

/* The kernel may know it. True: it is the caller's again. */
static bool is_stranger(struct tcp *t, struct pkt *p)
{
	if (!(p->flags & PKT_F_SHARED) || t->n_strangers == PKT_BURST)
		return false;
	t->stranger[t->n_strangers++] = p;
	return true;
}

unsigned tcp_strangers(struct tcp *t, struct pkt **out)
{
	unsigned n = t->n_strangers;

	memcpy(out, t->stranger, n * sizeof(*out));
	t->n_strangers = 0;
	return n;
}

void tcp_no_conn_input(struct tcp *t, struct pkt *p, struct tcp_seg *s)
{
	struct tcp_key key = tcp_key_of(p);
	enum drop_reason why = DROP_TCP_NO_CONN;
	struct tcp_listener *l;
	struct syn_entry *e;

	if (impossible(p)) {
		pkt_drop(t->cfg.drops, p->m, why);
		return;
	}
	l = listener_find(t, &key, s->hash);
	if (l != NULL) {
		e = syncache_find(&t->syncache, &key.laddr, key.lport, &key.raddr, key.rport);
		if (e != NULL) {
			entry_input(t, l, e, p, s);
			return;
		}
		if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN) {
			why = syn_arrives(t, l, &key, s);
			goto drop;
		}
		if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK &&
		    cookie_input(t, l, &key, p, s))
			return;
	}
	if (is_stranger(t, p))
		return;
	tcp_reply_rst(t, p, s);
drop:
	pkt_drop(t->cfg.drops, p->m, why);
}

/* ---- time ------------------------------------------------------------------------------------ */

void tcp_syn_expire(struct tcp *t, unsigned *budget)
{
	struct syn_entry *e;

	while (*budget > 0 && (e = syncache_due(&t->syncache, t->now_ms)) != NULL) {
		struct tcp_key key = entry_key(e);
		struct tcp_listener *l = listener_find(t, &key, tcp_key_hash(t, &key));

		(*budget)--;
		if (l == NULL) {
			syncache_del(&t->syncache, e);
			continue;
		}
		if (e->tries > t->cfg.syn_retries) {
			t->n.attempt_fails++;
			syncache_del(&t->syncache, e);
		} else if (syncache_resent(&t->syncache, e, t->now_ms)) {
			send_syn_ack(t, l, e);
		} else {
			t->n.attempt_fails++;
		}
	}
}
