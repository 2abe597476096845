/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rings' indices: wrap-around, hostile values, and two threads.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "chan/chan.h"

#define ENTRIES 1000000u

static uint64_t seed = 0xdeadbeefcafef00dull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A ring of 8 whose indices start at a chosen value. */
static struct chan_idx idx;
static uint32_t slots[8];

static struct chan_ring ring_at(uint32_t start)
{
	atomic_store(&idx.tail, start);
	atomic_store(&idx.head, start);
	return (struct chan_ring){
		.idx = &idx, .slots = slots, .mask = 7, .own = start, .other = start};
}

static void indices_wrapping_past_2_to_32_keep_count(void **state)
{
	struct chan_ring p = ring_at(UINT32_MAX - 20), c = p;

	for (uint32_t i = 0; i < 100; i++) {
		uint32_t n = 1 + i % 8;

		assert_int_equal(chan_ready(&c), 0);
		assert_int_equal(chan_free(&p, 8), 8);
		for (uint32_t k = 0; k < n; k++)
			*(uint32_t *)chan_slot(&p, p.own + k, 4) = i * 8 + k;
		chan_push(&p, n);
		assert_int_equal(chan_free(&p, 8), 8 - n);
		assert_int_equal(chan_ready(&c), n);
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(*(uint32_t *)chan_slot(&c, c.own + k, 4), i * 8 + k);
		chan_pop(&c, n);
	}
	assert_int_equal(p.bad + c.bad, 0);
}

static void full_ring_has_no_room_until_one_is_taken(void **state)
{
	struct chan_ring p = ring_at(UINT32_MAX - 3), c = p;

	chan_push(&p, 8);
	assert_int_equal(chan_free(&p, 1), 0);
	assert_int_equal(chan_ready(&c), 8);
	chan_pop(&c, 1);
	assert_int_equal(chan_free(&p, 1), 1);
	assert_int_equal(p.bad + c.bad, 0);
}

/* H32: the consumer's index jumps ahead of what was produced, and back. */
static void h32_impossible_head_counts_and_frees_nothing(void **state)
{
	struct chan_ring p = ring_at(100);

	chan_push(&p, 8);
	static const uint32_t lies[] = {109, 99, 0, UINT32_MAX, 100 + 0x80000000u};

	for (unsigned i = 0; i < array_size(lies); i++) {
		atomic_store(&idx.head, lies[i]);
		assert_int_equal(chan_free(&p, 1), 0);
		assert_int_equal(p.bad, i + 1);
	}
	atomic_store(&idx.head, 104);
	assert_int_equal(chan_free(&p, 1), 4);
	chan_push(&p, 4);
	atomic_store(&idx.head, 103); /* backwards: what was given back can't be taken again */
	assert_int_equal(chan_free(&p, 1), 0);
	assert_int_equal(p.bad, 6);
}

/* H32: the producer's index jumps further than the ring is long, and back. */
static void h32_impossible_tail_counts_and_yields_nothing(void **state)
{
	struct chan_ring c = ring_at(100);
	static const uint32_t lies[] = {109, 99, 0, UINT32_MAX, 100 + 0x80000000u};

	for (unsigned i = 0; i < array_size(lies); i++) {
		atomic_store(&idx.tail, lies[i]);
		assert_int_equal(chan_ready(&c), 0);
		assert_int_equal(c.bad, i + 1);
	}
	atomic_store(&idx.tail, 108);
	assert_int_equal(chan_ready(&c), 8);
	atomic_store(&idx.tail, 0); /* what was seen stays valid until it is taken */
	assert_int_equal(chan_ready(&c), 8);
	chan_pop(&c, 8);
	assert_int_equal(chan_ready(&c), 0);
}

/* H32: both indices any value before every call, forever: never more than the ring is long. */
static void h32_fuzzed_indices_never_pass_the_size(void **state)
{
	struct chan_ring p = ring_at(7), c = p;

	for (int round = 0; round < 1000000; round++) {
		uint64_t r = rnd();
		uint32_t near_p = p.own + (uint32_t)(r % 24) - 12;
		uint32_t near_c = c.own + (uint32_t)(r >> 8) % 24 - 12;

		atomic_store(&idx.head, r >> 40 & 1 ? near_p : (uint32_t)(r >> 16));
		uint32_t room = chan_free(&p, (uint32_t)(r >> 41) % 10);

		assert_true(room <= 8 && p.own - p.other <= 8);
		chan_push(&p, room != 0 ? (uint32_t)rnd() % (room + 1) : 0);
		atomic_store(&idx.tail, r >> 42 & 1 ? near_c : (uint32_t)(r >> 12));
		uint32_t n = chan_ready(&c);

		assert_true(n <= 8 && c.other - c.own <= 8);
		chan_pop(&c, n != 0 ? (uint32_t)rnd() % (n + 1) : 0);
	}
	assert_true(p.bad > 0 && c.bad > 0);
}

struct transfer {
	struct chan_ring *from, *to;
	uint32_t size;
};

static void *produce(void *arg)
{
	struct transfer *t = arg;

	for (uint32_t i = 0; i < ENTRIES;) {
		uint32_t n = chan_free(t->from, 1);

		if (n == 0)
			sched_yield();
		if (n > ENTRIES - i)
			n = ENTRIES - i;
		for (uint32_t k = 0; k < n; k++) {
			char *slot = chan_slot(t->from, t->from->own + k, t->size);

			for (uint32_t b = 0; b < t->size; b += 4)
				memcpy(slot + b, &(uint32_t){i + k + b}, 4);
		}
		chan_push(t->from, n);
		i += n;
	}
	return NULL;
}

/* Returns the first number out of order, or ENTRIES. */
static uint32_t consume(struct transfer *t)
{
	uint32_t word[16];

	for (uint32_t i = 0; i < ENTRIES;) {
		uint32_t n = chan_ready(t->to);

		if (n == 0)
			sched_yield();
		for (uint32_t k = 0; k < n; k++, i++) {
			chan_copy(word, chan_slot(t->to, t->to->own + k, t->size), t->size);
			for (uint32_t b = 0; b < t->size; b += 4)
				if (word[b / 4] != i + b)
					return i;
		}
		chan_pop(t->to, n);
	}
	return ENTRIES;
}

static void transfer_check(struct chan_ring *from, struct chan_ring *to, uint32_t size)
{
	struct transfer t = {from, to, size};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, produce, &t), 0);
	uint32_t ok = consume(&t);

	assert_int_equal(ok, ENTRIES); /* on failure the producer may stay: the test is over */
	pthread_join(thread, NULL);
	assert_int_equal(from->bad + to->bad, 0);
}

static void a_million_entries_between_threads_arrive_in_order(void **state)
{
	struct chan_geometry g = {64, 128, 256, 64, 256, 64, 1, 65536};
	struct chan_map m = {.base = aligned_alloc(64, chan_bytes(&g))};
	struct chan_end app, stk;
	struct chan_hdr h;

	assert_non_null(m.base);
	memset(m.base, 0, chan_bytes(&g));
	chan_format(m.base, &g);
	assert_int_equal(chan_check(m.base, chan_bytes(&g), &h), 0);
	chan_attach(&app, &m, &h);
	chan_attach(&stk, &m, &h);
	transfer_check(&app.sq, &stk.sq, sizeof(struct chan_sqe));
	transfer_check(&stk.cq, &app.cq, sizeof(struct chan_cqe));
	transfer_check(&app.ret, &stk.ret, sizeof(uint32_t));
	transfer_check(&stk.done, &app.done, sizeof(uint32_t));
	free(m.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(indices_wrapping_past_2_to_32_keep_count),
		cmocka_unit_test(full_ring_has_no_room_until_one_is_taken),
		cmocka_unit_test(h32_impossible_head_counts_and_frees_nothing),
		cmocka_unit_test(h32_impossible_tail_counts_and_yields_nothing),
		cmocka_unit_test(h32_fuzzed_indices_never_pass_the_size),
		cmocka_unit_test(a_million_entries_between_threads_arrive_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
