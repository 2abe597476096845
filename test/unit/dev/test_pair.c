/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A link between two processes, each with its own DPDK: one row of dev_table.c an argument. What
 * arrives is compared byte by byte, from every kind of buffer, both ways; sent buffers come home;
 * the port wakes; the peer is killed in the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>

#include "dev_peer.h"

struct row {
	const char *name, *spec, *peer_spec; /* %d: our process id */
	unsigned more_queues;		     /* beside the first */
	bool huge;			     /* skipped where there are no hugepages */
	bool veth;			     /* wants the interfaces za and zb */
	bool in_place;			     /* sends EAL's memory without a copy, and no other */
	bool wakes;
	bool peer_last; /* it connects to us */
};

static const struct row rows[] = {
	{"af_packet", "net_af_packet0,iface=za", "net_af_packet0,iface=zb", .veth = true,
	 .wakes = true},
	{"af_packet_queues", "net_af_packet0,iface=za", "net_af_packet0,iface=zb", .veth = true,
	 .wakes = true, .more_queues = 1},
	/* An XDP program gets no checksum that was left to the interface: the peer makes its own. */
	{"af_xdp", "net_af_xdp0,iface=za", "net_af_packet0,iface=zb,qdisc_bypass=1", .veth = true,
	 .wakes = true},
	{"af_xdp_huge", "net_af_xdp0,iface=za", "net_af_packet0,iface=zb,qdisc_bypass=1",
	 .huge = true, .veth = true, .wakes = true},
	{"memif", "net_memif0,role=client,socket=zs-pair-%d,zero-copy=no",
	 "net_memif0,role=server,socket=zs-pair-%d"},
	{"memif_queues", "net_memif0,role=client,socket=zs-pair-%d,zero-copy=no",
	 "net_memif0,role=server,socket=zs-pair-%d", .more_queues = 2},
	{"memif_server", "net_memif0,role=server,socket=zs-pair-%d",
	 "net_memif0,role=client,socket=zs-pair-%d", .peer_last = true},
	{"memif_zero_copy", "net_memif0,role=client,socket=zs-pair-%d",
	 "net_memif0,role=server,socket=zs-pair-%d", .huge = true, .in_place = true},
	{"virtio_user", "net_virtio_user0,path=/tmp/zs-pair-%d", "net_vhost0,iface=/tmp/zs-pair-%d",
	 .in_place = true, .wakes = true},
	{"virtio_user_queues", "net_virtio_user0,path=/tmp/zs-pair-%d",
	 "net_vhost0,iface=/tmp/zs-pair-%d", .in_place = true, .wakes = true, .more_queues = 1},
	{"virtio_user_huge", "net_virtio_user0,path=/tmp/zs-pair-%d",
	 "net_vhost0,iface=/tmp/zs-pair-%d", .huge = true, .in_place = true, .wakes = true},
	{"virtio_user_split", "net_virtio_user0,path=/tmp/zs-pair-%d,packed_vq=0",
	 "net_vhost0,iface=/tmp/zs-pair-%d", .in_place = true, .wakes = true},
	{"virtio_user_out_of_order", "net_virtio_user0,path=/tmp/zs-pair-%d,packed_vq=0,in_order=0",
	 "net_vhost0,iface=/tmp/zs-pair-%d", .in_place = true, .wakes = true},
	{"vhost", "net_vhost0,iface=/tmp/zs-pair-%d,client=1",
	 "net_virtio_user0,path=/tmp/zs-pair-%d,server=1", .wakes = true, .peer_last = true},
};

static const struct row *row;

/* libxdp keeps 80 bytes for a UMEM whose interface is gone. Called by the sanitizer, where there is
 * one. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:xsk_umem__create";
}

/* Until the far end's PMD has caught up with what we sent, and ours with that. */
static void reclaim_all(void)
{
	for (int i = 0; i < PEER_MS && dev_tx_reclaim(port, 0); i++)
		usleep(1000);
	assert_false(dev_tx_reclaim(port, 0));
}

static void check_arrives(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	const struct peer_box *b = peer.box;

	peer_order('r');
	/* memif's client gives its server buffers when it receives. */
	for (int i = 0; i < PEER_MS && send_one(m, PKT_F_L4_CSUM) == 0; i++)
		usleep(1000);
	peer_done();
	assert_int_equal(b->len, len);
	assert_memory_equal(b->frame, want, 40);
	assert_memory_equal(b->frame + 42, want + 42, len - 42);
	/* Either the sum is right, or the port says that none is needed. */
	if (!(b->flags & PKT_F_CSUM_OK))
		assert_int_equal(udp_sum(b->frame, len), 0xffff);
}

static void single_buffers_arrive_whole(void **state)
{
	uint8_t f[FRAME_MAX];

	for (uint32_t size = 18; size <= 1472; size += 121) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

		memcpy(pkt_put(m, (uint16_t)len), f, len);
		check_arrives(m, f, len);
	}
}

#define LAST_BUFFERS 4

static int by_address_down(const void *a, const void *b)
{
	const struct rte_mbuf *x = *(struct rte_mbuf *const *)a, *y = *(struct rte_mbuf *const *)b;

	return (x < y) - (x > y);
}

/* af_xdp's UMEM is to hold the pool to its end. */
static void the_last_buffers_of_the_pool_arrive_too(void **state)
{
	static struct rte_mbuf *all[8192];
	uint8_t f[FRAME_MAX];
	unsigned n = 0;

	while (n < array_size(all) && (all[n] = rte_pktmbuf_alloc(pools.rx)) != NULL)
		n++;
	assert_true(n > 1000);
	qsort(all, n, sizeof(all[0]), by_address_down);
	for (unsigned i = LAST_BUFFERS; i < n; i++)
		pkt_free(all[i]);
	for (unsigned i = 0; i < LAST_BUFFERS; i++) {
		uint32_t len = frame_make(f, 1000);

		memcpy(pkt_put(all[i], (uint16_t)len), f, len);
		check_arrives(all[i], f, len);
	}
}

static void chains_of_slices_arrive_whole(void **state)
{
	uint8_t f[FRAME_MAX];

	for (uint32_t size = 18; size <= 1472; size += 97) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *body = body_make(f, len);

		check_arrives(chain_make(f, len, 5, body), f, len);
		pkt_free(body);
	}
}

/* DESIGN §3.8: memory that the port can't see is copied, and counted. */
static void outside_memory_arrives_and_comes_home(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t f[FRAME_MAX];
	unsigned freed = 0;
	uint32_t len = frame_make(f, 1000);
	struct rte_mbuf *body = body_attach(f, len, &info, &freed);
	struct rte_mbuf *m = chain_make(f, len, 3, body);
	uint64_t before = copied;

	pkt_free(body);
	check_arrives(m, f, len);
	assert_int_equal(copied - before, dev_caps(port)->external ? 0 : len);
	reclaim_all();
	assert_int_equal(freed, 1);
}

static void memory_of_dev_mem_alloc_is_sent_without_a_copy(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t *f = dev_mem_alloc(FRAME_MAX);
	unsigned freed = 0;
	uint32_t len = frame_make(f, 1000);
	struct rte_mbuf *body = body_attach(f, len, &info, &freed);
	struct rte_mbuf *m = chain_make(f, len, 3, body);
	uint64_t before = copied;

	pkt_free(body);
	check_arrives(m, f, len);
	assert_int_equal(copied - before, dev_caps(port)->multi_seg ? 0 : len);
	reclaim_all();
	assert_int_equal(freed, 1);
	dev_mem_free(f);
}

/* Buffers are home within bounded time when traffic stops. */
static void traffic_stops_and_all_buffers_come_home(void **state)
{
	unsigned was = rte_mempool_in_use_count(pools.rx), freed = 0;
	struct rte_mbuf_ext_shared_info info[100];
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 1200);

	for (int i = 0; i < 100; i++) {
		struct rte_mbuf *body =
			i & 1 ? body_make(f, len) : body_attach(f, len, &info[i], &freed);

		check_arrives(chain_make(f, len, 2, body), f, len);
		pkt_free(body);
	}
	reclaim_all();
	assert_int_equal(freed, 50);
	assert_int_equal(rte_mempool_in_use_count(pools.ref), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.hdr), 0);
	/* af_xdp and memif keep buffers for receiving; those of their own copies may lag a burst.
	 */
	assert_true(rte_mempool_in_use_count(pools.rx) <= was + 32);
}

static void three_hundred_frames_a_row_all_arrive_in_order(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 300);

	for (unsigned sent = 0, seen = 0; seen < 300;) {
		struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx)};

		f[50] = (uint8_t)sent;
		memcpy(pkt_put(p.m, (uint16_t)len), f, len);
		if (sent < 300 && dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied) == 1) {
			sent++;
			if (sent - seen < 128)
				continue;
		} else {
			pkt_free(p.m);
		}
		assert_int_equal(peer_took(), len);
		assert_int_equal(peer.box->frame[50], (uint8_t)seen++);
	}
}

/* Sixteen at once, more than a ring of 256 slots takes where each piece is one: a port that is full
 * says so and spoils nothing that it holds. */
static void bursts_of_chains_fill_the_port_and_arrive_in_order(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 300);
	struct rte_mbuf *body = body_make(f, len);

	for (unsigned sent = 0, seen = 0; sent < 300 || seen < sent;) {
		struct pkt p[16] = {0};
		unsigned took = 0;

		for (unsigned i = 0; i < 16; i++) {
			p[i].m = chain_make(f, len, 2 + i % 3, body);
			pkt_data(p[i].m)[38] = (uint8_t)(sent + i);
		}
		if (sent < 300 && sent - seen < 112)
			took = dev_tx_burst(port, 0, p, 16, &pools, &drops, &copied);
		for (unsigned i = took; i < 16; i++)
			pkt_free(p[i].m);
		sent += took;
		if (took == 16)
			continue;
		assert_int_equal(peer_took(), len);
		assert_memory_equal(peer.box->frame + 42, f + 42, len - 42);
		assert_int_equal(peer.box->frame[38], (uint8_t)seen++);
	}
	pkt_free(body);
}

static struct rte_mbuf *receive(unsigned ms, uint16_t *flags)
{
	uint16_t queue;

	return next_frame(port, 1 + row->more_queues, ms, flags, &queue);
}

static void frames_of_the_peer_arrive_whole(void **state)
{
	uint8_t f[FRAME_MAX], got[FRAME_MAX];
	uint16_t flags;

	for (uint32_t size = 18; size <= 1472; size += 97) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *m;

		peer_gives(f, len, PKT_F_L4_CSUM, 0);
		m = receive(PEER_MS, &flags);
		peer_done();
		assert_non_null(m);
		assert_int_equal(pkt_copy_out(m, 0, sizeof(got), got), len);
		assert_memory_equal(got, f, 40);
		assert_memory_equal(got + 42, f + 42, len - 42);
		if (!(flags & PKT_F_CSUM_OK))
			assert_int_equal(udp_sum(got, len), 0xffff);
		pkt_free(m);
	}
}

static void wake_all(bool arm, struct pollfd *pfd)
{
	for (uint16_t q = 0; q <= row->more_queues; q++) {
		if (arm)
			dev_wake_arm(port, q);
		else
			dev_wake_disarm(port, q);
		pfd[q] = (struct pollfd){.fd = dev_wake_fd(port, q), .events = POLLIN};
	}
}

/* DESIGN §3.12: armed, one frame wakes; once it is read nothing does. */
static void one_frame_wakes_and_silence_does_not(void **state)
{
	struct pollfd pfd[4];
	unsigned n = 1 + row->more_queues;
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	uint16_t flags;

	if (!row->wakes) {
		assert_int_equal(dev_wake_kind(port, 0), DEV_WAKE_TIMER);
		return;
	}
	assert_int_not_equal(dev_wake_kind(port, 0), DEV_WAKE_TIMER);
	for (int round = 0; round < 20; round++) {
		struct rte_mbuf *m = receive(1, &flags);

		if (m != NULL)
			pkt_free(m);
		wake_all(true, pfd);
		assert_null(receive(0, &flags));
		peer_gives(f, len, 0, (uint16_t)(round % n));
		assert_true(poll(pfd, n, PEER_MS) >= 1);
		peer_done();
		wake_all(false, pfd);
		m = receive(PEER_MS, &flags);
		assert_non_null(m);
		pkt_free(m);
		wake_all(true, pfd);
		assert_null(receive(1, &flags));
		wake_all(false, pfd);
		assert_int_equal(poll(pfd, n, 0), 0);
	}
}

/* Whatever queue a frame leaves by, the far end finds it in one of its own, and the other way. */
static void every_queue_sends_and_receives(void **state)
{
	uint8_t f[FRAME_MAX];
	uint16_t flags;

	for (uint16_t q = 0; q <= row->more_queues; q++)
		for (unsigned i = 0; i < 16; i++) {
			uint32_t len = frame_make(f, 200 + i);
			struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx), .flags = PKT_F_L4_CSUM};
			struct rte_mbuf *m;

			f[35] = (uint8_t)i; /* source port: other flows */
			memcpy(pkt_put(p.m, (uint16_t)len), f, len);
			peer_order('r');
			assert_int_equal(dev_tx_burst(port, q, &p, 1, &pools, &drops, &copied), 1);
			peer_done();
			assert_int_equal(peer.box->len, len);
			assert_memory_equal(peer.box->frame + 42, f + 42, len - 42);
			peer_gives(f, len, PKT_F_L4_CSUM, q);
			m = receive(PEER_MS, &flags);
			peer_done();
			assert_non_null(m);
			assert_int_equal(m->pkt_len, len);
			pkt_free(m);
		}
}

/* One packet of 16 KB goes as one, out of slices, to a peer that takes it (LRO). */
static void segmentation_is_left_to_the_port(void **state)
{
	static uint8_t f[16384];
	struct rte_mbuf *h = pkt_alloc_hdr(&pools), *tail = h;
	struct pkt p = {.m = h, .flags = PKT_F_TSO | PKT_F_L4_CSUM, .l4_hdr = 20};
	struct peer_box *b = peer.box;

	if (!dev_tso(port)) {
		assert_int_equal(send_one(h, PKT_F_TSO), 1);
		assert_true(drops.n[DROP_IP_TOO_BIG] > 0);
		return;
	}
	tcp_header_make(f, sizeof(f));
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
	peer_order('r');
	assert_int_equal(dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied), 1);
	peer_done();
	assert_int_equal(b->len, sizeof(f));
	assert_memory_equal(b->frame + 54, f + 54, sizeof(f) - 54);
	assert_true(b->flags & PKT_F_CSUM_OK);
}

/* A buffer that the killed peer didn't take. */
static struct {
	struct rte_mbuf_ext_shared_info info;
	unsigned freed;
} last;

/* FACTS "PMD traps": no crash, no endless waking, one line and a counter. Last: nobody is there. */
static void peer_is_killed_and_the_port_stays_quiet(void **state)
{
	struct pollfd pfd = {.fd = dev_wake_fd(port, 0), .events = POLLIN};
	struct dev_counters c;
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	uint8_t *lent = dev_mem_alloc(FRAME_MAX);
	struct rte_mbuf *body;
	unsigned wakes = 0;

	memcpy(lent, f, len);
	body = body_attach(lent, len, &last.info, &last.freed);
	assert_int_equal(send_one(chain_make(f, len, 1, body), 0), 1);
	pkt_free(body);
	peer_stop(SIGKILL);
	if (row->veth)
		assert_int_equal(system("ip link del za"), 0);
	for (int i = 0; i < PEER_MS && dev_check(port); i++)
		usleep(1000);
	assert_false(dev_check(port));
	for (int i = 0; i < 2000; i++) {
		struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx)};

		assert_non_null(p.m);
		memcpy(pkt_put(p.m, (uint16_t)len), f, len);
		if (dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied) == 0)
			pkt_free(p.m);
		if (dev_rx_burst(port, 0, &p, 1, &drops) == 1)
			pkt_free(p.m);
		dev_tx_reclaim(port, 0);
	}
	for (int i = 0; i < 100 && pfd.fd >= 0; i++) {
		dev_wake_arm(port, 0);
		wakes += poll(&pfd, 1, 1) != 0;
		dev_wake_disarm(port, 0);
	}
	/* What it didn't take comes home; virtio's when the port is closed. */
	if (strcmp(dev_caps(port)->driver, "net_virtio_user") != 0)
		assert_int_equal(last.freed, 1);
	assert_true(wakes <= 2);
	assert_false(dev_check(port));
	dev_counters(port, &c);
	assert_int_equal(c.vanished, 1);
}

static bool links_up(void)
{
	for (int i = 0; i < PEER_MS; i++, usleep(1000))
		if (dev_link_up(port))
			return true;
	return false;
}

static int setup(void **state)
{
	char spec[160], peer_spec[160];

	snprintf(spec, sizeof(spec), row->spec, getpid());
	snprintf(peer_spec, sizeof(peer_spec), row->peer_spec, getpid());
	if (row->veth && system("ip link add za type veth peer name zb && ip link set za up && "
				"ip link set zb up") != 0)
		return -1;
	if (peer_fork(peer_spec, row->huge, 1 + row->more_queues) < 0)
		return -1;
	if (!row->peer_last && peer_start() < 0)
		return -1;
	if (start_queues(spec, NULL, row->huge, 1 + row->more_queues) < 0 ||
	    (row->peer_last && peer_start() < 0))
		return -1;
	return links_up() ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	peer_stop(SIGKILL);
	/* What the killed one left. */
	snprintf(path, sizeof(path), "/tmp/zs-pair-%d", getpid());
	unlink(path);
	stop(state);
	return last.freed == 1 ? 0 : -1;
}

/* Can 128 MB of them be had? dev_eal_init() would fall back, and the row be another. */
static bool have_hugepages(void)
{
	return access("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", W_OK) ==
	       0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_buffers_arrive_whole),
		cmocka_unit_test(the_last_buffers_of_the_pool_arrive_too),
		cmocka_unit_test(chains_of_slices_arrive_whole),
		cmocka_unit_test(outside_memory_arrives_and_comes_home),
		cmocka_unit_test(memory_of_dev_mem_alloc_is_sent_without_a_copy),
		cmocka_unit_test(traffic_stops_and_all_buffers_come_home),
		cmocka_unit_test(three_hundred_frames_a_row_all_arrive_in_order),
		cmocka_unit_test(bursts_of_chains_fill_the_port_and_arrive_in_order),
		cmocka_unit_test(frames_of_the_peer_arrive_whole),
		cmocka_unit_test(every_queue_sends_and_receives),
		cmocka_unit_test(segmentation_is_left_to_the_port),
		cmocka_unit_test(one_frame_wakes_and_silence_does_not),
		cmocka_unit_test(peer_is_killed_and_the_port_stays_quiet),
	};

	for (unsigned i = 0; i < array_size(rows) && argc > 1; i++)
		if (strcmp(argv[1], rows[i].name) == 0)
			row = &rows[i];
	if (row == NULL)
		return 1;
	if (unshare(CLONE_NEWNET) < 0 || (row->huge && !have_hugepages()))
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
