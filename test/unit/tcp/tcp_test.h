/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One engine and a peer made of hand-written segments, for the tests of the engine's core. Numbers
 * are relative to the streams' beginnings: SYN is 0, the first byte of data 1. What the engine sends
 * is compared as whole lines:
 *
 *	rx((struct in){.flags = "S", .seq = 0, .mss = 1460});
 *	expect("SA 0:0 ack 1 win 65535 mss 1460");
 *
 * Payload in both directions is byte_at(position), so that misplaced bytes are noticed. A test ends
 * with every buffer at home.
 */
#ifndef ZS_TEST_TCP_TEST_H
#define ZS_TEST_TCP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <rte_eal.h>

#include "base/csum.h"
#include "tcp/tcp_priv.h"

/* No test needs all of these helpers. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define MS	  1000000ull
#define PEER_PORT 2000
#define OUR_PORT  80

static struct pkt_pools pools;
static struct drop_counters drops;
static struct tcp *t;
static struct tcp_conn *conn;
static struct tcp_listener *listener;
static struct tcp_cfg cfg;
static uint64_t now;
static bool v6;		   /* both ends */
static uint32_t peer_isn;  /* data wraps at once (H14) */
static uint16_t peer_port; /* of segments that come in */
static struct ip_addr peer_addr;
static uint16_t peer_flags; /* PKT_F_… of them */
static uint32_t iss;	    /* of the engine, from its last SYN */
static bool have_iss;
static uint32_t peer_ts; /* sent with each segment when ts_on */
static bool ts_on;
static uint32_t last_ts, last_ecr; /* of the last segment that the engine sent */
static uint64_t got_bytes;	   /* read by the application so far */

struct in {
	const char *flags;
	uint32_t seq, ack, len;
	uint32_t wnd; /* 0: 60000; 1: really 0 */
	uint16_t mss, urg;
	bool ws, sack_ok, no_ts, bad_csum;
	uint8_t wscale;
	struct {
		uint32_t start, end;
	} sack[4];
};

static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 131 + (position >> 8) * 17);
}

static int start(void **state)
{
	char *argv[] = {"test",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "128",	"--log-level=error"};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", 8191, 0, 0, 2048 + 128, 0);
	pools.hdr = rte_pktmbuf_pool_create("hdr", 4095, 0, 0, PKT_HDR_ROOM + 128, 0);
	pools.ref = rte_pktmbuf_pool_create("ref", 8191, 0, 0, 0, 0);
	return pools.rx && pools.hdr && pools.ref ? 0 : -1;
}

static struct ip_addr addr(uint8_t last)
{
	if (v6)
		return (struct ip_addr){.b = {0xfd, [15] = last}};
	return ip_addr_v4(be32(0x0a000000u | last));
}

static void set_time(uint64_t ns)
{
	now = ns;
	tcp_begin(t, now);
}

static void after_ms(uint64_t ms)
{
	set_time(now + ms * MS);
}

static void make_engine(void)
{
	cfg.pools = &pools;
	cfg.drops = &drops;
	t = tcp_create(&cfg);
	assert_non_null(t);
	set_time(1000000 * MS);
}

static void default_cfg(void)
{
	tcp_cfg_defaults(&cfg);
	cfg.max_conns = 1024;
	cfg.max_syn = 64;
	cfg.rcvbuf_bytes = 1u << 20;
	cfg.seed = 1;
	memcpy(cfg.secret, "0123456789abcdef", 16);
}

static int setup(void **state)
{
	memset(&drops, 0, sizeof(drops));
	conn = NULL;
	listener = NULL;
	have_iss = false;
	ts_on = false;
	peer_ts = 5000;
	peer_isn = 0xfffffff0;
	v6 = false;
	peer_port = PEER_PORT;
	peer_addr = addr(2);
	peer_flags = 0;
	got_bytes = 0;
	default_cfg();
	make_engine();
	return 0;
}

static int teardown(void **state)
{
	tcp_check_all(t);
	tcp_destroy(t);
	return rte_mempool_in_use_count(pools.rx) + rte_mempool_in_use_count(pools.hdr) +
				       rte_mempool_in_use_count(pools.ref) ==
			       0
		       ? 0
		       : -1;
}

/* ---- the peer sends -------------------------------------------------------------------------- */

static uint8_t flags_of(const char *s)
{
	uint8_t f = 0;

	for (; *s; s++)
		f |= *s == 'S'	 ? TCP_SYN
		     : *s == 'A' ? TCP_ACK
		     : *s == 'F' ? TCP_FIN
		     : *s == 'R' ? TCP_RST
		     : *s == 'P' ? TCP_PSH
		     : *s == 'U' ? TCP_URG
				 : 0;
	return f;
}

static unsigned build_opts(const struct in *in, uint8_t *out)
{
	struct tcp_opts_out o = {.mss = in->mss,
				 .have_wscale = in->ws,
				 .wscale = in->wscale,
				 .sack_ok = in->sack_ok,
				 .have_ts = ts_on && !in->no_ts,
				 .ts_val = peer_ts,
				 .ts_ecr = last_ts};

	for (; o.n_sack < 4 && in->sack[o.n_sack].end != 0; o.n_sack++) {
		o.sack[o.n_sack].start = iss + in->sack[o.n_sack].start;
		o.sack[o.n_sack].end = iss + in->sack[o.n_sack].end;
	}
	return tcp_opts_write(out, &o);
}

/* A packet as the stack hands it over: 34 bytes of lower headers in front. */
static struct pkt build(const struct in *in)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);
	struct pkt p = {.m = m,
			.l4_off = 34,
			.src = peer_addr,
			.dst = addr(1),
			.proto = TCP_PROTO,
			.flags = (uint16_t)(peer_flags | (v6 ? PKT_F_V6 : 0))};
	uint8_t *at = pkt_put(m, 34 + 20);
	struct tcp_hdr *h = (struct tcp_hdr *)(at + 34);
	unsigned opts = build_opts(in, at + 54);
	uint32_t wnd = in->wnd == 0 ? 60000 : in->wnd == 1 ? 0 : in->wnd;

	pkt_put(m, (uint16_t)opts);
	*h = (struct tcp_hdr){.sport = be16(peer_port),
			      .dport = be16(OUR_PORT),
			      .seq = be32(peer_isn + in->seq),
			      .ack = be32((flags_of(in->flags) & TCP_ACK) ? iss + in->ack : 0),
			      .off = tcp_hdr_off(opts),
			      .flags = flags_of(in->flags),
			      .win = be16((uint16_t)wnd),
			      .urg = be16(in->urg)};
	for (uint32_t i = 0; i < in->len; i++)
		*pkt_put(m, 1) = byte_at(in->seq + i);
	p.l4_len = m->pkt_len - 34;
	h->csum.v = csum_finish(
		csum_add(csum_pseudo(0, p.src.b, p.dst.b, v6, TCP_PROTO, p.l4_len), h, p.l4_len));
	if (in->bad_csum)
		h->csum.v ^= 0x1234;
	return p;
}

static enum next rx_pkt(struct pkt *p)
{
	struct tcp_seg s;
	enum next n = tcp_parse(t, p, &s);

	if (n != NEXT_TCP) {
		pkt_drop(&drops, p->m, p->drop);
		return n;
	}
	tcp_lookup(t, p, &s);
	tcp_input(t, p, &s);
	return n;
}

static void rx(struct in in)
{
	struct pkt p = build(&in);

	rx_pkt(&p);
}

/* ---- what the engine sends ------------------------------------------------------------------- */

static char *put_flags(char *s, uint8_t f)
{
	static const struct {
		uint8_t bit;
		char c;
	} names[] = {{TCP_SYN, 'S'}, {TCP_FIN, 'F'}, {TCP_RST, 'R'},
		     {TCP_PSH, 'P'}, {TCP_ACK, 'A'}, {TCP_URG, 'U'}};

	for (unsigned i = 0; i < array_size(names); i++)
		if (f & names[i].bit)
			*s++ = names[i].c;
	*s = 0;
	return s;
}

static char *put_opts(char *s, const struct tcp_hdr *h, unsigned len)
{
	struct tcp_opts o;

	assert_int_equal(tcp_opts_parse((const uint8_t *)(h + 1), len, h->flags & TCP_SYN, &o), 0);
	if (o.have_mss)
		s += sprintf(s, " mss %u", o.mss);
	if (o.have_wscale)
		s += sprintf(s, " ws %u", o.wscale);
	if (o.sack_ok)
		s += sprintf(s, " sackok");
	if (o.have_ts) {
		s += sprintf(s, " ts");
		last_ts = o.ts_val;
		last_ecr = o.ts_ecr;
	}
	for (unsigned i = 0; i < o.n_sack; i++)
		s += sprintf(s, "%s%u-%u", i == 0 ? " sack " : ",", o.sack[i].start - peer_isn,
			     o.sack[i].end - peer_isn);
	return s;
}

/* The checksum of a segment without TSO must become right by adding the rest up. */
static void check_csum(const struct tcp_tx *tx)
{
	uint16_t sum;

	assert_true(tx->p.flags & PKT_F_L4_CSUM);
	assert_int_equal(tx->p.l4_len, tx->p.m->pkt_len);
	if (tx->p.flags & PKT_F_TSO)
		return;
	sum = ((const struct tcp_hdr *)pkt_data(tx->p.m))->csum.v;
	assert_int_equal(sum,
			 csum_fold(csum_pseudo(0, tx->p.src.b, tx->p.dst.b, tx->p.flags & PKT_F_V6,
					       TCP_PROTO, tx->p.l4_len)));
}

static void check_payload(const struct tcp_tx *tx, uint32_t seq, unsigned hdr)
{
	uint8_t b;

	for (uint32_t i = hdr; i < tx->p.m->pkt_len; i++) {
		assert_int_equal(pkt_copy_out(tx->p.m, i, 1, &b), 1);
		assert_int_equal(b, byte_at(seq + i - hdr));
	}
}

static void segment_text(const struct tcp_tx *tx, char *s)
{
	const struct tcp_hdr *h = (const struct tcp_hdr *)pkt_data(tx->p.m);
	unsigned hdr = tcp_hdr_len(h);
	uint32_t len = tx->p.m->pkt_len - hdr, seq;

	if (h->flags & TCP_SYN) {
		iss = be32_host(h->seq);
		have_iss = true;
	}
	check_csum(tx);
	seq = be32_host(h->seq) - (have_iss ? iss : 0);
	check_payload(tx, seq, hdr);
	s = put_flags(s, h->flags);
	s += sprintf(s, " %u:%u", seq, seq + len);
	if (h->flags & TCP_ACK)
		s += sprintf(s, " ack %u", be32_host(h->ack) - peer_isn);
	if (!(h->flags & TCP_RST))
		s += sprintf(s, " win %u", be16_host(h->win));
	s = put_opts(s, h, hdr - 20);
	if (h->flags & TCP_URG)
		s += sprintf(s, " urg %u", be16_host(h->urg));
	if (tx->p.flags & PKT_F_TSO)
		sprintf(s, " tso %u", tx->p.m->tso_segsz);
}

#define OUT_MAX 64
static char out_text[OUT_MAX][200];
static unsigned n_out;

/* Pulls what the engine wants to send, of which the port takes all but the last `refuse`. */
static unsigned pull_refusing(unsigned refuse)
{
	struct tcp_tx tx[OUT_MAX];
	unsigned n = tcp_output(t, tx, OUT_MAX), taken = n > refuse ? n - refuse : 0;

	for (unsigned i = 0; i < n; i++)
		segment_text(&tx[i], out_text[i]);
	for (unsigned i = 0; i < taken; i++)
		pkt_free(tx[i].p.m);
	tcp_output_done(t, tx, n, taken);
	n_out = n;
	return n;
}

static unsigned pull(void)
{
	return pull_refusing(0);
}

/* The window's figure may be left out of an expected line: then it is not compared. */
static void compare_line(const char *want, const char *got, const char *file, int line)
{
	char stripped[200];
	const char *win = strstr(got, " win ");

	strcpy(stripped, got);
	if (win != NULL && strstr(want, " win ") == NULL) {
		const char *rest = strchr(win + 5, ' ');

		sprintf(stripped + (win - got), "%s", rest != NULL ? rest : "");
	}
	if (strcmp(want, stripped) != 0)
		print_error("%s:%d:\n  want %s\n  got  %s\n", file, line, want, stripped);
	_assert_int_equal(strcmp(want, stripped), 0, file, line);
}

static void expect_lines(const char *file, int line, unsigned n, const char *const *want)
{
	pull();
	if (n != n_out)
		for (unsigned i = 0; i < n_out; i++)
			print_error("%s:%d: got %s\n", file, line, out_text[i]);
	_assert_int_equal(n_out, n, file, line);
	for (unsigned i = 0; i < n; i++)
		compare_line(want[i], out_text[i], file, line);
}

/* Exactly these segments are sent now. */
#define expect(...)                                                                                \
	expect_lines(__FILE__, __LINE__,                                                           \
		     sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                 \
		     (const char *[]){__VA_ARGS__})
#define expect_nothing() expect_lines(__FILE__, __LINE__, 0, NULL)

/* ---- the application ------------------------------------------------------------------------- */

static struct rte_mbuf *data(uint64_t position, uint32_t len)
{
	struct rte_mbuf *first = NULL, *last = NULL;

	while (len > 0) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);
		uint16_t n = (uint16_t)(len < 2000 ? len : 2000);

		assert_non_null(m);
		for (uint16_t i = 0; i < n; i++)
			*pkt_put(m, 1) = byte_at(position++);
		if (first == NULL) {
			first = m;
		} else {
			last->next = m;
			first->nb_segs++;
			first->pkt_len += n;
		}
		last = m;
		len -= n;
	}
	return first;
}

/* Sends the next len bytes of our stream. */
static void app_send_flags(uint32_t len, unsigned flags)
{
	uint64_t at = conn->sndq.end_off - tcp_iss(conn);

	assert_int_equal(tcp_send(t, conn, data(at, len), flags), 0);
}

static void app_send(uint32_t len)
{
	app_send_flags(len, 0);
}

/* Reads all there is, checks it, gives it back. Returns the bytes. */
static uint32_t app_read(void)
{
	struct rte_mbuf *m = tcp_recv(t, conn, 1000);
	uint32_t len, charge = 0;
	uint8_t b;

	if (m == NULL)
		return 0;
	len = m->pkt_len;
	for (uint32_t i = 0; i < len; i++) {
		pkt_copy_out(m, i, 1, &b);
		assert_int_equal(b, byte_at(1 + got_bytes + i));
	}
	for (struct rte_mbuf *s = m; s != NULL; s = s->next)
		charge += pkt_charge(s);
	got_bytes += len;
	pkt_free(m);
	tcp_recv_done(t, conn, charge, len);
	return len;
}

/* The events of the one connection; 0 when there are none. */
static uint32_t events(void)
{
	uint32_t ev = 0;
	struct tcp_conn *c = tcp_event_next(t, &ev);

	assert_true(c == NULL || c == conn);
	return ev;
}

/* ---- states ---------------------------------------------------------------------------------- */

static void open_listener(void)
{
	struct tcp_listen l = {.lport = OUR_PORT, .backlog = 8};

	assert_int_equal(tcp_listen(t, &l, &listener), 0);
}

static void open_active_opt(const struct tcp_opt *opt)
{
	struct tcp_open o = {
		.key = {.laddr = addr(1), .raddr = addr(2), .lport = OUR_PORT, .rport = PEER_PORT},
		.link = {.mtu = 1500, .tso_segs = 1},
		.opt = opt};

	assert_int_equal(tcp_connect(t, &o, &conn), 0);
}

static void open_active(void)
{
	open_active_opt(NULL);
}

enum { WITH_TS = 1, WITH_SACK = 2, WITH_WS = 4, NAGLE = 8 };

/* ESTABLISHED by active open; the handshake took 1 ms. Segments carry mss 1000. */
static void establish(unsigned with)
{
	struct tcp_opt opt;

	tcp_opt_defaults(t, &opt);
	opt.nodelay = !(with & NAGLE);
	open_active_opt(&opt);
	assert_int_equal(pull(), 1);
	after_ms(1);
	ts_on = with & WITH_TS;
	rx((struct in){.flags = "SA",
		       .ack = 1,
		       .mss = (uint16_t)(1000 + ((with & WITH_TS) ? 12 : 0)),
		       .ws = with & WITH_WS,
		       .wscale = 0,
		       .sack_ok = with & WITH_SACK});
	assert_int_equal(pull(), 1);
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_int_equal(events(), TCP_EV_CONNECTED | TCP_EV_SPACE);
	conn->quickacks = 0; /* tests of delayed ACKs want it so */
}

/* Runs timers up to `ms` from now, without output in between. */
static void expire_after_ms(uint64_t ms)
{
	after_ms(ms);
	while (tcp_expire(t, 64) > 0)
		;
}

#endif
