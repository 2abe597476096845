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

#include "base/csum.h"
#include "pkt/pkt.h"

#define N    60	 /* bytes of the packets here: a TCP header with all its options */
#define POOL 63	 /* mbufs in each pool */
#define HEAD 128 /* RTE_PKTMBUF_HEADROOM */
#define ROOM 192 /* data room with that headroom: a buffer holds N and little more */

static struct pkt_pools pools;
static uint8_t bytes[N];

static struct rte_mbuf *segment(const uint8_t *data, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

	assert_non_null(m);
	memcpy(pkt_put(m, len), data, len);
	return m;
}

static void append(struct rte_mbuf *m, struct rte_mbuf *seg)
{
	struct rte_mbuf *last = rte_pktmbuf_lastseg(m);

	last->next = seg;
	m->nb_segs++;
	m->pkt_len += seg->data_len;
}

/* bytes[] as segments that end at cut a, at cut b and at N; segments may be empty. */
static struct rte_mbuf *packet(uint16_t a, uint16_t b)
{
	struct rte_mbuf *m = segment(bytes, a);

	append(m, segment(bytes + a, b - a));
	append(m, segment(bytes + b, N - b));
	return m;
}

static void assert_packet_is(const struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	uint8_t got[N + 1] = {0};
	uint32_t sum = 0;
	unsigned segs = 0;

	for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
		sum += s->data_len;
		segs++;
	}
	assert_int_equal(m->pkt_len, len);
	assert_int_equal(sum, len);
	assert_int_equal(m->nb_segs, segs);
	assert_int_equal(pkt_copy_out(m, 0, sizeof(got), got), len);
	assert_memory_equal(got, want, len);
}

static int pools_are_full(void **state)
{
	assert_int_equal(rte_mempool_avail_count(pools.rx), POOL);
	assert_int_equal(rte_mempool_avail_count(pools.hdr), POOL);
	assert_int_equal(rte_mempool_avail_count(pools.ref), POOL);
	return 0;
}

/* H22 */
static void headers_split_at_every_offset_are_made_contiguous(void **state)
{
	for (uint16_t a = 0; a <= N; a++)
		for (uint16_t b = a; b <= N; b++)
			for (uint16_t n = 0; n <= N; n += 5) {
				struct rte_mbuf *m = packet(a, b);

				assert_int_equal(pkt_linearize_head(m, n), 0);
				assert_true(m->data_len >= n);
				assert_memory_equal(pkt_data(m), bytes, n);
				assert_packet_is(m, bytes, N);
				pkt_free(m);
			}
}

/* H22: no room behind the data, so it moves to the front. */
static void linearize_without_tailroom_uses_the_headroom(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);

	m->data_off = ROOM - 20;
	memcpy(pkt_put(m, 20), bytes, 20);
	append(m, segment(bytes + 20, N - 20));
	assert_int_equal(pkt_linearize_head(m, 40), 0);
	assert_memory_equal(pkt_data(m), bytes, 40);
	assert_packet_is(m, bytes, N);
	pkt_free(m);
}

static void linearize_of_more_than_there_is_fails_and_changes_nothing(void **state)
{
	struct rte_mbuf *m = packet(10, 30);

	assert_int_equal(pkt_linearize_head(m, N + 1), -ENOBUFS);
	assert_int_equal(pkt_linearize_head(m, UINT16_MAX), -ENOBUFS);
	assert_int_equal(m->data_len, 10);
	assert_packet_is(m, bytes, N);
	pkt_free(m);
}

static void linearize_of_more_than_the_buffer_holds_fails(void **state)
{
	struct rte_mbuf *m = packet(20, 40);

	for (int i = 0; i < 4; i++)
		append(m, segment(bytes, N));
	assert_int_equal(pkt_linearize_head(m, ROOM), 0);
	assert_int_equal(pkt_linearize_head(m, ROOM + 1), -ENOBUFS);
	assert_int_equal(m->data_len, ROOM);
	assert_int_equal(m->pkt_len, 5 * N);
	pkt_free(m);
}

/* H22: the bytes behind the first segment's end belong to a slice that another still holds. */
static void linearize_into_a_shared_buffer_fails_and_alters_no_byte(void **state)
{
	struct rte_mbuf *m = segment(bytes, N);
	struct rte_mbuf *other = pkt_slice(&pools, m, 0, N);

	assert_non_null(other);
	pkt_trim_back(m, 10);
	append(m, segment(bytes, 20));
	assert_int_equal(pkt_linearize_head(m, 20), -ENOBUFS);
	assert_packet_is(other, bytes, N);
	assert_int_equal(m->pkt_len, 30);
	pkt_free(other);
	/* Now it is ours alone. */
	assert_int_equal(pkt_linearize_head(m, 20), 0);
	assert_memory_equal(pkt_data(m) + 10, bytes, 10);
	pkt_free(m);
}

/* H22 */
static void linearize_of_an_indirect_head_fails(void **state)
{
	struct rte_mbuf *m = segment(bytes, N);
	struct rte_mbuf *head = pkt_slice(&pools, m, 0, 10);

	append(head, segment(bytes + 10, N - 10));
	pkt_free(m); /* the slice is the buffer's last holder, and still must not write */
	assert_int_equal(pkt_linearize_head(head, 20), -ENOBUFS);
	assert_int_equal(pkt_linearize_head(head, 10), 0);
	assert_packet_is(head, bytes, N);
	pkt_free(head);
}

/* H22: what can't be written to is copied, up to the n bytes asked for. */
static void head_of_an_indirect_packet_gets_a_buffer_of_its_own(void **state)
{
	for (uint16_t n = 1; n <= N; n++)
		for (uint16_t cut = 1; cut < N; cut++) {
			struct rte_mbuf *m = segment(bytes, N);
			struct rte_mbuf *head = pkt_slice(&pools, m, 0, cut);

			append(head, pkt_slice(&pools, m, cut, N - cut));
			assert_int_equal(pkt_head(&pools, &head, n), 0);
			assert_true(head->data_len >= n);
			assert_packet_is(head, bytes, N);
			assert_int_equal(pkt_head(&pools, &head, N + 1), -ENOBUFS);
			pkt_free(head);
			pkt_free(m);
		}
}

static void head_without_a_buffer_fails_and_changes_nothing(void **state)
{
	struct rte_mbuf *m = segment(bytes, N), *hold[POOL];
	struct rte_mbuf *head = pkt_slice(&pools, m, 0, 10), *was = head;

	append(head, pkt_slice(&pools, m, 10, N - 10));
	assert_int_equal(rte_pktmbuf_alloc_bulk(pools.hdr, hold, POOL), 0);
	assert_int_equal(pkt_head(&pools, &head, 20), -ENOBUFS);
	assert_ptr_equal(head, was);
	assert_packet_is(head, bytes, N);
	rte_pktmbuf_free_bulk(hold, POOL);
	pkt_free(head);
	pkt_free(m);
}

static void no_free_ext(void *addr, void *opaque)
{
	(*(int *)opaque)++;
}

/* H22: an application's memory is read, never written. */
static void external_memory_is_cut_and_summed_but_never_written(void **state)
{
	static uint8_t arena[256];
	static struct rte_mbuf_ext_shared_info info;
	int freed = 0;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.ref);

	memcpy(arena, bytes, N);
	info.free_cb = no_free_ext;
	info.fcb_opaque = &freed;
	rte_mbuf_ext_refcnt_set(&info, 1);
	rte_pktmbuf_attach_extbuf(m, arena, RTE_BAD_IOVA, sizeof(arena), &info);
	m->data_off = 0;
	m->data_len = 30;
	m->pkt_len = 30;
	append(m, segment(bytes + 30, 30));
	assert_int_equal(pkt_linearize_head(m, 31), -ENOBUFS);
	assert_int_equal(pkt_csum(m, 0, N), csum_fold(csum_add(0, bytes, N)));
	m = pkt_trim_front(m, 7);
	pkt_trim_back(m, 20);
	assert_packet_is(m, bytes + 7, 20);
	assert_memory_equal(arena, bytes, N);
	pkt_free(m);
	assert_int_equal(freed, 1);
}

/* Any cut of any packet of three segments; n past the end cuts all. */
static void trim_at_every_offset_keeps_the_right_bytes(void **state)
{
	for (uint16_t a = 0; a <= N; a += 3)
		for (uint16_t b = a; b <= N; b += 3)
			for (uint16_t n = 0; n <= N + 2; n++) {
				uint16_t cut = n < N ? n : N;
				struct rte_mbuf *m = pkt_trim_front(packet(a, b), n);

				assert_packet_is(m, bytes + cut, N - cut);
				pkt_free(m);
				m = packet(a, b);
				pkt_trim_back(m, n);
				assert_packet_is(m, bytes, cut);
				pkt_free(m);
			}
}

static void trim_of_a_whole_packet_leaves_one_empty_segment(void **state)
{
	struct rte_mbuf *m = pkt_trim_front(packet(10, 20), UINT32_MAX), *b = packet(10, 20);

	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->pkt_len, 0);
	pkt_trim_back(b, 0);
	assert_int_equal(b->nb_segs, 1);
	assert_int_equal(b->pkt_len, 0);
	pkt_free(m);
	pkt_free(b);
}

/* H22: the slice reads the same bytes after both ends of its parent were cut, and after the parent,
 * freed in the middle of a chain, is gone. */
static void trim_of_a_shared_buffer_alters_no_byte_of_its_slices(void **state)
{
	struct rte_mbuf *m = packet(20, 40);
	struct rte_mbuf *first = pkt_slice(&pools, m, 3, 14);
	struct rte_mbuf *second = pkt_slice(&pools, m->next, 0, 20);
	struct rte_mbuf *again = pkt_slice(&pools, second, 5, 10);

	m = pkt_trim_front(m, 25);
	pkt_trim_back(m, 10);
	assert_packet_is(m, bytes + 25, 10);
	assert_packet_is(first, bytes + 3, 14);
	assert_packet_is(second, bytes + 20, 20);
	second = pkt_trim_front(second, 1);
	pkt_trim_back(second, 3);
	assert_packet_is(second, bytes + 21, 3);
	assert_packet_is(again, bytes + 25, 10);
	pkt_free(m);
	pkt_free(second);
	assert_packet_is(again, bytes + 25, 10);
	pkt_free(again);
	assert_packet_is(first, bytes + 3, 14);
	pkt_free(first);
}

static void copy_out_of_every_range_gives_its_bytes(void **state)
{
	struct rte_mbuf *m = packet(13, 13); /* an empty segment in the middle */
	uint8_t out[N + 8];

	for (uint32_t off = 0; off <= N + 2; off++)
		for (uint32_t len = 0; len <= N + 2; len++) {
			uint32_t there = off < N ? N - off : 0;
			uint32_t want = len < there ? len : there;

			memset(out, 0xee, sizeof(out));
			assert_int_equal(pkt_copy_out(m, off, len, out), want);
			if (want > 0)
				assert_memory_equal(out, bytes + off, want);
			assert_int_equal(out[want], 0xee);
		}
	assert_int_equal(pkt_copy_out(m, UINT32_MAX, UINT32_MAX, out), 0);
	pkt_free(m);
}

/* RFC 1071 §2(A): odd pieces swap the halves of what follows. */
static void csum_over_every_split_equals_that_of_one_piece(void **state)
{
	for (uint16_t a = 0; a <= N; a++)
		for (uint16_t b = a; b <= N; b++) {
			struct rte_mbuf *m = packet(a, b);

			for (uint32_t off = 0; off < N; off += 7)
				for (uint32_t len = 0; off + len <= N; len += 3)
					assert_int_equal(pkt_csum(m, off, len),
							 csum_fold(csum_add(0, bytes + off, len)));
			assert_int_equal(pkt_csum(m, 1, UINT32_MAX),
					 csum_fold(csum_add(0, bytes + 1, N - 1)));
			assert_int_equal(pkt_csum(m, N, 5), 0);
			pkt_free(m);
		}
}

/* H22 */
static void slice_with_an_empty_pool_is_null_and_takes_no_reference(void **state)
{
	struct rte_mbuf *m = segment(bytes, N), *s[POOL];

	for (int i = 0; i < POOL; i++) {
		s[i] = pkt_slice(&pools, m, 0, N);
		assert_non_null(s[i]);
	}
	assert_int_equal(rte_mbuf_refcnt_read(m), POOL + 1);
	assert_null(pkt_slice(&pools, m, 0, N));
	assert_int_equal(rte_mbuf_refcnt_read(m), POOL + 1);
	for (int i = 0; i < POOL; i++)
		pkt_free(s[i]);
	pkt_free(m);
}

/* H22: nothing here allocates, so it all works when nothing is left. */
static void every_walk_works_with_empty_pools(void **state)
{
	struct rte_mbuf *m = packet(10, 30), *held[POOL];
	struct rte_mbuf *hdr[POOL];

	for (int i = 0; i < POOL - 3; i++)
		held[i] = segment(bytes, 1);
	for (int i = 0; i < POOL; i++)
		hdr[i] = pkt_alloc_hdr(&pools);
	assert_null(rte_pktmbuf_alloc(pools.rx));
	assert_null(pkt_alloc_hdr(&pools));
	assert_int_equal(pkt_linearize_head(m, 40), 0);
	m = pkt_trim_front(m, 5);
	pkt_trim_back(m, 50);
	assert_packet_is(m, bytes + 5, 50);
	pkt_free(m);
	for (int i = 0; i < POOL - 3; i++)
		pkt_free(held[i]);
	for (int i = 0; i < POOL; i++)
		pkt_free(hdr[i]);
}

static void drop_frees_and_counts_once(void **state)
{
	struct drop_counters d = {0};

	pkt_drop(&d, packet(10, 20), DROP_TCP_SHORT);
	pkt_drop(&d, NULL, DROP_NO_MBUF);
	assert_int_equal(d.n[DROP_TCP_SHORT], 1);
	assert_int_equal(d.n[DROP_NO_MBUF], 1);
}

static int start(void **state)
{
	char *argv[] = {
		"test_pkt", "--no-huge", "--no-pci", "--no-telemetry",	 "--no-shconf", "-m",
		"64",	    "-l",	 "0",	     "--log-level=error"};

	if (rte_eal_init(array_size(argv), argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", POOL, 0, 0, ROOM, SOCKET_ID_ANY);
	pools.hdr = rte_pktmbuf_pool_create("hdr", POOL, 0, 0, HEAD + PKT_HDR_ROOM, SOCKET_ID_ANY);
	pools.ref = rte_pktmbuf_pool_create("ref", POOL, 0, 0, 0, SOCKET_ID_ANY);
	for (unsigned i = 0; i < N; i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	return pools.rx != NULL && pools.hdr != NULL && pools.ref != NULL ? 0 : -1;
}

static int stop(void **state)
{
	return rte_eal_cleanup();
}

#define T(f) cmocka_unit_test_teardown(f, pools_are_full)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(headers_split_at_every_offset_are_made_contiguous),
		T(linearize_without_tailroom_uses_the_headroom),
		T(linearize_of_more_than_there_is_fails_and_changes_nothing),
		T(linearize_of_more_than_the_buffer_holds_fails),
		T(linearize_into_a_shared_buffer_fails_and_alters_no_byte),
		T(linearize_of_an_indirect_head_fails),
		T(head_of_an_indirect_packet_gets_a_buffer_of_its_own),
		T(head_without_a_buffer_fails_and_changes_nothing),
		T(external_memory_is_cut_and_summed_but_never_written),
		T(trim_at_every_offset_keeps_the_right_bytes),
		T(trim_of_a_whole_packet_leaves_one_empty_segment),
		T(trim_of_a_shared_buffer_alters_no_byte_of_its_slices),
		T(copy_out_of_every_range_gives_its_bytes),
		T(csum_over_every_split_equals_that_of_one_piece),
		T(slice_with_an_empty_pool_is_null_and_takes_no_reference),
		T(every_walk_works_with_empty_pools),
		T(drop_frees_and_counts_once),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
