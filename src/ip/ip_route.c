/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Routes: the longest prefix wins, then the lowest metric, then the older route.
 *
 * One array for both families, sorted longest prefix first, scanned until the first hit. A host has
 * few routes, connections keep their path, and datagrams find theirs in the ways of ip_output.c; a
 * trie would save nothing, and DPDK's FIB is outside what the core may call. Linear work is the
 * price of a router's table: the limit is IP_ROUTES_MAX. Not done: equal-cost paths.
 */
#include <errno.h>

#include "ip/ip_priv.h"
#include "wire/prefix.h"

static bool route_valid(const struct ip *ip, const struct ip_route *r)
{
	bool v4 = ip_addr_is_v4(&r->prefix);
	struct ip_addr m;

	if (r->prefix_len > (v4 ? 32 : 128) || r->ifindex >= IP_IFS_MAX ||
	    !ip->ifs[r->ifindex].used)
		return false;
	if (!ip_addr_is_any(&r->gateway) &&
	    (ip_addr_is_v4(&r->gateway) != v4 || ip_addr_is_multicast(&r->gateway)))
		return false;
	m = ip_mask(ip_bits(&r->prefix, r->prefix_len));
	return ((r->prefix.q[0] & ~m.q[0]) | (r->prefix.q[1] & ~m.q[1])) == 0;
}

static bool route_same(const struct ip_route *a, const struct ip_route *b)
{
	bool both_on_link = ip_addr_is_any(&a->gateway) && ip_addr_is_any(&b->gateway);

	return ip_addr_eq(&a->prefix, &b->prefix) && a->prefix_len == b->prefix_len &&
	       a->ifindex == b->ifindex && (both_on_link || ip_addr_eq(&a->gateway, &b->gateway));
}

static struct route *route_lookup(struct ip *ip, const struct ip_route *r)
{
	for (unsigned i = 0; i < ip->n_routes; i++) {
		if (route_same(&ip->routes[i].r, r))
			return &ip->routes[i];
	}
	return NULL;
}

static int route_insert(struct ip *ip, const struct ip_route *r, bool connected,
			uint64_t expires_ns)
{
	unsigned bits = ip_bits(&r->prefix, r->prefix_len);
	unsigned at = 0;

	if (!route_valid(ip, r))
		return -EINVAL;
	if (route_lookup(ip, r) != NULL)
		return -EEXIST;
	if (ip->n_routes == IP_ROUTES_MAX)
		return -ENOSPC;
	for (; at < ip->n_routes; at++) {
		const struct ip_route *o = &ip->routes[at].r;
		unsigned o_bits = ip_bits(&o->prefix, o->prefix_len);

		if (o_bits < bits || (o_bits == bits && o->metric > r->metric))
			break;
	}
	memmove(&ip->routes[at + 1], &ip->routes[at], (ip->n_routes - at) * sizeof(ip->routes[0]));
	ip->routes[at] = (struct route){
		.r = *r, .mask = ip_mask(bits), .connected = connected, .expires_ns = expires_ns};
	ip->n_routes++;
	ip->generation++;
	return 0;
}

static void route_remove(struct ip *ip, struct route *e)
{
	ip->n_routes--;
	memmove(e, e + 1, (size_t)(ip->routes + ip->n_routes - e) * sizeof(*e));
	ip->generation++;
}

int ip_route_add(struct ip *ip, const struct ip_route *r)
{
	return route_insert(ip, r, false, 0);
}

int ip_route_del(struct ip *ip, const struct ip_route *r)
{
	struct route *e = route_lookup(ip, r);

	if (e == NULL)
		return -ENOENT;
	route_remove(ip, e);
	return 0;
}

/* ---- learned from routers (RFC 4861 §6.3.4) ---- */

static void route_due_update(struct ip *ip)
{
	ip->route_due_ns = UINT64_MAX;
	for (unsigned i = 0; i < ip->n_routes; i++) {
		uint64_t e = ip->routes[i].expires_ns;

		if (e != 0 && e < ip->route_due_ns)
			ip->route_due_ns = e;
	}
}

/* RFC 4861 §4.6.2: bits behind the prefix are ignored. */
static struct ip_route route_masked(const struct ip_route *r)
{
	struct ip_addr m = ip_mask(ip_bits(&r->prefix, r->prefix_len));
	struct ip_route out = *r;

	out.prefix.q[0] &= m.q[0];
	out.prefix.q[1] &= m.q[1];
	return out;
}

static unsigned learned_count(const struct ip *ip)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ip->n_routes; i++)
		n += ip->routes[i].expires_ns != 0;
	return n;
}

int ip_route_learn(struct ip *ip, const struct ip_route *said, uint32_t lifetime_s)
{
	struct ip_route masked = route_masked(said), *r = &masked;
	struct route *e = route_lookup(ip, r);
	uint64_t expires =
		lifetime_s == UINT32_MAX ? UINT64_MAX : ip->now_ns + lifetime_s * SECOND_NS;
	int rc = 0;

	if (e != NULL && e->expires_ns == 0)
		return -EEXIST;
	if (e != NULL && lifetime_s != 0)
		e->expires_ns = expires;
	else if (e != NULL)
		route_remove(ip, e);
	else if (lifetime_s != 0)
		rc = learned_count(ip) < IP_LEARNED_MAX ? route_insert(ip, r, false, expires)
							: -ENOSPC;
	route_due_update(ip);
	return rc;
}

void route_expire(struct ip *ip)
{
	if (ip->route_due_ns > ip->now_ns)
		return;
	for (unsigned i = 0; i < ip->n_routes;) {
		struct route *e = &ip->routes[i];

		if (e->expires_ns != 0 && e->expires_ns <= ip->now_ns)
			route_remove(ip, e);
		else
			i++;
	}
	route_due_update(ip);
}

static bool another_way(const struct ip *ip, const struct route *e)
{
	for (unsigned i = 0; i < ip->n_routes; i++) {
		const struct route *o = &ip->routes[i];

		if (o != e && o->r.prefix_len == e->r.prefix_len &&
		    ip_addr_eq(&o->r.prefix, &e->r.prefix))
			return true;
	}
	return false;
}

/* RFC 4861 §6.3.6: prefer a router that is reachable. The next advertisement brings it back. */
void ip_gateway_failed(struct ip *ip, uint8_t ifindex, const struct ip_addr *gateway)
{
	for (unsigned i = 0; i < ip->n_routes;) {
		struct route *e = &ip->routes[i];

		if (e->expires_ns != 0 && e->r.ifindex == ifindex &&
		    ip_addr_eq(&e->r.gateway, gateway) && another_way(ip, e))
			route_remove(ip, e);
		else
			i++;
	}
	route_due_update(ip);
}

/* ---- of our addresses ---- */

static struct ip_route connected_route(const struct ip_ifaddr *a)
{
	struct ip_addr m = ip_mask(ip_bits(&a->addr, a->prefix_len));
	struct ip_route r = {.prefix_len = a->prefix_len, .ifindex = a->ifindex};

	r.prefix.q[0] = a->addr.q[0] & m.q[0];
	r.prefix.q[1] = a->addr.q[1] & m.q[1];
	return r;
}

/* The second address of a subnet finds the route there already. */
int ip_route_add_connected(struct ip *ip, const struct ip_ifaddr *a)
{
	struct ip_route r = connected_route(a);
	int rc = route_insert(ip, &r, true, 0);

	return rc == -EEXIST ? 0 : rc;
}

void ip_route_del_connected(struct ip *ip, const struct ip_ifaddr *a)
{
	struct ip_route r = connected_route(a);
	struct route *e = route_lookup(ip, &r);

	if (e != NULL && e->connected)
		route_remove(ip, e);
}

const struct ip_route *ip_route_find(const struct ip *ip, const struct ip_addr *dst)
{
	/* ::/0 must not catch ::ffff:a.b.c.d, which is IPv4 on this side of the wire. */
	bool v4 = ip_addr_is_v4(dst);

	for (unsigned i = 0; i < ip->n_routes; i++) {
		const struct route *e = &ip->routes[i];

		if (ip_in_prefix(dst, &e->r.prefix, &e->mask) && ip_addr_is_v4(&e->r.prefix) == v4)
			return &e->r;
	}
	return NULL;
}

const struct ip_route *ip_route_at(const struct ip *ip, unsigned i)
{
	return i < ip->n_routes ? &ip->routes[i].r : NULL;
}
