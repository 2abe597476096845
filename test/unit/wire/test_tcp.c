/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/tcp.h"
#include "wire/udp.h"

/* Parses a copy that ends where the options end, so that the sanitizer sees a read behind it. */
static int parse(const void *bytes, unsigned len, bool syn, struct tcp_opts *o)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, bytes, len);
	rc = tcp_opts_parse(copy, len, syn, o);
	free(copy);
	return rc;
}

#define PARSE(syn, o, ...)                                                                         \
	parse((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), syn, o)

/* RFC 9293 MUST-4, MUST-5 */
static void syn_options_of_linux_are_all_read(void **state)
{
	struct tcp_opts o;

	assert_int_equal(
		PARSE(true, &o, 2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7), 0);
	assert_true(o.have_mss && o.have_wscale && o.have_ts && o.sack_ok);
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.wscale, 7);
	assert_int_equal(o.ts_val, 0x01020304);
	assert_int_equal(o.ts_ecr, 0x05060708);
	assert_int_equal(o.n_sack, 0);
}

/* RFC 9293 §3.2: MSS and its kin are sent on SYN only */
static void syn_only_options_without_syn_are_ignored(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(false, &o, 2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7), 0);
	assert_false(o.have_mss || o.have_wscale || o.have_ts || o.sack_ok);
}

static void sack_blocks_on_syn_are_ignored(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2), 0);
	assert_int_equal(o.n_sack, 0);
}

/* RFC 7323 appendix A */
static void aligned_timestamps_take_the_fast_path_with_the_same_result(void **state)
{
	struct tcp_opts fast, slow;

	assert_int_equal(PARSE(false, &fast, 1, 1, 8, 10, 0xff, 2, 3, 4, 5, 6, 7, 0xfe), 0);
	assert_int_equal(PARSE(false, &slow, 8, 10, 0xff, 2, 3, 4, 5, 6, 7, 0xfe, 1, 1), 0);
	assert_memory_equal(&fast, &slow, sizeof(fast));
	assert_int_equal(fast.ts_val, 0xff020304);
	assert_int_equal(fast.ts_ecr, 0x050607fe);
}

static void four_sack_blocks_are_read(void **state)
{
	uint8_t b[36] = {1, 1, 5, 34};
	struct tcp_opts o;

	for (unsigned i = 4; i < 36; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(parse(b, sizeof(b), false, &o), 0);
	assert_int_equal(o.n_sack, 4);
	assert_int_equal(o.sack[0].start, 0x04050607);
	assert_int_equal(o.sack[3].end, 0x20212223);
}

/* H01 */
static void option_of_length_0_or_1_is_an_error(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 2, 0, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(true, &o, 254, 0, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(true, &o, 2, 1, 5, 5), -EBADMSG);
	assert_int_equal(PARSE(false, &o, 8, 0, 0, 0), -EBADMSG);
}

/* H02 */
static void option_past_the_end_is_an_error_at_every_cut(void **state)
{
	static const uint8_t syn[] = {2, 4, 5, 0xb4, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 7};
	struct tcp_opts o;

	for (unsigned n = 0; n <= sizeof(syn); n++) {
		bool whole = n == 0 || n == 4 || n == 14 || n == 17;

		assert_int_equal(parse(syn, n, true, &o), whole ? 0 : -EBADMSG);
	}
	assert_int_equal(PARSE(false, &o, 1, 1, 8, 10, 0, 0, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(false, &o, 5, 255, 0, 0), -EBADMSG);
}

static void bytes_behind_end_of_list_are_not_looked_at(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 3, 3, 2, 0, 2, 0, 0, 0), 0);
	assert_true(o.have_wscale);
	assert_false(o.have_mss);
}

/* RFC 9293 MUST-6 */
static void unknown_option_is_read_past(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 34, 6, 1, 2, 3, 4, 2, 4, 1, 0), 0);
	assert_int_equal(o.mss, 256);
}

/* RFC 9293 MUST-7 */
static void known_option_of_wrong_size_is_ignored(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 2, 3, 5, 3, 4, 1, 2, 4, 3, 0, 8, 4, 0, 0), 0);
	assert_false(o.have_mss || o.have_wscale || o.have_ts || o.sack_ok);
	assert_int_equal(PARSE(false, &o, 5, 2, 5, 9, 0, 0, 0, 0, 0, 0, 0), 0);
	assert_int_equal(o.n_sack, 0);
}

/* RFC 7323 §2.3 */
static void window_scale_above_14_is_clamped(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 1, 3, 3, 15), 0);
	assert_int_equal(o.wscale, 14);
	assert_int_equal(PARSE(true, &o, 1, 3, 3, 255), 0);
	assert_int_equal(o.wscale, 14);
}

/* H07 */
static void mss_of_0_is_as_if_absent(void **state)
{
	struct tcp_opts o;

	assert_int_equal(PARSE(true, &o, 2, 4, 0, 0), 0);
	assert_false(o.have_mss);
}

static void no_options_is_valid(void **state)
{
	struct tcp_opts o;

	assert_int_equal(tcp_opts_parse(NULL, 0, true, &o), 0);
	assert_false(o.have_mss || o.have_wscale || o.have_ts || o.sack_ok);
}

static void write_of_nothing_is_empty(void **state)
{
	uint8_t b[TCP_OPTS_MAX];

	assert_int_equal(tcp_opts_write(b, &(struct tcp_opts_out){0}), 0);
}

static void write_of_timestamps_is_the_aligned_layout(void **state)
{
	static const uint8_t want[] = {1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 1, 0};
	uint8_t b[TCP_OPTS_MAX];

	assert_int_equal(
		tcp_opts_write(b,
			       &(struct tcp_opts_out){.have_ts = true, .ts_val = 9, .ts_ecr = 256}),
		12);
	assert_memory_equal(b, want, 12);
}

/* Each combination, into 40 bytes and not one more: what was written is what is read. */
static void write_of_every_combination_reads_back(void **state)
{
	for (unsigned c = 0; c < 16 * 6; c++) {
		uint8_t b[TCP_OPTS_MAX + 1];
		struct tcp_opts_out w = {.mss = c & 1 ? 1220 : 0,
					 .have_wscale = c & 2,
					 .wscale = c & 2 ? 14 : 0,
					 .have_ts = c & 4,
					 .ts_val = 0xfffffffe,
					 .ts_ecr = 3,
					 .sack_ok = c & 8,
					 .n_sack = (uint8_t)(c / 16)};
		unsigned base = (c & 1 ? 4 : 0) + (c & 2 ? 4 : 0) + (c & 4 ? 12 : c & 8 ? 4 : 0);
		unsigned fit = (TCP_OPTS_MAX - 4 - base) / 8, len;
		struct tcp_opts syn, data;

		for (unsigned i = 0; i < TCP_SACK_MAX; i++)
			w.sack[i] = (struct tcp_sack_block){i * 1000, i * 1000 + 500};
		if (fit > w.n_sack)
			fit = w.n_sack;
		if (fit > TCP_SACK_MAX)
			fit = TCP_SACK_MAX;
		b[TCP_OPTS_MAX] = 0x5a;
		len = tcp_opts_write(b, &w);
		assert_int_equal(len, base + (fit ? 4 + 8 * fit : 0));
		assert_int_equal(b[TCP_OPTS_MAX], 0x5a);
		assert_int_equal(parse(b, len, true, &syn), 0);
		assert_int_equal(parse(b, len, false, &data), 0);
		assert_int_equal(syn.have_mss, w.mss != 0);
		assert_int_equal(syn.mss, w.mss);
		assert_int_equal(syn.have_wscale, w.have_wscale);
		assert_int_equal(syn.wscale, w.wscale);
		assert_int_equal(syn.sack_ok, w.sack_ok);
		assert_int_equal(data.have_ts, w.have_ts);
		assert_int_equal(data.ts_val, w.have_ts ? w.ts_val : 0);
		assert_int_equal(data.n_sack, fit);
		assert_memory_equal(data.sack, w.sack, fit * sizeof(w.sack[0]));
	}
}

/* H01, H02: any bytes at all; the aligned fast path agrees with the walk over the list. */
static void random_options_are_read_within_bounds(void **state)
{
	uint32_t x = 2463534242u;

	for (int i = 0; i < 200000; i++) {
		uint8_t b[TCP_OPTS_MAX];
		struct tcp_opts o;
		unsigned len;

		for (unsigned j = 0; j < sizeof(b); j++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			b[j] = (uint8_t)(x >> 8 & (j % 3 ? 15 : 255));
		}
		len = x % (TCP_OPTS_MAX + 1);
		if (parse(b, len, x >> 30 & 1, &o) != 0)
			continue;
		assert_in_range(o.n_sack, 0, TCP_SACK_MAX);
		assert_in_range(o.wscale, 0, TCP_WSCALE_MAX);
		assert_true(!o.have_mss || o.mss != 0);
	}
}

/* H03: the length is what the header says; whoever drops compares with 20 and with the segment. */
static void header_length_is_read_and_written_in_words(void **state)
{
	struct tcp_hdr h = {.off = 0x4f};

	assert_int_equal(tcp_hdr_len(&h), 16);
	h.off = tcp_hdr_off(TCP_OPTS_MAX);
	assert_int_equal(h.off, 0xf0);
	assert_int_equal(tcp_hdr_len(&h), 60);
	assert_int_equal(tcp_hdr_off(0), 0x50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syn_options_of_linux_are_all_read),
		cmocka_unit_test(syn_only_options_without_syn_are_ignored),
		cmocka_unit_test(sack_blocks_on_syn_are_ignored),
		cmocka_unit_test(aligned_timestamps_take_the_fast_path_with_the_same_result),
		cmocka_unit_test(four_sack_blocks_are_read),
		cmocka_unit_test(option_of_length_0_or_1_is_an_error),
		cmocka_unit_test(option_past_the_end_is_an_error_at_every_cut),
		cmocka_unit_test(bytes_behind_end_of_list_are_not_looked_at),
		cmocka_unit_test(unknown_option_is_read_past),
		cmocka_unit_test(known_option_of_wrong_size_is_ignored),
		cmocka_unit_test(window_scale_above_14_is_clamped),
		cmocka_unit_test(mss_of_0_is_as_if_absent),
		cmocka_unit_test(no_options_is_valid),
		cmocka_unit_test(write_of_nothing_is_empty),
		cmocka_unit_test(write_of_timestamps_is_the_aligned_layout),
		cmocka_unit_test(write_of_every_combination_reads_back),
		cmocka_unit_test(random_options_are_read_within_bounds),
		cmocka_unit_test(header_length_is_read_and_written_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
