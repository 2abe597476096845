/* SPDX-License-Identifier: BSD-3-Clause */
#include "dev_test.h"

/* What came back through the ring, as bytes. */
static uint32_t receive(uint8_t *out, struct pkt *p)
{
	uint32_t len = 0;

	if (dev_rx_burst(port, 0, p, 1, &drops) == 0)
		return 0;
	for (struct rte_mbuf *s = p->m; s != NULL; s = s->next) {
		memcpy(out + len, pkt_data(s), s->data_len);
		len += s->data_len;
	}
	return len;
}

static void check_arrives(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	uint8_t got[FRAME_MAX];
	struct pkt p = {0};

	assert_int_equal(send_one(m, PKT_F_L4_CSUM), 1);
	assert_int_equal(receive(got, &p), len);
	assert_memory_equal(got, want, 40);
	assert_memory_equal(got + 42, want + 42, len - 42);
	assert_int_equal(udp_sum(got, len), 0xffff);
	pkt_free(p.m);
}

static void chains_of_slices_arrive_whole_with_a_checksum(void **state)
{
	uint8_t f[FRAME_MAX];

	for (uint32_t size = 1; size <= 1458; size += 53) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *body = body_make(f, len);

		check_arrives(chain_make(f, len, size < 8 ? 1 : 5, body), f, len);
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

/* H19: a good-checksum flag that came with the buffer is the sender's word. */
static void flag_of_the_sender_is_not_believed(void **state)
{
	uint8_t f[FRAME_MAX], got[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	struct rte_mbuf *m = pkt_alloc_hdr(&pools);
	struct pkt p = {0};

	memcpy(pkt_put(m, (uint16_t)len), f, len);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	assert_int_equal(send_one(m, 0), 1);
	assert_int_equal(receive(got, &p), len);
	assert_int_equal(p.flags, 0);
	pkt_free(p.m);
}

static void full_port_leaves_the_rest_unchanged(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	unsigned taken = 0;
	struct rte_mbuf *m;
	struct pkt p = {0};

	for (;;) {
		m = rte_pktmbuf_alloc(pools.rx);
		assert_non_null(m);
		memcpy(pkt_put(m, (uint16_t)len), f, len);
		if (send_one(m, PKT_F_L4_CSUM) == 0)
			break;
		taken++;
	}
	assert_true(taken > 0);
	assert_memory_equal(pkt_data(m), f, len);
	while (dev_rx_burst(port, 0, &p, 1, &drops) == 1) {
		pkt_free(p.m);
		taken--;
	}
	assert_int_equal(taken, 0);
	check_arrives(m, f, len);
}

static void packets_that_can_never_go_are_dropped_and_the_others_go(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t len = frame_make(f, 100);
	struct pkt p[5] = {0}, back[5];
	uint64_t big = drops.n[DROP_IP_TOO_BIG], bad = drops.n[DROP_IP_SHORT];

	for (int i = 0; i < 5; i++) {
		p[i].m = rte_pktmbuf_alloc(pools.rx);
		p[i].flags = PKT_F_L4_CSUM;
		memcpy(pkt_put(p[i].m, (uint16_t)len), f, len);
	}
	pkt_put(p[0].m, 1500);
	p[2].flags |= PKT_F_TSO;
	memset(pkt_data(p[4].m) + 14, 0xff, 20);
	assert_int_equal(dev_tx_burst(port, 0, p, 5, &pools, &drops, &copied), 5);
	assert_int_equal(drops.n[DROP_IP_TOO_BIG] - big, 2);
	assert_int_equal(drops.n[DROP_IP_SHORT] - bad, 1);
	assert_int_equal(dev_rx_burst(port, 0, back, 5, &drops), 2);
	pkt_free(back[0].m);
	pkt_free(back[1].m);
}

static void port_without_an_address_gets_a_local_one(void **state)
{
	struct eth_addr mac = dev_mac(port);

	assert_int_equal(mac.b[0] & 3, 2);
}

static void bad_requests_are_refused_with_a_sentence(void **state)
{
	struct dev_cfg cfg = {.n_queues = 99, .rx_pools = &pools.rx};
	struct dev *d;
	char err[200] = "";

	assert_int_equal(dev_open(7, &cfg, &d, err, sizeof(err)), -ENODEV);
	assert_true(strlen(err) > 0);
	assert_int_equal(dev_open(0, &cfg, &d, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "queue pairs"));
}

static void nothing_leaks_and_everything_is_counted(void **state)
{
	struct dev_counters c;

	dev_counters(port, &c);
	assert_true(c.tx_packets > 0);
	assert_int_equal(c.tx_packets, c.rx_packets);
	assert_int_equal(c.tx_bytes, c.rx_bytes);
	assert_int_equal(c.tx_linearized, 0);
	assert_int_equal(dev_wake_kind(port, 0), DEV_WAKE_TIMER);
	assert_int_equal(dev_wake_fd(port, 0), -1);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.hdr), 0);
	assert_int_equal(rte_mempool_in_use_count(pools.ref), 0);
}

static int setup(void **state)
{
	return start("net_ring0", NULL, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_given_back_once),
		cmocka_unit_test(flag_of_the_sender_is_not_believed),
		cmocka_unit_test(full_port_leaves_the_rest_unchanged),
		cmocka_unit_test(packets_that_can_never_go_are_dropped_and_the_others_go),
		cmocka_unit_test(port_without_an_address_gets_a_local_one),
		cmocka_unit_test(bad_requests_are_refused_with_a_sentence),
		cmocka_unit_test(nothing_leaks_and_everything_is_counted),
	};

	return cmocka_run_group_tests(tests, setup, stop);
}
