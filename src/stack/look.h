/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What there is to see of a running stack, as structures, for whoever manages it; and asking for an
 * echo. Called by the thread that runs the stack. Each call is short; what is long is asked for in
 * steps.
 */
#ifndef ZS_STACK_LOOK_H
#define ZS_STACK_LOOK_H

#include "eth/eth.h"
#include "ip/ip.h"
#include "sock/sock.h"
#include "stack/stack.h"

/* The loop. busy_ns: spent in turns that found work. */
struct stack_loop {
	uint64_t now_ns, polls, idle_polls, sleeps, busy_ns;
};
struct stack_loop stack_loop_at(struct stack *s);

/* As socks_counter(), with those of the stack behind. */
bool stack_counter(struct stack *s, uint32_t n, struct sock_counter *out);
unsigned stack_socks_each(struct stack *s, const struct sock_app *only, uint32_t *cursor,
			  unsigned n, sock_info_fn fn, void *arg);
unsigned stack_neigh_each(struct stack *s, uint32_t *cursor, unsigned n,
			  void (*fn)(void *arg, const struct neigh_info *i), void *arg);
/* NULL past the last. */
const struct eth_if *stack_if_at(const struct stack *s, unsigned i);
const struct ip_ifaddr *stack_addr_at(const struct stack *s, unsigned i);
const struct ip_route *stack_route_at(const struct stack *s, unsigned i);

struct stack_port_info {
	const char *name, *driver, *wake;
	uint16_t mtu;
	bool link_up;
	struct eth_addr mac;
	struct dev_counters n;
};
/* False past the last. */
bool stack_port_at(struct stack *s, unsigned port, struct stack_port_info *out);
/* A counter of the port by its number; NULL past the last. */
const char *stack_port_counter(const struct stack_port_info *p, unsigned n, uint64_t *value);

/* ip.h says how; sends the request, and says when. DROP_NONE, or why it could not go. */
enum drop_reason stack_ping_send(struct stack *s, const struct ip_ping *p, uint64_t *sent_ns);
int stack_ping_expect(struct stack *s, const struct ip_ping *p) must_check;
bool stack_ping_answered(const struct stack *s, uint16_t id, struct ip_pong *out);
void stack_ping_forget(struct stack *s, uint16_t id);

#endif
