/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two engines that send each other streams over a link that loses, repeats and reorders. Whatever
 * happens to segments, both streams arrive whole, both ends close, and every buffer comes home.
 * Time moved by hand; the seed makes a run repeatable.
 */
#include "tcp_test.h"

#include "base/rand.h"

#define STREAM	300000u
#define IN_LINK 4096

struct end {
	struct tcp *t;
	struct tcp_conn *c;
	uint64_t sent, got;
	bool closed, fin;
};

struct flying {
	struct pkt p;
	uint64_t at_ns;
	unsigned to;
};

static struct end end[2];
static struct flying flying[IN_LINK];
static unsigned n_flying;
static struct rand rnd;
static unsigned loss, dup, jitter_us; /* per 1000 */

static struct rte_mbuf *flatten(const struct rte_mbuf *m)
{
	struct rte_mbuf *c = rte_pktmbuf_alloc(pools.rx);

	assert_non_null(c);
	pkt_copy_out(m, 0, m->pkt_len, pkt_put(c, (uint16_t)m->pkt_len));
	return c;
}

static void fly(const struct tcp_tx *tx, unsigned to)
{
	struct flying *f;
	struct tcp_hdr *h;

	if (rand_below(&rnd, 1000) < loss)
		return;
	assert_true(n_flying < IN_LINK);
	f = &flying[n_flying++];
	*f = (struct flying){.p = tx->p, .to = to};
	f->p.m = flatten(tx->p.m);
	f->p.l4_off = 0;
	h = (struct tcp_hdr *)pkt_data(f->p.m);
	h->csum.v = (uint16_t)~pkt_csum(f->p.m, 0, f->p.m->pkt_len);
	f->at_ns = now + 500000 + rand_below(&rnd, jitter_us + 1) * 1000;
}

static void transmit(unsigned from)
{
	struct tcp_tx tx[32];
	unsigned n, taken;

	while (tcp_output_pending(end[from].t)) {
		n = tcp_output(end[from].t, tx, 32);
		taken = rand_below(&rnd, 20) == 0 ? (unsigned)rand_below(&rnd, n + 1) : n;
		for (unsigned i = 0; i < taken; i++) {
			fly(&tx[i], !from);
			if (rand_below(&rnd, 1000) < dup)
				fly(&tx[i], !from);
			pkt_free(tx[i].p.m);
		}
		tcp_output_done(end[from].t, tx, n, taken);
		if (taken < n || n == 0)
			break;
	}
}

static void arrive(void)
{
	for (unsigned i = 0; i < n_flying;) {
		struct flying f = flying[i];
		struct tcp_seg s;

		if (f.at_ns > now) {
			i++;
			continue;
		}
		memmove(&flying[i], &flying[i + 1], (--n_flying - i) * sizeof(flying[0]));
		assert_int_equal(tcp_parse(end[f.to].t, &f.p, &s), NEXT_TCP);
		tcp_lookup(end[f.to].t, &f.p, &s);
		tcp_input(end[f.to].t, &f.p, &s);
	}
}

static void read_all(struct end *e)
{
	struct rte_mbuf *m;
	uint32_t charge = 0, len;
	uint8_t b;

	while (e->c != NULL && (m = tcp_recv(e->t, e->c, 8)) != NULL) {
		len = m->pkt_len;
		charge = 0;
		for (struct rte_mbuf *s = m; s != NULL; s = s->next)
			charge += pkt_charge(s);
		for (uint32_t i = 0; i < len; i++) {
			pkt_copy_out(m, i, 1, &b);
			assert_int_equal(b, byte_at(e->got + i));
		}
		e->got += len;
		pkt_free(m);
		tcp_recv_done(e->t, e->c, charge, len);
	}
}

static void write_some(struct end *e)
{
	if (e->c == NULL)
		return;
	while (e->sent < STREAM && tcp_send_space(e->c) > 4000) {
		uint32_t n = 1 + (uint32_t)rand_below(&rnd, 3000);

		if (n > STREAM - e->sent)
			n = (uint32_t)(STREAM - e->sent);
		assert_int_equal(tcp_send(e->t, e->c, data(e->sent, n), 0), 0);
		e->sent += n;
	}
	if (e->sent == STREAM && !e->fin) {
		assert_int_equal(tcp_shutdown_send(e->t, e->c), 0);
		e->fin = true;
	}
}

static void application(struct end *e)
{
	uint32_t ev;
	struct tcp_conn *c;

	while ((c = tcp_event_next(e->t, &ev)) != NULL) {
		assert_ptr_equal(c, e->c);
		if (ev & TCP_EV_ERROR)
			print_error("end %d: error %d, sent %lu got %lu\n", (int)(e - end),
				    tcp_conn_error(c), e->sent, e->got);
		assert_false(ev & TCP_EV_ERROR);
		if (ev & TCP_EV_CLOSED)
			e->closed = true;
	}
	if (tcp_accept_next(e->t) != NULL)
		e->c = tcp_accept(e->t, listener);
	read_all(e);
	if (!e->closed)
		write_some(e);
}

static uint64_t next_time(void)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < 2; i++) {
		if (tcp_output_pending(end[i].t))
			return now + 1000;
		if (tcp_deadline(end[i].t) < at)
			at = tcp_deadline(end[i].t);
	}
	for (unsigned i = 0; i < n_flying; i++)
		if (flying[i].at_ns < at)
			at = flying[i].at_ns;
	return at != UINT64_MAX && at > now + 1000 ? at : now + 1000;
}

static bool done(void)
{
	return end[0].closed && end[1].closed && end[0].got == STREAM && end[1].got == STREAM;
}

static void step(void)
{
	now = next_time();
	for (unsigned i = 0; i < 2; i++)
		tcp_begin(end[i].t, now);
	arrive();
	for (unsigned i = 0; i < 2; i++) {
		tcp_expire(end[i].t, 16);
		application(&end[i]);
		transmit(i);
		tcp_check_all(end[i].t);
	}
}

static void begin(uint64_t seed)
{
	struct tcp_listen l = {.lport = 80, .backlog = 8};
	struct tcp_open o = {
		.key = {.laddr = addr(1), .raddr = addr(2), .lport = 1000, .rport = 80},
		.link = {.mtu = 1500, .tso_segs = 1}};

	default_cfg();
	cfg.pools = &pools;
	cfg.drops = &drops;
	cfg.sndbuf_max_bytes = 1 << 18;
	cfg.rcvbuf_max_bytes = 1 << 20;
	rand_init(&rnd, seed);
	now = 1000000 * MS;
	n_flying = 0;
	for (unsigned i = 0; i < 2; i++) {
		end[i] = (struct end){.t = tcp_create(&cfg)};
		assert_non_null(end[i].t);
		tcp_begin(end[i].t, now);
	}
	assert_int_equal(tcp_listen(end[1].t, &l, &listener), 0);
	assert_int_equal(tcp_connect(end[0].t, &o, &end[0].c), 0);
}

static void finish(void)
{
	for (unsigned i = 0; i < 2; i++)
		tcp_destroy(end[i].t);
	while (n_flying > 0)
		pkt_free(flying[--n_flying].p.m);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.hdr), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.ref), 0);
}

static void run(uint64_t seed)
{
	begin(seed);
	for (unsigned i = 0; i < 400000 && !done(); i++)
		step();
	if (!done())
		print_error("seed %lu: got %lu %lu, states %s %s, %lu s\n", seed, end[0].got,
			    end[1].got, tcp_state_name(tcp_conn_state(end[0].c)),
			    end[1].c ? tcp_state_name(tcp_conn_state(end[1].c)) : "-",
			    (uint64_t)((now - 1000000 * MS) / 1000000000));
	assert_true(done());
	finish();
}

static void clean_link_delivers_both_streams(void **state)
{
	loss = dup = jitter_us = 0;
	run(1);
}

static void lossy_link_delivers_both_streams(void **state)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		loss = 10 << (seed % 4);
		dup = 10;
		jitter_us = seed % 3 * 300;
		run(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_link_delivers_both_streams),
		cmocka_unit_test(lossy_link_delivers_both_streams),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
