/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Zero-copy calls: who owns a buffer when, that nothing is copied, and that what is not held can be
 * neither released nor sent (H33).
 */
#include <sys/epoll.h>

#include "fake.h"

#define core0 (&fake.core[0])

static uint32_t sid;
static struct zs_buf b[16];

static uint64_t copied(void)
{
	struct zs_stats st;

	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	return st.api_copied_bytes;
}

static uint64_t lent(void)
{
	struct zs_stats st;

	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	return st.lent_buffers;
}

static void received_buffers_are_lent_in_place(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	assert_int_equal(zs_recv_zc(fd, b, 16, 0), -EAGAIN);
	assert_int_equal(zs_recv_zc(fd, b, 0, 0), 0);
	fake_data(core0, sid, "hello", 0);
	fake_data(core0, sid, "world!", CHAN_CQ_FIN);
	assert_int_equal(zs_recv_zc(fd, b, 16, 0), 2);
	assert_ptr_equal(b[0].data, core0->pkt);
	assert_int_equal(b[0].len, 5);
	assert_memory_equal(b[1].data, "world!", 6);
	assert_int_equal(zs_recv_zc(fd, b + 2, 14, 0), 0);
	assert_int_equal(lent(), 2);
	assert_int_equal(core0->returned, 0);
	/* In any order. */
	assert_int_equal(zs_buf_release(&b[1], 1), 0);
	assert_int_equal(zs_buf_release(&b[0], 1), 0);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
	assert_int_equal(lent(), 0);
	assert_int_equal(copied(), 0);
}

static void array_of_one_gets_one_at_a_time(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_data(core0, sid, "a", 0);
	fake_data(core0, sid, "b", 0);
	assert_int_equal(zs_recv_zc(fd, b, 1, 0), 1);
	assert_int_equal(zs_recv_zc(fd, b + 1, 1, 0), 1);
	assert_int_equal(*(char *)b[1].data, 'b');
	assert_int_equal(zs_buf_release(b, 2), 0);
}

static void rest_of_a_read_buffer_is_lent(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	char buf[4];

	fake_data(core0, sid, "hello", 0);
	assert_int_equal(zs_read(fd, buf, 2), 2);
	assert_int_equal(zs_recv_zc(fd, b, 1, 0), 1);
	assert_int_equal(b[0].len, 3);
	assert_memory_equal(b[0].data, "llo", 3);
	assert_int_equal(zs_buf_release(b, 1), 0);
}

/* H33 */
static void second_release_is_refused(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct zs_buf forged = {.handle = 0x1234567890ull}, none = {.handle = 0};

	fake_data(core0, sid, "a", 0);
	fake_data(core0, sid, "b", 0);
	assert_int_equal(zs_recv_zc(fd, b, 2, 0), 2);
	assert_int_equal(zs_buf_release(b, 1), 0);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	/* The good ones are released all the same. */
	assert_int_equal(zs_buf_release(b, 2), -EINVAL);
	assert_int_equal(zs_buf_release(b + 1, 1), -EINVAL);
	assert_int_equal(zs_buf_release(&forged, 1), -EINVAL);
	assert_int_equal(zs_buf_ref(&forged), -EINVAL);
	assert_int_equal(zs_buf_release(&none, 1), 0);
	forged.handle = UINT64_MAX;
	assert_int_equal(zs_buf_release(&forged, 1), -EINVAL);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
}

static void released_block_is_refused_though_taken_again(void **state)
{
	struct zs_buf again;

	assert_int_equal(zs_buf_alloc(-1, 100, b), 0);
	assert_int_equal(zs_buf_release(b, 1), 0);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	assert_int_equal(zs_buf_alloc(-1, 100, &again), 0);
	assert_ptr_equal(again.data, b[0].data);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	assert_int_equal(zs_buf_release(&again, 1), 0);
}

static void queued_buffer_is_nobodys_to_release(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct zs_buf guess;
	uint32_t loan = fake_data(core0, sid, "a", 0);

	zs_process(0);
	guess.handle = 1ull << 56 | loan;
	assert_int_equal(zs_buf_release(&guess, 1), -EINVAL);
	assert_int_equal(zs_recv_zc(fd, b, 1, 0), 1);
	assert_int_equal(b[0].handle, guess.handle);
}

static void buffers_outlive_their_socket(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_data(core0, sid, "hello", 0);
	assert_int_equal(zs_recv_zc(fd, b, 1, 0), 1);
	zs_close(fd);
	zs_process(0);
	assert_memory_equal(b[0].data, "hello", 5);
	assert_int_equal(core0->returned, 0);
	assert_int_equal(zs_buf_release(b, 1), 0);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
}

static void alloc_checks_its_size_and_runs_out(void **state)
{
	struct zs_buf all[64];

	assert_int_equal(zs_buf_alloc(-1, 0, b), -EMSGSIZE);
	assert_int_equal(zs_buf_alloc(-1, ZS_BUF_MAX + 1, b), -EMSGSIZE);
	assert_int_equal(zs_buf_alloc(77, 1, b), -EBADF);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(zs_buf_alloc(-1, ZS_BUF_MAX, &all[i]), 0);
		memset(all[i].data, i, all[i].len);
	}
	assert_int_equal(zs_buf_alloc(-1, 1, b), -ENOBUFS);
	assert_int_equal(zs_buf_release(&all[7], 1), 0);
	assert_int_equal(zs_buf_alloc(-1, 1, b), 0);
}

/* A block that the program releases is room to send as much as one that a token frees. */
static void release_wakes_those_who_found_no_memory(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = EPOLLOUT | EPOLLET};
	struct zs_buf all[64];

	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
	for (int i = 0; i < 64; i++)
		assert_int_equal(zs_buf_alloc(fd, ZS_BUF_MAX, &all[i]), 0);
	assert_int_equal(zs_write(fd, "x", 1), -EAGAIN);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 0);
	assert_int_equal(zs_buf_release(&all[3], 1), 0);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

/* Else a program that waits for room to make a buffer would ask for ever. */
static void failed_alloc_makes_a_socket_unwritable_until_something_is_back(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct zs_buf all[64];

	for (int i = 0; i < 64; i++)
		assert_int_equal(zs_buf_alloc(fd, ZS_BUF_MAX, &all[i]), 0);
	assert_int_equal(zs_buf_alloc(fd, 1, b), -ENOBUFS);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	assert_int_equal(zs_buf_release(&all[3], 1), 0);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(zs_buf_alloc(fd, 1, b), 0);
}

static void big_block_that_is_not_there_stops_no_small_send(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct zs_buf all[64], small;

	for (int i = 0; i < 63; i++)
		assert_int_equal(zs_buf_alloc(fd, ZS_BUF_MAX, &all[i]), 0);
	assert_int_equal(zs_buf_alloc(fd, 1, &small), 0);
	assert_int_equal(zs_buf_alloc(fd, ZS_BUF_MAX, b), -ENOBUFS);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

static void sent_block_is_the_librarys_until_acknowledged(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	uint64_t cookie = 0;

	fake.keep_tokens = true;
	assert_int_equal(zs_buf_alloc(fd, 5, b), 0);
	memcpy(b[0].data, "hello", 5);
	assert_int_equal(zs_send_zc(fd, b, 1, 42, 0), 1);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	zs_process(0);
	assert_string_equal(fake_sent(core0, fake_last(core0, CHAN_OP_SEND)), "hello");
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->flags, 0);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 0);
	fake_ack(core0, 1);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 1);
	assert_int_equal(cookie, 42);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 0);
	assert_int_equal(copied(), 0);
}

static void referenced_block_can_be_sent_to_many(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	assert_int_equal(zs_buf_alloc(fd, 5, b), 0);
	memcpy(b[0].data, "hello", 5);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(zs_buf_ref(b), 0);
		assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), 1);
	}
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_SEND), 3);
	assert_int_equal(zs_buf_release(b, 1), 0);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
}

static void lent_buffer_goes_back_when_its_send_is_acknowledged(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	uint32_t loan;

	fake.keep_tokens = true;
	loan = fake_data(core0, sid, "hello", 0);
	assert_int_equal(zs_recv_zc(fd, b, 1, 0), 1);
	b[0].data = (char *)b[0].data + 1;
	b[0].len = 3;
	assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), 1);
	zs_process(0);
	const struct chan_sqe *q = fake_last(core0, CHAN_OP_SEND_LOAN);

	assert_int_equal(q->loan, loan);
	assert_int_equal(q->off, 1);
	assert_int_equal(q->len, 3);
	assert_int_equal(core0->returned, 0);
	fake_ack(core0, 1);
	zs_process(0);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	assert_int_equal(copied(), 0);
}

static void send_refuses_what_is_outside_or_not_held(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct zs_buf t;

	assert_int_equal(zs_buf_alloc(fd, 256, b), 0);
	t = b[0];
	t.len = 257;
	assert_int_equal(zs_send_zc(fd, &t, 1, 0, 0), -EINVAL);
	t = b[0];
	t.data = (char *)t.data - 1;
	assert_int_equal(zs_send_zc(fd, &t, 1, 0, 0), -EINVAL);
	t = b[0];
	t.data = (char *)t.data + 256;
	t.len = 1;
	assert_int_equal(zs_send_zc(fd, &t, 1, 0, 0), -EINVAL);
	t.len = 0;
	assert_int_equal(zs_buf_ref(b), 0);
	assert_int_equal(zs_send_zc(fd, &t, 1, 0, 0), 1);
	assert_int_equal(zs_send_zc(fd, b, -1, 0, 0), -EINVAL);
	assert_int_equal(zs_send_zc(fd, b, 1, 0, MSG_OOB), -EOPNOTSUPP);
	/* A prefix is taken, and what follows is still the caller's. */
	b[1] = (struct zs_buf){.handle = 99};
	assert_int_equal(zs_send_zc(fd, b, 2, 0, 0), 1);
	assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), -EINVAL);
}

/* The same buffer twice needs two holds. */
static void send_of_one_hold_twice_takes_it_once(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake.keep_tokens = true;
	assert_int_equal(zs_buf_alloc(fd, 10, b), 0);
	assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), 1);
	assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), -EINVAL);
	assert_int_equal(zs_buf_ref(b), -EINVAL);
}

static void send_takes_a_prefix_at_the_limit(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake.keep_tokens = true;
	for (int i = 0; i < 4; i++)
		assert_int_equal(zs_buf_alloc(fd, 40000, &b[i]), 0);
	assert_int_equal(zs_send_zc(fd, b, 4, 1, 0), 3);
	assert_int_equal(zs_send_zc(fd, b + 3, 1, 2, 0), -EAGAIN);
	zs_process(0);
	fake_ack(core0, 3);
	assert_int_equal(zs_send_zc(fd, b + 3, 1, 3, 0), 1);
	uint64_t cookie[4];

	assert_int_equal(zs_sent_zc(fd, cookie, 4), 1);
	assert_int_equal(cookie[0], 1);
}

static void ack_all(void)
{
	fake_ack(core0, core0->n_held);
}

static void blocking_send_waits_for_all(void **state)
{
	int fd = fake_connection(0, &sid);

	fake.keep_tokens = true;
	fake.on_sleep = ack_all;
	for (int i = 0; i < 8; i++)
		assert_int_equal(zs_buf_alloc(fd, 40000, &b[i]), 0);
	assert_int_equal(zs_send_zc(fd, b, 8, 1, 0), 8);
}

static void cookie_is_complete_when_all_its_buffers_are(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	int ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = EPOLLWRBAND};
	uint64_t cookie[4];

	zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	fake.keep_tokens = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(zs_buf_alloc(fd, 100, &b[i]), 0);
	assert_int_equal(zs_send_zc(fd, b, 3, 9, 0), 3);
	zs_process(0);
	fake_ack(core0, 2);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 0);
	assert_int_equal(zs_sent_zc(fd, cookie, 4), 0);
	fake_ack(core0, 1);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
	assert_int_equal(e.events, EPOLLWRBAND);
	assert_int_equal(zs_sent_zc(fd, cookie, 4), 1);
	assert_int_equal(cookie[0], 9);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 0);
}

static void unfetched_cookies_have_an_end(void **state)
{
	uint64_t cookie;
	int fd, n = 0, r;

	fake_stop();
	chan_geometry_defaults(&fake.geometry);
	fake.geometry.max_tokens = 8;
	fake_start(1, false);
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	do {
		assert_int_equal(zs_buf_alloc(fd, 10, b), 0);
		r = zs_send_zc(fd, b, 1, 1, 0);
		zs_process(0);
	} while (r == 1 && ++n < 100);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(n, 8);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 1);
	assert_int_equal(zs_send_zc(fd, b, 1, 1, 0), 1);
	zs_close(fd);
	zs_process(0);
	/* Closing forgets them. */
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(zs_buf_alloc(fd, 10, b), 0);
		assert_int_equal(zs_send_zc(fd, b, 1, 1, 0), 1);
	}
}

static void broken_connection_gives_buffers_and_cookies_back(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	uint64_t cookie;

	fake.keep_tokens = true;
	assert_int_equal(zs_buf_alloc(fd, 10, b), 0);
	assert_int_equal(zs_send_zc(fd, b, 1, 5, 0), 1);
	zs_process(0);
	fake_error(core0, sid, -ECONNRESET, true);
	fake_ack(core0, 1);
	zs_process(0);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 1);
	assert_int_equal(zs_buf_alloc(fd, 10, b), 0);
	assert_int_equal(zs_send_zc(fd, b, 1, 5, 0), -ECONNRESET);
	assert_int_equal(zs_send_zc(fd, b, 1, 5, 0), -EPIPE);
	assert_int_equal(zs_buf_release(b, 1), 0);
}

/* What is before the urgent byte, which is not part of the stream, comes first. */
static void urgent_mark_splits_a_lent_buffer(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_URG, .sid = sid, .aux = 3});
	fake_data(core0, sid, "abcXdef", 0);
	assert_int_equal(zs_recv_zc(fd, b, 16, 0), 1);
	assert_int_equal(b[0].len, 3);
	assert_memory_equal(b[0].data, "abc", 3);
	assert_int_equal(zs_recv_zc(fd, b + 1, 15, 0), 1);
	assert_memory_equal(b[1].data, "def", 3);
	assert_int_equal(b[1].len, 3);
	assert_int_equal(zs_buf_release(b, 2), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(received_buffers_are_lent_in_place),
		T(array_of_one_gets_one_at_a_time),
		T(rest_of_a_read_buffer_is_lent),
		T(second_release_is_refused),
		T(released_block_is_refused_though_taken_again),
		T(queued_buffer_is_nobodys_to_release),
		T(buffers_outlive_their_socket),
		T(alloc_checks_its_size_and_runs_out),
		T(release_wakes_those_who_found_no_memory),
		T(failed_alloc_makes_a_socket_unwritable_until_something_is_back),
		T(big_block_that_is_not_there_stops_no_small_send),
		T(sent_block_is_the_librarys_until_acknowledged),
		T(referenced_block_can_be_sent_to_many),
		T(lent_buffer_goes_back_when_its_send_is_acknowledged),
		T(send_refuses_what_is_outside_or_not_held),
		T(send_of_one_hold_twice_takes_it_once),
		T(send_takes_a_prefix_at_the_limit),
		T(blocking_send_waits_for_all),
		T(cookie_is_complete_when_all_its_buffers_are),
		T(unfetched_cookies_have_an_end),
		T(broken_connection_gives_buffers_and_cookies_back),
		T(urgent_mark_splits_a_lent_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
