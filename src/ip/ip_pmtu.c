/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Path MTU (RFC 1191, RFC 8201): what routers reported, per destination, for ten minutes.
 *
 * A table of sets of four entries, of fixed size. The set comes from a hash with a random seed; the
 * oldest of a set is replaced, so a flood of destinations costs a detour of one packet and nothing
 * else. Entries only ever lower the MTU and run out by themselves (RFC 1191 §6.3). Nothing is
 * believed here before TCP or UDP accepted the quoted packet (RFC 5927 §7). Not done: PLPMTUD.
 */
#include <stdlib.h>

#include "ip/ip_priv.h"

#define WAYS	     4
#define PMTU_LIFE_NS (600 * SECOND_NS)

struct pmtu {
	struct ip_addr dst;
	uint64_t expires_ns; /* 0 = free */
	uint16_t mtu;
};

struct pmtu_table {
	uint32_t sets; /* a power of two */
	uint32_t used; /* entries ever written: 0 spares the hash in most lives */
	struct pmtu e[];
};

struct pmtu_table *pmtu_create(uint32_t max)
{
	struct pmtu_table *t;
	uint32_t sets = 1;

	while (sets < UINT32_C(1) << 20 && sets * 2 * WAYS <= max)
		sets *= 2;
	t = calloc(1, sizeof(*t) + (size_t)sets * WAYS * sizeof(t->e[0]));
	if (t != NULL)
		t->sets = sets;
	return t;
}

static struct pmtu *set_of(struct ip *ip, const struct ip_addr *dst)
{
	uint64_t k0, h;

	memcpy(&k0, ip->cfg.secret, 8);
	h = (dst->q[0] ^ k0 ^ ip->cfg.seed) * UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ (h >> 29) ^ dst->q[1]) * UINT64_C(0xbf58476d1ce4e5b9);
	return &ip->pmtus->e[((h >> 32) & (ip->pmtus->sets - 1)) * WAYS];
}

static struct pmtu *pmtu_find(struct ip *ip, const struct ip_addr *dst)
{
	struct pmtu *set = set_of(ip, dst);

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].expires_ns > ip->now_ns && ip_addr_eq(&set[i].dst, dst))
			return &set[i];
	}
	return NULL;
}

uint16_t pmtu_over(struct ip *ip, const struct ip_addr *dst, uint8_t ifindex)
{
	uint16_t mtu = link_mtu(ip, ifindex, ip_addr_is_v4(dst));
	const struct pmtu *e = ip->pmtus->used != 0 ? pmtu_find(ip, dst) : NULL;

	return e != NULL && e->mtu < mtu ? e->mtu : mtu;
}

uint16_t ip_pmtu(struct ip *ip, const struct ip_addr *dst)
{
	const struct ip_route *r = ip_route_find(ip, dst);
	bool v4 = ip_addr_is_v4(dst);

	/* Without a route nothing is sent: the minimum harms nobody. */
	return r != NULL ? pmtu_over(ip, dst, r->ifindex) : v4 ? IP4_MIN_MTU : IP6_MIN_MTU;
}

void ip_pmtu_learn(struct ip *ip, const struct ip_addr *dst, uint16_t mtu)
{
	uint16_t min = ip_addr_is_v4(dst) ? IP4_MIN_MTU : IP6_MIN_MTU;
	struct pmtu *set = set_of(ip, dst);
	struct pmtu *e = pmtu_find(ip, dst);

	mtu = mtu < min ? min : mtu;
	if (mtu >= ip_pmtu(ip, dst))
		return;
	if (e == NULL) {
		e = set;
		for (unsigned i = 1; i < WAYS; i++)
			e = set[i].expires_ns < e->expires_ns ? &set[i] : e;
	}
	*e = (struct pmtu){.dst = *dst, .expires_ns = ip->now_ns + PMTU_LIFE_NS, .mtu = mtu};
	ip->pmtus->used++;
	ip->counters.pmtu_learned++;
}
