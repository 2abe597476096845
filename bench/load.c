/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The load generator of the benchmarks: on the kernel (load_kernel) and on Z-Stack (load_zs).
 *
 *	load_zs --test http --conns 256 --seconds 3 --to 10.0.0.1 [the stack's options]
 *
 * http, echo   one request at a time on each connection
 * send, recv   bulk to the server's discard port, from its source port
 * open         connect, 64 bytes there and back, reset; `conns` at a time
 *
 * Prints one line of NAME=VALUE, of the time after the warm-up: rate (requests or connections a
 * second), p50_us, p99_us (from the call that sends to the call that has all), gbps, and what went
 * wrong. Exit 1 when a connection broke.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "hist.h"
#include "net.h"
#include "tsc.h"

enum mode { M_HTTP, M_ECHO, M_SEND, M_RECV, M_OPEN, MODES };
static const char *const mode_name[MODES] = {"http", "echo", "send", "recv", "open"};
static const uint16_t mode_port[MODES] = {80, 7, 9, 19, 7};

#define CHUNK  65536
#define MAX_FD (1 << 20)

static struct {
	enum mode mode;
	unsigned conns, size;
	double seconds, warmup;
	bool zc, spin, dump;
	const char *to;
} opt = {.mode = M_HTTP, .conns = 1, .size = 64, .seconds = 3, .warmup = 0.5};

struct conn {
	uint64_t sent_at; /* cycles */
	uint32_t want;	  /* bytes of the answer still to come; 0 = its length is not known */
	bool connected;
};

static struct conn *conn; /* by descriptor */
static char request[4096], chunk[CHUNK];
static size_t request_len;
static uint32_t answer_len; /* of every answer; learned from the first */
static struct hist hist;
static uint64_t done, bytes, errors;
static unsigned live, opened;
static bool measuring;
static int ep;
static struct sockaddr_storage to;
static socklen_t to_len;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static void broken(int fd, const char *what, ssize_t rc)
{
	if (errors++ == 0)
		fprintf(stderr, "load: %s: %s\n", what, rc < 0 ? strerror((int)-rc) : "ended");
	net_close(fd);
	live--;
}

static void ask(int fd)
{
	struct conn *c = &conn[fd];
	ssize_t n;

	c->sent_at = tsc();
	c->want = answer_len;
	n = net_write(fd, request, request_len);
	if (n != (ssize_t)request_len)
		broken(fd, "request", n);
}

static void connect_one(void)
{
	int fd = net_connect((struct sockaddr *)&to, to_len);
	struct epoll_event ev = {.data.fd = fd, .events = EPOLLOUT};

	if (fd < 0 || fd >= MAX_FD) {
		if (errors++ == 0)
			fprintf(stderr, "load: connect: %s\n", strerror(-fd));
		return;
	}
	conn[fd] = (struct conn){.sent_at = tsc()};
	net_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	live++;
	opened++;
}

static void on_connected(int fd)
{
	struct epoll_event ev = {.data.fd = fd, .events = EPOLLIN};
	uint64_t at = conn[fd].sent_at;

	conn[fd].connected = true;
	if (opt.mode == M_SEND)
		return; /* stays interested in EPOLLOUT */
	net_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	if (opt.mode == M_RECV)
		return;
	ask(fd);
	if (opt.mode == M_OPEN)
		conn[fd].sent_at = at;
}

static uint32_t learn(const char *buf, ssize_t n)
{
	const char *body = memmem(buf, (size_t)n, "\r\n\r\n", 4);
	const char *len = memmem(buf, (size_t)n, "Content-Length: ", 16);

	if (body == NULL || len == NULL || len > body) {
		fprintf(stderr, "load: the first response is not whole\n");
		exit(1);
	}
	return (uint32_t)(body + 4 - buf) + (uint32_t)strtoul(len + 16, NULL, 10);
}

static void answered(int fd)
{
	if (measuring) {
		done++;
		hist_add(&hist, tsc() - conn[fd].sent_at);
	}
	if (opt.mode != M_OPEN) {
		ask(fd);
		return;
	}
	net_abort(fd);
	live--;
	connect_one();
}

static void on_answer(int fd)
{
	struct conn *c = &conn[fd];
	ssize_t n = net_read(fd, chunk, sizeof(chunk));

	if (n <= 0) {
		if (n != -EAGAIN)
			broken(fd, "response", n);
		return;
	}
	if (c->want == 0)
		c->want = answer_len = learn(chunk, n);
	if (n > c->want) {
		broken(fd, "response too long", -EPROTO);
		return;
	}
	c->want -= (uint32_t)n;
	if (c->want == 0)
		answered(fd);
}

static void on_bulk(int fd)
{
	ssize_t n;

	if (opt.mode == M_SEND)
		n = opt.zc ? net_source_zc(fd, CHUNK) : net_write(fd, chunk, sizeof(chunk));
	else
		n = opt.zc ? net_discard_zc(fd) : net_read(fd, chunk, sizeof(chunk));
	if (n > 0)
		bytes += measuring ? (uint64_t)n : 0;
	else if (n != -EAGAIN)
		broken(fd, "bulk", n);
}

static void turn(void)
{
	struct epoll_event ev[256];
	int n = net_epoll_wait(ep, ev, 256, 100, opt.spin);

	for (int i = 0; i < n; i++) {
		int fd = ev[i].data.fd;

		if (!conn[fd].connected) {
			if (ev[i].events & (EPOLLERR | EPOLLHUP))
				broken(fd, "connect", -ECONNREFUSED);
			else
				on_connected(fd);
		} else if (opt.mode == M_SEND || opt.mode == M_RECV) {
			on_bulk(fd);
		} else {
			on_answer(fd);
		}
	}
	/* A few at a time: the peer's queue of handshakes is finite. */
	for (unsigned i = 0; i < 16 && opened < opt.conns; i++)
		connect_one();
}

static void turn_for(double seconds)
{
	uint64_t end = clock_now_ns() + (uint64_t)(seconds * 1e9);

	while (!stop && clock_now_ns() < end)
		for (unsigned i = 0; i < 16 && !stop; i++)
			turn();
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void measure(void)
{
	double per_us = tsc_per_ns() * 1000, cpu, secs;
	uint64_t start;

	while (!stop && opened < opt.conns && errors == 0)
		turn();
	turn_for(opt.warmup);
	measuring = true;
	start = clock_now_ns();
	cpu = cpu_seconds();
	turn_for(opt.seconds);
	measuring = false;
	secs = (double)(clock_now_ns() - start) / 1e9;
	printf("mode=%s conns=%u rate=%.0f p50_us=%.2f p99_us=%.2f gbps=%.3f cpu=%.2f "
	       "errors=%llu\n",
	       mode_name[opt.mode], opt.conns, (double)done / secs,
	       (double)hist_quantile(&hist, 0.5) / per_us,
	       (double)hist_quantile(&hist, 0.99) / per_us, (double)bytes * 8 / secs / 1e9,
	       (cpu_seconds() - cpu) / secs, (unsigned long long)errors);
}

static void prepare(void)
{
	struct sockaddr_in *a4 = (void *)&to;
	struct sockaddr_in6 *a6 = (void *)&to;

	if (inet_pton(AF_INET, opt.to, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(mode_port[opt.mode]);
		to_len = sizeof(*a4);
	} else if (inet_pton(AF_INET6, opt.to, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons(mode_port[opt.mode]);
		to_len = sizeof(*a6);
	} else {
		fprintf(stderr, "load: --to %s: an IP address\n", opt.to);
		exit(2);
	}
	memset(chunk, 'y', sizeof(chunk));
	if (opt.mode == M_HTTP) {
		request_len = (size_t)snprintf(request, sizeof(request),
					       "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", opt.to);
		return;
	}
	memset(request, 'q', sizeof(request));
	request_len = answer_len = opt.size;
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s --to IP [--test http|echo|send|recv|open] [--conns N] [--size BYTES]\n"
		"          [--seconds S] [--warmup S] [--zc] [--busy] [--dump] [the stack's "
		"options]\n%s",
		name, net_usage());
	exit(2);
}

static void mode_set(const char *name, const char *arg)
{
	for (unsigned i = 0; i < MODES; i++)
		if (strcmp(arg, mode_name[i]) == 0) {
			opt.mode = i;
			return;
		}
	usage(name);
}

static void options(int argc, char **argv)
{
	static const struct option names[] = {{"test", 1, NULL, 'm'},	{"conns", 1, NULL, 'n'},
					      {"size", 1, NULL, 'b'},	{"seconds", 1, NULL, 't'},
					      {"warmup", 1, NULL, 'w'}, {"to", 1, NULL, 'a'},
					      {"zc", 0, NULL, 'z'},	{"busy", 0, NULL, 's'},
					      {"dump", 0, NULL, 'd'},	{0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'm':
			mode_set(argv[0], optarg);
			break;
		case 'n':
			opt.conns = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'b':
			opt.size = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			opt.seconds = strtod(optarg, NULL);
			break;
		case 'w':
			opt.warmup = strtod(optarg, NULL);
			break;
		case 'a':
			opt.to = optarg;
			break;
		case 'd':
			opt.dump = true;
			break;
		case 'z':
			opt.zc = true;
			break;
		case 's':
			opt.spin = true;
			break;
		default:
			usage(argv[0]);
		}
	}
	if (opt.to == NULL || opt.conns == 0 || opt.size == 0 || opt.size > sizeof(request))
		usage(argv[0]);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	net_start(&argc, argv);
	options(argc, argv);
	prepare();
	conn = calloc(MAX_FD, sizeof(*conn));
	ep = net_epoll_create();
	if (conn == NULL || ep < 0) {
		fprintf(stderr, "%s: no memory\n", argv[0]);
		return 1;
	}
	measure();
	if (opt.dump)
		net_dump();
	net_stop();
	return errors != 0;
}
