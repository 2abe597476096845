/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The loop as a whole, on a port whose send ring is its own receive ring: what the test sends on
 * it, the stack receives, and the other way round. The test is the peer and the application.
 */
#include "stack_test.h"

/* H24: as many small packets as the port can hold, all the time. What a poll takes of them is
 * bounded, so commands, timers and sending have their turn in each, and nothing is kept of what was
 * refused. */
static void h24_full_receive_queue_commands_have_their_turn_in_each_poll(void **state)
{
	static const uint8_t junk[8] = {0x12, 0x34, 0, 9,
					0,    8,    0, 0}; /* UDP to a port nobody has */
	struct chan_sqe nop = {.op = CHAN_OP_NOP};
	struct chan_cqe e;
	uint64_t before = s->drops.n[DROP_UDP_NO_PORT];

	for (uint32_t turn = 0; turn < 200; turn++) {
		for (unsigned i = 0; i < RING_FRAMES && inject(frame(17, junk, 8)); i++)
			;
		nop.token = turn;
		command(&nop);
		stack_poll(s);
		assert_true(event(&e));
		assert_int_equal(e.ev, CHAN_EV_RESULT);
		assert_int_equal(e.loan, turn);
		assert_int_equal(e.res, 0);
	}
	assert_in_range(s->drops.n[DROP_UDP_NO_PORT] - before, 200, 200 * PKT_BURST);
}

static void echo_request_is_answered_in_the_poll_that_receives_it(void **state)
{
	uint8_t echo[16] = {8, 0, 0, 0, 0x12, 0x34, 0, 1, 'z', 's'};
	uint16_t csum = csum_finish(csum_add(0, echo, sizeof(echo)));
	struct pkt p;

	memcpy(echo + 2, &csum, 2);
	stack_poll(s); /* what it announces of itself when it starts */
	stack_poll(s);
	ring_empty();
	assert_true(inject(frame(1, echo, sizeof(echo))));
	assert_true(stack_poll(s) > 0);
	assert_int_equal(dev_rx_burst(port, 0, &p, 1, &drops), 1);
	assert_memory_equal(pkt_data(p.m), &peer_mac, 6);
	assert_int_equal(pkt_data(p.m)[34], 0); /* echo reply */
	assert_memory_equal(pkt_data(p.m) + 38, echo + 4, 12);
	pkt_free(p.m);
}

/* A sleep ends at once when there is work, whatever its limit. */
static void wait_with_a_command_in_the_ring_does_not_sleep(void **state)
{
	struct chan_sqe nop = {.op = CHAN_OP_NOP, .token = 7};
	struct chan_cqe e;
	unsigned turns = 0;

	command(&nop);
	do {
		assert_int_equal(stack_wait(s, -1, -1), 0);
		stack_poll(s);
	} while (!event(&e) && ++turns < 3);
	assert_int_equal(e.loan, 7);
}

static void wake_from_outside_ends_a_sleep(void **state)
{
	stack_wake(s);
	assert_int_equal(stack_wait(s, -1, -1), 0);
}

static void unknown_dump_is_an_error_and_known_ones_end(void **state)
{
	static const int what[] = {CHAN_DUMP_NEIGH, CHAN_DUMP_ROUTES, CHAN_DUMP_PORTS};
	char text[512];
	uint32_t cursor = 0;

	assert_int_equal(stack_dump_other(s, 99, &cursor, text, sizeof(text)), -EINVAL);
	for (unsigned i = 0; i < array_size(what); i++) {
		unsigned calls = 0, bytes = 0;

		cursor = 0;
		do {
			int n = stack_dump_other(s, what[i], &cursor, text, sizeof(text));

			assert_in_range(n, 0, sizeof(text));
			bytes += (unsigned)n;
			assert_true(++calls < 100);
		} while (cursor != 0);
		assert_true(bytes > 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, stack_up, stack_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(h24_full_receive_queue_commands_have_their_turn_in_each_poll),
		T(echo_request_is_answered_in_the_poll_that_receives_it),
		T(wait_with_a_command_in_the_ring_does_not_sleep),
		T(wake_from_outside_ends_a_sleep),
		T(unknown_dump_is_an_error_and_known_ones_end),
	};

	return cmocka_run_group_tests(tests, up, NULL);
}
