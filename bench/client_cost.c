/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What libzstack itself costs: cycles for zs_epoll_wait, receive and send of one 64-byte
 * request-response, the stack's side of the channel played by the least that will do. Its cycles
 * are measured by themselves and taken off.
 *
 *	client_cost [batches]
 *
 * Rows: connections that are ready at once; copying and zero-copy calls. Run it on an idle machine,
 * built with buildtype=release and checks=false.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "chan/bell.h"
#include "chan/chan.h"
#include "chan/embed.h"
#include "tsc.h"
#include "zstack/zc.h"
#include "zstack/zstack.h"

#define CONNS_MAX 256
#define LEN	  64
#define BATCH	  2000 /* requests */

static struct chan_end stk;
static struct chan_map map;
static uint8_t pkt[CONNS_MAX * 2048];
static uint32_t sids, listener, next_loan;
static uint32_t idle[CONNS_MAX]; /* connections whose next request may come */
static unsigned n_idle, n_conns;
static uint64_t stack_cycles;

static void event(struct chan_cqe e)
{
	BUG_ON(chan_free(&stk.cq, 1) == 0);
	chan_send(&stk.cq, &e);
}

static void request(uint32_t sid)
{
	uint32_t loan = next_loan++ % stk.hdr.max_loans;

	event((struct chan_cqe){.ev = CHAN_EV_DATA,
				.sid = sid,
				.res = LEN,
				.region = 1,
				.off = (sid % CONNS_MAX) * 2048,
				.loan = 1u << LOAN_INDEX_BITS | loan});
}

static void command(const struct chan_sqe *q)
{
	struct chan_cqe e = {.ev = CHAN_EV_RESULT, .sid = q->sid, .loan = q->token};

	switch (q->op) {
	case CHAN_OP_SEND:
	case CHAN_OP_SEND_LOAN:
		chan_send_name(&stk.done, q->token);
		idle[n_idle++] = q->sid;
		return;
	case CHAN_OP_RCVBUF_MORE:
		return;
	case CHAN_OP_SOCKET:
		e.sid = listener = ++sids;
		e.aux = 1 << 20;
	}
	event(e);
}

static unsigned fake_poll(struct embed *e)
{
	uint64_t start = tsc();
	struct chan_sqe q;
	uint32_t name;
	unsigned n;

	(void)e;
	while (chan_receive_name(&stk.ret, &name))
		;
	while (chan_receive(&stk.sq, &q))
		command(&q);
	if (n_conns != 0 && n_idle == n_conns) {
		n_idle = 0;
		for (n = 0; n < n_conns; n++)
			request(idle[n]);
	}
	stack_cycles += tsc() - start;
	return 1;
}

static int fake_open(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		     unsigned *n, char *err, size_t err_len)
{
	struct chan_hdr hdr;

	(void)err;
	(void)err_len;
	map.base = aligned_alloc(4096, chan_bytes(&cfg->geometry));
	map.arena_bytes = cfg->geometry.arena_bytes;
	map.arena = aligned_alloc(4096, map.arena_bytes);
	BUG_ON(map.base == NULL || map.arena == NULL);
	memset(map.base, 0, chan_bytes(&cfg->geometry));
	chan_format(map.base, &cfg->geometry);
	BUG_ON(chan_check(map.base, chan_bytes(&cfg->geometry), &hdr) != 0);
	map.region[0].base = map.arena;
	map.region[0].bytes = map.arena_bytes;
	map.region[1].base = pkt;
	map.region[1].bytes = sizeof(pkt);
	map.app_bell_fd = bell_open();
	map.stack_bell_fd = bell_open();
	chan_attach(&stk, &map, &hdr);
	*maps = map;
	*n = 1;
	*out = (struct embed *)&stk;
	return 0;
}

static int fake_wait(struct embed *e, int64_t timeout_ns)
{
	(void)e;
	(void)timeout_ns;
	return 0;
}

static void fake_close(struct embed *e)
{
	(void)e;
}

extern const struct embed_ops zstack_embed_ops;
const struct embed_ops zstack_embed_ops = {EMBED_ABI, fake_open, fake_poll, fake_wait, fake_close};

static void serve_copying(int fd)
{
	char buf[4096];
	ssize_t n = zs_recv(fd, buf, sizeof(buf), 0);

	BUG_ON(n != LEN || zs_send(fd, buf, LEN, 0) != LEN);
}

static void serve_zero_copy(int fd)
{
	struct zs_buf b[4];
	int n = zs_recv_zc(fd, b, 4, 0);

	BUG_ON(n != 1 || zs_send_zc(fd, b, 1, 0, 0) != 1);
}

static void connections(int ep, int lfd, unsigned want)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};

	while (n_conns < want) {
		event((struct chan_cqe){
			.ev = CHAN_EV_ACCEPT, .sid = listener, .aux = ++sids, .res = 1 << 20});
		zs_process(0);
		e.data.fd = zs_accept4(lfd, NULL, NULL, SOCK_NONBLOCK);
		BUG_ON(e.data.fd < 0 || zs_epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e) != 0);
		idle[n_idle++] = sids;
		n_conns++;
	}
}

/* Cycles of one batch without the stack's, per request. */
static double batch(int ep, void (*serve)(int))
{
	struct epoll_event ev[64];
	uint64_t done = 0, start;

	stack_cycles = 0;
	start = tsc();
	while (done < BATCH) {
		int n = zs_epoll_wait(ep, ev, 64, -1);

		for (int i = 0; i < n; i++)
			serve(ev[i].data.fd);
		done += (uint64_t)n;
	}
	return (double)(tsc() - start - stack_cycles) / (double)done;
}

/* The median of many short batches: what else runs on the machine falls out of it. */
static void row(const char *name, int ep, unsigned batches, void (*serve)(int))
{
	double *v = calloc(batches, sizeof(*v));

	BUG_ON(v == NULL);
	for (unsigned i = 0; i < batches; i++)
		v[i] = batch(ep, serve);
	printf("%4u connections  %-9s  %4.0f cycles a request\n", n_conns, name,
	       median(v, batches));
	free(v);
}

int main(int argc, char **argv)
{
	unsigned batches = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 2000;
	struct zs_config *c = zs_config_new();
	int ep, lfd;

	BUG_ON(c == NULL || zs_config_set(c, "vdev", "fake") != 0 || zs_start(c) != 0);
	zs_config_free(c);
	ep = zs_epoll_create1(0);
	lfd = zs_socket(AF_INET, SOCK_STREAM, 0);
	BUG_ON(zs_listen(lfd, 128) != 0);
	for (unsigned n = 1; n <= CONNS_MAX; n *= 16) {
		connections(ep, lfd, n);
		row("copying", ep, batches, serve_copying);
		row("zero-copy", ep, batches, serve_zero_copy);
	}
	return 0;
}
