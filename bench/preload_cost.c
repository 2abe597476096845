/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the preload library adds to a call: on descriptors of the kernel's against the C library's
 * own function, on sockets of ours against the call of libzstack that it makes. The stack's side of
 * the channel is played by the least that will do; library and program have one each.
 *
 *	LD_PRELOAD=libzstack-preload.so.0 ZSTACK_CONFIG="vdev=fake;mode=poll" ZSTACK_RUN=take= \
 *		preload_cost [batches]
 *
 * Medians of short batches, taken in turn. Built with buildtype=release and checks=false.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "chan/bell.h"
#include "chan/chan.h"
#include "chan/embed.h"
#include "tsc.h"
#include "zstack/zstack.h"

#define LEN   64
#define BATCH 64 /* calls */

/* ---- the stack ---- */

struct fake {
	struct chan_end end;
	struct chan_map map;
	uint32_t sids, listener, conn, loans;
	bool announced;
	unsigned want; /* requests to be sent to the connection */
};
static uint8_t pkt[4096];
static unsigned n_fakes;
static struct fake fakes[2]; /* the program's, which starts first; the library's */

static void event(struct fake *f, struct chan_cqe e)
{
	BUG_ON(chan_free(&f->end.cq, 1) == 0);
	chan_send(&f->end.cq, &e);
}

static void request(struct fake *f)
{
	event(f, (struct chan_cqe){.ev = CHAN_EV_DATA,
				   .sid = f->conn,
				   .res = LEN,
				   .region = 1,
				   .loan = 1u << LOAN_INDEX_BITS |
					   (f->loans++ % f->end.hdr.max_loans)});
}

static void command(struct fake *f, const struct chan_sqe *q)
{
	struct chan_cqe e = {.ev = CHAN_EV_RESULT, .sid = q->sid, .loan = q->token};

	if (q->op == CHAN_OP_SEND) {
		chan_send_name(&f->end.done, q->token);
		return;
	}
	if (q->op == CHAN_OP_RCVBUF_MORE)
		return;
	if (q->op == CHAN_OP_SOCKET) {
		e.sid = ++f->sids;
		e.aux = 1 << 20;
	}
	event(f, e);
	if (q->op != CHAN_OP_LISTEN)
		return;
	f->conn = ++f->sids;
	event(f, (struct chan_cqe){
			 .ev = CHAN_EV_ACCEPT, .sid = q->sid, .aux = f->conn, .res = 1 << 20});
}

static unsigned fake_poll(struct embed *e)
{
	struct fake *f = (struct fake *)e;
	struct chan_sqe q;
	uint32_t name;

	while (chan_receive_name(&f->end.ret, &name))
		;
	while (chan_receive(&f->end.sq, &q))
		command(f, &q);
	for (; f->want > 0; f->want--)
		request(f);
	return 1;
}

static int fake_open(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		     unsigned *n, char *err, size_t err_len)
{
	struct fake *f = &fakes[n_fakes++];
	struct chan_hdr hdr;

	f->map.base = aligned_alloc(4096, chan_bytes(&cfg->geometry));
	f->map.arena_bytes = cfg->geometry.arena_bytes;
	f->map.arena = aligned_alloc(4096, f->map.arena_bytes);
	BUG_ON(f->map.base == NULL || f->map.arena == NULL);
	memset(f->map.base, 0, chan_bytes(&cfg->geometry));
	chan_format(f->map.base, &cfg->geometry);
	BUG_ON(chan_check(f->map.base, chan_bytes(&cfg->geometry), &hdr) != 0);
	f->map.region[0].base = f->map.arena;
	f->map.region[0].bytes = f->map.arena_bytes;
	f->map.region[1].base = pkt;
	f->map.region[1].bytes = sizeof(pkt);
	f->map.app_bell_fd = bell_open();
	f->map.stack_bell_fd = bell_open();
	chan_attach(&f->end, &f->map, &hdr);
	*maps = f->map;
	*n = 1;
	*out = (struct embed *)f;
	return 0;
}

static int fake_wait(struct embed *e, int64_t timeout_ns)
{
	return 0;
}

static void fake_close(struct embed *e)
{
}

extern const struct embed_ops zstack_embed_ops;
const struct embed_ops zstack_embed_ops = {EMBED_ABI, fake_open, fake_poll, fake_wait, fake_close};

/* ---- calls ---- */

typedef ssize_t (*read_fn)(int, void *, size_t);
typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*recv_fn)(int, void *, size_t, int);
typedef int (*wait_fn)(int, struct epoll_event *, int, int);
typedef int (*ctl_fn)(int, int, int, struct epoll_event *);

static char buf[4096];

static double reads(read_fn call, int fd, size_t len)
{
	uint64_t start = tsc();

	for (int i = 0; i < BATCH; i++)
		call(fd, buf, len);
	return (double)(tsc() - start) / BATCH;
}

static double writes(write_fn call, int fd, size_t len)
{
	uint64_t start = tsc();

	for (int i = 0; i < BATCH; i++)
		call(fd, buf, len);
	return (double)(tsc() - start) / BATCH;
}

static double waits(wait_fn call, int ep)
{
	struct epoll_event got[8];
	uint64_t start = tsc();

	for (int i = 0; i < BATCH; i++)
		call(ep, got, 8, 0);
	return (double)(tsc() - start) / BATCH;
}

/* What the stack has for the connection is there: a call that finds nothing runs it. */
static void fill(struct fake *f, recv_fn call, int fd)
{
	ssize_t n;

	f->want = BATCH + 1;
	do {
		n = call(fd, buf, LEN, MSG_DONTWAIT);
	} while (n < 0);
}

static double per_ns;

static void row(const char *what, double *a, double *b, unsigned n)
{
	double x = median(a, n) / per_ns, y = median(b, n) / per_ns;

	printf("%-28s %6.1f ns, with the library %6.1f: %+5.1f\n", what, x, y, y - x);
}

static void kernel_rows(unsigned n, double *a, double *b)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	read_fn libc_read = (read_fn)dlsym(libc, "read");
	write_fn libc_write = (write_fn)dlsym(libc, "write");
	int fd = open("/dev/null", O_RDWR);

	for (unsigned i = 0; i < n; i++) {
		a[i] = reads(libc_read, fd, 1);
		b[i] = reads(read, fd, 1);
	}
	row("read of the kernel's", a, b, n);
	for (unsigned i = 0; i < n; i++) {
		a[i] = writes(libc_write, fd, 1);
		b[i] = writes(write, fd, 1);
	}
	row("write of the kernel's", a, b, n);
}

static void our_rows(unsigned n, double *a, double *b, int direct, int hooked)
{
	for (unsigned i = 0; i < n; i++) {
		fill(&fakes[0], zs_recv, direct);
		a[i] = reads(zs_read, direct, LEN);
		fill(&fakes[1], recv, hooked);
		b[i] = reads(read, hooked, LEN);
	}
	row("read, 64 bytes", a, b, n);
	for (unsigned i = 0; i < n; i++) {
		fill(&fakes[0], zs_recv, direct);
		a[i] = writes(zs_write, direct, LEN);
		zs_read(direct, buf, sizeof(buf));
		fill(&fakes[1], recv, hooked);
		b[i] = writes(write, hooked, LEN);
		(void)!read(hooked, buf, sizeof(buf));
	}
	row("write, 64 bytes", a, b, n);
}

static void add(ctl_fn call, int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};

	BUG_ON(call(ep, EPOLL_CTL_ADD, fd, &e) != 0);
}

/* One is ready each time. */
static void wait_rows(unsigned n, double *a, double *b, int direct, int hooked)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	wait_fn libc_wait = (wait_fn)dlsym(libc, "epoll_wait");
	int ep = epoll_create1(0), ours = zs_epoll_create1(0), event_fd = eventfd(1, 0);

	add(epoll_ctl, ep, event_fd);
	for (unsigned i = 0; i < n; i++) {
		a[i] = waits(libc_wait, ep);
		b[i] = waits(epoll_wait, ep);
	}
	row("epoll_wait of the kernel's", a, b, n);
	ep = epoll_create1(0);
	add(zs_epoll_ctl, ours, direct);
	add(epoll_ctl, ep, hooked);
	fill(&fakes[0], zs_recv, direct);
	fill(&fakes[1], recv, hooked);
	for (unsigned i = 0; i < n; i++) {
		a[i] = waits(zs_epoll_wait, ours);
		b[i] = waits(epoll_wait, ep);
	}
	row("epoll_wait", a, b, n);
	add(epoll_ctl, ep, eventfd(0, 0));
	for (unsigned i = 0; i < n; i++) {
		a[i] = waits(zs_epoll_wait, ours);
		b[i] = waits(epoll_wait, ep);
	}
	row("epoll_wait, beside a kernel's", a, b, n);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 5000;
	double *a = calloc(n, sizeof(*a)), *b = calloc(n, sizeof(*b));
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};
	int l, direct, hooked;

	BUG_ON(a == NULL || b == NULL || zs_start(NULL) != 0);
	l = zs_socket(AF_INET, SOCK_STREAM, 0);
	BUG_ON(zs_bind(l, (struct sockaddr *)&at, sizeof(at)) != 0 || zs_listen(l, 9) != 0);
	direct = zs_accept(l, NULL, NULL);
	l = socket(AF_INET, SOCK_STREAM, 0);
	at.sin_addr.s_addr = inet_addr("10.7.0.2");
	if (bind(l, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(l, 9) != 0 || n_fakes != 2) {
		fprintf(stderr, "preload_cost: start it with the library, see its head\n");
		return 1;
	}
	hooked = accept(l, NULL, NULL);
	BUG_ON(direct < 0 || hooked < 0);
	per_ns = tsc_per_ns();
	kernel_rows(n, a, b);
	our_rows(n, a, b, direct, hooked);
	wait_rows(n, a, b, direct, hooked);
	return 0;
}
