/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The architecture in one function: what a core does, in which order, and how much of each before
 * it looks at the next (DESIGN §3.5, §4).
 *
 * Each step has a budget, so no peer and no application can keep the others from their turn. What
 * is received goes before what applications ask for, what frees memory before what takes it.
 */
#include "stack/stack_priv.h"

enum {
	COMMAND_BUDGET = 256, /* commands of each application */
	TIMER_BUDGET = 64,
};

static void begin(struct stack *s)
{
	uint64_t was = s->now;

	s->now = clock_ns(&s->clock);
	/* From the beginning of a turn that found work to that of the next: no extra clock. */
	if (s->busy)
		s->busy_ns += s->now - was;
	eth_begin(s->eth, s->now);
	ip_begin(s->ip, s->now);
	tcp_begin(s->tcp, s->now);
	socks_begin(s->socks, s->now);
	s->polls++;
}

/* Timers of all protocols. What they want to send goes to the ports' queues. */
static unsigned expire(struct stack *s)
{
	unsigned done = tcp_expire(s->tcp, TIMER_BUDGET);
	struct pkt p[8];
	uint8_t ifindex[array_size(p)];
	unsigned n;

	if (eth_deadline(s->eth) <= s->now) {
		n = eth_poll(s->eth, p, array_size(p));
		for (unsigned i = 0; i < n; i++)
			stack_out(s, &p[i], NEXT_TX, 0);
		done += n + stack_events(s);
	}
	if (ip_deadline(s->ip) <= s->now) {
		n = ip_expire(s->ip, p, ifindex, array_size(p));
		for (unsigned i = 0; i < n; i++)
			stack_out(s, &p[i], NEXT_NEIGH_OUT, ifindex[i]);
		done += n;
	}
	return done;
}

/* Ports that clean up only when they are called get their call when there is nothing better to do.
 */
static void reclaim(struct stack *s)
{
	bool out = false;

	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		out |= dev_tx_reclaim(s->cfg.port[i].dev, s->cfg.port[i].queue);
	s->reclaim = out;
}

unsigned stack_poll(struct stack *s)
{
	unsigned done = 0;

	begin(s);
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		done += stack_rx(s, i);
	if (s->cfg.group != NULL)
		done += stack_rx_group(s);
	if (unlikely(s->self.n != 0))
		done += stack_rx_self(s);
	done += socks_commands(s->socks, COMMAND_BUDGET);
	done += expire(s);
	if (unlikely(s->n_kernels != 0))
		done += kernel_turn(s, done);
	done += stack_tx(s);
	done += socks_publish(s->socks);
	s->busy = done != 0;
	if (likely(done != 0))
		return done;
	s->idle_polls++;
	if (s->reclaim)
		reclaim(s);
	return 0;
}
