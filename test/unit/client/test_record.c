/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Records over a link (docs/design/013), the other program and the service played by the test: their
 * boundaries, when a socket can be written to, and that nothing ever goes by the service.
 */
#define _GNU_SOURCE
#include "link_peer.h"

#include <poll.h>
#include <sys/ioctl.h>

static int setup(void **state)
{
	struct sockaddr_in to = fake_addr(80);

	fake_setup(state);
	link_comes();
	fd = zs_socket(AF_INET, SOCK_SEQPACKET, 0);
	assert_true(fd >= 0);
	sid = core0->next_sid - 1;
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(zs_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return 0;
}

static unsigned count(enum chan_op op)
{
	unsigned n = 0;

	for (unsigned i = 0; i < core0->n_log; i++)
		n += core0->log[i].op == op;
	return n;
}

static short ready(void)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};

	assert_true(zs_poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void takes(void)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
}

static void sends(void)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	say(CHAN_EV_LINK_TX, LINK_ID, 9ull << 32 | 77);
}

/* The other program takes one entry and gives it back. */
static uint32_t taken(void)
{
	const struct link_entry *q = link_next(&far);
	uint32_t len;

	assert_non_null(q);
	len = q->len;
	assert_int_equal(q->to, 77);
	link_give_back(&far, q->token);
	link_take(&far);
	return len;
}

/* ---- receiving ---- */

/* Its peer can send nothing before. */
static void the_link_is_taken_at_once(void **state)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->arg[0], LINK_ID);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->arg[2], own()->gen);
	assert_int_equal(own()->rx, RX_LINK);
}

static void a_call_takes_one_record(void **state)
{
	struct iovec v = {buf, 3};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int bytes;

	takes();
	entry(own(), "one");
	entry(own(), "second");
	entry(own(), "third");
	zs_process(0);
	assert_int_equal(ready(), POLLIN);
	assert_int_equal(zs_ioctl(fd, FIONREAD, &bytes), 0);
	assert_int_equal(bytes, 14);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 3);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_PEEK), 6);
	assert_int_equal(zs_recv(fd, buf, 1, MSG_PEEK | MSG_TRUNC), 6);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 3);
	assert_memory_equal(buf, "sec", 3);
	assert_int_equal(m.msg_flags, MSG_EOR | MSG_TRUNC);
	v.iov_len = 100;
	assert_int_equal(zs_recvmsg(fd, &m, MSG_WAITALL), 5);
	assert_int_equal(m.msg_flags, MSG_EOR);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	assert_int_equal(ready(), 0);
}

static void an_empty_record_is_not_the_end(void **state)
{
	struct iovec v = {buf, 100};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	takes();
	entry(own(), "");
	fake_fin(core0, sid);
	zs_process(0);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 0);
	assert_int_equal(m.msg_flags, MSG_EOR);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 0);
	assert_int_equal(m.msg_flags, 0);
	assert_int_equal(client.stats.link_bad, 0);
}

static void each_buffer_is_one_where_it_lies(void **state)
{
	struct zs_buf b[4];
	struct link_entry *q;
	uint64_t copied = client.stats.api_copied_bytes;

	takes();
	for (uint32_t i = 0; i < 3; i++) {
		q = link_slot(&far);
		*q = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					 .gen = own()->gen,
					 .token = 5,
					 .len = 1000 * i,
					 .flags = i == 0 ? LINK_EMPTY : 0,
					 .off = 4096 * i,
					 .region = OTHER << 4};
		far_arena[4096 * i] = (uint8_t)(7 + i);
		link_push(&far, q->len);
	}
	assert_int_equal(zs_recv_zc(fd, b, 4, 0), 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(b[i].len, 1000 * i);
	assert_int_equal(*(uint8_t *)b[2].data, 9);
	assert_int_equal(zs_recv_zc(fd, b + 3, 1, 0), -EAGAIN);
	assert_int_equal(zs_buf_release(b, 3), 0);
	assert_int_equal(client.stats.api_copied_bytes, copied);
}

/* ---- sending ---- */

static void no_link_is_no_room(void **state)
{
	assert_int_equal(zs_send(fd, "x", 1, 0), -EAGAIN);
	assert_int_equal(ready(), 0);
	sends();
	assert_int_equal(ready(), POLLOUT);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	assert_int_equal(taken(), 1);
	assert_int_equal(count(CHAN_OP_SEND), 0);
}

static void what_is_sent_is_one_record(void **state)
{
	static char big[ZS_RECORD_MAX + 1];
	struct iovec v[2] = {{big, 300}, {big, 400}};
	struct zs_buf b[2];

	sends();
	assert_int_equal(zs_send(fd, big, sizeof(big), 0), -EMSGSIZE);
	assert_int_equal(zs_send(fd, big, 1, MSG_OOB), -EOPNOTSUPP);
	assert_int_equal(zs_send(fd, big, ZS_RECORD_MAX, MSG_EOR), ZS_RECORD_MAX);
	assert_int_equal(zs_send(fd, big, 0, 0), 0);
	assert_int_equal(zs_writev(fd, v, 2), 700);
	assert_int_equal(taken(), ZS_RECORD_MAX);
	assert_int_equal(taken(), 0);
	assert_int_equal(taken(), 700);
	assert_int_equal(zs_buf_alloc(fd, 500, &b[0]), 0);
	assert_int_equal(zs_buf_alloc(fd, 600, &b[1]), 0);
	b[1].len = 0;
	assert_int_equal(zs_send_zc(fd, b, 2, 0, 0), 2);
	assert_int_equal(taken(), 500);
	assert_int_equal(taken(), 0);
	assert_null(link_next(&far));
	zs_process(0);
	assert_int_equal(count(CHAN_OP_SEND), 0);
}

/* One that nobody reads leaves the link to others. */
static void small_ones_have_their_limit(void **state)
{
	unsigned n = 0, back = 0;

	sends();
	while (zs_send(fd, "", 0, 0) == 0) {
		n++;
		while (link_next(&far) != NULL)
			link_take(&far);
	}
	assert_in_range(n, 100, LINK_RETURNS / 4);
	assert_int_equal(ready(), 0);
	assert_int_equal(client.links->link[0].out, n);
	for (uint32_t i = 0; i < client.core[0].token_rows; i++)
		if (client.core[0].token[i].kind != TOKEN_FREE)
			link_give_back(&far, i), back++;
	assert_int_equal(back, n);
	zs_process(0);
	assert_int_equal(ready(), POLLOUT);
}

/* Another stream of the link went to another process (link.h). */
static void a_cut_is_waited_out(void **state)
{
	struct chan_cqe e = {.ev = CHAN_EV_LINK_TX,
			     .sid = sid,
			     .aux = LINK_ID,
			     .off = 9ull << 32 | 77,
			     .res = 1};

	sends();
	link_cut(&far);
	assert_int_equal(zs_send(fd, "x", 1, 0), -EAGAIN);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], 0);
	assert_int_equal(ready(), 0);
	fake_event(core0, &e);
	zs_process(0);
	assert_int_equal(ready(), POLLOUT);
	assert_int_equal(zs_send(fd, "xy", 2, 0), 2);
	assert_int_equal(taken(), 2);
	assert_int_equal(count(CHAN_OP_SEND), 0);
}

/* Before the sender has looked. */
static void a_new_cut_is_enough(void **state)
{
	struct chan_cqe e = {.ev = CHAN_EV_LINK_TX,
			     .sid = sid,
			     .aux = LINK_ID,
			     .off = 9ull << 32 | 77,
			     .res = 1};
	unsigned before;

	sends();
	zs_process(0);
	before = count(CHAN_OP_LINK_SWITCH);
	link_cut(&far);
	fake_event(core0, &e);
	zs_process(0);
	assert_int_equal(zs_send(fd, "xy", 2, 0), 2);
	assert_int_equal(taken(), 2);
	zs_process(0);
	assert_int_equal(count(CHAN_OP_LINK_SWITCH), before);
}

/* The program may do nothing else for long. */
static void who_cuts_has_taken_it_again(void **state)
{
	unsigned before;

	takes();
	entry(own(), "before");
	before = count(CHAN_OP_LINK_TAKE);
	link_cut_off(&client.links->link[0]);
	zs_process(0);
	assert_int_equal(count(CHAN_OP_LINK_TAKE), before + 1);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->off, 1);
	entry(own(), "behind");
	say(CHAN_EV_LINK_RX, 0, 0); /* the sender had seen it */
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
	entry(own(), "last");
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 4);
	assert_int_equal(client.stats.link_bad, 0);
	assert_int_equal(count(CHAN_OP_LINK_TAKE), before + 1);
}

static void who_cuts_takes_it_again(void **state)
{
	unsigned before;

	takes();
	entry(own(), "before");
	link_cut(&client.links->link[0].end);
	before = count(CHAN_OP_LINK_TAKE);
	say(CHAN_EV_LINK_RX, 0, 0);
	zs_process(0);
	assert_int_equal(count(CHAN_OP_LINK_TAKE), before + 1);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->off, 1);
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
	entry(own(), "behind");
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_memory_equal(buf, "before", 6);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_memory_equal(buf, "behind", 6);
}

/* ---- what may not be ---- */

static void h32_urgent_record_ends_the_link(void **state)
{
	takes();
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 5,
					       .len = 1,
					       .flags = LINK_OOB};
	link_push(&far, 1);
	zs_process(0);
	assert_int_equal(client.stats.link_bad, 1);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EPROTO);
	next_message(ATTACH_LINK_BAD);
}

static void h36_empty_record_for_nobody_goes_back(void **state)
{
	uint32_t word;

	takes();
	entry(own(), "");
	zs_close(fd);
	zs_process(0);
	link_flush(&client.links->link[0]); /* shows what was put by */
	assert_true(link_returned(&far, &word));
	assert_int_equal(client.stats.link_bad, 0);
}

static void bytes_are_no_records(void **state)
{
	fake_data(core0, sid, "bytes", 0);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EPROTO);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_link_is_taken_at_once),
		T(a_call_takes_one_record),
		T(an_empty_record_is_not_the_end),
		T(each_buffer_is_one_where_it_lies),
		T(no_link_is_no_room),
		T(what_is_sent_is_one_record),
		T(small_ones_have_their_limit),
		T(a_cut_is_waited_out),
		T(a_new_cut_is_enough),
		T(who_cuts_has_taken_it_again),
		T(who_cuts_takes_it_again),
		T(h32_urgent_record_ends_the_link),
		T(h36_empty_record_for_nobody_goes_back),
		T(bytes_are_no_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
