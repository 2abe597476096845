/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Binding, connecting, conflicts, and which endpoint is the most specific one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "udp/udp_priv.h"

static struct drop_counters drops;

static struct ip_addr v4(uint32_t a)
{
	return ip_addr_v4(be32(a));
}

static struct ip_addr v6(uint8_t last)
{
	return (struct ip_addr){.b = {0x20, 0x01, 0x0d, 0xb8, [15] = last}};
}

#define ANY6 ((struct ip_addr){0})
#define ANY4 v4(0)
#define A1   v4(0x0a000001)
#define A2   v4(0x0a000002)
#define PEER v4(0x0a0000fe)

static int setup(void **state)
{
	*state = udp_create(64, 42, &drops);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	udp_destroy(*state);
	return 0;
}

static int bind_to(struct udp *u, struct ip_addr a, uint16_t port, bool reuse, uint64_t user,
		   struct udp_pcb **out)
{
	struct udp_bind b = {.laddr = a, .lport = port, .reuse = reuse, .user = user};

	return udp_bind(u, &b, out);
}

static uint64_t found(struct udp *u, struct ip_addr l, uint16_t lp, struct ip_addr r, uint16_t rp)
{
	struct udp_pcb *pcb = udp_find(u, &l, lp, &r, rp);

	return pcb ? udp_user(pcb) : 0;
}

/* RFC 1122 §4.1.3.5 */
static void find_takes_the_most_specific(void **state)
{
	struct udp *u = *state;
	struct ip_addr peer = PEER;
	struct udp_pcb *wild, *bound, *conn, *half;

	assert_int_equal(bind_to(u, ANY4, 53, true, 1, &wild), 0);
	assert_int_equal(bind_to(u, A1, 53, true, 2, &bound), 0);
	assert_int_equal(bind_to(u, A1, 53, true, 3, &conn), 0);
	assert_int_equal(bind_to(u, ANY4, 53, true, 4, &half), 0);
	assert_int_equal(udp_connect(u, conn, NULL, &peer, 9), 0);
	assert_int_equal(udp_connect(u, half, NULL, &peer, 10), 0);

	assert_int_equal(found(u, A1, 53, PEER, 9), 3);
	assert_int_equal(found(u, A1, 53, PEER, 10), 4);
	assert_int_equal(found(u, A1, 53, PEER, 11), 2);
	assert_int_equal(found(u, A2, 53, PEER, 9), 1);
	assert_int_equal(found(u, A2, 54, PEER, 9), 0);
	udp_unbind(u, conn);
	assert_int_equal(found(u, A1, 53, PEER, 9), 2);
	udp_unbind(u, bound);
	assert_int_equal(found(u, A1, 53, PEER, 9), 1);
	udp_unbind(u, wild);
	assert_int_equal(found(u, A1, 53, PEER, 9), 0);
}

static void wildcard_families(void **state)
{
	struct udp *u = *state;
	struct udp_bind only6 = {.lport = 2, .v6only = true, .user = 2};
	struct udp_pcb *pcb;

	assert_int_equal(bind_to(u, ANY6, 1, false, 1, &pcb), 0);
	assert_int_equal(udp_bind(u, &only6, &pcb), 0);
	assert_int_equal(bind_to(u, ANY4, 2, false, 3, &pcb), 0);
	assert_int_equal(found(u, A1, 1, PEER, 9), 1);
	assert_int_equal(found(u, v6(1), 1, v6(2), 9), 1);
	assert_int_equal(found(u, v6(1), 2, v6(2), 9), 2);
	assert_int_equal(found(u, A1, 2, PEER, 9), 3);
}

static void bind_conflicts_are_refused(void **state)
{
	struct udp *u = *state;
	struct udp_pcb *a, *b, *c;

	assert_int_equal(bind_to(u, A1, 53, false, 1, &a), 0);
	assert_int_equal(bind_to(u, A1, 53, false, 2, &b), -EADDRINUSE);
	assert_int_equal(bind_to(u, A1, 53, true, 2, &b), -EADDRINUSE);
	assert_int_equal(bind_to(u, ANY4, 53, false, 2, &b), -EADDRINUSE);
	assert_int_equal(bind_to(u, ANY6, 53, false, 2, &b), -EADDRINUSE);
	assert_int_equal(bind_to(u, A2, 53, false, 2, &b), 0);
	assert_int_equal(bind_to(u, v6(1), 53, false, 3, &c), 0);
	/* Connecting can't move an endpoint onto another's address. */
	assert_int_equal(udp_connect(u, b, &(struct ip_addr){.q = {A1.q[0], A1.q[1]}},
				     &(struct ip_addr){.q = {PEER.q[0], PEER.q[1]}}, 9),
			 -EADDRINUSE);
	assert_int_equal(found(u, A2, 53, PEER, 1), 2);
	udp_unbind(u, a);
	assert_int_equal(bind_to(u, A1, 53, false, 4, &a), 0);
}

static void reuse_group_spreads_by_flow(void **state)
{
	struct udp *u = *state;
	struct udp_pcb *pcb;
	unsigned got[5] = {0};

	for (uint64_t i = 1; i <= 4; i++)
		assert_int_equal(bind_to(u, A1, 53, true, i, &pcb), 0);
	assert_int_equal(bind_to(u, A1, 53, false, 5, &pcb), -EADDRINUSE);
	for (uint16_t port = 1; port <= 4000; port++) {
		uint64_t who = found(u, A1, 53, PEER, port);

		assert_in_range(who, 1, 4);
		assert_int_equal(found(u, A1, 53, PEER, port), who);
		got[who]++;
	}
	for (unsigned i = 1; i <= 4; i++)
		assert_in_range(got[i], 800, 1200);
}

static int bind_shared(struct udp *u, struct ip_addr a, uint64_t user, struct udp_pcb **out)
{
	struct udp_bind b = {.laddr = a, .lport = 53, .share = true, .user = user};

	return udp_bind(u, &b, out);
}

/* SO_REUSEADDR as in Linux: everybody agrees to share, the latest gets what is for one. */
static void shared_port_goes_to_the_latest(void **state)
{
	struct udp *u = *state;
	struct udp_pcb *a, *b, *c;

	assert_int_equal(bind_shared(u, A1, 1, &a), 0);
	assert_int_equal(bind_shared(u, A1, 2, &b), 0);
	assert_int_equal(bind_to(u, A1, 53, false, 3, &c), -EADDRINUSE);
	/* Each must ask for the same kind of sharing. */
	assert_int_equal(bind_to(u, A1, 53, true, 3, &c), -EADDRINUSE);
	for (uint16_t port = 1; port <= 100; port++)
		assert_int_equal(found(u, A1, 53, PEER, port), 2);
	udp_unbind(u, b);
	assert_int_equal(found(u, A1, 53, PEER, 1), 1);
}

static void connect_checks_the_peer(void **state)
{
	struct udp *u = *state;
	struct ip_addr peer = PEER, six = v6(1), me = A1;
	struct udp_pcb *pcb;

	assert_int_equal(bind_to(u, ANY4, 53, false, 1, &pcb), 0);
	assert_int_equal(udp_connect(u, pcb, NULL, &six, 9), -EAFNOSUPPORT);
	assert_int_equal(udp_connect(u, pcb, NULL, &peer, 0), -EINVAL);
	assert_int_equal(udp_connect(u, pcb, &me, &peer, 9), 0);
	assert_true(ip_addr_eq(&udp_binding(pcb)->laddr, &me));
	assert_int_equal(found(u, A1, 53, PEER, 8), 0);
	assert_int_equal(found(u, A1, 53, PEER, 9), 1);
	/* Disconnected, back to the wildcard. */
	assert_int_equal(udp_connect(u, pcb, &(struct ip_addr){0}, NULL, 0), 0);
	assert_int_equal(found(u, A1, 53, PEER, 8), 1);
	assert_int_equal(udp_binding(pcb)->rport, 0);
}

static void port_zero_gets_an_ephemeral_port(void **state)
{
	struct udp *u = *state;
	struct udp_pcb *pcb[64], *more;
	uint64_t seen = 0;

	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(bind_to(u, ANY4, 0, true, i, &pcb[i]), 0);
		assert_in_range(udp_binding(pcb[i])->lport, 32768, 60999);
		for (unsigned j = 0; j < i; j++)
			seen += udp_binding(pcb[i])->lport == udp_binding(pcb[j])->lport;
	}
	assert_int_equal(seen, 0);
	assert_int_equal(bind_to(u, A1, 7, false, 1, &more), -ENOBUFS);
	udp_unbind(u, pcb[10]);
	assert_int_equal(bind_to(u, A1, 7, false, 1, &more), 0);
}

/* Random binds, connects and unbinds; each lookup against a walk over all. */
static void random_against_naive(void **state)
{
	struct udp *u = *state;
	struct udp_pcb *pcb[64] = {0};
	struct ip_addr addr[] = {ANY4, A1, A2};

	srandom(7);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (unsigned)random() % 64, best = 0, got = 0;
		uint16_t lp = (uint16_t)(1 + random() % 3), rp = (uint16_t)(1 + random() % 3);
		struct ip_addr l = addr[1 + random() % 2], peer = PEER;

		if (pcb[i] && random() % 2) {
			udp_unbind(u, pcb[i]);
			pcb[i] = NULL;
		} else if (pcb[i]) {
			(void)udp_connect(u, pcb[i], NULL, random() % 3 ? &peer : NULL, rp);
		} else if (bind_to(u, addr[random() % 3], lp, random() % 8 != 0, i + 1, &pcb[i])) {
			pcb[i] = NULL;
		}
		for (i = 0; i < 64; i++) {
			const struct udp_bind *b = pcb[i] ? udp_binding(pcb[i]) : NULL;
			unsigned score = 1;

			if (!b || b->lport != lp)
				continue;
			if (!ip_addr_is_any(&b->laddr))
				score += ip_addr_eq(&b->laddr, &l) ? 1 : -100u;
			if (!ip_addr_is_any(&b->raddr))
				score += b->rport == rp ? 2 : -100u;
			if (score < 100 && score > best)
				best = score;
			if (udp_find(u, &l, lp, &peer, rp) == pcb[i])
				got = score;
		}
		assert_int_equal(got, best);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(find_takes_the_most_specific),     T(wildcard_families),
		T(bind_conflicts_are_refused),	     T(reuse_group_spreads_by_flow),
		T(shared_port_goes_to_the_latest),   T(connect_checks_the_peer),
		T(port_zero_gets_an_ephemeral_port), T(random_against_naive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
