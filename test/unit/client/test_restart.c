/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service goes and another comes (lost.c, remake.c); how that is found out is tested with a
 * real one (test/interop/test_restart.py). H38.
 */
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "client/client_priv.h"
#include "fake.h"

static char buf[100];
static uint32_t sid;

static int setup(void **state)
{
	fake_start(1, true);
	client.kick_fd = bell_open();
	return 0;
}

static int setup_three(void **state)
{
	fake_start(3, true);
	client.kick_fd = bell_open();
	return 0;
}

static void lose(void)
{
	client_lock();
	client_lose(&(struct mapping){NULL, 0});
	client_unlock();
}

/* Another service's channel; the program's memory is what it was, if it has some. */
static void channel_new(struct fake_core *c, bool fresh)
{
	const struct chan_geometry *g = &fake.cfg.geometry;
	struct chan_map map = c->map;
	struct chan_hdr hdr;

	memset(c, 0, sizeof(*c));
	c->map = map;
	c->map.base = fake_pages(chan_bytes(g));
	chan_format(c->map.base, g);
	assert_int_equal(chan_check(c->map.base, chan_bytes(g), &hdr), 0);
	if (fresh) {
		c->map.arena = fake_pages(g->arena_bytes);
		c->map.arena_bytes = g->arena_bytes;
		c->map.region[0].base = c->map.arena;
		c->map.region[0].bytes = g->arena_bytes;
		c->map.app_bell_fd = bell_open();
		c->map.stack_bell_fd = bell_open();
	}
	c->pkt = fake_pages(FAKE_PKT);
	c->map.region[1].base = c->pkt;
	c->map.region[1].bytes = FAKE_PKT;
	chan_attach(&c->end, &c->map, &hdr);
	c->next_sid = 1;
}

static void come(unsigned cores)
{
	struct transport *t = &client.transport;

	pthread_mutex_lock(&fake.lock);
	for (unsigned i = 0; i < cores; i++)
		channel_new(&fake.core[i], i >= client.n_tables);
	fake.n_cores = cores;
	pthread_mutex_unlock(&fake.lock);
	client_lock();
	t->n_cores = client.n_cores = cores;
	for (unsigned i = 0; i < cores; i++) {
		t->map[i] = fake.core[i].map;
		assert_int_equal(core_fits(i, &t->map[i]), 0);
		assert_int_equal(core_rejoin(i, &t->map[i]), 0);
		if (i >= client.n_tables)
			client.n_tables = i + 1;
	}
	assert_int_equal(client_remake(), 0);
	client_unlock();
}

static void restart(unsigned cores)
{
	/* What was closed has been said. */
	zs_process(0);
	lose();
	come(cores);
}

/* The memory that the tests gave the fake is theirs: it would unmap what it made itself. */
static int teardown(void **state)
{
	zs_stop();
	return 0;
}

static void sock_event(void (*f)(struct fake_core *c, uint32_t sid))
{
	pthread_mutex_lock(&fake.lock);
	f(&fake.core[0], sid);
	pthread_mutex_unlock(&fake.lock);
}

static void say_data(struct fake_core *c, uint32_t s)
{
	fake_data(c, s, "hello", 0);
}

static void say_accept(struct fake_core *c, uint32_t s)
{
	fake_accept(c, s);
}

static void say_dgram(struct fake_core *c, uint32_t s)
{
	fake_dgram(c, s, "datagram", 99, 0);
}

static int udp(uint16_t port)
{
	struct sockaddr_in at = fake_addr(port);
	int fd = zs_socket(AF_INET, SOCK_DGRAM, 0);

	sid = fake.core[0].next_sid - 1;
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void listener_is_made_again_with_its_options(void **state)
{
	struct fake_core *c = &fake.core[0];
	int on = 1, ttl = 9, l = fake_listener(SOCK_NONBLOCK, &sid), s;

	client.transport.attached = false;
	client_lock();
	s = 0;
	struct csock *k = fd_csock(l, &s);

	/* As if attached: else nothing is remembered. */
	client.transport.attached = true;
	option_keep(k, &(struct chan_sqe){.opt = {SOL_SOCKET, SO_REUSEADDR, {1}}, .len = 4});
	option_keep(k, &(struct chan_sqe){.opt = {IPPROTO_IP, IP_TTL, {8}}, .len = 4});
	option_keep(k, &(struct chan_sqe){.opt = {IPPROTO_IP, IP_TTL, {9}}, .len = 4});
	client.transport.attached = false;
	client_unlock();
	restart(1);
	assert_int_equal(fake_count(c, CHAN_OP_SOCKET), 1);
	assert_int_equal(fake_count(c, CHAN_OP_SETOPT), 2);
	assert_int_equal(fake_last(c, CHAN_OP_SETOPT)->opt.value[0], ttl);
	assert_int_equal(fake_last(c, CHAN_OP_BIND)->port, 80);
	assert_int_equal(fake_last(c, CHAN_OP_LISTEN)->arg[0], 16);
	assert_int_equal(c->tickets_bad, 0);
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
	sid = 1;
	sock_event(say_accept);
	assert_true(zs_accept(l, NULL, NULL) >= 0);
	assert_int_equal(zs_setsockopt(l, IPPROTO_IP, IP_TTL, &on, sizeof(on)), 0);
}

static void announced_connections_vanish(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid);
	struct pollfd p = {.fd = l, .events = POLLIN};

	sock_event(say_accept);
	assert_int_equal(zs_poll(&p, 1, 1000), 1);
	restart(1);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
	sid = 1;
	sock_event(say_accept);
	assert_int_equal(zs_poll(&p, 1, 1000), 1);
	assert_true(zs_accept(l, NULL, NULL) >= 0);
}

/* The other process was first, and somebody has connected since: that is told once. */
static void joined_listener_is_asked_for_what_waits(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), err;
	struct pollfd p = {.fd = l, .events = POLLIN};
	struct zs_stats stats;
	struct csock *s;

	client_lock();
	s = fd_csock(l, &err);
	s->flags |= CSOCK_BOUND | CSOCK_JOINT;
	csock_opts(s, 0)->key = 77;
	client_unlock();
	fake.join_waits = true;
	restart(1);
	assert_int_equal(fake_last(&fake.core[0], CHAN_OP_JOIN)->off, 77);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLIN);
	assert_int_equal(zs_stats(&stats, sizeof(stats)), 0);
	assert_int_equal(stats.bad_events, 0);
}

static void connection_is_reset_behind_its_data(void **state)
{
	int fd = fake_connection(0, &sid);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	sock_event(say_data);
	assert_int_equal(zs_poll(&p, 1, 1000), 1);
	restart(1);
	restart(1);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLIN | POLLERR | POLLHUP);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -ECONNRESET);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 0);
	assert_int_equal(zs_write(fd, "x", 1), -EPIPE);
	assert_null(client.gone);
	assert_int_equal(fake_count(&fake.core[0], CHAN_OP_SOCKET), 0);
	assert_int_equal(zs_close(fd), 0);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLNVAL);
}

static void options_of_a_broken_connection_are_asked_of_a_new_socket(void **state)
{
	int fd = fake_connection(0, &sid), v = 0;
	socklen_t len = sizeof(v);

	restart(1);
	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	assert_int_equal(v, 77);
	assert_int_equal(fake_count(&fake.core[0], CHAN_OP_SOCKET), 1);
	assert_int_equal(zs_close(fd), 0);
	zs_process(0);
	assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, 0), fd);
}

static void edge_is_told_of_the_reset(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};

	zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 0);
	lose();
	assert_int_equal(zs_epoll_wait(ep, &e, 1, 0), 1);
	assert_true(e.events & EPOLLERR);
	come(1);
}

static void datagrams_and_sends_survive(void **state)
{
	int fd = udp(99), first;
	struct sockaddr_in to = fake_addr(5);
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};

	zs_fcntl(fd, F_SETFL, O_NONBLOCK);
	sock_event(say_dgram);
	first = zs_poll(&p, 1, 1000);
	assert_int_equal(first, 1);
	while ((p.revents & POLLIN) == 0)
		zs_poll(&p, 1, 10);
	lose();
	assert_int_equal(zs_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), -EAGAIN);
	p.events = POLLOUT;
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	come(1);
	assert_int_equal(fake_last(&fake.core[0], CHAN_OP_BIND)->port, 99);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(zs_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "datagram", 8);
}

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(zs_poll(&p, 1, 1000), 1);
}

/* The next service gives the same names again. */
static void held_buffer_stays_and_is_sent_as_a_copy(void **state)
{
	int fd = udp(99);
	struct sockaddr_in to = fake_addr(5);
	struct zs_buf old, new, own;
	struct zs_stats st;

	assert_int_equal(zs_buf_alloc(-1, 100, &own), 0);
	memcpy(own.data, "mine", 4);
	sock_event(say_dgram);
	wait_readable(fd);
	assert_int_equal(zs_recvfrom_zc(fd, &old, 1, 0, NULL, NULL), 1);
	restart(1);
	sid = 1;
	sock_event(say_dgram);
	wait_readable(fd);
	assert_int_equal(zs_recvfrom_zc(fd, &new, 1, 0, NULL, NULL), 1);
	assert_int_not_equal(old.handle, new.handle);
	assert_int_equal((uint32_t)old.handle, (uint32_t) new.handle);
	assert_memory_equal(old.data, "datagram", 8);
	assert_non_null(client.gone);
	client.stats.api_copied_bytes = 0;
	assert_int_equal(zs_buf_ref(&old), 0);
	assert_int_equal(zs_sendto_zc(fd, &old, 1, 0, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	assert_int_equal(client.stats.api_copied_bytes, 8);
	assert_int_equal(zs_sendto_zc(fd, &own, 1, 0, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	assert_int_equal(client.stats.api_copied_bytes, 8);
	assert_int_equal(zs_buf_release(&old, 1), 0);
	assert_null(client.gone);
	assert_int_equal(zs_buf_release(&old, 1), -EINVAL);
	assert_int_equal(zs_buf_release(&new, 1), 0);
	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	assert_int_equal(st.lent_buffers, 0);
	assert_int_equal(st.bad_events, 0);
}

static void sends_in_flight_come_home(void **state)
{
	int fd = fake_connection(0, &sid);
	struct core *c = &client.core[0];
	struct zs_buf b;
	uint64_t cookie;

	fake.keep_tokens = true;
	assert_int_equal(zs_buf_alloc(fd, 1000, &b), 0);
	assert_int_equal(zs_send_zc(fd, &b, 1, 4711, 0), 1);
	assert_int_equal(zs_write(fd, "abc", 3), 3);
	assert_int_equal(c->tokens_left, c->max_tokens - 2);
	restart(1);
	assert_int_equal(c->tokens_left, c->max_tokens);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 1);
	assert_int_equal(cookie, 4711);
	assert_int_equal(zs_buf_release(&b, 1), -EINVAL);
	assert_int_equal(zs_close(fd), 0);
	client_lock();
	for (unsigned i = 0; i < SPARE_CLASSES; i++)
		while (c->spare[i].n > 0)
			assert_int_equal(
				arena_free(&c->arena, (uint64_t)c->spare[i].unit[--c->spare[i].n] *
							      BLOCK_UNIT),
				0);
	client_unlock();
	assert_int_equal(c->arena.used_bytes, 0);
}

static void what_is_closed_in_between_is_gone(void **state)
{
	int l = fake_listener(0, &sid), u = udp(7), fd = fake_connection(0, &sid);

	lose();
	assert_int_equal(zs_close(l), 0);
	assert_int_equal(zs_close(u), 0);
	assert_int_equal(zs_close(fd), 0);
	come(1);
	assert_int_equal(fake.core[0].n_log, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(zs_socket(AF_INET, SOCK_STREAM, 0), i);
	assert_int_equal(client.top[0], 4); /* sids begin at 1 */
}

/* Once a connection is about to be given back. */
static void *lose_amid_unaccept(void *arg)
{
	unsigned said = 0;

	(void)arg;
	while (said == 0) {
		pthread_mutex_lock(&fake.lock);
		said = fake_count(&fake.core[0], CHAN_OP_UNACCEPT);
		pthread_mutex_unlock(&fake.lock);
		usleep(1000);
	}
	lose();
	return NULL;
}

/* A fork gives back what was announced to its listener; with the service that goes the connection
 * goes once. */
static void what_is_given_back_when_the_service_goes_is_freed_once(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), err;
	struct pollfd p = {.fd = l, .events = POLLIN};
	pthread_t t;

	sock_event(say_accept);
	sock_event(say_accept);
	assert_int_equal(zs_poll(&p, 1, 1000), 1);
	fake.keep_unaccepts = true;
	assert_int_equal(pthread_create(&t, NULL, lose_amid_unaccept, NULL), 0);
	client_lock();
	fork_share(fd_csock(l, &err), 1);
	client_unlock();
	pthread_join(t, NULL);
	come(1);
	sid = 1;
	for (int i = 0; i < 3; i++)
		sock_event(say_accept);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(zs_accept(l, NULL, NULL), l + i);
	fake.result[CHAN_OP_ACCEPT] = -EAGAIN;
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
}

static void *late(void *arg)
{
	(void)arg;
	usleep(20000);
	come(1);
	return NULL;
}

static void calls_wait_for_the_service(void **state)
{
	struct sockaddr_in at = fake_addr(81);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);
	pthread_t t;

	lose();
	assert_int_equal(zs_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&at, sizeof(at)), -ENETDOWN);
	pthread_create(&t, NULL, late, NULL);
	assert_int_equal(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(fake_last(&fake.core[0], CHAN_OP_BIND)->port, 81);
	pthread_join(t, NULL);
}

static void port_that_is_refused_is_told(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), err = 0;
	socklen_t len = sizeof(err);

	lose();
	fake.result[CHAN_OP_BIND] = -EADDRNOTAVAIL;
	come(1);
	assert_int_equal(zs_getsockopt(l, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	assert_int_equal(err, EADDRNOTAVAIL);
	restart(1);
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
	assert_int_equal(fake_count(&fake.core[0], CHAN_OP_LISTEN), 1);
}

static void sockets_move_when_cores_are_fewer_or_more(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), u = udp(99);
	static const unsigned cores[] = {1, 3, 2, 4, 1};

	for (unsigned k = 0; k < array_size(cores); k++) {
		restart(cores[k]);
		for (unsigned i = 0; i < cores[k]; i++) {
			assert_int_equal(fake_count(&fake.core[i], CHAN_OP_SOCKET), 2);
			assert_int_equal(fake_count(&fake.core[i], CHAN_OP_BIND), 2);
			assert_int_equal(fake_count(&fake.core[i], CHAN_OP_LISTEN), 1);
			assert_int_equal(fake.core[i].tickets_bad, 0);
		}
		sid = fake_last(&fake.core[0], CHAN_OP_LISTEN)->sid;
		sock_event(say_accept);
		wait_readable(l);
		assert_true(zs_accept(l, NULL, NULL) >= 0);
		sid = sid == 1 ? 2 : 1;
		sock_event(say_dgram);
		wait_readable(u);
		assert_int_equal(zs_recv(u, buf, sizeof(buf), 0), 8);
	}
	assert_int_equal(client.stats.bad_events, 0);
}

static void memberships_add_up(void **state)
{
	int fd = udp(99), err;
	struct chan_sqe join = {.opt = {IPPROTO_IP, IP_ADD_MEMBERSHIP, {224, 0, 0, 1}}, .len = 8};
	struct chan_sqe leave = {.opt = {IPPROTO_IP, IP_DROP_MEMBERSHIP, {224, 0, 0, 1}}, .len = 8};
	struct csock *s;

	client_lock();
	s = fd_csock(fd, &err);
	client.transport.attached = true;
	option_keep(s, &join);
	option_keep(s, &join);
	join.opt.value[3] = 2;
	option_keep(s, &join);
	assert_int_equal(s->opts->n, 2);
	option_keep(s, &leave);
	assert_int_equal(s->opts->n, 1);
	option_keep(s, &leave);
	assert_int_equal(s->opts->n, 1);
	assert_int_equal(s->opts->opt[0].value[3], 2);
	client.transport.attached = false;
	client_unlock();
}

#define T(f)	 cmocka_unit_test_setup_teardown(f, setup, teardown)
#define THREE(f) cmocka_unit_test_setup_teardown(f, setup_three, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(listener_is_made_again_with_its_options),
		T(joined_listener_is_asked_for_what_waits),
		T(announced_connections_vanish),
		T(connection_is_reset_behind_its_data),
		T(options_of_a_broken_connection_are_asked_of_a_new_socket),
		T(edge_is_told_of_the_reset),
		T(datagrams_and_sends_survive),
		T(held_buffer_stays_and_is_sent_as_a_copy),
		T(sends_in_flight_come_home),
		T(what_is_closed_in_between_is_gone),
		T(what_is_given_back_when_the_service_goes_is_freed_once),
		T(calls_wait_for_the_service),
		T(port_that_is_refused_is_told),
		THREE(sockets_move_when_cores_are_fewer_or_more),
		T(memberships_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
