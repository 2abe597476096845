/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An application that writes what it likes into its channel: commands, returned buffers, ring
 * indices (H32, H33, H34), while allocations fail (H22). Its peer is an engine that sends back what
 * it gets; datagrams bounce. A neighbour of it, out of whose arena it may send at times, writes
 * over that at any moment, dies and comes again. Whatever they do, nothing is read outside of the
 * arenas (of exactly their size, so that the sanitizer sees it), or after one was unmapped, and in
 * the end every buffer and every token has come home.
 *
 * The input is a row of steps: a byte for the kind, then what the kind needs. Names are chosen so
 * that most of them exist.
 */
#include "fuzz.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "lab.h"
#include "sock/sock_priv.h"
#include "tcp/tcp.h"

#define STEPS_MAX 400
#define NAMES	  8
#define ARENA	  65536u
#define US	  1u /* numbers of the applications */
#define NEAR	  2u

static struct {
	struct ip *ip;
	struct udp *udp;
	struct tcp *tcp, *peer;
	struct tcp_listener *echo;
	struct socks *socks;
	struct sock_app *app;
	struct chan_map map;
	struct chan_end end; /* the application's */
	struct chan_map near_map;
	struct sock_app *near; /* the neighbour; NULL while it is dead */
	struct drop_counters drops;
	uint32_t loan[NAMES]; /* heard of */
	unsigned next_loan;
	uint64_t now;
} f;
static struct ip_addr us, them;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	lab_start(512, 512, 512);
	return 0;
}

static int link_of(void *stack, const struct ip_addr *src, const struct ip_addr *dst,
		   struct tcp_link *out)
{
	*out = (struct tcp_link){.mtu = 1500, .tso_segs = 1, .path = 1};
	return 0;
}

static struct tcp *engine(void)
{
	struct tcp_cfg c;
	struct tcp *t;

	tcp_cfg_defaults(&c);
	c.max_conns = 16;
	c.max_syn = 8;
	c.seed = 1;
	c.pools = &lab_pools;
	c.drops = &f.drops;
	t = tcp_create(&c);
	expect(t != NULL);
	tcp_begin(t, f.now);
	return t;
}

static void widen(struct rte_mempool *mp, void *arg, void *obj, unsigned i)
{
	uintptr_t *r = arg, at = (uintptr_t)obj;

	r[0] = at < r[0] ? at : r[0];
	r[1] = at + 4096 > r[1] ? at + 4096 : r[1];
}

static void protocols_up(void)
{
	struct eth_addr mac = {{2, 0, 0, 0, 0, 1}};
	struct ip_ifaddr a = {.prefix_len = 24};
	struct ip_cfg c;

	us = a.addr = ip_addr_v4(be32(0x0a000001));
	them = ip_addr_v4(be32(0x0a000002));
	ip_cfg_defaults(&c);
	c.pools = &lab_pools;
	c.drops = &f.drops;
	f.ip = ip_create(&c);
	f.udp = udp_create(16, 1, &f.drops);
	expect(f.ip != NULL && f.udp != NULL);
	ip_begin(f.ip, f.now);
	expect(ip_if_add(f.ip, 0, 1500, &mac) == 0 && ip_addr_add(f.ip, &a) == 0);
	f.tcp = engine();
	f.peer = engine();
	expect(tcp_listen(f.peer, &(struct tcp_listen){.lport = 80, .backlog = 8}, &f.echo) == 0);
}

static const struct chan_geometry geometry = {.sq_size = 16,
					      .cq_size = 16,
					      .ret_size = 16,
					      .done_size = 16,
					      .max_loans = 16,
					      .max_tokens = 16,
					      .max_sockets = NAMES,
					      .arena_bytes = ARENA};

static struct sock_app *attach(struct chan_map *m, uint32_t id)
{
	uintptr_t range[2] = {UINTPTR_MAX, 0};
	struct sock_app *a;

	rte_mempool_obj_iter(lab_pools.rx, widen, range);
	*m = (struct chan_map){.app_bell_fd = -1, .stack_bell_fd = -1};
	m->region[CHAN_REGION_PKT].base = (const void *)range[0];
	m->region[CHAN_REGION_PKT].bytes = range[1] - range[0];
	m->base = aligned_alloc(4096, chan_bytes(&geometry));
	memset(m->base, 0, chan_bytes(&geometry));
	m->arena = calloc(1, ARENA);
	m->arena_bytes = ARENA;
	chan_format(m->base, &geometry);
	expect(socks_attach(f.socks, &(struct sock_app_cfg){.map = m, .id = id}, &a) == 0);
	return a;
}

static void unmap(struct chan_map *m)
{
	free(m->base);
	free(m->arena);
	*m = (struct chan_map){.base = NULL};
}

static void channel_up(void)
{
	struct chan_hdr hdr;

	f.app = attach(&f.map, US);
	f.near = attach(&f.near_map, NEAR);
	expect(chan_check(f.map.base, chan_bytes(&geometry), &hdr) == 0);
	chan_attach(&f.end, &f.map, &hdr);
}

static void up(void)
{
	struct socks_cfg c = {.pools = &lab_pools, .link_of = link_of, .drops = &f.drops};

	memset(&f, 0, sizeof(f));
	f.now = 1000000000;
	protocols_up();
	c.ip = f.ip;
	c.udp = f.udp;
	c.tcp = f.tcp;
	expect(socks_create(&c, &f.socks) == 0);
	socks_begin(f.socks, f.now);
	channel_up();
}

/* ---- the wire ---- */

static void to_engine(struct tcp *t, const struct pkt *tx)
{
	static uint8_t bytes[LAB_SEG_MAX];
	uint32_t n = pkt_copy_out(tx->m, 0, sizeof(bytes), bytes);
	struct pkt p = lab_rx(&tx->src, &tx->dst, bytes, n, 0);
	struct tcp_seg seg;

	if (p.m == NULL)
		return;
	if (tcp_parse(t, &p, &seg) != NEXT_TCP) {
		pkt_free(p.m);
		return;
	}
	tcp_lookup(t, &p, &seg);
	tcp_input(t, &p, &seg);
}

static void segments(struct tcp *from, struct tcp *to)
{
	struct tcp_tx tx[8];
	unsigned n = tcp_output(from, tx, 8);
	struct pkt p[8];

	for (unsigned i = 0; i < n; i++)
		p[i] = tx[i].p;
	tcp_output_done(from, tx, n, n);
	for (unsigned i = 0; i < n; i++) {
		to_engine(to, &p[i]);
		pkt_free(p[i].m);
	}
}

/* What it gets goes back. */
static void peer_echo(void)
{
	uint32_t events;
	struct tcp_conn *c;
	struct rte_mbuf *m;

	while (tcp_accept_next(f.peer) != NULL)
		while ((c = tcp_accept(f.peer, f.echo)) != NULL)
			tcp_conn_set_user(c, 1);
	while ((c = tcp_event_next(f.peer, &events)) != NULL) {
		while ((m = tcp_recv(f.peer, c, 1)) != NULL) {
			uint32_t charge = pkt_charge(m), bytes = m->data_len;

			if (tcp_send(f.peer, c, m, 0) != 0)
				pkt_free(m);
			tcp_recv_done(f.peer, c, charge, bytes);
		}
		if (events & TCP_EV_ERROR)
			tcp_abort(f.peer, c);
		else if (events & TCP_EV_FIN)
			tcp_close(f.peer, c);
	}
}

static void datagrams(void)
{
	static uint8_t bytes[65536];
	struct pkt tx;

	while (socks_output(f.socks, &tx, 1) == 1) {
		uint32_t n = pkt_copy_out(tx.m, 0, sizeof(bytes), bytes);
		struct udp_pcb *pcb;
		struct pkt p;

		memcpy(bytes, &(be16_t[2]){be16(tx.dport), be16(tx.sport)}, 4);
		memset(bytes + 6, 0, 2);
		pkt_free(tx.m);
		p = lab_rx(&tx.dst, &tx.src, bytes, n, 700);
		if (p.m == NULL)
			continue;
		p.proto = IPPROTO_UDP;
		p.flags |= PKT_F_CSUM_OK;
		if (udp_input(f.udp, &p, &pcb) == NEXT_CONSUMED)
			socks_udp_input(f.socks, pcb, &p);
		else
			pkt_free(p.m);
	}
}

static void poll_once(uint32_t ms)
{
	f.now += (uint64_t)ms * 1000000;
	tcp_begin(f.tcp, f.now);
	tcp_begin(f.peer, f.now);
	socks_begin(f.socks, f.now);
	socks_commands(f.socks, 16);
	tcp_expire(f.tcp, 16);
	tcp_expire(f.peer, 16);
	segments(f.tcp, f.peer);
	peer_echo();
	segments(f.peer, f.tcp);
	datagrams();
	socks_publish(f.socks);
	(void)socks_deadline(f.socks);
	if (socks_arm(f.socks))
		socks_disarm(f.socks);
}

/* ---- the application ---- */

static uint32_t a_sid(struct choices *c)
{
	uint8_t b = choose8(c);
	struct sock *k = b % NAMES < f.app->socks.used ? slab_at(&f.app->socks, b % NAMES) : NULL;

	return b >= 240 || k == NULL ? choose32(c) : k->sid;
}

static uint32_t a_loan(struct choices *c)
{
	uint8_t b = choose8(c);

	return b < 240 ? f.loan[b % NAMES] : choose32(c);
}

static uint32_t a_ticket(struct choices *c, uint32_t sid)
{
	struct sock *k = sock_find(f.app, sid);
	uint8_t b = choose8(c);

	if (k == NULL || b >= 250)
		return choose32(c);
	return k->ticket + (b < 200 ? 0 : b - 200u);
}

static void a_destination(struct choices *c, struct chan_sqe *q)
{
	uint8_t b = choose8(c);

	if (b & 1)
		memcpy(q->addr, b & 2 ? &them : &us, sizeof(us));
	q->port = b & 4 ? 80 : choose16(c);
}

static void command(struct choices *c)
{
	struct chan_ring *r = &f.end.sq;
	struct chan_sqe q = {.op = choose8(c)};

	if (q.op < 240)
		q.op %= CHAN_OP_MAX;
	q.flags = choose8(c);
	q.sid = a_sid(c);
	q.ticket = a_ticket(c, q.sid);
	q.token = choose8(c);
	q.len = choose16(c) + (q.flags & 1);
	q.off = q.flags & 2 ? (uint64_t)choose32(c) << (q.flags & 32) : choose8(c);
	if (q.flags & 64)
		q.off = (uint64_t)NEAR << 32 | choose16(c);
	if (q.op == CHAN_OP_SEND_LOAN)
		q.loan = a_loan(c);
	if (q.op == CHAN_OP_SOCKET) {
		q.arg[0] = choose8(c) & 1 ? AF_INET6 : AF_INET;
		q.arg[1] = choose8(c) & 1 ? SOCK_DGRAM : SOCK_STREAM;
	} else if (q.op == CHAN_OP_BIND || q.op == CHAN_OP_CONNECT || q.op == CHAN_OP_SENDTO) {
		a_destination(c, &q);
	} else {
		choose_bytes(c, q.data, choose8(c) % (CHAN_DATA_MAX + 1));
	}
	if (chan_free(r, 1) == 0)
		return;
	chan_send(r, &q);
}

static void give_back(uint32_t loan)
{
	struct chan_ring *r = &f.end.ret;

	if (chan_free(r, 1) == 0)
		return;
	chan_send_name(r, loan);
}

static void read_events(uint32_t most)
{
	struct chan_cqe e;
	uint32_t token;

	for (; most != 0 && chan_receive(&f.end.cq, &e); most--)
		if (e.ev == CHAN_EV_DATA || e.ev == CHAN_EV_DGRAM)
			f.loan[f.next_loan++ % NAMES] = e.loan;
	while (chan_receive_name(&f.end.done, &token))
		;
}

static void lie(struct choices *c)
{
	struct chan_idx *idx[] = {&f.end.sh->sq, &f.end.sh->cq, &f.end.sh->ret, &f.end.sh->done};
	uint8_t b = choose8(c);
	struct chan_ring *r = b & 1 ? &f.end.sq : &f.end.ret;
	uint32_t bytes = b & 1 ? 64 : 4;

	if (b & 4)
		atomic_store(&idx[b & 3]->head, b & 8 ? choose32(c) : choose8(c));
	else if (b & 8)
		atomic_fetch_xor(chan_word(r, r->own + choose8(c), bytes), CHAN_MARK);
	else
		for (uint32_t i = 0; i <= r->mask; i++)
			atomic_fetch_xor(chan_word(r, i, bytes), CHAN_MARK);
}

static void neighbour(struct choices *c)
{
	uint8_t b = choose8(c);

	switch (b % 4) {
	case 0:
		if (f.near != NULL)
			socks_link_up(f.app, f.near, (const uint32_t[]){5, 5});
		break;
	case 1:
		if (b & 16)
			socks_unview(f.app, NEAR);
		break;
	case 2:
		if (f.near_map.arena !=
		    NULL) /* also that of the dead is mapped by whoever has it */
			memset(f.near_map.arena, b, ARENA);
		break;
	default:
		if (f.near != NULL && (b & 16))
			socks_detach(f.socks, f.near, b & 32);
		if (b & 16)
			f.near = NULL;
		if (socks_reaped(f.socks) == &f.near_map) {
			unmap(&f.near_map);
			f.near = attach(&f.near_map, NEAR);
		}
	}
}

static void step(struct choices *c)
{
	switch (choose8(c) % 14) {
	case 12:
	case 13:
		neighbour(c);
		break;
	case 0:
		give_back(a_loan(c));
		break;
	case 1:
		read_events(choose8(c));
		break;
	case 2:
		poll_once(choose16(c));
		break;
	case 3:
		lie(c);
		break;
	case 4:
		lab_fail_at(choose8(c));
		break;
	case 5:
	case 6:
		poll_once(1);
		read_events(16);
		break;
	default:
		command(c);
	}
}

static void down(bool orderly)
{
	const struct chan_map *home;
	uint32_t cursor = 0;
	unsigned n = 0;

	lab_fail_at(-1);
	socks_detach(f.socks, f.app, orderly);
	datagrams();
	socks_bring_home(f.socks, &f.map, &cursor);
	expect(cursor == 0 && socks_abroad(f.socks, &f.map) == 0);
	if (f.near != NULL)
		socks_detach(f.socks, f.near, false);
	expect(f.socks->lent == 0 && f.socks->n_socks == 0);
	tcp_check_all(f.tcp);
	tcp_destroy(f.tcp);
	tcp_destroy(f.peer);
	while ((home = socks_reaped(f.socks)) != NULL)
		n += home == &f.map || home == &f.near_map;
	expect(n == 2);
	socks_destroy(f.socks);
	udp_destroy(f.udp);
	ip_destroy(f.ip);
	expect(lab_in_use() == 0);
	unmap(&f.map);
	unmap(&f.near_map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};
	bool orderly = choose8(&c) & 1;

	up();
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++)
		step(&c);
	down(orderly);
	return 0;
}
