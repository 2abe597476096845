/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two hosts for the tests of src/sock, each with real protocols, sockets and one application whose
 * end of the channel the test plays. Between them is a wire that carries transport packets; time
 * moves a millisecond with each step. A test ends with every buffer at home.
 */
#ifndef ZS_TEST_SOCK_TEST_H
#define ZS_TEST_SOCK_TEST_H

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <rte_eal.h>

#include "sock/sock_priv.h"

/* No test needs all of these helpers. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define EVENTS_MAX 4096
#define WIRE_MAX   1024
#define SIDS	   1024

struct host {
	struct ip *ip;
	struct udp *udp;
	struct tcp *tcp;
	struct socks *socks;
	struct sock_app *app;
	struct ip_addr addr, addr6;
	struct chan_map map;
	struct chan_end end; /* the application's */
	uint64_t bytes;
	uint32_t ticket[SIDS];
	uint32_t next_token; /* of commands */
	struct chan_cqe ev[EVENTS_MAX];
	unsigned n_ev;
	uint32_t done[EVENTS_MAX];
	unsigned n_done;
	struct host *peer;
	struct drop_counters drops;
	bool hold_cq; /* the application does not read its events */
};

static struct host hosts[2];
#define A (&hosts[0])
#define B (&hosts[1])
static struct pkt_pools pools;
static struct sock_app_cfg b_cfg; /* how B's application is attached */
static int b_ports_bell = -1;	  /* B's ports are reserved elsewhere */
static struct host *guest;	  /* one more application of B, or NULL */
static uint64_t now;
static bool cut; /* the wire loses everything */
static struct chan_geometry geo;

static void lowest(struct rte_mempool *mp, void *arg, void *obj, unsigned i)
{
	uintptr_t *r = arg;

	if ((uintptr_t)obj < r[0])
		r[0] = (uintptr_t)obj;
	if ((uintptr_t)obj + 4096 > r[1])
		r[1] = (uintptr_t)obj + 4096;
}

static int eal_up(void **state)
{
	char *argv[] = {"test",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "128",	"--log-level=error"};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", 4095, 0, 0, 2048 + 128, 0);
	pools.hdr = rte_pktmbuf_pool_create("hdr", 4095, 0, 0, PKT_HDR_ROOM + 128, 0);
	pools.ref = rte_pktmbuf_pool_create("ref", 8191, 0, 0, 0, 0);
	return pools.rx && pools.hdr && pools.ref ? 0 : -1;
}

static int link_of(void *stack, const struct ip_addr *src, const struct ip_addr *dst,
		   struct tcp_link *out)
{
	if (ip_route_find(((struct host *)stack)->ip, dst) == NULL)
		return -ENETUNREACH;
	*out = (struct tcp_link){.mtu = 1500, .tso_segs = 1, .path = 1};
	return 0;
}

static struct ip_addr v4(uint8_t last)
{
	return ip_addr_v4(be32(0x0a000000u | last));
}

static struct ip_addr v6(uint8_t last)
{
	return (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = last}};
}

static void protocols_up(struct host *h, uint8_t last)
{
	struct ip_cfg ic;
	struct tcp_cfg tc;
	struct eth_addr mac = {{2, 0, 0, 0, 0, last}};
	struct ip_ifaddr a4 = {.addr = v4(last), .prefix_len = 24};
	struct ip_ifaddr a6 = {.addr = v6(last), .prefix_len = 64};

	ip_cfg_defaults(&ic);
	ic.pools = &pools;
	ic.drops = &h->drops;
	h->ip = ip_create(&ic);
	assert_non_null(h->ip);
	ip_begin(h->ip, now);
	assert_int_equal(ip_if_add(h->ip, 0, 1500, &mac), 0);
	assert_int_equal(ip_addr_add(h->ip, &a4), 0);
	assert_int_equal(ip_addr_add(h->ip, &a6), 0);
	h->addr = a4.addr;
	h->addr6 = a6.addr;
	h->udp = udp_create(256, last, &h->drops);
	assert_non_null(h->udp);
	tcp_cfg_defaults(&tc);
	tc.max_conns = 1024;
	tc.max_syn = 64;
	tc.seed = last;
	tc.msl_us = 20000;
	tc.syn_retries = 2;
	tc.retries_us = 3000000;
	tc.pools = &pools;
	tc.drops = &h->drops;
	memcpy(tc.secret, "0123456789abcdef", 16);
	h->tcp = tcp_create(&tc);
	assert_non_null(h->tcp);
	tcp_begin(h->tcp, now);
}

static void channel_up(struct host *h, struct sock_app_cfg cfg)
{
	struct chan_hdr hdr;

	h->bytes = chan_bytes(&geo);
	h->map.base = aligned_alloc(4096, h->bytes);
	h->map.arena = aligned_alloc(4096, geo.arena_bytes);
	h->map.arena_bytes = geo.arena_bytes;
	h->map.app_bell_fd = bell_open();
	h->map.stack_bell_fd = bell_open();
	memset(h->map.base, 0, h->bytes);
	chan_format(h->map.base, &geo);
	cfg.map = &h->map;
	assert_int_equal(socks_attach(h->socks, &cfg, &h->app), 0);
	assert_int_equal(chan_check(h->map.base, h->bytes, &hdr), 0);
	chan_attach(&h->end, &h->map, &hdr);
}

static void channel_down(struct host *h)
{
	free(h->map.base);
	free(h->map.arena);
	close(h->map.app_bell_fd);
	close(h->map.stack_bell_fd);
}

/* The application sees the buffers of this pool, and its own arena. */
static void show_pool(struct host *h, struct rte_mempool *pool)
{
	uintptr_t range[2] = {UINTPTR_MAX, 0};

	rte_mempool_obj_iter(pool, lowest, range);
	h->map.region[CHAN_REGION_ARENA].base = h->map.arena;
	h->map.region[CHAN_REGION_ARENA].bytes = h->map.arena_bytes;
	h->map.region[CHAN_REGION_PKT].base = (const void *)range[0];
	h->map.region[CHAN_REGION_PKT].bytes = range[1] - range[0];
}

/* An application of B's stack. */
static void app_up(struct host *h, struct sock_app_cfg cfg)
{
	memset(h, 0, sizeof(*h));
	h->socks = B->socks;
	channel_up(h, cfg);
	show_pool(h, cfg.own != NULL ? cfg.own : pools.rx);
}

static void app_down(struct host *h)
{
	socks_detach(B->socks, h->app, false);
	while (socks_reaped(B->socks) != NULL)
		;
	channel_down(h);
}

/* One that is a host of its own, and whose events are read. */
static void guest_up(struct host *h, struct sock_app_cfg cfg)
{
	app_up(h, cfg);
	h->addr = B->addr;
	h->addr6 = B->addr6;
	h->peer = A;
	guest = h;
}

static void guest_down(void)
{
	app_down(guest);
	guest = NULL;
}

static void fill_arena(struct host *h)
{
	for (uint32_t i = 0; i < CHAN_SEND_MAX; i++)
		((uint8_t *)h->map.arena)[i] = (uint8_t)i;
}

static void host_up(struct host *h, uint8_t last)
{
	struct socks_cfg c = {.pools = &pools, .seed = last, .link_of = link_of, .stack = h};

	memset(h, 0, sizeof(*h));
	protocols_up(h, last);
	c.ip = h->ip;
	c.udp = h->udp;
	c.tcp = h->tcp;
	c.drops = &h->drops;
	c.reserve = h == B && b_ports_bell >= 0;
	c.ports_bell = b_ports_bell;
	assert_int_equal(socks_create(&c, &h->socks), 0);
	socks_begin(h->socks, now);
	channel_up(h, h == B ? b_cfg : (struct sock_app_cfg){0});
	show_pool(h, h == B && b_cfg.own != NULL ? b_cfg.own : pools.rx);
}

static int setup(void **state)
{
	now = 1000000000000;
	cut = false;
	guest = NULL;
	chan_geometry_defaults(&geo);
	geo.max_sockets = SIDS;
	geo.arena_bytes = 4u << 20;
	return 0;
}

static void hosts_up(void)
{
	host_up(A, 1);
	host_up(B, 2);
	A->peer = B;
	B->peer = A;
}

static int setup_hosts(void **state)
{
	setup(state);
	hosts_up();
	return 0;
}

static void host_down(struct host *h)
{
	if (h->app != NULL)
		socks_detach(h->socks, h->app, true);
	h->app = NULL;
	tcp_check_all(h->tcp);
	tcp_destroy(h->tcp);
	while (socks_output_pending(h->socks)) {
		struct pkt p;

		if (socks_output(h->socks, &p, 1) == 1)
			pkt_free(p.m);
	}
	assert_true(list_empty(&h->socks->dying));
	assert_int_equal(h->socks->lent, 0);
	assert_int_equal(h->socks->n_socks, 0);
	socks_destroy(h->socks);
	udp_destroy(h->udp);
	ip_destroy(h->ip);
	channel_down(h);
}

static int teardown(void **state)
{
	host_down(A);
	host_down(B);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.hdr), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.ref), 0);
	return 0;
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* A packet as the other host's port would hand it over. */
static struct rte_mbuf *copy_of(struct rte_mbuf *m)
{
	struct rte_mbuf *head = NULL;
	uint32_t len = m->pkt_len;

	for (uint32_t off = 0; off == 0 || off < len; off += 2000) {
		uint32_t n = len - off < 2000 ? len - off : 2000;
		struct rte_mbuf *c = rte_pktmbuf_alloc(pools.rx);

		assert_non_null(c);
		pkt_copy_out(m, off, n, pkt_put(c, (uint16_t)n));
		if (head == NULL)
			head = c;
		else
			assert_int_equal(pkt_chain(head, c), 0);
	}
	return head;
}

static struct pkt received(const struct pkt *tx)
{
	struct pkt p = {.m = copy_of(tx->m),
			.proto = tx->proto,
			.src = tx->src,
			.dst = tx->dst,
			.ttl = tx->ttl != 0 ? tx->ttl : 64,
			.tos = tx->tos,
			.flags = PKT_F_CSUM_OK};

	p.l4_len = p.m->pkt_len;
	if (!ip_addr_is_v4(&p.dst))
		p.flags |= PKT_F_V6;
	return p;
}

static void deliver_tcp(struct host *h, const struct pkt *tx)
{
	struct pkt p = received(tx);
	struct tcp_seg seg;

	if (tcp_parse(h->tcp, &p, &seg) != NEXT_TCP) {
		pkt_drop(&h->drops, p.m, p.drop);
		return;
	}
	tcp_lookup(h->tcp, &p, &seg);
	tcp_input(h->tcp, &p, &seg);
}

/* What h received and nobody wanted; the last one. */
static enum next last_udp;

static void deliver_udp(struct host *h, const struct pkt *tx)
{
	struct pkt p = received(tx);
	struct udp_pcb *pcb;

	last_udp = udp_input(h->udp, &p, &pcb);
	if (last_udp != NEXT_CONSUMED) {
		pkt_drop(&h->drops, p.m, p.drop);
		return;
	}
	socks_udp_input(h->socks, pcb, &p);
}

static struct host *host_of(struct host *from, const struct ip_addr *dst)
{
	return ip_addr_eq(dst, &from->addr) ? from : from->peer;
}

/* Sequence number of the last segment that anybody sent. */
static uint32_t sent_seq;

static void note_seq(struct pkt *p)
{
	be32_t seq;

	memcpy(&seq, pkt_data(p->m) + 4, sizeof(seq));
	sent_seq = be32_host(seq);
}

static void transmit(struct host *h)
{
	struct tcp_tx tx[32];
	struct pkt p[32];
	unsigned n;

	while ((n = tcp_output(h->tcp, tx, 32)) != 0) {
		struct pkt sent[32];

		for (unsigned i = 0; i < n; i++)
			sent[i] = tx[i].p;
		tcp_output_done(h->tcp, tx, n, n);
		for (unsigned i = 0; i < n; i++) {
			note_seq(&sent[i]);
			if (!cut)
				deliver_tcp(host_of(h, &sent[i].dst), &sent[i]);
			pkt_free(sent[i].m);
		}
	}
	while ((n = socks_output(h->socks, p, 32)) != 0) {
		for (unsigned i = 0; i < n; i++) {
			if (!cut)
				deliver_udp(h->peer, &p[i]);
			pkt_free(p[i].m);
		}
	}
}

/* ---- the application's end ------------------------------------------------------------------- */

static void app_read(struct host *h)
{
	while (!h->hold_cq && chan_ready(&h->end.cq, sizeof(h->ev[0]))) {
		assert_true(h->n_ev < EVENTS_MAX);
		assert_true(chan_receive(&h->end.cq, &h->ev[h->n_ev++]));
	}
	while (chan_ready(&h->end.done, 4)) {
		assert_true(h->n_done < EVENTS_MAX);
		assert_true(chan_receive_name(&h->end.done, &h->done[h->n_done++]));
	}
}

static void host_step(struct host *h)
{
	ip_begin(h->ip, now);
	tcp_begin(h->tcp, now);
	socks_begin(h->socks, now);
	socks_commands(h->socks, 64);
	tcp_expire(h->tcp, 64);
	transmit(h);
	socks_publish(h->socks);
	if (h->app != NULL)
		app_read(h);
	if (h == B && guest != NULL)
		app_read(guest);
}

static void step(unsigned n)
{
	while (n-- != 0) {
		now += 1000000;
		host_step(A);
		host_step(B);
	}
}

static void push(struct host *h, const struct chan_sqe *q)
{
	assert_true(chan_free(&h->end.sq, 1) >= 1);
	chan_send(&h->end.sq, q);
}

/* With its ticket. */
static void submit(struct host *h, struct chan_sqe q)
{
	if (q.sid != 0)
		q.ticket = h->ticket[sid_index(q.sid)]++;
	push(h, &q);
}

static void give_back(struct host *h, uint32_t loan)
{
	chan_send_name(&h->end.ret, loan);
}

/* Takes the first event of that kind and socket (0 = any) out of those that came. */
static bool take(struct host *h, enum chan_ev ev, uint32_t sid, struct chan_cqe *out)
{
	for (unsigned i = 0; i < h->n_ev; i++) {
		if (h->ev[i].ev != ev || (sid != 0 && h->ev[i].sid != sid))
			continue;
		*out = h->ev[i];
		memmove(&h->ev[i], &h->ev[i + 1], (h->n_ev - i - 1) * sizeof(*out));
		h->n_ev--;
		return true;
	}
	return false;
}

static bool take_result(struct host *h, uint32_t token, struct chan_cqe *out)
{
	for (unsigned i = 0; i < h->n_ev; i++) {
		if (h->ev[i].ev != CHAN_EV_RESULT || h->ev[i].loan != token)
			continue;
		*out = h->ev[i];
		memmove(&h->ev[i], &h->ev[i + 1], (h->n_ev - i - 1) * sizeof(*out));
		h->n_ev--;
		return true;
	}
	return false;
}

static bool took_token(struct host *h, uint32_t token)
{
	for (unsigned i = 0; i < h->n_done; i++) {
		if (h->done[i] != token)
			continue;
		h->done[i] = h->done[--h->n_done];
		return true;
	}
	return false;
}

/* The event, within so many steps. */
static struct chan_cqe await(struct host *h, enum chan_ev ev, uint32_t sid, unsigned steps)
{
	struct chan_cqe e;

	for (unsigned i = 0; i <= steps; i++) {
		if (take(h, ev, sid, &e))
			return e;
		step(1);
	}
	fail_msg("no event %d of %x", ev, sid);
	return e;
}

/* Submits a command with a result and waits for it. */
static struct chan_cqe call(struct host *h, struct chan_sqe q)
{
	struct chan_cqe e;

	q.token = 0x10000 + h->next_token++;
	submit(h, q);
	for (unsigned i = 0; i < 20000; i++) {
		if (take_result(h, q.token, &e))
			return e;
		step(1);
	}
	fail_msg("no result of command %d", q.op);
	return e;
}

static uint32_t make_socket(struct host *h, int domain, int type)
{
	struct chan_sqe q = {.op = CHAN_OP_SOCKET, .arg = {domain, type, 0}};
	struct chan_cqe e = call(h, q);

	assert_int_equal(e.res, 0);
	h->ticket[sid_index(e.sid)] = 0;
	return e.sid;
}

static struct chan_sqe with_addr(uint8_t op, uint32_t sid, const struct ip_addr *a, uint16_t port)
{
	struct chan_sqe q = {.op = op, .sid = sid, .port = port};

	memcpy(q.addr, a, sizeof(*a));
	return q;
}

static int do_bind(struct host *h, uint32_t sid, const struct ip_addr *a, uint16_t port)
{
	return call(h, with_addr(CHAN_OP_BIND, sid, a, port)).res;
}

static int do_connect(struct host *h, uint32_t sid, const struct ip_addr *a, uint16_t port)
{
	return call(h, with_addr(CHAN_OP_CONNECT, sid, a, port)).res;
}

static int do_listen(struct host *h, uint32_t sid, int backlog)
{
	return call(h, (struct chan_sqe){.op = CHAN_OP_LISTEN, .sid = sid, .arg = {backlog}}).res;
}

static int do_close(struct host *h, uint32_t sid, int linger)
{
	return call(h, (struct chan_sqe){.op = CHAN_OP_CLOSE, .sid = sid, .arg = {linger}}).res;
}

static void do_send(struct host *h, uint32_t sid, uint64_t off, uint32_t len, uint32_t token)
{
	submit(h, (struct chan_sqe){
			  .op = CHAN_OP_SEND, .sid = sid, .off = off, .len = len, .token = token});
}

static int set_int(struct host *h, uint32_t sid, int level, int name, int value)
{
	struct chan_sqe q = {.op = CHAN_OP_SETOPT, .sid = sid, .len = sizeof(value)};

	q.opt.level = (int16_t)level;
	q.opt.name = (int16_t)name;
	memcpy(q.opt.value, &value, sizeof(value));
	return call(h, q).res;
}

static int get_int(struct host *h, uint32_t sid, int level, int name, int *value)
{
	struct chan_sqe q = {.op = CHAN_OP_GETOPT, .sid = sid};
	struct chan_cqe e;

	q.opt.level = (int16_t)level;
	q.opt.name = (int16_t)name;
	e = call(h, q);
	memcpy(value, e.data, sizeof(*value));
	return e.res;
}

/* A listener on B at port 80, a connection from A to it: both ends. */
static uint32_t listener, client, server;

static void connected_pair(void)
{
	struct ip_addr any = {0};

	listener = make_socket(B, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 16), 0);
	client = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(A, client, &B->addr, 80), 0);
	server = await(B, CHAN_EV_ACCEPT, listener, 10).aux;
	B->ticket[sid_index(server)] = 0;
}

static const uint8_t *bytes_of(struct host *h, const struct chan_cqe *e)
{
	const void *p = chan_at(&h->map, e->region, e->off, (uint32_t)e->res);

	assert_non_null(p);
	return p;
}

#endif
