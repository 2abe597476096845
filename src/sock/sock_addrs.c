/* SPDX-License-Identifier: BSD-3-Clause
 *
 * For applications that choose between this stack and another, where what they bind or connect to
 * decides: which addresses are ours (too long for an event: it goes to the scratch area), and
 * whether one of ours listens at an address that both have.
 */
#include "sock/sock_priv.h"

static uint32_t default_routes(const struct ip *ip)
{
	const struct ip_route *r;
	uint32_t have = 0;

	for (unsigned i = 0; (r = ip_route_at(ip, i)) != NULL; i++)
		if (r->prefix_len == 0)
			have |= ip_addr_is_v4(&r->prefix) ? CHAN_ROUTE_V4 : CHAN_ROUTE_V6;
	return have;
}

static struct chan_addr describe(const struct ip *ip, const struct ip_ifaddr *a)
{
	struct eth_addr mac = ip_if_mac(ip, a->ifindex);
	struct chan_addr out = {.prefix_len = a->prefix_len,
				.ifindex = a->ifindex,
				.mtu = ip_if_mtu(ip, a->ifindex),
				.flags = a->tentative ? CHAN_ADDR_TENTATIVE : 0};

	memcpy(out.addr, &a->addr, sizeof(out.addr));
	memcpy(out.mac, &mac, sizeof(out.mac));
	if (ip_addr_is_v4(&a->addr))
		out.prefix_len += 96;
	return out;
}

int cmd_addrs(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	const struct ip *ip = c->s->cfg.ip;
	const struct ip_ifaddr *a;
	struct chan_addr *out;
	uint32_t n = 0;

	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	out = (struct chan_addr *)(c->app->end.scratch + q->off);
	for (unsigned i = 0; (a = ip_addr_at(ip, i)) != NULL; i++) {
		struct chan_addr one = describe(ip, a);

		if (a->duplicate)
			continue;
		if (n < q->len / sizeof(one))
			memcpy(out + n, &one, sizeof(one));
		n++;
	}
	c->out.aux = default_routes(ip);
	return (int)n;
}

int cmd_listens(struct sock_cmd *c)
{
	struct ip_addr at;

	memcpy(&at, c->q->addr, sizeof(at));
	return port_listens(c->app, &at, c->q->port) ? 0 : -ECONNREFUSED;
}
