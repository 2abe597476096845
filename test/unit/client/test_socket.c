/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets' lives: open, bind, listen, accept, connect, shutdown, close, and their errors.
 */
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <poll.h>

#include "fake.h"

#define core0 (&fake.core[0])

static void unstarted_calls_say_enxio(void **state)
{
	struct pollfd p = {.fd = 0};

	assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, 0), -ENXIO);
	assert_int_equal(zs_read(0, &p, 1), -ENXIO);
	assert_int_equal(zs_epoll_create1(0), -ENXIO);
	assert_int_equal(zs_process(0), -ENXIO);
	assert_int_equal(zs_poll(&p, 1, 0), -ENXIO);
	zs_stop();
}

static void start_failure_says_why_and_leaves_nothing(void **state)
{
	struct zs_config *c = zs_config_new();

	fake.n_cores = 0;
	assert_int_equal(zs_config_set(c, "vdev", "none"), 0);
	assert_int_equal(zs_start(c), -ENODEV);
	assert_string_equal(zs_config_error(c), "--vdev none: the fake refuses");
	assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, 0), -ENXIO);
	zs_config_free(c);
}

static void second_start_is_refused(void **state)
{
	assert_int_equal(zs_start(NULL), -EALREADY);
}

static void socket_of_unknown_kind_is_refused(void **state)
{
	assert_int_equal(zs_socket(AF_UNIX, SOCK_STREAM, 0), -EAFNOSUPPORT);
	assert_int_equal(zs_socket(AF_INET, SOCK_RAW, 0), -ESOCKTNOSUPPORT);
	assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), -EPROTONOSUPPORT);
	fake.result[CHAN_OP_SOCKET] = -ENOBUFS;
	assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, 0), -ENOBUFS);
	assert_int_equal(zs_close(0), -EBADF);
	assert_int_equal(zs_close(-1), -EBADF);
}

/* POSIX.1-2017 2.14: the lowest one that is free. */
static void descriptors_are_the_lowest_free(void **state)
{
	for (int i = 0; i < 130; i++)
		assert_int_equal(zs_socket(AF_INET, SOCK_DGRAM, 0), i);
	assert_int_equal(zs_close(100), 0);
	assert_int_equal(zs_close(7), 0);
	assert_int_equal(zs_epoll_create1(EPOLL_CLOEXEC), 7);
	assert_int_equal(zs_socket(AF_INET6, SOCK_DGRAM, 0), 100);
	assert_int_equal(zs_socket(AF_INET6, SOCK_DGRAM, 0), 130);
	assert_int_equal(zs_close(7), 0);
	assert_int_equal(zs_close(7), -EBADF);
}

static void bind_passes_address_and_checks_it(void **state)
{
	struct sockaddr_in at = fake_addr(4711);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, 4), -EINVAL);
	at.sin_family = AF_INET6;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), -EAFNOSUPPORT);
	at.sin_family = AF_INET;
	fake.result[CHAN_OP_BIND] = -EADDRINUSE;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), -EADDRINUSE);
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(fake_last(core0, CHAN_OP_BIND)->port, 4711);
	assert_memory_equal(fake_last(core0, CHAN_OP_BIND)->addr + 10, "\xff\xff\x0a\0\0\2", 6);
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), -EINVAL);
}

static void listener_without_connections_says_again(void **state)
{
	uint32_t sid;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);

	assert_int_equal(zs_accept(fd, NULL, NULL), -EAGAIN);
	assert_int_equal(fake.sleeps, 0);
}

static void accept_returns_oldest_with_addresses(void **state)
{
	uint32_t sid, a, b;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);
	struct sockaddr_in peer, local;
	socklen_t len = sizeof(peer);

	a = fake_accept(core0, sid);
	b = fake_accept(core0, sid);
	int s = zs_accept4(fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK);

	assert_int_equal(s, 1);
	assert_int_equal(len, sizeof(peer));
	assert_int_equal(ntohs(peer.sin_port), 33333);
	assert_int_equal(ntohl(peer.sin_addr.s_addr), 0x0a000002);
	len = sizeof(local);
	assert_int_equal(zs_getsockname(s, (struct sockaddr *)&local, &len), 0);
	assert_int_equal(ntohs(local.sin_port), 80);
	assert_int_equal(zs_getpeername(s, (struct sockaddr *)&peer, &len), 0);
	assert_int_equal(ntohs(peer.sin_port), 33333);
	assert_int_equal(zs_fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
	int t = zs_accept(fd, NULL, NULL);

	assert_int_equal(zs_fcntl(t, F_GETFL), O_RDWR);
	assert_int_equal(zs_accept(fd, NULL, NULL), -EAGAIN);
	fake_data(core0, b, "second", 0);
	fake_data(core0, a, "first", 0);
	char buf[16];

	assert_int_equal(zs_read(s, buf, sizeof(buf)), 5);
	assert_int_equal(zs_read(t, buf, sizeof(buf)), 6);
}

/* CHAN_EV_ACCEPT: told at the latest when none is left. */
static void accepted_connections_are_told_in_batches(void **state)
{
	uint32_t sid;
	int fd = fake_listener(SOCK_NONBLOCK, &sid), told = 0;

	for (int i = 0; i < 13; i++)
		fake_accept(core0, sid);
	for (int i = 0; i < 13; i++)
		assert_true(zs_accept(fd, NULL, NULL) >= 0);
	zs_process(0);
	for (unsigned i = 0; i < core0->n_log; i++) {
		if (core0->log[i].op == CHAN_OP_RCVBUF_MORE)
			told += core0->log[i].arg[0];
	}
	assert_int_equal(told, 13);
	assert_int_equal(fake_count(core0, CHAN_OP_RCVBUF_MORE), 2);
}

static void accepted_inherits_options_not_nonblock(void **state)
{
	struct timeval tv = {.tv_sec = 3}, got;
	socklen_t len = sizeof(got);
	uint32_t sid;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);

	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	fake_accept(core0, sid);
	int s = zs_accept(fd, NULL, NULL);

	assert_int_equal(zs_fcntl(s, F_GETFL), O_RDWR);
	assert_int_equal(zs_getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &got, &len), 0);
	assert_int_equal(got.tv_sec, 3);
}

static uint32_t wanted_sid;
static void accept_one(void)
{
	fake_accept(core0, wanted_sid);
}

static void blocking_accept_sleeps_until_there_is_one(void **state)
{
	int fd = fake_listener(0, &wanted_sid);

	fake.on_sleep = accept_one;
	assert_int_equal(zs_accept(fd, NULL, NULL), 1);
	assert_int_equal(fake.sleeps, 1);
}

/* Linux: SO_RCVTIMEO is accept's, too. */
static void blocking_accept_times_out_with_again(void **state)
{
	struct timeval tv = {.tv_usec = 2000};
	uint32_t sid;
	int fd = fake_listener(0, &sid);

	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(zs_accept(fd, NULL, NULL), -EAGAIN);
}

static void accept_on_others_is_refused(void **state)
{
	int tcp = zs_socket(AF_INET, SOCK_STREAM, 0), udp = zs_socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(zs_accept(tcp, NULL, NULL), -EINVAL);
	assert_int_equal(zs_accept(udp, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(zs_listen(udp, 1), -EOPNOTSUPP);
	assert_int_equal(zs_accept4(tcp, NULL, NULL, 1), -EINVAL);
}

static void closing_listener_resets_what_nobody_took(void **state)
{
	uint32_t sid, a;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);

	a = fake_accept(core0, sid);
	zs_process(0);
	assert_int_equal(zs_close(fd), 0);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_CLOSE), 2);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->sid, sid);
	assert_int_equal(core0->log[core0->n_log - 2].sid, a);
	assert_int_equal(core0->log[core0->n_log - 2].arg[0], 0);
}

/* Announced after the program closed the listener, before the service knew. */
static void late_connection_of_closed_listener_is_reset(void **state)
{
	uint32_t sid, a;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);
	struct zs_stats st;

	fake.keep_closes = true;
	zs_close(fd);
	a = fake_accept(core0, sid);
	zs_process(0);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->sid, a);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[0], 0);
	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	assert_int_equal(st.bad_events, 0);
}

/* Linux: it listens no more, has no connections, and may listen again; writing is not its affair.
 */
static void listener_that_is_shut_down_is_a_fresh_socket(void **state)
{
	uint32_t sid, late;
	int fd = fake_listener(SOCK_NONBLOCK, &sid);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct zs_stats st;

	fake_accept(core0, sid);
	zs_process(0);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(zs_shutdown(fd, SHUT_RD), 0);
	late = fake_accept(core0, sid);
	zs_process(0);
	zs_process(0);
	assert_int_equal(zs_accept(fd, NULL, NULL), -EINVAL);
	assert_int_equal(fake_last(core0, CHAN_OP_SHUTDOWN)->sid, sid);
	assert_int_equal(fake_count(core0, CHAN_OP_CLOSE), 2);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->sid, late);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLHUP);
	assert_int_equal(zs_shutdown(fd, SHUT_RD), -ENOTCONN);
	assert_int_equal(zs_listen(fd, 5), 0);
	fake_accept(core0, sid);
	assert_true(zs_accept(fd, NULL, NULL) >= 0);
	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	assert_int_equal(st.bad_events, 0);
}

/* Linux: a connection that was reset has no peer, whoever asks first. */
static void getpeername_knows_of_a_reset(void **state)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	uint32_t sid;
	int fd = fake_connection(0, &sid);

	assert_int_equal(zs_getpeername(fd, (struct sockaddr *)&a, &len), 0);
	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(zs_getpeername(fd, (struct sockaddr *)&a, &len), -ENOTCONN);
}

static int shut;
static void shut_down(void)
{
	assert_int_equal(zs_shutdown(shut, SHUT_RDWR), 0);
}

static void shutdown_ends_a_blocking_accept(void **state)
{
	uint32_t sid;

	shut = fake_listener(0, &sid);
	fake.on_sleep = shut_down;
	assert_int_equal(zs_accept(shut, NULL, NULL), -EINVAL);
}

static void nonblocking_connect_is_in_progress_then_done(void **state)
{
	struct sockaddr_in to = fake_addr(80);
	struct sockaddr *sa = (struct sockaddr *)&to;
	int fd = zs_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = 1;
	uint32_t sid = core0->next_sid - 1;
	socklen_t len = sizeof(err);
	char c;

	fake.keep_connects = true;
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -EINPROGRESS);
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -EALREADY);
	assert_int_equal(zs_send(fd, "x", 1, 0), -EAGAIN);
	assert_int_equal(zs_recv(fd, &c, 1, 0), -EAGAIN);
	assert_int_equal(zs_getpeername(fd, sa, &len), -ENOTCONN);
	zs_process(0);
	fake_connected(core0, sid, 0);
	zs_process(0);
	len = sizeof(err);
	assert_int_equal(zs_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	assert_int_equal(err, 0);
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), 0);
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -EISCONN);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
}

static void nonblocking_connect_refused_is_told_once(void **state)
{
	struct sockaddr_in to = fake_addr(80);
	struct sockaddr *sa = (struct sockaddr *)&to;
	int fd = zs_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = 0;
	socklen_t len = sizeof(err);

	fake.result[CHAN_OP_CONNECT] = -ECONNREFUSED;
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -EINPROGRESS);
	zs_process(0);
	assert_int_equal(zs_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	assert_int_equal(err, ECONNREFUSED);
	assert_int_equal(zs_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	assert_int_equal(err, 0);
}

static void blocking_connect_returns_the_result(void **state)
{
	struct sockaddr_in to = fake_addr(80);
	struct sockaddr *sa = (struct sockaddr *)&to;
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	fake.result[CHAN_OP_CONNECT] = -ECONNREFUSED;
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -ECONNREFUSED);
	/* And again, as Linux allows. */
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), 0);
	assert_int_equal(zs_connect(fd, sa, sizeof(to)), -EISCONN);
	assert_int_equal(zs_connect(fd, NULL, 0), -EINVAL);
}

/* socket(7): SO_SNDTIMEO is connect's, too. */
static void blocking_connect_times_out_in_progress(void **state)
{
	struct sockaddr_in to = fake_addr(80);
	struct timeval tv = {.tv_usec = 2000};
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	fake.keep_connects = true;
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), -EINPROGRESS);
}

static void unconnected_stream_refuses_data(void **state)
{
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);
	char c;

	assert_int_equal(zs_recv(fd, &c, 1, 0), -ENOTCONN);
	assert_int_equal(zs_send(fd, "x", 1, 0), -EPIPE);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), -ENOTCONN);
}

static void shutdown_write_ends_writing_only(void **state)
{
	uint32_t sid;
	int fd = fake_connection(0, &sid);
	char buf[8];

	assert_int_equal(zs_shutdown(fd, 5), -EINVAL);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	assert_int_equal(zs_send(fd, "x", 1, 0), -EPIPE);
	fake_data(core0, sid, "late", 0);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), 4);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SHUTDOWN)->arg[0], SHUT_WR);
}

static void shutdown_read_ends_reading(void **state)
{
	uint32_t sid;
	int fd = fake_connection(0, &sid);
	char buf[8];

	assert_int_equal(zs_shutdown(fd, SHUT_RD), 0);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), 0);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
}

/* RFC 2525 §2.17: the service is told that data was thrown away. */
static void close_with_unread_data_says_so(void **state)
{
	uint32_t sid;
	int fd = fake_connection(0, &sid);

	fake_data(core0, sid, "unread", 0);
	zs_process(0);
	assert_int_equal(zs_close(fd), 0);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[0], -1);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[1], 1);
	assert_int_equal(core0->returned, 1);
}

static void data_after_close_goes_back(void **state)
{
	uint32_t sid;
	int fd = fake_connection(0, &sid);
	struct zs_stats st;

	fake.keep_closes = true;
	zs_close(fd);
	fake_data(core0, sid, "late", 0);
	zs_process(0);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
	fake_closed(core0, sid);
	zs_process(0);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.bad_events, 0);
}

static void close_now(void)
{
	fake_closed(core0, wanted_sid);
}

static void close_with_linger_waits_for_the_result(void **state)
{
	struct linger l = {1, 10};
	int fd = fake_connection(0, &wanted_sid);

	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	fake.keep_closes = true;
	fake.on_sleep = close_now;
	assert_int_equal(zs_close(fd), 0);
	assert_int_equal(fake.sleeps, 1);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[0], 10);
}

static void close_with_linger_0_resets(void **state)
{
	struct linger l = {1, 0}, got;
	socklen_t len = sizeof(got);
	uint32_t sid;
	int fd = fake_connection(0, &sid);

	zs_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	zs_getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len);
	assert_int_equal(got.l_onoff, 1);
	zs_close(fd);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[0], 0);
}

static void options_go_to_their_keeper(void **state)
{
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0), v = 1;
	struct timeval bad = {.tv_usec = 1000000};
	socklen_t len = sizeof(v);

	assert_int_equal(zs_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)), 0);
	const struct chan_sqe *q = fake_last(core0, CHAN_OP_SETOPT);

	assert_int_equal(q->opt.level, IPPROTO_TCP);
	assert_int_equal(q->opt.name, TCP_NODELAY);
	assert_int_equal(q->len, 4);
	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	assert_int_equal(v, 77);
	assert_int_equal(zs_getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len), 0);
	assert_int_equal(v, SOCK_STREAM);
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_TYPE, &v, sizeof(v)), -ENOPROTOOPT);
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, 1), -EINVAL);
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof(bad)), -EDOM);
	assert_int_equal(zs_setsockopt(fd, 1 << 20, 1, &v, sizeof(v)), -ENOPROTOOPT);
	fake.result[CHAN_OP_SETOPT] = -ENOPROTOOPT;
	assert_int_equal(zs_setsockopt(fd, IPPROTO_IP, 99, &v, sizeof(v)), -ENOPROTOOPT);
}

static int tcp_option(int fd, int name, int v)
{
	return zs_setsockopt(fd, IPPROTO_TCP, name, &v, sizeof(v));
}

static int tcp_option_of(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, name, &v, &len), 0);
	return v;
}

/* What nginx does for each response, with tcp_nopush. */
static void cork_and_nodelay_wait_for_no_answer(void **state)
{
	uint32_t sid;
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	unsigned polls = fake.polls;

	assert_int_equal(tcp_option(fd, TCP_NODELAY, 1), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tcp_option(fd, TCP_NODELAY, 0), 0);
		assert_int_equal(tcp_option(fd, TCP_CORK, 1), 0);
		assert_int_equal(tcp_option_of(fd, TCP_NODELAY), 0);
		assert_int_equal(tcp_option_of(fd, TCP_CORK), 1);
		assert_int_equal(zs_write(fd, "head", 4), 4);
		assert_int_equal(tcp_option(fd, TCP_CORK, 0), 0);
		assert_int_equal(tcp_option(fd, TCP_NODELAY, 1), 0);
		assert_int_equal(tcp_option_of(fd, TCP_NODELAY), 1);
	}
	assert_int_equal(fake.polls, polls);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_SETOPT), 4);
	assert_int_equal(fake_last(core0, CHAN_OP_SETOPT)->opt.name, TCP_CORK);
	assert_int_equal(fake_last(core0, CHAN_OP_SETOPT)->opt.value[0], 0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->flags, CHAN_SEND_COPIED | CHAN_SEND_MORE);
}

static void nodelay_taken_back_is_told_before_the_next_send(void **state)
{
	uint32_t sid;
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	assert_int_equal(tcp_option(fd, TCP_NODELAY, 1), 0);
	assert_int_equal(tcp_option(fd, TCP_NODELAY, 0), 0);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_SETOPT), 1);
	assert_int_equal(zs_write(fd, "text", 4), 4);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_SETOPT), 2);
	assert_true(fake_last(core0, CHAN_OP_SETOPT) < fake_last(core0, CHAN_OP_SEND));
	assert_int_equal(fake_last(core0, CHAN_OP_SETOPT)->opt.name, TCP_NODELAY);
	assert_int_equal(fake_last(core0, CHAN_OP_SETOPT)->opt.value[0], 0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->flags, CHAN_SEND_COPIED);
}

static void ioctl_and_fcntl_know_their_requests(void **state)
{
	uint32_t sid;
	int fd = fake_connection(0, &sid), n = -1;

	fake_data(core0, sid, "12345", 0);
	fake_data(core0, sid, "678", 0);
	assert_int_equal(zs_ioctl(fd, FIONREAD, &n), 0);
	assert_int_equal(n, 8);
	n = 1;
	assert_int_equal(zs_ioctl(fd, FIONBIO, &n), 0);
	assert_int_equal(zs_fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	assert_int_equal(zs_fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(zs_fcntl(fd, F_GETFL), O_RDWR);
	assert_int_equal(zs_fcntl(fd, F_DUPFD, 0), -EINVAL);
	assert_int_equal(zs_ioctl(fd, 0x1234, &n), -ENOTTY);
}

/* Commands of closes must not be lost when the ring is full. */
static void closes_beyond_the_rings_length_are_all_said(void **state)
{
	int fd[200];

	fake_stop();
	chan_geometry_defaults(&fake.geometry);
	fake.geometry.sq_size = 16;
	fake_start(1, false);
	for (int i = 0; i < 200; i++)
		fd[i] = zs_socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0; i < 200; i++)
		assert_int_equal(zs_close(fd[i]), 0);
	for (int i = 0; i < 20; i++)
		zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_CLOSE), 200);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unstarted_calls_say_enxio),
		cmocka_unit_test(start_failure_says_why_and_leaves_nothing),
		T(second_start_is_refused),
		T(socket_of_unknown_kind_is_refused),
		T(descriptors_are_the_lowest_free),
		T(bind_passes_address_and_checks_it),
		T(listener_without_connections_says_again),
		T(accept_returns_oldest_with_addresses),
		T(accepted_connections_are_told_in_batches),
		T(accepted_inherits_options_not_nonblock),
		T(blocking_accept_sleeps_until_there_is_one),
		T(blocking_accept_times_out_with_again),
		T(accept_on_others_is_refused),
		T(closing_listener_resets_what_nobody_took),
		T(late_connection_of_closed_listener_is_reset),
		T(listener_that_is_shut_down_is_a_fresh_socket),
		T(shutdown_ends_a_blocking_accept),
		T(getpeername_knows_of_a_reset),
		T(nonblocking_connect_is_in_progress_then_done),
		T(nonblocking_connect_refused_is_told_once),
		T(blocking_connect_returns_the_result),
		T(blocking_connect_times_out_in_progress),
		T(unconnected_stream_refuses_data),
		T(shutdown_write_ends_writing_only),
		T(shutdown_read_ends_reading),
		T(close_with_unread_data_says_so),
		T(data_after_close_goes_back),
		T(close_with_linger_waits_for_the_result),
		T(close_with_linger_0_resets),
		T(options_go_to_their_keeper),
		T(cork_and_nodelay_wait_for_no_answer),
		T(nodelay_taken_back_is_told_before_the_next_send),
		T(ioctl_and_fcntl_know_their_requests),
		T(closes_beyond_the_rings_length_are_all_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
