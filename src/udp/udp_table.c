/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The endpoints of UDP: bind, connect, unbind.
 *
 * Two binds conflict when the port is the same, the families meet and the local addresses are equal
 * or one is the wildcard, unless both ask for SO_REUSEPORT or both for SO_REUSEADDR. This is
 * Linux's rule; peers don't matter, so that connecting can't take a port from its holder. Port 0
 * asks for an ephemeral port, chosen at random (RFC 6056 §3.3.1).
 *
 * Memory is taken once: a slab for max_pcbs endpoints and two arrays of buckets.
 * Not done: SO_REUSEPORT is not checked against the user id of the others; who calls does.
 */
#include "udp/udp_priv.h"

#include <errno.h>
#include <stdlib.h>

/* The range Linux uses (ip_local_port_range). */
#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_COUNT 28232u

static uint32_t bucket_count(uint32_t max_pcbs)
{
	uint32_t n = 16;

	while (n < max_pcbs && n < 1u << 20)
		n *= 2;
	return n;
}

struct udp *udp_create(uint32_t max_pcbs, uint64_t seed, struct drop_counters *drops)
{
	uint32_t buckets = bucket_count(max_pcbs);
	struct udp *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->by_key = calloc(buckets, sizeof(*u->by_key));
	u->by_port = calloc(buckets, sizeof(*u->by_port));
	u->slab = calloc(max_pcbs ? max_pcbs : 1, sizeof(*u->slab));
	if (u->by_key == NULL || u->by_port == NULL || u->slab == NULL) {
		udp_destroy(u);
		return NULL;
	}
	u->mask = buckets - 1;
	u->seed = seed;
	u->rng = seed;
	u->drops = drops;
	for (uint32_t i = max_pcbs; i-- > 0;) {
		u->slab[i].key_next = u->free;
		u->free = &u->slab[i];
	}
	return u;
}

void udp_destroy(struct udp *u)
{
	if (u == NULL)
		return;
	free(u->by_key);
	free(u->by_port);
	free(u->slab);
	free(u);
}

/* splitmix64: ephemeral ports are to be spread, the seed makes them hard to guess. */
static uint64_t rng_next(struct udp *u)
{
	uint64_t z = u->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void link_in(struct udp *u, struct udp_pcb *pcb)
{
	struct udp_pcb **k = &u->by_key[udp_key_hash(u, &pcb->key) & u->mask];
	struct udp_pcb **p = udp_port_bucket(u, pcb->key.lport);

	pcb->key_next = *k;
	pcb->key_link = k;
	if (*k)
		(*k)->key_link = &pcb->key_next;
	*k = pcb;
	pcb->port_next = *p;
	pcb->port_link = p;
	if (*p)
		(*p)->port_link = &pcb->port_next;
	*p = pcb;
	u->in_class[pcb->class]++;
}

static void link_out(struct udp *u, struct udp_pcb *pcb)
{
	*pcb->key_link = pcb->key_next;
	if (pcb->key_next)
		pcb->key_next->key_link = pcb->key_link;
	*pcb->port_link = pcb->port_next;
	if (pcb->port_next)
		pcb->port_next->port_link = pcb->port_link;
	u->in_class[pcb->class]--;
}

/* Key, families and class of a binding. */
static void pcb_describe(struct udp_pcb *pcb, const struct udp_bind *b)
{
	bool any = ip_addr_is_any(&b->laddr), peer = !ip_addr_is_any(&b->raddr);

	pcb->b = *b;
	pcb->key = (struct udp_key){.laddr = udp_addr_norm(&b->laddr),
				    .raddr = udp_addr_norm(&b->raddr),
				    .lport = b->lport,
				    .rport = peer ? b->rport : 0};
	pcb->b.rport = pcb->key.rport;
	pcb->fam = udp_addr_fam(&b->laddr);
	if (any && pcb->fam == UDP_FAM_6 && !b->v6only)
		pcb->fam |= UDP_FAM_4;
	if (peer)
		pcb->class = any ? UDP_CONNECTED_ANY : UDP_CONNECTED;
	else
		pcb->class = any ? UDP_WILDCARD : UDP_BOUND;
}

static bool conflicts(const struct udp *u, const struct udp_pcb *want, const struct udp_pcb *self)
{
	bool any = ip_addr_is_any(&want->key.laddr);
	const struct udp_pcb *o;

	for (o = *udp_port_bucket(u, want->key.lport); o; o = o->port_next) {
		if (o == self || o->key.lport != want->key.lport || !(o->fam & want->fam))
			continue;
		if ((o->b.reuse && want->b.reuse) || (o->b.share && want->b.share))
			continue;
		if (any || ip_addr_is_any(&o->key.laddr) ||
		    ip_addr_eq(&o->key.laddr, &want->key.laddr))
			return true;
	}
	return false;
}

static int choose_port(struct udp *u, struct udp_pcb *want)
{
	uint32_t start = (uint32_t)(rng_next(u) % EPHEMERAL_COUNT);
	bool reuse = want->b.reuse, share = want->b.share;

	/* A port chosen for the caller is his alone, even if he would share one. */
	want->b.reuse = want->b.share = false;
	for (uint32_t i = 0; i < EPHEMERAL_COUNT; i++) {
		uint16_t port = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);

		want->key.lport = port;
		if (conflicts(u, want, NULL))
			continue;
		want->b.lport = port;
		want->b.reuse = reuse;
		want->b.share = share;
		return 0;
	}
	return -EADDRINUSE;
}

/* Is the peer one that this endpoint can speak to? */
static int peer_check(const struct udp_pcb *pcb)
{
	if (ip_addr_is_any(&pcb->key.raddr))
		return 0;
	if (pcb->key.rport == 0)
		return -EINVAL;
	return pcb->fam & udp_addr_fam(&pcb->key.raddr) ? 0 : -EAFNOSUPPORT;
}

int udp_bind(struct udp *u, const struct udp_bind *b, struct udp_pcb **out)
{
	struct udp_pcb want, *pcb = u->free;
	int err;

	if (pcb == NULL)
		return -ENOBUFS;
	pcb_describe(&want, b);
	err = peer_check(&want);
	if (err)
		return err;
	if (b->lport == 0) {
		err = choose_port(u, &want);
		if (err)
			return err;
	} else if (conflicts(u, &want, NULL)) {
		return -EADDRINUSE;
	}
	u->free = pcb->key_next;
	*pcb = want;
	link_in(u, pcb);
	*out = pcb;
	return 0;
}

int udp_connect(struct udp *u, struct udp_pcb *pcb, const struct ip_addr *laddr,
		const struct ip_addr *raddr, uint16_t rport)
{
	struct udp_bind b = pcb->b;
	struct udp_pcb want;
	int err;

	if (laddr)
		b.laddr = *laddr;
	b.raddr = raddr ? *raddr : (struct ip_addr){0};
	b.rport = rport;
	pcb_describe(&want, &b);
	err = peer_check(&want);
	if (err)
		return err;
	if (conflicts(u, &want, pcb))
		return -EADDRINUSE;
	link_out(u, pcb);
	*pcb = want;
	link_in(u, pcb);
	return 0;
}

void udp_unbind(struct udp *u, struct udp_pcb *pcb)
{
	link_out(u, pcb);
	pcb->key_next = u->free;
	u->free = pcb;
}

uint64_t udp_user(const struct udp_pcb *pcb)
{
	return pcb->b.user;
}

void udp_set_user(struct udp_pcb *pcb, uint64_t user)
{
	pcb->b.user = user;
}

const struct udp_bind *udp_binding(const struct udp_pcb *pcb)
{
	return &pcb->b;
}

const struct udp_counters *udp_counters(const struct udp *u)
{
	return &u->n;
}
