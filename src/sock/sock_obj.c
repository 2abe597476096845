/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The socket as an object: made, found, bound, named, shut down, closed. What differs by protocol
 * is in sock_tcp.c and sock_udp.c.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sock/sock_share.h"

#define GEN_MAX	  ((1u << (32 - SID_INDEX_BITS)) - 1)
#define STALL_NS  1000000
#define TCP_LIMIT (64u << 10) /* told before there is a connection that knows better */

struct sock *sock_alloc(struct sock_app *a, enum sock_kind kind, uint8_t domain)
{
	uint32_t i = sock_slot_free(a) ? slab_alloc(&a->socks) : SLAB_NONE;
	struct sock *k;
	uint16_t gen;

	if (i == SLAB_NONE)
		return NULL;
	k = slab_at(&a->socks, i);
	gen = k->gen == GEN_MAX ? 1 : (uint16_t)(k->gen + 1);
	*k = (struct sock){
		.app = a,
		.sid = (uint32_t)gen << SID_INDEX_BITS | i,
		.gen = gen,
		.kind = (uint8_t)kind,
		.domain = domain,
		.owner = a->owner,
		.zone = a->zone,
		.limit = kind == SOCK_UDP ? SOCK_UDP_BUF : TCP_LIMIT,
	};
	list_init(&k->wait);
	list_init(&k->lingering);
	a->s->n_socks++;
	return k;
}

void sock_free(struct sock *k)
{
	struct sock_app *a = k->app;
	uint32_t sid = k->sid;

	port_release(k);
	list_del(&k->wait);
	list_del(&k->lingering);
	free(k->opt);
	k->opt = NULL;
	sock_link_free(k);
	revive_free(k);
	k->sid = 0;
	k->kind = SOCK_FREE;
	a->s->n_socks--;
	slab_free(&a->socks, (uint32_t)sid_index(sid));
	if (unlikely(a->n_held != 0))
		cmd_drop_held(a, sid);
}

/* Of records none has a number. */
static int protocol_of(int type)
{
	return type == SOCK_DGRAM ? IPPROTO_UDP : type == SOCK_STREAM ? IPPROTO_TCP : 0;
}

int cmd_socket(struct sock_cmd *c)
{
	int32_t domain = c->q->arg[0], type = c->q->arg[1], proto = c->q->arg[2];
	bool udp = type == SOCK_DGRAM;
	struct sock *k;
	int err = 0;

	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -ESOCKTNOSUPPORT;
	if (proto != 0 && proto != protocol_of(type))
		return -EPROTONOSUPPORT;
	if (type == SOCK_SEQPACKET && c->app->domain == 0)
		return -ESOCKTNOSUPPORT;
	k = sock_alloc(c->app, udp ? SOCK_UDP : SOCK_NEW, (uint8_t)domain);
	if (k == NULL)
		return -ENFILE;
	k->records = type == SOCK_SEQPACKET;
	if (udp) {
		err = udp_sock_init(k);
	} else {
		k->opt = malloc(sizeof(*k->opt));
		if (k->opt != NULL)
			tcp_opt_defaults(c->s->cfg.tcp, k->opt);
		else
			err = -ENOMEM;
	}
	if (err != 0) {
		sock_free(k);
		return err;
	}
	c->out.sid = k->sid;
	c->out.aux = k->limit;
	return 0;
}

int sock_fam(const struct sock *k, const struct ip_addr *a)
{
	if (k->domain == AF_INET)
		return ip_addr_is_v4(a) || ip_addr_is_any(a) ? SOCK_FAM_4 : -EAFNOSUPPORT;
	if (ip_addr_is_v4(a))
		return k->flags & SOCKF_V6ONLY ? -EINVAL : SOCK_FAM_4;
	if (ip_addr_is_any(a) && !(k->flags & SOCKF_V6ONLY))
		return SOCK_FAM_4 | SOCK_FAM_6;
	return SOCK_FAM_6;
}

int sock_check_local(const struct sock *k, const struct ip_addr *a)
{
	int fam = sock_fam(k, a);
	const struct ip_ifaddr *own;

	if (fam < 0)
		return fam;
	if (ip_addr_is_any(a) || (k->flags & SOCKF_FREEBIND))
		return 0;
	if (k->kind == SOCK_UDP &&
	    (ip_addr_is_multicast(a) || ip_addr_is_broadcast(k->app->s->cfg.ip, a)))
		return 0;
	if (k->kind != SOCK_UDP && ip_addr_is_loopback(a))
		return 0;
	own = ip_addr_find(k->app->s->cfg.ip, a);
	return own != NULL && !own->tentative ? 0 : -EADDRNOTAVAIL;
}

bool sock_has_scope(const struct ip_addr *a)
{
	return ip_addr_is_link_local6(a) || (a->b[0] == 0xff && (a->b[1] & 15) <= 2);
}

int sock_interface(const struct sock *k, uint32_t named)
{
	const uint32_t *kernel_if = k->app->end.hdr.kernel_if;

	for (unsigned i = 0; named != 0 && i < CHAN_IFS_MAX; i++)
		if (kernel_if[i] == named)
			return (int)i;
	/* A program in another network namespace has no other name for it. */
	if (chan_if_is_own(named))
		return (int)(named - CHAN_IF_OWN);
	return named <= UINT16_MAX ? (int)named - 1 : UINT16_MAX;
}

int sock_interface_name(const struct sock *k, int ifindex)
{
	const uint32_t *kernel_if = k->app->end.hdr.kernel_if;

	if (ifindex >= 0 && ifindex < CHAN_IFS_MAX && kernel_if[ifindex] != 0)
		return (int)kernel_if[ifindex];
	return ifindex + 1;
}

int sock_source(const struct sock *k, const struct ip_addr *dst, uint32_t scope,
		struct ip_addr *src)
{
	int ifindex = sock_interface(k, scope);
	const struct socks *s = k->app->s;
	const struct ip_ifaddr *own;

	if (ifindex < 0 || !sock_has_scope(dst)) {
		own = ip_source_for(s->cfg.ip, dst);
		if (own != NULL)
			*src = own->addr;
		return own != NULL ? 0 : -ENETUNREACH;
	}
	for (unsigned i = 0; (own = ip_addr_at(s->cfg.ip, i)) != NULL; i++) {
		if (own->ifindex != ifindex || own->tentative ||
		    !ip_addr_is_link_local6(&own->addr))
			continue;
		*src = own->addr;
		return 0;
	}
	return -ENODEV;
}

int sock_check_route(const struct sock *k, const struct ip_addr *dst)
{
	const struct ip_route *r;

	if (likely(!(k->flags & SOCKF_DONTROUTE)))
		return 0;
	r = ip_route_find(k->app->s->cfg.ip, dst);
	return r != NULL && ip_addr_is_any(&r->gateway) ? 0 : -ENETUNREACH;
}

static struct ip_addr sqe_addr(const struct chan_sqe *q)
{
	struct ip_addr a;

	memcpy(&a, q->addr, sizeof(a));
	return a;
}

int cmd_bind(struct sock_cmd *c)
{
	struct ip_addr a = sqe_addr(c->q);
	struct sock *k = c->k;
	bool udp = k->kind == SOCK_UDP;
	int err;

	if (k->kind != SOCK_NEW && !udp)
		return -EINVAL;
	if (k->flags & SOCKF_BOUND)
		return -EINVAL;
	if (unlikely(!app_may_bind(c->app, &a, c->q->port, udp)))
		return -EACCES;
	err = sock_check_local(k, &a);
	if (err == 0)
		err = join_offer(k, c->q->port, c->q->off);
	if (err == 0)
		err = udp ? udp_sock_bind(k, &a, c->q->port) : port_bind(k, &a, c->q->port);
	if (err != 0)
		grant_port_free(c->s, udp, c->q->port);
	c->out.aux = k->lport;
	return err;
}

/* The wildcard as an application of that family knows it. */
static struct ip_addr any_of(const struct sock *k)
{
	return k->domain == AF_INET ? ip_addr_v4(be32(0)) : (struct ip_addr){0};
}

static void put_name(struct chan_cqe *e, const struct ip_addr *a, uint16_t port)
{
	memcpy(e->addr, a, sizeof(*a));
	e->port = port;
}

int cmd_name(struct sock_cmd *c)
{
	struct sock *k = c->k;
	struct ip_addr a = k->lport != 0 ? k->laddr : any_of(k);
	bool peer = c->q->arg[0] != 0;
	const struct tcp_key *key;
	const struct udp_bind *b;

	switch (k->kind) {
	case SOCK_CONN:
	case SOCK_CONNECTING:
		if (peer && (k->kind == SOCK_CONNECTING || tcp_conn_error(k->conn) != 0))
			return -ENOTCONN;
		key = tcp_conn_key(k->conn);
		put_name(&c->out, peer ? &key->raddr : &key->laddr, peer ? key->rport : key->lport);
		return 0;
	case SOCK_UDP:
		b = k->pcb != NULL ? udp_binding(k->pcb) : NULL;
		if (peer && (b == NULL || b->rport == 0))
			return -ENOTCONN;
		if (b != NULL) {
			a = ip_addr_is_any(&b->laddr) ? any_of(k) : b->laddr;
			put_name(&c->out, peer ? &b->raddr : &a, peer ? b->rport : b->lport);
			return 0;
		}
		break;
	default:
		if (peer)
			return -ENOTCONN;
	}
	put_name(&c->out, &a, k->lport);
	return 0;
}

static int shutdown_tcp(struct sock *k, int how)
{
	struct tcp *t = k->app->s->cfg.tcp;
	int err = 0;

	if (k->kind == SOCK_LISTEN && how != SHUT_WR) {
		/* As Linux does: it listens no more, and keeps its port. */
		tcp_unlisten(t, k->listener);
		k->listener = NULL;
		k->news = 0;
		k->announced = 0;
		k->kind = SOCK_NEW;
		return 0;
	}
	if (k->kind != SOCK_CONN)
		return -ENOTCONN;
	if (how != SHUT_RD)
		err = tcp_shutdown_send(t, k->conn);
	if (how != SHUT_WR)
		tcp_shutdown_recv(t, k->conn);
	return err;
}

int cmd_shutdown(struct sock_cmd *c)
{
	int how = c->q->arg[0];

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	return c->k->kind == SOCK_UDP ? udp_sock_shutdown(c->k, how) : shutdown_tcp(c->k, how);
}

/* The result of a CONNECT that its own socket does not wait for any more. */
static void answer_connect(struct sock *k)
{
	struct chan_cqe *e;

	if (k->kind != SOCK_CONNECTING && !(k->news & NEWS_CONNECT))
		return;
	e = app_event(k->app);
	*e = (struct chan_cqe){.ev = CHAN_EV_RESULT,
			       .sid = k->sid,
			       .res = -ECONNABORTED,
			       .loan = k->connect_token};
}

/* Gives the protocol's object up. */
static void let_go(struct sock *k, bool reset)
{
	/* Unread data that nobody is left for: RFC 2525 §2.17. */
	if (unlikely(k->share != NULL)) {
		reset |= k->share->n == 1 && (pending_any(k->share) || lease_unread(k->share) > 0);
		if (share_leave(k))
			return;
	}
	if (k->kind == SOCK_UDP)
		udp_sock_fini(k);
	else
		tcp_sock_close(k, reset);
}

/* After a close: are data or FIN still to be acknowledged? */
static bool unacknowledged(const struct tcp_conn *c)
{
	switch (tcp_conn_state(c)) {
	case TCP_SYN_RCVD:
	case TCP_FIN_WAIT_1:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		return true;
	default:
		return false;
	}
}

/* Waits for the last acknowledgement, when there is anything to wait for. */
static bool begin_linger(struct sock *k, int32_t seconds)
{
	struct socks *s = k->app->s;

	if (k->kind != SOCK_CONN || tcp_conn_error(k->conn) != 0)
		return false;
	(void)tcp_shutdown_send(s->cfg.tcp, k->conn);
	if (!unacknowledged(k->conn))
		return false;
	k->kind = SOCK_LINGER;
	k->news = 0;
	list_del(&k->wait);
	k->linger_ns = s->now_ns + (uint64_t)seconds * 1000000000;
	list_add_tail(&s->lingering, &k->lingering);
	return true;
}

int cmd_close(struct sock_cmd *c)
{
	struct sock *k = c->k;
	int32_t linger = c->q->arg[0];
	bool reset = linger == 0 || c->q->arg[1] != 0;

	if (unlikely(k->flags & SOCKF_PARKED) && park_return(k))
		return 0;
	answer_connect(k);
	if (linger > 0 && !reset && k->share == NULL && begin_linger(k, linger)) {
		k->close_token = c->q->token;
		return SOCK_LATER;
	}
	let_go(k, reset);
	sock_free(k);
	return 0;
}

void sock_reap(struct sock *k, bool orderly)
{
	let_go(k, !orderly);
	sock_free(k);
}

void sock_linger_expire(struct socks *s)
{
	LIST_EACH_SAFE (l, &s->lingering) {
		struct sock *k = container_of(l, struct sock, lingering);

		if (k->conn == NULL || k->linger_ns > s->now_ns)
			continue;
		/* Time is up: the connection goes on in the background. */
		tcp_sock_close(k, false);
		sock_news(k, NEWS_CLOSED);
	}
}

uint64_t socks_deadline(const struct socks *s)
{
	uint64_t first = SOCK_NEVER;

	LIST_EACH (l, &s->apps) {
		/* Nobody says when another's buffers come back to a pool. */
		if (container_of(l, struct sock_app, link)->stalled)
			first = s->now_ns + STALL_NS;
	}
	LIST_EACH (l, &s->lingering) {
		struct sock *k = container_of(l, struct sock, lingering);

		if (k->conn != NULL && k->linger_ns < first)
			first = k->linger_ns;
	}
	return first;
}
