/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node streams that went on without a service become connections of this one
 * (docs/design/013). Each of the two programs comes by itself, in its own time, with an unbound or
 * bound socket, the addresses and ports that the stream has, and a secret that lies in the memory
 * which only the two share, and which a service had made. Who comes first waits; when the other
 * one is there, with the same secret and the same four-tuple seen from the other end, both connect
 * to one another, as in a simultaneous open (RFC 9293 §3.5, figure 7): from there on they are a
 * connection as any other, of which nothing was sent.
 *
 * What a program could claim that holds no such stream: a connection between two sockets of those
 * who know the secret, from a port that it may have anyway. It may have a port that it was granted,
 * or that everybody may bind, or from which connections are opened, or at which a program listens
 * from which it could have accepted.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "sock/sock_priv.h"

#define HEADS 256u

/* A socket, of kind NEW, that waits for its other end. In socks.revives. */
struct sock_revive {
	struct list node;
	struct sock *k;
	struct tcp_key key;
	uint64_t secret;
	uint32_t secret2;
	uint32_t token;
};

int revives_init(struct socks *s)
{
	s->revives = malloc(HEADS * sizeof(*s->revives));
	if (s->revives == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < HEADS; i++)
		list_init(&s->revives[i]);
	return 0;
}

void revives_fini(struct socks *s)
{
	free(s->revives);
}

/* The same from both ends. */
static struct list *head_of(const struct socks *s, const struct tcp_key *key)
{
	return &s->revives[(key->lport + key->rport) % HEADS];
}

void revive_free(struct sock *k)
{
	if (k->kind == SOCK_UDP || likely(k->revive == NULL))
		return;
	list_del(&k->revive->node);
	free(k->revive);
	k->revive = NULL;
}

/* ---- may it? ---- */

static bool may_have_port(const struct sock *k, const struct tcp_key *key)
{
	const struct socks_cfg *cfg = &k->app->s->cfg;

	return (k->flags & SOCKF_BOUND) ||
	       (key->lport >= cfg->port_min && key->lport <= cfg->port_max) ||
	       port_listens(k->app, &key->laddr, key->lport) ||
	       app_may_bind(k->app, &key->laddr, key->lport, false);
}

static int check(const struct sock *k, const struct tcp_key *key)
{
	const struct socks *s = k->app->s;
	int fam = sock_fam(k, &key->laddr);

	if (k->kind != SOCK_NEW || k->share != NULL || k->revive != NULL || key->lport == 0 ||
	    key->rport == 0 || ip_addr_is_v4(&key->laddr) != ip_addr_is_v4(&key->raddr))
		return -EINVAL;
	if (fam < 0)
		return fam;
	if (key->lport == key->rport && ip_addr_eq(&key->laddr, &key->raddr))
		return -EINVAL;
	if ((k->flags & SOCKF_BOUND) &&
	    (k->lport != key->lport ||
	     (!ip_addr_is_any(&k->laddr) && !ip_addr_eq(&k->laddr, &key->laddr))))
		return -EINVAL;
	if (!sock_addr_is_own(s, &key->laddr) || !sock_addr_is_own(s, &key->raddr) ||
	    (s->cfg.owns != NULL && !s->cfg.owns(s->cfg.stack, key)))
		return -EADDRNOTAVAIL;
	return may_have_port(k, key) ? 0 : -EACCES;
}

/* ---- the other end ---- */

static bool key_is(const struct tcp_key *a, const struct tcp_key *b)
{
	return a->lport == b->lport && a->rport == b->rport && ip_addr_eq(&a->laddr, &b->laddr) &&
	       ip_addr_eq(&a->raddr, &b->raddr);
}

static bool key_is_turned(const struct tcp_key *a, const struct tcp_key *b)
{
	struct tcp_key turned = tcp_key_turned(b);

	return key_is(a, &turned);
}

static bool is_other_end(const struct sock_revive *a, const struct sock_revive *b)
{
	return a->secret == b->secret && a->secret2 == b->secret2 &&
	       key_is_turned(&a->key, &b->key) &&
	       (!ip_addr_is_loopback(&a->key.laddr) || a->k->zone == b->k->zone) &&
	       b->k->kind == SOCK_NEW && b->k->share == NULL;
}

static struct sock_revive *find(const struct socks *s, const struct sock_revive *a)
{
	LIST_EACH (l, head_of(s, &a->key)) {
		struct sock_revive *b = container_of(l, struct sock_revive, node);

		if (is_other_end(a, b))
			return b;
	}
	return NULL;
}

static int open_one(const struct sock_revive *r)
{
	const struct socks_cfg *cfg = &r->k->app->s->cfg;
	struct tcp_open o = {.key = r->key, .opt = r->k->opt, .user = (uintptr_t)r->k};
	int err = cfg->link_of(cfg->stack, &r->key.laddr, &r->key.raddr, &o.link);

	o.link.zone = r->k->zone;
	if (err == 0)
		err = sock_link_revive(r->k);
	if (err == 0)
		err = tcp_connect(cfg->tcp, &o, &r->k->conn);
	if (err != 0)
		return err;
	r->k->kind = SOCK_CONNECTING;
	r->k->connect_token = r->token;
	return 0;
}

/* Both wait for the result now, or have it: 0 or the error. */
static int join(const struct sock_revive *a, const struct sock_revive *b)
{
	struct tcp *t = a->k->app->s->cfg.tcp;
	int err = open_one(a);

	if (err != 0)
		return err;
	err = open_one(b);
	if (err == 0)
		return 0;
	tcp_conn_set_user(a->k->conn, 0);
	tcp_abort(t, a->k->conn);
	a->k->conn = NULL;
	a->k->kind = SOCK_NEW;
	return err;
}

static int revive(struct sock_revive *r)
{
	struct sock_revive *other = find(r->k->app->s, r);
	struct sock *f;
	int err;

	if (other == NULL) {
		list_add_tail(head_of(r->k->app->s, &r->key), &r->node);
		r->k->revive = r;
		return SOCK_LATER;
	}
	f = other->k;
	err = join(r, other);
	if (err != 0) {
		f->error = err;
		f->connect_token = other->token;
	}
	revive_free(f);
	free(r);
	if (err != 0)
		sock_news(f, NEWS_CONNECT);
	return err != 0 ? err : SOCK_LATER;
}

int cmd_revive(struct sock_cmd *c)
{
	struct sock_revive *r;
	struct tcp_key key = {.lport = c->q->port, .rport = (uint16_t)c->q->len};
	int err;

	memcpy(&key.laddr, c->q->data, sizeof(key.laddr));
	memcpy(&key.raddr, c->q->data + sizeof(key.laddr), sizeof(key.raddr));
	err = c->q->len <= UINT16_MAX ? check(c->k, &key) : -EINVAL;
	if (err != 0)
		return err;
	r = malloc(sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	*r = (struct sock_revive){.k = c->k,
				  .key = key,
				  .secret = c->q->off,
				  .secret2 = c->q->loan,
				  .token = c->q->token};
	list_init(&r->node);
	return revive(r);
}

bool revive_waits(const struct socks *s, const struct tcp_key *key)
{
	LIST_EACH (l, head_of(s, key)) {
		const struct tcp_key *o = &container_of(l, struct sock_revive, node)->key;

		if (key_is(o, key) || key_is_turned(o, key))
			return true;
	}
	return false;
}
