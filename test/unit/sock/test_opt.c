/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options, TCP_INFO and dumps.
 */
#include "sock_test.h"

#include <linux/tcp.h>

static int roundtrip(struct host *h, uint32_t sid, int level, int name, int value)
{
	int got = -12345, err = set_int(h, sid, level, name, value);

	if (err != 0)
		return err;
	assert_int_equal(get_int(h, sid, level, name, &got), 4);
	assert_int_equal(got, value);
	return 0;
}

static void tcp_options_are_kept_before_and_after_connect(void **state)
{
	static const int opts[][3] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{SOL_SOCKET, SO_REUSEADDR, 1},
		{SOL_SOCKET, SO_REUSEPORT, 1},
		{SOL_SOCKET, SO_OOBINLINE, 1},
		{SOL_SOCKET, SO_RCVBUF, 100000},
		{SOL_SOCKET, SO_SNDBUF, 100000},
		{SOL_SOCKET, SO_DONTROUTE, 1},
		{SOL_SOCKET, SO_PRIORITY, 3},
		{SOL_SOCKET, SO_MARK, 4},
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_CORK, 1},
		{IPPROTO_TCP, TCP_CORK, 0},
		{IPPROTO_TCP, TCP_QUICKACK, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 50},
		{IPPROTO_TCP, TCP_KEEPINTVL, 5},
		{IPPROTO_TCP, TCP_KEEPCNT, 4},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 9000},
		{IPPROTO_TCP, TCP_LINGER2, 30},
		{IPPROTO_IP, IP_TOS, 0x10},
		{IPPROTO_IP, IP_TTL, 33},
		{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 34},
		{IPPROTO_IP, IP_FREEBIND, 1},
	};
	int v;

	connected_pair();
	uint32_t fresh = make_socket(A, AF_INET, SOCK_STREAM);

	for (size_t i = 0; i < array_size(opts); i++) {
		assert_int_equal(roundtrip(A, fresh, opts[i][0], opts[i][1], opts[i][2]), 0);
		assert_int_equal(roundtrip(A, client, opts[i][0], opts[i][1], opts[i][2]), 0);
	}
	assert_int_equal(roundtrip(A, fresh, IPPROTO_TCP, TCP_MAXSEG, 1000), 0);
	assert_int_equal(get_int(A, client, IPPROTO_TCP, TCP_MAXSEG, &v), 4);
	assert_in_range(v, 500, 1460);
}

static void impossible_values_are_refused(void **state)
{
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

	assert_int_equal(set_int(A, s, IPPROTO_TCP, TCP_KEEPIDLE, 0), -EINVAL);
	assert_int_equal(set_int(A, s, IPPROTO_TCP, TCP_MAXSEG, 10), -EINVAL);
	assert_int_equal(set_int(A, s, IPPROTO_IP, IP_TTL, 256), -EINVAL);
	assert_int_equal(set_int(A, s, IPPROTO_IPV6, IPV6_V6ONLY, 1), -ENOPROTOOPT);
	assert_int_equal(set_int(A, s, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
	assert_int_equal(set_int(A, s, SOL_SOCKET, 9999, 1), -ENOPROTOOPT);
	assert_int_equal(set_int(A, s, 77, 1, 1), -ENOPROTOOPT);
	assert_int_equal(set_int(A, s, IPPROTO_IP, IP_MULTICAST_TTL, 1), -ENOPROTOOPT);
}

static void options_tell_what_a_socket_is(void **state)
{
	int v;

	connected_pair();
	assert_int_equal(get_int(B, listener, SOL_SOCKET, SO_ACCEPTCONN, &v), 4);
	assert_int_equal(v, 1);
	assert_int_equal(get_int(B, server, SOL_SOCKET, SO_ACCEPTCONN, &v), 4);
	assert_int_equal(v, 0);
	assert_int_equal(get_int(B, server, SOL_SOCKET, SO_TYPE, &v), 4);
	assert_int_equal(v, SOCK_STREAM);
	assert_int_equal(get_int(B, server, SOL_SOCKET, SO_PROTOCOL, &v), 4);
	assert_int_equal(v, IPPROTO_TCP);
	assert_int_equal(get_int(A, client, SOL_SOCKET, SO_DOMAIN, &v), 4);
	assert_int_equal(v, AF_INET);
	assert_int_equal(get_int(A, client, IPPROTO_IP, IP_MTU, &v), 4);
	assert_int_equal(v, 1500);
}

static void dontroute_reaches_neighbours_only(void **state)
{
	struct ip_addr far = ip_addr_v4(be32(0xc0000201));
	struct ip_route by_gw = {.gateway = v4(2)};
	uint32_t s = make_socket(A, AF_INET, SOCK_DGRAM), t = make_socket(A, AF_INET, SOCK_STREAM);
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, s, &far, 53);
	struct chan_cqe e;

	by_gw.prefix = ip_addr_v4(be32(0));
	assert_int_equal(ip_route_add(A->ip, &by_gw), 0);
	submit(A, q);
	step(2);
	assert_false(take(A, CHAN_EV_ERROR, s, &e));
	assert_int_equal(set_int(A, s, SOL_SOCKET, SO_DONTROUTE, 1), 0);
	assert_int_equal(set_int(A, t, SOL_SOCKET, SO_DONTROUTE, 1), 0);
	submit(A, q);
	assert_int_equal(await(A, CHAN_EV_ERROR, s, 2).res, -ENETUNREACH);
	assert_int_equal(do_connect(A, t, &far, 80), -ENETUNREACH);
	assert_int_equal(do_connect(A, t, &B->addr, 80), -ECONNREFUSED);
}

static void options_of_listener_are_inherited(void **state)
{
	struct ip_addr any = {0};
	int v;

	listener = make_socket(B, AF_INET, SOCK_STREAM);
	assert_int_equal(set_int(B, listener, IPPROTO_TCP, TCP_KEEPCNT, 7), 0);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 16), 0);
	assert_int_equal(set_int(B, listener, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	client = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(A, client, &B->addr, 80), 0);
	server = await(B, CHAN_EV_ACCEPT, listener, 10).aux;
	assert_int_equal(get_int(B, server, IPPROTO_TCP, TCP_KEEPCNT, &v), 4);
	assert_int_equal(v, 7);
	assert_int_equal(get_int(B, server, IPPROTO_TCP, TCP_NODELAY, &v), 4);
	assert_int_equal(v, 1);
}

/* Linux: also what a send with MSG_MORE held back. */
static void taking_out_the_cork_pushes_what_waits_for_more(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SETOPT, .flags = CHAN_OPT_QUIET, .len = sizeof(int)};
	struct chan_cqe e;

	connected_pair();
	submit(A, (struct chan_sqe){.op = CHAN_OP_SEND,
				    .flags = CHAN_SEND_MORE,
				    .sid = client,
				    .len = 10,
				    .token = 1});
	step(5);
	assert_false(take(B, CHAN_EV_DATA, server, &e));
	q.sid = client;
	q.token = 0x12345;
	q.opt.level = IPPROTO_TCP;
	q.opt.name = TCP_CORK;
	submit(A, q);
	assert_int_equal(await(B, CHAN_EV_DATA, server, 3).res, 10);
	assert_false(take_result(A, q.token, &e));
	/* Nor is an error told. */
	q.opt.name = 9999;
	submit(A, q);
	step(2);
	assert_false(take_result(A, q.token, &e));
}

static void congestion_control_is_chosen_by_name(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SETOPT, .len = 7};
	struct chan_cqe e;

	q.sid = make_socket(A, AF_INET, SOCK_STREAM);
	q.opt.level = IPPROTO_TCP;
	q.opt.name = TCP_CONGESTION;
	memcpy(q.opt.value, "newreno", 7);
	e = call(A, q);
	if (e.res == -ENOENT) { /* known as in Linux */
		memcpy(q.opt.value, "reno", 4);
		q.len = 4;
		e = call(A, q);
	}
	assert_int_equal(e.res, 0);
	memcpy(q.opt.value, "nosuch", 7);
	q.len = 6;
	assert_int_equal(call(A, q).res, -ENOENT);
	q.op = CHAN_OP_GETOPT;
	e = call(A, q);
	assert_int_equal(e.res, 16);
	assert_non_null(strstr((char *)e.data, "reno"));
}

static void tcp_info_is_as_linux_has_it(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_GETOPT, .off = 8192, .len = sizeof(struct tcp_info)};
	struct tcp_info i;
	struct chan_cqe e;

	connected_pair();
	do_send(A, client, 0, 1000, 1);
	give_back(B, await(B, CHAN_EV_DATA, server, 10).loan);
	step(60);
	q.sid = client;
	q.opt.level = IPPROTO_TCP;
	q.opt.name = TCP_INFO;
	e = call(A, q);
	assert_int_equal(e.res, sizeof(i));
	memcpy(&i, (char *)A->end.scratch + 8192, sizeof(i));
	assert_int_equal(i.tcpi_state, 1);
	assert_int_equal(i.tcpi_bytes_acked, 1000);
	assert_int_equal(i.tcpi_unacked, 0);
	assert_in_range(i.tcpi_snd_mss, 1000, 1460);
	assert_in_range(i.tcpi_snd_cwnd, 2, 100);
	assert_true(i.tcpi_options & TCPI_OPT_SACK);
	q.off = CHAN_SCRATCH_BYTES - 10;
	assert_int_equal(call(A, q).res, -EFAULT);
	q.off = 0;
	q.len = 8;
	assert_int_equal(call(A, q).res, 8);
}

/* The whole dump, piece by piece. */
static char *dump(struct host *h, int what, uint32_t len)
{
	static char text[1 << 16];
	uint32_t at = 0, cursor = 0;

	do {
		struct chan_cqe e = call(h, (struct chan_sqe){.op = CHAN_OP_DUMP,
							      .len = len,
							      .arg = {what, (int32_t)cursor}});

		assert_true(e.res >= 0);
		memcpy(text + at, (char *)h->end.scratch, (size_t)e.res);
		at += (uint32_t)e.res;
		cursor = e.aux;
	} while (cursor != 0);
	text[at] = '\0';
	return text;
}

static void sockets_are_dumped_in_pieces(void **state)
{
	char *whole;

	connected_pair();
	for (int i = 0; i < 20; i++) {
		uint32_t s = make_socket(B, AF_INET, SOCK_DGRAM);
		struct ip_addr any = {0};

		assert_int_equal(do_bind(B, s, &any, (uint16_t)(5000 + i)), 0);
	}
	whole = dump(B, CHAN_DUMP_SOCKETS, 65536);
	assert_non_null(strstr(whole, "LISTEN"));
	assert_non_null(strstr(whole, "ESTABLISHED"));
	assert_non_null(strstr(whole, "10.0.0.2:80"));
	assert_non_null(strstr(whole, "*:5019"));
	char copy[1 << 16];

	strcpy(copy, whole);
	assert_string_equal(dump(B, CHAN_DUMP_SOCKETS, 600), copy);
}

static void closing_connections_are_dumped_too(void **state)
{
	connected_pair();
	cut = true;
	assert_int_equal(do_close(A, client, -1), 0);
	assert_non_null(strstr(dump(A, CHAN_DUMP_SOCKETS, 65536), "FIN-WAIT-1"));
}

static void counters_are_dumped_by_name(void **state)
{
	char *text;

	connected_pair();
	A->drops.n[DROP_UDP_CSUM] = 3;
	text = dump(A, CHAN_DUMP_COUNTERS, 1024);
	assert_non_null(strstr(text, "tcp_active_opens 1\n"));
	assert_non_null(strstr(text, "\nsock_bad_commands 0\n"));
	assert_non_null(strstr(text, "\ndrop_udp_csum 3 # bad UDP checksum\n"));
	assert_non_null(strstr(text, "\ndrop_shutdown 0\n"));
}

static void dump_outside_the_scratch_area_is_refused(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_DUMP, .off = UINT64_MAX - 10, .len = 4096};

	assert_int_equal(call(A, q).res, -EFAULT);
	q.off = 0;
	q.len = 100;
	assert_int_equal(call(A, q).res, -ENOSPC);
	q.len = 4096;
	q.arg[0] = CHAN_DUMP_NEIGH;
	assert_int_equal(call(A, q).res, -EINVAL);
}

static void addresses_are_told_with_their_prefixes(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_ADDRS, .off = 64, .len = 4096};
	struct chan_addr *a = (struct chan_addr *)((char *)A->end.scratch + 64);
	struct chan_cqe e = call(A, q);
	bool v4 = false, v6 = false;

	assert_in_range(e.res, 2, 8);
	assert_int_equal(e.aux, 0);
	for (int i = 0; i < e.res; i++) {
		assert_int_equal(a[i].ifindex, 0);
		assert_int_equal(a[i].mtu, ip_if_mtu(A->ip, 0));
		assert_int_equal(a[i].flags, 0);
		v4 |= memcmp(a[i].addr, &A->addr, 16) == 0 && a[i].prefix_len == 96 + 24;
		v6 |= memcmp(a[i].addr, &A->addr6, 16) == 0 && a[i].prefix_len == 64;
	}
	assert_true(v4 && v6);
	/* What has no room is counted, not written. */
	memset(a, 0xee, 64);
	q.len = sizeof(*a);
	assert_int_equal(call(A, q).res, e.res);
	assert_int_equal(((uint8_t *)(a + 1))[0], 0xee);
	q.off = UINT64_MAX - 10;
	assert_int_equal(call(A, q).res, -EFAULT);
}

static void default_routes_are_told_by_family(void **state)
{
	struct ip_route r = {.prefix = ip_addr_v4((be32_t){0}), .gateway = B->addr};
	struct chan_sqe q = {.op = CHAN_OP_ADDRS};

	assert_int_equal(ip_route_add(A->ip, &r), 0);
	assert_int_equal(call(A, q).aux, CHAN_ROUTE_V4);
	r = (struct ip_route){.gateway = B->addr6};
	assert_int_equal(ip_route_add(A->ip, &r), 0);
	assert_int_equal(call(A, q).aux, CHAN_ROUTE_V4 | CHAN_ROUTE_V6);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tcp_options_are_kept_before_and_after_connect),
		T(impossible_values_are_refused),
		T(options_tell_what_a_socket_is),
		T(dontroute_reaches_neighbours_only),
		T(options_of_listener_are_inherited),
		T(taking_out_the_cork_pushes_what_waits_for_more),
		T(congestion_control_is_chosen_by_name),
		T(tcp_info_is_as_linux_has_it),
		T(sockets_are_dumped_in_pieces),
		T(addresses_are_told_with_their_prefixes),
		T(default_routes_are_told_by_family),
		T(closing_connections_are_dumped_too),
		T(counters_are_dumped_by_name),
		T(dump_outside_the_scratch_area_is_refused),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
