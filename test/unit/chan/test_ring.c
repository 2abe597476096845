/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rings' marks and indices: wrap-around, hostile values, and two threads.
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

/* A ring of 8 whose indices start at a chosen value. The slots look as a lap before it left them.
 */
static struct chan_idx idx;
static uint32_t slots[8];

static struct chan_ring ring_at(uint32_t start)
{
	struct chan_ring r = {.idx = &idx, .slots = slots, .mask = 7, .shift = 28, .own = start};

	atomic_store(&idx.head, start);
	for (uint32_t i = start; i != start + 8; i++)
		atomic_store(chan_word(&r, i, 4), chan_mark(&r, i) ^ CHAN_MARK);
	return r;
}

static struct chan_ring producer_at(uint32_t start)
{
	struct chan_ring r = ring_at(start);

	r.other = start;
	return r;
}

static struct chan_ring consumer_at(uint32_t start)
{
	struct chan_ring r = ring_at(start);

	r.rung = start;
	return r;
}

static void fill(struct chan_ring *p, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		chan_fill(p, p->own & ~CHAN_MARK, 4);
	if (n != 0)
		chan_push(p, 4);
}

/* How many entries there are, with the numbers that fill() gave them. */
static uint32_t take_all(struct chan_ring *c)
{
	uint32_t n = 0, name;

	while (chan_look(c, &name, 4)) {
		assert_int_equal(name, c->own & ~CHAN_MARK);
		chan_take(c);
		n++;
	}
	return n;
}

static void indices_wrapping_past_2_to_32_keep_count(void **state)
{
	struct chan_ring p = producer_at(UINT32_MAX - 20), c = consumer_at(UINT32_MAX - 20);

	for (uint32_t i = 0; i < 100; i++) {
		uint32_t n = 1 + i % 8;

		assert_false(chan_ready(&c, 4));
		assert_int_equal(chan_free(&p, 8), 8);
		fill(&p, n);
		assert_int_equal(chan_free(&p, 8), 8 - n);
		assert_int_equal(take_all(&c), n);
		chan_pop(&c);
	}
	assert_int_equal(p.bad + c.bad, 0);
}

static void full_ring_has_no_room_until_one_is_taken(void **state)
{
	struct chan_ring p = producer_at(UINT32_MAX - 3), c = consumer_at(UINT32_MAX - 3);
	uint32_t name;

	fill(&p, 8);
	assert_int_equal(chan_free(&p, 1), 0);
	assert_true(chan_receive_name(&c, &name));
	assert_int_equal(chan_free(&p, 1), 1);
	assert_int_equal(p.bad, 0);
}

/* What is filled appears when all of it is there, and with it all of it. */
static void entries_filled_are_hidden_until_pushed(void **state)
{
	struct chan_ring p = producer_at(5), c = consumer_at(5);

	for (uint32_t i = 0; i < 5; i++) {
		chan_fill(&p, p.own, 4);
		assert_false(chan_ready(&c, 4));
		assert_int_equal(chan_free(&p, 8), 8 - i - 1);
	}
	chan_push(&p, 4);
	assert_int_equal(take_all(&c), 5);
}

/* An entry that is taken is not found again when its slot comes round, nor by looking twice. */
static void entry_taken_is_gone_for_good(void **state)
{
	struct chan_ring p = producer_at(0), c = consumer_at(0);
	uint32_t name;

	for (uint32_t i = 0; i < 40; i++) {
		fill(&p, 1);
		assert_true(chan_look(&c, &name, 4));
		assert_true(chan_look(&c, &name, 4)); /* only looked at */
		chan_take(&c);
		for (uint32_t k = 0; k < 8; k++) { /* the whole lap ahead is empty */
			struct chan_ring ahead = c;

			ahead.own += k;
			assert_false(chan_ready(&ahead, 4));
		}
		chan_pop(&c);
		assert_int_equal(chan_free(&p, 8), 8);
	}
}

/* chan.h, "Room": whoever left the ring more than half full and sleeps is rung for. */
static void half_a_ring_taken_is_to_be_rung_for(void **state)
{
	struct chan_ring p = producer_at(0), c = consumer_at(0);
	uint32_t since = 0, bells = 0;

	for (uint32_t i = 0; i < 100; i++) {
		uint32_t n = 1 + i % 3;

		fill(&p, n);
		take_all(&c);
		since += n;
		if (chan_pop(&c)) {
			since = 0;
			bells++;
		}
		assert_true(since <= 4);
		assert_int_equal(chan_free(&p, 8), 8);
	}
	assert_true(bells > 20);
}

/* H32: the consumer's index jumps ahead of what was produced, and back. */
static void h32_impossible_head_counts_and_frees_nothing(void **state)
{
	struct chan_ring p = producer_at(100);

	fill(&p, 8);
	static const uint32_t lies[] = {109, 99, 0, UINT32_MAX, 100 + 0x80000000u};

	for (unsigned i = 0; i < array_size(lies); i++) {
		atomic_store(&idx.head, lies[i]);
		assert_int_equal(chan_free(&p, 1), 0);
		assert_int_equal(p.bad, i + 1);
	}
	atomic_store(&idx.head, 104);
	assert_int_equal(chan_free(&p, 1), 4);
	fill(&p, 4);
	atomic_store(&idx.head, 103); /* backwards: what was given back can't be taken again */
	assert_int_equal(chan_free(&p, 1), 0);
	assert_int_equal(p.bad, 6);
}

/* H32: whatever stands in the slots, a look reads its own, and never another one's. */
static void h32_marks_of_a_liar_show_one_entry_each(void **state)
{
	struct chan_ring c = consumer_at(UINT32_MAX - 11);
	uint32_t name;

	for (uint32_t i = 0; i < 40; i++) {
		for (uint32_t k = 0; k < 8; k++)
			atomic_store(chan_word(&c, k, 4), (uint32_t)rnd() | CHAN_MARK);
		bool marked = chan_mark(&c, c.own) != 0;
		uint32_t there = atomic_load(chan_word(&c, c.own, 4));

		assert_int_equal(chan_look(&c, &name, 4), marked);
		assert_int_equal(name, there & ~CHAN_MARK);
		chan_take(&c);
	}
}

/* H32: both sides' words any value before every call, forever: never more than the ring is long. */
static void h32_fuzzed_index_never_passes_the_size(void **state)
{
	struct chan_ring p = producer_at(7);

	for (int round = 0; round < 1000000; round++) {
		uint64_t r = rnd();
		uint32_t near_p = p.own + (uint32_t)(r % 24) - 12;

		atomic_store(&idx.head, r >> 40 & 1 ? near_p : (uint32_t)(r >> 16));
		uint32_t room = chan_free(&p, (uint32_t)(r >> 41) % 10);

		assert_true(room <= 8 && p.own - p.other <= 8);
		fill(&p, room != 0 ? (uint32_t)rnd() % (room + 1) : 0);
	}
	assert_true(p.bad > 0);
}

struct transfer {
	struct chan_ring *from, *to;
	uint32_t size;
};

static void put(struct transfer *t, uint32_t i)
{
	uint32_t word[16];

	for (uint32_t b = 0; b < 16; b++)
		word[b] = i + 4 * b;
	if (t->size == 64)
		chan_put(t->from, word);
	else
		chan_fill(t->from, i, 4);
}

static void *produce(void *arg)
{
	struct transfer *t = arg;

	for (uint32_t i = 0; i < ENTRIES;) {
		uint32_t n = chan_free(t->from, 1);

		if (n == 0)
			sched_yield();
		if (n > ENTRIES - i)
			n = ENTRIES - i;
		for (uint32_t k = 0; k < n; k++)
			put(t, i + k);
		if (n != 0)
			chan_push(t->from, t->size);
		i += n;
	}
	return NULL;
}

/* Returns the first number out of order, or ENTRIES. */
static uint32_t consume(struct transfer *t)
{
	uint32_t word[16];

	for (uint32_t i = 0; i < ENTRIES;) {
		uint32_t n = 0;

		while (t->size == 64 ? chan_peek(t->to, word) : chan_look(t->to, word, 4)) {
			for (uint32_t b = 0; b < t->size; b += 4)
				if (word[b / 4] != i + b)
					return i;
			chan_take(t->to);
			i++;
			if (++n == 40)
				break;
		}
		if (n == 0)
			sched_yield();
		else
			chan_pop(t->to);
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
		cmocka_unit_test(entries_filled_are_hidden_until_pushed),
		cmocka_unit_test(entry_taken_is_gone_for_good),
		cmocka_unit_test(half_a_ring_taken_is_to_be_rung_for),
		cmocka_unit_test(h32_impossible_head_counts_and_frees_nothing),
		cmocka_unit_test(h32_marks_of_a_liar_show_one_entry_each),
		cmocka_unit_test(h32_fuzzed_index_never_passes_the_size),
		cmocka_unit_test(a_million_entries_between_threads_arrive_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
