/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See look.h.
 */
#include "stack/look.h"

#include <stddef.h>

#include "stack/stack_priv.h"

struct stack_loop stack_loop_at(struct stack *s)
{
	return (struct stack_loop){.now_ns = clock_ns(&s->clock),
				   .polls = s->polls,
				   .idle_polls = s->idle_polls,
				   .sleeps = s->sleeps,
				   .busy_ns = s->busy_ns};
}

/* How many counters sock has. */
static uint32_t sock_counters(struct socks *s)
{
	struct sock_counter c;
	uint32_t n = 0;

	while (socks_counter(s, n, &c))
		n++;
	return n;
}

bool stack_counter(struct stack *s, uint32_t n, struct sock_counter *out)
{
	const char *const name[] = {"device_copied_bytes", "stack_polls",   "stack_idle_polls",
				    "stack_sleeps",	   "stack_busy_ns", "kernel_rx_packets",
				    "kernel_tx_packets"};
	const uint64_t value[] = {s->copied_bytes, s->polls,	 s->idle_polls, s->sleeps,
				  s->busy_ns,	   s->to_kernel, s->from_kernel};

	if (socks_counter(s->socks, n, out))
		return true;
	n -= sock_counters(s->socks);
	if (n >= array_size(name))
		return false;
	*out = (struct sock_counter){.name = name[n], .value = value[n]};
	return true;
}

unsigned stack_socks_each(struct stack *s, const struct sock_app *only, uint32_t *cursor,
			  unsigned n, sock_info_fn fn, void *arg)
{
	return socks_each(s->socks, only, cursor, n, fn, arg);
}

unsigned stack_neigh_each(struct stack *s, uint32_t *cursor, unsigned n,
			  void (*fn)(void *arg, const struct neigh_info *i), void *arg)
{
	return neigh_each(s->eth, cursor, n, fn, arg);
}

const struct eth_if *stack_if_at(const struct stack *s, unsigned i)
{
	return i < eth_if_count(s->eth) ? eth_if_get(s->eth, i) : NULL;
}

const struct ip_ifaddr *stack_addr_at(const struct stack *s, unsigned i)
{
	return ip_addr_at(s->ip, i);
}

const struct ip_route *stack_route_at(const struct stack *s, unsigned i)
{
	return ip_route_at(s->ip, i);
}

bool stack_port_at(struct stack *s, unsigned port, struct stack_port_info *out)
{
	static const char *const wake[] = {[DEV_WAKE_INTR] = "interrupt",
					   [DEV_WAKE_SOCKET] = "socket",
					   [DEV_WAKE_TIMER] = "timer"};
	struct dev *d;

	if (port >= s->cfg.n_ports)
		return false;
	d = s->cfg.port[port].dev;
	*out = (struct stack_port_info){.name = dev_name(d),
					.driver = dev_caps(d)->driver,
					.wake = wake[dev_wake_kind(d, s->cfg.port[port].queue)],
					.mtu = dev_mtu(d),
					.link_up = dev_link_up(d),
					.mac = dev_mac(d)};
	dev_counters(d, &out->n);
	return true;
}

const char *stack_port_counter(const struct stack_port_info *p, unsigned n, uint64_t *value)
{
	static const struct {
		const char *name;
		size_t at;
	} c[] = {
#define C(name) {#name, offsetof(struct dev_counters, name)}
		C(rx_packets),	  C(rx_bytes),
		C(tx_packets),	  C(tx_bytes),
		C(rx_missed),	  C(rx_errors),
		C(tx_errors),	  C(rx_truncated),
		C(tx_linearized), C(tx_linearized_bytes),
		C(tx_sw_csum),	  C(rx_nombuf),
		C(vanished),
#undef C
	};

	if (n >= array_size(c))
		return NULL;
	*value = *(const uint64_t *)(const void *)((const char *)&p->n + c[n].at);
	return c[n].name;
}

/* ---- echo ---- */

enum drop_reason stack_ping_send(struct stack *s, const struct ip_ping *p, uint64_t *sent_ns)
{
	struct pkt out;
	uint8_t ifindex = 0;
	enum next next = ip_ping_build(s->ip, p, &out);

	if (next == NEXT_IP_OUT)
		next = ip_output(s->ip, &out, &ifindex);
	if (next == NEXT_DROP) {
		pkt_drop(&s->drops, out.m, (enum drop_reason)out.drop);
		return (enum drop_reason)out.drop;
	}
	*sent_ns = clock_ns(&s->clock);
	stack_out(s, &out, next, ifindex);
	return DROP_NONE;
}

int stack_ping_expect(struct stack *s, const struct ip_ping *p)
{
	return ip_ping_expect(s->ip, p);
}

bool stack_ping_answered(const struct stack *s, uint16_t id, struct ip_pong *out)
{
	return ip_ping_answered(s->ip, id, out);
}

void stack_ping_forget(struct stack *s, uint16_t id)
{
	ip_ping_forget(s->ip, id);
}
