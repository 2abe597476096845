/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP client. With HOST PORT, standard input goes to the peer and what it answers to standard
 * output; with a URL, the file that it names does. How much, and how fast, is told at the end.
 *
 *	client --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 HOST PORT
 *	client ... http://HOST[:PORT]/PATH              IPv6 addresses in brackets
 */
#include <http_parser.h>
#include <poll.h>
#include <unistd.h>

#include "common.h"

#define CHUNK 32768

static uint64_t sent, received;
static http_parser response;
static bool is_url;

static void print(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR)
			err(1, "standard output");
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	print(at, len);
	return 0;
}

static int on_complete(http_parser *p)
{
	p->data = &response; /* not NULL: the answer is whole */
	return 0;
}

static const http_parser_settings settings = {.on_body = on_body,
					      .on_message_complete = on_complete};

static void deliver(const struct zs_buf *b)
{
	received += b->len;
	if (!is_url)
		print(b->data, b->len);
	else if (http_parser_execute(&response, &settings, b->data, b->len) != b->len)
		errx(1, "the answer is no HTTP: %s",
		     http_errno_description(HTTP_PARSER_ERRNO(&response)));
}

/* Takes what has arrived. False at the end of the stream. */
static bool receive(int fd)
{
	struct zs_buf b[16];
	int n;

	while ((n = zs_recv_zc(fd, b, 16, MSG_DONTWAIT)) > 0) {
		for (int i = 0; i < n; i++)
			deliver(&b[i]);
		zs_buf_release(b, n);
	}
	if (n < 0 && n != -EAGAIN)
		errx(1, "the connection broke: %s", strerror(-n));
	return n != 0;
}

static bool input_ready(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Sends a piece of standard input, read straight into a buffer. False at its end. */
static bool send_input(int fd)
{
	struct zs_buf b;
	ssize_t n;
	int e = zs_buf_alloc(fd, CHUNK, &b);

	if (e == -ENOBUFS) /* all of it is on its way */
		return true;
	example_must(e, "buffer");
	n = read(STDIN_FILENO, b.data, CHUNK);
	if (n > 0) {
		b.len = (uint32_t)n;
		example_must(zs_send_zc(fd, &b, 1, 0, 0),
			     "send"); /* there was room: it does not wait */
		sent += (uint64_t)n;
		return true;
	}
	zs_buf_release(&b, 1);
	if (n < 0 && errno != EINTR)
		err(1, "standard input");
	return n < 0;
}

/* Both directions, until the peer has ended its own. */
static void converse(int fd, bool input)
{
	struct pollfd p = {.fd = fd};

	do {
		bool ready = input && input_ready();

		p.events = (short)(POLLIN | (ready ? POLLOUT : 0));
		zs_poll(&p, 1, input && !ready ? 5 : 200);
		if ((p.revents & POLLOUT) && !send_input(fd)) {
			example_must(zs_shutdown(fd, SHUT_WR), "shutdown");
			input = false;
		}
	} while (!example_stopping() && receive(fd));
}

static void request(int fd, const char *host, const char *path)
{
	char text[4096];
	int len = snprintf(text, sizeof(text),
			   "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);

	if (len >= (int)sizeof(text))
		errx(1, "the URL is too long");
	example_must((int)zs_write(fd, text, (size_t)len), "send");
	http_parser_init(&response, HTTP_RESPONSE);
}

struct target {
	char host[64], path[2048];
	uint16_t port;
};

static void parse_url(const char *url, struct target *t)
{
	struct http_parser_url u;

	http_parser_url_init(&u);
	if (http_parser_parse_url(url, strlen(url), 0, &u) != 0 || u.field_data[UF_HOST].len > 63)
		errx(1, "'%s' is no URL; say HOST PORT, or http://ADDRESS[:PORT]/PATH", url);
	snprintf(t->host, sizeof(t->host), "%.*s", u.field_data[UF_HOST].len,
		 url + u.field_data[UF_HOST].off);
	snprintf(t->path, sizeof(t->path), "%s",
		 u.field_set & 1 << UF_PATH ? url + u.field_data[UF_PATH].off : "/");
	t->port = u.field_set & 1 << UF_PORT ? u.port : 80;
}

int main(int argc, char **argv)
{
	struct target t = {.path = ""};
	union example_addr a;
	uint64_t begin_ns;

	example_options(&argc, argv, "HOST PORT | http://HOST[:PORT]/PATH", 1, 2);
	is_url = argc == 2;
	if (is_url) {
		parse_url(argv[1], &t);
	} else {
		snprintf(t.host, sizeof(t.host), "%s", argv[1]);
		t.port = example_port(argv[2]);
	}
	socklen_t len = example_addr(t.host, t.port, &a);

	example_start();
	int fd = example_must(zs_socket(a.sa.sa_family, SOCK_STREAM, 0), "socket");

	example_must(zs_connect(fd, &a.sa, len), "connect");
	begin_ns = example_now_ns();
	if (is_url)
		request(fd, t.host, t.path);
	converse(fd, !is_url);
	double s = (double)(example_now_ns() - begin_ns) / 1e9;

	fprintf(stderr, "client: sent %lu bytes, received %lu in %.3f s: %.3f Gbit/s\n", sent,
		received, s, (double)(sent + received) * 8e-9 / s);
	if (is_url && (response.data == NULL || response.status_code != 200))
		errx(1, "status %u%s", response.status_code,
		     response.data == NULL ? ", and the answer is cut off" : "");
	return example_end();
}
