/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections driven by bytes: segments near the right ones, user calls, steps of time, a port that
 * takes what it likes, allocations that fail (H22). After each step all invariants of the engine
 * are checked; what it sends must be well-formed and carry the bytes that were written; in the end
 * nothing may be left. H06, H07, H08, H11, H13, H14.
 *
 * The input is a row of steps: a byte for the kind, then what the kind needs. Four peers share one
 * engine. A segment's numbers are given relative to what the engine said last, so that most of them
 * mean something.
 */
#include "fuzz.h"

#include <errno.h>

#include "base/csum.h"
#include "lab.h"
#include "tcp/tcp.h"

#define PEERS	  4
#define STEPS_MAX 400

struct peer {
	struct tcp_conn *c;
	uint64_t written;
	uint32_t irs;
	bool base_known;  /* with the first data that it sends */
	uint32_t base;	  /* number of its first byte */
	uint32_t snd_max; /* highest end of the engine's segments */
	uint32_t ack;	  /* what it acknowledged last: our next number */
	uint32_t ts;	  /* its time-stamp */
	uint32_t charge, lent;
};

static struct {
	struct tcp *t;
	struct tcp_listener *l;
	struct drop_counters drops;
	struct tcp_link link;
	uint64_t now;
	bool v6;
	struct peer peer[PEERS];
} f;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	lab_start(2048, 512, 2048);
	return 0;
}

static struct ip_addr addr(uint8_t last)
{
	return f.v6 ? (struct ip_addr){.b = {0xfd, [15] = last}}
		    : ip_addr_v4(be32(0x0a000000u | last));
}

static uint16_t port_of(unsigned i)
{
	return (uint16_t)(1000 + i);
}

static void listen_again(void)
{
	struct tcp_listen l = {.lport = 80, .backlog = 2};

	if (f.l == NULL && tcp_listen(f.t, &l, &f.l) != 0)
		f.l = NULL;
}

static void up(struct choices *c)
{
	uint8_t how = choose8(c);
	struct tcp_cfg cfg;

	memset(&f, 0, sizeof(f));
	f.v6 = how & 1;
	f.now = 1000000000ull + (uint64_t)choose16(c) * 4000 * 65536; /* anywhere on the circle */
	tcp_cfg_defaults(&cfg);
	cfg.max_conns = 3;
	cfg.max_syn = how & 2 ? 1 : 4;
	cfg.pools = &lab_pools;
	cfg.drops = &f.drops;
	cfg.seed = 1;
	if (how & 4)
		cfg.rcvbuf_bytes = cfg.rcvbuf_max_bytes = 16384;
	if (how & 8)
		cfg.mem_max_bytes = 65536;
	f.link = (struct tcp_link){.mtu = 1500,
				   .tso_segs = how & 16 ? 8 : 1,
				   .tso_bytes = 20000,
				   .l4_csum = how & 32,
				   .inline_all = how & 64};
	f.t = tcp_create(&cfg);
	expect(f.t != NULL);
	tcp_begin(f.t, f.now);
	tcp_default_link(f.t, f.v6, &f.link);
	for (unsigned i = 0; i < PEERS; i++)
		f.peer[i].irs = f.peer[i].ack = i % 2 ? 0xffffff00u : 0x7fffff00u;
	listen_again();
}

/* ---- what the engine sends ---- */

static void learn(struct peer *p, const struct lab_seg *s)
{
	uint32_t end = s->seq + s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);

	if (s->flags & TCP_SYN)
		p->snd_max = s->seq;
	if ((int32_t)(end - p->snd_max) > 0)
		p->snd_max = end;
	if (s->flags & TCP_ACK)
		p->ack = s->ack;
	if (s->opts.have_ts)
		p->ts = s->opts.ts_val;
}

static void check_payload(struct peer *p, unsigned i, const struct lab_seg *s)
{
	if (s->len > 0 && !p->base_known) {
		p->base = s->seq;
		p->base_known = true;
	}
	for (uint32_t k = 0; k < s->len; k++)
		expect(s->payload[k] == lab_byte(s->seq - p->base + k, i));
}

static void check_sent(struct tcp_tx *tx)
{
	static uint8_t bytes[LAB_SEG_MAX];
	struct ip_addr us = addr(1), them = addr(2);
	unsigned i = tx->p.dport - 1000u;
	struct lab_seg s;

	if (tx->p.flags & PKT_F_L4_CSUM)
		lab_csum_complete(&tx->p);
	expect(lab_seg_read(tx->p.m, 0, &us, &them, bytes, &s));
	expect(tx->p.flags & PKT_F_TSO || tx->p.m->pkt_len + (f.v6 ? 40 : 20) <= f.link.mtu);
	if (i >= PEERS)
		return;
	learn(&f.peer[i], &s);
	check_payload(&f.peer[i], i, &s);
}

static void output(unsigned take)
{
	struct tcp_tx tx[8];
	unsigned n = tcp_output(f.t, tx, array_size(tx));
	unsigned taken = n < take ? n : take;

	for (unsigned i = 0; i < taken; i++) {
		check_sent(&tx[i]);
		pkt_free(tx[i].p.m);
	}
	tcp_output_done(f.t, tx, n, taken);
}

/* ---- segments in ---- */

static void put_options(struct tcp_opts *o, struct choices *c, uint8_t which, struct peer *p)
{
	if (which & 1) {
		o->have_ts = true;
		o->ts_val = (uint32_t)(f.now / 1000000) + (which & 64 ? choose32(c) : 0);
		o->ts_ecr = p->ts + (which & 32 ? (uint32_t)(int8_t)choose8(c) : 0);
	}
	if (which & 2) {
		o->have_mss = true;
		o->mss = choose16(c);
	}
	if (which & 4) {
		o->have_wscale = true;
		o->wscale = choose8(c);
	}
	o->sack_ok = which & 8;
	if (which & 16 && !(which & 14)) {
		o->n_sack = (uint8_t)(1 + choose8(c) % 3);
		for (unsigned i = 0; i < o->n_sack; i++) {
			o->sack[i].start = p->snd_max - choose16(c);
			o->sack[i].end = o->sack[i].start + choose16(c);
		}
	}
}

static void give(const uint8_t *bytes, uint32_t n, uint32_t cut)
{
	struct ip_addr us = addr(1), them = addr(2);
	struct pkt p = lab_rx(&them, &us, bytes, n, cut);
	struct tcp_seg s = {0};

	if (p.m == NULL)
		return;
	if (tcp_parse(f.t, &p, &s) != NEXT_TCP) {
		expect(p.drop > DROP_NONE && p.drop < DROP_MAX);
		pkt_drop(&f.drops, p.m, p.drop);
		return;
	}
	tcp_lookup(f.t, &p, &s);
	tcp_input(f.t, &p, &s);
}

static uint32_t seq_near(struct choices *c, uint32_t base, uint8_t how)
{
	switch (how & 3) {
	case 0:
	case 1:
		return base;
	case 2:
		return base + (uint32_t)(int16_t)choose16(c);
	default:
		return choose32(c);
	}
}

static void segment(struct choices *c, struct peer *p, unsigned i)
{
	static const uint8_t usual[] = {TCP_ACK,	   TCP_ACK | TCP_PSH, TCP_SYN,
					TCP_SYN | TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST,
					TCP_RST | TCP_ACK, TCP_ACK | TCP_URG};
	static uint8_t payload[4096], bytes[LAB_SEG_MAX];
	uint8_t how = choose8(c), kind = choose8(c), opts = choose8(c);
	struct lab_seg s = {.src = addr(2),
			    .dst = addr(1),
			    .sport = port_of(i),
			    .dport = 80,
			    .flags = kind & 0x80 ? choose8(c) : usual[kind % 8],
			    .wnd = kind & 0x40 ? choose16(c) : 60000,
			    .urg = kind & 0x20 ? choose16(c) : 1,
			    .payload = payload};
	uint32_t n;

	s.seq = seq_near(c, s.flags & TCP_SYN ? p->irs : p->ack, how);
	s.ack = seq_near(c, p->snd_max, how >> 2);
	s.len = kind & 8 ? 0 : kind & 16 ? choose16(c) % 4096 : choose8(c);
	put_options(&s.opts, c, opts, p);
	if (s.flags & TCP_SYN)
		p->irs = s.seq;
	n = lab_seg_write(&s, bytes);
	if (how & 0x80 && n > 20) {
		/* a header byte spoiled, the checksum made good again */
		uint16_t sum = 0;

		bytes[choose8(c) % 60 % n] ^= choose8(c);
		memcpy(bytes + 16, &sum, 2);
		sum = csum_finish(csum_add(csum_pseudo(0, s.src.b, s.dst.b, f.v6, 6, n), bytes, n));
		memcpy(bytes + 16, &sum, 2);
	}
	give(bytes, n, how & 0x40 ? 33 : 2000);
}

/* ---- user calls ---- */

static void user_send(struct choices *c, struct peer *p, unsigned i)
{
	uint32_t n = choose16(c) % 6000;
	uint8_t flags = choose8(c);
	static uint8_t bytes[6000];
	struct rte_mbuf *m;

	for (uint32_t k = 0; k < n; k++)
		bytes[k] = lab_byte(p->written + k, i);
	m = lab_packet(bytes, n, 0, flags & 8 ? 100 : 2000);
	if (m == NULL)
		return;
	if (tcp_send(f.t, p->c, m, flags & 7) == 0)
		p->written += n;
	else
		pkt_free(m);
}

static void user_recv(struct choices *c, struct peer *p)
{
	struct rte_mbuf *m = tcp_recv(f.t, p->c, 1 + choose8(c) % 8);

	if (m == NULL)
		return;
	expect(m->pkt_len > 0);
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
		p->charge += pkt_charge(s);
	p->lent += m->pkt_len;
	pkt_free(m);
}

static void user_recv_done(struct peer *p)
{
	tcp_recv_done(f.t, p->c, p->charge, p->lent);
	p->charge = p->lent = 0;
}

static void user_option(struct choices *c, struct peer *p)
{
	struct tcp_opt o;
	uint16_t bits = choose16(c);

	tcp_opt_get(p->c, &o);
	o.nodelay = bits & 1;
	o.cork = bits & 2;
	o.keepalive = bits & 4;
	o.quickack = bits & 8;
	o.oob_inline = bits & 16;
	o.keepidle_s = 1 + (bits >> 5 & 7);
	o.keepintvl_s = 1 + (bits >> 5 & 7);
	o.keepcnt = 1 + (bits >> 8 & 3);
	if (bits & 0x1000)
		o.user_timeout_ms = choose16(c);
	if (bits & 0x2000)
		o.sndbuf = o.rcvbuf = choose16(c);
	if (bits & 0x4000)
		strcpy(o.cc, bits & 0x8000 ? "newreno" : "cubic");
	(void)!tcp_opt_set(f.t, p->c, &o);
}

static void user_open(struct peer *p, unsigned i)
{
	struct tcp_open o = {
		.key = {.laddr = addr(1), .raddr = addr(2), .lport = 80, .rport = port_of(i)},
		.link = f.link};

	if (tcp_connect(f.t, &o, &p->c) != 0) {
		p->c = NULL; /* the last one may still live */
		return;
	}
	p->written = 0;
	p->base_known = false;
}

static void user_accept(void)
{
	struct tcp_conn *c;
	unsigned i;

	(void)tcp_accept_next(f.t);
	if (f.l == NULL || (c = tcp_accept(f.t, f.l)) == NULL)
		return;
	tcp_conn_link(f.t, c, &f.link);
	i = tcp_conn_key(c)->rport - 1000u;
	if (i >= PEERS || f.peer[i].c != NULL) {
		tcp_abort(f.t, c);
		return;
	}
	f.peer[i].c = c;
	f.peer[i].written = 0;
	f.peer[i].base_known = false;
}

/* The handshake of peer i, from its side or from ours, so that not every input has to find it. */
static void open_peer(unsigned i, bool active, bool options)
{
	static uint8_t bytes[LAB_SEG_MAX];
	struct peer *p = &f.peer[i];
	struct lab_seg s = {.src = addr(2),
			    .dst = addr(1),
			    .sport = port_of(i),
			    .dport = 80,
			    .seq = p->irs,
			    .wnd = 60000,
			    .flags = TCP_SYN};

	s.opts = (struct tcp_opts){.have_mss = true,
				   .mss = 1460,
				   .have_ts = options,
				   .sack_ok = options,
				   .have_wscale = options,
				   .wscale = 3};
	if (active) {
		user_open(p, i);
		output(8);
		s.flags |= TCP_ACK;
	}
	s.ack = p->snd_max;
	s.opts.ts_val = (uint32_t)(f.now / 1000000);
	s.opts.ts_ecr = p->ts;
	give(bytes, lab_seg_write(&s, bytes), 2000);
	output(8);
	if (active)
		return;
	s.flags = TCP_ACK;
	s.seq++;
	s.ack = p->snd_max;
	s.opts = (struct tcp_opts){.have_ts = options, .ts_val = s.opts.ts_val, .ts_ecr = p->ts};
	give(bytes, lab_seg_write(&s, bytes), 2000);
	user_accept();
}

static void let_go(struct peer *p, bool orderly)
{
	if (orderly)
		tcp_close(f.t, p->c);
	else
		tcp_abort(f.t, p->c);
	p->c = NULL;
	p->charge = p->lent = 0;
}

static void user_ask(struct peer *p)
{
	struct tcp_info_full info;

	tcp_conn_info(f.t, p->c, &info);
	(void)tcp_conn_urg(p->c);
	(void)tcp_send_space(p->c);
	expect(info.state <= TCP_TIME_WAIT);
}

static void user(struct choices *c, struct peer *p, unsigned i)
{
	uint8_t what = choose8(c);

	if (p->c == NULL) {
		if (what & 1)
			user_open(p, i);
		else
			user_accept();
		return;
	}
	switch (what % 11) {
	case 0:
	case 1:
	case 2:
		user_send(c, p, i);
		break;
	case 3:
	case 4:
		user_recv(c, p);
		break;
	case 5:
		user_recv_done(p);
		break;
	case 6:
		user_option(c, p);
		break;
	case 7:
		(void)!tcp_shutdown_send(f.t, p->c);
		break;
	case 8:
		tcp_shutdown_recv(f.t, p->c);
		break;
	case 9:
		let_go(p, what & 0x80);
		break;
	case 10:
		user_ask(p);
		break;
	}
}

/* ---- the rest ---- */

static void pass_time(struct choices *c)
{
	static const uint64_t unit[] = {1000, 1000000, 100000000, 60000000000};
	uint8_t how = choose8(c);
	uint64_t due = tcp_deadline(f.t);

	if (how & 1 && due != TCP_NEVER && due > f.now)
		f.now = due;
	else
		f.now += unit[how >> 1 & 3] * (how >> 3);
	tcp_begin(f.t, f.now);
	for (unsigned i = 0; tcp_expire(f.t, 4) > 0; i++)
		expect(i < 10000);
}

static void icmp(struct choices *c, struct peer *p, unsigned i)
{
	static const int errs[] = {EMSGSIZE, EMSGSIZE, ECONNREFUSED, EHOSTUNREACH};
	uint8_t how = choose8(c);
	struct tcp_icmp e = {
		.key = {.laddr = addr(1), .raddr = addr(2), .lport = 80, .rport = port_of(i)},
		.seq = seq_near(c, p->snd_max - 1, how >> 4),
		.err = errs[how & 3],
		.hard = how & 4,
		.mtu = choose16(c)};

	tcp_icmp_error(f.t, &e);
}

static void drain_events(void)
{
	uint32_t bits;

	for (unsigned i = 0; tcp_event_next(f.t, &bits) != NULL; i++)
		expect(i < 100 && bits != 0);
}

static void step(struct choices *c)
{
	uint8_t kind = choose8(c);
	unsigned i = kind >> 4 & 3;
	struct peer *p = &f.peer[i];

	tcp_begin(f.t, f.now);
	switch (kind & 15) {
	default:
		segment(c, p, i);
		break;
	case 6:
	case 7:
	case 8:
		user(c, p, i);
		break;
	case 9:
	case 10:
		output(kind & 0x80 ? 100 : kind >> 6);
		break;
	case 11:
		pass_time(c);
		break;
	case 12:
		icmp(c, p, i);
		break;
	case 13:
		lab_fail_at(choose8(c) % 16);
		break;
	case 14:
		drain_events();
		break;
	case 15:
		if (f.l != NULL)
			tcp_unlisten(f.t, f.l);
		f.l = NULL;
		if (kind & 0x40)
			listen_again();
		break;
	}
	tcp_check_all(f.t);
}

static void down(void)
{
	lab_fail_at(-1);
	for (unsigned i = 0; i < PEERS; i++)
		if (f.peer[i].c != NULL)
			let_go(&f.peer[i], i & 1);
	for (unsigned i = 0; i < 50; i++)
		output(100);
	tcp_check_all(f.t);
	tcp_destroy(f.t);
	expect(lab_in_use() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};
	uint8_t begin;

	up(&c);
	begin = choose8(&c);
	if (begin & 1)
		open_peer(0, false, begin & 4);
	if (begin & 2)
		open_peer(1, true, begin & 8);
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++)
		step(&c);
	down();
	return 0;
}
