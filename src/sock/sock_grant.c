/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which ports an application was allowed to bind, and, where each port is reserved elsewhere as
 * long as a socket here has it (socks_cfg.reserve), which are free again.
 */
#include <stdlib.h>

#include "sock/sock_priv.h"

#define PORTS 65536u
#define WORDS (PORTS / 64)

static unsigned proto_bit(bool udp)
{
	return udp ? SOCK_GRANT_UDP : SOCK_GRANT_TCP;
}

/* What was asked for in these words before. */
static struct sock_grant *find_same(const struct sock_app *a, const struct ip_addr *addr,
				    uint16_t port, unsigned protos)
{
	for (uint32_t i = 0; i < a->n_grants; i++) {
		struct sock_grant *g = &a->grant[i];

		if (g->port == port && g->protos == protos && ip_addr_eq(&g->addr, addr))
			return g;
	}
	return NULL;
}

/* One that was used up, unless who reserves the port elsewhere still asks about it. */
static struct sock_grant *find_used_up(const struct sock_app *a)
{
	for (uint32_t i = 0; !a->s->cfg.reserve && i < a->n_grants; i++)
		if (a->grant[i].left == 0)
			return &a->grant[i];
	return NULL;
}

static struct sock_grant *grant_new(struct sock_app *a)
{
	struct sock_grant *g = find_used_up(a);

	if (g != NULL)
		return g;
	g = a->n_grants < SOCK_GRANTS_MAX ? realloc(a->grant, (a->n_grants + 1) * sizeof(*g))
					  : NULL;
	if (g == NULL)
		return NULL;
	a->grant = g;
	return &a->grant[a->n_grants++];
}

int socks_grant(struct sock_app *a, const struct ip_addr *addr, uint16_t port, unsigned protos)
{
	struct sock_grant *g;

	if (port == 0 || port >= a->free_ports_from)
		return 0;
	g = find_same(a, addr, port, protos);
	if (g == NULL) {
		g = grant_new(a);
		if (g == NULL)
			return -ENOSPC;
		*g = (struct sock_grant){.addr = *addr, .port = port, .protos = (uint8_t)protos};
	}
	g->used = false;
	g->left++;
	return 0;
}

bool app_may_bind(struct sock_app *a, const struct ip_addr *addr, uint16_t port, bool udp)
{
	if (port >= a->free_ports_from || port == 0)
		return true;
	for (uint32_t i = 0; i < a->n_grants; i++) {
		struct sock_grant *g = &a->grant[i];

		if (g->port != port || g->left == 0 || (g->protos & proto_bit(udp)) == 0 ||
		    (!ip_addr_is_any(&g->addr) && !ip_addr_eq(&g->addr, addr)))
			continue;
		g->used = true;
		g->left--;
		return true;
	}
	return false;
}

/* ---- reserved ports ---- */

int grants_init(struct socks *s)
{
	if (!s->cfg.reserve)
		return 0;
	s->freed = calloc(2 * WORDS, sizeof(*s->freed));
	return s->freed != NULL ? 0 : -ENOMEM;
}

void grants_fini(struct socks *s)
{
	free(s->freed);
}

void grant_port_free(struct socks *s, bool udp, uint16_t port)
{
	if (likely(s->freed == NULL) || s->port[udp][port] != NULL)
		return;
	s->freed[udp * WORDS + port / 64] |= 1ull << port % 64;
	if (s->freed_told)
		return;
	s->freed_told = true;
	bell_wake(s->cfg.ports_bell);
}

unsigned socks_ports_freed(struct socks *s, struct sock_port *out, unsigned n)
{
	unsigned got = 0;

	for (unsigned w = 0; s->freed_told && w < 2 * WORDS; w++) {
		while (s->freed[w] != 0) {
			unsigned bit = (unsigned)__builtin_ctzll(s->freed[w]);

			if (got == n)
				return got;
			s->freed[w] &= s->freed[w] - 1;
			out[got++] = (struct sock_port){
				.port = (uint16_t)(w % WORDS * 64 + bit),
				.udp = w >= WORDS,
			};
		}
	}
	s->freed_told = false;
	return got;
}

bool socks_port_used(const struct socks *s, struct sock_port p)
{
	return s->port[p.udp][p.port] != NULL;
}

bool socks_grant_used(const struct sock_app *a, struct sock_port p)
{
	for (uint32_t i = 0; i < a->n_grants; i++)
		if (a->grant[i].port == p.port && (a->grant[i].protos & proto_bit(p.udp)) &&
		    a->grant[i].used)
			return true;
	return false;
}

void socks_ungrant(struct sock_app *a, struct sock_port p)
{
	for (uint32_t i = 0; i < a->n_grants;) {
		struct sock_grant *g = &a->grant[i];

		if (g->port == p.port && (g->protos & proto_bit(p.udp)))
			*g = a->grant[--a->n_grants];
		else
			i++;
	}
}
