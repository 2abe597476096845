/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports whose other side is the kernel: af_packet on a veth pair (argument "jumbo": with jumbo
 * frames; "queues": two of them; "plain": the interface's offloads off; "driver": the frames moved
 * by DPDK's driver), and tap (argument "tap"). A raw socket stands at the far end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/csum.h"
#include "dev/dev_priv.h"
#include "dev_test.h"

#define JUMBO 9100
/* VIRTIO_NET_HDR_GSO_UDP_L4, a name that older headers lack. */
#define GSO_UDP_L4 5

static int far_end;
static const char *far_name;
static unsigned n_queues = 1;

/* The far end's next IPv4 frame; others (the kernel's own) are passed over. */
static uint32_t far_receive(uint8_t *out, size_t len)
{
	struct pollfd pfd = {.fd = far_end, .events = POLLIN};

	while (poll(&pfd, 1, 1000) == 1) {
		ssize_t n = recv(far_end, out, len, 0);

		if (n > 14 && out[12] == 8 && out[13] == 0)
			return (uint32_t)n;
	}
	return 0;
}

static void check_arrives(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	uint8_t got[FRAME_MAX];

	assert_int_equal(send_one(m, PKT_F_L4_CSUM), 1);
	assert_int_equal(far_receive(got, sizeof(got)), len);
	assert_memory_equal(got, want, 40);
	assert_memory_equal(got + 42, want + 42, len - 42);
	/* Where the kernel is told that the sum is still to be made, it is not there to be seen. */
	if (!dev_caps(port)->tx_l4_csum)
		assert_int_equal(udp_sum(got, len), 0xffff);
}

static void chains_of_slices_arrive_whole_with_a_checksum(void **state)
{
	uint8_t f[FRAME_MAX];

	for (uint32_t size = 18; size <= 1472; size += 53) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *body = body_make(f, len);

		check_arrives(chain_make(f, len, 5, body), f, len);
		assert_int_equal(rte_mbuf_refcnt_read(body), 1);
		pkt_free(body);
	}
}

static void outside_memory_arrives_and_is_given_back_once(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t f[FRAME_MAX];
	unsigned freed = 0;
	uint32_t len = frame_make(f, 1000);
	struct rte_mbuf *body = body_attach(f, len, &info, &freed);
	struct rte_mbuf *m = chain_make(f, len, 3, body);

	pkt_free(body);
	check_arrives(m, f, len);
	assert_int_equal(freed, 1);
}

/* Many times the frames of the PMD's ring: never blocks, never loses. */
static void two_thousand_frames_in_bursts_all_arrive_in_order(void **state)
{
	uint8_t f[FRAME_MAX], got[FRAME_MAX];
	uint32_t len = frame_make(f, 100), sent = 0, seen = 0;

	while (sent < 2000) {
		struct pkt p[32] = {0};
		unsigned n = dev_tx_room(port, 0, 32);

		for (unsigned i = 0; i < n; i++) {
			p[i].m = rte_pktmbuf_alloc(pools.rx);
			assert_non_null(p[i].m);
			f[50] = (uint8_t)(sent + i);
			memcpy(pkt_put(p[i].m, (uint16_t)len), f, len);
		}
		assert_int_equal(dev_tx_burst(port, 0, p, n, &pools, &drops, &copied), n);
		for (sent += n; seen < sent; seen++) {
			assert_int_equal(far_receive(got, sizeof(got)), len);
			assert_int_equal(got[50], (uint8_t)seen);
		}
	}
}

/* DESIGN §3.12: the PMD's socket is found and is readable when a frame is there. */
static void frame_arrives_wakes_the_socket_and_is_received(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	uint8_t f[FRAME_MAX];
	struct pkt p[8];
	uint32_t len = frame_make(f, 700);
	unsigned n, found = 0;

	assert_int_equal(dev_wake_kind(port, 0), DEV_WAKE_SOCKET);
	while ((n = dev_rx_burst(port, 0, p, 8, &drops)) > 0)
		while (n > 0)
			pkt_free(p[--n].m);
	dev_wake_arm(port, 0);
	assert_int_equal(send(far_end, f, len, 0), len);
	assert_int_equal(poll(&pfd, 1, 1000), 1);
	assert_true(pfd.revents & POLLIN);
	dev_wake_disarm(port, 0);
	n = dev_rx_burst(port, 0, p, 8, &drops);
	while (n-- > 0) {
		found += p[n].m->pkt_len == len && memcmp(pkt_data(p[n].m), f, len) == 0;
		assert_int_equal(p[n].flags, 0);
		pkt_free(p[n].m);
	}
	assert_int_equal(found, 1);
}

static struct rte_mbuf *receive_ip(unsigned ms)
{
	struct pkt p;

	for (unsigned i = 0; i < ms * 10; i++, usleep(100))
		while (dev_rx_burst(port, (uint16_t)(i % n_queues), &p, 1, &drops) == 1) {
			const uint8_t *f = pkt_data(p.m);

			if ((f[12] == 8 && f[13] == 0) || (f[12] == 0x81 && f[16] == 8))
				return p.m;
			pkt_free(p.m);
		}
	return NULL;
}

static void check_same(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	static uint8_t got[JUMBO];

	assert_non_null(m);
	assert_int_equal(m->pkt_len, len);
	assert_int_equal(pkt_copy_out(m, 0, len, got), len);
	assert_memory_equal(got, want, len);
	pkt_free(m);
}

/* The PMD cuts what exceeds its frame size and says nothing: the kernel has the rest. */
static void frame_larger_than_the_ring_arrives_whole(void **state)
{
	uint8_t f[JUMBO], small[FRAME_MAX];
	uint32_t sizes[] = {1900, 1940, 1941, 1950, 2000, 4000, 8000, 8900};
	struct dev_counters c;

	for (unsigned i = 0; i < array_size(sizes); i++) {
		uint32_t len = frame_make(f, sizes[i]), n = frame_make(small, 100);

		assert_int_equal(send(far_end, small, n, 0), n);
		assert_int_equal(send(far_end, f, len, 0), len);
		assert_int_equal(send(far_end, small, n, 0), n);
		check_same(receive_ip(1000), small, n);
		check_same(receive_ip(1000), f, len);
		check_same(receive_ip(1000), small, n);
	}
	dev_counters(port, &c);
	assert_int_equal(c.rx_truncated, 0);
}

/* H19: the kernel keeps what the socket's buffer holds. The others are dropped, none comes cut, and
 * later ones arrive again. */
static void more_than_the_kernel_keeps_is_dropped_and_counted(void **state)
{
	enum { N = 900 };
	const int room = 1 << 20;
	uint64_t before = drops.n[DROP_ETH_TRUNCATED];
	uint8_t f[JUMBO];
	uint32_t len = frame_make(f, 8000), got = 0;
	struct rte_mbuf *m;

	assert_int_equal(
		setsockopt(dev_wake_fd(port, 0), SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	for (unsigned i = 0; i < N; i++) {
		memcpy(f + 50, &i, sizeof(i));
		assert_int_equal(send(far_end, f, len, 0), len);
	}
	while ((m = receive_ip(200)) != NULL) {
		memcpy(f + 50, pkt_data(m) + 50, sizeof(unsigned));
		check_same(m, f, len);
		got++;
	}
	assert_in_range(got, 100, N - 1);
	assert_int_equal(drops.n[DROP_ETH_TRUNCATED] - before, N - got);
	memset(f + 50, 0xee, 4);
	assert_int_equal(send(far_end, f, len, 0), len);
	check_same(receive_ip(1000), f, len);
}

/* A ring for the interface's MTU: nothing is cut, and such frames leave too. */
static void jumbo_frames_arrive_and_leave(void **state)
{
	uint8_t f[JUMBO], got[JUMBO];

	assert_int_equal(dev_mtu(port), 9000);
	for (uint32_t size = 1400; size <= 9000 - 28; size += 7572 / 8) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

		assert_int_equal(send(far_end, f, len, 0), len);
		check_same(receive_ip(1000), f, len);
		memcpy(pkt_put(m, (uint16_t)len), f, len);
		assert_int_equal(send_one(m, 0), 1);
		assert_int_equal(far_receive(got, sizeof(got)), len);
		assert_memory_equal(got, f, len);
	}
}

/* Silence after the frame was read: nothing to wake for. */
static void no_frame_and_the_socket_is_silent(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	struct pkt p;

	while (dev_rx_burst(port, 0, &p, 1, &drops) == 1)
		pkt_free(p.m);
	assert_int_equal(poll(&pfd, 1, 0), 0);
}

/* DESIGN §3.12: no signal interrupts the program when a frame arrives. */
static void frames_arrive_and_no_signal_does(void **state)
{
	struct timespec ts = {.tv_nsec = 20000000};
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);

	for (int i = 0; i < 10; i++)
		assert_int_equal(send(far_end, f, len, 0), len);
	assert_int_equal(nanosleep(&ts, NULL), 0);
	no_frame_and_the_socket_is_silent(state);
}

/* Both ends of a tap would have one address, and ND would find a duplicate. */
static void address_is_not_that_of_the_kernels_end(void **state)
{
	struct eth_addr ours = dev_mac(port);
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "zt");
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &ifr), 0);
	close(fd);
	assert_memory_not_equal(ifr.ifr_hwaddr.sa_data, &ours, 6);
	assert_int_equal(ours.b[0] & 1, 0);
}

/* Both queues send; what the kernel sends comes by either. */
static void second_queue_sends_and_receives(void **state)
{
	uint8_t f[FRAME_MAX], got[FRAME_MAX];
	uint32_t len = frame_make(f, 500);
	struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx)}, r;
	unsigned found = 0;

	memcpy(pkt_put(p.m, (uint16_t)len), f, len);
	assert_int_equal(dev_tx_burst(port, 1, &p, 1, &pools, &drops, &copied), 1);
	assert_int_equal(far_receive(got, sizeof(got)), len);
	assert_memory_equal(got, f, len);
	assert_int_equal(send(far_end, f, len, 0), len);
	for (int i = 0; i < 2000 && found == 0; i++, usleep(500))
		while (dev_rx_burst(port, i & 1, &r, 1, &drops) == 1) {
			found += r.m->pkt_len == len && memcmp(pkt_data(r.m), f, len) == 0;
			pkt_free(r.m);
		}
	assert_int_equal(found, 1);
}

/* The far end as a socket that sees the header in front of large packets. */
static int far_large(uint16_t type)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_protocol = htons(type)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type)), one = 1;

	sll.sll_ifindex = (int)if_nametoindex(far_name);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

/* A frame of 30,000 bytes, behind room for its virtio header. */
#define LARGE	30000
#define SEGMENT 1446
static struct {
	struct virtio_net_hdr h;
	uint8_t f[LARGE];
} __attribute__((packed)) large;

/* The frame as the stack makes it: headers, and payload in more buffers. */
static struct rte_mbuf *large_chain(const uint8_t *f, uint16_t hdr)
{
	struct rte_mbuf *h = pkt_alloc_hdr(&pools), *tail = h;

	assert_non_null(h);
	memcpy(pkt_put(h, hdr), f, hdr);
	for (uint32_t off = hdr; off < LARGE; off += 2000) {
		uint32_t n = RTE_MIN(2000u, LARGE - off);
		struct rte_mbuf *s = rte_pktmbuf_alloc(pools.rx);

		assert_non_null(s);
		memcpy(pkt_put(s, (uint16_t)n), f + off, n);
		tail->next = s;
		tail = s;
		h->nb_segs++;
		h->pkt_len += n;
	}
	h->tso_segsz = SEGMENT;
	return h;
}

static void large_send(const uint8_t *f, uint16_t hdr)
{
	struct pkt p = {.m = large_chain(f, hdr), .flags = PKT_F_TSO | PKT_F_L4_CSUM, .l4_hdr = 20};

	assert_true(dev_caps(port)->tso);
	assert_int_equal(dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied), 1);
}

/* What tcp_header_make() leaves in the field, without the length: as DPDK wants it. */
static uint32_t sum_without_length(uint8_t *f)
{
	uint32_t sum = (10 << 8) + 1 + (10 << 8) + 2 + 6;

	f[50] = (uint8_t)(sum >> 8);
	f[51] = (uint8_t)sum;
	return sum;
}

static void large_packet_leaves_as_one(void **state)
{
	static uint8_t f[LARGE];
	uint32_t sum;
	int fd = far_large(ETH_P_IP);

	tcp_header_make(f, sizeof(f));
	sum = sum_without_length(f);
	large_send(f, 54);
	assert_int_equal(recv(fd, &large, sizeof(large), 0), sizeof(large));
	assert_memory_equal(large.f + 54, f + 54, sizeof(f) - 54);
	assert_int_equal(large.h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(large.h.gso_size, SEGMENT);
	assert_int_equal(large.h.csum_start, 34);
	assert_int_equal(large.h.csum_offset, 16);
	/* DPDK leaves the length out of the pseudo-header, the kernel wants it. */
	sum += sizeof(f) - 34;
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(large.f[50] << 8 | large.f[51], sum);
	close(fd);
	while (far_receive(f, sizeof(f)) != sizeof(f))
		;
}

/* Turns what tcp_header_make() made into TCP on IPv6, with hdr (74) bytes in front of payload. */
static void to_ipv6(uint8_t *f)
{
	static const uint8_t ip[] = {0x60,
				     0,
				     0,
				     0,
				     (LARGE - 54) >> 8,
				     (LARGE - 54) & 255,
				     6,
				     64,
				     0xfd,
				     1,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     1,
				     0xfd,
				     1,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     0,
				     2};
	uint8_t tcp[20];

	memcpy(tcp, f + 34, sizeof(tcp));
	f[12] = 0x86;
	f[13] = 0xdd;
	memcpy(f + 14, ip, sizeof(ip));
	memcpy(f + 54, tcp, sizeof(tcp));
	f[70] = 0x12; /* the sum is the kernel's to make: what it begins with is compared */
	f[71] = 0x34;
}

static void large_packet_leaves_as_one_ipv6(void **state)
{
	static uint8_t f[LARGE];
	int fd = far_large(ETH_P_IPV6);

	tcp_header_make(f, sizeof(f));
	to_ipv6(f);
	large_send(f, 74);
	do
		assert_true(recv(fd, &large, sizeof(large), 0) > 0);
	while (large.f[20] != 6); /* the kernel's own are ICMP */
	assert_memory_equal(large.f, f, 70);
	assert_memory_equal(large.f + 74, f + 74, sizeof(f) - 74);
	assert_int_equal(large.h.gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
	assert_int_equal(large.h.gso_size, SEGMENT);
	assert_int_equal(large.h.csum_start, 54);
	close(fd);
}

/* The sum over a segment and its pseudo-header: 0xffff when its checksum is right. */
static uint32_t tcp_sum(const uint8_t *f, uint32_t len)
{
	uint32_t sum = (10 << 8) + 1 + (10 << 8) + 2 + 6 + (len - 34);

	for (uint32_t i = 34; i < len; i++)
		sum += i & 1 ? f[i] : (uint32_t)f[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The interface can neither cut nor sum: the kernel does. */
static void large_packet_leaves_as_segments(void **state)
{
	static uint8_t f[LARGE];
	uint8_t got[FRAME_MAX];
	uint32_t at = 54, len;

	tcp_header_make(f, sizeof(f));
	(void)sum_without_length(f);
	large_send(f, 54);
	for (; at < sizeof(f); at += len - 54) {
		len = far_receive(got, sizeof(got));
		assert_int_equal(len, 54 + RTE_MIN((uint32_t)SEGMENT, (uint32_t)sizeof(f) - at));
		assert_memory_equal(got + 54, f + at, len - 54);
		assert_int_equal(tcp_sum(got, len), 0xffff);
	}
}

static void large_make(uint8_t type, uint16_t csum_offset)
{
	large.h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					  .gso_type = type,
					  .gso_size = SEGMENT,
					  .hdr_len = 54,
					  .csum_start = 34,
					  .csum_offset = csum_offset};
}

/* Between small ones, which keep their places. */
static void large_packet_of_the_kernel_arrives_as_one(void **state)
{
	static uint8_t got[LARGE], small[FRAME_MAX];
	int fd = far_large(ETH_P_IP);
	uint32_t n = frame_make(small, 100);

	for (unsigned i = 0; i < 3; i++) {
		struct rte_mbuf *m;

		tcp_header_make(large.f, sizeof(large.f));
		large_make(VIRTIO_NET_HDR_GSO_TCPV4, 16);
		assert_int_equal(send(far_end, small, n, 0), n);
		assert_int_equal(send(fd, &large, sizeof(large), 0), sizeof(large));
		assert_int_equal(send(far_end, small, n, 0), n);
		if (n_queues == 1)
			check_same(receive_ip(1000), small, n);
		for (unsigned k = 0; k < 3; k++) {
			m = receive_ip(1000);
			assert_non_null(m);
			if (m->pkt_len != n)
				break;
			check_same(m, small, n);
		}
		assert_int_equal(m->pkt_len, sizeof(got));
		pkt_copy_out(m, 0, sizeof(got), got);
		assert_memory_equal(got + 54, large.f + 54, sizeof(got) - 54);
		assert_true(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		pkt_free(m);
		if (n_queues == 1)
			check_same(receive_ip(1000), small, n);
	}
	for (struct rte_mbuf *m; n_queues > 1 && (m = receive_ip(20)) != NULL;)
		pkt_free(m);
	close(fd);
}

/* udp(7), UDP_SEGMENT: unlike TCP's segments these stay apart. */
static void datagrams_that_were_sent_at_once_arrive_one_by_one(void **state)
{
	static uint8_t want[FRAME_MAX];
	int fd = far_large(ETH_P_IP);
	uint32_t len, left = LARGE - 42;

	frame_make(large.f, LARGE - 42);
	large_make(GSO_UDP_L4, 6);
	large.h.hdr_len = 42;
	large.f[18] = 7; /* identification */
	if (send(fd, &large, sizeof(large), 0) < 0) {
		close(fd);
		skip(); /* Linux before 6.2 */
	}
	for (uint16_t i = 0; left > 0; i++, left -= len - 42) {
		struct rte_mbuf *m = receive_ip(1000);
		const uint8_t *f;

		assert_non_null(m);
		f = pkt_data(m);
		len = 42 + RTE_MIN((uint32_t)SEGMENT, left);
		frame_make(want, len - 42); /* its headers, with the sum of the pseudo-header */
		assert_int_equal(m->pkt_len, len);
		assert_memory_equal(f, want, 18);
		assert_int_equal(f[18] << 8 | f[19], (7 << 8) + i);
		assert_int_equal(csum_fold(csum_add(0, f + 14, 20)), 0xffff);
		assert_memory_equal(f + 26, want + 26, 16);
		assert_memory_equal(f + 42, large.f + 42 + SEGMENT * i, len - 42);
		assert_true(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		pkt_free(m);
	}
	close(fd);
}

/* HOSTILE H19. */
static void header_that_lies_is_not_believed(void **state)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	static const uint16_t sizes[] = {0, UINT16_MAX, FRAME_MAX};
	unsigned before = rte_mempool_avail_count(pools.rx);
	struct dev_udp_cut cut;
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 1000);

	assert_int_equal(dev_vnet_verdict(&h, 52), RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	assert_int_equal(dev_vnet_verdict(&h, 51), 0);
	h.csum_start = h.csum_offset = UINT16_MAX;
	assert_int_equal(dev_vnet_verdict(&h, 65536), 0);
	for (unsigned i = 0; i < array_size(sizes) + 4; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);
		uint16_t size = i < array_size(sizes) ? sizes[i] : 100;
		uint8_t *at = pkt_put(m, (uint16_t)len);

		memcpy(at, f, len);
		at[23] = i == 3 ? 6 : 17;	 /* no UDP */
		at[16] = i == 4 ? 0xff : at[16]; /* longer than the frame */
		at[14] = i == 5 ? 0x4f : 0x45;	 /* other headers: more than fit */
		m->data_len = i == 5 ? 42 : m->data_len;
		m->pkt_len = i == 5 ? 42 : m->pkt_len;
		at[17] = i == 6 ? 28 : at[17]; /* no payload */
		at[16] = i == 6 ? 0 : at[16];
		assert_false(dev_udp_cut_begin(&cut, m, size, pools.rx));
		assert_null(cut.m);
	}
	assert_int_equal(rte_mempool_avail_count(pools.rx), before);
}

/* The kernel takes a frame's tag out; it lies in a slot or beside the ring. */
static void vlan_tag_is_put_back(void **state)
{
	static const uint8_t tag[] = {0x81, 0, 0x20, 5};
	uint8_t f[JUMBO];

	for (uint32_t size = 100; size <= 4100; size += 2000) {
		uint32_t len = frame_make(f, size);

		memmove(f + 16, f + 12, len - 12);
		memcpy(f + 12, tag, sizeof(tag));
		assert_int_equal(send(far_end, f, len + 4, 0), len + 4);
		check_same(receive_ip(1000), f, len + 4);
	}
}

/* More segments than one call takes, and large packets among them. */
static void burst_of_long_chains_arrives_in_order(void **state)
{
	enum { N = 40, SLICES = 30 };
	static uint8_t f[FRAME_MAX], got[LARGE], big[LARGE];
	uint32_t len = frame_make(f, 1400);
	struct rte_mbuf *body = body_make(f, len);
	struct pkt p[N] = {0};

	tcp_header_make(big, sizeof(big));
	(void)sum_without_length(big);
	for (unsigned i = 0; i < N; i++) {
		bool tso = i % 10 == 9;

		f[19] = (uint8_t)i; /* of the identification */
		p[i].m = tso ? large_chain(big, 54) : chain_make(f, len, SLICES, body);
		p[i].flags = (uint16_t)(PKT_F_L4_CSUM | (tso ? PKT_F_TSO : 0));
		p[i].l4_hdr = 20;
	}
	pkt_free(body);
	for (unsigned done = 0; done < N;)
		done += dev_tx_burst(port, 0, p + done, N - done, &pools, &drops, &copied);
	for (unsigned i = 0; i < N; i++) {
		uint32_t n = far_receive(got, sizeof(got));

		assert_int_equal(n, i % 10 == 9 ? sizeof(big) : len);
		if (i % 10 == 9)
			assert_memory_equal(got + 54, big + 54, n - 54);
		else
			assert_int_equal(got[19], i);
	}
}

/* The driver's sockets and their rings are gone: ours stand under their numbers. */
static void no_ring_of_the_drivers_is_left(void **state)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned rings = 0;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		rings += strstr(line, "socket:[") != NULL;
	fclose(f);
	assert_int_equal(rings, n_queues);
}

/* DESIGN §3.13: what the kernel could not hand us is counted. */
static void more_than_the_ring_holds_is_counted(void **state)
{
	enum { N = 3000 };
	struct dev_counters a, b;
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100), got = 0;
	struct rte_mbuf *m;

	dev_counters(port, &a);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(send(far_end, f, len, 0), len);
	for (; (m = receive_ip(50)) != NULL; got++)
		pkt_free(m);
	dev_counters(port, &b);
	assert_true(got < N);
	assert_int_equal(b.rx_missed - a.rx_missed, N - got);
}

/* What can't go is counted, nothing waits for it, and what comes later goes. */
static void interface_goes_down_and_comes_back(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	struct dev_counters a, b;
	uint8_t f[FRAME_MAX], got[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	struct rte_mbuf *m;

	dev_counters(port, &a);
	assert_int_equal(system("ip link set za down"), 0);
	for (unsigned i = 0; i < 10; i++) {
		m = rte_pktmbuf_alloc(pools.rx);
		memcpy(pkt_put(m, (uint16_t)len), f, len);
		assert_int_equal(send_one(m, 0), 1);
	}
	dev_counters(port, &b);
	assert_int_equal(b.tx_errors - a.tx_errors, 10);
	while ((m = receive_ip(1)) != NULL) /* what came until then */
		pkt_free(m);
	dev_wake_arm(port, 0);
	dev_wake_disarm(port, 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(system("ip link set za up"), 0);
	for (m = NULL; m == NULL;) { /* its carrier comes a moment later */
		usleep(1000);
		(void)!send(far_end, f, len, 0);
		m = receive_ip(1);
	}
	check_same(m, f, len);
	while ((m = receive_ip(20)) != NULL)
		pkt_free(m);
	m = rte_pktmbuf_alloc(pools.rx);
	memcpy(pkt_put(m, (uint16_t)len), f, len);
	assert_int_equal(send_one(m, 0), 1);
	assert_int_equal(far_receive(got, sizeof(got)), len);
	assert_memory_equal(got, f, len);
	assert_true(dev_check(port));
}

/* An interface that is gone takes nothing and says so once. */
static void veth_is_deleted_and_the_port_stays_quiet(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	struct rte_mbuf *m;

	assert_int_equal(system("ip link del za"), 0);
	for (unsigned i = 0; i < 100; i++) {
		m = rte_pktmbuf_alloc(pools.rx);
		memcpy(pkt_put(m, (uint16_t)len), f, len);
		assert_int_equal(send_one(m, 0), 1);
	}
	while ((m = receive_ip(1)) != NULL)
		pkt_free(m);
	for (uint16_t q = 0; q < n_queues; q++) {
		dev_wake_arm(port, q);
		dev_wake_disarm(port, q);
	}
	assert_int_equal(poll(&pfd, 1, 10), 0);
	assert_false(dev_check(port));
	assert_true(dev_deleted(port));
}

/* Its descriptor reports an error for ever: taken out, and the port falls back to the timer. */
static void interface_is_deleted_and_the_port_stays_quiet(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	struct dev_counters c;
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);

	assert_int_equal(system("ip link del zt"), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx)};

		memcpy(pkt_put(p.m, (uint16_t)len), f, len);
		if (dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied) == 0)
			pkt_free(p.m);
		assert_int_equal(dev_rx_burst(port, 0, &p, 1, &drops), 0);
	}
	dev_wake_arm(port, 0);
	dev_wake_disarm(port, 0);
	assert_int_equal(poll(&pfd, 1, 10), 0);
	assert_int_equal(dev_wake_kind(port, 0), DEV_WAKE_TIMER);
	assert_false(dev_check(port));
	assert_true(dev_deleted(port));
	dev_counters(port, &c);
	assert_int_equal(c.vanished, 1);
}

/* RFC 4861 §7.2.2: solicitations come to a multicast address that nobody joined on the interface.
 */
static void multicast_of_neighbour_discovery_arrives(void **state)
{
	static const uint8_t to[6] = {0x33, 0x33, 0xff, 1, 2, 3};
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 64);
	unsigned found = 0;
	struct pkt p;

	memcpy(f, to, sizeof(to));
	assert_int_equal(send(far_end, f, len, 0), len);
	for (int i = 0; i < 2000 && found == 0; i++, usleep(500))
		for (uint16_t q = 0; q < dev_caps(port)->max_queues && q < 2; q++)
			while (dev_rx_burst(port, q, &p, 1, &drops) == 1) {
				found += p.m->pkt_len == len && memcmp(pkt_data(p.m), f, len) == 0;
				pkt_free(p.m);
			}
	assert_int_equal(found, 1);
}

static int far_open(const char *ifname)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};

	far_name = ifname;
	far_end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));
	sll.sll_ifindex = (int)if_nametoindex(ifname);
	return bind(far_end, (struct sockaddr *)&sll, sizeof(sll));
}

static int setup_veth(const char *more, const char *spec)
{
	char make[300];

	snprintf(make, sizeof(make),
		 "ip link add za type veth peer name zb && ip link set za up && "
		 "ip link set zb up%s",
		 more);
	if (system(make) != 0 || far_open("zb") < 0 ||
	    start_queues(spec, NULL, false, n_queues) < 0)
		return -1;
	/* Larger than what the port was opened for. */
	return system("ip link set za mtu 9000 && ip link set zb mtu 9000");
}

static int setup_af_packet(void **state)
{
	return setup_veth("", "net_af_packet0,iface=za");
}

static int setup_driver(void **state)
{
	return setup_veth("", "net_af_packet0,iface=za,qdisc_bypass=1");
}

static int setup_queues(void **state)
{
	n_queues = 2;
	return setup_af_packet(state);
}

/* The far end's are the ones that count for what we receive. */
static int setup_plain(void **state)
{
	return setup_veth(" && ethtool -K za tx off tso off gso off gro off >/dev/null && "
			  "ethtool -K zb tx off tso off gso off gro off >/dev/null",
			  "net_af_packet0,iface=za");
}

static int setup_jumbo(void **state)
{
	if (system("ip link add za type veth peer name zb && ip link set za up mtu 9000 && "
		   "ip link set zb up mtu 9000") != 0 ||
	    far_open("zb") < 0)
		return -1;
	return start("net_af_packet0,iface=za", NULL, false);
}

static int setup_tap(void **state)
{
	n_queues = 2;
	if (start_queues("net_tap0,iface=zt", NULL, false, n_queues) < 0 ||
	    system("ip link set zt up") != 0)
		return -1;
	return far_open("zt");
}

/* What the far end sends is received byte for byte. */
static void frame_from_the_kernel_arrives_whole(void **state)
{
	uint8_t f[FRAME_MAX];
	struct pkt p[8];
	uint32_t len = frame_make(f, 1000);
	unsigned found = 0;

	assert_int_equal(send(far_end, f, len, 0), len);
	for (int i = 0; i < 1000 && found == 0; i++, usleep(1000)) {
		unsigned n = dev_rx_burst(port, 0, p, 8, &drops);

		while (n-- > 0) {
			found += p[n].m->pkt_len == len && memcmp(pkt_data(p[n].m), f, len) == 0;
			assert_int_equal(p[n].flags, 0);
			pkt_free(p[n].m);
		}
	}
	assert_int_equal(found, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest af_packet[] = {
		cmocka_unit_test(no_ring_of_the_drivers_is_left),
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_given_back_once),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(frame_from_the_kernel_arrives_whole),
		cmocka_unit_test(frame_arrives_wakes_the_socket_and_is_received),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
		cmocka_unit_test(multicast_of_neighbour_discovery_arrives),
		cmocka_unit_test(frame_larger_than_the_ring_arrives_whole),
		cmocka_unit_test(more_than_the_kernel_keeps_is_dropped_and_counted),
		cmocka_unit_test(more_than_the_ring_holds_is_counted),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
		cmocka_unit_test(large_packet_leaves_as_one),
		cmocka_unit_test(large_packet_leaves_as_one_ipv6),
		cmocka_unit_test(large_packet_of_the_kernel_arrives_as_one),
		cmocka_unit_test(datagrams_that_were_sent_at_once_arrive_one_by_one),
		cmocka_unit_test(vlan_tag_is_put_back),
		cmocka_unit_test(burst_of_long_chains_arrives_in_order),
		cmocka_unit_test(header_that_lies_is_not_believed),
		cmocka_unit_test(interface_goes_down_and_comes_back),
		cmocka_unit_test(veth_is_deleted_and_the_port_stays_quiet),
	};
	const struct CMUnitTest queues[] = {
		cmocka_unit_test(no_ring_of_the_drivers_is_left),
		cmocka_unit_test(second_queue_sends_and_receives),
		cmocka_unit_test(large_packet_leaves_as_one),
		cmocka_unit_test(large_packet_of_the_kernel_arrives_as_one),
		cmocka_unit_test(multicast_of_neighbour_discovery_arrives),
		cmocka_unit_test(veth_is_deleted_and_the_port_stays_quiet),
	};
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(frame_from_the_kernel_arrives_whole),
		cmocka_unit_test(large_packet_leaves_as_segments),
	};
	const struct CMUnitTest driver[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_given_back_once),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(frame_from_the_kernel_arrives_whole),
		cmocka_unit_test(frame_arrives_wakes_the_socket_and_is_received),
		cmocka_unit_test(multicast_of_neighbour_discovery_arrives),
		cmocka_unit_test(frame_larger_than_the_ring_arrives_whole),
		cmocka_unit_test(more_than_the_kernel_keeps_is_dropped_and_counted),
		cmocka_unit_test(vlan_tag_is_put_back),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
	};
	const struct CMUnitTest jumbo[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(jumbo_frames_arrive_and_leave),
		cmocka_unit_test(large_packet_leaves_as_one),
		cmocka_unit_test(large_packet_of_the_kernel_arrives_as_one),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
	};
	const struct CMUnitTest tap[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_given_back_once),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(frame_from_the_kernel_arrives_whole),
		cmocka_unit_test(address_is_not_that_of_the_kernels_end),
		cmocka_unit_test(second_queue_sends_and_receives),
		cmocka_unit_test(large_packet_leaves_as_one),
		cmocka_unit_test(large_packet_of_the_kernel_arrives_as_one),
		cmocka_unit_test(multicast_of_neighbour_discovery_arrives),
		cmocka_unit_test(frames_arrive_and_no_signal_does),
		cmocka_unit_test(interface_is_deleted_and_the_port_stays_quiet),
	};

	/* A name space of our own, which goes with us. */
	if (unshare(CLONE_NEWNET) < 0)
		return 77;
	if (argc > 1 && strcmp(argv[1], "tap") == 0)
		return access("/dev/net/tun", R_OK | W_OK) < 0
			       ? 77
			       : cmocka_run_group_tests(tap, setup_tap, stop);
	if (argc > 1 && strcmp(argv[1], "jumbo") == 0)
		return cmocka_run_group_tests(jumbo, setup_jumbo, stop);
	if (argc > 1 && strcmp(argv[1], "queues") == 0)
		return cmocka_run_group_tests(queues, setup_queues, stop);
	if (argc > 1 && strcmp(argv[1], "plain") == 0)
		return cmocka_run_group_tests(plain, setup_plain, stop);
	if (argc > 1 && strcmp(argv[1], "driver") == 0)
		return cmocka_run_group_tests(driver, setup_driver, stop);
	return cmocka_run_group_tests(af_packet, setup_af_packet, stop);
}
