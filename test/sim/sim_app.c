/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Applications: each side of a flow sends what its plan says, verifies every byte that it receives,
 * and ends. Byte k of a stream is a function of k, the flow and the side.
 */
#include "sim.h"

#include <string.h>

#define FIRST_PORT  10000
#define SERVER_PORT 80

static unsigned stream_of(const struct flow *f, unsigned side)
{
	return (unsigned)(f - sim.flow) * 2 + side;
}

/* How much the side may have sent by now. */
static uint64_t allowed(const struct app *a)
{
	const struct app_plan *p = a->plan;
	uint64_t turns;

	if (p->turn_send == 0)
		return p->send;
	turns = (p->first ? 1 : 0) + a->rcvd / p->turn_recv;
	return turns * p->turn_send < p->send ? turns * p->turn_send : p->send;
}

static void wake_at(struct app *a, uint64_t at)
{
	if (at < a->wake)
		a->wake = at;
}

/* Returns NULL when a pool fails. */
static struct rte_mbuf *make(const struct flow *f, unsigned side, uint64_t off, uint32_t n)
{
	struct rte_mbuf *head = NULL;

	while (n > 0) {
		uint32_t take = n < 2000 ? n : 2000;
		struct rte_mbuf *m = rte_pktmbuf_alloc(lab_pools.rx);
		uint8_t *to;

		if (m == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		to = pkt_put(m, (uint16_t)take);
		for (uint32_t i = 0; i < take; i++)
			to[i] = lab_byte(off + i, stream_of(f, side));
		off += take;
		n -= take;
		if (head == NULL)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			sim_fail("chain");
	}
	return head;
}

static void write_some(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];
	uint64_t limit = allowed(a);

	while (a->sent < limit) {
		uint64_t space = tcp_send_space(a->c);
		uint64_t n = limit - a->sent;
		struct rte_mbuf *m;

		if (space == 0)
			return;
		n = n < space ? n : space;
		n = n < a->plan->write_max ? n : a->plan->write_max;
		m = make(f, side, a->sent, (uint32_t)n);
		if (m == NULL) {
			wake_at(a, sim.now + MS);
			return;
		}
		if (tcp_send(sim.host[side].t, a->c, m, TCP_SEND_COPIED) != 0) {
			pkt_free(m);
			wake_at(a, sim.now + MS);
			return;
		}
		a->sent += n;
	}
}

static void verify(struct flow *f, unsigned side, const struct rte_mbuf *m)
{
	struct app *a = &f->app[side];

	for (; m != NULL; m = m->next) {
		const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);

		for (uint16_t i = 0; i < m->data_len; i++)
			if (b[i] != lab_byte(a->rcvd + i, stream_of(f, 1 - side)))
				sim_fail("flow %u side %u: wrong byte at %lu",
					 (unsigned)(f - sim.flow), side,
					 (unsigned long)(a->rcvd + i));
		a->rcvd += m->data_len;
		a->lent += m->data_len;
		a->charge += pkt_charge(m);
		sim.bytes += m->data_len;
	}
}

static void give_back(struct app *a, unsigned side)
{
	if (a->charge > 0)
		tcp_recv_done(sim.host[side].t, a->c, a->charge, a->lent);
	a->charge = a->lent = 0;
}

static void read_some(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];
	const struct app_plan *p = a->plan;
	uint64_t stop = p->read_bytes != 0 ? a->rcvd + p->read_bytes : UINT64_MAX;
	struct rte_mbuf *m;

	while (a->rcvd < stop && (m = tcp_recv(sim.host[side].t, a->c, 4)) != NULL) {
		verify(f, side, m);
		pkt_free(m);
	}
	if (p->lend_ns == 0)
		give_back(a, side);
	else if (a->charge > 0)
		wake_at(a, sim.now + p->lend_ns);
	if (p->read_bytes != 0 && a->rcvd < a->peer_send)
		wake_at(a, sim.now + p->read_ns);
}

static void finish(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];

	a->c = NULL;
	a->done = true;
	a->wake = UINT64_MAX;
	/* If nobody tells the other side, it goes by itself at last. */
	f->app[1 - side].give_up_at = sim.now + 120 * SEC;
	if (!f->app[0].done || !f->app[1].done)
		return;
	f->over = true;
	f->ended = sim.now;
	sim.over++;
}

/* The side had an error, or made one. */
static void give_up(struct flow *f, unsigned side, int error)
{
	struct app *a = &f->app[side];

	a->failed = true;
	a->error = error;
	tcp_abort(sim.host[side].t, a->c);
	finish(f, side);
	/* A connection that never came to be accepted has no other side. */
	if (f->app[1 - side].c == NULL && !f->app[1 - side].done)
		finish(f, 1 - side);
}

static bool fate_aborts(const struct app *a)
{
	return a->plan->end == END_ABORT && a->sent + a->rcvd >= a->abort_at;
}

static void end_some(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];
	struct tcp *t = sim.host[side].t;
	bool all_sent = a->sent == a->plan->send;
	bool all_rcvd = a->rcvd == a->peer_send;

	if (fate_aborts(a)) {
		give_up(f, side, 0);
		return;
	}
	if (all_sent && !a->shut && (a->plan->end == END_HALF || all_rcvd)) {
		a->shut = true;
		if (tcp_shutdown_send(t, a->c) != 0)
			sim_fail("shutdown");
	}
	if (a->shut && all_rcvd && (a->fin || a->plan->end == END_CLOSE)) {
		give_back(a, side);
		tcp_close(t, a->c);
		finish(f, side);
	}
}

static void work(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];

	if (a->c == NULL)
		return;
	write_some(f, side);
	end_some(f, side);
}

void app_event(unsigned i, struct tcp_conn *c, uint32_t events)
{
	struct flow *f = &sim.flow[tcp_conn_user(c)];
	struct app *a = &f->app[i];

	if (a->c != c)
		return; /* given up */
	if (events & TCP_EV_FIN)
		a->fin = true;
	if (events & TCP_EV_DATA && (a->plan->read_bytes == 0 || a->wake == UINT64_MAX))
		read_some(f, i);
	if (events & TCP_EV_ERROR) {
		if (!sim.s->may_fail)
			sim_fail("flow %lu side %u: error %d", (unsigned long)(f - sim.flow), i,
				 tcp_conn_error(c));
		give_up(f, i, tcp_conn_error(c));
		return;
	}
	work(f, i);
}

void app_accepted(struct tcp_conn *c)
{
	uint16_t port = tcp_conn_key(c)->rport;
	unsigned i = sim.s->same_port ? sim.started - 1 : (unsigned)(port - FIRST_PORT);
	struct flow *f = &sim.flow[i];

	if (i >= sim.started || f->app[1].c != NULL)
		sim_fail("accepted from port %u", port);
	if (f->app[1].done) {
		tcp_abort(sim.host[1].t, c);
		return;
	}
	tcp_conn_set_user(c, i);
	f->app[1].c = c;
	work(f, 1);
}

static void app_init(struct app *a, const struct app_plan *mine, const struct app_plan *other)
{
	*a = (struct app){.plan = mine,
			  .peer_send = other->send,
			  .wake = UINT64_MAX,
			  .give_up_at = UINT64_MAX};
	if (mine->end == END_ABORT)
		a->abort_at = rand_below(&sim.rand, mine->send + other->send + 1);
}

static bool start_one(void)
{
	struct flow *f = &sim.flow[sim.started];
	struct host *h = &sim.host[0];
	struct tcp_open o = {
		.key = {.laddr = h->addr, .raddr = sim.host[1].addr, .rport = SERVER_PORT},
		.link = h->link,
		.user = sim.started};
	const struct app_plan *p[2];

	for (unsigned side = 0; side < 2; side++) {
		struct app_plan *drawn = &sim.drawn[side][sim.started];

		*drawn = sim.s->plan[side];
		p[side] = drawn;
	}
	if (sim.s->random) {
		scenario_draw(&sim.drawn[0][sim.started]);
		scenario_draw(&sim.drawn[1][sim.started]);
	}
	f->port = (uint16_t)(FIRST_PORT + (sim.s->same_port ? 0 : sim.started));
	o.key.lport = f->port;
	app_init(&f->app[0], p[0], p[1]);
	app_init(&f->app[1], p[1], p[0]);
	f->began = sim.now;
	if (tcp_connect(h->t, &o, &f->app[0].c) != 0)
		return false;
	h->again = true;
	sim.started++;
	work(f, 0);
	return true;
}

void app_start_more(void)
{
	while (sim.started < sim.s->flows && sim.started - sim.over < sim.s->at_once)
		if (!start_one())
			return;
}

static uint64_t due_of(const struct app *a)
{
	if (a->c == NULL || !sim.s->may_fail)
		return a->wake;
	return a->wake < a->give_up_at ? a->wake : a->give_up_at;
}

uint64_t app_due(void)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < sim.started; i++)
		for (unsigned side = 0; side < 2; side++)
			if (due_of(&sim.flow[i].app[side]) < due)
				due = due_of(&sim.flow[i].app[side]);
	/* A tuple that is still taken: tried again. */
	if (sim.started < sim.s->flows && sim.started - sim.over < sim.s->at_once &&
	    due > sim.now + 100 * MS)
		due = sim.now + 100 * MS;
	return due;
}

static void wake_up(struct flow *f, unsigned side)
{
	struct app *a = &f->app[side];

	a->wake = UINT64_MAX;
	if (a->c == NULL)
		return;
	if (a->give_up_at <= sim.now && sim.s->may_fail) {
		give_up(f, side, 0);
		return;
	}
	give_back(a, side);
	read_some(f, side);
	work(f, side);
}

void app_run(void)
{
	for (unsigned i = 0; i < sim.started; i++)
		for (unsigned side = 0; side < 2; side++)
			if (due_of(&sim.flow[i].app[side]) <= sim.now)
				wake_up(&sim.flow[i], side);
	app_start_more();
}
