/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tcp/sent.h"

#define MSS   10u
#define MODEL 4000u /* bytes of stream that the model knows */

static _Alignas(64) uint8_t arena[1 << 20];
static struct tcp_mem mem;

static struct tcp_sent fresh(void)
{
	struct tcp_sent s;

	tcp_mem_init(&mem, arena, sizeof(arena));
	tcp_sent_init(&s, 0);
	return s;
}

static void send_bytes(struct tcp_sent *s, uint64_t bytes, uint64_t now_ns)
{
	assert_int_equal(tcp_sent_reserve(s, &mem, 1), 0);
	tcp_sent_append(s, s->nxt + bytes, now_ns);
	tcp_sent_check(s);
}

static struct tcp_sent_ack sack(struct tcp_sent *s, uint64_t start, uint64_t end)
{
	struct tcp_sent_ack a = {.now_ns = 1000, .mss = MSS};
	struct tcp_sack_range b = {start, end};

	tcp_sent_sack(s, &mem, &b, 1, &a);
	tcp_sent_check(s);
	return a;
}

static void two_records_need_no_memory(void **state)
{
	struct tcp_sent s = fresh();

	send_bytes(&s, MSS, 1);
	send_bytes(&s, MSS, 2);
	assert_int_equal(mem.used, 0);
	send_bytes(&s, MSS, 3);
	assert_true(mem.used > 0);
	tcp_sent_fini(&s, &mem);
}

static void partial_ack_trims_the_head(void **state)
{
	struct tcp_sent s = fresh();
	struct tcp_sent_ack a = {.now_ns = 100};

	send_bytes(&s, 30, 1);
	send_bytes(&s, 10, 2);
	tcp_sent_ack(&s, 7, &a);
	tcp_sent_check(&s);
	assert_int_equal(s.count, 2);
	assert_int_equal(a.acked_bytes, 7);
	assert_true(a.sample_valid && a.sample_ns == 1);
	tcp_sent_ack(&s, 40, &a);
	assert_int_equal(s.count, 0);
	assert_int_equal(a.sample_ns, 2);
	assert_false(a.reordered);
}

/* RFC 2018, H07: a block within a record marks whole segments of it, or nothing. */
static void block_inside_a_record_splits_at_segments_only(void **state)
{
	struct tcp_sent s = fresh();

	send_bytes(&s, 45, 1);
	assert_int_equal(sack(&s, 3, 9).sacked_bytes, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(sack(&s, 13, 35).sacked_bytes, 10);
	assert_int_equal(s.count, 3);
	assert_int_equal(sack(&s, 40, 45).sacked_bytes, 5); /* the short last segment */
	assert_int_equal(tcp_sent_pipe(&s), 30);
}

/* H07: blocks outside what is outstanding, empty or reversed */
static void senseless_blocks_change_nothing(void **state)
{
	struct tcp_sent s = fresh();
	struct tcp_sent_ack a = {0};

	send_bytes(&s, 40, 1);
	tcp_sent_ack(&s, 10, &a);
	assert_int_equal(sack(&s, 0, 20).sacked_bytes, 0);
	assert_int_equal(sack(&s, 20, 50).sacked_bytes, 0);
	assert_int_equal(sack(&s, 30, 20).sacked_bytes, 0);
	assert_int_equal(sack(&s, 20, 20).sacked_bytes, 0);
	assert_int_equal(sack(&s, UINT64_MAX - 5, UINT64_MAX).sacked_bytes, 0);
}

static void no_memory_leaves_the_scoreboard_as_it_was(void **state)
{
	struct tcp_sent s = fresh();

	tcp_mem_init(&mem, arena, 0);
	send_bytes(&s, 30, 1);
	send_bytes(&s, 30, 1);
	assert_int_equal(tcp_sent_reserve(&s, &mem, 1), -12);
	assert_int_equal(sack(&s, 10, 20).sacked_bytes, 0);
	assert_int_equal(sack(&s, 30, 60).sacked_bytes, 30);
}

/* RFC 8985 §6.2 step 3 */
static void delivery_below_fack_is_reordering_unless_retransmitted(void **state)
{
	struct tcp_sent s = fresh();

	for (int i = 0; i < 4; i++)
		send_bytes(&s, MSS, i);
	assert_false(sack(&s, 30, 40).reordered);
	assert_true(sack(&s, 20, 30).reordered);
	assert_true(tcp_sent_mark_lost(&s, 1));
	tcp_sent_retransmitted(&s, 1, 500);
	assert_false(sack(&s, 10, 20).reordered);
}

/* RFC 6298 §3 (Karn), RFC 8985 §6.2 step 2 */
static void retransmission_gives_no_sample_and_is_newest_only_after_min_rtt(void **state)
{
	struct tcp_sent s = fresh();
	struct tcp_sent_ack a = {.now_ns = 120, .min_rtt_ns = 50};

	send_bytes(&s, MSS, 1);
	send_bytes(&s, MSS, 2);
	tcp_sent_mark_lost(&s, 0);
	tcp_sent_retransmitted(&s, 0, 100);
	tcp_sent_mark_lost(&s, 1);
	tcp_sent_retransmitted(&s, 1, 101);
	tcp_sent_ack(&s, 10, &a);
	assert_false(a.sample_valid);
	assert_false(a.newest_valid);
	a.now_ns = 200;
	tcp_sent_ack(&s, 20, &a);
	assert_false(a.sample_valid);
	assert_true(a.newest_valid && a.newest_rtx && a.newest_ns == 101);
}

/* ---- a flag for each byte ---------------------------------------------------------------------
 */

static uint8_t model[MODEL];

static void compare(struct tcp_sent *s)
{
	uint64_t sacked = 0, lost = 0, rtx = 0, first = UINT64_MAX;
	int64_t next = tcp_sent_next_lost(s);

	tcp_sent_check(s);
	for (uint64_t o = s->una; o < s->nxt; o++) {
		sacked += !!(model[o] & TCP_SENT_SACKED);
		lost += !!(model[o] & TCP_SENT_LOST);
		rtx += !!(model[o] & TCP_SENT_RTX);
		if (first == UINT64_MAX && (model[o] & 6) == TCP_SENT_LOST)
			first = o;
	}
	assert_int_equal(s->sacked_bytes, sacked);
	assert_int_equal(s->lost_bytes, lost);
	assert_int_equal(s->rtx_bytes, rtx);
	assert_int_equal(tcp_sent_pipe(s), s->nxt - s->una - sacked - lost + rtx);
	assert_true(next < 0 ? first == UINT64_MAX : tcp_sent_at(s, next)->start == first);
	for (uint32_t i = 0; i < s->count; i++)
		for (uint64_t o = tcp_sent_at(s, i)->start; o < tcp_sent_at(s, i)->end; o++)
			assert_int_equal(model[o], tcp_sent_at(s, i)->flags);
}

static void model_sack(struct tcp_sent *s, struct tcp_sent_ack *a)
{
	struct tcp_sack_range b[4];
	uint64_t fresh_bytes = 0;
	unsigned n = 1 + rand() % 4, all = s->nxt / MSS;

	for (unsigned i = 0; i < n; i++) {
		b[i].start = (uint64_t)(rand() % (all + 1)) * MSS;
		b[i].end = b[i].start + (uint64_t)(rand() % 8) * MSS;
		if (b[i].start < s->una || b[i].end > s->nxt)
			continue;
		for (uint64_t o = b[i].start; o < b[i].end; o++) {
			fresh_bytes += !(model[o] & TCP_SENT_SACKED);
			model[o] = TCP_SENT_SACKED;
		}
	}
	tcp_sent_sack(s, &mem, b, n, a);
	assert_int_equal(a->sacked_bytes, fresh_bytes);
}

static void model_loss(struct tcp_sent *s, uint64_t now)
{
	uint32_t i = rand() % s->count;
	struct tcp_sent_rec *r = tcp_sent_at(s, i);

	if (r->flags & TCP_SENT_SACKED) {
		assert_false(tcp_sent_mark_lost(s, i));
	} else if (rand() & 1) {
		memset(model + r->start, TCP_SENT_LOST, r->end - r->start);
		tcp_sent_mark_lost(s, i);
	} else {
		int64_t next = tcp_sent_next_lost(s);

		r = tcp_sent_at(s, i = next < 0 ? i : (uint32_t)next);
		for (uint64_t o = r->start; o < r->end; o++)
			model[o] |= TCP_SENT_RTX;
		tcp_sent_retransmitted(s, i, now);
	}
}

static void model_step(struct tcp_sent *s, uint64_t now)
{
	struct tcp_sent_ack a = {.now_ns = now, .mss = MSS};
	unsigned what = rand() % 64, segs = (s->nxt - s->una) / MSS;

	if (what < 24) {
		uint64_t bytes = (1 + rand() % 6) * MSS;

		if (s->nxt + bytes <= MODEL)
			send_bytes(s, bytes, now);
	} else if (!segs) {
		return;
	} else if (what < 30) {
		tcp_sent_ack(s, s->una + (1 + rand() % (segs < 5 ? segs : 5)) * MSS, &a);
	} else if (what < 46) {
		model_sack(s, &a);
	} else if (what < 62) {
		model_loss(s, now);
	} else if (what == 62) {
		bool forget = rand() & 1;

		for (uint64_t o = s->una; o < s->nxt; o++)
			if (forget || !(model[o] & TCP_SENT_SACKED))
				model[o] = TCP_SENT_LOST;
		tcp_sent_mark_all_lost(s, forget);
	} else {
		for (uint64_t o = s->una; o < s->nxt; o++) {
			const struct tcp_sent_rec *r = tcp_sent_at(s, tcp_sent_find(s, o));

			if (r->n_xmit == 1 || model[o] & TCP_SENT_RTX)
				model[o] &= ~TCP_SENT_LOST;
		}
		tcp_sent_unmark_lost(s);
	}
}

static void random_steps_against_a_flag_for_each_byte(void **state)
{
	srand(4);
	for (int run = 0; run < 40; run++) {
		struct tcp_sent s = fresh();

		memset(model, 0, sizeof(model));
		for (int i = 0; i < 500; i++) {
			model_step(&s, 1000 + i);
			compare(&s);
		}
		tcp_sent_fini(&s, &mem);
	}
}

/* H07, H14: any offsets at all, unaligned; invariants hold, records stay no smaller than segments.
 */
static void random_unaligned_blocks_keep_the_invariants(void **state)
{
	srand(5);
	for (int run = 0; run < 50; run++) {
		struct tcp_sent s = fresh();
		unsigned sends = 0;

		for (int i = 0; i < 400; i++) {
			struct tcp_sent_ack a = {.now_ns = i, .mss = MSS};
			struct tcp_sack_range b[4];

			if (rand() % 3 == 0) {
				send_bytes(&s, 1 + rand() % 100, i);
				sends++;
			}
			for (int k = 0; k < 4; k++) {
				b[k].start = s.una + rand() % 500;
				b[k].end = b[k].start + rand() % 100;
			}
			tcp_sent_sack(&s, &mem, b, 4, &a);
			if (rand() % 8 == 0 && s.nxt > s.una)
				tcp_sent_ack(&s, s.una + 1 + rand() % (s.nxt - s.una), &a);
			tcp_sent_check(&s);
			assert_true(s.count <= (s.nxt - s.una) / MSS + sends + 1);
		}
		tcp_sent_fini(&s, &mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_records_need_no_memory),
		cmocka_unit_test(partial_ack_trims_the_head),
		cmocka_unit_test(block_inside_a_record_splits_at_segments_only),
		cmocka_unit_test(senseless_blocks_change_nothing),
		cmocka_unit_test(no_memory_leaves_the_scoreboard_as_it_was),
		cmocka_unit_test(delivery_below_fack_is_reordering_unless_retransmitted),
		cmocka_unit_test(retransmission_gives_no_sample_and_is_newest_only_after_min_rtt),
		cmocka_unit_test(random_steps_against_a_flag_for_each_byte),
		cmocka_unit_test(random_unaligned_blocks_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
