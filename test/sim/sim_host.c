/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One engine as a stack would run it: segments in, timers, events to the applications, segments out
 * against a port that may take only some.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define SERVER_PORT 80
#define CHECK_EVERY 16 /* steps: all invariants of all connections */

static uint8_t bytes[LAB_SEG_MAX];

void host_start(unsigned i, uint64_t seed)
{
	struct host *h = &sim.host[i];
	struct tcp_listen l = {.lport = SERVER_PORT, .backlog = FLOWS_MAX};
	struct tcp_cfg cfg;

	memset(h, 0, sizeof(*h));
	h->addr = sim.v6 ? (struct ip_addr){.b = {0xfd, [15] = (uint8_t)(i + 1)}}
			 : ip_addr_v4(be32(0x0a000001 + i));
	h->link = (struct tcp_link){.mtu = (uint16_t)(sim.s->mtu ? sim.s->mtu : 1500),
				    .tso_segs = sim.s->tso_segs ? sim.s->tso_segs : 1,
				    .tso_bytes = 60000,
				    .l4_csum = sim.s->tso_segs > 1};
	tcp_cfg_defaults(&cfg);
	cfg.max_conns = 2 * FLOWS_MAX;
	cfg.max_syn = sim.s->max_syn != 0 ? sim.s->max_syn : 64;
	if (sim.s->mem_max != 0)
		cfg.mem_max_bytes = sim.s->mem_max;
	if (sim.s->cc != NULL)
		cfg.cc = sim.s->cc;
	cfg.seed = seed + i;
	memcpy(cfg.secret, &seed, sizeof(seed));
	cfg.pools = &lab_pools;
	cfg.drops = &h->drops;
	if (sim.s->rcvbuf != 0)
		cfg.rcvbuf_bytes = cfg.rcvbuf_max_bytes = sim.s->rcvbuf;
	h->t = tcp_create(&cfg);
	if (h->t == NULL)
		sim_fail("tcp_create: no memory");
	tcp_begin(h->t, sim.now);
	tcp_default_link(h->t, sim.v6, &h->link);
	if (i == 1 && tcp_listen(h->t, &l, &h->listener) != 0)
		sim_fail("tcp_listen");
}

static void trace(unsigned i, const char *what, const uint8_t *b, uint32_t n)
{
	sim.trace = hash_bytes(b, n, sim.trace ^ sim.now);
	if (sim.verbose)
		printf("%12.6f %s %u: %u:%u seq %u ack %u flags %02x win %u len %u\n",
		       (double)sim.now / 1e9, what, i, b[0] << 8 | b[1], b[2] << 8 | b[3],
		       (uint32_t)b[4] << 24 | (uint32_t)b[5] << 16 | (uint32_t)b[6] << 8 | b[7],
		       (uint32_t)b[8] << 24 | (uint32_t)b[9] << 16 | (uint32_t)b[10] << 8 | b[11],
		       b[13], b[14] << 8 | b[15], n - (b[12] >> 4) * 4u);
}

/* A poll of a stack: all that has come is one burst. */
static void take_burst(struct host *h)
{
	struct pkt *p[array_size(h->rx)];

	for (unsigned i = 0; i < h->n_rx; i++) {
		p[i] = &h->rx[i];
		tcp_lookup(h->t, p[i], &h->seg[i]);
	}
	tcp_input_burst(h->t, p, h->seg, h->n_rx);
	h->n_rx = 0;
}

static void wait_for_poll(struct host *h, const struct pkt *p, const struct tcp_seg *s)
{
	if (h->n_rx == 0)
		h->poll_at = sim.now + rand_below(&sim.rand, sim.s->poll_ns);
	h->rx[h->n_rx] = *p;
	h->seg[h->n_rx++] = *s;
	if (h->n_rx == array_size(h->rx))
		take_burst(h);
}

void host_deliver(unsigned i, const struct frame *f)
{
	static const uint32_t cuts[] = {4000, 4000, 4000, 1000, 77};
	struct host *h = &sim.host[i];
	struct tcp_seg s = {0};
	struct pkt p = lab_rx(&sim.host[1 - i].addr, &h->addr, f->bytes, f->len,
			      cuts[rand_below(&sim.rand, array_size(cuts))]);

	sim.delivered++;
	if (p.m == NULL)
		return;
	trace(i, "in ", f->bytes, f->len);
	tcp_begin(h->t, sim.now);
	if (tcp_parse(h->t, &p, &s) != NEXT_TCP) {
		pkt_drop(&h->drops, p.m, p.drop);
		return;
	}
	if (sim.s->poll_ns != 0) {
		wait_for_poll(h, &p, &s);
		return;
	}
	tcp_lookup(h->t, &p, &s);
	tcp_input(h->t, &p, &s);
}

void host_icmp(unsigned i, const struct frame *f)
{
	const uint8_t *b = f->bytes;
	struct tcp_icmp e = {.key = {.laddr = sim.host[i].addr,
				     .raddr = sim.host[1 - i].addr,
				     .lport = (uint16_t)(b[0] << 8 | b[1]),
				     .rport = (uint16_t)(b[2] << 8 | b[3])},
			     .seq = (uint32_t)b[4] << 24 | (uint32_t)b[5] << 16 |
				    (uint32_t)b[6] << 8 | b[7],
			     .err = EMSGSIZE,
			     .mtu = f->mtu};

	tcp_begin(sim.host[i].t, sim.now);
	tcp_icmp_error(sim.host[i].t, &e);
}

/* One packet of the engine to the link; with segmentation offload as the port would cut it. */
static void transmit(unsigned i, struct tcp_tx *tx)
{
	static uint8_t out[LAB_SEG_MAX];
	struct host *h = &sim.host[i];
	uint32_t mss = tx->p.flags & PKT_F_TSO ? tx->p.m->tso_segsz : UINT32_MAX;
	struct lab_seg s, piece;

	if (tx->p.flags & PKT_F_L4_CSUM)
		lab_csum_complete(&tx->p);
	if (!lab_seg_read(tx->p.m, 0, &h->addr, &sim.host[1 - i].addr, bytes, &s))
		sim_fail("host %u sends a malformed segment", i);
	if (mss == UINT32_MAX && tx->p.m->pkt_len + (sim.v6 ? 40 : 20) > h->link.mtu)
		sim_fail("host %u sends %u bytes", i, tx->p.m->pkt_len);
	piece = s;
	for (uint32_t off = 0; off == 0 || off < s.len; off += mss) {
		uint32_t n;

		piece.seq = s.seq + off;
		piece.payload = s.payload + off;
		piece.len = s.len - off < mss ? s.len - off : mss;
		piece.flags = s.flags;
		if (off + piece.len < s.len)
			piece.flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		n = lab_seg_write(&piece, out);
		trace(i, "out", out, n);
		link_send(i, out, n);
		if (mss == UINT32_MAX)
			break;
	}
	pkt_free(tx->p.m);
}

static unsigned port_takes(unsigned n)
{
	if (sim.s->take_percent == 0 || rand_below(&sim.rand, 100) < sim.s->take_percent)
		return n;
	return (unsigned)rand_below(&sim.rand, n);
}

static void output(unsigned i)
{
	struct host *h = &sim.host[i];
	struct tcp_tx tx[16];
	unsigned n, taken;

	h->again = false;
	for (unsigned rounds = 0; (n = tcp_output(h->t, tx, array_size(tx))) > 0; rounds++) {
		if (rounds > 100000)
			sim_fail("host %u sends without end", i);
		taken = port_takes(n);
		for (unsigned k = 0; k < taken; k++)
			transmit(i, &tx[k]);
		tcp_output_done(h->t, tx, n, taken);
		if (taken < n)
			break;
	}
	h->again = tcp_output_pending(h->t);
}

static void events(unsigned i)
{
	struct host *h = &sim.host[i];
	struct tcp_listener *l;
	struct tcp_conn *c;
	uint32_t bits;

	while ((l = tcp_accept_next(h->t)) != NULL)
		while ((c = tcp_accept(h->t, l)) != NULL) {
			tcp_conn_link(h->t, c, &h->link);
			app_accepted(c);
		}
	while ((c = tcp_event_next(h->t, &bits)) != NULL)
		app_event(i, c, bits);
}

void host_run(unsigned i)
{
	struct host *h = &sim.host[i];

	tcp_begin(h->t, sim.now);
	if (h->n_rx > 0 && h->poll_at <= sim.now)
		take_burst(h);
	for (unsigned rounds = 0; tcp_expire(h->t, 64) > 0; rounds++)
		if (rounds > 100000)
			sim_fail("host %u: timers are due without end", i);
	events(i);
	output(i);
	events(i);
	if (++sim.steps % CHECK_EVERY == 0)
		tcp_check_all(h->t);
}

uint64_t host_due(unsigned i)
{
	uint64_t due = tcp_deadline(sim.host[i].t);

	if (sim.host[i].again && due > sim.now + 20 * US)
		due = sim.now + 20 * US;
	if (sim.host[i].n_rx > 0 && sim.host[i].poll_at < due)
		due = sim.host[i].poll_at;
	return due;
}

static void count_one(void *arg, struct tcp_conn *c)
{
	++*(unsigned *)arg;
}

bool host_empty(unsigned i)
{
	uint32_t cursor = 0;
	unsigned n = 0;

	do
		tcp_each(sim.host[i].t, &cursor, 256, count_one, &n);
	while (cursor != 0);
	return n == 0 && sim.host[i].n_rx == 0;
}
