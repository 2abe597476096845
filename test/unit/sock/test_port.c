/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who may bind what: Linux's rules.
 */
#include "sock_test.h"

static const struct ip_addr any6 = {0};

static struct ip_addr any4(void)
{
	return ip_addr_v4(be32(0));
}

/* One socket bound, then another: what the second gets. */
struct want {
	int type, opt1, opt2; /* 0, SO_REUSEADDR, SO_REUSEPORT */
	char addr1, addr2;    /* '4' wildcard, '6' wildcard, 'a' our IPv4, 'b' our IPv6 */
	int v6only;
	int res;
};

static int domain(char c)
{
	return c == '4' || c == 'a' ? AF_INET : AF_INET6;
}

static struct ip_addr address(char c)
{
	return c == '4' ? any4() : c == '6' ? any6 : c == 'a' ? A->addr : A->addr6;
}

static int second_bind(const struct want *w)
{
	uint32_t s[2];
	struct ip_addr a1 = address(w->addr1), a2 = address(w->addr2);
	int res;

	s[0] = make_socket(A, domain(w->addr1), w->type);
	s[1] = make_socket(A, domain(w->addr2), w->type);
	if (w->opt1)
		assert_int_equal(set_int(A, s[0], SOL_SOCKET, w->opt1, 1), 0);
	if (w->opt2)
		assert_int_equal(set_int(A, s[1], SOL_SOCKET, w->opt2, 1), 0);
	if (w->v6only)
		for (int i = 0; i < 2; i++)
			(void)set_int(A, s[i], IPPROTO_IPV6, IPV6_V6ONLY, 1);
	assert_int_equal(do_bind(A, s[0], &a1, 99), 0);
	res = do_bind(A, s[1], &a2, 99);
	assert_int_equal(do_close(A, s[0], -1), 0);
	assert_int_equal(do_close(A, s[1], -1), 0);
	return res;
}

static void second_bind_is_judged_as_in_linux(void **state)
{
	static const struct want table[] = {
		{SOCK_STREAM, 0, 0, '4', '4', 0, -EADDRINUSE},
		{SOCK_STREAM, 0, 0, '4', 'a', 0, -EADDRINUSE},
		{SOCK_STREAM, 0, 0, 'a', '4', 0, -EADDRINUSE},
		{SOCK_STREAM, 0, 0, '4', '6', 0, -EADDRINUSE},
		{SOCK_STREAM, 0, 0, '4', '6', 1, 0},
		{SOCK_STREAM, 0, 0, 'a', 'b', 0, 0},
		{SOCK_STREAM, 0, 0, '6', 'a', 0, -EADDRINUSE},
		{SOCK_STREAM, SO_REUSEADDR, SO_REUSEADDR, '4', '4', 0, 0},
		{SOCK_STREAM, SO_REUSEADDR, 0, '4', '4', 0, -EADDRINUSE},
		{SOCK_STREAM, SO_REUSEADDR, SO_REUSEPORT, '4', '4', 0, -EADDRINUSE},
		{SOCK_STREAM, SO_REUSEPORT, SO_REUSEPORT, '4', '4', 0, 0},
		{SOCK_DGRAM, 0, 0, '4', '4', 0, -EADDRINUSE},
		{SOCK_DGRAM, SO_REUSEADDR, SO_REUSEADDR, '4', '4', 0, 0},
		{SOCK_DGRAM, SO_REUSEPORT, SO_REUSEPORT, 'a', 'a', 0, 0},
		{SOCK_DGRAM, SO_REUSEPORT, 0, 'a', 'a', 0, -EADDRINUSE},
		{SOCK_DGRAM, 0, 0, 'a', 'b', 0, 0},
	};

	for (size_t i = 0; i < array_size(table); i++) {
		int res = second_bind(&table[i]);

		if (res != table[i].res)
			fail_msg("row %zu: %d", i, res);
	}
}

static void protocols_have_ports_of_their_own(void **state)
{
	uint32_t t = make_socket(A, AF_INET, SOCK_STREAM), u = make_socket(A, AF_INET, SOCK_DGRAM);

	assert_int_equal(do_bind(A, t, &A->addr, 99), 0);
	assert_int_equal(do_bind(A, u, &A->addr, 99), 0);
	assert_int_equal(do_bind(A, t, &A->addr, 98), -EINVAL);
}

static void foreign_address_is_not_available(void **state)
{
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

	assert_int_equal(do_bind(A, s, &B->addr, 99), -EADDRNOTAVAIL);
	assert_int_equal(do_bind(A, s, &A->addr6, 99), -EAFNOSUPPORT);
	assert_int_equal(set_int(A, s, IPPROTO_IP, IP_FREEBIND, 1), 0);
	assert_int_equal(do_bind(A, s, &B->addr, 99), 0);
}

static void reused_address_listens_once(void **state)
{
	uint32_t s[2];

	for (int i = 0; i < 2; i++) {
		s[i] = make_socket(A, AF_INET, SOCK_STREAM);
		assert_int_equal(set_int(A, s[i], SOL_SOCKET, SO_REUSEADDR, 1), 0);
		assert_int_equal(do_bind(A, s[i], &A->addr, 99), 0);
	}
	assert_int_equal(do_listen(A, s[0], 1), 0);
	assert_int_equal(do_listen(A, s[1], 1), -EADDRINUSE);
	uint32_t late = make_socket(A, AF_INET, SOCK_STREAM);

	assert_int_equal(set_int(A, late, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(do_bind(A, late, &A->addr, 99), -EADDRINUSE);
	assert_int_equal(do_close(A, s[0], -1), 0);
	assert_int_equal(do_listen(A, s[1], 1), 0);
}

static void port_zero_gives_a_port_of_the_range(void **state)
{
	struct ip_addr a = any4();

	for (int i = 0; i < 50; i++) {
		uint32_t s = make_socket(A, AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM);
		struct chan_cqe e = call(A, with_addr(CHAN_OP_BIND, s, &a, 0));

		assert_int_equal(e.res, 0);
		assert_in_range(e.aux, 32768, 60999);
	}
}

static void listen_without_bind_gets_a_port(void **state)
{
	uint32_t s = make_socket(B, AF_INET, SOCK_STREAM), c;
	struct chan_cqe e;

	assert_int_equal(do_listen(B, s, 1), 0);
	e = call(B, (struct chan_sqe){.op = CHAN_OP_NAME, .sid = s});
	assert_in_range(e.port, 32768, 60999);
	c = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(A, c, &B->addr, e.port), 0);
}

static void scope_chooses_the_interface(void **state)
{
	struct eth_addr mac = {{2, 0, 0, 0, 1, 1}};
	struct ip_ifaddr ll = {
		.addr = {.b = {0xfe, 0x80, [15] = 7}}, .prefix_len = 64, .ifindex = 1};
	struct ip_addr peer = {.b = {0xfe, 0x80, [15] = 9}};
	uint32_t s = make_socket(A, AF_INET6, SOCK_DGRAM);
	struct chan_sqe q = with_addr(CHAN_OP_CONNECT, s, &peer, 53);
	struct chan_cqe e;

	assert_int_equal(ip_if_add(A->ip, 1, 1500, &mac), 0);
	assert_int_equal(ip_addr_add(A->ip, &ll), 0);
	q.scope = 1;
	assert_int_equal(call(A, q).res, -ENODEV);
	q.scope = 2;
	e = call(A, q);
	assert_int_equal(e.res, 0);
	assert_memory_equal(e.laddr, &ll.addr, 16);
	/* By the kernel's index where it has one, which may be ours of another. */
	A->app->end.hdr.kernel_if[1] = 1;
	q.scope = 1;
	assert_int_equal(call(A, q).res, 0);
	A->app->end.hdr.kernel_if[1] = 70000;
	q.scope = 70000;
	assert_int_equal(call(A, q).res, 0);
	q = with_addr(CHAN_OP_CONNECT, make_socket(A, AF_INET6, SOCK_DGRAM), &peer, 53);
	q.scope = 70001;
	assert_int_equal(call(A, q).res, -ENODEV);
}

static bool owns_even(void *stack, const struct tcp_key *key)
{
	return key->lport % 2 == 0;
}

/* RFC 6056 §3.3.3; and with several cores, only ports whose flows come here. */
static void active_opens_take_ports_that_this_core_owns(void **state)
{
	bool seen[65536] = {false};
	int different = 0;

	connected_pair();
	A->socks->cfg.owns = owns_even;
	for (int i = 0; i < 30; i++) {
		uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);
		struct chan_cqe e = call(A, with_addr(CHAN_OP_CONNECT, s, &B->addr, 80));

		assert_int_equal(e.res, 0);
		assert_int_equal(e.lport % 2, 0);
		assert_false(seen[e.lport]);
		seen[e.lport] = true;
		different++;
		submit(B,
		       (struct chan_sqe){.op = CHAN_OP_RCVBUF_MORE, .sid = listener, .arg = {1}});
	}
	assert_int_equal(different, 30);
}

static void ports_run_out_for_one_destination_only(void **state)
{
	A->socks->cfg.port_min = 40000;
	A->socks->cfg.port_max = 40003;
	connected_pair();
	for (int i = 0; i < 4; i++) {
		uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

		assert_int_equal(do_connect(A, s, &B->addr, 80), i < 3 ? 0 : -EADDRNOTAVAIL);
	}
	uint32_t s = make_socket(A, AF_INET6, SOCK_STREAM);

	assert_int_equal(do_connect(A, s, &B->addr6, 80), 0);
}

/* ---- grants (H37) ---- */

static int setup_grants(void **state)
{
	b_cfg = (struct sock_app_cfg){.free_ports_from = 1024, .owner = 1001};
	return setup_hosts(state);
}

static int teardown_grants(void **state)
{
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

/* Binds a fresh socket, closes it. */
static int try_bind(int type, const struct ip_addr *a, uint16_t port)
{
	uint32_t s = make_socket(B, AF_INET6, type);
	int res = do_bind(B, s, a, port);

	assert_int_equal(do_close(B, s, -1), 0);
	return res;
}

static void h37_port_not_granted_is_refused(void **state)
{
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		assert_int_equal(try_bind(type, &any6, 80), -EACCES);
		assert_int_equal(try_bind(type, &any6, 1023), -EACCES);
		assert_int_equal(try_bind(type, &any6, 1024), 0);
		assert_int_equal(try_bind(type, &any6, 65535), 0);
		assert_int_equal(try_bind(type, &any6, 0), 0);
	}
}

/* Who was granted it may have changed its user since. */
static void h37_granted_port_may_be_bound_once(void **state)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(socks_grant(B->app, &any6, 80, SOCK_GRANT_BOTH), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 81), -EACCES);
	for (int i = 0; i < 2; i++)
		assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &B->addr6, 80), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), -EACCES);
	/* Of one address, after all were granted and used: of that one. */
	assert_int_equal(socks_grant(B->app, &B->addr6, 80, SOCK_GRANT_BOTH), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), -EACCES);
	assert_int_equal(try_bind(SOCK_STREAM, &B->addr6, 80), 0);
}

/* One that could not be used is not kept for later. */
static void h37_grant_is_gone_when_the_port_is_in_use(void **state)
{
	uint32_t first = make_socket(B, AF_INET6, SOCK_STREAM);

	for (int i = 0; i < 2; i++)
		assert_int_equal(socks_grant(B->app, &any6, 80, SOCK_GRANT_BOTH), 0);
	assert_int_equal(do_bind(B, first, &any6, 80), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), -EADDRINUSE);
	assert_int_equal(do_close(B, first, -1), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), -EACCES);
}

static void h37_grant_of_one_address_is_none_of_others(void **state)
{
	assert_int_equal(socks_grant(B->app, &B->addr6, 80, SOCK_GRANT_BOTH), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &B->addr6, 80), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), -EACCES);
}

static void h37_grants_of_a_program_have_an_end(void **state)
{
	struct ip_addr a = B->addr;

	for (unsigned i = 0; i < SOCK_GRANTS_MAX; i++) {
		a.b[14] = (uint8_t)(i >> 8);
		a.b[15] = (uint8_t)i;
		assert_int_equal(socks_grant(B->app, &a, 80, SOCK_GRANT_BOTH), 0);
		assert_int_equal(socks_grant(B->app, &a, 80, SOCK_GRANT_BOTH), 0);
	}
	assert_int_equal(socks_grant(B->app, &B->addr6, 80, SOCK_GRANT_BOTH), -ENOSPC);
	assert_int_equal(B->app->n_grants, SOCK_GRANTS_MAX);
	/* What it has stays, and makes room when it is used. */
	a = B->addr;
	a.b[14] = a.b[15] = 0;
	assert_int_equal(socks_grant(B->app, &a, 80, SOCK_GRANT_BOTH), 0);
	assert_int_equal(socks_grant(B->app, &any6, 81, SOCK_GRANT_BOTH), -ENOSPC);
	while (B->app->grant[0].left > 0)
		assert_true(app_may_bind(B->app, &a, 80, false));
	assert_int_equal(socks_grant(B->app, &any6, 81, SOCK_GRANT_BOTH), 0);
	assert_int_equal(B->app->n_grants, SOCK_GRANTS_MAX);
}

/* Linux: SO_REUSEPORT shares among sockets of one user. */
static void port_is_shared_with_the_same_owner_only(void **state)
{
	static const struct {
		uint32_t owner;
		int res;
	} table[] = {{1001, 0}, {1002, -EADDRINUSE}};
	uint32_t s = make_socket(B, AF_INET6, SOCK_STREAM);

	assert_int_equal(set_int(B, s, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	assert_int_equal(do_bind(B, s, &any6, 8080), 0);
	assert_int_equal(do_listen(B, s, 1), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct host other;
		uint32_t o;

		guest_up(&other, (struct sock_app_cfg){.owner = table[i].owner});
		o = make_socket(&other, AF_INET6, SOCK_STREAM);
		assert_int_equal(set_int(&other, o, SOL_SOCKET, SO_REUSEPORT, 1), 0);
		assert_int_equal(do_bind(&other, o, &any6, 8080), table[i].res);
		if (table[i].res == 0)
			assert_int_equal(do_listen(&other, o, 1), 0);
		guest_down();
	}
}

/* H37: as Linux's, a socket stays its maker's when it was passed on to another user's program: else
 * a port could be taken for somebody to share unawares. */
static void port_of_a_socket_passed_on_is_its_makers(void **state)
{
	uint32_t s = make_socket(B, AF_INET6, SOCK_STREAM), passed, o;
	struct host other;

	assert_int_equal(set_int(B, s, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	assert_int_equal(do_bind(B, s, &any6, 8080), 0);
	assert_int_equal(do_listen(B, s, 1), 0);
	guest_up(&other, (struct sock_app_cfg){.owner = 1002});
	assert_int_equal(socks_share(B->app, s, other.app, &passed), 0);
	assert_int_equal(do_close(B, s, -1), 0);
	o = make_socket(&other, AF_INET6, SOCK_STREAM);
	assert_int_equal(set_int(&other, o, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	assert_int_equal(do_bind(&other, o, &any6, 8080), -EADDRINUSE);
	s = make_socket(B, AF_INET6, SOCK_STREAM);
	assert_int_equal(set_int(B, s, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	assert_int_equal(do_bind(B, s, &any6, 8080), 0);
	assert_int_equal(do_listen(B, s, 1), 0);
	guest_down();
}

/* H37: work for what arrives is bounded, so are those who hold one socket. */
static void holders_of_a_socket_have_an_end(void **state)
{
	uint32_t s = make_socket(B, AF_INET6, SOCK_STREAM), n = 0, out;
	struct host other;
	int err;

	guest_up(&other, (struct sock_app_cfg){.keeps = true});
	while ((err = socks_share(B->app, s, B->app, &out)) == 0)
		;
	assert_int_equal(err, -ENFILE);
	while ((err = socks_share(B->app, s, other.app, &out)) == 0)
		n++;
	assert_int_equal(err, -ETOOMANYREFS);
	assert_int_equal(other.app->socks.live, n);
	guest_down();
	assert_int_equal(do_bind(B, s, &any6, 8080), 0);
}

/* H31: the port is free as soon as its program is gone. */
static void h31_port_of_a_program_that_died_is_free(void **state)
{
	struct host other;
	uint32_t o;

	guest_up(&other, (struct sock_app_cfg){.owner = 1002});
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		o = make_socket(&other, AF_INET6, type);
		assert_int_equal(do_bind(&other, o, &any6, 8080), 0);
		if (type == SOCK_STREAM)
			assert_int_equal(do_listen(&other, o, 1), 0);
		assert_int_equal(try_bind(type, &any6, 8080), -EADDRINUSE);
	}
	guest_down();
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 8080), 0);
	assert_int_equal(try_bind(SOCK_DGRAM, &any6, 8080), 0);
}

/* ---- ports that are reserved elsewhere ---- */

static int setup_reserve(void **state)
{
	b_cfg = (struct sock_app_cfg){.free_ports_from = 65536, .owner = 1001};
	b_ports_bell = bell_open();
	return b_ports_bell < 0 ? -1 : setup_hosts(state);
}

static int teardown_reserve(void **state)
{
	int rc = teardown(state);

	b_cfg = (struct sock_app_cfg){0};
	close(b_ports_bell);
	b_ports_bell = -1;
	return rc;
}

/* Is this, and nothing else, said to be free? And was the bell rung for it? */
static void check_freed(uint16_t port, bool udp)
{
	struct sock_port p[4];

	assert_int_equal(bell_sleep(b_ports_bell, 0), port != 0);
	assert_int_equal(socks_ports_freed(B->socks, p, 4), port != 0);
	if (port == 0)
		return;
	assert_int_equal(p[0].port, port);
	assert_int_equal(p[0].udp, udp);
	assert_false(socks_port_used(B->socks, p[0]));
}

static void reserved_port_is_bound_when_granted_and_told_when_free(void **state)
{
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		bool udp = type == SOCK_DGRAM;
		struct sock_port p = {8080, udp};
		uint32_t k;

		assert_int_equal(try_bind(type, &any6, 8080), -EACCES);
		check_freed(0, udp);
		assert_int_equal(
			socks_grant(B->app, &any6, 8080, udp ? SOCK_GRANT_UDP : SOCK_GRANT_TCP), 0);
		assert_false(socks_grant_used(B->app, p));
		assert_int_equal(try_bind(udp ? SOCK_STREAM : SOCK_DGRAM, &any6, 8080), -EACCES);
		k = make_socket(B, AF_INET6, type);
		assert_int_equal(do_bind(B, k, &any6, 8080), 0);
		assert_true(socks_grant_used(B->app, p) && socks_port_used(B->socks, p));
		check_freed(0, udp);
		assert_int_equal(do_close(B, k, -1), 0);
		check_freed(8080, udp);
		check_freed(0, udp);
		socks_ungrant(B->app, p);
		assert_int_equal(try_bind(type, &any6, 8080), -EACCES);
	}
}

static void reserved_port_that_could_not_be_bound_is_told_too(void **state)
{
	struct ip_addr stranger = ip_addr_v4(be32(0xc0000209));

	assert_int_equal(socks_grant(B->app, &stranger, 80, SOCK_GRANT_TCP), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &stranger, 80), -EADDRNOTAVAIL);
	check_freed(80, false);
}

static void grant_that_was_asked_for_again_is_not_used(void **state)
{
	struct sock_port p = {80, false};

	assert_int_equal(socks_grant(B->app, &any6, 80, SOCK_GRANT_TCP), 0);
	assert_int_equal(try_bind(SOCK_STREAM, &any6, 80), 0);
	assert_true(socks_grant_used(B->app, p));
	assert_int_equal(socks_grant(B->app, &any6, 80, SOCK_GRANT_TCP), 0);
	assert_false(socks_grant_used(B->app, p));
	check_freed(80, false);
}

static void where_ports_are_reserved_none_is_chosen_but_for_connections(void **state)
{
	uint32_t s = make_socket(B, AF_INET6, SOCK_STREAM);

	assert_int_equal(try_bind(SOCK_STREAM, &any6, 0), -EADDRINUSE);
	assert_int_equal(try_bind(SOCK_DGRAM, &any6, 0), -EADDRINUSE);
	assert_int_equal(do_listen(B, s, 1), -EADDRINUSE);
	assert_int_equal(do_close(B, s, -1), 0);
}

/* ---- network namespaces ---- */

static uint32_t listening(struct host *h, const struct ip_addr *a, int res)
{
	uint32_t s = make_socket(h, AF_INET, SOCK_STREAM);

	assert_int_equal(do_bind(h, s, a, 99), res);
	if (res == 0)
		assert_int_equal(do_listen(h, s, 1), 0);
	return s;
}

static int listens(struct host *h, const struct ip_addr *a)
{
	struct chan_sqe q = {.op = CHAN_OP_LISTENS, .port = 99};

	memcpy(q.addr, a, sizeof(q.addr));
	return call(h, q).res;
}

/* B's application and another, of one trust domain. */
static void neighbour_up(struct host *other, uint16_t zone)
{
	B->app->domain = B->app->zone = 1;
	guest_up(other, (struct sock_app_cfg){.alone = true, .domain = 1, .zone = zone});
}

static void loopback_is_each_namespaces_own(void **state)
{
	struct ip_addr lo = ip_addr_v4(be32(0x7f000001)), any = any4();
	struct host other;
	uint32_t first, second;

	neighbour_up(&other, 2);
	first = listening(B, &lo, 0);
	assert_int_equal(listens(B, &lo), 0);
	assert_int_equal(listens(&other, &lo), -ECONNREFUSED);
	assert_int_equal(listens(B, &B->addr), -ECONNREFUSED);
	second = listening(&other, &lo, 0);
	assert_int_equal(listens(&other, &lo), 0);
	do_close(B, first, -1);
	assert_int_equal(listens(B, &lo), -ECONNREFUSED);
	/* The wildcard's loopback, too, is its own; the stack's address is everybody's. */
	first = listening(B, &any, 0);
	assert_int_equal(listens(B, &lo), 0);
	assert_int_equal(listens(&other, &B->addr), 0);
	do_close(&other, second, -1);
	assert_int_equal(listens(&other, &lo), -ECONNREFUSED);
	(void)listening(&other, &B->addr, -EADDRINUSE);
	(void)listening(&other, &any, -EADDRINUSE);
	guest_down();
}

static void loopback_is_one_in_a_namespace(void **state)
{
	struct ip_addr lo = ip_addr_v4(be32(0x7f000001));
	struct host other;
	uint32_t out;

	neighbour_up(&other, 1);
	(void)listening(B, &lo, 0);
	assert_int_equal(listens(&other, &lo), 0);
	(void)listening(&other, &lo, -EADDRINUSE);
	/* Nothing of loopback's leaves the node. */
	assert_int_equal(do_bind(B, out = make_socket(B, AF_INET, SOCK_STREAM), &lo, 98), 0);
	assert_int_equal(do_connect(B, out, &A->addr, 99), -EINVAL);
	/* Of another domain nobody could have a link. */
	B->app->domain = 2;
	assert_int_equal(listens(&other, &lo), -ECONNREFUSED);
	B->app->domain = other.app->domain = 0;
	assert_int_equal(listens(&other, &lo), -ECONNREFUSED);
	guest_down();
}

#define R(f) cmocka_unit_test_setup_teardown(f, setup_reserve, teardown_reserve)
#define G(f) cmocka_unit_test_setup_teardown(f, setup_grants, teardown_grants)
#define T(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(second_bind_is_judged_as_in_linux),
		T(protocols_have_ports_of_their_own),
		T(foreign_address_is_not_available),
		T(reused_address_listens_once),
		T(port_zero_gives_a_port_of_the_range),
		T(listen_without_bind_gets_a_port),
		T(scope_chooses_the_interface),
		T(active_opens_take_ports_that_this_core_owns),
		T(ports_run_out_for_one_destination_only),
		T(loopback_is_each_namespaces_own),
		T(loopback_is_one_in_a_namespace),
		G(h37_port_not_granted_is_refused),
		G(h37_granted_port_may_be_bound_once),
		G(h37_grant_is_gone_when_the_port_is_in_use),
		G(h37_grant_of_one_address_is_none_of_others),
		G(h37_grants_of_a_program_have_an_end),
		G(port_is_shared_with_the_same_owner_only),
		G(port_of_a_socket_passed_on_is_its_makers),
		G(holders_of_a_socket_have_an_end),
		G(h31_port_of_a_program_that_died_is_free),
		R(reserved_port_is_bound_when_granted_and_told_when_free),
		R(reserved_port_that_could_not_be_bound_is_told_too),
		R(grant_that_was_asked_for_again_is_not_used),
		R(where_ports_are_reserved_none_is_chosen_but_for_connections),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
