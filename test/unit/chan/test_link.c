/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory that two programs share: entries and returns in order over many laps, against a naive
 * model; and an other side that lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "base/rand.h"
#include "chan/link.h"

static struct link_shm *sh;
static struct link_end a, b;

static int setup(void **state)
{
	sh = aligned_alloc(64, sizeof(*sh));
	memset(sh, 0, sizeof(*sh));
	link_format(sh);
	assert_int_equal(link_attach(&a, sh, 0), 0);
	assert_int_equal(link_attach(&b, sh, 1), 0);
	return 0;
}

static int teardown(void **state)
{
	free(sh);
	return 0;
}

static void memory_of_another_kind_is_refused(void **state)
{
	struct link_end e;

	assert_int_equal(link_attach(&e, sh, 2), -EPROTO);
	sh->version++;
	assert_int_equal(link_attach(&e, sh, 0), -EPROTO);
	sh->version--;
	sh->magic ^= 1;
	assert_int_equal(link_attach(&e, sh, 0), -EPROTO);
}

static void fresh_memory_is_empty(void **state)
{
	uint32_t word;

	assert_null(link_next(&a));
	assert_null(link_next(&b));
	assert_false(link_returned(&a, &word));
	assert_false(link_returned(&b, &word));
	assert_int_equal(link_room_for(&a, LINK_SLOTS), LINK_SLOTS);
}

static void full_ring_has_room_when_the_other_has_told(void **state)
{
	for (unsigned i = 0; i < LINK_SLOTS; i++)
		link_push(&a, 1);
	assert_int_equal(link_room_for(&a, 1), 0);
	for (unsigned i = 0; i < LINK_SLOTS / 8; i++) {
		assert_non_null(link_next(&b));
		assert_int_equal(link_room_for(&a, 1), 0);
		assert_int_equal(link_take(&b), i == LINK_SLOTS / 8 - 1);
	}
	assert_int_equal(link_room_for(&a, 1), LINK_SLOTS / 8);
	assert_int_equal(sh->side[0].entries, LINK_SLOTS);
}

/* What side b has read and not given back, in any order. */
static uint32_t held[LINK_RETURNS];

static void any_order_of_steps_keeps_the_order_of_entries(void **state)
{
	uint32_t sent = 0, read = 0, n_held = 0, out = 0, word;
	uint64_t sum_out = 0, sum_back = 0;
	struct rand r;

	rand_init(&r, 7);
	for (unsigned step = 0; step < 3000000; step++) {
		const struct link_entry *q;

		switch (rand_u32(&r) % 4) {
		case 0:
			if (out == LINK_RETURNS || link_room_for(&a, 1) == 0)
				break;
			link_slot(&a)->token = sent & LINK_TOKEN_MASK;
			link_slot(&a)->len = sent;
			link_push(&a, 1);
			sum_out += sent++;
			out++;
			break;
		case 1:
			q = link_next(&b);
			if (q == NULL)
				break;
			assert_int_equal(q->len, read);
			held[n_held++] = read++;
			link_take(&b);
			break;
		case 2:
			if (n_held == 0)
				break;
			word = rand_u32(&r) % n_held;
			link_give_back(&b, held[word] & LINK_TOKEN_MASK);
			held[word] = held[--n_held];
			break;
		case 3:
			if (!link_returned(&a, &word))
				break;
			sum_back += word;
			out--;
			break;
		}
	}
	while (n_held > 0)
		link_give_back(&b, held[--n_held]);
	while (link_next(&b) != NULL) {
		link_give_back(&b, link_next(&b)->token);
		link_take(&b);
	}
	while (link_returned(&a, &word))
		sum_back += word;
	assert_int_equal(sum_back, sum_out);
	assert_true(sent > 10 * LINK_RETURNS);
	assert_int_equal(a.bad + b.bad, 0);
}

/* H32: the index of how far the other has read. */
static void an_impossible_index_is_not_believed(void **state)
{
	const uint32_t lies[] = {11, 1u << 31, UINT32_MAX, 10 + LINK_SLOTS};

	for (unsigned i = 0; i < 10; i++)
		link_push(&a, 1);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		sh->side[1].taken = lies[i];
		assert_int_equal(link_room_for(&a, LINK_SLOTS), LINK_SLOTS - 10);
		assert_int_equal(a.bad, i + 1);
	}
	sh->side[1].taken = 4;
	assert_int_equal(link_room_for(&a, LINK_SLOTS), LINK_SLOTS - 6);
	sh->side[1].taken = 3; /* backwards */
	assert_int_equal(link_room_for(&a, LINK_SLOTS), LINK_SLOTS - 6);
	assert_int_equal(a.bad, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(memory_of_another_kind_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(fresh_memory_is_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(full_ring_has_room_when_the_other_has_told, setup,
						teardown),
		cmocka_unit_test_setup_teardown(any_order_of_steps_keeps_the_order_of_entries,
						setup, teardown),
		cmocka_unit_test_setup_teardown(an_impossible_index_is_not_believed, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
