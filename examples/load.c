/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Load generator: keeps N connections busy for some seconds, and prints requests per second and how
 *long an answer took. load --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 WHAT [CONNECTIONS
 *[SECONDS]]
 *
 *	http://HOST[:PORT]/PATH   requests with keep-alive, one at a time on each connection
 *	echo://HOST:PORT/BYTES    messages to an echo server, as above
 *	bulk://HOST:PORT          sends as fast as it can, and ignores what comes back
 *	new://HOST[:PORT]/PATH    HTTP with a new connection for every request
 *
 * Answers are checked as far as that costs nothing: the first one of a connection is parsed, and
 *each later one must begin alike and be as long. The last line is for programs: NAME=VALUE ...
 */
#include <http_parser.h>
#include <netinet/tcp.h>

#include "common.h"
#include "histogram.h"

enum kind { HTTP, ECHO, BULK, NEW };

struct target {
	enum kind kind;
	union example_addr addr;
	socklen_t addr_len;
	char *request; /* bytes to send for each request */
	uint32_t request_len;
	uint32_t message; /* bytes of one answer; HTTP: 0 until the first was parsed */
};

struct conn {
	int fd;
	uint64_t begin_ns;  /* of the request */
	uint32_t unsent;    /* of the request */
	uint32_t got;	    /* of the answer */
	http_parser parser; /* for the first answer */
	bool parsed;
};

static struct target target;
static struct histogram latency;
static uint64_t requests, errors, bytes_in, bytes_out, opened;
static bool measuring;
static int set;

static void send_request(struct conn *c)
{
	const char *from = target.request + (target.request_len - c->unsent);
	ssize_t n;

	if (c->unsent == 0)
		return;
	n = zs_send(c->fd, from, c->unsent, MSG_DONTWAIT);
	if (n > 0) {
		c->unsent -= (uint32_t)n;
		bytes_out += (uint64_t)n;
	}
}

static void begin_request(struct conn *c, uint64_t now_ns)
{
	c->begin_ns = now_ns;
	c->unsent = target.request_len;
	c->got = 0;
	send_request(c);
}

static void conn_open(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	const int one = 1;
	int n;

	*c = (struct conn){
		.fd = zs_socket(target.addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0)};
	example_must(c->fd, "socket");
	http_parser_init(&c->parser, HTTP_RESPONSE);
	zs_setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	n = zs_connect(c->fd, &target.addr.sa, target.addr_len);
	if (n < 0 && n != -EINPROGRESS)
		errx(1, "connect: %s", strerror(-n));
	example_must(zs_epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &e), "epoll");
	c->begin_ns = example_now_ns();
	c->unsent = target.request_len;
	opened++;
}

static int on_complete(http_parser *p)
{
	http_parser_pause(p, 1);
	return 0;
}

/* Parses the first answer of a connection. True when it is whole: then its length is known. */
static bool parse_answer(struct conn *c, const struct zs_buf *b)
{
	static const http_parser_settings settings = {.on_message_complete = on_complete};

	c->got += (uint32_t)http_parser_execute(&c->parser, &settings, b->data, b->len);
	if (HTTP_PARSER_ERRNO(&c->parser) == HPE_OK)
		return false;
	if (HTTP_PARSER_ERRNO(&c->parser) != HPE_PAUSED)
		errx(1, "the answer is no HTTP: %s",
		     http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
	if (c->parser.status_code != 200)
		errx(1, "the answer has status %u", c->parser.status_code);
	c->parsed = true;
	target.message = c->got;
	return true;
}

/* True when b ends the answer. */
static bool answer_ends(struct conn *c, const struct zs_buf *b)
{
	bytes_in += b->len;
	if (target.kind == BULK)
		return false;
	if (target.kind != ECHO && !c->parsed)
		return parse_answer(c, b);
	if (target.kind == HTTP && c->got == 0 &&
	    (b->len < 12 || memcmp(b->data, "HTTP/1.1 200", 12) != 0))
		errors++;
	c->got += b->len;
	if (c->got > target.message)
		errx(1, "an answer of %u bytes, not %u", c->got, target.message);
	return c->got == target.message;
}

static void reopen(struct conn *c, bool failed)
{
	errors += failed;
	zs_close(c->fd);
	conn_open(c);
}

static void answered(struct conn *c)
{
	uint64_t now_ns = example_now_ns();

	if (measuring) {
		histogram_add(&latency, now_ns - c->begin_ns);
		requests++;
	}
	if (target.kind == NEW)
		reopen(c, false);
	else
		begin_request(c, now_ns);
}

static void conn_read(struct conn *c)
{
	struct zs_buf b[16];
	uint64_t before = opened;
	bool end = false;
	int n;

	while ((n = zs_recv_zc(c->fd, b, 16, MSG_DONTWAIT)) > 0) {
		for (int i = 0; i < n; i++)
			end |= answer_ends(c, &b[i]);
		zs_buf_release(b, n);
		if (end) {
			answered(c);
			end = false;
		}
		if (opened != before) /* it is another connection now */
			return;
	}
	if (n == 0 || n != -EAGAIN)
		reopen(c, true);
}

/* Bulk: as much as the socket takes, in buffers of 64 KiB that are filled once. */
static void send_bulk(struct conn *c)
{
	static struct zs_buf block;
	int n = 1;

	if (block.handle == 0) {
		example_must(zs_buf_alloc(c->fd, ZS_BUF_MAX, &block), "buffer");
		memset(block.data, 'z', block.len);
	}
	while (n == 1) {
		if (zs_buf_ref(&block) < 0)
			return;
		n = zs_send_zc(c->fd, &block, 1, 0, MSG_DONTWAIT);
		if (n == 1)
			bytes_out += block.len;
		else
			zs_buf_release(&block, 1);
	}
}

static void conn_event(struct conn *c, uint32_t events)
{
	if ((events & EPOLLERR) && !(events & EPOLLIN)) {
		int e = 0;
		socklen_t len = sizeof(e);

		zs_getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
		if (requests == 0 && bytes_in == 0)
			errx(1, "connect: %s", strerror(e));
		reopen(c, true);
		return;
	}
	if (target.kind == BULK)
		send_bulk(c);
	else
		send_request(c);
	if (events & (EPOLLIN | EPOLLHUP))
		conn_read(c);
}

/* ---- what to do ---- */

static void make_request(const char *host, const char *path)
{
	static const char *const form = "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n";
	int len = asprintf(&target.request, form, path, host,
			   target.kind == NEW ? "Connection: close\r\n" : "");

	if (len < 0)
		errx(1, "no memory");
	target.request_len = (uint32_t)len;
}

static void make_message(const char *path)
{
	target.message =
		(uint32_t)example_number("BYTES", path[0] == '/' ? path + 1 : path, 1, 1 << 20);
	target.request = malloc(target.message);
	if (target.request == NULL)
		errx(1, "no memory");
	memset(target.request, 'e', target.message);
	target.request_len = target.message;
}

static void parse_target(const char *url)
{
	static const char *const scheme[] = {"http", "echo", "bulk", "new"};
	struct http_parser_url u;
	char host[64];
	int kind = 0;

	http_parser_url_init(&u);
	if (http_parser_parse_url(url, strlen(url), 0, &u) != 0 || u.field_data[UF_HOST].len > 63)
		errx(1, "'%s' is no URL; --help lists the forms", url);
	while (kind < 4 && (strlen(scheme[kind]) != u.field_data[UF_SCHEMA].len ||
			    strncmp(scheme[kind], url, u.field_data[UF_SCHEMA].len) != 0))
		kind++;
	if (kind == 4)
		errx(1, "'%s' begins with none of http, echo, bulk and new", url);
	snprintf(host, sizeof(host), "%.*s", u.field_data[UF_HOST].len,
		 url + u.field_data[UF_HOST].off);
	const char *path = u.field_set & 1 << UF_PATH ? url + u.field_data[UF_PATH].off : "/";

	target.kind = (enum kind)kind;
	target.addr_len = example_addr(host,
				       u.field_set & 1 << UF_PORT ? u.port
				       : kind == ECHO		  ? 7
								  : 80,
				       &target.addr);
	if (kind == ECHO)
		make_message(path);
	else if (kind != BULK)
		make_request(host, path);
}

static void run_until(uint64_t end_ns)
{
	struct epoll_event e[256];

	while (!example_stopping() && example_now_ns() < end_ns) {
		int n = zs_epoll_wait(set, e, 256, 100);

		if (n < 0 && n != -EINTR)
			errx(1, "epoll: %s", strerror(-n));
		for (int i = 0; i < n; i++)
			conn_event(e[i].data.ptr, e[i].events);
	}
}

static void report(double s)
{
	double in = (double)bytes_in * 8e-9 / s, out = (double)bytes_out * 8e-9 / s;

	printf("%.0f requests/s; p50 %.1f us, p99 %.1f us, longest %.1f us; %.3f Gbit/s in, %.3f "
	       "out; "
	       "%lu errors\n",
	       (double)requests / s, histogram_us(&latency, 0.5), histogram_us(&latency, 0.99),
	       histogram_us(&latency, 1), in, out, errors);
	printf("rate=%.0f p50_us=%.2f p99_us=%.2f in_gbps=%.3f out_gbps=%.3f opened=%lu "
	       "errors=%lu\n",
	       (double)requests / s, histogram_us(&latency, 0.5), histogram_us(&latency, 0.99), in,
	       out, opened, errors);
}

int main(int argc, char **argv)
{
	example_options(&argc, argv, "URL [CONNECTIONS [SECONDS]]   (http:, echo:, bulk:, new:)", 1,
			3);
	parse_target(argv[1]);
	long n = argc > 2 ? example_number("CONNECTIONS", argv[2], 1, 1000000) : 1;
	double seconds = argc > 3 ? (double)example_number("SECONDS", argv[3], 1, 86400) : 3;
	struct conn *c = calloc((size_t)n, sizeof(*c));

	if (c == NULL)
		errx(1, "no memory for %ld connections", n);
	example_start();
	set = example_must(zs_epoll_create1(0), "epoll");
	for (long i = 0; i < n; i++) {
		conn_open(&c[i]);
		if (i % 64 == 63) /* not all SYNs at once */
			run_until(example_now_ns() + 1000000);
	}
	run_until(example_now_ns() + 500000000); /* warm up */
	bytes_in = bytes_out = opened = 0;
	measuring = true;
	uint64_t begin_ns = example_now_ns();

	run_until(begin_ns + (uint64_t)(seconds * 1e9));
	report((double)(example_now_ns() - begin_ns) / 1e9);
	example_end();
	return requests + bytes_out == 0 || errors > 0;
}
