/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text for people about what the stack itself knows: neighbours, routes and addresses, ports, its
 * loop. A line at a time: a dump that does not fit goes on in the next call, at the line that
 * *cursor names; 0 is the start, and the end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stack/stack_priv.h"

#define LINE_MAX_BYTES 256

/* Writes line number n of something; 0 past the last. */
typedef int (*line_fn)(struct stack *s, uint32_t n, char *line);

struct neigh_line {
	char *line;
	int len;
};

static void neigh_text(void *arg, const struct neigh_info *i)
{
	struct neigh_line *l = arg;
	const uint8_t *m = i->mac.b;
	char a[ADDR_TEXT_MAX];

	l->len = snprintf(l->line, LINE_MAX_BYTES,
			  "%s if %u lladdr %02x:%02x:%02x:%02x:%02x:%02x %s age %llu s\n",
			  ip_addr_text(&i->addr, a), i->ifindex, m[0], m[1], m[2], m[3], m[4], m[5],
			  i->state, (unsigned long long)(i->age_ns / 1000000000u));
}

/* Here a line's number is the neighbours' cursor. */
static int dump_neigh(struct stack *s, uint32_t *cursor, char *out, uint32_t len)
{
	uint32_t used = 0;

	do {
		struct neigh_line l = {.line = out + used};

		if (len - used < LINE_MAX_BYTES)
			return (int)used;
		neigh_each(s->eth, cursor, 1, neigh_text, &l);
		used += (uint32_t)l.len;
	} while (*cursor != 0);
	return (int)used;
}

static int addr_line(const struct ip_ifaddr *a, char *line)
{
	char t[ADDR_TEXT_MAX];

	return snprintf(line, LINE_MAX_BYTES, "addr %s/%u if %u%s%s\n", ip_addr_text(&a->addr, t),
			a->prefix_len, a->ifindex, a->tentative ? " tentative" : "",
			a->duplicate ? " duplicate" : "");
}

static int route_line(struct stack *s, uint32_t n, char *line)
{
	const struct ip_ifaddr *a;
	const struct ip_route *r;
	char p[ADDR_TEXT_MAX], g[ADDR_TEXT_MAX];
	uint32_t addrs = 0;

	while ((a = ip_addr_at(s->ip, addrs)) != NULL)
		if (addrs++ == n)
			return addr_line(a, line);
	r = ip_route_at(s->ip, n - addrs);
	if (r == NULL)
		return 0;
	if (ip_addr_is_any(&r->gateway))
		return snprintf(line, LINE_MAX_BYTES, "route %s/%u if %u metric %u\n",
				ip_addr_text(&r->prefix, p), r->prefix_len, r->ifindex, r->metric);
	return snprintf(line, LINE_MAX_BYTES, "route %s/%u via %s if %u metric %u\n",
			ip_addr_text(&r->prefix, p), r->prefix_len, ip_addr_text(&r->gateway, g),
			r->ifindex, r->metric);
}

static int loop_line(const struct stack *s, char *line)
{
	return snprintf(line, LINE_MAX_BYTES, "core %u: %llu polls, %llu idle, %llu sleeps\n",
			s->cfg.core, (unsigned long long)s->polls,
			(unsigned long long)s->idle_polls, (unsigned long long)s->sleeps);
}

static int port_line(struct stack *s, uint32_t n, char *line)
{
	static const char *const wake[] = {[DEV_WAKE_INTR] = "interrupt",
					   [DEV_WAKE_SOCKET] = "socket",
					   [DEV_WAKE_TIMER] = "timer"};
	struct dev_counters c;
	struct dev *d;

	if (n == s->cfg.n_ports)
		return loop_line(s, line);
	if (n > s->cfg.n_ports)
		return 0;
	d = s->cfg.port[n].dev;
	dev_counters(d, &c);
	return snprintf(
		line, LINE_MAX_BYTES,
		"%s mtu %u wakes by %s rx %llu packets %llu bytes tx %llu packets %llu bytes "
		"missed %llu errors %llu/%llu cut %llu copied %llu\n",
		dev_name(d), dev_mtu(d), wake[dev_wake_kind(d, s->cfg.port[n].queue)],
		(unsigned long long)c.rx_packets, (unsigned long long)c.rx_bytes,
		(unsigned long long)c.tx_packets, (unsigned long long)c.tx_bytes,
		(unsigned long long)c.rx_missed, (unsigned long long)c.rx_errors,
		(unsigned long long)c.tx_errors, (unsigned long long)c.rx_truncated,
		(unsigned long long)c.tx_linearized_bytes);
}

static int counter_line(struct stack *s, uint32_t n, char *line)
{
	const struct pkt_pools *p = &s->cfg.pools;
	const char *const name[] = {"device_copied_bytes", "stack_polls",   "stack_idle_polls",
				    "stack_sleeps",	   "pool_rx_used",  "pool_large_used",
				    "pool_hdr_used",	   "pool_ref_used", "kernel_rx_packets",
				    "kernel_tx_packets"};
	const uint64_t value[] = {
		s->copied_bytes,       s->polls,
		s->idle_polls,	       s->sleeps,
		pkt_pool_used(p->rx),  p->large != NULL ? pkt_pool_used(p->large) : 0,
		pkt_pool_used(p->hdr), pkt_pool_used(p->ref),
		s->to_kernel,	       s->from_kernel};

	if (n >= array_size(name))
		return 0;
	return snprintf(line, LINE_MAX_BYTES, "%s %llu\n", name[n], (unsigned long long)value[n]);
}

static int dump_lines(struct stack *s, line_fn fn, uint32_t *cursor, char *out, uint32_t len)
{
	uint32_t used = 0;

	for (;;) {
		int n;

		if (len - used < LINE_MAX_BYTES)
			return (int)used;
		n = fn(s, *cursor, out + used);
		if (n <= 0)
			break;
		used += (uint32_t)(n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES - 1);
		++*cursor;
	}
	*cursor = 0;
	return (int)used;
}

int stack_dump_other(void *stack, int what, uint32_t *cursor, char *out, uint32_t len)
{
	if (len < LINE_MAX_BYTES)
		return -ENOSPC;
	switch (what) {
	case CHAN_DUMP_COUNTERS:
		return dump_lines(stack, counter_line, cursor, out, len);
	case CHAN_DUMP_NEIGH:
		return dump_neigh(stack, cursor, out, len);
	case CHAN_DUMP_ROUTES:
		return dump_lines(stack, route_line, cursor, out, len);
	case CHAN_DUMP_PORTS:
		return dump_lines(stack, port_line, cursor, out, len);
	default:
		return -EINVAL;
	}
}
