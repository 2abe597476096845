/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"

static struct rand rng;

static void fill(void *p, size_t len)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)rand_u32(&rng);
}

/* Every input bit and every key bit must flip about half of the output. */
static void flipped_bit_flips_half_of_the_hash(void **state)
{
	uint8_t k[40];

	rand_init(&rng, 1);
	for (unsigned bit = 0; bit < 320 + 64; bit++) {
		unsigned flips = 0;

		for (int n = 0; n < 200; n++) {
			uint64_t key = rand_u64(&rng), other = key;

			fill(k, sizeof(k));
			uint64_t h = hash_bytes(k, sizeof(k), key);

			if (bit < 320)
				k[bit / 8] ^= 1 << bit % 8;
			else
				other ^= 1ULL << (bit - 320);
			flips += __builtin_popcountll(h ^ hash_bytes(k, sizeof(k), other));
		}
		assert_in_range(flips, 200 * 32 - 600, 200 * 32 + 600);
	}
}

static void every_length_hashes_apart_and_reads_inside(void **state)
{
	uint64_t seen[100];

	for (size_t len = 0; len < 100; len++) {
		uint8_t *p = calloc(1, len + 1);
		uint8_t *exact = realloc(p, len ? len : 1);

		seen[len] = hash_bytes(exact, len, 42);
		for (size_t i = 0; i < len; i++)
			assert_true(seen[i] != seen[len]);
		free(exact);
	}
}

static void flow_hashes_alike_from_both_ends(void **state)
{
	uint8_t a[16], b[16];

	for (int n = 0; n < 20000; n++) {
		uint16_t ap = (uint16_t)rand_u32(&rng), bp = (uint16_t)rand_u32(&rng);
		uint64_t key = rand_u64(&rng);

		bp += ap == bp; /* equal ports swapped are the same flow */
		fill(a, 16);
		fill(b, 16);
		assert_int_equal(hash_flow(a, b, ap, bp, key), hash_flow(b, a, bp, ap, key));
		assert_int_not_equal(hash_flow(a, b, ap, bp, key), hash_flow(a, b, bp, ap, key));
	}
}

/* The real load: one address, consecutive ports. Chi-square over low and high bits. */
static void consecutive_ports_spread_over_buckets(void **state)
{
	uint8_t a[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1}, b[16] = {[10] = 0xff, 0xff, 10, 0, 0, 2};

	for (unsigned shift = 0; shift <= 24; shift += 24) {
		unsigned count[256] = {0};
		double chi = 0;

		for (unsigned port = 0; port < 65536; port++)
			count[hash_flow(a, b, 80, (uint16_t)port, 12345) >> shift & 255]++;
		for (int i = 0; i < 256; i++)
			chi += (count[i] - 256.0) * (count[i] - 256.0) / 256.0;
		assert_true(chi > 150 && chi < 400); /* 255 degrees of freedom */
	}
}

/* A loop of a flow onto itself must not have one hash for all. */
static void flow_between_equal_ends_still_depends_on_them(void **state)
{
	uint8_t a[16] = {0};

	uint32_t h = hash_flow(a, a, 80, 80, 1);

	a[15] = 1;
	assert_int_not_equal(h, hash_flow(a, a, 80, 80, 1));
}

static void generator_repeats_for_a_seed_and_stays_below_its_bound(void **state)
{
	struct rand a, b, c;
	unsigned count[7] = {0};

	rand_init(&a, 0);
	rand_init(&b, 0);
	rand_init(&c, 1);
	for (int i = 0; i < 70000; i++) {
		uint64_t v = rand_u64(&a);

		assert_true(v == rand_u64(&b));
		assert_true(v != rand_u64(&c));
		count[rand_below(&c, 7)]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(count[i], 9500, 10500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flipped_bit_flips_half_of_the_hash),
		cmocka_unit_test(every_length_hashes_apart_and_reads_inside),
		cmocka_unit_test(flow_hashes_alike_from_both_ends),
		cmocka_unit_test(consecutive_ports_spread_over_buckets),
		cmocka_unit_test(flow_between_equal_ends_still_depends_on_them),
		cmocka_unit_test(generator_repeats_for_a_seed_and_stays_below_its_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
