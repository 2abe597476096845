/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of the rows share: one port, frames of known content in every kind of buffer.
 */
#ifndef ZS_TEST_DEV_TEST_H
#define ZS_TEST_DEV_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "dev/dev.h"

#define FRAME_MAX 2048

static struct dev *port, *far;
static struct pkt_pools pools;
static struct drop_counters drops;
static uint64_t copied;

static inline void outside_free(void *addr, void *opaque)
{
	(*(unsigned *)opaque)++;
}

static inline int open_port(unsigned index, unsigned n_queues, struct dev **out, char *err,
			    size_t err_len)
{
	struct rte_mempool *rx[8] = {pools.rx, pools.rx, pools.rx, pools.rx};
	struct dev_cfg dc = {.n_queues = (uint16_t)n_queues, .rx_pools = rx};

	return dev_open(index, &dc, out, err, err_len);
}

/* `far` comes first, when there is a second SPEC: memif wants the server before the client. */
static inline int start_queues(const char *spec, const char *far_spec, bool huge, unsigned n_queues)
{
	const char *const vdevs[] = {far_spec ? far_spec : spec, far_spec ? spec : NULL, NULL};
	struct dev_eal_cfg cfg = {
		.vdevs = vdevs, .no_huge = !huge, .mem_mb = 160, .n_queues = (uint16_t)n_queues};
	char err[200] = "";

	if (dev_eal_init(&cfg, err, sizeof(err)) < 0 || dev_count() != 1 + (far_spec != NULL) ||
	    dev_pools_create(0, 8192, 2048, 0, NULL, &pools, err, sizeof(err)) < 0)
		goto fail;
	if (far_spec != NULL && open_port(0, n_queues, &far, err, sizeof(err)) < 0)
		goto fail;
	if (open_port(far_spec != NULL, n_queues, &port, err, sizeof(err)) < 0)
		goto fail;
	dev_describe(port, stdout);
	return 0;
fail:
	print_error("%s\n", err);
	return -1;
}

static inline int start(const char *spec, const char *far_spec, bool huge)
{
	return start_queues(spec, far_spec, huge, 1);
}

static inline int stop(void **state)
{
	dev_close(port);
	dev_close(far);
	dev_pools_destroy(&pools);
	dev_eal_fini();
	return 0;
}

static inline unsigned send_one(struct rte_mbuf *m, uint16_t flags)
{
	struct pkt p = {.m = m, .flags = flags};

	return dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied);
}

/* Ethernet, IPv4 and UDP around `len` bytes of payload (values of rand()). The checksum field
 * holds the sum of the pseudo-header, as the protocols leave it. */
static inline uint32_t frame_make(uint8_t *f, uint32_t len)
{
	static const uint8_t head[] = {
		2,    0, 0, 0, 0, 2, 2, 0, 0,  0,  0, 1, 8,  0, /* Ethernet, IPv4 */
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, /* IPv4, UDP */
		0,    7, 0, 7, 0, 0, 0, 0,
	};
	uint32_t udp = len + 8, ip = udp + 20, sum;

	memcpy(f, head, sizeof(head));
	f[16] = (uint8_t)(ip >> 8);
	f[17] = (uint8_t)ip;
	f[38] = (uint8_t)(udp >> 8);
	f[39] = (uint8_t)udp;
	sum = (10 << 8) + 1 + (10 << 8) + 2 + 17 + udp;
	f[40] = (uint8_t)(sum >> 8);
	f[41] = (uint8_t)sum;
	for (uint32_t i = 0; i < len; i++)
		f[42 + i] = (uint8_t)rand();
	return 42 + len;
}

/* The sum, folded, of the UDP datagram and its pseudo-header: 0xffff when its checksum is right. */
static inline uint32_t udp_sum(const uint8_t *f, uint32_t len)
{
	uint32_t sum = (10 << 8) + 1 + (10 << 8) + 2 + 17 + (len - 34);

	for (uint32_t i = 34; i < len; i++)
		sum += i & 1 ? f[i] : (uint32_t)f[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A frame of one TCP segment; its checksum field holds the pseudo-header's sum. */
static inline void tcp_header_make(uint8_t *f, uint32_t len)
{
	uint32_t sum;

	frame_make(f, len - 42);
	f[23] = 6;
	sum = (10 << 8) + 1 + (10 << 8) + 2 + 6 + (len - 34);
	memset(f + 38, 0, 16);
	f[46] = 5 << 4;
	sum = (sum & 0xffff) + (sum >> 16);
	f[50] = (uint8_t)(sum >> 8);
	f[51] = (uint8_t)sum;
	f[52] = f[53] = 0;
}

/* The frame as headers in one buffer and payload in n slices, of pool memory or outside memory. */
static inline struct rte_mbuf *chain_make(const uint8_t *f, uint32_t len, unsigned n,
					  struct rte_mbuf *body)
{
	struct rte_mbuf *h = pkt_alloc_hdr(&pools), *tail = h;
	uint32_t off = 0, left = len - 42;

	assert_non_null(h);
	memcpy(pkt_put(h, 42), f, 42);
	for (unsigned i = 0; i < n; i++) {
		uint16_t take = (uint16_t)(i + 1 == n ? left : left / (n - i) | 1);
		struct rte_mbuf *s = pkt_slice(&pools, body, (uint16_t)off, take);

		assert_non_null(s);
		tail->next = s;
		tail = s;
		h->nb_segs++;
		h->pkt_len += take;
		off += take;
		left -= take;
	}
	return h;
}

/* A buffer of the receive pool with the frame's payload. */
static inline struct rte_mbuf *body_make(const uint8_t *f, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

	assert_non_null(m);
	memcpy(pkt_put(m, (uint16_t)(len - 42)), f + 42, len - 42);
	return m;
}

/* The same, in memory that DPDK doesn't know. */
static inline struct rte_mbuf *body_attach(uint8_t *f, uint32_t len,
					   struct rte_mbuf_ext_shared_info *info, unsigned *freed)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.ref);

	assert_non_null(m);
	*info = (struct rte_mbuf_ext_shared_info){.free_cb = outside_free, .fcb_opaque = freed};
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, f + 42, RTE_BAD_IOVA, (uint16_t)(len - 42), info);
	pkt_put(m, (uint16_t)(len - 42));
	return m;
}

#endif
