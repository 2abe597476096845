/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several cores: what is on each of them, and that the program sees one descriptor.
 */
#include "fake.h"

#define CORES 3

static int setup(void **state)
{
	/* Polled, so that the fake runs when the test says so: the client does not mind. */
	fake_start(CORES, false);
	return 0;
}

static char buf[100];

static uint32_t sid_on(unsigned core)
{
	return fake.core[core].next_sid - 1;
}

static void listener_is_on_every_core(void **state)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	struct sockaddr_in at = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, ep, s;

	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(zs_listen(fd, 5), 0);
	for (unsigned i = 0; i < CORES; i++) {
		struct fake_core *c = &fake.core[i];

		assert_int_equal(fake_count(c, CHAN_OP_SOCKET), 1);
		assert_int_equal(fake_count(c, CHAN_OP_SETOPT), 1);
		assert_int_equal(fake_last(c, CHAN_OP_BIND)->port, 80);
		assert_int_equal(fake_last(c, CHAN_OP_LISTEN)->arg[0], 5);
	}
	ep = zs_epoll_create1(0);
	zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	for (unsigned i = 0; i < CORES; i++) {
		uint32_t conn = fake_accept(&fake.core[i], sid_on(i));

		assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
		s = zs_accept(fd, NULL, NULL);
		assert_true(s >= 0);
		fake_data(&fake.core[i], conn, "hi", 0);
		assert_int_equal(zs_read(s, buf, 10), 2);
		assert_int_equal(zs_write(s, "x", 1), 1);
		zs_process(0);
		assert_int_equal(fake_last(&fake.core[i], CHAN_OP_SEND)->sid, conn);
	}
	assert_int_equal(zs_accept(fd, NULL, NULL), -EAGAIN);
	zs_close(fd);
	zs_process(0);
	for (unsigned i = 0; i < CORES; i++)
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_CLOSE), 1);
}

static void chosen_port_is_the_same_on_every_core(void **state)
{
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(zs_listen(fd, 5), 0);
	unsigned asked = 0, told = 0;

	for (unsigned i = 0; i < CORES; i++) {
		asked += fake_last(&fake.core[i], CHAN_OP_BIND)->port == 0;
		told += fake_last(&fake.core[i], CHAN_OP_BIND)->port == 40000;
	}
	assert_int_equal(asked, 1);
	assert_int_equal(told, CORES - 1);
}

static void failure_on_one_core_is_the_calls(void **state)
{
	struct sockaddr_in at = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_DGRAM, 0);

	fake.result[CHAN_OP_SOCKET] = -ENOBUFS;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), -ENOBUFS);
	zs_process(0);
	unsigned binds = 0;

	for (unsigned i = 0; i < CORES; i++)
		binds += fake_count(&fake.core[i], CHAN_OP_BIND);
	assert_int_equal(binds, 1);
}

static void connects_go_round(void **state)
{
	struct sockaddr_in to = fake_addr(80);

	for (int i = 0; i < 2 * CORES; i++) {
		int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	}
	for (unsigned i = 0; i < CORES; i++)
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_CONNECT), 2);
}

static void datagrams_of_every_core_are_read_in_turn(void **state)
{
	struct sockaddr_in at = fake_addr(53);
	int fd = zs_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct zs_buf b;

	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	for (unsigned i = 0; i < CORES; i++) {
		fake_dgram(&fake.core[i], sid_on(i), "a", 1, 0);
		fake_dgram(&fake.core[i], sid_on(i), "bb", 1, 0);
	}
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	/* One of each core, then the others. */
	for (unsigned i = 0; i < CORES; i++)
		assert_int_equal(zs_recv(fd, buf, 10, 0), 1);
	for (unsigned i = 0; i < CORES; i++) {
		assert_int_equal(zs_recvfrom_zc(fd, &b, 1, 0, NULL, NULL), 1);
		assert_int_equal(b.len, 2);
		assert_int_equal(zs_buf_release(&b, 1), 0);
	}
	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	zs_process(0);
	for (unsigned i = 0; i < CORES; i++)
		assert_int_equal(fake.core[i].returned, 2);
}

static void unbound_datagram_socket_gets_an_address_everywhere(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = zs_socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(zs_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	for (unsigned i = 0; i < CORES; i++)
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_BIND), 1);
}

/* A channel can only name its own memory: a buffer of another core is copied, and counted. */
static void buffer_of_another_core_is_copied(void **state)
{
	struct sockaddr_in to = fake_addr(80);
	struct zs_stats st;
	struct zs_buf b;
	int fd[CORES];

	for (int i = 0; i < CORES; i++) {
		fd[i] = zs_socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(zs_connect(fd[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
	for (int i = 0; i < CORES; i++) {
		assert_int_equal(zs_buf_alloc(fd[0], 5, &b), 0);
		memcpy(b.data, "hello", 5);
		assert_int_equal(zs_send_zc(fd[i], &b, 1, 0, 0), 1);
		assert_int_equal(zs_buf_release(&b, 1), -EINVAL);
	}
	zs_process(0);
	for (unsigned i = 0; i < CORES; i++)
		assert_string_equal(
			fake_sent(&fake.core[i], fake_last(&fake.core[i], CHAN_OP_SEND)), "hello");
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.api_copied_bytes, 10);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(listener_is_on_every_core),
		T(chosen_port_is_the_same_on_every_core),
		T(failure_on_one_core_is_the_calls),
		T(connects_go_round),
		T(datagrams_of_every_core_are_read_in_turn),
		T(unbound_datagram_socket_gets_an_address_everywhere),
		T(buffer_of_another_core_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
