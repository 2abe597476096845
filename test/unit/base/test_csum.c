/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/csum.h"

/* RFC 1071 §4.1, word by word in wire order. */
static uint16_t naive(uint64_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 2)
		sum += p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint16_t wire(uint32_t sum)
{
	return __builtin_bswap16(csum_fold(sum));
}

/* An exact allocation, so that the sanitizer sees a read outside. */
static void check_at(const uint8_t *from, size_t len, csum_long_fn wide)
{
	uint8_t *buf = malloc(len + 1);

	memcpy(buf, from, len);
	uint32_t sum = wide ? wide(buf, len) : csum_add(0, buf, len);

	assert_true(sum < 1u << 17);
	assert_int_equal(wire(sum), naive(0, from, len));
	free(buf);
}

static void fill(uint8_t *p, size_t len, int kind)
{
	for (size_t i = 0; i < len; i++)
		p[i] = kind == 0 ? rand() : kind == 1 ? 0xff : kind == 2 ? 0 : (int)(i & 1) * 0xff;
}

static void every_length_and_alignment_equals_the_naive_sum(void **state)
{
	static uint8_t buf[512];

	srand(1);
	for (int kind = 0; kind < 4; kind++) {
		fill(buf, sizeof(buf), kind);
		for (size_t len = 0; len <= 300; len++) {
			check_at(buf, len, NULL);
			for (size_t at = 0; at < 64; at++)
				assert_int_equal(wire(csum_add(0, buf + at, len)),
						 naive(0, buf + at, len));
		}
	}
}

static void every_version_of_this_machine_equals_the_naive_sum(void **state)
{
	static uint8_t buf[70000];

	assert_null(csum_wide(CSUM_WIDE_MAX));
	for (unsigned i = 0; i < CSUM_WIDE_MAX; i++) {
		if (!csum_wide(i))
			continue;
		for (int kind = 0; kind < 4; kind++) {
			fill(buf, sizeof(buf), kind);
			for (size_t len = 0; len <= 300; len++) {
				check_at(buf, len, csum_wide(i));
				for (size_t at = 0; at < 64; at++)
					assert_int_equal(wire(csum_wide(i)(buf + at, len)),
							 naive(0, buf + at, len));
			}
			for (int n = 0; n < 20; n++)
				check_at(buf, rand() % sizeof(buf), csum_wide(i));
		}
	}
}

static void partial_sum_goes_on_whatever_it_was(void **state)
{
	uint8_t buf[256];

	for (int n = 0; n < 20000; n++) {
		uint32_t sum = n % 3 ? rand() & 0x1ffff : 0x1ffff;
		size_t len = rand() % sizeof(buf);

		fill(buf, len, n % 4);
		uint64_t host = __builtin_bswap16(csum_fold(sum));

		assert_true(csum_add(sum, buf, len) < 1u << 17);
		assert_int_equal(wire(csum_add(sum, buf, len)), naive(host, buf, len));
	}
}

static void pieces_at_odd_offsets_join_to_the_whole(void **state)
{
	uint8_t buf[400];

	for (int n = 0; n < 5000; n++) {
		uint32_t sum = 0;
		size_t at = 0;

		fill(buf, sizeof(buf), n % 4);
		while (at < sizeof(buf)) {
			size_t len = 1 + rand() % (sizeof(buf) - at);

			sum = csum_join(sum, csum_add(0, buf + at, len), at);
			at += len;
		}
		assert_int_equal(wire(sum), naive(0, buf, sizeof(buf)));
	}
}

/* RFC 9293 §3.1, RFC 8200 §8.1: the pseudo-headers as they would lie in memory. */
static void pseudo_header_equals_its_bytes(void **state)
{
	uint8_t a[16], b[16], ph[40];

	for (int n = 0; n < 5000; n++) {
		uint32_t len = n % 2 ? rand() : rand() & 0xffff;
		uint8_t proto = rand();

		fill(a, 16, n % 4);
		fill(b, 16, n % 3);
		memcpy(ph, a, 16);
		memcpy(ph + 16, b, 16);
		memcpy(ph + 32, (uint8_t[]){len >> 24, len >> 16, len >> 8, len, 0, 0, 0, proto},
		       8);
		assert_int_equal(wire(csum_pseudo(0, a, b, true, proto, len)), naive(0, ph, 40));
		memcpy(ph, a + 12, 4);
		memcpy(ph + 4, b + 12, 4);
		memcpy(ph + 8, (uint8_t[]){0, proto, len >> 8, len}, 4);
		assert_int_equal(wire(csum_pseudo(0, a, b, false, proto, len & 0xffff)),
				 naive(0, ph, 12));
	}
}

static void stored_checksum_verifies_to_all_ones(void **state)
{
	uint8_t buf[1500];

	for (int n = 0; n < 2000; n++) {
		size_t len = 20 + rand() % 1480;

		fill(buf, len, 0);
		memset(buf + 16, 0, 2);
		uint16_t c = csum_finish(csum_add(0, buf, len));

		memcpy(buf + 16, &c, 2);
		assert_int_equal(csum_fold(csum_add(0, buf, len)), 0xffff);
		buf[rand() % len] ^= 1 << rand() % 8;
		assert_int_not_equal(csum_fold(csum_add(0, buf, len)), 0xffff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_and_alignment_equals_the_naive_sum),
		cmocka_unit_test(every_version_of_this_machine_equals_the_naive_sum),
		cmocka_unit_test(partial_sum_goes_on_whatever_it_was),
		cmocka_unit_test(pieces_at_odd_offsets_join_to_the_whole),
		cmocka_unit_test(pseudo_header_equals_its_bytes),
		cmocka_unit_test(stored_checksum_verifies_to_all_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
