/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Configuration, interfaces, addresses, and the choice of a source address (RFC 6724 §5, rules 1,
 * 2, 5 and 8; RFC 1122 §3.3.4.2, strong in what it sends from).
 *
 * The tables are small arrays that are scanned: a core has a handful of addresses, and established
 * connections do not come here to send. Not done: deprecated and temporary addresses (rules 3, 7),
 * labels (6).
 */
#include <errno.h>
#include <stdlib.h>

#include "ip/ip_priv.h"

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

void ip_if_mtu6(struct ip *ip, unsigned ifindex, uint32_t mtu)
{
	if (ifindex < IP_IFS_MAX && mtu >= IP6_MIN_MTU && mtu <= ip->ifs[ifindex].mtu &&
	    mtu != ip->ifs[ifindex].mtu6) {
		ip->ifs[ifindex].mtu6 = (uint16_t)mtu;
		ip->generation++;
	}
}

/* The host part is all zero (network, or subnet-router anycast) or, for IPv4, all ones. Prefixes
 * with one host bit or none have neither (RFC 3021, RFC 6164). */
static bool addr_is_reserved(const struct ip_ifaddr *a)
{
	bool v4 = ip_addr_is_v4(&a->addr);
	unsigned bits = ip_bits(&a->addr, a->prefix_len);
	struct ip_addr m = ip_mask(bits);
	uint64_t h0 = a->addr.q[0] & ~m.q[0];
	uint64_t h1 = a->addr.q[1] & ~m.q[1];

	if (bits >= 127)
		return false;
	if ((h0 | h1) == 0)
		return true;
	return v4 && h1 == ~m.q[1];
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
	bool v4 = ip_addr_is_v4(&a->addr);
	int rc;

	if (a->ifindex >= IP_IFS_MAX || !ip->ifs[a->ifindex].used)
		return -EINVAL;
	if (a->prefix_len > (v4 ? 32 : 128) || (v4 && a->addr.b[12] >= 240))
		return -EINVAL;
	if (ip_addr_is_any(&a->addr) || ip_addr_is_multicast(&a->addr) || addr_is_reserved(a))
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
	ip->generation++;
	return 0;
}

static struct ip_ifaddr *addr_find(const struct ip *ip, const struct ip_addr *a)
{
	for (unsigned i = 0; i < ip->n_addrs; i++) {
		if (ip_addr_eq(&ip->addrs[i].addr, a))
			return (struct ip_ifaddr *)&ip->addrs[i];
	}
	return NULL;
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
	ip->generation++;
	return 0;
}

void ip_addr_set_tentative(struct ip *ip, const struct ip_addr *a, bool tentative, bool duplicate)
{
	struct ip_ifaddr *found = addr_find(ip, a);

	if (found == NULL)
		return;
	found->tentative = tentative;
	found->duplicate = duplicate;
	ip->generation++;
	/* Routers believe reports only from a link-local address (RFC 3810 §5.2.13). */
	if (!tentative && !duplicate && ip_addr_is_link_local6(a))
		group_report_again(ip, found->ifindex);
}

const struct ip_ifaddr *ip_addr_find(const struct ip *ip, const struct ip_addr *a)
{
	return addr_find(ip, a);
}

const struct ip_ifaddr *ip_addr_at(const struct ip *ip, unsigned i)
{
	return i < ip->n_addrs ? &ip->addrs[i] : NULL;
}

static unsigned common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	unsigned n = 0;

	while (n < 128 && ((a->b[n / 8] ^ b->b[n / 8]) & (0x80 >> (n % 8))) == 0)
		n++;
	return n;
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
		score = source_score(a, dst, r, near);
		if (score > best_score) {
			best_score = score;
			best = a;
		}
	}
	return best;
}

bool ip_is_broadcast(const struct ip *ip, const struct ip_addr *a)
{
	if (!ip_addr_is_v4(a))
		return false;
	if (be32_host(a->w[3]) == UINT32_MAX)
		return true;
	for (unsigned i = 0; i < ip->n_addrs; i++) {
		const struct ip_ifaddr *own = &ip->addrs[i];
		struct ip_addr m;

		if (!ip_addr_is_v4(&own->addr) || own->prefix_len >= 31)
			continue;
		m = ip_mask(ip_bits(&own->addr, own->prefix_len));
		if (ip_in_prefix(a, &own->addr, &m) && (a->q[1] & ~m.q[1]) == ~m.q[1])
			return true;
	}
	return false;
}
