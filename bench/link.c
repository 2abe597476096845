/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a link costs by itself: frames there and back between two processes that do nothing else,
 * through src/dev. What two stacks reach over it can be held against this.
 *
 *	link --vdev SPEC --echo                        sends every frame back
 *	link --vdev SPEC [--size 64] [--window 32] [--seconds 2]
 *	link --vdev SPEC --sink                        frees every frame
 *	link --vdev SPEC --flood [--size 1514]         sends as fast as the port takes them
 *
 * Prints frames per second there and back, and the round trip of one frame with a window of 1.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "dev/dev.h"
#include "hist.h"
#include "tsc.h"

static struct {
	const char *vdev[2];
	unsigned size, window;
	double seconds;
	bool echo, sink, flood;
} opt = {.size = 64, .window = 32, .seconds = 2};

static struct dev *dev;
static struct pkt_pools pools;
static struct drop_counters drops;
static struct hist hist;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "link: %s\n", what);
	exit(1);
}

/* Sends all of them, however long it takes. */
static void send_all(struct pkt *p, unsigned n)
{
	uint64_t copied = 0;
	unsigned sent = 0;

	while (sent < n && !stop)
		sent += dev_tx_burst(dev, 0, p + sent, n - sent, &pools, &drops, &copied);
}

static void echo(void)
{
	struct pkt p[PKT_BURST];

	while (!stop) {
		unsigned n = dev_rx_burst(dev, 0, p, PKT_BURST, &drops);

		for (unsigned i = 0; i < n; i++)
			p[i].flags = 0;
		if (n > 0)
			send_all(p, n);
	}
}

static void send_new(unsigned n)
{
	struct pkt p[PKT_BURST];
	uint64_t now = tsc();

	for (unsigned i = 0; i < n; i++) {
		uint8_t *f;

		p[i] = (struct pkt){.m = rte_pktmbuf_alloc(pools.rx)};
		if (p[i].m == NULL)
			die("no buffer");
		f = pkt_put(p[i].m, (uint16_t)opt.size);
		memset(f, 0xff, 12);
		f[12] = 0x88; /* an EtherType for experiments (IEEE 802a) */
		f[13] = 0xb5;
		memcpy(f + 16, &now, 8);
	}
	send_all(p, n);
}

static void sink(void)
{
	struct pkt p[PKT_BURST];

	while (!stop) {
		unsigned n = dev_rx_burst(dev, 0, p, PKT_BURST, &drops);

		for (unsigned i = 0; i < n; i++)
			pkt_free(p[i].m);
	}
}

/* A burst of frames from one buffer, a header and a slice each, as a stack sends them. */
static unsigned flood_make(struct pkt *p, struct rte_mbuf *body)
{
	unsigned n;

	for (n = 0; n < PKT_BURST; n++) {
		struct rte_mbuf *h = pkt_alloc_hdr(&pools);
		struct rte_mbuf *s = pkt_slice(&pools, body, 0, body->data_len);

		if (h == NULL || s == NULL) {
			pkt_free(h);
			pkt_free(s);
			break;
		}
		memset(pkt_put(h, 54), 0xff, 54);
		pkt_data(h)[12] = 0x88;
		pkt_data(h)[13] = 0xb5;
		if (pkt_chain(h, s) != 0)
			die("no chain");
		p[n] = (struct pkt){.m = h};
	}
	return n;
}

/* Frames a second that the port takes, from the first on: the far end may not be there yet. */
static double flood(double seconds)
{
	uint64_t start = 0, now = clock_now_ns(), done = 0, copied = 0;
	struct rte_mbuf *body = rte_pktmbuf_alloc(pools.rx);

	if (body == NULL)
		die("no buffer");
	pkt_put(body, (uint16_t)(opt.size - 54));
	while (!stop && (start == 0 || now < start + (uint64_t)(seconds * 1e9))) {
		struct pkt p[PKT_BURST];
		unsigned n = flood_make(p, body), sent;

		sent = dev_tx_burst(dev, 0, p, n, &pools, &drops, &copied);
		now = clock_now_ns();
		if (start == 0 && sent > 0)
			start = now;
		done += sent;
		for (; sent < n; sent++)
			pkt_free(p[sent].m);
		if (n == 0)
			dev_tx_reclaim(dev, 0);
	}
	pkt_free(body);
	return start == 0 ? 0 : (double)done * 1e9 / (double)(now - start);
}

/* How many frames came back. */
static unsigned take(void)
{
	struct pkt p[PKT_BURST];
	unsigned n = dev_rx_burst(dev, 0, p, PKT_BURST, &drops), ours = 0;

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *f = pkt_data(p[i].m);
		uint64_t at;

		if (f[12] == 0x88 && f[13] == 0xb5) {
			memcpy(&at, f + 16, 8);
			hist_add(&hist, tsc() - at);
			ours++;
		}
		pkt_free(p[i].m);
	}
	return ours;
}

static double ping(unsigned window, double seconds)
{
	uint64_t start = clock_now_ns(), last = start, now, done = 0;
	unsigned out = 0;

	hist = (struct hist){0};
	while (!stop && (now = clock_now_ns()) < start + (uint64_t)(seconds * 1e9)) {
		unsigned got;

		if (out < window) {
			unsigned more = window - out < PKT_BURST ? window - out : PKT_BURST;

			send_new(more);
			out += more;
		}
		got = take();
		out -= got < out ? got : out;
		done += got;
		if (got > 0)
			last = now;
		else if (now - last > 200000000)
			out = 0; /* lost, or the other side was not there yet */
	}
	return (double)done / seconds;
}

static void options(int argc, char **argv)
{
	static const struct option names[] = {{"vdev", 1, NULL, 'v'},	{"size", 1, NULL, 'b'},
					      {"window", 1, NULL, 'w'}, {"seconds", 1, NULL, 't'},
					      {"echo", 0, NULL, 'e'},	{"sink", 0, NULL, 'k'},
					      {"flood", 0, NULL, 'f'},	{0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'v')
			opt.vdev[0] = optarg;
		else if (c == 'b')
			opt.size = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'w')
			opt.window = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 't')
			opt.seconds = strtod(optarg, NULL);
		else if (c == 'e')
			opt.echo = true;
		else if (c == 'k')
			opt.sink = true;
		else if (c == 'f')
			opt.flood = true;
		else
			exit(2);
	}
	if (opt.vdev[0] == NULL || opt.size < 60 || opt.size > 1514 || opt.window == 0) {
		fprintf(stderr,
			"usage: %s --vdev SPEC [--echo | --sink | --flood | --size 60-1514 "
			"--window N --seconds S]\n",
			argv[0]);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct dev_eal_cfg ec = {.vdevs = opt.vdev, .n_mbufs = 16384};
	struct dev_cfg dc = {.n_queues = 1, .promiscuous = true};
	char err[200];
	double rate, per_us;

	options(argc, argv);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	if (dev_eal_init(&ec, err, sizeof(err)) < 0 ||
	    dev_pools_create(0, 8192, 8192, 0, NULL, &pools, err, sizeof(err)) < 0)
		die(err);
	dc.rx_pools = &pools.rx;
	if (dev_open(0, &dc, &dev, err, sizeof(err)) < 0)
		die(err);
	printf("ready\n");
	fflush(stdout);
	if (opt.echo) {
		echo();
	} else if (opt.sink) {
		sink();
	} else if (opt.flood) {
		flood(0.5);
		rate = flood(opt.seconds);
		printf("size=%u rate=%.0f gbps=%.2f\n", opt.size, rate, rate * opt.size * 8 / 1e9);
	} else {
		per_us = tsc_per_ns() * 1000;
		ping(1, 1);
		ping(1, opt.seconds);
		printf("size=%u p50_us=%.2f p99_us=%.2f ", opt.size,
		       (double)hist_quantile(&hist, 0.5) / per_us,
		       (double)hist_quantile(&hist, 0.99) / per_us);
		rate = ping(opt.window, opt.seconds);
		printf("window=%u rate=%.0f gbps=%.2f cycles=%.0f\n", opt.window, rate,
		       rate * opt.size * 8 / 1e9, per_us * 1e6 / rate);
	}
	dev_close(dev);
	dev_pools_destroy(&pools);
	dev_eal_fini();
	return 0;
}
