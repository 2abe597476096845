/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See fake.h.
 */
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include "fake.h"

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *fake_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void core_open(struct fake_core *c, const struct chan_geometry *g)
{
	struct chan_hdr hdr;

	c->map.base = fake_pages(chan_bytes(g));
	chan_format(c->map.base, g);
	((struct chan_hdr *)c->map.base)->kernel_if[FAKE_IF] = FAKE_IF_KERNEL;
	assert_int_equal(chan_check(c->map.base, chan_bytes(g), &hdr), 0);
	c->map.arena = fake_pages(g->arena_bytes);
	c->map.arena_bytes = g->arena_bytes;
	c->map.region[0].base = c->map.arena;
	c->map.region[0].bytes = g->arena_bytes;
	c->pkt = fake_pages(FAKE_PKT);
	c->map.region[1].base = c->pkt;
	c->map.region[1].bytes = FAKE_PKT;
	c->map.app_bell_fd = bell_open();
	c->map.stack_bell_fd = bell_open();
	chan_attach(&c->end, &c->map, &hdr);
	c->next_sid = 1;
}

static void core_close(struct fake_core *c)
{
	munmap(c->map.base, c->end.hdr.total_bytes);
	munmap(c->map.arena, c->map.arena_bytes);
	munmap(c->pkt, FAKE_PKT);
	close(c->map.app_bell_fd);
	close(c->map.stack_bell_fd);
	memset(c, 0, sizeof(*c));
}

static void *thread_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&fake.thread_stop)) {
		unsigned n = 0;

		pthread_mutex_lock(&fake.lock);
		for (unsigned i = 0; i < fake.n_cores; i++)
			n += fake_serve(&fake.core[i]);
		pthread_mutex_unlock(&fake.lock);
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static int fake_open(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		     unsigned *n, char *err, size_t err_len)
{
	const struct chan_geometry *g = fake.geometry.sq_size ? &fake.geometry : &cfg->geometry;

	if (fake.n_cores == 0) {
		snprintf(err, err_len, "--vdev none: the fake refuses");
		return -ENODEV;
	}
	fake.cfg = *cfg;
	for (unsigned i = 0; i < fake.n_cores; i++) {
		core_open(&fake.core[i], g);
		maps[i] = fake.core[i].map;
	}
	*n = fake.n_cores;
	*out = (struct embed *)&fake;
	fake.opened = true;
	atomic_store(&fake.thread_stop, false);
	if (cfg->threaded)
		assert_int_equal(pthread_create(&fake.thread, NULL, thread_main, NULL), 0);
	return 0;
}

static unsigned fake_poll(struct embed *e)
{
	unsigned n = 0;

	(void)e;
	fake.polls++;
	for (unsigned i = 0; i < fake.n_cores; i++)
		n += fake_serve(&fake.core[i]);
	return n;
}

static int fake_wait(struct embed *e, int64_t timeout_ns)
{
	(void)e;
	fake.sleeps++;
	if (fake.on_sleep != NULL) {
		fake.on_sleep();
		return 0;
	}
	if (timeout_ns < 0)
		fail_msg("a call sleeps for ever");
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};

	nanosleep(&ts, NULL);
	return 0;
}

static void fake_close(struct embed *e)
{
	(void)e;
	if (fake.cfg.threaded) {
		atomic_store(&fake.thread_stop, true);
		pthread_join(fake.thread, NULL);
	}
	for (unsigned i = 0; i < fake.n_cores; i++)
		core_close(&fake.core[i]);
	fake.opened = false;
}

extern const struct embed_ops zstack_embed_ops;
const struct embed_ops zstack_embed_ops = {
	.abi = EMBED_ABI,
	.open = fake_open,
	.poll = fake_poll,
	.wait = fake_wait,
	.close = fake_close,
};

void fake_start(unsigned n_cores, bool threaded)
{
	struct zs_config *c = zs_config_new();

	fake.keep_tokens = fake.keep_connects = fake.keep_closes = false;
	fake.keep_unaccepts = false;
	memset(fake.result, 0, sizeof(fake.result));
	fake.limit = FAKE_LIMIT;
	fake.on_sleep = NULL;
	fake.on_answer = NULL;
	fake.sleeps = fake.polls = 0;
	fake.n_cores = n_cores;
	assert_int_equal(zs_config_set(c, "vdev", "net_fake0"), 0);
	assert_int_equal(zs_config_set(c, "mode", threaded ? "thread" : "poll"), 0);
	assert_int_equal(zs_config_set(c, "spin", "0"), 0);
	assert_int_equal(zs_config_set(c, "linger", "0"), 0);
	assert_int_equal(zs_config_set(c, "buffers", "4"), 0);
	assert_int_equal(zs_config_set(c, "max-sockets", "4096"), 0);
	assert_int_equal(zs_start(c), 0);
	zs_config_free(c);
}

void fake_stop(void)
{
	uint32_t bad = 0;

	for (unsigned i = 0; i < fake.n_cores; i++)
		bad += fake.core[i].tickets_bad;
	zs_stop();
	assert_int_equal(bad, 0);
	assert_false(fake.opened);
}

int fake_setup(void **state)
{
	(void)state;
	fake_start(1, false);
	return 0;
}

int fake_teardown(void **state)
{
	(void)state;
	fake_stop();
	fake.geometry.sq_size = 0;
	return 0;
}

void fake_event(struct fake_core *c, const struct chan_cqe *e)
{
	assert_true(chan_free(&c->end.cq, 1) > 0);
	chan_send(&c->end.cq, e);
	bell_ring(&c->end.sh->bells.app_armed, c->map.app_bell_fd);
}

static void token_back(struct fake_core *c, uint32_t token)
{
	assert_true(chan_free(&c->end.done, 1) > 0);
	chan_send_name(&c->end.done, token);
	bell_ring_trifle(&c->end.sh->bells.app_armed, c->map.app_bell_fd);
}

static void answer(struct fake_core *c, const struct chan_sqe *q)
{
	struct chan_cqe e = {.ev = CHAN_EV_RESULT, .sid = q->sid, .loan = q->token};

	e.res = fake.result[q->op];
	fake.result[q->op] = 0;
	switch (q->op) {
	case CHAN_OP_JOIN:
		if (e.res == 0 && fake.join_waits)
			fake_event(c, &(struct chan_cqe){.ev = CHAN_EV_READABLE,
							 .sid = c->next_sid});
		/* fall through */
	case CHAN_OP_SOCKET:
		if (e.res == 0)
			e.sid = c->next_sid++;
		e.aux = fake.limit;
		break;
	case CHAN_OP_BIND:
		e.aux = q->port != 0 ? q->port : 40000;
		break;
	case CHAN_OP_CONNECT:
		memcpy(e.laddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
		e.lport = 50000;
		break;
	case CHAN_OP_NAME:
		memcpy(e.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
		e.port = 4711;
		break;
	case CHAN_OP_GETOPT:
		if (e.res == 0) {
			e.res = 4;
			memcpy(e.data, &(int){77}, 4);
		}
		break;
	}
	fake_event(c, &e);
	if (fake.on_answer != NULL)
		fake.on_answer(q->op);
}

static void command(struct fake_core *c, const struct chan_sqe *q)
{
	assert_true(c->n_log < FAKE_LOG);
	c->log[c->n_log++] = *q;
	if (q->sid != 0) {
		c->tickets_bad += c->ticket[sid_index(q->sid)] != q->ticket;
		c->ticket[sid_index(q->sid)] = q->ticket + 1;
	}
	switch (q->op) {
	case CHAN_OP_SEND:
	case CHAN_OP_SENDTO:
	case CHAN_OP_SEND_LOAN:
		if (fake.keep_tokens)
			c->held[c->n_held++] = q->token;
		else
			token_back(c, q->token);
		return;
	case CHAN_OP_RCVBUF_MORE:
		return;
	case CHAN_OP_CONNECT:
		if (fake.keep_connects)
			return;
		break;
	case CHAN_OP_UNACCEPT:
		if (fake.keep_unaccepts)
			return;
		break;
	case CHAN_OP_CLOSE:
		c->ticket[sid_index(q->sid)] = 0;
		if (fake.keep_closes)
			return;
		break;
	}
	answer(c, q);
}

unsigned fake_serve(struct fake_core *c)
{
	unsigned n = 0;
	struct chan_sqe q;

	while (chan_receive_name(&c->end.ret, &c->last_returned)) {
		c->returned++;
		n++;
	}
	while (chan_receive(&c->end.sq, &q)) {
		command(c, &q);
		n++;
	}
	return n;
}

static struct chan_cqe lend(struct fake_core *c, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	struct chan_cqe e = {.res = (int32_t)len, .region = 1};

	if (c->pkt_at + len > FAKE_PKT)
		c->pkt_at = 0;
	e.off = c->pkt_at;
	memcpy(c->pkt + c->pkt_at, text, len);
	c->pkt_at += len;
	e.loan = 1u << LOAN_INDEX_BITS | (c->next_loan++ % c->end.hdr.max_loans);
	return e;
}

uint32_t fake_data(struct fake_core *c, uint32_t sid, const char *text, uint8_t flags)
{
	struct chan_cqe e = lend(c, text);

	e.ev = CHAN_EV_DATA;
	e.sid = sid;
	e.flags = flags;
	fake_event(c, &e);
	return e.loan;
}

uint32_t fake_dgram(struct fake_core *c, uint32_t sid, const char *text, uint16_t port,
		    uint8_t flags)
{
	struct chan_cqe e = {.res = 0};

	if (*text != '\0')
		e = lend(c, text);
	e.ev = CHAN_EV_DGRAM;
	e.sid = sid;
	e.flags = flags;
	e.port = port;
	e.aux = CHAN_DGRAM_AUX(FAKE_IF, 64, 0x20);
	memcpy(e.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\2", 16);
	memcpy(e.laddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
	fake_event(c, &e);
	return e.loan;
}

void fake_fin(struct fake_core *c, uint32_t sid)
{
	fake_event(c, &(struct chan_cqe){.ev = CHAN_EV_FIN, .sid = sid});
}

void fake_error(struct fake_core *c, uint32_t sid, int err, bool fatal)
{
	fake_event(c, &(struct chan_cqe){.ev = CHAN_EV_ERROR,
					 .sid = sid,
					 .res = err,
					 .flags = fatal ? CHAN_CQ_FATAL : 0});
}

uint32_t fake_accept(struct fake_core *c, uint32_t listener)
{
	struct chan_cqe e = {.ev = CHAN_EV_ACCEPT,
			     .sid = listener,
			     .aux = c->next_sid++,
			     .res = (int32_t)fake.limit,
			     .port = 33333,
			     .lport = 80};

	memcpy(e.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\2", 16);
	memcpy(e.laddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
	fake_event(c, &e);
	return e.aux;
}

void fake_connected(struct fake_core *c, uint32_t sid, int res)
{
	const struct chan_sqe *q = fake_last(c, CHAN_OP_CONNECT);

	fake_event(c, &(struct chan_cqe){
			      .ev = CHAN_EV_RESULT, .sid = sid, .res = res, .loan = q->token});
}

void fake_closed(struct fake_core *c, uint32_t sid)
{
	const struct chan_sqe *q = fake_last(c, CHAN_OP_CLOSE);

	fake_event(c, &(struct chan_cqe){.ev = CHAN_EV_RESULT, .sid = sid, .loan = q->token});
}

void fake_ack(struct fake_core *c, unsigned n)
{
	assert_true(n <= c->n_held);
	for (unsigned i = 0; i < n; i++)
		token_back(c, c->held[i]);
	c->n_held -= n;
	memmove(c->held, c->held + n, c->n_held * sizeof(c->held[0]));
}

const struct chan_sqe *fake_last(const struct fake_core *c, enum chan_op op)
{
	for (unsigned i = c->n_log; i-- > 0;) {
		if (c->log[i].op == op)
			return &c->log[i];
	}
	fail_msg("no command %d", op);
	return NULL;
}

unsigned fake_count(const struct fake_core *c, enum chan_op op)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_log; i++)
		n += c->log[i].op == op;
	return n;
}

const char *fake_sent(const struct fake_core *c, const struct chan_sqe *q)
{
	static char text[256];

	assert_true(q->len < sizeof(text));
	memcpy(text, (char *)c->map.arena + q->off, q->len);
	text[q->len] = '\0';
	return text;
}

struct sockaddr_in fake_addr(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x0a000002)}};
}

int fake_connection(int flags, uint32_t *sid)
{
	struct sockaddr_in to = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	*sid = fake.core[0].next_sid - 1;
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	if (flags & SOCK_NONBLOCK)
		assert_int_equal(zs_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

int fake_listener(int flags, uint32_t *sid)
{
	struct sockaddr_in at = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_STREAM | flags, 0);

	assert_true(fd >= 0);
	*sid = fake.core[0].next_sid - 1;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(zs_listen(fd, 16), 0);
	return fd;
}
