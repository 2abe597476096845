/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets over TCP: listen, accept, connect, send, and what the engine has to say. The connection
 * knows its socket by address (tcp_conn_user): a socket gives its connection up before it goes.
 *
 * Not done: a port of an accepted connection or of an active open does not keep others from binding
 * it (Linux: does, without SO_REUSEADDR).
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sock/sock_share.h"

#define PORT_TRIES 4096 /* ephemeral ports tried before giving up: bounded work */

_Static_assert((int)CHAN_SEND_MORE == (int)TCP_SEND_MORE &&
		       (int)CHAN_SEND_OOB == (int)TCP_SEND_OOB &&
		       (int)CHAN_SEND_COPIED == (int)TCP_SEND_COPIED,
	       "handed through");
#define SEND_FLAGS (CHAN_SEND_MORE | CHAN_SEND_OOB | CHAN_SEND_COPIED)

uint32_t tcp_sock_limit(const struct sock *k)
{
	uint64_t limit = tcp_send_limit(k->conn);

	return limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
}

static bool limit_changed(struct sock *k)
{
	uint32_t limit = tcp_sock_limit(k);

	if (limit == k->limit)
		return false;
	k->limit = limit;
	return true;
}

/* ---- listen and accept ---- */

static int begin_listen(struct sock *k)
{
	struct ip_addr any = k->domain == AF_INET ? ip_addr_v4(be32(0)) : (struct ip_addr){0};
	struct tcp_listen l = {.backlog = k->backlog, .opt = k->opt, .user = (uintptr_t)k};
	int err = k->flags & SOCKF_BOUND ? 0 : port_bind(k, &any, 0);

	if (err == 0)
		err = port_may_listen(k);
	if (err != 0)
		return err;
	l.laddr = k->laddr;
	l.lport = k->lport;
	l.zone = k->zone;
	l.records = k->records;
	l.v6only = !(k->fam & SOCK_FAM_4);
	err = tcp_listen(k->app->s->cfg.tcp, &l, &k->listener);
	if (err == 0)
		k->kind = SOCK_LISTEN;
	return err;
}

int cmd_listen(struct sock_cmd *c)
{
	struct sock *k = c->k;

	if (k->kind == SOCK_UDP)
		return -EOPNOTSUPP;
	if (k->kind != SOCK_NEW && k->kind != SOCK_LISTEN)
		return -EINVAL;
	k->backlog = chan_backlog(c->q->arg[0]);
	if (k->kind == SOCK_NEW)
		return begin_listen(k);
	tcp_listen_backlog(k->listener, k->backlog);
	tcp_sock_accept_news(k);
	return 0;
}

void tcp_sock_announce(struct sock *l, struct sock *k)
{
	const struct tcp_key *key = tcp_conn_key(k->conn);
	struct chan_cqe *e = app_event(l->app);

	e->ev = CHAN_EV_ACCEPT;
	e->flags = 0;
	e->sid = l->sid;
	e->aux = k->sid;
	e->res = (int32_t)(k->limit < INT32_MAX ? k->limit : INT32_MAX);
	memcpy(e->addr, &key->raddr, sizeof(key->raddr));
	memcpy(e->laddr, &key->laddr, sizeof(key->laddr));
	e->port = key->rport;
	e->lport = key->lport;
	l->announced++;
}

/* A connection out of the queue becomes a socket. What happened to it meanwhile the engine tells
 * after this. */
bool tcp_sock_accept(struct sock *l)
{
	struct sock_app *a = l->app;
	const struct tcp_key *key;
	struct tcp_conn *conn;
	struct tcp_link link;
	struct sock *k;

	if (unlikely(l->share != NULL) && park_accept(l))
		return true;
	conn = tcp_accept(a->s->cfg.tcp, l->listener);
	if (conn == NULL)
		return false;
	key = tcp_conn_key(conn);
	k = sock_alloc(a, SOCK_CONN, l->domain);
	k->conn = conn;
	k->flags = l->flags &
		   (SOCKF_REUSEADDR | SOCKF_REUSEPORT | SOCKF_BROADCAST | SOCKF_DONTROUTE |
		    SOCKF_OOBINLINE | SOCKF_V6ONLY | SOCKF_RCVBUF | SOCKF_SNDBUF | SOCKF_NO_LINK);
	k->zone = l->zone;
	k->records = l->records;
	k->recverr = l->recverr;
	tcp_conn_set_user(conn, (uintptr_t)k);
	if (a->s->cfg.link_of(a->s->cfg.stack, &key->laddr, &key->raddr, &link) == 0)
		tcp_conn_link(a->s->cfg.tcp, conn, &link);
	k->limit = tcp_sock_limit(k);
	tcp_sock_announce(l, k);
	sock_link_look(k);
	sock_news(k, 0);
	return true;
}

bool tcp_sock_tell_accept(struct sock *k)
{
	struct sock_app *a = k->app;

	/* At the limit the application's CHAN_OP_RCVBUF_MORE goes on with it. One that was shut
	 * down keeps its backlog. */
	while (k->kind == SOCK_LISTEN && k->announced < k->backlog) {
		if (!app_room(a, 1) || !sock_slot_free(a))
			return false;
		if (!tcp_sock_accept(k))
			break;
	}
	k->news &= (uint16_t)~NEWS_ACCEPT;
	return true;
}

void tcp_sock_accept_news(struct sock *k)
{
	if (sock_is_shared(k))
		share_readable(k);
	else
		sock_news(k, NEWS_ACCEPT);
}

uint32_t tcp_sock_waiting(const struct sock *l)
{
	uint32_t n = l->announced + tcp_listener_waiting(l->listener);

	return unlikely(l->share != NULL) ? n + parked_count(l) : n;
}

int cmd_accepted(struct sock_cmd *c)
{
	struct sock *k = c->k;
	uint32_t n = (uint32_t)c->q->arg[0];

	if (k->kind != SOCK_LISTEN)
		return SOCK_LATER;
	if (n > k->announced) {
		c->s->n.bad_commands++;
		n = k->announced;
	}
	k->announced -= n;
	sock_news(k, NEWS_ACCEPT);
	return SOCK_LATER;
}

/* ---- connect ---- */

/* Local address and link towards the destination. */
static int connect_path(struct sock *k, struct tcp_open *o, uint32_t scope)
{
	const struct socks_cfg *cfg = &k->app->s->cfg;
	int fam = sock_fam(k, &o->key.raddr), err;
	bool own;

	if (fam < 0)
		return fam;
	if (o->key.rport == 0)
		return -EADDRNOTAVAIL;
	if (ip_addr_is_any(&o->key.raddr) || ip_addr_is_multicast(&o->key.raddr))
		return -ENETUNREACH;
	own = sock_addr_is_own(k->app->s, &o->key.raddr);
	if (k->records)
		err = own ? port_takes_records(k, &o->key.raddr, o->key.rport) : -EHOSTUNREACH;
	else
		err = own ? 0 : sock_check_route(k, &o->key.raddr);
	if (err != 0)
		return err;
	if ((k->flags & SOCKF_BOUND) && !ip_addr_is_any(&k->laddr)) {
		o->key.laddr = k->laddr;
		if (ip_addr_is_v4(&k->laddr) != ip_addr_is_v4(&o->key.raddr))
			return -EAFNOSUPPORT;
		if (ip_addr_is_loopback(&k->laddr) && !own)
			return -EINVAL;
	} else if (own) {
		o->key.laddr = o->key.raddr;
	} else {
		err = sock_source(k, &o->key.raddr, scope, &o->key.laddr);
		if (err != 0)
			return err;
	}
	err = cfg->link_of(cfg->stack, &o->key.laddr, &o->key.raddr, &o->link);
	o->link.zone = k->zone;
	o->link.records = k->records;
	return err;
}

/* A connection whose two ends are one (H17: LAND). Linux opens it, by simultaneous open; no program
 * means it. */
static bool is_itself(const struct tcp_key *key)
{
	return key->lport == key->rport && ip_addr_eq(&key->laddr, &key->raddr);
}

/* RFC 6056 §3.3.3: the next port whose four-tuple is free. */
static int connect_from_any(struct sock *k, struct tcp_open *o)
{
	struct tcp *t = k->app->s->cfg.tcp;
	uint32_t n = 0;
	int err;

	for (unsigned i = 0; i < PORT_TRIES; i++) {
		o->key.lport = port_next(k, &o->key, &n);
		if (o->key.lport == 0)
			break;
		if (unlikely(is_itself(&o->key)))
			continue;
		err = tcp_connect(t, o, &k->conn);
		if (err != -EADDRINUSE)
			return err;
	}
	return -EADDRNOTAVAIL;
}

int tcp_sock_connect(struct sock_cmd *c)
{
	struct sock *k = c->k;
	struct tcp_open o = {.key.rport = c->q->port, .opt = k->opt, .user = (uintptr_t)k};
	int err;

	if (k->kind == SOCK_CONNECTING)
		return -EALREADY;
	if (k->kind == SOCK_DEAD)
		return -EINVAL;
	if (k->kind != SOCK_NEW)
		return -EISCONN;
	/* Which of the holders connects has the connection; the others keep what was shared. Not
	 * before it is clear that there is no connection that they share: it would lose it. */
	if (unlikely(k->share != NULL))
		(void)share_leave(k);
	memcpy(&o.key.raddr, c->q->addr, sizeof(o.key.raddr));
	err = connect_path(k, &o, c->q->scope);
	if (err != 0)
		return err;
	if (k->flags & SOCKF_BOUND) {
		o.key.lport = k->lport;
		err = is_itself(&o.key) ? -EADDRINUSE : tcp_connect(c->s->cfg.tcp, &o, &k->conn);
	} else {
		err = connect_from_any(k, &o);
	}
	if (err != 0)
		return err;
	k->kind = SOCK_CONNECTING;
	k->connect_token = c->q->token;
	if (limit_changed(k))
		sock_news(k, NEWS_LIMIT);
	return SOCK_LATER;
}

int cmd_connect(struct sock_cmd *c)
{
	return c->k->kind == SOCK_UDP ? udp_sock_connect(c) : tcp_sock_connect(c);
}

void tcp_sock_unconnect(struct sock *k)
{
	k->error = tcp_conn_error(k->conn);
	if (k->error == 0)
		k->error = -ECONNABORTED;
	tcp_abort(k->app->s->cfg.tcp, k->conn);
	k->conn = NULL;
	k->kind = SOCK_NEW;
	sock_news(k, NEWS_CONNECT);
}

static void connected(struct sock *k)
{
	uint16_t news = NEWS_CONNECT;

	k->kind = SOCK_CONN;
	/* From here on the connection keeps its options. */
	free(k->opt);
	k->opt = NULL;
	if (limit_changed(k))
		news |= NEWS_LIMIT;
	k->news |= news;
	sock_link_revived(k);
}

/* ---- data ---- */

int tcp_sock_send(struct sock_cmd *c)
{
	struct sock *k = c->k;
	int err;
	struct rte_mbuf *m;

	if (unlikely(k->records))
		return send_failed(c, -EOPNOTSUPP);
	m = send_payload(c, &err);
	if (unlikely(m == NULL))
		return send_failed(c, err);
	err = tcp_send(c->s->cfg.tcp, k->conn, m, c->q->flags & SEND_FLAGS);
	if (likely(err == 0))
		return SOCK_LATER;
	pkt_free(m); /* which sends the token home */
	if (!(k->flags & SOCKF_SEND_ERR) && tcp_conn_error(k->conn) == 0)
		sock_error(k, err);
	k->flags |= SOCKF_SEND_ERR;
	return SOCK_LATER;
}

/* ---- what the engine says ---- */

static void linger_event(struct sock *k, uint32_t events)
{
	if (k->conn == NULL || !(events & (TCP_EV_SENT_FIN | TCP_EV_ERROR | TCP_EV_CLOSED)))
		return;
	tcp_sock_close(k, false);
	sock_news(k, NEWS_CLOSED);
}

static slow_path void rare_event(struct sock *k, uint32_t events)
{
	uint16_t news = 0;

	if (k->kind == SOCK_LINGER) {
		linger_event(k, events);
		return;
	}
	if (k->kind == SOCK_CONNECTING) {
		if (events & TCP_EV_CONNECTED)
			connected(k);
		else if (events & TCP_EV_ERROR)
			tcp_sock_unconnect(k);
		if (k->kind != SOCK_CONN)
			return;
	}
	if (events & TCP_EV_URG)
		news |= NEWS_URG;
	if (events & TCP_EV_DATA)
		news |= NEWS_DATA;
	if (events & TCP_EV_FIN)
		news |= NEWS_DATA | NEWS_FIN;
	if (events & TCP_EV_ERROR) {
		k->error = tcp_conn_error(k->conn);
		news |= NEWS_DATA | NEWS_FATAL;
		k->news &= (uint16_t) ~(NEWS_ERROR | NEWS_LIMIT);
	}
	sock_news(k, news);
}

void tcp_sock_event(struct sock *k, uint32_t events)
{
	uint16_t news = 0;

	if (sock_is_shared(k)) {
		share_tcp_event(k, events);
		return;
	}

	if (unlikely(k->kind != SOCK_CONN || (events & ~(uint32_t)(TCP_EV_DATA | TCP_EV_SPACE)))) {
		rare_event(k, events);
		return;
	}
	if (events & TCP_EV_DATA)
		news = NEWS_DATA;
	/* The limit grows with the window; who is far below it need not know. */
	if (unlikely(k->unacked > k->limit / 2) && limit_changed(k))
		news |= NEWS_LIMIT;
	if (news != 0)
		sock_news(k, news);
}

void tcp_sock_close(struct sock *k, bool reset)
{
	struct tcp *t = k->app->s->cfg.tcp;

	if (k->kind == SOCK_LISTEN) {
		tcp_unlisten(t, k->listener);
	} else if (k->kind == SOCK_CONN || k->kind == SOCK_CONNECTING ||
		   (k->kind == SOCK_LINGER && k->conn != NULL)) {
		/* It may live on alone: the dump finds it by that. */
		tcp_conn_set_user(k->conn, 0);
		if (reset || k->kind == SOCK_CONNECTING)
			tcp_abort(t, k->conn);
		else
			tcp_close(t, k->conn);
	}
	k->conn = NULL;
}
