/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Configuration, interfaces, addresses, and the choice of a source address (RFC 6724 §5, rules 1,
 * 2, 5 and 8; RFC 1122 §3.3.4.2, strong in what it sends from).
 *
 * The addresses are a small array, with a hash table beside it for the road of packets.
 * Not done: deprecated and temporary addresses (rules 3, 7),
 * labels (6).
 */
#include <errno.h>
#include <stdlib.h>

#include "ip/ip_priv.h"
#include "wire/prefix.h"

void ip_cfg_defaults(struct ip_cfg *cfg)
{
	*cfg = (struct ip_cfg){
		.max_frag_bytes = 4u << 20,
		.max_frag_datagrams = 64,
		.frag_timeout_ms = 30000,
		.max_pmtu = 1024,
		.icmp_rate_pps = 1000,
		.echo_rate_pps = 100000,
		.default_ttl = 64,
	};
}

void ip_begin(struct ip *ip, uint64_t now_ns)
{
	ip->now_ns = now_ns;
}

/* splitmix64. For identifications and jitter; nothing that must stay secret hangs on it. */
uint64_t ip_random(struct ip *ip)
{
	uint64_t z = ip->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

const struct ip_counters *ip_counters(const struct ip *ip)
{
	return &ip->counters;
}

uint32_t ip_generation(const struct ip *ip)
{
	return ip->generation;
}

int ip_if_add(struct ip *ip, unsigned ifindex, uint16_t mtu, const struct eth_addr *mac)
{
	if (ifindex >= IP_IFS_MAX)
		return -ENOSPC;
	if (ip->ifs[ifindex].used)
		return -EEXIST;
	if (mtu < IP4_MIN_MTU)
		return -EINVAL;
	ip->ifs[ifindex] = (struct ip_if){.used = true, .mtu = mtu, .mtu6 = mtu, .mac = *mac};
	return 0;
}

struct eth_addr ip_if_mac(const struct ip *ip, unsigned ifindex)
{
	return ifindex < IP_IFS_MAX ? ip->ifs[ifindex].mac : (struct eth_addr){{0}};
}

uint16_t ip_if_mtu(const struct ip *ip, unsigned ifindex)
{
	return ifindex < IP_IFS_MAX ? ip->ifs[ifindex].mtu : 0;
}

void ip_if_mtu6(struct ip *ip, unsigned ifindex, uint32_t mtu)
{
	if (ifindex < IP_IFS_MAX && mtu >= IP6_MIN_MTU && mtu <= ip->ifs[ifindex].mtu &&
	    mtu != ip->ifs[ifindex].mtu6) {
		ip->ifs[ifindex].mtu6 = (uint16_t)mtu;
		ip->generation++;
	}
}

static void local_put(struct ip *ip, const struct ip_addr *a, enum local_kind kind, unsigned index)
{
	struct local *l = (struct local *)local_find(ip, a);

	if (l->kind == LOCAL_NONE)
		*l = (struct local){.addr = *a, .kind = (uint8_t)kind, .index = (uint8_t)index};
}

void local_update(struct ip *ip)
{
	struct ip_addr all = ip_addr_v4(be32(UINT32_MAX));

	memset(ip->local, 0, sizeof(ip->local));
	local_put(ip, &all, LOCAL_BROADCAST, 0);
	for (unsigned i = 0; i < ip->n_addrs; i++) {
		const struct ip_ifaddr *a = &ip->addrs[i];

		local_put(ip, &a->addr, a->tentative || a->duplicate ? LOCAL_UNUSABLE : LOCAL_OWN,
			  i);
	}
	/* What is ours is no broadcast address. */
	for (unsigned i = 0; i < ip->n_addrs; i++) {
		struct ip_addr b = ip->addrs[i].addr;

		if (!ip_addr_is_v4(&b) || ip->addrs[i].prefix_len >= 31)
			continue;
		b.q[1] |= ~ip_mask(ip_bits(&b, ip->addrs[i].prefix_len)).q[1];
		local_put(ip, &b, LOCAL_BROADCAST, 0);
	}
	ip->generation++;
}

/* RFC 4291 §2.7.1; of a tentative address too: that is how duplicates are found (RFC 4862 §5.4). */
static struct ip_addr solicited_node(const struct ip_addr *a)
{
	return (struct ip_addr){
		.b = {0xff, 2, [11] = 1, [12] = 0xff, a->b[13], a->b[14], a->b[15]}};
}

static int solicited_node_join(struct ip *ip, const struct ip_ifaddr *a)
{
	struct ip_addr g = solicited_node(&a->addr);

	return ip_addr_is_v4(&a->addr) ? 0 : ip_group_join(ip, a->ifindex, &g);
}

static void solicited_node_leave(struct ip *ip, const struct ip_ifaddr *a)
{
	struct ip_addr g = solicited_node(&a->addr);

	if (!ip_addr_is_v4(&a->addr))
		(void)ip_group_leave(ip, a->ifindex, &g);
}

int ip_addr_add(struct ip *ip, const struct ip_ifaddr *a)
{
	int rc;

	if (a->ifindex >= IP_IFS_MAX || !ip->ifs[a->ifindex].used ||
	    !ip_addr_is_host(&a->addr, a->prefix_len))
		return -EINVAL;
	if (ip_addr_find(ip, &a->addr) != NULL)
		return -EEXIST;
	if (ip->n_addrs == IP_ADDRS_MAX)
		return -ENOSPC;
	rc = solicited_node_join(ip, a);
	if (rc != 0)
		return rc;
	rc = ip_route_add_connected(ip, a);
	if (rc != 0) {
		solicited_node_leave(ip, a);
		return rc;
	}
	ip->addrs[ip->n_addrs++] = *a;
	local_update(ip);
	return 0;
}

static struct ip_ifaddr *addr_find(const struct ip *ip, const struct ip_addr *a)
{
	const struct local *l = local_find(ip, a);

	if (l->kind != LOCAL_OWN && l->kind != LOCAL_UNUSABLE)
		return NULL;
	return (struct ip_ifaddr *)&ip->addrs[l->index];
}

static bool same_prefix(const struct ip_ifaddr *a, const struct ip_ifaddr *b)
{
	struct ip_addr m = ip_mask(ip_bits(&a->addr, a->prefix_len));

	return a->ifindex == b->ifindex && a->prefix_len == b->prefix_len &&
	       ip_addr_is_v4(&a->addr) == ip_addr_is_v4(&b->addr) &&
	       ip_in_prefix(&a->addr, &b->addr, &m);
}

int ip_addr_del(struct ip *ip, const struct ip_addr *a)
{
	struct ip_ifaddr *found = addr_find(ip, a);
	struct ip_ifaddr gone;
	bool shared = false;

	if (found == NULL)
		return -ENOENT;
	gone = *found;
	solicited_node_leave(ip, &gone);
	ip->n_addrs--;
	memmove(found, found + 1, (size_t)(ip->addrs + ip->n_addrs - found) * sizeof(*found));
	for (unsigned i = 0; i < ip->n_addrs; i++)
		shared = shared || same_prefix(&ip->addrs[i], &gone);
	if (!shared)
		ip_route_del_connected(ip, &gone);
	local_update(ip);
	return 0;
}

void ip_addr_set_tentative(struct ip *ip, const struct ip_addr *a, bool tentative, bool duplicate)
{
	struct ip_ifaddr *found = addr_find(ip, a);

	if (found == NULL)
		return;
	found->tentative = tentative;
	found->duplicate = duplicate;
	local_update(ip);
	/* Routers believe reports only from a link-local address (RFC 3810 §5.2.13). */
	if (!tentative && !duplicate && ip_addr_is_link_local6(a))
		group_report_again(ip, found->ifindex);
}

bool ip_addr_is_broadcast(const struct ip *ip, const struct ip_addr *a)
{
	return ip_is_broadcast(ip, a);
}

const struct ip_ifaddr *ip_addr_find(const struct ip *ip, const struct ip_addr *a)
{
	return addr_find(ip, a);
}

const struct ip_ifaddr *ip_addr_at(const struct ip *ip, unsigned i)
{
	return i < ip->n_addrs ? &ip->addrs[i] : NULL;
}

struct ip_addr ip_source_on(const struct ip *ip, uint8_t ifindex, bool v6)
{
	for (unsigned i = 0; i < ip->n_addrs; i++) {
		const struct ip_ifaddr *a = &ip->addrs[i];

		if (a->ifindex == ifindex && !a->tentative && !a->duplicate &&
		    ip_addr_is_v4(&a->addr) != v6 && (!v6 || ip_addr_is_link_local6(&a->addr)))
			return a->addr;
	}
	return v6 ? (struct ip_addr){.q = {0, 0}} : ip_addr_v4(be32(0));
}

static unsigned common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	uint64_t d0 = __builtin_bswap64(a->q[0] ^ b->q[0]);
	uint64_t d1 = __builtin_bswap64(a->q[1] ^ b->q[1]);

	if (d0 != 0)
		return (unsigned)__builtin_clzll(d0);
	return d1 != 0 ? 64 + (unsigned)__builtin_clzll(d1) : 128;
}

/* The rules as digits of one number, the first rule highest. */
static unsigned source_score(const struct ip_ifaddr *a, const struct ip_addr *dst,
			     const struct ip_route *r, const struct ip_addr *near)
{
	bool exact = ip_addr_eq(&a->addr, dst);
	bool scope = ip_addr_is_link_local6(&a->addr) == ip_addr_is_link_local6(dst);
	bool on_if = r != NULL && r->ifindex == a->ifindex;

	return 1 + common_bits(&a->addr, near) + (on_if ? 256 : 0) + (scope ? 512 : 0) +
	       (exact ? 1024 : 0);
}

const struct ip_ifaddr *ip_source_for(struct ip *ip, const struct ip_addr *dst)
{
	const struct ip_route *r = ip_route_find(ip, dst);
	/* Behind an IPv4 gateway the address in the gateway's own subnet is the one that works. */
	bool by_gw = r != NULL && ip_addr_is_v4(dst) && !ip_addr_is_any(&r->gateway);
	const struct ip_addr *near = by_gw ? &r->gateway : dst;
	const struct ip_ifaddr *best = NULL;
	unsigned best_score = 0;

	for (unsigned i = 0; i < ip->n_addrs; i++) {
		const struct ip_ifaddr *a = &ip->addrs[i];
		unsigned score;

		if (a->tentative || a->duplicate || ip_addr_is_v4(&a->addr) != ip_addr_is_v4(dst))
			continue;
		/* No answer would find its way back to it (RFC 4007 §9). */
		if (ip_addr_is_link_local6(&a->addr) && !ip_addr_is_link_local6(dst) &&
		    !ip_addr_is_multicast(dst))
			continue;
		score = source_score(a, dst, r, near);
		if (score > best_score) {
			best_score = score;
			best = a;
		}
	}
	return best;
}
