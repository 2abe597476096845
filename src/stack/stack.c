/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making a stack, its addresses, its applications.
 *
 * The protocols are made from the bottom up and taken down the other way round; whatever is still
 * in a queue then is freed and counted as DROP_SHUTDOWN.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "stack/stack_priv.h"
#include "tcp/cc.h"
#include "wire/eth.h"

void stack_cfg_defaults(struct stack_cfg *cfg)
{
	*cfg = (struct stack_cfg){
		.max_conns = 1u << 20,
		.max_socks = 1u << 20,
		.port_min = 32768,
		.port_max = 60999,
	};
}

static struct eth *make_eth(struct stack *s)
{
	struct eth_cfg c;

	eth_cfg_defaults(&c);
	c.pools = &s->cfg.pools;
	c.drops = &s->drops;
	c.seed = s->cfg.seed;
	return eth_create(&c);
}

static struct ip *make_ip(struct stack *s)
{
	struct ip_cfg c;

	ip_cfg_defaults(&c);
	c.pools = &s->cfg.pools;
	c.drops = &s->drops;
	c.seed = s->cfg.seed + 1;
	memcpy(c.secret, s->cfg.secret, sizeof(c.secret));
	return ip_create(&c);
}

static struct tcp *make_tcp(struct stack *s)
{
	struct tcp_cfg c;

	tcp_cfg_defaults(&c);
	c.max_conns = s->cfg.max_conns;
	if (s->cfg.congestion != NULL)
		c.cc = s->cfg.congestion;
	c.pools = &s->cfg.pools;
	/* The other half is the ports' and the datagrams': a port without a free buffer is deaf,
	 * and nobody's acknowledgement comes through any more. */
	c.mem_max_bytes = (uint64_t)(pkt_pool_size(c.pools->rx) - s->cfg.port_bufs) / 2 *
			  pkt_pool_charge(c.pools->rx);
	/* One connection alone must not make memory short for all. */
	if (c.rcvbuf_max_bytes > c.mem_max_bytes / 2)
		c.rcvbuf_max_bytes = (uint32_t)(c.mem_max_bytes / 2);
	c.drops = &s->drops;
	c.seed = s->cfg.seed + 2;
	memcpy(c.secret, s->cfg.secret, sizeof(c.secret));
	return tcp_create(&c);
}

static int make_socks(struct stack *s)
{
	struct socks_cfg c = {
		.ip = s->ip,
		.udp = s->udp,
		.tcp = s->tcp,
		.pools = &s->cfg.pools,
		.port_bufs = s->cfg.port_bufs,
		.drops = &s->drops,
		.max_socks = s->cfg.max_socks,
		.port_min = s->cfg.port_min,
		.port_max = s->cfg.port_max,
		.reserve = s->cfg.reserve,
		.ports_bell = s->cfg.ports_bell,
		.seed = s->cfg.seed + 3,
		.link_of = stack_link_of,
		.owns = s->cfg.group != NULL ? group_owns : NULL,
		.dump = stack_dump_other,
		.link_bell = s->cfg.link_bell,
		.stack = s,
	};

	return socks_create(&c, &s->socks);
}

/* What failed, or NULL; *rc is its errno. */
static const char *make(struct stack *s, int *rc)
{
	*rc = -EINVAL;
	if (s->cfg.congestion != NULL && tcp_cc_find(s->cfg.congestion) == NULL)
		return "--congestion: write cubic or newreno";
	*rc = -ENOMEM;
	s->eth = make_eth(s);
	s->ip = make_ip(s);
	s->udp = udp_create(s->cfg.max_socks, s->cfg.seed + 4, &s->drops);
	if (s->eth == NULL || s->ip == NULL || s->udp == NULL)
		return "no memory for the tables of IP";
	s->tcp = make_tcp(s);
	if (s->tcp == NULL)
		return "no memory for the tables of TCP: allow fewer sockets";
	*rc = make_socks(s);
	if (*rc < 0)
		return "no memory for sockets: allow fewer";
	*rc = stack_wait_init(s);
	return *rc < 0 ? "no descriptors left to sleep on" : NULL;
}

int stack_create(const struct stack_cfg *cfg, struct stack **out, char *err, size_t err_len)
{
	struct stack *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	const char *what;
	int rc;

	if (s == NULL) {
		snprintf(err, err_len, "no memory for a stack");
		return -ENOMEM;
	}
	memset(s, 0, sizeof(*s));
	s->cfg = *cfg;
	s->epoll_fd = s->wake_fd = -1;
	if (cfg->capture != NULL)
		s->capture[s->n_captures++] = cfg->capture;
	clock_init(&s->clock);
	s->now = clock_ns(&s->clock);
	what = make(s, &rc);
	if (what != NULL) {
		snprintf(err, err_len, "%s (%s)", what, strerror(-rc));
		stack_destroy(s);
		return rc;
	}
	eth_begin(s->eth, s->now);
	ip_begin(s->ip, s->now);
	tcp_begin(s->tcp, s->now);
	socks_begin(s->socks, s->now);
	if (cfg->group != NULL)
		group_join(s);
	*out = s;
	return 0;
}

void stack_halt(struct stack *s)
{
	if (s->tcp != NULL)
		tcp_destroy(s->tcp);
	s->tcp = NULL;
	eth_destroy(s->eth);
	s->eth = NULL;
	if (s->ip != NULL)
		ip_destroy(s->ip);
	s->ip = NULL;
	kernel_halt(s);
	for (unsigned i = 0; i < s->cfg.n_ports; i++) {
		for (unsigned k = 0; k < s->txq[i].n; k++)
			pkt_drop(&s->drops, s->txq[i].p[k].m, DROP_SHUTDOWN);
		s->txq[i].n = 0;
	}
}

void stack_destroy(struct stack *s)
{
	if (s == NULL)
		return;
	stack_halt(s);
	if (s->socks != NULL)
		socks_destroy(s->socks);
	if (s->udp != NULL)
		udp_destroy(s->udp);
	stack_wait_fini(s);
	free(s);
}

/* ---- interfaces and addresses ---- */

/* Some ports (net_ring) have no address of their own: they get a locally administered one, the same
 * in all stacks of a group. */
struct eth_addr stack_port_mac(const struct stack *s, unsigned port)
{
	struct eth_addr mac = dev_mac(s->cfg.port[port].dev);
	uint64_t key, h;

	if (eth_addr_is_station(&mac))
		return mac;
	memcpy(&key, s->cfg.secret, sizeof(key));
	h = hash_u64(port, key);
	memcpy(mac.b, &h, sizeof(mac.b));
	mac.b[0] = (uint8_t)((mac.b[0] & ~1) | 2);
	return mac;
}

int stack_if(struct stack *s, unsigned port, uint16_t vlan, uint16_t mtu)
{
	struct eth_if i = {.port = (uint8_t)port, .vlan = vlan, .mtu = mtu};
	int n, rc;

	if (port >= s->cfg.n_ports)
		return -ENODEV;
	for (unsigned k = 0; k < eth_if_count(s->eth); k++)
		if (eth_if_get(s->eth, k)->port == port && eth_if_get(s->eth, k)->vlan == vlan)
			return (int)k;
	i.mac = stack_port_mac(s, port);
	if (mtu == 0)
		i.mtu = dev_mtu(s->cfg.port[port].dev);
	n = eth_if_add(s->eth, &i);
	if (n < 0)
		return n;
	rc = ip_if_add(s->ip, (unsigned)n, i.mtu, &i.mac);
	if (rc < 0)
		return rc;
	stack_default_links(s);
	return n;
}

struct eth_addr stack_if_mac(const struct stack *s, unsigned ifindex)
{
	return eth_if_get(s->eth, ifindex)->mac;
}

int stack_addr_add(struct stack *s, unsigned ifindex, const struct ip_addr *a, uint8_t prefix_len)
{
	/* One core probes and announces for all of its group. */
	bool dad = !ip_addr_is_v4(a) && s->cfg.core == 0;
	struct ip_ifaddr ia = {.addr = *a,
			       .prefix_len = prefix_len,
			       .ifindex = (uint8_t)ifindex,
			       .tentative = dad};
	int rc = ip_addr_add(s->ip, &ia);

	if (rc < 0)
		return rc;
	rc = eth_addr_add(s->eth, ifindex, a, dad);
	if (rc < 0)
		ip_addr_del(s->ip, a);
	return rc;
}

int stack_addr_del(struct stack *s, const struct ip_addr *a)
{
	const struct ip_ifaddr *ia = ip_addr_find(s->ip, a);
	unsigned ifindex;

	if (ia == NULL)
		return -ENOENT;
	ifindex = ia->ifindex;
	(void)!eth_addr_del(s->eth, ifindex, a);
	return ip_addr_del(s->ip, a);
}

int stack_route_add(struct stack *s, const struct stack_route *r)
{
	const struct ip_route *to = ip_route_find(s->ip, &r->gateway);
	struct ip_route add = {
		.prefix = r->prefix, .prefix_len = r->prefix_len, .gateway = r->gateway};

	if (to == NULL || !ip_addr_is_any(&to->gateway))
		return -EHOSTUNREACH;
	add.ifindex = to->ifindex;
	return ip_route_add(s->ip, &add);
}

int stack_route_del(struct stack *s, const struct stack_route *r)
{
	const struct ip_route *have;

	/* Its link may be gone, so it is looked for, not where the gateway is now. */
	for (unsigned i = 0; (have = ip_route_at(s->ip, i)) != NULL; i++) {
		struct ip_route del = *have;

		if (have->prefix_len == r->prefix_len && !ip_addr_is_any(&have->gateway) &&
		    ip_addr_eq(&have->prefix, &r->prefix) &&
		    ip_addr_eq(&have->gateway, &r->gateway))
			return ip_route_del(s->ip, &del);
	}
	return -ENOENT;
}

struct stack_route stack_route_default(const struct ip_addr *gateway)
{
	struct stack_route r = {.gateway = *gateway};

	if (ip_addr_is_v4(gateway))
		r.prefix = ip_addr_v4((be32_t){0});
	return r;
}

int stack_gateway_add(struct stack *s, const struct ip_addr *gateway)
{
	struct stack_route r = stack_route_default(gateway);

	return stack_route_add(s, &r);
}

bool stack_addr_tentative(const struct stack *s)
{
	const struct ip_ifaddr *a;

	for (unsigned i = 0; (a = ip_addr_at(s->ip, i)) != NULL; i++)
		if (a->tentative)
			return true;
	return false;
}

const struct ip_addr *stack_addr_duplicate(const struct stack *s)
{
	const struct ip_ifaddr *a;

	for (unsigned i = 0; (a = ip_addr_at(s->ip, i)) != NULL; i++)
		if (a->duplicate && !ip_addr_is_link_local6(&a->addr))
			return &a->addr;
	return NULL;
}

/* ---- applications ---- */

int stack_attach(struct stack *s, const struct sock_app_cfg *cfg, struct sock_app **out)
{
	int rc = socks_attach(s->socks, cfg, out);

	if (rc < 0)
		return rc;
	rc = stack_wait_bell(s, cfg->map->stack_bell_fd);
	if (rc < 0)
		socks_detach(s->socks, *out, false);
	return rc;
}

const struct chan_map *stack_reaped(struct stack *s)
{
	return socks_reaped(s->socks);
}

unsigned stack_ports_freed(struct stack *s, struct sock_port *out, unsigned n)
{
	return socks_ports_freed(s->socks, out, n);
}

bool stack_port_used(const struct stack *s, struct sock_port p)
{
	return socks_port_used(s->socks, p);
}

void stack_detach(struct stack *s, struct sock_app *app, int bell_fd, bool orderly)
{
	stack_unwait_bell(s, bell_fd);
	socks_detach(s->socks, app, orderly);
}

bool stack_ports_gone(const struct stack *s)
{
	unsigned n = 0;

	while (n < s->cfg.n_ports && dev_deleted(s->cfg.port[n].dev))
		n++;
	return n == s->cfg.n_ports;
}

static void unsettled(void *arg, struct tcp_conn *c)
{
	enum tcp_state st = tcp_conn_state(c);

	if (st != TCP_CLOSED && st != TCP_FIN_WAIT_2 && st != TCP_TIME_WAIT)
		++*(unsigned *)arg;
}

/* Connections that one stack_reset() looks at: their resets find room in the ring of replies. */
#define RESET_BURST 512

static void reset(void *arg, struct tcp_conn *c)
{
	struct stack *s = arg;
	unsigned n = 0;

	unsettled(&n, c);
	if (n == 0)
		return;
	tcp_abort(s->tcp, c);
	s->resets++;
}

bool stack_reset(struct stack *s)
{
	uint64_t before = s->resets;

	tcp_each(s->tcp, &s->reset_cursor, RESET_BURST, reset, s);
	return s->resets != before || s->reset_cursor != 0;
}

bool stack_idle(struct stack *s)
{
	unsigned n = 0;
	uint32_t cursor = 0;

	do
		tcp_each(s->tcp, &cursor, 1024, unsettled, &n);
	while (cursor != 0 && n == 0);
	return n == 0 && !stack_tx_pending(s);
}

void stack_links_stay(struct stack *s)
{
	socks_end(s->socks);
}

uint32_t stack_abroad(const struct stack *s, const struct chan_map *map)
{
	return socks_abroad(s->socks, map);
}

void stack_bring_home(struct stack *s, const struct chan_map *map, uint32_t *cursor)
{
	socks_bring_home(s->socks, map, cursor);
}

bool stack_link_wanted(struct stack *s, struct sock_link_wanted *out)
{
	return socks_link_wanted(s->socks, out);
}
