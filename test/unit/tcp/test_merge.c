/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bursts whose segments are merged, and those whose segments must not be.
 */
#include "base/rand.h"
#include "tcp_test.h"

#define BURST 16

static void rx_burst_as(bool merged, unsigned n, const struct in *in)
{
	struct pkt p[BURST], *at[BURST];
	struct tcp_seg s[BURST];

	assert_true(n <= BURST);
	for (unsigned i = 0; i < n; i++) {
		p[i] = build(&in[i]);
		at[i] = &p[i];
		assert_int_equal(tcp_parse(t, &p[i], &s[i]), NEXT_TCP);
	}
	for (unsigned i = 0; i < n; i++)
		tcp_lookup(t, &p[i], &s[i]);
	if (merged)
		tcp_input_burst(t, at, s, n);
	for (unsigned i = 0; i < n && !merged; i++)
		tcp_input(t, at[i], &s[i]);
}

#define rx_burst(...)                                                                              \
	rx_burst_as(true, sizeof((struct in[]){__VA_ARGS__}) / sizeof(struct in),                  \
		    (struct in[]){__VA_ARGS__})

/* The engine's own calls of its fast path, segments and data segments. */
static void check_counts(unsigned fast, unsigned segs, unsigned data)
{
	struct tcp_info_full i;

	tcp_conn_info(t, conn, &i);
	assert_int_equal(tcp_counters(t)->fast_path_in, fast);
	assert_int_equal(i.segs_in, segs);
	assert_int_equal(i.data_segs_in, data);
}

static void in_order_segments_are_one_with_one_ack(void **state)
{
	struct tcp_info_full i;

	/* RFC 5681 §4.2: by bytes, at least every second full-sized segment */
	establish(WITH_TS | WITH_SACK);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 1000},
		 {.flags = "PA", .seq = 1001, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 2001, .ack = 1, .len = 1000},
		 {.flags = "PA", .seq = 3001, .ack = 1, .len = 500});
	expect("A 1:1 ack 3501 ts");
	check_counts(4, 5, 4);
	assert_int_equal(events(), TCP_EV_DATA);
	assert_int_equal(events(), 0);
	/* A full segment is what arrived, not what was made of it. */
	tcp_conn_info(t, conn, &i);
	assert_int_equal(i.rcv_mss, 1000);
	assert_int_equal(app_read(), 3500);
}

static void two_small_segments_are_acked_late(void **state)
{
	/* RFC 9293 §3.8.6.3 */
	establish(0);
	rx_burst({.flags = "PA", .seq = 1, .ack = 1, .len = 100},
		 {.flags = "PA", .seq = 101, .ack = 1, .len = 50});
	expect_nothing();
	assert_int_equal(app_read(), 150);
	expire_after_ms(41);
	expect("A 1:1 ack 151");
}

static void segments_across_a_hole_are_not_merged(void **state)
{
	/* RFC 2018 §4: the hole is seen where it is */
	establish(WITH_SACK);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 2001, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 3001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 1001 sack 2001-4001");
	check_counts(1, 4, 3);
	/* What fills it goes the slow way, and so does what follows. */
	rx_burst({.flags = "A", .seq = 1001, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 4001, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 5001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 6001");
	assert_int_equal(app_read(), 6000);
}

static void duplicate_in_a_burst_is_reported(void **state)
{
	/* RFC 2883 §4 */
	establish(WITH_SACK);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 1001, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001 sack 1001-2001");
	assert_int_equal(app_read(), 2000);
}

static void other_ack_window_or_clock_is_taken_by_itself(void **state)
{
	establish(WITH_TS | WITH_SACK);
	app_send(3000);
	expect("A 1:1001 ack 1 ts", "A 1001:2001 ack 1 ts", "PA 2001:3001 ack 1 ts");
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 100},
		 {.flags = "A", .seq = 101, .ack = 1001, .len = 100},
		 {.flags = "A", .seq = 201, .ack = 2001, .len = 100, .wnd = 50000},
		 {.flags = "A", .seq = 301, .ack = 2001, .len = 100, .wnd = 50000});
	assert_int_equal(conn->sent.una - tcp_iss(conn), 2001);
	assert_int_equal(conn->snd_wnd, 50000);
	check_counts(4, 5, 4);
	assert_int_equal(app_read(), 400);
}

static void fin_behind_a_burst_ends_the_stream(void **state)
{
	establish(0);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 1000},
		 {.flags = "A", .seq = 1001, .ack = 1, .len = 1000},
		 {.flags = "FPA", .seq = 2001, .ack = 1, .len = 10});
	expect("A 1:1 ack 2012");
	assert_int_equal(app_read(), 2010);
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
}

static void urgent_data_is_not_merged(void **state)
{
	establish(0);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 100},
		 {.flags = "UA", .seq = 101, .ack = 1, .len = 100, .urg = 50},
		 {.flags = "A", .seq = 201, .ack = 1, .len = 100});
	assert_int_equal(tcp_conn_urg(conn), 149);
	assert_int_equal(app_read(), 300);
}

static void what_passes_the_window_is_cut_off(void **state)
{
	/* RFC 9293 §3.10.7.4 first */
	uint64_t room;
	struct in in[2] = {{.flags = "A", .seq = 1, .ack = 1, .len = 1000},
			   {.flags = "A", .seq = 1001, .ack = 1, .len = 1000}};

	establish(0);
	room = conn->rcv_adv - conn->rcvq.rcv_nxt;
	for (; room > 1500; room -= in[0].len, in[0].seq += in[0].len)
		rx(in[0]);
	conn->rcv_adv = conn->rcvq.rcv_nxt + 1500;
	in[1].seq = in[0].seq + 1000;
	rx_burst_as(true, 2, in);
	assert_int_equal(conn->rcvq.rcv_nxt, seq_start(peer_isn) + in[0].seq + 1500);
	while (app_read() > 0)
		;
}

static void reset_connection_takes_no_burst(void **state)
{
	establish(0);
	rx_burst({.flags = "A", .seq = 1, .ack = 1, .len = 100},
		 {.flags = "RA", .seq = 101, .ack = 1},
		 {.flags = "A", .seq = 101, .ack = 1, .len = 100},
		 {.flags = "A", .seq = 201, .ack = 1, .len = 100});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSED);
	assert_int_equal(tcp_conn_error(conn), -ECONNRESET);
}

/* ---- against the same segments one by one ---- */

static struct rand rnd;
static char story[2][200000];
static size_t story_len;

/* Without the window, whose growth is learned by segments. */
static void tell(char *to, const char *line)
{
	const char *win = strstr(line, " win "), *rest;

	if (win != NULL) {
		rest = strchr(win + 5, ' ');
		story_len += (size_t)sprintf(to + story_len, "%.*s%s\n", (int)(win - line), line,
					     rest != NULL ? rest : "");
	} else {
		story_len += (size_t)sprintf(to + story_len, "%s\n", line);
	}
	assert_true(story_len < sizeof(story[0]) - 1000);
}

/* Mostly in order; holes, duplicates, acknowledgements, other clocks, windows and lengths. */
static struct in random_segment(uint32_t *seq)
{
	uint32_t sent = (uint32_t)(conn->sent.nxt - tcp_iss(conn));
	uint32_t una = (uint32_t)(conn->sent.una - tcp_iss(conn));
	struct in in = {.flags = rand_below(&rnd, 3) ? "A" : "PA", .ack = una, .seq = *seq};

	in.len = rand_below(&rnd, 4) ? 1000 : (uint32_t)rand_below(&rnd, 1001);
	if (rand_below(&rnd, 8) == 0)
		in.ack = una + (uint32_t)rand_below(&rnd, sent - una + 1);
	if (rand_below(&rnd, 16) == 0)
		in.wnd = 40000;
	if (rand_below(&rnd, 16) == 0)
		in.seq += 1000; /* a hole, filled by what follows */
	else if (rand_below(&rnd, 16) == 0 && in.seq > 2000)
		in.seq -= 700;
	else
		*seq += in.len;
	peer_ts += rand_below(&rnd, 12) == 0;
	return in;
}

static void run_story(bool merged, uint64_t seed, char *out)
{
	uint32_t seq = 1;
	char line[100];

	rand_init(&rnd, seed);
	story_len = 0;
	setup(NULL);
	establish(WITH_TS | WITH_SACK);
	for (unsigned round = 0; round < 100; round++) {
		struct in in[BURST];
		unsigned n = 1 + (unsigned)rand_below(&rnd, BURST);

		for (unsigned i = 0; i < n; i++)
			in[i] = random_segment(&seq);
		rx_burst_as(merged, n, in);
		if (rand_below(&rnd, 3) == 0)
			app_send(1 + (uint32_t)rand_below(&rnd, 3000));
		pull();
		for (unsigned i = 0; i < n_out; i++)
			tell(out, out_text[i]);
		sprintf(line, "read %u, %u segments, events %u", app_read(), conn->segs_in,
			events());
		tell(out, line);
		expire_after_ms(rand_below(&rnd, 50));
		pull();
		for (unsigned i = 0; i < n_out; i++)
			tell(out, out_text[i]);
	}
	sprintf(line, "%lu fast, %lu out of order, %lu D-SACKs",
		(unsigned long)tcp_counters(t)->fast_path_in,
		(unsigned long)tcp_counters(t)->ooo_segs,
		(unsigned long)tcp_counters(t)->dsack_sent);
	tell(out, line);
	assert_int_equal(teardown(NULL), 0);
}

static void check_same(uint64_t seed)
{
	size_t i = 0, line = 0;

	while (story[0][i] != '\0' && story[0][i] == story[1][i])
		line = story[0][i++] == '\n' ? i : line;
	if (story[0][i] == story[1][i])
		return;
	fail_msg("seed %lu: alone \"%.*s\", in bursts \"%.*s\"", (unsigned long)seed,
		 (int)strcspn(story[0] + line, "\n"), story[0] + line,
		 (int)strcspn(story[1] + line, "\n"), story[1] + line);
}

static void random_bursts_do_what_single_segments_do(void **state)
{
	teardown(NULL);
	for (uint64_t seed = 1; seed <= 30; seed++) {
		run_story(false, seed, story[0]);
		run_story(true, seed, story[1]);
		check_same(seed);
	}
	setup(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(in_order_segments_are_one_with_one_ack),
		TEST(two_small_segments_are_acked_late),
		TEST(segments_across_a_hole_are_not_merged),
		TEST(duplicate_in_a_burst_is_reported),
		TEST(other_ack_window_or_clock_is_taken_by_itself),
		TEST(fin_behind_a_burst_ends_the_stream),
		TEST(urgent_data_is_not_merged),
		TEST(what_passes_the_window_is_cut_off),
		TEST(reset_connection_takes_no_burst),
		TEST(random_bursts_do_what_single_segments_do),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
