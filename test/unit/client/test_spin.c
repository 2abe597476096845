/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a wait looks before it sleeps, where the CPU is given away between two looks. Time is
 * what the test says: it lies in the future, so that no turn of others seems to have taken any.
 */
#include <signal.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#else
#define __rseq_size 0
#endif

#include "fake.h"
#include "client/client_priv.h"

#define BUDGET (1ll << 40)
#define NOW    (1ll << 62)

static struct spin spin;
static volatile sig_atomic_t handled;

static int setup(void **state)
{
	fake_start(1, true);
	client.spin_ns = BUDGET;
	client.yields = true;
	client.look_ns = 0;
	client.misses.failed = 0;
	client.misses.skip = 0;
	client.alone = (struct spin_alone){.waits = 0};
	client_lock();
	return 0;
}

static int teardown(void **state)
{
	client_unlock();
	fake_stop();
	return 0;
}

/* One wait in which nothing comes. True: it looked before it slept. */
static bool missed_wait(void)
{
	bool looked;

	spin_begin(&spin, false);
	looked = spin_on(&spin, NOW, false);
	assert_false(spin_on(&spin, NOW + 2 * BUDGET, false));
	spin_end(&spin, false);
	return looked;
}

static void waits_that_looked_in_vain_are_followed_by_ones_that_sleep_at_once(void **state)
{
	unsigned slept = 0;

	assert_true(missed_wait());
	client.misses.failed = 2;
	client.misses.skip = 0;
	assert_true(missed_wait());
	while (!missed_wait())
		slept++;
	assert_int_equal(slept, 7); /* 2^3 - 1 */
}

/* The time of the look is so long past that the turn which follows was one of 10 ms. */
static void others_that_keep_the_cpu_count_as_several_misses(void **state)
{
	for (unsigned turn = 0; turn < 5; turn++) {
		client.misses.skip = 0;
		spin_begin(&spin, false);
		assert_true(spin_on(&spin, now_ns() - 10000000, false));
		spin_found(&spin, 1);
		spin_end(&spin, true); /* what came may have waited for them */
		assert_true(client.misses.failed == (turn < 3 ? 3 * (turn + 1) : 10));
		assert_int_equal(client.misses.skip, (1u << client.misses.failed) - 1);
	}
}

static void a_long_turn_that_made_much_work_is_none(void **state)
{
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, now_ns() - 10000000, false));
	spin_found(&spin, 100);
	spin_end(&spin, true);
	assert_int_equal(client.misses.failed, 0);
	/* Judged once. */
	spin_begin(&spin, false);
	spin_found(&spin, 1);
	spin_end(&spin, true);
	assert_int_equal(client.misses.failed, 0);
}

/* With a time that lies in the future giving way seems to have found nobody. */
static void alone_it_looks_on_or_sleeps_as_was_found_better(void **state)
{
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, NOW, false));
	assert_true(spin_on(&spin, NOW, false));
	spin_end(&spin, true);
	client.alone.sleeps.other = true;
	client.misses.failed = 3;
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, NOW, false));
	assert_false(spin_on(&spin, NOW, false));
	spin_end(&spin, false);
	/* Neither a miss nor a success. */
	assert_int_equal(client.misses.failed, 3);
}

/* Waits of which each takes as long as is said. */
static void stretch_of(int64_t each_ns)
{
	client.alone.since_ns = now_ns() - 64 * each_ns;
	for (unsigned i = 0; i < 64; i++) {
		spin_begin(&spin, false);
		spin_found(&spin, 1);
		spin_end(&spin, true);
	}
	assert_int_equal(client.alone.waits, 0);
}

static void looking_on_and_sleeping_are_compared_while_there_is_much_to_do(void **state)
{
	struct choice *c = &client.alone.sleeps;

	for (unsigned i = 0; i < 50 && !c->other; i++)
		stretch_of(choice_now(c) ? 40000 : 80000);
	assert_true(c->other);
	*c = (struct choice){.other = false};
	for (unsigned i = 0; i < 50; i++) {
		stretch_of(choice_now(c) ? 1000000 : 10000000);
		assert_false(c->other);
	}
}

/* An answer that comes at once is seen at once; only then have the others their turn. */
static void with_a_cpu_to_spare_it_looks_before_it_gives_way(void **state)
{
	int64_t past = now_ns() - 10000000; /* a turn of the others seems to have taken 10 ms */

	client.look_ns = 5000;
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, past, false));
	assert_true(spin_on(&spin, past + 4999, false));
	assert_false(spin.turn.is_long);
	assert_true(spin_on(&spin, past + 5000, false));
	assert_true(spin.turn.is_long);
	spin_end(&spin, true);
	/* After misses it looks for so long, and that it slept then is none. */
	client.misses = (struct backoff){.failed = 2, .skip = 1};
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, NOW, false));
	assert_false(spin_on(&spin, NOW + 5000, false));
	spin_end(&spin, false);
	assert_int_equal(client.misses.failed, 2);
}

static void a_look_that_paid_forgets_the_misses(void **state)
{
	client.misses.failed = 5;
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, NOW, false));
	spin_end(&spin, true);
	assert_int_equal(client.misses.failed, 0);
}

static void work_begins_the_time_anew(void **state)
{
	client.yields = false;
	spin_begin(&spin, false);
	assert_true(spin_on(&spin, NOW, false));
	assert_true(spin_on(&spin, NOW + BUDGET, true));
	assert_true(spin_on(&spin, NOW + BUDGET + 1, false));
	assert_false(spin_on(&spin, NOW + 2 * BUDGET, false));
	spin_end(&spin, false);
}

static void on_signal(int sig)
{
	handled = 1;
}

static void a_signal_of_the_others_turn_is_handled_and_seen_afterwards(void **state)
{
	struct sigaction sa = {.sa_handler = on_signal}, was;

	sigaction(SIGUSR1, &sa, &was);
	interrupt_watch();
	spin_begin(&spin, true);
	assert_true(spin_on(&spin, NOW, false));
	raise(SIGUSR1);
	assert_false(handled);
	spin_end(&spin, false);
	assert_true(handled);
	/* Nothing can be seen where the C library announces no sequences (interrupt.c). */
	if (__rseq_size != 0)
		assert_true(interrupt_seen());
	interrupt_unwatch();
	sigaction(SIGUSR1, &was, NULL);
}

static void a_budget_of_nothing_sleeps_at_once(void **state)
{
	client.spin_ns = 0;
	spin_begin(&spin, true);
	assert_false(spin_on(&spin, NOW, false));
	spin_end(&spin, false);
	assert_int_equal(client.misses.failed, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waits_that_looked_in_vain_are_followed_by_ones_that_sleep_at_once),
		TEST(others_that_keep_the_cpu_count_as_several_misses),
		TEST(a_long_turn_that_made_much_work_is_none),
		TEST(alone_it_looks_on_or_sleeps_as_was_found_better),
		TEST(looking_on_and_sleeping_are_compared_while_there_is_much_to_do),
		TEST(with_a_cpu_to_spare_it_looks_before_it_gives_way),
		TEST(a_look_that_paid_forgets_the_misses),
		TEST(work_begins_the_time_anew),
		TEST(a_signal_of_the_others_turn_is_handled_and_seen_afterwards),
		TEST(a_budget_of_nothing_sleeps_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
