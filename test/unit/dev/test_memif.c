/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two memif ports in one process, copying, or without a copy on hugepages (argument "zero-copy").
 */
#include <errno.h>

#include "dev_test.h"

static bool zero_copy;

static void check_arrives(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	uint8_t got[FRAME_MAX];
	struct pkt p = {0};

	assert_int_equal(send_one(m, PKT_F_L4_CSUM), 1);
	assert_int_equal(dev_rx_burst(far, 0, &p, 1, &drops), 1);
	assert_int_equal(pkt_copy_out(p.m, 0, sizeof(got), got), len);
	pkt_free(p.m);
	assert_memory_equal(got, want, 40);
	assert_memory_equal(got + 42, want + 42, len - 42);
	assert_int_equal(udp_sum(got, len), 0xffff);
}

static void chains_of_slices_arrive_whole_with_a_checksum(void **state)
{
	uint8_t f[FRAME_MAX];

	for (unsigned round = 0; round < 100; round++) {
		for (uint32_t size = 18; size <= 1458; size += 53) {
			uint32_t len = frame_make(f, size);
			struct rte_mbuf *body = body_make(f, len);

			check_arrives(chain_make(f, len, 5, body), f, len);
			pkt_free(body);
		}
	}
}

static void outside_memory_arrives_and_is_copied_only_where_it_must(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t f[FRAME_MAX];
	unsigned freed = 0;
	uint32_t len = frame_make(f, 1000);
	uint64_t before = copied;
	struct rte_mbuf *body = body_attach(f, len, &info, &freed);
	struct rte_mbuf *m = chain_make(f, len, 3, body);
	struct dev_counters c;

	pkt_free(body);
	check_arrives(m, f, len);
	assert_int_equal(freed, 1);
	assert_int_equal(copied - before, zero_copy ? len : 0);
	dev_counters(port, &c);
	assert_int_equal(c.tx_linearized, zero_copy ? 1 : 0);
	assert_int_equal(c.tx_linearized_bytes, zero_copy ? len : 0);
}

/* A frame larger than one of its buffers would spoil those that follow it (dev_table.c). */
static void mtu_larger_than_the_rings_buffers_is_refused(void **state)
{
	struct dev_cfg cfg = {.n_queues = 1, .mtu = 2031, .rx_pools = &pools.rx};
	char err[200] = "";
	struct dev *d;

	assert_int_equal(dev_open(1, &cfg, &d, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "MTU 2031 is more than its 2030"));
	assert_int_equal(dev_mtu(port), 1500);
}

static int setup(void **state)
{
	char spec[160], far_spec[160];
	int rc;

	snprintf(spec, sizeof(spec), "net_memif0,role=client,id=0,socket=zs-test-%d,%s", getpid(),
		 zero_copy ? "zero-copy=yes" : "zero-copy=no");
	snprintf(far_spec, sizeof(far_spec), "net_memif1,role=server,id=0,socket=zs-test-%d",
		 getpid());
	rc = start(spec, far_spec, zero_copy);
	for (int i = 0; rc == 0 && i < 2000 && !(dev_link_up(port) && dev_link_up(far)); i++)
		usleep(1000);
	return rc;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_slices_arrive_whole_with_a_checksum),
		cmocka_unit_test(outside_memory_arrives_and_is_copied_only_where_it_must),
		cmocka_unit_test(mtu_larger_than_the_rings_buffers_is_refused),
	};

	zero_copy = argc > 1 && strcmp(argv[1], "zero-copy") == 0;
	/* Needs hugepages, which dev_eal_init() reserves. */
	if (zero_copy && access("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", W_OK) < 0)
		return 77;
	return cmocka_run_group_tests(tests, setup, stop);
}
