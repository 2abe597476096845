/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the TCP engine costs without a link: two engines back to back in one thread, joined by their
 * seam (tcp.h) alone. The segments of one are handed to the other as they are, checksums
 * unverified: memory, copies and checksums are the link's and are measured with it.
 *
 *	engine [--no-huge] [rr|bulk|scale|idle]...
 *
 * rr     a request and a response of 64 bytes: cycles of each call of one side
 * bulk   cycles for a data segment sent, received, an acknowledgement received
 * scale  requests over 1,024 and over 65,536 connections
 * idle   memory of an established connection that does nothing
 *
 * Cycles are of the time-stamp counter, medians over batches. Run it on an idle core.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rand.h"
#include "dev/dev.h"
#include "tcp/tcp.h"
#include "tsc.h"

#define BATCH	 32
#define PORT	 80
#define SAMPLES	 20000
#define MSG	 64
#define CONN_MAX (1u << 20)

/* Calls of the engine that are measured apart. */
enum stage { S_INPUT, S_EVENT, S_RECV, S_SEND, S_OUTPUT, S_DONE, STAGES };
static const char *const stage_name[STAGES] = {
	"input (parse, look up, process)", "event",	  "recv, recv_done", "send",
	"output (segment made)",	   "output_done",
};

struct side {
	struct tcp *t;
	struct pkt_pools pools;
	struct drop_counters drops;
	struct tcp_listener *listener;
	struct tcp_conn **conn;
	uint64_t cycles[STAGES];
	uint64_t segs_in, segs_out;
	uint8_t *send_buf;
};

static struct side client, server;
static uint64_t now_ns = 1000000000;
static double per_ns;
static double sample[STAGES + 1][SAMPLES];

static void die(const char *what)
{
	fprintf(stderr, "engine: %s\n", what);
	exit(1);
}

static void side_make(struct side *s, unsigned id)
{
	struct tcp_cfg cfg;
	char err[200];

	if (s->pools.rx == NULL &&
	    dev_pools_create(id, 8192, 131072, 0, NULL, &s->pools, err, sizeof(err)) < 0)
		die(err);
	tcp_cfg_defaults(&cfg);
	cfg.max_conns = CONN_MAX + 1024;
	cfg.pools = &s->pools;
	cfg.drops = &s->drops;
	cfg.seed = id;
	cfg.secret[0] = (uint8_t)id;
	s->t = tcp_create(&cfg);
	if (s->conn == NULL)
		s->conn = calloc(CONN_MAX, sizeof(struct tcp_conn *));
	if (s->t == NULL || s->conn == NULL)
		die("no memory");
	/* The header's sum is the port's work here: it is no part of the engine's. */
	tcp_default_link(s->t, false,
			 &(struct tcp_link){.mtu = 1500, .tso_segs = 1, .l4_csum = true});
}

static void begin(void)
{
	now_ns += 10000; /* about what a batch takes */
	tcp_begin(client.t, now_ns);
	tcp_begin(server.t, now_ns);
}

static void receive(struct side *s, struct tcp_tx *tx, unsigned n)
{
	struct tcp_seg seg[PKT_BURST];
	struct pkt *burst[PKT_BURST];
	uint64_t at;

	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = burst[i] = &tx[i].p;

		p->flags = PKT_F_CSUM_OK;
		p->l3_off = p->l4_off = 0;
		p->l4_len = p->m->pkt_len;
		p->path = 0;
	}
	at = tsc();
	for (unsigned i = 0; i < n; i++)
		if (tcp_parse(s->t, &tx[i].p, &seg[i]) != NEXT_TCP)
			die("a segment was refused");
	for (unsigned i = 0; i < n; i++)
		tcp_lookup(s->t, &tx[i].p, &seg[i]);
	tcp_input_burst(s->t, burst, seg, n);
	s->cycles[S_INPUT] += tsc() - at;
	s->segs_in += n;
}

/* What `from` has to send goes to `to`. */
static unsigned carry(struct side *from, struct side *to)
{
	struct tcp_tx tx[PKT_BURST];
	unsigned all = 0, n;

	do {
		struct tcp_tx sent[PKT_BURST];
		uint64_t at = tsc(), mid;

		n = tcp_output(from->t, tx, PKT_BURST);
		mid = tsc();
		memcpy(sent, tx, n * sizeof(*tx));
		from->cycles[S_OUTPUT] += mid - at;
		at = tsc();
		tcp_output_done(from->t, tx, n, n);
		from->cycles[S_DONE] += tsc() - at;
		from->segs_out += n;
		receive(to, sent, n);
		all += n;
	} while (n == PKT_BURST);
	return all;
}

/* Bytes in the application's memory, as a send of the channel has them: each send with a count of
 * its own. */
static struct rte_mbuf_ext_shared_info shared[1 << 20];
static unsigned next_shared;

static void ext_free(void *addr, void *arg)
{
}

static void send_bytes(struct side *s, struct tcp_conn *c, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->pools.ref);
	struct rte_mbuf_ext_shared_info *info = &shared[next_shared++ % array_size(shared)];

	if (m == NULL)
		die("no buffer to send");
	info->free_cb = ext_free;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, s->send_buf, RTE_BAD_IOVA, UINT16_MAX, info);
	m->data_off = 0;
	m->data_len = len;
	m->pkt_len = len;
	if (tcp_send(s->t, c, m, TCP_SEND_COPIED) != 0)
		die("tcp_send");
}

static void receive_all(struct side *s, struct tcp_conn *c)
{
	struct rte_mbuf *m;

	while ((m = tcp_recv(s->t, c, 16)) != NULL) {
		uint32_t charge = 0, bytes = m->pkt_len;

		for (struct rte_mbuf *seg = m; seg != NULL; seg = seg->next)
			charge += pkt_charge(seg);
		rte_pktmbuf_free(m);
		tcp_recv_done(s->t, c, charge, bytes);
	}
}

/* Takes all events; what was received is thrown away. Returns connections that had data. */
static unsigned take(struct side *s, struct tcp_conn **ready)
{
	struct tcp_conn *c;
	uint32_t ev;
	unsigned n = 0;
	uint64_t at = tsc(), mid;

	while (n < PKT_BURST * 4 && (c = tcp_event_next(s->t, &ev)) != NULL)
		if (ev & TCP_EV_DATA)
			ready[n++] = c;
	mid = tsc();
	s->cycles[S_EVENT] += mid - at;
	for (unsigned i = 0; i < n; i++)
		receive_all(s, ready[i]);
	s->cycles[S_RECV] += tsc() - mid;
	return n;
}

static void connect_one(unsigned i)
{
	struct tcp_open o = {.link = {.mtu = 1500, .tso_segs = 1, .l4_csum = true}};
	int rc;

	o.key.laddr = ip_addr_v4(be32(0x0a000000 + 2 + i / 50000));
	o.key.raddr = ip_addr_v4(be32(0x0a000001));
	o.key.lport = (uint16_t)(1024 + i % 50000);
	o.key.rport = PORT;
	rc = tcp_connect(client.t, &o, &client.conn[i]);
	if (rc < 0)
		die(strerror(-rc));
}

static void connect_all(unsigned from, unsigned to)
{
	struct tcp_conn *ready[PKT_BURST * 4];
	unsigned accepted = from;

	for (unsigned i = from; i < to;) {
		for (unsigned k = 0; k < BATCH && i < to; k++)
			connect_one(i++);
		begin();
		while (carry(&client, &server) + carry(&server, &client) != 0)
			;
		take(&client, ready);
		while (tcp_accept_next(server.t) != NULL)
			while (accepted < to && (server.conn[accepted] = tcp_accept(
							 server.t, server.listener)) != NULL)
				accepted++;
		take(&server, ready);
	}
	if (accepted != to)
		die("not every connection was accepted");
}

static void make(void)
{
	struct tcp_listen l = {
		.laddr = ip_addr_v4(be32(0x0a000001)), .lport = PORT, .backlog = 4096};

	side_make(&client, 1);
	side_make(&server, 2);
	begin();
	if (tcp_listen(server.t, &l, &server.listener) != 0)
		die("tcp_listen");
}

static void unmake(void)
{
	tcp_destroy(client.t);
	tcp_destroy(server.t);
}

/* One request and response on each of n connections. */
static void round_trip(struct tcp_conn **conn, unsigned n)
{
	struct tcp_conn *ready[PKT_BURST * 4];
	uint64_t at = tsc();
	unsigned got;

	begin();
	for (unsigned i = 0; i < n; i++)
		tcp_prefetch(conn[i]); /* as src/sock does for the commands of a burst */
	for (unsigned i = 0; i < n; i++)
		send_bytes(&client, conn[i], MSG);
	client.cycles[S_SEND] += tsc() - at;
	carry(&client, &server);
	got = take(&server, ready);
	at = tsc();
	for (unsigned i = 0; i < got; i++)
		send_bytes(&server, ready[i], MSG);
	server.cycles[S_SEND] += tsc() - at;
	carry(&server, &client);
	if (take(&client, ready) != n)
		die("a response is missing");
	tcp_expire(client.t, 64);
	tcp_expire(server.t, 64);
}

static void rr(void)
{
	double total;

	make();
	connect_all(0, 256);
	for (unsigned i = 0; i < SAMPLES + 1000; i++) {
		memset(server.cycles, 0, sizeof(server.cycles));
		round_trip(client.conn + i % 8 * BATCH, BATCH);
		total = 0;
		for (unsigned k = 0; k < STAGES && i >= 1000; k++) {
			sample[k][i - 1000] = (double)server.cycles[k] / BATCH;
			total += sample[k][i - 1000];
		}
		if (i >= 1000)
			sample[STAGES][i - 1000] = total;
	}
	printf("rr: cycles of the serving side per 64 B request and response, %u at a time\n",
	       BATCH);
	for (unsigned k = 0; k < STAGES; k++)
		printf("  %-34s %7.0f\n", stage_name[k], median(sample[k], SAMPLES));
	printf("rr_total=%.0f\n", median(sample[STAGES], SAMPLES));
	unmake();
}

static void bulk(void)
{
	struct tcp_conn *ready[PKT_BURST * 4];
	static double out[SAMPLES], in[SAMPLES], ack[SAMPLES];
	unsigned n = 0;

	make();
	connect_all(0, 1);
	for (unsigned i = 0; n < SAMPLES; i++) {
		uint64_t segs, acks;

		memset(client.cycles, 0, sizeof(client.cycles));
		memset(server.cycles, 0, sizeof(server.cycles));
		segs = client.segs_out;
		acks = client.segs_in;
		begin();
		while (tcp_send_space(client.conn[0]) >= 65536)
			send_bytes(&client, client.conn[0], 46336); /* 32 full segments */
		carry(&client, &server);
		take(&server, ready);
		carry(&server, &client);
		take(&client, ready);
		tcp_expire(client.t, 64);
		tcp_expire(server.t, 64);
		segs = client.segs_out - segs;
		acks = client.segs_in - acks;
		if (i < 1000 || segs == 0 || acks == 0)
			continue;
		out[n] = (double)(client.cycles[S_OUTPUT] + client.cycles[S_DONE]) / (double)segs;
		in[n] = (double)(server.cycles[S_INPUT] + server.cycles[S_EVENT] +
				 server.cycles[S_RECV]) /
			(double)segs;
		ack[n] = (double)client.cycles[S_INPUT] / (double)acks;
		n++;
	}
	printf("bulk: cycles, 1448 B segments, %.1f of them for each acknowledgement\n",
	       (double)client.segs_out / (double)client.segs_in);
	printf("bulk_sent=%.0f bulk_received=%.0f bulk_ack=%.0f\n", median(out, SAMPLES),
	       median(in, SAMPLES), median(ack, SAMPLES));
	unmake();
}

/* Cycles of a request and response, both sides, in a random order of connections. */
static double rate(unsigned conns)
{
	static double v[SAMPLES];
	struct tcp_conn *pick[BATCH];
	struct rand r;

	rand_init(&r, 1);
	for (unsigned i = 0; i < SAMPLES; i++) {
		unsigned at = (unsigned)rand_below(&r, conns), step = conns / BATCH;
		uint64_t start;

		for (unsigned k = 0; k < BATCH; k++)
			pick[k] = client.conn[(at + k * step) % conns];
		start = tsc();
		round_trip(pick, BATCH);
		v[i] = (double)(tsc() - start) / BATCH;
	}
	return median(v, SAMPLES);
}

static void scale(void)
{
	double few, many;

	make();
	connect_all(0, 1024);
	rate(1024);
	few = rate(1024);
	connect_all(1024, 65536);
	rate(65536);
	many = rate(65536);
	printf("scale: cycles of both sides per 64 B request and response\n");
	printf("scale_1k=%.0f scale_64k=%.0f scale_ratio=%.2f\n", few, many, few / many);
	unmake();
}

static double resident_mb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		die("/proc/self/statm");
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void idle(void)
{
	const unsigned warm = 1024, n = 1000000;
	double before;

	make();
	connect_all(0, warm);
	before = resident_mb();
	connect_all(warm, n);
	printf("idle: memory of an established connection in one engine\n");
	printf("idle_bytes=%.0f\n", (resident_mb() - before) * 1e6 / (n - warm) / 2);
	unmake();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} what[] = {{"rr", rr}, {"bulk", bulk}, {"scale", scale}, {"idle", idle}};
	struct dev_eal_cfg ec = {.mem_mb = 640};
	char err[200];

	/* For valgrind, which has no room for what EAL reserves otherwise. */
	if (argc > 1 && strcmp(argv[1], "--no-huge") == 0) {
		ec.no_huge = true;
		argv++;
		argc--;
	}
	if (dev_eal_init(&ec, err, sizeof(err)) < 0)
		die(err);
	client.send_buf = server.send_buf = calloc(1, UINT16_MAX);
	per_ns = tsc_per_ns();
	printf("tsc_ghz=%.3f\n", per_ns);
	for (unsigned i = 0; i < array_size(what); i++) {
		bool chosen = argc == 1;

		for (int a = 1; a < argc; a++)
			chosen |= strcmp(argv[a], what[i].name) == 0;
		if (chosen)
			what[i].run();
	}
	dev_eal_fini();
	return 0;
}
