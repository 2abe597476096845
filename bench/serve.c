/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The server of the benchmarks: on the kernel (serve_kernel) and on Z-Stack (serve_zs), see net.h.
 *
 *	port 80  HTTP: a response with a body of 438 bytes for each "\r\n\r\n", whatever is asked
 *	port  7  echo (RFC 862)
 *	port  9  discard (RFC 863)
 *	port 19  as many bytes as the client takes (RFC 864, with one byte repeated)
 *
 * It ends when its standard input does, or by a signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

enum kind { HTTP, ECHO, DISCARD, SOURCE, KINDS };
static const uint16_t port_of[KINDS] = {80, 7, 9, 19};

#define BODY   438
#define CHUNK  65536
#define MAX_FD (1 << 20)

static struct {
	bool zc, spin, dump;
	int family;
} opt = {.family = AF_INET};

static char response[1024], chunk[CHUNK];
static size_t response_len;
static uint8_t *kind_of; /* by descriptor; + KINDS: a listener */
static uint8_t *matched; /* how much of the blank line that ends a request came last */
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static void make_response(void)
{
	int n = snprintf(response, sizeof(response),
			 "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
			 "Content-Length: %d\r\n\r\n",
			 BODY);

	memset(response + n, 'x', BODY);
	response_len = (size_t)n + BODY;
}

/* Counts requests that end in the bytes of buf. */
static unsigned requests(int fd, const char *buf, ssize_t n)
{
	unsigned done = 0;
	uint8_t m = matched[fd];

	if (m == 0 && n >= 4 && memcmp(buf + n - 4, "\r\n\r\n", 4) == 0 &&
	    memmem(buf, (size_t)n - 1, "\r\n\r\n", 4) == NULL)
		return 1;
	for (ssize_t i = 0; i < n; i++) {
		char want = m & 1 ? '\n' : '\r';

		m = buf[i] == want ? m + 1 : buf[i] == '\r';
		if (m == 4) {
			done++;
			m = 0;
		}
	}
	matched[fd] = m;
	return done;
}

static ssize_t http(int fd)
{
	ssize_t n = net_read(fd, chunk, sizeof(chunk));
	unsigned todo;

	if (n <= 0)
		return n;
	for (todo = requests(fd, chunk, n); todo > 0; todo--)
		if (net_write(fd, response, response_len) != (ssize_t)response_len)
			return -ENOBUFS;
	return n;
}

static ssize_t echo(int fd)
{
	ssize_t n;

	if (opt.zc)
		return net_echo_zc(fd);
	n = net_read(fd, chunk, sizeof(chunk));
	if (n > 0 && net_write(fd, chunk, (size_t)n) != n)
		return -ENOBUFS;
	return n;
}

static ssize_t serve(int fd)
{
	switch (kind_of[fd]) {
	case HTTP:
		return http(fd);
	case ECHO:
		return echo(fd);
	case DISCARD:
		return opt.zc ? net_discard_zc(fd) : net_read(fd, chunk, sizeof(chunk));
	default:
		return opt.zc ? net_source_zc(fd, CHUNK) : net_write(fd, chunk, sizeof(chunk));
	}
}

static void on_ready(int fd)
{
	ssize_t n = serve(fd);

	if (n == 0 || (n < 0 && n != -EAGAIN))
		net_close(fd);
}

static void on_accept(int ep, int listener)
{
	int fd;

	while ((fd = net_accept(listener)) >= 0) {
		struct epoll_event ev = {.data.fd = fd, .events = EPOLLIN};

		if (fd >= MAX_FD) {
			net_close(fd);
			continue;
		}
		kind_of[fd] = kind_of[listener] - KINDS;
		matched[fd] = 0;
		if (kind_of[fd] == SOURCE)
			ev.events = EPOLLOUT;
		net_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void listen_all(int ep)
{
	for (unsigned k = 0; k < KINDS; k++) {
		int fd = net_listen(opt.family, port_of[k]);
		struct epoll_event ev = {.data.fd = fd, .events = EPOLLIN};

		if (fd < 0) {
			fprintf(stderr, "listen on port %u: %s\n", port_of[k], strerror(-fd));
			exit(1);
		}
		kind_of[fd] = (uint8_t)(k + KINDS);
		net_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void run(int ep)
{
	struct epoll_event ev[256];

	while (!stop) {
		int n = net_epoll_wait(ep, ev, 256, 100, opt.spin);

		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd;

			if (kind_of[fd] >= KINDS)
				on_accept(ep, fd);
			else
				on_ready(fd);
		}
	}
}

static void options(int argc, char **argv)
{
	static const struct option names[] = {{"zc", 0, NULL, 'z'},
					      {"busy", 0, NULL, 's'},
					      {"dump", 0, NULL, 'd'},
					      {"v6", 0, NULL, '6'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'd':
			opt.dump = true;
			break;
		case 'z':
			opt.zc = true;
			break;
		case 's':
			opt.spin = true;
			break;
		case '6':
			opt.family = AF_INET6;
			break;
		default:
			fprintf(stderr,
				"usage: %s [--zc] [--busy] [--dump] [--v6] [the stack's "
				"options]\n%s",
				argv[0], net_usage());
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	int ep;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	net_start(&argc, argv);
	options(argc, argv);
	make_response();
	kind_of = calloc(2, MAX_FD);
	ep = net_epoll_create();
	if (kind_of == NULL || ep < 0) {
		fprintf(stderr, "%s: no memory\n", argv[0]);
		return 1;
	}
	matched = kind_of + MAX_FD;
	listen_all(ep);
	printf("ready\n");
	fflush(stdout);
	run(ep);
	if (opt.dump)
		net_dump();
	net_stop();
	return 0;
}
