/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <rte_eal.h>

#include "tcp/sndq.h"

static struct pkt_pools pools;
static struct tcp_sndq q;

/* The byte that stands at a stream offset in every test. */
static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)(off * 131 + (off >> 8) * 17);
}

static int start(void **state)
{
	char *argv[] = {"test",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "64",	"--log-level=error"};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", 255, 0, 0, 2048 + 128, 0);
	pools.hdr = rte_pktmbuf_pool_create("hdr", 63, 0, 0, PKT_HDR_ROOM + 128, 0);
	pools.ref = rte_pktmbuf_pool_create("ref", 63, 0, 0, 0, 0);
	return pools.rx && pools.hdr && pools.ref ? 0 : -1;
}

static int setup(void **state)
{
	tcp_sndq_init(&q, 1);
	return 0;
}

/* Every test ends with all buffers at home. */
static int teardown(void **state)
{
	tcp_sndq_fini(&q);
	tcp_sndq_check(&q);
	return rte_mempool_in_use_count(pools.rx) + rte_mempool_in_use_count(pools.hdr) +
				       rte_mempool_in_use_count(pools.ref) ==
			       0
		       ? 0
		       : -1;
}

static void give(uint16_t len, bool copied)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

	assert_non_null(m);
	for (uint16_t i = 0; i < len; i++)
		pkt_data(m)[i] = byte_at(q.end_off + i);
	m->data_len = len;
	m->pkt_len = len;
	tcp_sndq_append(&q, m, copied);
	tcp_sndq_check(&q);
}

static void expect_bytes(const struct rte_mbuf *hdr, uint64_t off, uint32_t len)
{
	uint32_t seen = 0, segs = 0;

	for (const struct rte_mbuf *m = hdr; m != NULL; m = m->next, segs++)
		for (uint16_t i = 0; i < m->data_len; i++, seen++)
			assert_int_equal(rte_pktmbuf_mtod(m, const uint8_t *)[i],
					 byte_at(off + seen));
	assert_int_equal(seen, len);
	assert_int_equal(hdr->pkt_len, len);
	assert_int_equal(hdr->nb_segs, segs);
}

static void small_copied_bytes_go_inline_in_one_segment(void **state)
{
	struct rte_mbuf *hdr = pkt_alloc_hdr(&pools);

	give(40, true);
	give(24, true);
	assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 1, 64, hdr, 4), 64);
	assert_int_equal(hdr->nb_segs, 1);
	expect_bytes(hdr, 1, 64);
	pkt_free(hdr);
}

/* Bytes of a zero-copy send are never copied, however few. */
static void small_zero_copy_bytes_stay_slices(void **state)
{
	struct rte_mbuf *hdr = pkt_alloc_hdr(&pools);

	give(40, true);
	give(24, false);
	assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 1, 64, hdr, 4), 64);
	assert_int_equal(hdr->nb_segs, 3);
	assert_ptr_equal(hdr->next->buf_addr, q.head->buf_addr);
	expect_bytes(hdr, 1, 64);
	pkt_free(hdr);
}

/* A slice keeps its bytes alive: the port may still hold it when the acknowledgement comes. */
static void acknowledged_bytes_stay_whole_while_a_slice_is_out(void **state)
{
	struct rte_mbuf *hdr = pkt_alloc_hdr(&pools);

	give(1000, false);
	assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 1, 1000, hdr, 4), 1000);
	tcp_sndq_ack(&q, 1001);
	assert_null(q.head);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 1);
	expect_bytes(hdr, 1, 1000);
	pkt_free(hdr);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0);
}

static void few_slices_give_a_shorter_segment(void **state)
{
	struct rte_mbuf *hdr = pkt_alloc_hdr(&pools);

	for (int i = 0; i < 5; i++)
		give(100, false);
	assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 51, 400, hdr, 2), 150);
	expect_bytes(hdr, 51, 150);
	pkt_free(hdr);
}

static void empty_segments_of_a_chain_are_freed(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

	tcp_sndq_append(&q, m, false);
	assert_null(q.head);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0);
}

/* H22: the pool of slices is empty at each allocation in turn; nothing is lost, nothing is half
 * done. */
static void empty_pool_leaves_header_and_queue_as_they_were(void **state)
{
	struct rte_mbuf *taken[64], *hdr = pkt_alloc_hdr(&pools);

	for (int i = 0; i < 4; i++)
		give(100, false);
	for (unsigned left = 0; left < 4; left++) {
		unsigned n = 63 - left;

		assert_int_equal(rte_pktmbuf_alloc_bulk(pools.ref, taken, n), 0);
		assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 1, 400, hdr, 8),
				 -ENOBUFS);
		assert_int_equal(hdr->nb_segs, 1);
		assert_int_equal(hdr->pkt_len, 0);
		rte_pktmbuf_free_bulk(taken, n);
		assert_int_equal(rte_mempool_in_use_count(pools.ref), 0);
	}
	assert_int_equal(tcp_sndq_gather(&q, TCP_SNDQ_NEW, &pools, 1, 400, hdr, 8), 400);
	expect_bytes(hdr, 1, 400);
	pkt_free(hdr);
}

/* Random appends, reads by both cursors and acknowledgements: the content tells. */
static void random_reads_by_both_cursors_find_their_bytes(void **state)
{
	uint64_t una = 1;

	srandom(7);
	for (int step = 0; step < 50000; step++) {
		int what = (int)(random() % 4);

		if (what == 0 && q.end_off - una < 20000) {
			give((uint16_t)(1 + random() % 600), random() & 1);
		} else if (what == 1 && q.end_off > una) {
			una += (uint64_t)random() % (q.end_off - una) / 2 + 1;
			tcp_sndq_ack(&q, una);
			tcp_sndq_check(&q);
		} else if (q.end_off > una) {
			uint64_t off = una + (uint64_t)random() % (q.end_off - una);
			uint32_t len = 1 + (uint32_t)random() % 1500;
			struct rte_mbuf *hdr = pkt_alloc_hdr(&pools);
			int n;

			if (len > q.end_off - off)
				len = (uint32_t)(q.end_off - off);
			n = tcp_sndq_gather(&q, what & 1, &pools, off, len, hdr, 8);
			assert_true(n > 0 && n <= (int)len);
			expect_bytes(hdr, off, (uint32_t)n);
			pkt_free(hdr);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(small_copied_bytes_go_inline_in_one_segment),
		T(small_zero_copy_bytes_stay_slices),
		T(acknowledged_bytes_stay_whole_while_a_slice_is_out),
		T(few_slices_give_a_shorter_segment),
		T(empty_segments_of_a_chain_are_freed),
		T(empty_pool_leaves_header_and_queue_as_they_were),
		T(random_reads_by_both_cursors_find_their_bytes),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
