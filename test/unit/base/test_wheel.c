/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "base/wheel.h"

#define N    48
#define HOUR (WHEEL_TICK_NS << 25) /* or so: 73 minutes, a whole number of ticks */

static struct wheel w;
static struct wheel_node node[N];
static uint64_t want[N]; /* the model: a deadline each */
static uint64_t now;

static void start(uint64_t at)
{
	now = at;
	wheel_init(&w, now);
	for (int i = 0; i < N; i++) {
		wheel_node_init(&node[i]);
		want[i] = WHEEL_NEVER;
	}
}

/* Any distance from nothing to centuries, all magnitudes alike. */
static uint64_t later(struct rand *r, uint64_t from, unsigned bits)
{
	uint64_t d = rand_u64(r) >> (64 - 1 - rand_below(r, bits));

	return d > UINT64_MAX - from ? UINT64_MAX - rand_below(r, 1000) : from + d;
}

static void arm(int i, uint64_t deadline)
{
	wheel_arm(&w, &node[i], deadline);
	want[i] = deadline;
}

static bool due(uint64_t deadline)
{
	return deadline != WHEEL_NEVER && wheel_tick(deadline) <= now >> WHEEL_SHIFT;
}

static unsigned expire_and_compare(unsigned budget)
{
	struct wheel_node *n;
	unsigned given = budget, fired = 0;

	while ((n = wheel_expire(&w, now, &budget))) {
		int i = (int)(n - node);

		assert_true(want[i] == n->deadline_ns && want[i] <= now && due(want[i]));
		assert_false(list_linked(&n->link));
		want[i] = WHEEL_NEVER;
		fired++;
	}
	assert_true(fired <= given);
	for (int i = 0; i < N && budget > 0; i++)
		assert_false(due(want[i]));
	return fired;
}

static void next_is_not_late(void)
{
	uint64_t next = wheel_next(&w);

	for (int i = 0; i < N; i++) {
		uint64_t tick = wheel_tick(want[i]);

		if (want[i] != WHEEL_NEVER)
			assert_true(next <= now || next >> WHEEL_SHIFT <= tick);
	}
}

static void random_use(struct rand *r, uint64_t from, unsigned bits, int steps)
{
	start(from);
	for (int s = 0; s < steps; s++) {
		int i = (int)rand_below(r, N);

		switch (rand_below(r, 8)) {
		case 0:
			wheel_cancel(&w, &node[i]);
			want[i] = WHEEL_NEVER;
			assert_false(list_linked(&node[i].link));
			break;
		case 1:
			arm(i, WHEEL_NEVER);
			break;
		case 2:
			arm(i, rand_below(r, now + 1));
			break;
		case 3:
			now = later(r, now, bits);
			expire_and_compare(1000000);
			break;
		case 4:
			now = later(r, now, bits);
			expire_and_compare((unsigned)rand_below(r, 5));
			break;
		default:
			arm(i, later(r, now, bits));
		}
		next_is_not_late();
		if (s % 8 == 0)
			wheel_check(&w);
	}
}

static void random_use_equals_a_naive_list(void **state)
{
	struct rand r;

	rand_init(&r, 1);
	for (int n = 0; n < 20; n++) {
		random_use(&r, 0, 20 + n, 2000);
		random_use(&r, rand_u64(&r) >> 1, 20 + n, 2000);
		random_use(&r, rand_u64(&r) >> 8, 46, 2000);
		random_use(&r, UINT64_MAX - rand_below(&r, HOUR), 42, 500);
		random_use(&r, 0, 64, 200);
	}
}

/* The loop of a stack that sleeps until wheel_next: at the deadline's tick it wakes and has the
 * node. */
static void sleeping_until_next_wakes_in_time_and_rarely(void **state)
{
	struct rand r;

	rand_init(&r, 2);
	for (int n = 0; n < 2000; n++) {
		uint64_t deadline;
		unsigned wakes = 0;

		start(later(&r, 0, 60));
		deadline = later(&r, now, 45) + 1;
		arm(0, deadline);
		while (want[0] != WHEEL_NEVER) {
			uint64_t next = wheel_next(&w);

			assert_true(next > now && next != WHEEL_NEVER);
			now = next;
			expire_and_compare(10);
			wakes++;
		}
		assert_true(now >= deadline && now - deadline < WHEEL_TICK_NS);
		assert_true(wakes <= WHEEL_LEVELS);
		assert_true(wheel_next(&w) == WHEEL_NEVER);
	}
}

static void pushing_a_deadline_later_moves_nothing(void **state)
{
	start(HOUR);
	arm(0, now + 10 * WHEEL_TICK_NS);
	uint64_t place = node[0].place;

	for (int i = 11; i < 5000; i++)
		arm(0, HOUR + i * WHEEL_TICK_NS);
	assert_true(node[0].place == place);
	now = HOUR + 4000 * WHEEL_TICK_NS;
	assert_int_equal(expire_and_compare(10), 0);
	now = HOUR + 4999 * WHEEL_TICK_NS;
	assert_int_equal(expire_and_compare(10), 1);
}

static void pulling_a_deadline_earlier_fires_earlier(void **state)
{
	start(HOUR);
	arm(0, now + HOUR);
	arm(0, now + 3 * WHEEL_TICK_NS);
	assert_true(wheel_next(&w) <= now + 3 * WHEEL_TICK_NS);
	now += 3 * WHEEL_TICK_NS;
	assert_int_equal(expire_and_compare(10), 1);
}

/* A handler that arms itself in the past must not hold the core. */
static void node_armed_in_the_past_again_and_again_ends_with_the_budget(void **state)
{
	struct wheel_node *n;
	unsigned budget = 100, fired = 0;

	start(HOUR);
	arm(0, 5);
	while ((n = wheel_expire(&w, now, &budget))) {
		wheel_arm(&w, n, 5);
		fired++;
	}
	assert_int_equal(fired, 100);
	assert_true(wheel_next(&w) <= now);
}

/* Many at once: work is cut into budgets, also the spreading of a slot; all come out in the end. */
static void crowded_slot_is_worked_off_in_budgets(void **state)
{
	unsigned fired = 0, rounds = 0;

	start(HOUR);
	for (int i = 0; i < N; i++)
		arm(i, now + HOUR + i * WHEEL_TICK_NS);
	now += 2 * HOUR;
	for (; fired < N && rounds < 1000; rounds++) {
		assert_true(wheel_next(&w) <= now);
		fired += expire_and_compare(5);
	}
	assert_int_equal(fired, N);
	assert_true(rounds <= N * WHEEL_LEVELS / 5 + 1);
}

static void node_armed_never_leaves_the_wheel_when_its_slot_comes(void **state)
{
	start(HOUR);
	arm(0, now + WHEEL_TICK_NS);
	arm(0, WHEEL_NEVER);
	now += 2 * WHEEL_TICK_NS;
	assert_int_equal(expire_and_compare(10), 0);
	assert_false(list_linked(&node[0].link));
	assert_true(wheel_next(&w) == WHEEL_NEVER);
}

/* Finding a new place for a node that was pushed is work too. */
static void nodes_pushed_later_use_up_the_budget(void **state)
{
	unsigned budget = 5;

	start(HOUR);
	for (int i = 0; i < N; i++) {
		arm(i, now + WHEEL_TICK_NS);
		arm(i, now + HOUR);
	}
	now += 2 * WHEEL_TICK_NS;
	assert_null(wheel_expire(&w, now, &budget));
	assert_int_equal(budget, 0);
	assert_true(wheel_next(&w) <= now);
	budget = N;
	assert_null(wheel_expire(&w, now, &budget));
	assert_int_equal(budget, 5);
	assert_true(wheel_next(&w) > now);
}

static void time_that_goes_back_is_taken_as_the_last(void **state)
{
	unsigned budget = 10;

	start(HOUR);
	arm(0, HOUR + 2 * WHEEL_TICK_NS);
	now = HOUR + WHEEL_TICK_NS;
	expire_and_compare(10);
	assert_null(wheel_expire(&w, 0, &budget));
	wheel_check(&w);
	now = HOUR + 3 * WHEEL_TICK_NS;
	assert_int_equal(expire_and_compare(10), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_use_equals_a_naive_list),
		cmocka_unit_test(sleeping_until_next_wakes_in_time_and_rarely),
		cmocka_unit_test(pushing_a_deadline_later_moves_nothing),
		cmocka_unit_test(pulling_a_deadline_earlier_fires_earlier),
		cmocka_unit_test(node_armed_in_the_past_again_and_again_ends_with_the_budget),
		cmocka_unit_test(crowded_slot_is_worked_off_in_budgets),
		cmocka_unit_test(node_armed_never_leaves_the_wheel_when_its_slot_comes),
		cmocka_unit_test(nodes_pushed_later_use_up_the_budget),
		cmocka_unit_test(time_that_goes_back_is_taken_as_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
