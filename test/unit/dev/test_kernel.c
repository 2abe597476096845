/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports whose other side is the kernel: af_packet on a veth pair (argument "jumbo": with jumbo
 * frames), and tap (argument "tap"). A raw
 * socket stands at the far end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "dev_test.h"

#define ETHERTYPE_IP 0x0800
#define JUMBO	     9100

static int far_end;

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
		while (dev_rx_burst(port, 0, &p, 1, &drops) == 1) {
			const uint8_t *f = pkt_data(p.m);

			if (f[12] == 8 && f[13] == 0)
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
static int far_large(void)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IP)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_IP)), one = 1;

	sll.sll_ifindex = (int)if_nametoindex("zt");
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

/* A frame of 30,000 bytes, behind room for its virtio header. */
static struct {
	struct virtio_net_hdr h;
	uint8_t f[30000];
} __attribute__((packed)) large;

static void large_packet_leaves_as_one(void **state)
{
	static uint8_t f[sizeof(large.f)];
	struct rte_mbuf *h = pkt_alloc_hdr(&pools), *tail = h;
	struct pkt p = {.m = h, .flags = PKT_F_TSO | PKT_F_L4_CSUM, .l4_hdr = 20};
	uint32_t sum = (10 << 8) + 1 + (10 << 8) + 2 + 6;
	int fd = far_large();

	assert_true(dev_caps(port)->tso);
	tcp_header_make(f, sizeof(f));
	f[50] = (uint8_t)(sum >> 8);
	f[51] = (uint8_t)sum;
	memcpy(pkt_put(h, 54), f, 54);
	for (uint32_t off = 54; off < sizeof(f); off += 2000) {
		uint32_t n = RTE_MIN(2000u, (uint32_t)sizeof(f) - off);
		struct rte_mbuf *s = rte_pktmbuf_alloc(pools.rx);

		memcpy(pkt_put(s, (uint16_t)n), f + off, n);
		tail->next = s;
		tail = s;
		h->nb_segs++;
		h->pkt_len += n;
	}
	h->tso_segsz = 1446;
	assert_int_equal(dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied), 1);
	assert_int_equal(recv(fd, &large, sizeof(large), 0), sizeof(large));
	assert_memory_equal(large.f + 54, f + 54, sizeof(f) - 54);
	assert_int_equal(large.h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(large.h.gso_size, 1446);
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

static void large_packet_of_the_kernel_arrives_as_one(void **state)
{
	static uint8_t got[sizeof(large.f)];
	int fd = far_large();
	unsigned found = 0;
	struct pkt p;

	tcp_header_make(large.f, sizeof(large.f));
	large.h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 1446,
					  .hdr_len = 54,
					  .csum_start = 34,
					  .csum_offset = 16};
	assert_int_equal(send(fd, &large, sizeof(large), 0), sizeof(large));
	for (int i = 0; i < 2000 && found == 0; i++, usleep(500))
		while (dev_rx_burst(port, i & 1, &p, 1, &drops) == 1) {
			if (p.m->pkt_len == sizeof(got)) {
				pkt_copy_out(p.m, 0, sizeof(got), got);
				assert_memory_equal(got + 54, large.f + 54, sizeof(got) - 54);
				assert_true(p.flags & PKT_F_CSUM_OK);
				found++;
			}
			pkt_free(p.m);
		}
	assert_int_equal(found, 1);
	close(fd);
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
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IP)};

	far_end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_IP));
	sll.sll_ifindex = (int)if_nametoindex(ifname);
	return bind(far_end, (struct sockaddr *)&sll, sizeof(sll));
}

static int setup_af_packet(void **state)
{
	if (system("ip link add za type veth peer name zb && ip link set za up && "
		   "ip link set zb up") != 0 ||
	    far_open("zb") < 0 || start("net_af_packet0,iface=za", NULL, false) < 0)
		return -1;
	/* Larger than what the port was opened for. */
	return system("ip link set za mtu 9000 && ip link set zb mtu 9000");
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
	if (start_queues("net_tap0,iface=zt", NULL, false, 2) < 0 ||
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
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_given_back_once),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(frame_from_the_kernel_arrives_whole),
		cmocka_unit_test(frame_arrives_wakes_the_socket_and_is_received),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
		cmocka_unit_test(multicast_of_neighbour_discovery_arrives),
		cmocka_unit_test(frame_larger_than_the_ring_arrives_whole),
		cmocka_unit_test(more_than_the_kernel_keeps_is_dropped_and_counted),
		cmocka_unit_test(no_frame_and_the_socket_is_silent),
	};
	const struct CMUnitTest jumbo[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(two_thousand_frames_in_bursts_all_arrive_in_order),
		cmocka_unit_test(jumbo_frames_arrive_and_leave),
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
	return cmocka_run_group_tests(af_packet, setup_af_packet, stop);
}
