/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who has which local port: one table for each protocol, of the sockets bound to a port. Conflicts
 * are Linux's: equal ports, meeting families, equal addresses or a wildcard, unless
 *
 *	both asked for SO_REUSEPORT, or
 *	both asked for SO_REUSEADDR, and (TCP) neither listens
 *
 * Ports of active opens are chosen for each destination by RFC 6056 algorithm 3 (§3.3.3), and don't
 * enter the table: the four-tuple is what must be free, and the engine knows that.
 *
 * SO_REUSEPORT shares within one user: who made the socket, whoever holds it now, else a port could
 * be prepared for another user to share by passing a socket on. Ports below 1024 are not special.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "sock/sock_priv.h"

#define PORTS 65536u

int ports_init(struct socks *s)
{
	for (int i = 0; i < 2; i++) {
		s->port[i] = calloc(PORTS, sizeof(*s->port[i]));
		if (s->port[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

void ports_fini(struct socks *s)
{
	free(s->port[0]);
	free(s->port[1]);
}

static struct sock **head_of(const struct sock *k, uint16_t port)
{
	return &k->app->s->port[k->kind == SOCK_UDP][port];
}

/* May both have the port? flags: k's, or fewer. */
static bool shares(const struct sock *k, const struct sock *o, uint16_t flags)
{
	uint16_t both = flags & o->flags;

	if ((both & SOCKF_REUSEPORT) && k->owner == o->owner)
		return true;
	return (both & SOCKF_REUSEADDR) && o->kind != SOCK_LISTEN && k->kind != SOCK_LISTEN;
}

/* At the loopback of two network namespaces. */
static bool apart(const struct sock *k, const struct ip_addr *a, const struct sock *o)
{
	return k->zone != o->zone && (ip_addr_is_loopback(a) || ip_addr_is_loopback(&o->laddr));
}

static bool conflicts(const struct sock *k, const struct ip_addr *a, uint8_t fam, uint16_t port,
		      uint16_t flags)
{
	bool any = ip_addr_is_any(a);

	for (const struct sock *o = *head_of(k, port); o != NULL; o = o->next_on_port) {
		if (o == k || !(o->fam & fam) || shares(k, o, flags) || apart(k, a, o))
			continue;
		if (any || ip_addr_is_any(&o->laddr) || ip_addr_eq(&o->laddr, a))
			return true;
	}
	return false;
}

/* A port that nobody has, not even one who would share it; at random (RFC 6056 §3.3.1). 0: none. */
static uint16_t choose(struct sock *k, const struct ip_addr *a, uint8_t fam)
{
	struct socks *s = k->app->s;
	uint32_t n = (uint32_t)(s->cfg.port_max - s->cfg.port_min) + 1;
	uint32_t start = (uint32_t)rand_below(&s->rand, n);

	if (s->cfg.reserve)
		return 0; /* whoever reserves them chooses */
	for (uint32_t i = 0; i < n; i++) {
		uint16_t port = (uint16_t)(s->cfg.port_min + (start + i) % n);

		if (!conflicts(k, a, fam, port, 0))
			return port;
	}
	return 0;
}

int port_bind(struct sock *k, const struct ip_addr *laddr, uint16_t port)
{
	int fam = sock_fam(k, laddr);
	struct sock **head;

	if (fam < 0)
		return fam;
	if (port == 0)
		port = choose(k, laddr, (uint8_t)fam);
	else if (conflicts(k, laddr, (uint8_t)fam, port, k->flags))
		return -EADDRINUSE;
	if (port == 0)
		return -EADDRINUSE;
	k->laddr = *laddr;
	k->lport = port;
	k->fam = (uint8_t)fam;
	k->flags |= SOCKF_BOUND;
	head = head_of(k, port);
	k->next_on_port = *head;
	k->link_on_port = head;
	if (*head != NULL)
		(*head)->link_on_port = &k->next_on_port;
	*head = k;
	return 0;
}

void port_release(struct sock *k)
{
	if (!(k->flags & SOCKF_BOUND))
		return;
	k->flags &= (uint16_t)~SOCKF_BOUND;
	if (k->link_on_port == NULL)
		return; /* another holder's */
	*k->link_on_port = k->next_on_port;
	if (k->next_on_port != NULL)
		k->next_on_port->link_on_port = k->link_on_port;
	k->link_on_port = NULL;
	grant_port_free(k->app->s, k->kind == SOCK_UDP, k->lport);
}

void port_hand_over(struct sock *k, struct sock *heir)
{
	if (k->link_on_port == NULL)
		return;
	*k->link_on_port = heir;
	heir->link_on_port = k->link_on_port;
	heir->next_on_port = k->next_on_port;
	if (heir->next_on_port != NULL)
		heir->next_on_port->link_on_port = &heir->next_on_port;
	k->link_on_port = NULL;
}

int port_may_listen(const struct sock *k)
{
	for (const struct sock *o = *head_of(k, k->lport); o != NULL; o = o->next_on_port) {
		if (o == k || o->kind != SOCK_LISTEN || !(o->fam & k->fam) ||
		    apart(k, &k->laddr, o))
			continue;
		if ((k->flags & o->flags & SOCKF_REUSEPORT) && k->owner == o->owner &&
		    k->records == o->records)
			continue;
		if (ip_addr_is_any(&k->laddr) || ip_addr_is_any(&o->laddr) ||
		    ip_addr_eq(&o->laddr, &k->laddr))
			return -EADDRINUSE;
	}
	return 0;
}

/* The first at o or behind it that listens there, as a sees it. */
static const struct sock *listener_at(const struct sock *o, const struct sock_app *a,
				      const struct ip_addr *addr)
{
	uint8_t fam = ip_addr_is_v4(addr) ? SOCK_FAM_4 : SOCK_FAM_6;

	for (; o != NULL; o = o->next_on_port) {
		if (o->kind != SOCK_LISTEN || !(o->fam & fam))
			continue;
		if (ip_addr_is_loopback(addr) && o->zone != a->zone)
			continue;
		if (ip_addr_is_any(&o->laddr) || ip_addr_eq(&o->laddr, addr))
			break;
	}
	return o;
}

bool port_listens(const struct sock_app *a, const struct ip_addr *addr, uint16_t port)
{
	const struct sock *o = a->domain != 0 ? listener_at(a->s->port[0][port], a, addr) : NULL;

	while (o != NULL && (o->app->domain != a->domain || o->records))
		o = listener_at(o->next_on_port, a, addr);
	return o != NULL;
}

int port_takes_records(const struct sock *k, const struct ip_addr *addr, uint16_t port)
{
	const struct sock_app *a = k->app;
	const struct sock *o = listener_at(a->s->port[0][port], a, addr);

	if (o == NULL)
		return -ECONNREFUSED;
	if (!o->records)
		return -EPROTOTYPE;
	return o->app->domain == a->domain && a->domain != 0 ? 0 : -EACCES;
}

/*	offset = F(local IP, remote IP, remote port, secret)
 *	port = min_ephemeral + (next_ephemeral + offset) % num_ephemeral; next_ephemeral++ */
uint16_t port_next(struct sock *k, struct tcp_key *key, uint32_t *n)
{
	struct socks *s = k->app->s;
	uint32_t count = (uint32_t)(s->cfg.port_max - s->cfg.port_min) + 1;
	uint32_t offset = (uint32_t)hash_end(key->laddr.b, 0, s->port_secret) ^
			  (uint32_t)hash_end(key->raddr.b, key->rport, s->port_secret);
	uint8_t fam = ip_addr_is_v4(&key->laddr) ? SOCK_FAM_4 : SOCK_FAM_6;

	while (*n < count) {
		uint16_t port = (uint16_t)(s->cfg.port_min + (s->next_ephemeral + offset) % count);

		++*n;
		s->next_ephemeral++;
		key->lport = port;
		if (conflicts(k, &key->laddr, fam, port, 0) || revive_waits(s, key))
			continue;
		if (s->cfg.owns == NULL || s->cfg.owns(s->cfg.stack, key))
			return port;
	}
	return 0;
}
