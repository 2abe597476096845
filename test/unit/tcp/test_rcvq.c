/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The receive queue against a naive map of bytes, its SACK blocks, and hostile segments.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tcp/rcvq.h"

#include <rte_eal.h>

static struct pkt_pools pools;
static struct tcp_rcvq q;
static unsigned rx_avail, ref_avail;
static bool no_memory;

static void *mem_alloc(void *arg, size_t size)
{
	return no_memory ? NULL : malloc(size);
}

static void mem_free(void *arg, void *p, size_t size)
{
	free(p);
}

static struct tcp_rcvq_env env;

static int setup(void **state)
{
	rx_avail = rte_mempool_avail_count(pools.rx);
	ref_avail = rte_mempool_avail_count(pools.ref);
	no_memory = false;
	env = (struct tcp_rcvq_env){
		.alloc = mem_alloc, .free = mem_free, .pools = &pools, .tight_shift = 1};
	tcp_rcvq_init(&q, 1000, 100u << 20, &env);
	return 0;
}

static int teardown(void **state)
{
	tcp_rcvq_fini(&q);
	return rte_mempool_avail_count(pools.rx) == rx_avail &&
			       rte_mempool_avail_count(pools.ref) == ref_avail
		       ? 0
		       : -1;
}

/* A chain of n bytes, cut into segments of at most `cut`, byte i being first + i. */
static struct rte_mbuf *chain(unsigned n, unsigned cut, uint8_t first)
{
	struct rte_mbuf *head = NULL, *m;

	for (unsigned at = 0; at < n || head == NULL; at += cut) {
		uint16_t len = (uint16_t)(n - at < cut ? n - at : cut);
		uint8_t *p;

		m = rte_pktmbuf_alloc(pools.rx);
		assert_non_null(m);
		p = pkt_put(m, len);
		for (unsigned i = 0; i < len; i++)
			p[i] = (uint8_t)(first + at + i);
		if (head)
			rte_pktmbuf_chain(head, m);
		else
			head = m;
	}
	return head;
}

static int put(uint64_t start, uint64_t end)
{
	int kept = tcp_rcvq_insert(&q, start, chain((unsigned)(end - start), 1000, (uint8_t)start));

	tcp_rcvq_check(&q);
	return kept;
}

/* Reads all and checks that it is the stream from `from` on. */
static void expect_ready(uint64_t from, uint64_t to)
{
	struct rte_mbuf *m;
	uint32_t charge;

	while ((m = tcp_rcvq_read(&q, 3, &charge)) != NULL) {
		rte_mbuf_sanity_check(m, 1);
		assert_in_range(m->nb_segs, 1, 3);
		for (const struct rte_mbuf *s = m; s; s = s->next)
			for (unsigned i = 0; i < s->data_len; i++)
				assert_int_equal(*rte_pktmbuf_mtod_offset(s, uint8_t *, i),
						 (uint8_t)from++);
		pkt_free(m);
	}
	assert_int_equal(from, to);
	assert_int_equal(q.ready.charge, 0);
	assert_int_equal(q.ready.bytes, 0);
}

static void expect_sack(unsigned n, const struct tcp_range *want)
{
	struct tcp_range got[4];

	assert_int_equal(tcp_rcvq_sack(&q, got, 4), n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(got[i].start, want[i].start);
		assert_int_equal(got[i].end, want[i].end);
	}
}

static void in_order_data_is_ready(void **state)
{
	assert_int_equal(put(1000, 1100), 100);
	assert_int_equal(put(1100, 3300), 2200);
	assert_int_equal(q.rcv_nxt, 3300);
	assert_null(q.block);
	expect_ready(1000, 3300);
}

static void hole_filled_makes_all_ready(void **state)
{
	assert_int_equal(put(1100, 1200), 100);
	assert_int_equal(put(1300, 1400), 100);
	assert_int_equal(q.rcv_nxt, 1000);
	assert_int_equal(put(1000, 1100), 100);
	assert_int_equal(q.rcv_nxt, 1200);
	assert_int_equal(put(1150, 1350), 100);
	assert_int_equal(q.rcv_nxt, 1400);
	assert_int_equal(q.ooo_charge, 0);
	expect_ready(1000, 1400);
}

/* RFC 2018 §4: the block with the segment that triggers the acknowledgement stands first. */
static void sack_blocks_are_most_recent_first(void **state)
{
	for (unsigned i = 0; i < 6; i++)
		put(1100 + i * 100, 1150 + i * 100);
	expect_sack(4,
		    (struct tcp_range[]){{1600, 1650}, {1500, 1550}, {1400, 1450}, {1300, 1350}});
	put(1150, 1160);
	expect_sack(4,
		    (struct tcp_range[]){{1100, 1160}, {1600, 1650}, {1500, 1550}, {1400, 1450}});
}

/* RFC 2883 §4.1 to §4.3 */
static void duplicates_are_reported_once(void **state)
{
	put(1000, 1100);
	put(1200, 1300);
	assert_int_equal(put(1050, 1100), 0);
	expect_sack(2, (struct tcp_range[]){{1050, 1100}, {1200, 1300}});
	expect_sack(1, (struct tcp_range[]){{1200, 1300}});
	put(1400, 1500);
	assert_int_equal(put(1200, 1250), 0);
	expect_sack(3, (struct tcp_range[]){{1200, 1250}, {1200, 1300}, {1400, 1500}});
	assert_int_equal(put(1450, 1600), 100);
	expect_sack(3, (struct tcp_range[]){{1450, 1500}, {1400, 1600}, {1200, 1300}});
}

static void fin_ends_the_stream(void **state)
{
	put(1200, 1300);
	assert_int_equal(tcp_rcvq_fin(&q, 1250), -EBADMSG);
	assert_int_equal(tcp_rcvq_fin(&q, 1400), 0);
	assert_int_equal(tcp_rcvq_fin(&q, 1400), 0);
	assert_int_equal(tcp_rcvq_fin(&q, 1500), -EBADMSG);
	assert_int_equal(put(1350, 1600), 50);
	assert_int_equal(put(1500, 1600), 0);
	assert_false(tcp_rcvq_complete(&q));
	assert_int_equal(put(1000, 1600), 250);
	assert_true(tcp_rcvq_complete(&q));
	expect_ready(1000, 1400);
}

static void full_charge_prunes_the_furthest(void **state)
{
	uint32_t one;

	put(1100, 1200);
	one = tcp_rcvq_charge(&q);
	q.max_charge = 3 * one;
	put(1500, 1600);
	put(1700, 1800);
	assert_int_equal(put(1900, 2000), -ENOBUFS);
	assert_int_equal(put(1300, 1400), 100);
	expect_sack(3, (struct tcp_range[]){{1300, 1400}, {1500, 1600}, {1100, 1200}});
	assert_int_equal(put(1000, 1100), 100);
	assert_true(tcp_rcvq_charge(&q) <= q.max_charge);
	assert_int_equal(q.rcv_nxt, 1200);
	/* One buffer was saved by copying a tiny segment behind its predecessor. */
	assert_int_equal(tcp_rcvq_prune(&q, 0), 2);
	assert_int_equal(q.rcv_nxt, 1200);
}

static void no_memory_for_blocks_keeps_in_order_data(void **state)
{
	no_memory = true;
	assert_int_equal(put(1100, 1200), -ENOBUFS);
	assert_int_equal(put(1000, 1100), 100);
	expect_ready(1000, 1100);
}

/* No buffer to cut the segment in two: what lies in front of the older block is kept. */
static void no_slice_truncates_the_segment(void **state)
{
	struct rte_mbuf *held[64];
	unsigned n = 0;

	while ((held[n] = rte_pktmbuf_alloc(pools.ref)) != NULL)
		n++;
	put(1200, 1300);
	assert_int_equal(put(1100, 1400), 100);
	expect_sack(1, (struct tcp_range[]){{1100, 1300}});
	while (n)
		rte_pktmbuf_free(held[--n]);
}

/* Every overlap: random segments, sliced at random, against a map of bytes. The first byte wins. */
static void random_against_byte_map(void **state)
{
	enum { SPAN = 400 };
	uint8_t val[SPAN];
	bool have[SPAN];

	srandom(11);
	for (unsigned round = 0; round < 300; round++) {
		unsigned nxt = 0, at = 0;

		memset(have, 0, sizeof(have));
		tcp_rcvq_fini(&q);
		tcp_rcvq_init(&q, 0, 100u << 20, &env);
		env.tight_shift = round % 2 ? 31 : 0;
		while (nxt < SPAN) {
			unsigned s = (unsigned)random() % SPAN;
			unsigned len = 1 + (unsigned)random() % (round % 3 ? 20 : 150);
			unsigned fresh = 0, run = 0;
			uint8_t first = (uint8_t)random();
			struct tcp_range got[TCP_RCVQ_BLOCKS];
			struct rte_mbuf *m;
			uint32_t charge;

			len = s + len > SPAN ? SPAN - s : len;
			m = chain(len, 1 + (unsigned)random() % 60, first);
			for (unsigned i = 0; i < len; i++) {
				if (have[s + i])
					continue;
				have[s + i] = true;
				val[s + i] = (uint8_t)(first + i);
				fresh++;
			}
			assert_int_equal(tcp_rcvq_insert(&q, s, m), fresh);
			tcp_rcvq_check(&q);
			while (nxt < SPAN && have[nxt])
				nxt++;
			assert_int_equal(q.rcv_nxt, nxt);
			for (unsigned i = nxt; i < SPAN; i++)
				run += have[i] && !have[i - 1];
			q.dsack = (struct tcp_range){0};
			assert_int_equal(tcp_rcvq_sack(&q, got, TCP_RCVQ_BLOCKS), run);
			for (unsigned b = 0; b < run; b++)
				for (uint64_t i = got[b].start; i < got[b].end; i++)
					assert_true(have[i]);
			if (random() % 4)
				continue;
			m = tcp_rcvq_read(&q, 1 + (unsigned)random() % 4, &charge);
			for (const struct rte_mbuf *seg = m; seg; seg = seg->next)
				for (unsigned i = 0; i < seg->data_len; i++)
					assert_int_equal(
						*rte_pktmbuf_mtod_offset(seg, uint8_t *, i),
						val[at++]);
			pkt_free(m);
		}
		assert_int_equal(q.ooo_charge, 0);
		assert_int_equal(env.pruned, 0);
		assert_int_equal(at + q.ready.bytes, SPAN);
	}
}

/* Feeds 100,000 segments of one byte; order(i) says where. Memory and work stay bounded. */
static void segment_smack(uint64_t (*order)(unsigned i), uint32_t max_charge)
{
	q.max_charge = max_charge;
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t off = order(i), before = env.steps;

		(void)tcp_rcvq_insert(&q, off, chain(1, 1, (uint8_t)off));
		assert_in_range(env.steps - before, 0, 2 * TCP_RCVQ_BLOCKS);
		assert_true(tcp_rcvq_charge(&q) <= max_charge);
	}
	tcp_rcvq_check(&q);
}

static uint64_t every_second(unsigned i)
{
	return 1002 + 2 * i;
}

static uint64_t every_second_backwards(unsigned i)
{
	return 201002 - 2 * i;
}

static uint64_t adjacent(unsigned i)
{
	return 1001 + i;
}

static uint64_t adjacent_backwards(unsigned i)
{
	return 101001 - i;
}

static uint64_t scattered(unsigned i)
{
	return 1001 + i * 7919u % 99991u;
}

/* H08, CVE-2018-5390 */
static void H08_isolated_bytes_cost_bounded_work(void **state)
{
	segment_smack(every_second, 1u << 20);
	assert_int_equal(q.n_blocks, TCP_RCVQ_BLOCKS);
}

static void H08_isolated_bytes_backwards_cost_bounded_work(void **state)
{
	segment_smack(every_second_backwards, 1u << 20);
}

static void H08_scattered_bytes_cost_bounded_work(void **state)
{
	segment_smack(scattered, 1u << 20);
}

/* H08: 100,000 bytes in 100,000 buffers would cost 200 MB; copied together they fit. */
static void H08_adjacent_bytes_are_compacted(void **state)
{
	segment_smack(adjacent, 1u << 20);
	assert_int_equal(env.pruned, 0);
	assert_int_equal(put(1000, 1001), 1);
	assert_int_equal(q.rcv_nxt, 101001);
	expect_ready(1000, 101001);
}

static void H08_adjacent_bytes_backwards_are_compacted(void **state)
{
	segment_smack(adjacent_backwards, 1u << 20);
	assert_int_equal(env.pruned, 0);
	assert_int_equal(q.block[0].end - q.block[0].start, 100000);
}

static int group_setup(void **state)
{
	static char *argv[] = {"test",	      "--no-huge",     "--no-pci", "--no-telemetry",
			       "--no-shconf", "--log-level=3", "-m",	   "64",
			       NULL};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", 2047, 0, 0, 128 + 2048, SOCKET_ID_ANY);
	pools.ref = rte_pktmbuf_pool_create("ref", 63, 0, 0, 0, SOCKET_ID_ANY);
	return pools.rx && pools.ref ? 0 : -1;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(in_order_data_is_ready),
		T(hole_filled_makes_all_ready),
		T(sack_blocks_are_most_recent_first),
		T(duplicates_are_reported_once),
		T(fin_ends_the_stream),
		T(full_charge_prunes_the_furthest),
		T(no_memory_for_blocks_keeps_in_order_data),
		T(no_slice_truncates_the_segment),
		T(random_against_byte_map),
		T(H08_isolated_bytes_cost_bounded_work),
		T(H08_isolated_bytes_backwards_cost_bounded_work),
		T(H08_scattered_bytes_cost_bounded_work),
		T(H08_adjacent_bytes_are_compacted),
		T(H08_adjacent_bytes_backwards_are_compacted),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
