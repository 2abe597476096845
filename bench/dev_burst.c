/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What src/dev costs above the PMD: cycles per packet of dev_tx_burst() and dev_rx_burst(), and of
 * the calls of rte_ethdev that are inside them, on one core that plays both ends.
 *
 *	dev_burst ring | memif | memif_zero_copy | virtio
 *
 * virtio has its far end in a second process that takes what comes. Then the price of a buffer: a
 * thread that DPDK knows against one that it doesn't (dev_thread_init). Medians.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "dev/dev.h"

enum { BURST = 32, ROUNDS = 5, BURSTS = 2000, HEADERS = 54 };

static struct pkt_pools pools;
static struct dev *port, *far;
static uint16_t port_id, far_id;
static bool echo; /* frames come back to us */

struct sample {
	double tx, rx;
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* Ethernet, IPv4, TCP; payload inline or as a slice of `body`. */
static struct rte_mbuf *frame(uint32_t payload, struct rte_mbuf *body)
{
	static const uint8_t head[HEADERS] = {
		[12] = 8, [14] = 0x45, [22] = 64, [23] = 6, [46] = 0x50,
	};
	struct rte_mbuf *m = pkt_alloc_hdr(&pools), *s;
	uint32_t total = payload + HEADERS - 14;
	uint8_t *f;

	if (m == NULL)
		return NULL;
	f = pkt_put(m, HEADERS);
	memcpy(f, head, HEADERS);
	f[16] = (uint8_t)(total >> 8);
	f[17] = (uint8_t)total;
	if (payload <= PKT_INLINE_MAX) {
		memset(pkt_put(m, (uint16_t)payload), 0x5a, payload);
		return m;
	}
	s = pkt_slice(&pools, body, 0, (uint16_t)payload);
	if (s == NULL) {
		pkt_free(m);
		return NULL;
	}
	m->next = s;
	m->nb_segs = 2;
	m->pkt_len += payload;
	return m;
}

static unsigned make(struct pkt *p, struct rte_mbuf **m, uint32_t payload, uint16_t flags,
		     struct rte_mbuf *body)
{
	for (unsigned i = 0; i < BURST; i++) {
		m[i] = frame(payload, body);
		if (m[i] == NULL)
			return i;
		p[i] = (struct pkt){.m = m[i], .flags = flags};
	}
	return BURST;
}

/* Medians over bursts: neighbours on the machine take whole slices of time away. */
static struct sample once(bool raw, uint32_t payload, uint16_t flags, struct rte_mbuf *body)
{
	static double tx[BURSTS], rx[BURSTS];
	struct drop_counters drops = {0};
	struct rte_mbuf *m[BURST];
	struct pkt p[BURST];
	unsigned n_tx = 0, n_rx = 0;
	uint64_t copied = 0, t;

	for (unsigned b = 0; b < BURSTS; b++) {
		unsigned n = make(p, m, payload, flags, body), took, r;

		t = rte_rdtsc();
		took = raw ? rte_eth_tx_burst(port_id, 0, m, (uint16_t)n)
			   : dev_tx_burst(port, 0, p, n, &pools, &drops, &copied);
		t = rte_rdtsc() - t;
		if (took == BURST)
			tx[n_tx++] = (double)t / BURST;
		for (unsigned i = took; i < n; i++)
			pkt_free(m[i]);
		if (!echo) {
			/* Its far end may need our CPU to take them. */
			while (!raw && dev_tx_reclaim(port, 0))
				sched_yield();
			usleep(raw ? 100 : 0);
			continue;
		}
		t = rte_rdtsc();
		r = raw ? rte_eth_rx_burst(far_id, 0, m, BURST)
			: dev_rx_burst(far, 0, p, BURST, &drops);
		t = rte_rdtsc() - t;
		if (r == BURST)
			rx[n_rx++] = (double)t / BURST;
		for (unsigned i = 0; i < r; i++)
			pkt_free(raw ? m[i] : p[i].m);
	}
	return (struct sample){n_tx ? median(tx, n_tx) : 0, n_rx ? median(rx, n_rx) : 0};
}

static void compare(const char *what, uint32_t payload, uint16_t flags)
{
	double tx[2][ROUNDS], rx[2][ROUNDS], t[2], r[2];
	struct rte_mbuf *body = rte_pktmbuf_alloc(pools.rx);

	memset(pkt_put(body, 1500), 0x5a, 1500);
	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned raw = 0; raw < 2; raw++) {
			struct sample s = once(raw, payload, flags, body);

			tx[raw][i] = s.tx;
			rx[raw][i] = s.rx;
		}
	for (unsigned raw = 0; raw < 2; raw++) {
		t[raw] = median(tx[raw], ROUNDS);
		r[raw] = median(rx[raw], ROUNDS);
	}
	printf("%-34s send %6.1f (PMD %6.1f, ours %5.1f)   receive %6.1f (PMD %6.1f, ours %5.1f)\n",
	       what, t[0], t[1], t[0] - t[1], r[0], r[1], r[0] - r[1]);
	pkt_free(body);
}

static void *buffers(void *known)
{
	struct rte_mbuf *m[BURST];
	static double v[BURSTS];

	if (known != NULL && dev_thread_init() < 0)
		return NULL;
	for (unsigned i = 0; i < array_size(v); i++) {
		uint64_t t = rte_rdtsc();

		for (unsigned k = 0; k < BURST; k++)
			m[k] = pkt_alloc_hdr(&pools);
		for (unsigned k = 0; k < BURST; k++)
			pkt_free(m[k]);
		v[i] = (double)(rte_rdtsc() - t) / BURST;
	}
	printf("buffer taken and freed by a thread that is %-9s %6.1f cycles\n",
	       known ? "known:" : "unknown:", median(v, array_size(v)));
	if (known != NULL)
		dev_thread_fini();
	return NULL;
}

static int open_ports(const char *const *vdevs)
{
	struct dev_eal_cfg ec = {.vdevs = vdevs};
	struct dev_cfg dc = {.n_queues = 1, .rx_pools = &pools.rx};
	char err[200] = "";

	if (dev_eal_init(&ec, err, sizeof(err)) < 0 ||
	    dev_pools_create(0, 0, 0, 0, NULL, &pools, err, sizeof(err)) < 0 ||
	    dev_open(0, &dc, &far, err, sizeof(err)) < 0 ||
	    (dev_count() > 1 && dev_open(1, &dc, &port, err, sizeof(err)) < 0)) {
		fprintf(stderr, "%s\n", err);
		return -1;
	}
	if (port == NULL)
		port = far;
	for (unsigned i = 0; i < 2000 && !(dev_link_up(port) && dev_link_up(far)); i++)
		usleep(1000);
	dev_describe(port, stdout);
	rte_eth_dev_get_port_by_name(dev_name(port), &port_id);
	rte_eth_dev_get_port_by_name(dev_name(far), &far_id);
	return 0;
}

static void take_all(const char *spec)
{
	const char *const vdevs[] = {spec, NULL};
	struct drop_counters drops = {0};
	struct pkt p[BURST];

	if (open_ports(vdevs) < 0)
		_exit(1);
	for (;;) {
		unsigned n = dev_rx_burst(port, 0, p, BURST, &drops);

		while (n > 0)
			pkt_free(p[--n].m);
	}
}

static pid_t far_end(const char *spec, const char *path)
{
	pid_t pid = fork();

	if (pid == 0)
		take_all(spec);
	for (unsigned i = 0; i < 5000 && access(path, F_OK) < 0; i++)
		usleep(1000);
	usleep(100000);
	return pid;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "ring";
	char a[128] = "net_ring0", b[128] = "", path[64] = "/tmp/zs-bench-vhost";
	const char *specs[3] = {a, NULL, NULL};
	pthread_t thread;
	pid_t pid = 0;

	echo = strcmp(kind, "virtio") != 0;
	if (strncmp(kind, "memif", 5) == 0) {
		snprintf(a, sizeof(a), "net_memif0,role=server,socket=zs-bench-%d", getpid());
		snprintf(b, sizeof(b), "net_memif1,role=client,socket=zs-bench-%d,zero-copy=%s",
			 getpid(), strcmp(kind, "memif") == 0 ? "no" : "yes");
		specs[1] = b;
	} else if (!echo) {
		snprintf(a, sizeof(a), "net_vhost0,iface=%s", path);
		pid = far_end(a, path);
		snprintf(a, sizeof(a), "net_virtio_user0,path=%s", path);
	}
	if (open_ports(specs) < 0)
		return 1;
	compare("64 B, nothing to do", 10, 0);
	compare("64 B, checksum", 10, PKT_F_L4_CSUM);
	compare("512 B beside the headers, checksum", 458, PKT_F_L4_CSUM);
	compare("1514 B in a slice, nothing to do", 1460, 0);
	compare("1514 B in a slice, checksum", 1460, PKT_F_L4_CSUM);
	for (uintptr_t known = 0; known < 2; known++)
		if (pthread_create(&thread, NULL, buffers, (void *)known) == 0)
			pthread_join(thread, NULL);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		unlink(path);
	}
	return 0;
}
