/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tcp/rack.h"

#define MSS 10u

static _Alignas(64) uint8_t arena[1 << 20];
static struct tcp_mem mem;
static struct tcp_sent s;
static struct tcp_rack k;

static void fresh(void)
{
	tcp_mem_init(&mem, arena, sizeof(arena));
	tcp_sent_init(&s, 0);
	tcp_rack_init(&k, 0);
}

static void fini(void)
{
	tcp_sent_fini(&s, &mem);
	tcp_rack_fini(&k, &mem);
}

static void send_at(uint64_t now_ns, uint64_t bytes)
{
	assert_int_equal(tcp_sent_reserve(&s, &mem, 1), 0);
	tcp_sent_append(&s, s.nxt + bytes, now_ns);
}

static void resend_at(uint32_t i, uint64_t now_ns)
{
	tcp_sent_retransmitted(&s, i, now_ns);
	tcp_rack_rtx(&k, &mem, tcp_sent_at(&s, i)->start, tcp_sent_at(&s, i)->end, now_ns);
}

static struct tcp_rack_env env_at(uint64_t now_ns)
{
	return (struct tcp_rack_env){
		.now_ns = now_ns, .min_rtt_ns = 100, .srtt_ns = 100, .mss = MSS};
}

static void sack_at(uint64_t now_ns, uint64_t start, uint64_t end)
{
	struct tcp_sent_ack a = {.now_ns = now_ns, .min_rtt_ns = 100, .mss = MSS};
	struct tcp_sack_range b = {start, end};

	tcp_sent_sack(&s, &mem, &b, 1, &a);
	tcp_rack_acked(&k, &a);
}

static uint64_t detect_at(uint64_t now_ns, uint64_t *deadline_ns)
{
	struct tcp_rack_env e = env_at(now_ns);
	uint64_t lost = tcp_rack_detect(&k, &s, &e, deadline_ns);

	tcp_sent_check(&s);
	return lost;
}

/* RFC 8985 §6.2 step 5: one SACK; what was sent before it is lost a quarter of min RTT later. */
static void gap_waits_for_the_reordering_window_then_is_lost(void **state)
{
	uint64_t at;

	fresh();
	send_at(1, MSS);
	send_at(2, MSS);
	assert_int_equal(detect_at(50, &at), 0);
	assert_true(at == TCP_RACK_NEVER);
	sack_at(102, 10, 20);
	assert_int_equal(detect_at(102, &at), 0);
	assert_int_equal(at, 1 + 100 + 25);
	assert_int_equal(detect_at(at, &at), MSS);
	assert_true(at == TCP_RACK_NEVER);
	assert_int_equal(tcp_sent_next_lost(&s), 0);
	fini();
}

/* RFC 8985 §6.2 step 4: three segments SACKed and no reordering seen: at once. */
static void three_segments_sacked_lose_the_gap_at_once(void **state)
{
	uint64_t at;

	fresh();
	for (int i = 0; i < 4; i++)
		send_at(i, MSS);
	sack_at(103, 10, 40);
	assert_int_equal(detect_at(103, &at), MSS);
	fini();
}

/* The lost retransmission is found by something sent after it. */
static void lost_retransmission_is_lost_again(void **state)
{
	uint64_t at;

	fresh();
	for (int i = 0; i < 4; i++)
		send_at(i, MSS);
	sack_at(103, 10, 40);
	assert_int_equal(detect_at(103, &at), MSS);
	resend_at(0, 110);
	send_at(111, MSS);
	assert_int_equal(detect_at(150, &at), 0);
	sack_at(215, 40, 50);
	assert_int_equal(detect_at(215, &at), MSS);
	assert_int_equal(tcp_sent_next_lost(&s), 0);
	assert_int_equal(k.log_count, 0);
	fini();
}

/* RFC 8985 §6.2 step 4: a DSACK widens the window once a round, sixteen recoveries end it. */
static void dsack_widens_the_window_once_a_round(void **state)
{
	struct tcp_rack_env e = env_at(0);

	fresh();
	e.srtt_ns = 1000;
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 25);
	tcp_rack_dsack(&k, 0, 100);
	tcp_rack_dsack(&k, 50, 150);
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 50);
	tcp_rack_dsack(&k, 100, 150);
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 75);
	e.srtt_ns = 60;
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 60);
	e.in_recovery = true;
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 0);
	k.reordering_seen = true;
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 60);
	for (int i = 0; i < 16; i++)
		tcp_rack_recovered(&k);
	assert_int_equal(tcp_rack_reo_wnd_ns(&k, &s, &e), 25);
	fini();
}

/* RFC 8985 §6.3 */
static void rto_marks_the_head_and_what_is_late(void **state)
{
	struct tcp_rack_env e = env_at(1000);

	fresh();
	send_at(1, MSS);
	send_at(2, MSS);
	send_at(990, MSS);
	k.rtt_ns = 100;
	assert_int_equal(tcp_rack_rto(&k, &s, &e), 2 * MSS);
	fini();
	fresh();
	send_at(999, MSS);
	assert_int_equal(tcp_rack_rto(&k, &s, &e), MSS);
	fini();
}

/* RFC 5681 §3.2, RFC 6582 §3.2 */
static void third_duplicate_ack_marks_one_segment(void **state)
{
	fresh();
	send_at(1, 3 * MSS);
	assert_false(tcp_rack_dupack(&k, &s, &mem, MSS));
	assert_false(tcp_rack_dupack(&k, &s, &mem, MSS));
	assert_true(tcp_rack_dupack(&k, &s, &mem, MSS));
	assert_int_equal(s.lost_bytes, MSS);
	assert_false(tcp_rack_dupack(&k, &s, &mem, MSS));
	assert_false(tcp_rack_partial_ack(&s, &mem, MSS)); /* marked already */
	tcp_rack_dupack_clear(&k);
	assert_int_equal(k.dupacks, 0);
	fini();
}

/* RFC 8985 §7.2 */
static void probe_time_is_two_srtt_within_rto(void **state)
{
	assert_int_equal(tcp_tlp_pto_us(0, 100, MSS, 200000, 3000000), 1000000);
	assert_int_equal(tcp_tlp_pto_us(1000, 100, MSS, 200000, 3000000), 2000);
	assert_int_equal(tcp_tlp_pto_us(1000, MSS, MSS, 200000, 3000000), 202000);
	assert_int_equal(tcp_tlp_pto_us(1000, MSS, MSS, 200000, 1500), 1500);
}

/* RFC 8985 §7.4.2 */
static void probe_that_repaired_a_loss_asks_for_a_response(void **state)
{
	struct tcp_tlp p = {0};

	tcp_tlp_sent(&p, 100, true);
	assert_false(tcp_tlp_acked(&p, &(struct tcp_tlp_ack){.una = 99}));
	assert_false(tcp_tlp_acked(&p, &(struct tcp_tlp_ack){.una = 100}));
	assert_true(p.pending);
	assert_true(tcp_tlp_acked(&p, &(struct tcp_tlp_ack){.una = 101}));
	assert_false(p.pending);
	tcp_tlp_sent(&p, 100, true);
	assert_false(tcp_tlp_acked(&p, &(struct tcp_tlp_ack){.una = 100, .dsack_of_end = true}));
	assert_false(p.pending);
	tcp_tlp_sent(&p, 100, false);
	assert_false(tcp_tlp_acked(&p, &(struct tcp_tlp_ack){.una = 120}));
	assert_false(p.pending);
}

/* ---- the RFC's walk over all segments -------------------------------------------------------- */

static bool naive_lost(uint32_t i, const struct tcp_rack_env *e, uint64_t wnd, uint64_t *at)
{
	const struct tcp_sent_rec *r = tcp_sent_at(&s, i);
	uint64_t due = r->xmit_ns + k.rtt_ns + wnd;

	if (!k.valid || r->flags & TCP_SENT_SACKED ||
	    (r->flags & (TCP_SENT_LOST | TCP_SENT_RTX)) == TCP_SENT_LOST)
		return false;
	if (k.xmit_ns < r->xmit_ns || (k.xmit_ns == r->xmit_ns && k.end <= r->end))
		return false;
	if (due > e->now_ns)
		*at = due < *at ? due : *at;
	return due <= e->now_ns;
}

static void compare_detect(uint64_t now)
{
	static bool want[4096];
	struct tcp_rack_env e = env_at(now);
	uint64_t wnd, at, want_at = TCP_RACK_NEVER;

	e.in_recovery = s.lost_bytes > 0;
	wnd = tcp_rack_reo_wnd_ns(&k, &s, &e);
	for (uint32_t i = 0; i < s.count; i++) {
		const struct tcp_sent_rec *r = tcp_sent_at(&s, i);

		want[i] = naive_lost(i, &e, wnd, &want_at) ||
			  (r->flags & (TCP_SENT_LOST | TCP_SENT_RTX)) == TCP_SENT_LOST;
	}
	(void)tcp_rack_detect(&k, &s, &e, &at);
	tcp_sent_check(&s);
	assert_true(at == want_at);
	for (uint32_t i = 0; i < s.count; i++) {
		uint8_t f = tcp_sent_at(&s, i)->flags & (TCP_SENT_LOST | TCP_SENT_RTX);

		assert_int_equal(f == TCP_SENT_LOST, want[i]);
	}
}

static void random_traffic_against_the_rfcs_walk(void **state)
{
	srand(6);
	for (int run = 0; run < 60; run++) {
		uint64_t now = 1000;

		fresh();
		for (int n = 0; n < 600; n++) {
			struct tcp_sent_ack a = {.now_ns = now, .min_rtt_ns = 100, .mss = MSS};
			int64_t lost = tcp_sent_next_lost(&s);
			unsigned what = rand() % 16;

			now += 1 + rand() % 20;
			a.now_ns = now;
			if (what < 6) {
				for (int b = rand() % 4; b >= 0; b--)
					send_at(now, (1 + rand() % 3) * MSS);
			} else if (what < 10 && lost >= 0) {
				resend_at(lost, now);
			} else if (what == 10 && s.count &&
				   !(tcp_sent_at(&s, s.count - 1)->flags & TCP_SENT_SACKED)) {
				resend_at(s.count - 1, now); /* a probe */
			} else if (what < 14 && s.count) {
				uint64_t from = s.una + rand() % (s.nxt - s.una) / MSS * MSS;

				sack_at(now, from, from + MSS);
			} else if (what == 14 && s.count) {
				tcp_sent_ack(&s, tcp_sent_at(&s, rand() % s.count / 4)->end, &a);
				tcp_rack_acked(&k, &a);
			} else if (rand() % 8 == 0) {
				tcp_sent_unmark_lost(&s);
				tcp_rack_rewind(&k, s.una);
				tcp_rack_dsack(&k, s.una, s.nxt);
			}
			compare_detect(now);
		}
		fini();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gap_waits_for_the_reordering_window_then_is_lost),
		cmocka_unit_test(three_segments_sacked_lose_the_gap_at_once),
		cmocka_unit_test(lost_retransmission_is_lost_again),
		cmocka_unit_test(dsack_widens_the_window_once_a_round),
		cmocka_unit_test(rto_marks_the_head_and_what_is_late),
		cmocka_unit_test(third_duplicate_ack_marks_one_segment),
		cmocka_unit_test(probe_time_is_two_srtt_within_rto),
		cmocka_unit_test(probe_that_repaired_a_loss_asks_for_a_response),
		cmocka_unit_test(random_traffic_against_the_rfcs_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
