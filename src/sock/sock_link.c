/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node streams (docs/design/013): both ends of a connection that turns round in the stack
 * belong to programs between which there is a link. The service moves no byte of it; it says who is
 * at the other side, passes on what each end calls its stream, and puts marks into the stream where
 * it leaves TCP and comes back to it:
 *
 *	receiver                service                 sender
 *	       <- LINK_OFFER               LINK_OFFER ->
 *	LINK_TAKE ->                          LINK_TX ->
 *	                             <-       LINK_SWITCH
 *	       <- DATA, as far as was sent before
 *	       <- LINK_RX
 *
 * Each direction for itself. A mark stands at a position of the stream; what the connection has is
 * told up to there, then the mark, then the rest. Both ends belong to this core, as the hash of a
 * flow is the same from both.
 */
#include <stdlib.h>

#include "sock/sock_share.h"

/* In the list of an application: another that it was connected to. Each has one of the other. An
 * application that is connected to itself has one of itself. */
struct sock_peer {
	struct list node;
	struct sock_app *app;
	uint32_t link; /* as the owner of the list calls it; 0: there is none, or not yet */
	uint32_t far;  /* as app calls it */
	bool refused;  /* there will be none */
};

/* What a socket knows of links. Lives from the first offer to the end of the socket. */
struct sock_link {
	uint32_t offered, far;		      /* as it, and as the other end calls the link */
	uint32_t tx, tx_name, tx_gen, tx_cut; /* what the other end wants */
	bool taken;			      /* by us; the mark to the link is still to come */
	bool tell_offer, tell_tx;	      /* by NEWS_LINK */
	bool revived;			      /* to be offered one as soon as it is connected */
	uint32_t sends, receives;	      /* over which link, now; 0: none */
	/* Marks that are not yet told: to the link, and back, which stands behind it. */
	bool mark_to, mark_back;
	uint64_t to_at, back_at;
	uint32_t to_link;
	struct pkt_queue rest; /* of a buffer with a mark inside: what is behind the mark */
};

void sock_link_free(struct sock *k)
{
	if (likely(k->link == NULL))
		return;
	pkt_free(queue_all(&k->link->rest));
	free(k->link);
	k->link = NULL;
}

bool sock_link_offered(const struct sock *k)
{
	return k->link != NULL && k->link->offered != 0;
}

int sock_link_revive(struct sock *k)
{
	if (k->link == NULL)
		k->link = calloc(1, sizeof(*k->link));
	if (k->link == NULL)
		return -ENOMEM;
	k->link->revived = true;
	return 0;
}

void sock_link_revived(struct sock *k)
{
	if (likely(k->link == NULL) || !k->link->revived)
		return;
	k->link->revived = false;
	if (k->link->tell_offer || k->link->tell_tx)
		k->news |= NEWS_LINK;
	if (k->flags & SOCKF_MARKED)
		k->news |= NEWS_DATA;
	if (k->link->offered == 0)
		sock_link_look(k);
}

uint32_t sock_link_id(const struct sock *k)
{
	if (k->link == NULL)
		return 0;
	return k->link->sends != 0 ? k->link->sends : k->link->receives;
}

/* ---- applications ---- */

void app_link_init(struct sock_app *a)
{
	list_init(&a->peers);
}

static struct sock_peer *peer_find(struct sock_app *a, const struct sock_app *b)
{
	LIST_EACH (l, &a->peers) {
		struct sock_peer *p = container_of(l, struct sock_peer, node);

		if (p->app == b)
			return p;
	}
	return NULL;
}

static void peer_free(struct sock_app *a, const struct sock_app *b)
{
	struct sock_peer *p = peer_find(a, b);

	if (p == NULL)
		return;
	list_del(&p->node);
	free(p);
}

void app_link_fini(struct sock_app *a)
{
	while (!list_empty(&a->peers)) {
		struct sock_app *b = container_of(a->peers.next, struct sock_peer, node)->app;

		peer_free(b, a);
		peer_free(a, b);
	}
}

static struct sock_peer *peer_add(struct sock_app *a, struct sock_app *b)
{
	struct sock_peer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->app = b;
	list_init(&p->node);
	list_add_tail(&a->peers, &p->node);
	return p;
}

static bool peers_meet(struct sock_app *a, struct sock_app *b)
{
	if (peer_find(a, b) != NULL)
		return true;
	if (peer_add(a, b) != NULL && (a == b || peer_add(b, a) != NULL))
		return true;
	peer_free(a, b);
	return false;
}

/* For the first time. False: the next connection asks again. */
static bool want(struct sock_app *a, struct sock_app *b)
{
	struct socks *s = a->s;

	if (s->n_wanted == SOCK_WANTED_MAX || !peers_meet(a, b))
		return false;
	s->wanted[s->n_wanted++] = (struct sock_link_wanted){{a->id, b->id}};
	bell_wake(s->cfg.link_bell);
	return true;
}

bool socks_link_wanted(struct socks *s, struct sock_link_wanted *out)
{
	if (s->n_wanted == 0)
		return false;
	*out = s->wanted[--s->n_wanted];
	return true;
}

void socks_end(struct socks *s)
{
	s->ending = true;
}

bool sock_link_all(const struct sock *k)
{
	return k->link != NULL && k->link->sends != 0 && k->link->receives != 0 && !k->records;
}

/* ---- offers ---- */

/* The socket at the other end, the first of its holders; NULL: there is none here. */
static struct sock *far_sock(const struct sock *k)
{
	struct tcp_key back = tcp_key_turned(tcp_conn_key(k->conn));
	struct tcp_conn *conn = tcp_conn_by_key(k->app->s->cfg.tcp, &back);

	return likely(conn == NULL) ? NULL : (struct sock *)(uintptr_t)tcp_conn_user(conn);
}

/* NULL: there is none that could have a link. */
static struct sock *far_end(const struct sock *k)
{
	struct sock *f = far_sock(k);

	if (likely(f == NULL) || (f->kind != SOCK_CONN && f->kind != SOCK_CONNECTING) ||
	    f->share != NULL || (f->flags & SOCKF_PARKED) ||
	    f == k) /* a socket that connected to its own port */
		return NULL;
	return f;
}

/* Told at once, or behind the result of a connect. */
static void news(struct sock *k)
{
	if (k->kind == SOCK_CONN)
		sock_news(k, NEWS_LINK);
	else
		k->news |= NEWS_LINK;
}

/* False: no memory. */
static bool offer(struct sock *k, uint32_t link, uint32_t far)
{
	if (k->link == NULL)
		k->link = calloc(1, sizeof(*k->link));
	if (k->link == NULL)
		return false;
	k->link->offered = link;
	k->link->far = far;
	k->link->tell_offer = true;
	return true;
}

/* ---- datagrams ---- */

void app_link_ask(struct sock_app *a, struct sock_app *b)
{
	if (a != b && a->domain != 0 && a->domain == b->domain && peer_find(a, b) == NULL)
		(void)want(a, b);
}

const struct sock_app *app_link_neighbour(const struct sock_app *a, uintptr_t at, uint32_t len)
{
	LIST_EACH (l, &a->peers) {
		const struct sock_peer *p = container_of(l, struct sock_peer, node);

		if (p->link != 0 && p->app != a && app_arena_has(p->app, at, len))
			return p->app;
	}
	return NULL;
}

/* ---- records ---- */

static void no_way(struct sock *k)
{
	tcp_sock_close(k, true);
	k->kind = SOCK_DEAD;
	k->error = -ENOBUFS;
	k->news = k->news & NEWS_CONNECT ? NEWS_CONNECT : NEWS_FATAL;
	k->flags &= (uint16_t)~SOCKF_MARKED;
}

/* What has no other way than a link ends where there can be none. Both are told, k as by
 * sock_link_look(). */
static slow_path void records_end(struct sock *k, struct sock *f)
{
	if (f->kind == SOCK_CONNECTING) {
		tcp_sock_unconnect(f);
	} else {
		no_way(f);
		sock_news(f, 0);
	}
	no_way(k);
}

static bool is_offered(const struct sock *k, uint32_t link)
{
	return k->link != NULL && k->link->offered == link;
}

/* Of two ends in one program each has a side of its own, whichever is looked at first. */
static bool is_side_one(const struct sock *k)
{
	const struct tcp_key *key = tcp_conn_key(k->conn);
	int order = memcmp(&key->laddr, &key->raddr, sizeof(key->laddr));

	return order != 0 ? order > 0 : key->lport > key->rport;
}

void sock_link_look(struct sock *k)
{
	struct sock_app *a = k->app, *b;
	struct sock_peer *p;
	uint32_t mine, other;
	struct sock *f;

	if (likely(a->domain == 0) || a->unborn || k->kind != SOCK_CONN ||
	    (k->flags & SOCKF_PARKED))
		return;
	f = far_end(k);
	if (f == NULL || ((k->flags | f->flags) & SOCKF_NO_LINK))
		return;
	b = f->app;
	if (a->domain != b->domain || b->unborn)
		return;
	p = peer_find(a, b);
	if (p == NULL ? !want(a, b) : p->refused) {
		if (k->records)
			records_end(k, f);
		return;
	}
	if (p == NULL || p->link == 0)
		return;
	mine = a == b && is_side_one(k) ? p->far : p->link;
	other = mine == p->link ? p->far : p->link;
	if (is_offered(k, mine) && is_offered(f, other))
		return;
	if (offer(k, mine, other) && offer(f, other, mine)) {
		k->news |= NEWS_LINK;
		news(f);
	} else if (k->records) {
		records_end(k, f);
	}
}

/* What would have been offered. */
static void look_again(struct sock_app *a)
{
	for (uint32_t i = 0; i < a->socks.used; i++) {
		struct sock *k = slab_at(&a->socks, i);

		if (slab_is_live(&a->socks, i) && k->kind == SOCK_CONN && k->share == NULL) {
			sock_link_look(k);
			sock_news(k, 0);
		}
	}
}

void socks_born(struct sock_app *a)
{
	a->unborn = false;
	look_again(a);
}

static void peer_link(struct sock_app *a, const struct sock_app *b, uint32_t link, uint32_t far)
{
	struct sock_peer *p = peer_find(a, b);

	p->link = link;
	p->far = far;
	p->refused = link == 0;
}

void socks_link_up(struct sock_app *a, struct sock_app *b, const uint32_t id[2])
{
	static const uint32_t none[2];

	if (!peers_meet(a, b))
		return;
	if (id[0] != 0 && !app_views_meet(a, b))
		id = none;
	peer_link(b, a, id[1], id[0]);
	peer_link(a, b, id[0], id[1]);
	/* Connections between the two find how it is now. */
	look_again(a->socks.live < b->socks.live ? a : b);
}

void socks_link_down(struct sock_app *a, struct sock_app *b)
{
	socks_link_up(a, b, (const uint32_t[2]){0, 0});
}

/* ---- what the ends say ---- */

/* A connection that may change its way; *f: the other end. */
static int command_check(struct sock_cmd *c, struct sock **f)
{
	struct sock *k = c->k;

	if (k->kind != SOCK_CONN || k->share != NULL || k->link == NULL ||
	    (c->q->arg[0] != 0 && (uint32_t)c->q->arg[0] != k->link->offered))
		return -EINVAL;
	*f = far_end(k);
	if (*f == NULL || (*f)->link == NULL || (*f)->link->offered != k->link->far)
		return -ENOTCONN;
	/* What was revived is over there an instant later. */
	if ((*f)->kind != SOCK_CONN && (c->q->arg[0] != 0 || !(*f)->link->revived))
		return -ENOTCONN;
	return 0;
}

int cmd_link_take(struct sock_cmd *c)
{
	struct sock *f;
	int err = c->q->arg[0] != 0 ? command_check(c, &f) : -EINVAL;

	if (err != 0)
		return err;
	/* The marks of the last time are to be told first, where they matter. */
	if ((c->k->flags & SOCKF_MARKED) && !c->k->records)
		return -EBUSY;
	f->link->tx = c->k->link->far;
	f->link->tx_name = (uint32_t)c->q->arg[1];
	f->link->tx_gen = (uint32_t)c->q->arg[2];
	f->link->tx_cut = (uint32_t)c->q->off;
	f->link->tell_tx = true;
	c->k->link->taken = true;
	news(f);
	return 0;
}

static int mark(struct sock *k, uint64_t at, uint32_t link)
{
	struct sock_link *l = k->link;

	if (l->mark_back || (link != 0 && l->mark_to))
		return -EPROTO;
	if (link != 0) {
		l->mark_to = true;
		l->to_at = at;
		l->to_link = link;
	} else {
		l->mark_back = true;
		l->back_at = at;
	}
	k->flags |= SOCKF_MARKED;
	return 0;
}

/* The other end took it, and was shared before it was told where. */
static int switch_shared(struct sock_cmd *c)
{
	struct sock *k = c->k, *f = far_sock(k);

	if (f == NULL || f->share == NULL)
		return -ENOTCONN;
	tcp_send_push(c->s->cfg.tcp, k->conn);
	pending_gap(f, tcp_conn_sent_at(k->conn));
	return 0;
}

int cmd_link_switch(struct sock_cmd *c)
{
	uint32_t link = (uint32_t)c->q->arg[0];
	struct sock *k = c->k, *f;
	int err = command_check(c, &f);

	if (err == -ENOTCONN && link != 0)
		return switch_shared(c);
	if (err == 0)
		err = mark(f, tcp_conn_sent_at(k->conn), link != 0 ? k->link->far : 0);
	if (err != 0)
		return err;
	k->link->sends = link;
	/* What is held back for more would wait for ever. */
	tcp_send_push(c->s->cfg.tcp, k->conn);
	sock_news(f, NEWS_DATA);
	return 0;
}

void sock_link_shared(struct sock *k)
{
	struct sock_link *l = k->link;
	struct sock_desc *sh = k->share;

	if (likely(l == NULL))
		return;
	sh->gap = l->mark_to ? GAP_AT : l->taken ? GAP_TO_COME : GAP_NONE;
	sh->gap_at = l->to_at;
	sh->rest = l->rest;
	*l = (struct sock_link){.offered = 0};
	k->flags &= (uint16_t)~SOCKF_MARKED;
}

/* ---- telling ---- */

static struct chan_cqe *event(struct sock *k, enum chan_ev ev)
{
	struct chan_cqe *e = app_event(k->app);

	*e = (struct chan_cqe){.ev = (uint8_t)ev, .sid = k->sid};
	return e;
}

bool sock_link_tell(struct sock *k)
{
	struct sock_link *l = k->link;

	if (!app_room(k->app, 2))
		return false;
	k->news &= (uint16_t)~NEWS_LINK;
	if (k->kind == SOCK_CONNECTING)
		return true; /* sock_link_revived() says so again */
	if (l->tell_offer && k->kind == SOCK_CONN && k->share == NULL)
		event(k, CHAN_EV_LINK_OFFER)->aux = l->offered;
	if (l->tell_tx && k->kind == SOCK_CONN) {
		struct chan_cqe *e = event(k, CHAN_EV_LINK_TX);

		e->aux = l->tx;
		e->off = (uint64_t)l->tx_gen << 32 | l->tx_name;
		e->res = (int32_t)l->tx_cut;
	}
	l->tell_offer = l->tell_tx = false;
	return true;
}

/* Marks that stand where the stream is told to. False: no room. */
static bool tell_marks(struct sock *k, uint64_t told, struct chan_cqe **last)
{
	struct sock_link *l = k->link;

	if (!app_room(k->app, 2))
		return false;
	if (l->mark_to && l->to_at <= told) {
		event(k, CHAN_EV_LINK_RX)->aux = l->to_link;
		l->receives = l->to_link;
		l->mark_to = l->taken = false;
		*last = NULL; /* no flag of its data means what is behind it */
	}
	if (l->mark_back && !l->mark_to && l->back_at <= told) {
		event(k, CHAN_EV_LINK_RX);
		l->receives = 0;
		l->mark_back = l->taken = false;
		*last = NULL;
	}
	if (!l->mark_to && !l->mark_back && l->rest.first == NULL)
		k->flags &= (uint16_t)~SOCKF_MARKED;
	return true;
}

/* Without a buffer for the rest the connection can't go on: it would lose its order. */
static bool out_of_order(struct sock *k, struct rte_mbuf *m)
{
	pkt_free(m);
	tcp_sock_close(k, true);
	k->kind = SOCK_DEAD;
	k->error = -ENOBUFS;
	k->news = NEWS_FATAL;
	return true;
}

/* One buffer, as far as the next mark, which stands at `to`. False: no room. */
static bool tell_one(struct sock *k, uint64_t to, struct chan_cqe **last, bool *more)
{
	struct tcp *t = k->app->s->cfg.tcp;
	uint64_t at = tcp_conn_recv_at(k->conn);
	struct rte_mbuf *m, *rest;

	if (!app_room(k->app, 1) || app_lend_room(k->app, 1) == 0)
		return false;
	m = tcp_recv(t, k->conn, 1);
	*more = m != NULL;
	if (m == NULL)
		return true;
	if (m->data_len > to - at) {
		rest = stream_cut(k, m, (uint32_t)(to - at));
		if (rest == NULL)
			return out_of_order(k, m);
		queue_add(&k->link->rest, rest);
	}
	*last = sock_announce(k, m);
	return true;
}

/* What was cut off, when the mark before it is told. */
static bool tell_rest(struct sock *k, struct chan_cqe **last)
{
	if (!queue_tell(k, &k->link->rest, last))
		return false;
	k->flags &= (uint16_t)~SOCKF_MARKED;
	return true;
}

bool sock_link_tell_stream(struct sock *k, struct chan_cqe **last)
{
	struct sock_link *l = k->link;
	bool more = true;

	while (more && k->kind == SOCK_CONN) {
		uint64_t told = tcp_conn_recv_at(k->conn) - l->rest.bytes;

		if (!tell_marks(k, told, last))
			return false;
		if (!l->mark_to && !l->mark_back)
			return tell_rest(k, last) && sock_tell_data(k, last);
		if (!tell_one(k, l->mark_to ? l->to_at : l->back_at, last, &more))
			return false;
	}
	k->news &= (uint16_t)~NEWS_DATA;
	return true;
}
