/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets over UDP, through the channel.
 */
#include "sock_test.h"

static uint32_t a, b; /* a socket of A, one of B at port 53 */

static void two_sockets(void)
{
	struct ip_addr any = {0};

	a = make_socket(A, AF_INET6, SOCK_DGRAM);
	b = make_socket(B, AF_INET6, SOCK_DGRAM);
	assert_int_equal(do_bind(B, b, &any, 53), 0);
}

static void fill(struct host *h, uint64_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)h->map.arena)[off + i] = (uint8_t)(i * 3 + i / 256);
}

static void send_to(uint64_t off, uint32_t len, uint32_t token, uint8_t flags)
{
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, a, &B->addr, 53);

	q.off = off;
	q.len = len;
	q.token = token;
	q.flags = flags;
	submit(A, q);
}

/* Receives one datagram of the pattern, len bytes, in however many pieces. */
static struct chan_cqe receive(struct host *h, uint32_t sid, uint32_t len)
{
	uint32_t got = 0;
	struct chan_cqe e;

	do {
		e = await(h, CHAN_EV_DGRAM, sid, 20);
		if (e.res == 0)
			break;
		const uint8_t *p = bytes_of(h, &e);

		for (int32_t i = 0; i < e.res; i++, got++)
			assert_int_equal(p[i], (uint8_t)(got * 3 + got / 256));
		give_back(h, e.loan);
	} while (e.flags & CHAN_CQ_MORE);
	assert_int_equal(got, len);
	return e;
}

static void datagram_arrives_with_its_addresses(void **state)
{
	struct chan_cqe e;

	two_sockets();
	fill(A, 0, 100);
	send_to(0, 100, 4, 0);
	e = receive(B, b, 100);
	assert_memory_equal(e.addr, &A->addr, 16);
	assert_memory_equal(e.laddr, &B->addr, 16);
	assert_int_equal(e.lport, 53);
	assert_in_range(e.port, 32768, 60999);
	assert_true(took_token(A, 4));
	assert_int_equal(e.aux, CHAN_DGRAM_AUX(0, 64, 0));
}

/* RFC 3542 §6.2: the application chooses the own address. */
static void datagram_comes_from_the_address_that_is_named(void **state)
{
	struct chan_sqe q;

	two_sockets();
	fill(A, 0, 100);
	q = with_addr(CHAN_OP_SENDTO, a, &B->addr, 53);
	q.len = 100;
	q.token = 4;
	q.flags = CHAN_SEND_FROM;
	memcpy(q.from, A->addr.b + 4, sizeof(q.from));
	submit(A, q);
	assert_memory_equal(receive(B, b, 100).addr, &A->addr, 16);
	assert_true(took_token(A, 4));
	q.token = 5;
	memcpy(q.from, B->addr.b + 4, sizeof(q.from));
	submit(A, q);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EINVAL);
	assert_true(took_token(A, 5));
}

static void empty_datagram_arrives(void **state)
{
	struct chan_cqe e;

	two_sockets();
	send_to(0, 0, 4, 0);
	e = await(B, CHAN_EV_DGRAM, b, 5);
	assert_int_equal(e.res, 0);
	assert_int_equal(e.loan, LOAN_NONE);
	assert_true(took_token(A, 4));
}

static void pieces_make_one_datagram(void **state)
{
	two_sockets();
	fill(A, 0, 3000);
	send_to(0, 1000, 1, CHAN_SEND_PART);
	send_to(1000, 1000, 2, CHAN_SEND_PART);
	step(2);
	assert_false(took_token(A, 1));
	send_to(2000, 1000, 3, 0);
	receive(B, b, 3000);
	assert_true(took_token(A, 1) && took_token(A, 2) && took_token(A, 3));
}

static void largest_datagram_arrives_and_larger_fails(void **state)
{
	struct chan_cqe e;

	two_sockets();
	fill(A, 0, 65536);
	send_to(0, 65507, 1, 0);
	receive(B, b, 65507);
	send_to(0, 65508, 2, 0);
	e = await(A, CHAN_EV_ERROR, a, 5);
	assert_int_equal(e.res, -EMSGSIZE);
	assert_int_equal(e.flags, 0);
	assert_true(took_token(A, 1) && took_token(A, 2));
	send_to(0, 65507, 1, CHAN_SEND_PART);
	send_to(0, 100, 2, 0);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EMSGSIZE);
	assert_true(took_token(A, 1) && took_token(A, 2));
	send_to(0, 100, 3, 0);
	receive(B, b, 100);
}

static void connected_socket_hears_its_peer_only(void **state)
{
	uint32_t other;
	struct chan_cqe e;

	two_sockets();
	assert_int_equal(do_connect(A, a, &B->addr, 53), 0);
	fill(A, 0, 10);
	do_send(A, a, 0, 10, 1);
	e = receive(B, b, 10);
	uint16_t port = e.port;

	/* The answer arrives, a stranger's datagram does not. */
	fill(B, 0, 20);
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, b, &A->addr, port);

	q.len = 20;
	submit(B, q);
	receive(A, a, 20);
	other = make_socket(B, AF_INET, SOCK_DGRAM);
	q.sid = other;
	submit(B, q);
	step(3);
	assert_false(take(A, CHAN_EV_DGRAM, a, &e));
	assert_int_equal(last_udp, NEXT_UNREACH_PORT);
	/* Without the peer again, and without the port that nobody asked for. */
	struct ip_addr none = {0};

	assert_int_equal(do_connect(A, a, &none, 0), 0);
	last_udp = NEXT_CONSUMED;
	submit(B, q);
	step(3);
	assert_false(take(A, CHAN_EV_DGRAM, a, &e));
	assert_int_equal(last_udp, NEXT_UNREACH_PORT);
	do_send(A, a, 0, 10, 1);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EDESTADDRREQ);
	assert_true(took_token(A, 1));
}

/* connect(2), AF_UNSPEC: what the program has bound stays so, and hears everybody again. */
static void a_bound_socket_without_its_peer_hears_everybody(void **state)
{
	struct ip_addr none = {0}, any = ip_addr_v4(be32(0)), stranger = v4(77);
	struct chan_sqe q;

	two_sockets();
	assert_int_equal(do_bind(A, a, &any, 5353), 0);
	assert_int_equal(do_connect(A, a, &stranger, 53), 0);
	assert_int_equal(do_connect(A, a, &none, 0), 0);
	q = with_addr(CHAN_OP_SENDTO, b, &A->addr, 5353);
	q.len = 20;
	fill(B, 0, 20);
	submit(B, q);
	receive(A, a, 20);
}

/* RFC 1122 §4.1.3.3 */
static void port_unreachable_is_told_to_a_connected_socket(void **state)
{
	struct icmp_error err = {.proto = IPPROTO_UDP, .err = ECONNREFUSED, .hard = true};
	struct chan_cqe e;

	two_sockets();
	e = call(A, with_addr(CHAN_OP_CONNECT, a, &B->addr, 77));
	assert_int_equal(e.res, 0);
	err.src = A->addr;
	err.dst = B->addr;
	err.sport = e.lport;
	err.dport = 77;
	socks_icmp_error(A->socks, &err);
	step(1);
	e = await(A, CHAN_EV_ERROR, a, 2);
	assert_int_equal(e.res, -ECONNREFUSED);
	assert_int_equal(e.flags, 0);
	/* About no flow of ours. */
	err.dport = 78;
	socks_icmp_error(A->socks, &err);
	step(1);
	assert_false(take(A, CHAN_EV_ERROR, a, &e));
	assert_int_equal(A->drops.n[DROP_ICMP_UNMATCHED], 1);
}

static void receive_buffer_bounds_what_waits_and_is_lent(void **state)
{
	uint32_t loans[256], n = 0;
	struct chan_cqe e;

	two_sockets();
	assert_int_equal(set_int(B, b, SOL_SOCKET, SO_RCVBUF, 30000), 0);
	for (uint32_t i = 0; i < 40; i++) {
		send_to(0, 100, i, 0);
		step(1);
	}
	while (take(B, CHAN_EV_DGRAM, b, &e))
		loans[n++] = e.loan;
	assert_in_range(n, 5, 20);
	assert_int_equal(B->drops.n[DROP_UDP_QUEUE_FULL], 40 - n);
	while (n != 0)
		give_back(B, loans[--n]);
	step(1);
	send_to(0, 100, 0, 0);
	give_back(B, await(B, CHAN_EV_DGRAM, b, 5).loan);
}

/* H34 */
static void datagrams_wait_for_room_in_order(void **state)
{
	two_sockets();
	B->hold_cq = true;
	for (uint32_t i = 0; i < 60; i++) {
		((uint8_t *)A->map.arena)[i * 64] = (uint8_t)i;
		send_to(i * 64, 1, i, 0);
		step(1);
	}
	assert_true(B->socks->n.events_delayed > 0);
	B->hold_cq = false;
	for (uint32_t i = 0; i < 60; i++) {
		struct chan_cqe e = await(B, CHAN_EV_DGRAM, b, 5);

		assert_int_equal(bytes_of(B, &e)[0], i);
		give_back(B, e.loan);
	}
}

static void lent_datagram_is_sent_on(void **state)
{
	struct chan_cqe e;
	struct chan_sqe q;

	two_sockets();
	fill(A, 0, 500);
	send_to(0, 500, 1, 0);
	e = await(B, CHAN_EV_DGRAM, b, 5);
	q = with_addr(CHAN_OP_SEND_LOAN, b, &A->addr, e.port);
	q.loan = e.loan;
	q.len = 500;
	q.token = 9;
	submit(B, q);
	receive(A, a, 500);
	give_back(B, e.loan);
	assert_true(took_token(B, 9));
}

static void broadcast_needs_permission(void **state)
{
	struct ip_addr all = ip_addr_v4(be32(0x0a0000ff));
	struct chan_sqe q;

	two_sockets();
	q = with_addr(CHAN_OP_SENDTO, a, &all, 53);
	q.len = 10;
	submit(A, q);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EACCES);
	assert_true(took_token(A, 0));
	assert_int_equal(set_int(A, a, SOL_SOCKET, SO_BROADCAST, 1), 0);
	submit(A, q);
	struct chan_cqe e;

	step(3);
	assert_false(take(A, CHAN_EV_ERROR, a, &e));
}

static int member(struct host *h, uint32_t sid, int name, uint32_t group)
{
	struct chan_sqe q = {.op = CHAN_OP_SETOPT, .sid = sid, .len = sizeof(struct ip_mreq)};
	be32_t g = be32(group);

	q.opt.level = IPPROTO_IP;
	q.opt.name = (int16_t)name;
	memcpy(q.opt.value, &g, 4);
	return call(h, q).res;
}

static void groups_are_joined_and_left(void **state)
{
	struct ip_addr group = ip_addr_v4(be32(0xe0010203));
	struct chan_sqe q;
	struct chan_cqe e;
	int v;

	two_sockets();
	assert_int_equal(member(B, b, IP_ADD_MEMBERSHIP, 0xe0010203), 0);
	assert_int_equal(member(B, b, IP_ADD_MEMBERSHIP, 0xe0010203), -EADDRINUSE);
	assert_int_equal(member(B, b, IP_ADD_MEMBERSHIP, 0x0a000003), -EINVAL);
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_MULTICAST_TTL, 5), 0);
	q = with_addr(CHAN_OP_SENDTO, a, &group, 53);
	q.len = 10;
	fill(A, 0, 10);
	submit(A, q);
	e = receive(B, b, 10);
	assert_int_equal(e.aux, CHAN_DGRAM_AUX(0, 5, 0));
	assert_memory_equal(e.laddr, &group, 16);
	assert_int_equal(member(B, b, IP_DROP_MEMBERSHIP, 0xe0010203), 0);
	assert_int_equal(member(B, b, IP_DROP_MEMBERSHIP, 0xe0010203), -EADDRNOTAVAIL);
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_MULTICAST_LOOP, 0), 0);
	assert_int_equal(get_int(A, a, IPPROTO_IP, IP_MULTICAST_LOOP, &v), 4);
	assert_int_equal(v, 0);
	assert_int_equal(set_int(A, a, IPPROTO_IPV6, IPV6_MULTICAST_IF, 1), 0);
	submit(A, q);
	step(2);
}

static int source(struct host *h, uint32_t sid, uint8_t what, uint32_t group, uint32_t from)
{
	struct ip_addr g = ip_addr_v4(be32(group)), s = ip_addr_v4(be32(from));
	struct chan_sqe q = {.op = CHAN_OP_SOURCE, .sid = sid, .flags = what};

	memcpy(q.data, &g, sizeof(g));
	memcpy(q.data + sizeof(g), &s, sizeof(s));
	return call(h, q).res;
}

/* RFC 3678 §4: from the link, too; and a socket that has joined nothing hears what the host does.
 */
static void sources_of_a_group_are_chosen(void **state)
{
	uint32_t a4 = make_socket(A, AF_INET, SOCK_DGRAM), b4 = make_socket(B, AF_INET, SOCK_DGRAM),
		 from = be32_host(A->addr.w[3]);
	struct ip_addr group = ip_addr_v4(be32(0xe0010203)), any = ip_addr_v4(be32(0));
	struct chan_sqe q;
	struct chan_cqe e;

	assert_int_equal(do_bind(B, b4, &any, 53), 0);
	q = with_addr(CHAN_OP_SENDTO, a4, &group, 53);
	q.len = 10;
	fill(A, 0, 10);
	assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0xe0010203, from), 0);
	submit(A, q);
	receive(B, b4, 10);
	assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0xe0010203, from + 77), 0);
	assert_int_equal(source(B, b4, CHAN_SOURCE_LEAVE, 0xe0010203, from), 0);
	submit(A, q);
	step(5);
	assert_false(take(B, CHAN_EV_DGRAM, b4, &e));
	assert_int_equal(member(B, b4, IP_DROP_MEMBERSHIP, 0xe0010203), 0);
	assert_int_equal(member(B, b4, IP_ADD_MEMBERSHIP, 0xe0010203), 0);
	assert_int_equal(source(B, b4, CHAN_SOURCE_BLOCK, 0xe0010203, from), 0);
	submit(A, q);
	step(5);
	assert_false(take(B, CHAN_EV_DGRAM, b4, &e));
	assert_int_equal(source(B, b4, CHAN_SOURCE_UNBLOCK, 0xe0010203, from), 0);
	submit(A, q);
	receive(B, b4, 10);
}

/* H32 */
static void sources_that_make_no_sense_are_refused(void **state)
{
	uint32_t b4 = make_socket(B, AF_INET, SOCK_DGRAM), t = make_socket(B, AF_INET, SOCK_STREAM);
	struct chan_sqe q = {.op = CHAN_OP_SOURCE, .flags = CHAN_SOURCE_JOIN};

	assert_int_equal(source(B, t, CHAN_SOURCE_JOIN, 0xe0010203, 1), -ENOPROTOOPT);
	assert_int_equal(source(B, b4, 0, 0xe0010203, 1), -EINVAL);
	assert_int_equal(source(B, b4, CHAN_SOURCE_UNBLOCK + 1, 0xe0010203, 1), -EINVAL);
	assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0x0a000001, 1), -EINVAL);
	assert_int_equal(source(B, b4, CHAN_SOURCE_LEAVE, 0xe0010203, 1), -EINVAL);
	q.sid = b4;
	assert_int_equal(call(B, q).res, -EINVAL); /* of IPv6 */
	for (uint32_t i = 1; i <= 10; i++)
		assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0xe0010203, i), 0);
	assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0xe0010203, 11), -ENOBUFS);
	assert_int_equal(source(B, b4, CHAN_SOURCE_JOIN, 0xe0010203, 10), -ENOBUFS);
	q = with_addr(CHAN_OP_SOURCE, b4, &B->addr, 9999);
	q.flags = CHAN_SOURCE_JOIN;
	assert_true(call(B, q).res < 0);
}

static void datagram_to_ourselves_arrives(void **state)
{
	struct ip_addr lo = ip_addr_v4(be32(0x7f000001));
	struct chan_sqe q;
	struct chan_cqe e;
	uint32_t s;

	two_sockets();
	s = make_socket(B, AF_INET, SOCK_DGRAM);
	fill(B, 0, 5000);
	q = with_addr(CHAN_OP_SENDTO, s, &B->addr, 53);
	q.len = 5000;
	submit(B, q);
	e = receive(B, b, 5000);
	assert_memory_equal(e.addr, &B->addr, 16);
	assert_true(took_token(B, 0));
	memcpy(q.addr, &lo, 16);
	q.len = 0;
	submit(B, q);
	await(B, CHAN_EV_DGRAM, b, 2);
	/* Nobody there: told to who is connected. */
	assert_int_equal(do_connect(B, s, &lo, 54), 0);
	do_send(B, s, 0, 10, 1);
	assert_int_equal(await(B, CHAN_EV_ERROR, s, 2).res, -ECONNREFUSED);
	assert_int_equal(B->socks->n.loop_copied_bytes, 5000);
}

/* RFC 1112 §6.1 */
static void members_on_this_host_get_a_copy_unless_told_not_to(void **state)
{
	struct ip_addr group = ip_addr_v4(be32(0xe0010203));
	struct chan_sqe q;
	struct chan_cqe e;
	uint32_t s, other;
	struct ip_addr any = {0};

	two_sockets();
	other = make_socket(A, AF_INET, SOCK_DGRAM);
	s = make_socket(A, AF_INET6, SOCK_DGRAM);
	assert_int_equal(do_bind(A, s, &any, 53), 0);
	assert_int_equal(member(A, s, IP_ADD_MEMBERSHIP, 0xe0010203), 0);
	assert_int_equal(member(B, b, IP_ADD_MEMBERSHIP, 0xe0010203), 0);
	q = with_addr(CHAN_OP_SENDTO, other, &group, 53);
	q.len = 10;
	fill(A, 0, 10);
	submit(A, q);
	receive(A, s, 10);
	receive(B, b, 10);
	assert_int_equal(set_int(A, other, IPPROTO_IP, IP_MULTICAST_LOOP, 0), 0);
	submit(A, q);
	receive(B, b, 10);
	assert_false(take(A, CHAN_EV_DGRAM, s, &e));
}

static void tos_and_ttl_are_sent(void **state)
{
	two_sockets();
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_TTL, 9), 0);
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_TOS, 0x20), 0);
	send_to(0, 0, 1, 0);
	assert_int_equal(await(B, CHAN_EV_DGRAM, b, 5).aux, CHAN_DGRAM_AUX(0, 9, 0x20));
}

/* RFC 8085 §3.2 */
static void path_mtu_is_kept_when_asked_for(void **state)
{
	two_sockets();
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO), 0);
	send_to(0, 1472, 1, 0);
	give_back(B, await(B, CHAN_EV_DGRAM, b, 5).loan);
	send_to(0, 1473, 1, 0);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EMSGSIZE);
	assert_int_equal(set_int(A, a, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT), 0);
	send_to(0, 1473, 1, 0);
	give_back(B, await(B, CHAN_EV_DGRAM, b, 5).loan);
}

static void v6only_socket_does_not_speak_ipv4(void **state)
{
	uint32_t s = make_socket(A, AF_INET6, SOCK_DGRAM);

	assert_int_equal(set_int(A, s, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
	assert_int_equal(do_connect(A, s, &B->addr, 53), -EINVAL);
	assert_int_equal(do_connect(A, s, &B->addr6, 53), 0);
}

static void shutdown_stops_either_way(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SHUTDOWN, .arg = {SHUT_WR}};

	two_sockets();
	q.sid = a;
	assert_int_equal(call(A, q).res, -ENOTCONN);
	assert_int_equal(do_connect(A, a, &B->addr, 53), 0);
	assert_int_equal(call(A, q).res, 0);
	do_send(A, a, 0, 10, 1);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EPIPE);
	assert_true(took_token(A, 1));
}

static void close_with_pieces_and_waiting_datagrams_frees_all(void **state)
{
	two_sockets();
	send_to(0, 1000, 1, CHAN_SEND_PART);
	send_to(0, 1000, 1, CHAN_SEND_PART); /* a token in use: the datagram is lost */
	step(1);
	assert_int_equal(A->socks->n.tokens_bad + A->socks->n.bad_commands > 0, 1);
	send_to(0, 1000, 2, CHAN_SEND_PART);
	assert_int_equal(do_close(A, a, -1), 0);
	step(1);
	assert_true(took_token(A, 2));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)
static int setup_small(void **state)
{
	setup(state);
	geo.cq_size = 16;
	hosts_up();
	return 0;
}

/* FILTER of n sources, which lie at `at` in A's arena. */
static int filter_from(uint32_t sid, uint8_t what, const struct ip_addr *group, uint64_t at,
		       uint32_t n)
{
	struct chan_sqe q = {.op = CHAN_OP_FILTER, .sid = sid, .flags = what, .port = 1};

	memcpy(q.data, group, sizeof(*group));
	q.off = at;
	q.len = n * (uint32_t)sizeof(*group);
	return call(A, q).res;
}

static void a_filter_names_all_sources_at_once(void **state)
{
	uint32_t b4 = make_socket(A, AF_INET, SOCK_DGRAM);
	struct ip_addr group = ip_addr_v4(be32(0xef010101)), *list = A->map.arena;
	uint64_t bad = A->socks->n.bad_commands, end = A->map.arena_bytes;
	struct chan_sqe q = {.op = CHAN_OP_FILTER, .sid = b4, .port = 1, .len = 512};
	struct chan_cqe e;

	for (unsigned i = 0; i < 70; i++)
		list[i] = v4((uint8_t)(i + 1));
	assert_int_equal(filter_from(b4, CHAN_FILTER_EXCLUDE, &group, 0, 2), -EINVAL);
	assert_int_equal(member(A, b4, IP_ADD_MEMBERSHIP, 0xef010101), 0);
	assert_int_equal(filter_from(b4, CHAN_FILTER_EXCLUDE, &group, 0, 2), 0);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, 16, 10), 0);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, 0, 11), -ENOBUFS);
	memcpy(q.data, &group, sizeof(group));
	e = call(A, q);
	assert_int_equal(e.res, 10);
	assert_int_equal(e.aux, CHAN_FILTER_INCLUDE);
	assert_memory_equal(A->end.scratch, &list[1], 160);
	/* What makes no sense, or lies elsewhere. */
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, 0, 65), -EINVAL);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, end - 16, 2), -EINVAL);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, UINT64_MAX - 15, 1), -EINVAL);
	list[0] = A->addr6;
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, 0, 1), -EINVAL);
	q.off = CHAN_SCRATCH_BYTES - 256;
	assert_int_equal(call(A, q).res, -EFAULT);
	assert_int_equal(A->socks->n.bad_commands, bad + 5);
	assert_int_equal(filter_from(b4, 3, &group, 0, 1), -EINVAL);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &A->addr6, 0, 1), -EINVAL);
	assert_int_equal(filter_from(b4, CHAN_FILTER_INCLUDE, &group, 0, 0), 0);
	assert_int_equal(member(A, b4, IP_DROP_MEMBERSHIP, 0xef010101), -EADDRNOTAVAIL);
}

static struct ip_addr group6(uint8_t scope)
{
	return (struct ip_addr){.b = {0xff, scope, [15] = 7}};
}

static struct chan_cqe heard_in(const struct ip_addr *group, uint32_t token)
{
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, a, group, 53);

	q.token = token;
	q.len = 10;
	fill(A, 0, 10);
	submit(A, q);
	return receive(B, b, 10);
}

/* RFC 6724 §5, rule 2: of the interface's addresses that of the group's scope. */
static void group_is_spoken_to_from_the_interface_that_is_named(void **state)
{
	struct ip_ifaddr local = {.addr = {.b = {0xfe, 0x80, [15] = 1}}, .prefix_len = 64};
	struct ip_addr link = group6(2), site = group6(5);

	two_sockets();
	assert_int_equal(ip_addr_add(A->ip, &local), 0);
	assert_int_equal(set_int(A, a, IPPROTO_IPV6, IPV6_MULTICAST_IF, 1), 0);
	assert_memory_equal(heard_in(&link, 1).addr, &local.addr, 16);
	assert_memory_equal(heard_in(&site, 2).addr, &A->addr6, 16);
	assert_int_equal(do_connect(A, a, &link, 53), 0);
	do_send(A, a, 0, 10, 3);
	assert_memory_equal(receive(B, b, 10).addr, &local.addr, 16);
	/* An interface that has no address. */
	assert_int_equal(set_int(A, a, IPPROTO_IPV6, IPV6_MULTICAST_IF, 2), 0);
	assert_int_equal(do_connect(A, make_socket(A, AF_INET6, SOCK_DGRAM), &link, 53), 0);
}

static void to_all_needs_leave(void **state)
{
	struct ip_addr all = ip_addr_v4(be32(0x0a0000ff));
	struct chan_sqe q;

	two_sockets();
	assert_int_equal(do_connect(A, a, &all, 53), -EACCES);
	q = with_addr(CHAN_OP_SENDTO, a, &all, 53);
	q.token = 1;
	submit(A, q);
	assert_int_equal(await(A, CHAN_EV_ERROR, a, 5).res, -EACCES);
	assert_int_equal(set_int(A, a, SOL_SOCKET, SO_BROADCAST, 1), 0);
	assert_int_equal(do_connect(A, a, &all, 53), 0);
	/* A socket is bound to it, and sends from an address of the host's. */
	a = make_socket(A, AF_INET, SOCK_DGRAM);
	assert_int_equal(do_bind(A, a, &all, 53), 0);
	fill(A, 0, 10);
	q = with_addr(CHAN_OP_SENDTO, a, &B->addr, 53);
	q.token = 2;
	q.len = 10;
	submit(A, q);
	assert_memory_equal(receive(B, b, 10).addr, &A->addr, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(datagram_arrives_with_its_addresses),
		T(datagram_comes_from_the_address_that_is_named),
		T(empty_datagram_arrives),
		T(pieces_make_one_datagram),
		T(largest_datagram_arrives_and_larger_fails),
		T(connected_socket_hears_its_peer_only),
		T(a_bound_socket_without_its_peer_hears_everybody),
		T(port_unreachable_is_told_to_a_connected_socket),
		T(receive_buffer_bounds_what_waits_and_is_lent),
		cmocka_unit_test_setup_teardown(datagrams_wait_for_room_in_order, setup_small,
						teardown),
		T(lent_datagram_is_sent_on),
		T(broadcast_needs_permission),
		T(groups_are_joined_and_left),
		T(sources_of_a_group_are_chosen),
		T(sources_that_make_no_sense_are_refused),
		T(datagram_to_ourselves_arrives),
		T(members_on_this_host_get_a_copy_unless_told_not_to),
		T(tos_and_ttl_are_sent),
		T(path_mtu_is_kept_when_asked_for),
		T(v6only_socket_does_not_speak_ipv4),
		T(shutdown_stops_either_way),
		T(close_with_pieces_and_waiting_datagrams_frees_all),
		T(group_is_spoken_to_from_the_interface_that_is_named),
		T(to_all_needs_leave),
		T(a_filter_names_all_sources_at_once),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
