/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams that lie in another program's memory (CHAN_REGION_NEIGHBOUR, docs/design/013), the
 * service and the other program played by the test: where they are read, how long that memory
 * stays, and what names it and can't.
 */
#define _GNU_SOURCE
#include "link_peer.h"

static int setup(void **state)
{
	struct sockaddr_in at = fake_addr(53);

	fake_setup(state);
	link_comes();
	fd = zs_socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(fd >= 0);
	sid = core0->next_sid - 1;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(zs_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return 0;
}

static void datagram(uint32_t app, uint32_t off, uint32_t len, uint8_t flags)
{
	struct chan_cqe e = {.ev = CHAN_EV_DGRAM,
			     .flags = flags,
			     .sid = sid,
			     .res = (int32_t)len,
			     .region = CHAN_REGION_NEIGHBOUR,
			     .off = (uint64_t)app << 32 | off,
			     .loan = 1u << LOAN_INDEX_BITS | core0->next_loan++,
			     .port = 4000};

	memcpy(e.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
	fake_event(core0, &e);
	zs_process(0);
}

static void it_is_read_where_it_lies(void **state)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);

	memcpy(far_arena + 100, "from afar", 9);
	datagram(OTHER, 100, 9, 0);
	assert_int_equal(zs_recvfrom(fd, buf, 100, 0, (struct sockaddr *)&from, &len), 9);
	assert_memory_equal(buf, "from afar", 9);
	assert_int_equal(ntohs(from.sin_port), 4000);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
	assert_int_equal(client.stats.bad_events, 0);
}

static void several_pieces_are_one(void **state)
{
	memcpy(far_arena, "onetwo", 6);
	datagram(OTHER, 0, 3, CHAN_CQ_MORE);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	datagram(OTHER, 3, 3, 0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_memory_equal(buf, "onetwo", 6);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
}

static void held_memory_stays(void **state)
{
	struct zs_buf b;

	memcpy(far_arena, "held", 4);
	datagram(OTHER, 0, 4, 0);
	assert_int_equal(zs_recvfrom_zc(fd, &b, 1, 0, NULL, NULL), 1);
	link_end(&client.links->link[0], true);
	assert_memory_equal(b.data, "held", 4);
	assert_int_equal(zs_buf_release(&b, 1), 0);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
}

/* Its name goes back, so that the sender has its memory. */
static void what_is_not_there_is_dropped(void **state)
{
	const struct {
		uint32_t app, off, len;
	} none[] = {{OTHER + 1, 0, 1},	    {0, 0, 1},
		    {OTHER, ARENA, 1},	    {OTHER, ARENA - 3, 4},
		    {OTHER, UINT32_MAX, 2}, {1u << 28 | OTHER, ARENA + 1, 1}};

	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		datagram(none[i].app, none[i].off, none[i].len, 0);
		assert_int_equal(client.stats.neighbour_dropped, i + 1);
		zs_process(0);
		assert_int_equal(core0->returned, i + 1);
	}
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	assert_int_equal(client.stats.bad_events, 0);
}

static void nothing_is_left_of_half_a_datagram(void **state)
{
	datagram(OTHER, 0, 5, 0);
	datagram(OTHER, 0, 3, CHAN_CQ_MORE);
	datagram(OTHER + 1, 3, 3, 0);
	datagram(OTHER, 0, 2, 0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 5);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 2);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	zs_process(0);
	assert_int_equal(core0->returned, 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_is_read_where_it_lies),
		T(several_pieces_are_one),
		T(held_memory_stays),
		T(what_is_not_there_is_dropped),
		T(nothing_is_left_of_half_a_datagram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
