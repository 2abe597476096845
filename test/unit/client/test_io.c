/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Copying sends and receives on streams: partial results, flags, limits, errors and their order,
 * urgent data. What Linux does in the same place is in the comments.
 */
#include <limits.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "fake.h"

#define core0 (&fake.core[0])

static char buf[300000];
static uint32_t sid;

static void read_without_data_says_again(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	assert_int_equal(zs_read(fd, buf, 10), -EAGAIN);
	assert_int_equal(zs_read(fd, buf, 0), 0);
	assert_int_equal(zs_recv(fd, buf, 1, MSG_ERRQUEUE), -EAGAIN);
}

/* Documentation/networking/msg_zerocopy.rst of Linux. */
static void zero_copy_sends_are_told_of_once(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), one = 1;
	struct pollfd p = {.fd = fd};
	char control[128];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	uint32_t range[4];

	assert_int_equal(zs_send(fd, "x", 1, MSG_ZEROCOPY), 1);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), 0);
	assert_int_equal(zs_send(fd, "x", 1, MSG_ZEROCOPY), 1);
	assert_int_equal(zs_send(fd, "y", 1, 0), 1);
	assert_int_equal(zs_send(fd, "z", 1, MSG_ZEROCOPY), 1);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLERR);
	assert_int_equal(zs_recvmsg(fd, &m, MSG_ERRQUEUE), 0);
	assert_int_equal(m.msg_flags, MSG_ERRQUEUE);
	/* struct sock_extended_err: errno; origin, type, code; info, data */
	memcpy(range, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(range));
	assert_int_equal(range[0], 0);
	assert_int_equal(range[2], 0);
	assert_int_equal(range[3], 1);
	assert_int_equal(zs_recvmsg(fd, &m, MSG_ERRQUEUE), -EAGAIN);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	assert_int_equal(zs_send(fd, "w", 1, MSG_ZEROCOPY), 1);
	m.msg_control = NULL;
	assert_int_equal(zs_recvmsg(fd, &m, MSG_ERRQUEUE), 0);
	assert_int_equal(m.msg_flags, MSG_ERRQUEUE | MSG_CTRUNC);
}

static void dontwait_is_for_one_call(void **state)
{
	int fd = fake_connection(0, &sid);

	assert_int_equal(zs_recv(fd, buf, 10, MSG_DONTWAIT), -EAGAIN);
	fake_data(core0, sid, "x", 0);
	assert_int_equal(zs_recv(fd, buf, 10, 0), 1);
}

static void read_takes_what_is_there_across_buffers(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_data(core0, sid, "hello ", 0);
	fake_data(core0, sid, "world", 0);
	assert_int_equal(zs_read(fd, buf, 8), 8);
	assert_memory_equal(buf, "hello wo", 8);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
	assert_int_equal(zs_read(fd, buf, 100), 3);
	assert_memory_equal(buf, "rld", 3);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
	assert_int_equal(zs_read(fd, buf, 100), -EAGAIN);
}

static void readv_fills_buffers_in_order(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	char a[3], b[1], c[10];
	struct iovec v[] = {{a, 3}, {NULL, 0}, {b, 1}, {c, 10}};

	fake_data(core0, sid, "abc", 0);
	fake_data(core0, sid, "defg", 0);
	assert_int_equal(zs_readv(fd, v, 4), 7);
	assert_memory_equal(a, "abc", 3);
	assert_memory_equal(b, "d", 1);
	assert_memory_equal(c, "efg", 3);
	assert_int_equal(zs_readv(fd, v, -1), -EINVAL);
	v[0].iov_len = SSIZE_MAX;
	assert_int_equal(zs_readv(fd, v, 4), -EINVAL);
}

static void peek_leaves_everything(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_data(core0, sid, "abc", 0);
	fake_data(core0, sid, "def", 0);
	assert_int_equal(zs_recv(fd, buf, 5, MSG_PEEK), 5);
	assert_memory_equal(buf, "abcde", 5);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_PEEK), 6);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_memory_equal(buf, "abcdef", 6);
}

/* tcp(7): MSG_TRUNC discards. */
static void trunc_discards(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_data(core0, sid, "abcdef", 0);
	memset(buf, '.', 10);
	assert_int_equal(zs_recv(fd, buf, 4, MSG_TRUNC), 4);
	assert_memory_equal(buf, "....", 4);
	assert_int_equal(zs_recv(fd, buf, 4, 0), 2);
	assert_memory_equal(buf, "ef", 2);
}

static int step;
static void data_in_steps(void)
{
	fake_data(core0, sid, "abc", step == 3 ? CHAN_CQ_FIN : 0);
	step++;
}

static void waitall_waits_for_all(void **state)
{
	int fd = fake_connection(0, &sid);

	step = 0;
	fake.on_sleep = data_in_steps;
	assert_int_equal(zs_recv(fd, buf, 7, MSG_WAITALL), 7);
	assert_memory_equal(buf, "abcabca", 7);
	assert_int_equal(fake.sleeps, 3);
	/* The end of the stream ends it, too. */
	assert_int_equal(zs_recv(fd, buf, 100, MSG_WAITALL), 5);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_WAITALL), 0);
}

static void waitall_with_peek_waits_for_all(void **state)
{
	int fd = fake_connection(0, &sid);

	step = 0;
	fake.on_sleep = data_in_steps;
	assert_int_equal(zs_recv(fd, buf, 5, MSG_WAITALL | MSG_PEEK), 5);
	assert_int_equal(zs_recv(fd, buf, 6, MSG_WAITALL), 6);
}

static void blocking_read_returns_at_first_data(void **state)
{
	int fd = fake_connection(0, &sid);

	step = 0;
	fake.on_sleep = data_in_steps;
	assert_int_equal(zs_read(fd, buf, 100), 3);
	assert_int_equal(fake.sleeps, 1);
}

/* socket(7): SO_RCVLOWAT. */
static void blocking_read_waits_for_low_water(void **state)
{
	int fd = fake_connection(0, &sid), v = 5;

	step = 0;
	fake.on_sleep = data_in_steps;
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v)), 0);
	assert_int_equal(zs_read(fd, buf, 100), 6);
}

static void blocking_read_times_out_with_again(void **state)
{
	struct timeval tv = {.tv_usec = 2000};
	int fd = fake_connection(0, &sid);

	zs_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	assert_int_equal(zs_read(fd, buf, 100), -EAGAIN);
	fake_data(core0, sid, "abc", 0);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_WAITALL), 3);
}

static void end_of_stream_is_zero_for_ever(void **state)
{
	int fd = fake_connection(0, &sid);

	fake_data(core0, sid, "abc", 0);
	fake_fin(core0, sid);
	assert_int_equal(zs_read(fd, buf, 2), 2);
	assert_int_equal(zs_read(fd, buf, 2), 1);
	assert_int_equal(zs_read(fd, buf, 2), 0);
	assert_int_equal(zs_read(fd, buf, 2), 0);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

/* H23. Data before the reset stays readable; the error is told once, then the end (as Linux). */
static void reset_is_told_after_data_once(void **state)
{
	int fd = fake_connection(0, &sid);

	fake_data(core0, sid, "abc", 0);
	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(zs_read(fd, buf, 10), 3);
	assert_int_equal(zs_read(fd, buf, 10), -ECONNRESET);
	assert_int_equal(zs_read(fd, buf, 10), 0);
	assert_int_equal(zs_write(fd, "x", 1), -EPIPE);
}

static void reset_is_told_by_write(void **state)
{
	int fd = fake_connection(0, &sid);

	fake_error(core0, sid, -ECONNRESET, true);
	zs_process(0);
	assert_int_equal(zs_write(fd, "x", 1), -ECONNRESET);
	assert_int_equal(zs_write(fd, "x", 1), -EPIPE);
	assert_int_equal(zs_read(fd, buf, 10), 0);
}

static void write_copies_into_one_block_and_frees_it(void **state)
{
	int fd = fake_connection(0, &sid);
	struct zs_stats st;

	memset(buf, 'a', 10);
	assert_int_equal(zs_write(fd, buf, 10), 10);
	memset(buf, 'b', 10);
	zs_process(0);
	const struct chan_sqe *q = fake_last(core0, CHAN_OP_SEND);

	assert_int_equal(q->len, 10);
	assert_int_equal(q->flags, CHAN_SEND_COPIED);
	assert_string_equal(fake_sent(core0, q), "aaaaaaaaaa");
	assert_int_equal(zs_write(fd, buf, 0), 0);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.api_copied_bytes, 10);
	assert_int_equal(st.tx_bytes, 10);
	/* A million bytes through an arena of 4 MiB, many times: everything comes back. */
	for (int i = 0; i < 500; i++) {
		assert_int_equal(zs_write(fd, buf, 30000), 30000);
		core0->n_log = 0;
		zs_process(0);
	}
}

static void writev_and_flags_go_with_the_bytes(void **state)
{
	int fd = fake_connection(0, &sid);
	struct iovec v[] = {{(char *)"GET", 3}, {(char *)" / ", 3}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};

	assert_int_equal(zs_writev(fd, v, 2), 6);
	zs_process(0);
	assert_string_equal(fake_sent(core0, fake_last(core0, CHAN_OP_SEND)), "GET / ");
	assert_int_equal(zs_sendmsg(fd, &m, MSG_MORE | MSG_NOSIGNAL), 6);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->flags, CHAN_SEND_COPIED | CHAN_SEND_MORE);
	assert_int_equal(zs_send(fd, "!", 1, MSG_OOB), 1);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->flags, CHAN_SEND_COPIED | CHAN_SEND_OOB);
	m.msg_iovlen = 5000;
	assert_int_equal(zs_sendmsg(fd, &m, 0), -EMSGSIZE);
}

/* The limit is the service's: a write is taken in part, then not at all, then again. */
static void nonblocking_write_stops_at_the_limit(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), n = 0;
	ssize_t k;

	fake.keep_tokens = true;
	k = zs_write(fd, buf, sizeof(buf));
	assert_int_equal(k, FAKE_LIMIT);
	assert_int_equal(zs_write(fd, buf, 1), -EAGAIN);
	zs_ioctl(fd, SIOCOUTQ, &n);
	assert_int_equal(n, FAKE_LIMIT);
	zs_process(0);
	fake_ack(core0, 1);
	assert_true(zs_write(fd, buf, sizeof(buf)) > 0);
	assert_int_equal(zs_write(fd, buf, 1), -EAGAIN);
	fake_event(core0,
		   &(struct chan_cqe){.ev = CHAN_EV_WRITABLE, .sid = sid, .aux = FAKE_LIMIT * 2});
	k = zs_write(fd, buf, sizeof(buf));
	assert_in_range(k, FAKE_LIMIT, FAKE_LIMIT + 2048);
}

static void ack_all(void)
{
	fake_ack(core0, core0->n_held);
}

static void blocking_write_returns_when_all_is_taken(void **state)
{
	int fd = fake_connection(0, &sid);

	fake.keep_tokens = true;
	fake.on_sleep = ack_all;
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), sizeof(buf));
	assert_true(fake.sleeps >= 2);
}

static void blocking_write_times_out_with_what_was_taken(void **state)
{
	struct timeval tv = {.tv_usec = 2000};
	int fd = fake_connection(0, &sid);

	fake.keep_tokens = true;
	zs_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), FAKE_LIMIT);
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), -EAGAIN);
}

/* Who never reads nor waits. */
static void reset_is_told_to_one_who_only_writes(void **state)
{
	int fd = fake_connection(0, &sid);
	ssize_t r = 1;

	zs_process(0);
	fake_error(core0, sid, -ECONNRESET, true);
	for (int i = 0; i < 20 && r == 1; i++)
		r = zs_write(fd, "x", 1);
	assert_int_equal(r, -ECONNRESET);
	assert_int_equal(zs_write(fd, "x", 1), -EPIPE);
}

static void reset_it(void)
{
	fake_error(core0, sid, -ECONNRESET, true);
}

static void reset_during_write_is_told_by_the_next(void **state)
{
	int fd = fake_connection(0, &sid);

	fake.keep_tokens = true;
	fake.on_sleep = reset_it;
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), FAKE_LIMIT);
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), -ECONNRESET);
	assert_int_equal(zs_write(fd, buf, sizeof(buf)), -EPIPE);
}

/* Tokens are shared: whoever found none is woken when one is back. */
static void write_without_tokens_waits_for_one(void **state)
{
	int a, b;

	fake_stop();
	chan_geometry_defaults(&fake.geometry);
	fake.geometry.max_tokens = 4;
	fake_start(1, false);
	a = fake_connection(SOCK_NONBLOCK, &sid);
	b = fake_connection(SOCK_NONBLOCK, &sid);
	fake.keep_tokens = true;
	for (int i = 0; i < 4; i++)
		assert_int_equal(zs_write(a, "x", 1), 1);
	assert_int_equal(zs_write(b, "x", 1), -EAGAIN);
	zs_process(0);
	struct pollfd p = {.fd = b, .events = POLLOUT};

	assert_int_equal(zs_poll(&p, 1, 0), 0);
	fake.on_sleep = ack_all;
	assert_int_equal(zs_poll(&p, 1, -1), 1);
	assert_int_equal(zs_write(b, "x", 1), 1);
}

static void write_without_memory_waits_for_some(void **state)
{
	int fd[50], n = 0;

	fake.keep_tokens = true;
	fake.limit = 1 << 20;
	for (int i = 0; i < 50; i++) {
		fd[i] = fake_connection(SOCK_NONBLOCK, &sid);
		while (zs_write(fd[i], buf, 65536) > 0)
			n++;
	}
	assert_int_equal(n, 64);
	struct pollfd p = {.fd = fd[49], .events = POLLOUT};

	assert_int_equal(zs_poll(&p, 1, 0), 0);
	zs_process(0);
	fake_ack(core0, 1);
	assert_int_equal(zs_poll(&p, 1, -1), 1);
	assert_true(zs_write(fd[49], buf, 65536) > 0);
}

/* The ring is shorter than what the program sends between two turns. */
static void more_sends_than_the_ring_has_slots_all_go(void **state)
{
	int fd;

	fake_stop();
	chan_geometry_defaults(&fake.geometry);
	fake.geometry.sq_size = 8;
	fake_start(1, false);
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(zs_write(fd, "x", 1), 1);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_SEND), 1000);
}

/* ---- urgent data: RFC 9293 §3.8.5, and as Linux delivers it ---- */

static void urgent(uint32_t at)
{
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_URG, .sid = sid, .aux = at});
}

static void urgent_byte_is_taken_out_of_the_stream(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), at = 0;

	assert_int_equal(zs_recv(fd, buf, 1, MSG_OOB), -EINVAL);
	urgent(3);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 1, MSG_OOB), -EAGAIN);
	fake_data(core0, sid, "abcXdef", 0);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 1, MSG_OOB), 1);
	assert_int_equal(buf[0], 'X');
	assert_int_equal(zs_recv(fd, buf, 1, MSG_OOB), -EINVAL);
	assert_int_equal(zs_ioctl(fd, SIOCATMARK, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 3);
	assert_int_equal(zs_ioctl(fd, SIOCATMARK, &at), 0);
	assert_int_equal(at, 1);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_PEEK), 3);
	assert_memory_equal(buf, "def", 3);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 3);
	assert_memory_equal(buf, "def", 3);
}

static void urgent_byte_inline_stays_in_place(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), on = 1;

	zs_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	urgent(3);
	fake_data(core0, sid, "abcXdef", 0);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 1, MSG_OOB), -EINVAL);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 3);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 4);
	assert_memory_equal(buf, "Xdef", 4);
}

/* A lone urgent byte is nothing to read. */
static void urgent_byte_alone_is_not_readable(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI};

	urgent(0);
	fake_data(core0, sid, "X", 0);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLPRI);
	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	fake_data(core0, sid, "a", 0);
	assert_int_equal(zs_recv(fd, buf, 10, 0), 1);
	assert_int_equal(buf[0], 'a');
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(read_without_data_says_again),
		T(zero_copy_sends_are_told_of_once),
		T(dontwait_is_for_one_call),
		T(read_takes_what_is_there_across_buffers),
		T(readv_fills_buffers_in_order),
		T(peek_leaves_everything),
		T(trunc_discards),
		T(waitall_waits_for_all),
		T(waitall_with_peek_waits_for_all),
		T(blocking_read_returns_at_first_data),
		T(blocking_read_waits_for_low_water),
		T(blocking_read_times_out_with_again),
		T(end_of_stream_is_zero_for_ever),
		T(reset_is_told_after_data_once),
		T(reset_is_told_by_write),
		T(reset_is_told_to_one_who_only_writes),
		T(write_copies_into_one_block_and_frees_it),
		T(writev_and_flags_go_with_the_bytes),
		T(nonblocking_write_stops_at_the_limit),
		T(blocking_write_returns_when_all_is_taken),
		T(blocking_write_times_out_with_what_was_taken),
		T(reset_during_write_is_told_by_the_next),
		T(write_without_tokens_waits_for_one),
		T(write_without_memory_waits_for_some),
		T(more_sends_than_the_ring_has_slots_all_go),
		T(urgent_byte_is_taken_out_of_the_stream),
		T(urgent_byte_inline_stays_in_place),
		T(urgent_byte_alone_is_not_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
