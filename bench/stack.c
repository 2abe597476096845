/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the whole stack costs without a link: from the Ethernet frame through the channel to the
 * program's socket calls and back. The port is one of DPDK's null ports; in place of src/dev's
 * burst functions stands a peer, as small as a TCP can be: it answers a frame by the next request.
 * Its cycles are counted apart and taken off.
 *
 *	stack [--conns 256] [--seconds 2] [--size 64] [--zc] [--requests N] [--idle]
 *
 * Prints cycles of the time-stamp counter per request and response. With --idle the connections are
 * opened, accepted, watched by an epoll set, and that is all: prints the memory of each, in all
 * rooms together. bench/rooms runs it under callgrind and says how the instructions fall to the
 * rooms.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/csum.h"
#include "dev/dev.h"
#include "net.h"
#include "tsc.h"
#include "wire/arp.h"
#include "wire/eth.h"
#include "wire/ip4.h"

#define OWN_IP	   "10.0.0.1"
#define PEER_IP	   0x0a000002u
#define STACK_IP   0x0a000001u
#define PEER_PORT0 10000
#define PEER_PORTS 50000 /* of each of the peer's addresses */
#define CONN_MAX   1100000
#define ASKED	   256 /* requests at a time: with more connections they take turns */
#define QUEUE	   65536
#define TCP_HDR	   32 /* with timestamps */
#define FRONT	   (14 + 20)

static struct {
	unsigned conns, size;
	double seconds;
	uint64_t requests;
	bool zc, idle;
} opt = {.conns = 256, .size = 64, .seconds = 2};

/* The peer's side of a connection. */
struct peer {
	uint32_t snd_nxt, rcv_nxt, ts_recent, got;
	bool established;
};

static struct peer peer[CONN_MAX];
static struct rte_mbuf *queue[QUEUE];
static unsigned q_head, q_tail, opened, established, accepted, accept_most = CONN_MAX;
static uint64_t port_cycles, answers;
static uint32_t next_ask; /* whose turn it is */
static bool listening, ending;
static struct eth_addr mac = {{2, 0, 0, 0, 0, 2}}, stack_mac;
static struct rte_mempool *pool; /* of received packets, as src/dev names it */

static void put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

/* ---- the peer ---- */

static uint8_t *frame(unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (m == NULL || q_tail - q_head == QUEUE) {
		fprintf(stderr, "stack: the peer has no buffer\n");
		exit(1);
	}
	queue[q_tail++ % QUEUE] = m;
	return pkt_put(m, (uint16_t)len);
}

static void segment(unsigned i, uint8_t flags, unsigned payload)
{
	static const uint8_t syn_opts[20] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0,
					     0, 1, 0,	 0,    0, 0, 1, 3,  3, 8};
	struct peer *c = &peer[i];
	bool syn = flags & 2;
	unsigned hdr = syn ? 40 : TCP_HDR;
	uint8_t *f = frame(FRONT + hdr + payload), *ip = f + 14, *t = f + FRONT;
	uint16_t sum;

	memcpy(f, &stack_mac, 6);
	memcpy(f + 6, &mac, 6);
	put16(f + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20 + hdr + payload);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 6;
	put32(ip + 12, PEER_IP + i / PEER_PORTS);
	put32(ip + 16, STACK_IP);
	sum = csum_finish(csum_add(0, ip, 20));
	memcpy(ip + 10, &sum, 2);
	put16(t, PEER_PORT0 + i % PEER_PORTS);
	put16(t + 2, 7);
	put32(t + 4, c->snd_nxt);
	put32(t + 8, c->rcv_nxt);
	t[12] = (uint8_t)(hdr / 4 << 4);
	t[13] = flags;
	put16(t + 14, 65535);
	memset(t + 16, 0, 4);
	if (syn) {
		memcpy(t + 20, syn_opts, sizeof(syn_opts));
	} else {
		put32(t + 20, 0x0101080a);
		put32(t + 24, 1);
		put32(t + 28, c->ts_recent);
	}
	memset(t + hdr, 'q', payload);
	c->snd_nxt += payload + syn;
	/* The checksum is left out: rx says that the port verified it. */
}

static void arp_reply(const uint8_t *f)
{
	uint8_t *r = frame(60);

	memset(r, 0, 60);
	memcpy(r, f + 6, 6);
	memcpy(r + 6, &mac, 6);
	memcpy(r + 12, f + 12, 8);
	put16(r + 20, 2);
	memcpy(r + 22, &mac, 6);
	memcpy(r + 28, f + 38, 4);
	memcpy(r + 32, f + 22, 10);
}

static void on_segment(uint32_t peer_ip, const uint8_t *t, unsigned len)
{
	unsigned i = (peer_ip - PEER_IP) * PEER_PORTS + get16(t + 2) - PEER_PORT0;
	unsigned hdr = (t[12] >> 4) * 4u, payload = len - hdr;
	struct peer *c = &peer[i];

	if (i >= opt.conns)
		return;
	if ((t[13] & 4) && !ending) {
		fprintf(stderr, "stack: connection %u was reset\n", i);
		exit(1);
	}
	if (t[13] & 2) {
		if (c->established)
			return;
		c->established = true;
		established++;
		c->rcv_nxt = get32(t + 4) + 1;
		for (const uint8_t *o = t + 20; o < t + hdr && *o != 0; o += *o == 1 ? 1 : o[1])
			if (*o == 8)
				c->ts_recent = get32(o + 2);
		segment(i, 0x10, 0);
		return;
	}
	if (payload == 0 || get32(t + 4) != c->rcv_nxt)
		return;
	c->ts_recent = get32(t + 24);
	c->rcv_nxt += payload;
	c->got += payload;
	if (c->got < opt.size)
		return;
	c->got = 0;
	answers++;
	if (opt.conns <= ASKED) {
		segment(i, 0x18, opt.size);
		return;
	}
	segment(i, 0x10, 0); /* its next request comes much later */
	segment(next_ask++ % opt.conns, 0x18, opt.size);
}

static void on_frame(const uint8_t *f)
{
	unsigned type = get16(f + 12);

	if (type == 0x0806 && get16(f + 20) == 1 && get32(f + 38) != STACK_IP)
		arp_reply(f);
	else if (type == 0x0800 && f[23] == 6)
		on_segment(get32(f + 30), f + FRONT, get16(f + 16) - 20);
}

static void open_some(void)
{
	for (unsigned k = 0; k < 16 && opened < opt.conns && opened - accepted < 256; k++) {
		peer[opened].snd_nxt = 1000 * opened;
		segment(opened++, 2, 0);
	}
}

/* When all are open. */
static void ask_first(void)
{
	unsigned n = opt.conns < ASKED ? opt.conns : ASKED;

	for (unsigned i = 0; i < n; i++)
		segment(i, 0x18, opt.size);
	next_ask = ASKED;
}

/* ---- the port: these stand in for dev_rx.c and dev_tx.c ---- */

unsigned dev_rx_burst(struct dev *d, uint16_t q, struct pkt *p, unsigned n,
		      struct drop_counters *drops)
{
	uint64_t at = tsc();
	unsigned k;

	if (unlikely(pool == NULL)) {
		pool = rte_mempool_lookup("zs_rx_0");
		stack_mac = dev_mac(d);
	}
	if (listening && opened < opt.conns)
		open_some();
	else if (!opt.idle && accepted == opt.conns && next_ask < ASKED)
		ask_first();
	for (k = 0; k < n && q_head != q_tail; k++) {
		p[k].m = queue[q_head++ % QUEUE];
		p[k].flags = PKT_F_CSUM_OK;
	}
	port_cycles += tsc() - at;
	return k;
}

unsigned dev_tx_room(struct dev *d, uint16_t q, unsigned n)
{
	return n < PKT_BURST ? n : PKT_BURST;
}

unsigned dev_tx_burst(struct dev *d, uint16_t q, struct pkt *p, unsigned n,
		      const struct pkt_pools *pools, struct drop_counters *drops, uint64_t *copied)
{
	uint64_t at = tsc();

	for (unsigned i = 0; i < n; i++)
		on_frame(pkt_data(p[i].m));
	/* What a port does with a sent frame: that belongs to the stack's cost. */
	port_cycles += tsc() - at;
	for (unsigned i = 0; i < n; i++)
		pkt_free(p[i].m);
	return n;
}

/* ---- the program ---- */

static char buf[65536];

static void echo(int fd)
{
	ssize_t n;

	if (opt.zc) {
		n = net_echo_zc(fd);
	} else {
		n = net_read(fd, buf, sizeof(buf));
		if (n > 0)
			n = net_write(fd, buf, (size_t)n);
	}
	if (n <= 0 && n != -EAGAIN) {
		fprintf(stderr, "stack: echo: %s\n", strerror((int)-n));
		exit(1);
	}
}

static void turn(int ep, int listener)
{
	struct epoll_event ev[64];
	int n = net_epoll_wait(ep, ev, 64, 0, false);

	for (int i = 0; i < n; i++) {
		int fd;

		if (ev[i].data.fd != listener) {
			echo(ev[i].data.fd);
			continue;
		}
		while (accepted < accept_most && (fd = net_accept(listener)) >= 0) {
			net_epoll_ctl(ep, EPOLL_CTL_ADD, fd,
				      &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
			accepted++;
		}
	}
}

static void measure(int ep, int listener)
{
	static double all[4096], port[4096];
	unsigned n = 0;
	uint64_t end;

	while (accepted < opt.conns || answers < 20ull * opt.conns)
		turn(ep, listener);
	end = clock_now_ns() + (uint64_t)(opt.seconds * 1e9);
	while (n < 4096 && clock_now_ns() < end) {
		uint64_t at = tsc(), was = answers, port_was = port_cycles;

		while (answers - was < 2000)
			turn(ep, listener);
		all[n] = (double)(tsc() - at) / (double)(answers - was);
		port[n++] = (double)(port_cycles - port_was) / (double)(answers - was);
	}
	printf("conns=%u size=%u zc=%d stack_cycles=%.0f peer_cycles=%.0f\n", opt.conns, opt.size,
	       opt.zc, median(all, n) - median(port, n), median(port, n));
}

static double resident_bytes(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		exit(1);
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void accept_until(int ep, int listener, unsigned n)
{
	accept_most = n;
	while (accepted < n)
		turn(ep, listener);
}

/* The first ones pay for what all share. The peer's own record is taken off. */
static void measure_idle(int ep, int listener)
{
	const unsigned warm = opt.conns / 50;
	double before;

	accept_until(ep, listener, warm);
	before = resident_bytes();
	accept_until(ep, listener, opt.conns);
	printf("conns=%u idle_bytes=%.0f\n", opt.conns,
	       (resident_bytes() - before) / (opt.conns - warm) - sizeof(struct peer));
}

static void options(int argc, char **argv)
{
	static const struct option names[] = {{"conns", 1, NULL, 'n'},
					      {"size", 1, NULL, 'b'},
					      {"seconds", 1, NULL, 't'},
					      {"zc", 0, NULL, 'z'},
					      {"requests", 1, NULL, 'r'},
					      {"idle", 0, NULL, 'i'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'n')
			opt.conns = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'b')
			opt.size = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 't')
			opt.seconds = strtod(optarg, NULL);
		else if (c == 'r')
			opt.requests = strtoull(optarg, NULL, 0);
		else if (c == 'z')
			opt.zc = true;
		else if (c == 'i')
			opt.idle = true;
		else
			exit(2);
	}
	if (opt.conns == 0 || opt.conns > CONN_MAX || opt.size == 0 || opt.size > 1448) {
		fprintf(stderr,
			"usage: %s [--conns 1-%d] [--size 1-1448] [--seconds S] [--zc] "
			"[--requests N] [--idle]\n",
			argv[0], CONN_MAX);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	char *args[] = {"stack",	 "--vdev",  "net_null0", "--addr", OWN_IP "/24",
			"--max-sockets", "1200000", "--no-huge", NULL};
	int n = (int)array_size(args) - 2, ep, listener;

	options(argc, argv);
	/* With --requests it runs under valgrind, which has no room for EAL's reservations. */
	n += opt.requests != 0;
	net_start(&n, args);
	ep = net_epoll_create();
	listener = net_listen(AF_INET, 7);
	net_epoll_ctl(ep, EPOLL_CTL_ADD, listener,
		      &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
	listening = true;
	if (opt.idle)
		measure_idle(ep, listener);
	else if (opt.requests == 0)
		measure(ep, listener);
	while (answers < opt.requests)
		turn(ep, listener);
	/* To wait for the peer, which closes nothing, would be counted as the requests'. */
	if (opt.requests != 0)
		_exit(0);
	ending = true;
	net_stop();
	return 0;
}
