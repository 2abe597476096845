/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip_test.h"

#include <errno.h>

static int add(struct ip_addr a, uint8_t len)
{
	struct ip_ifaddr x = {.addr = a, .prefix_len = len};

	return ip_addr_add(ip, &x);
}

static int route(struct ip_addr net, uint8_t len, struct ip_addr gw, uint32_t metric)
{
	struct ip_route r = {.prefix = net, .prefix_len = len, .gateway = gw, .metric = metric};

	return ip_route_add(ip, &r);
}

/* RFC 1122 §3.2.1.3. */
static void address_that_no_host_may_have_is_refused(void **state)
{
	assert_int_equal(add(v4(224, 0, 0, 5), 24), -EINVAL);
	assert_int_equal(add(v4(0, 0, 0, 0), 24), -EINVAL);
	assert_int_equal(add(v4(10, 1, 0, 0), 24), -EINVAL);
	assert_int_equal(add(v4(10, 1, 0, 255), 24), -EINVAL);
	assert_int_equal(add(v4(10, 1, 0, 5), 33), -EINVAL);
	assert_int_equal(add((struct ip_addr){.b = {0xff, 2, [15] = 1}}, 64), -EINVAL);
	assert_int_equal(add(v6(0), 64), -EINVAL);
	assert_int_equal(add(OUR4, 24), -EEXIST);
	assert_int_equal(add(v4(10, 9, 0, 0), 31), 0);
}

static void address_added_and_deleted_brings_and_takes_its_route(void **state)
{
	struct ip_addr a = v4(10, 5, 0, 1), b = v4(10, 5, 0, 2), peer = v4(10, 5, 0, 9);
	uint32_t gen = ip_generation(ip);

	assert_null(ip_route_find(ip, &peer));
	assert_int_equal(add(a, 24), 0);
	assert_int_equal(add(b, 24), 0);
	assert_int_not_equal(ip_generation(ip), gen);
	assert_non_null(ip_route_find(ip, &peer));
	assert_int_equal(ip_addr_del(ip, &a), 0);
	assert_non_null(ip_route_find(ip, &peer));
	assert_int_equal(ip_addr_del(ip, &b), 0);
	assert_null(ip_route_find(ip, &peer));
	assert_int_equal(ip_addr_del(ip, &b), -ENOENT);
}

/* RFC 1122 §3.3.1.2: the most specific route. */
static void several_routes_match_longest_prefix_then_metric_wins(void **state)
{
	struct ip_addr far = v4(192, 168, 7, 7), gw1 = v4(10, 0, 0, 101), gw2 = v4(10, 0, 0, 102),
		       gw3 = v4(10, 0, 0, 103);
	struct ip_addr v6far = {.b = {0x26, [15] = 1}};

	assert_int_equal(route(v4(0, 0, 0, 0), 0, gw1, 0), 0);
	assert_int_equal(route(v4(192, 168, 0, 0), 16, gw2, 20), 0);
	assert_int_equal(route(v4(192, 168, 0, 0), 16, gw3, 10), 0);
	assert_int_equal(route(v4(192, 168, 0, 0), 16, gw3, 10), -EEXIST);
	assert_int_equal(route(v4(192, 168, 0, 1), 16, gw3, 10), -EINVAL);
	assert_true(ip_addr_eq(&ip_route_find(ip, &far)->gateway, &gw3));
	far = v4(8, 8, 8, 8);
	assert_true(ip_addr_eq(&ip_route_find(ip, &far)->gateway, &gw1));
	assert_null(ip_route_find(ip, &v6far));
	assert_int_equal(route((struct ip_addr){.q = {0, 0}}, 0, PEER6, 0), 0);
	assert_non_null(ip_route_find(ip, &v6far));
	assert_true(ip_addr_eq(&ip_route_find(ip, &far)->gateway, &gw1));
}

/* RFC 6724 §5 rules 2 and 8; RFC 4862 §5.4: tentative is no source. */
static void source_is_of_same_scope_longest_match_and_not_tentative(void **state)
{
	struct ip_addr ll = {.b = {0xfe, 0x80, [15] = 1}}, llpeer = {.b = {0xfe, 0x80, [15] = 2}};
	struct ip_addr other = v4(10, 6, 0, 1), peer = v4(10, 6, 0, 9), dst6 = PEER6, our6 = OUR6;

	assert_int_equal(add(ll, 64), 0);
	assert_int_equal(add(other, 24), 0);
	assert_true(ip_addr_eq(&ip_source_for(ip, &llpeer)->addr, &ll));
	assert_true(ip_addr_eq(&ip_source_for(ip, &dst6)->addr, &our6));
	assert_true(ip_addr_eq(&ip_source_for(ip, &peer)->addr, &other));
	ip_addr_set_tentative(ip, &other, true, false);
	assert_false(ip_addr_eq(&ip_source_for(ip, &peer)->addr, &other));
}

static void learned_mtu_lowers_is_clamped_and_expires(void **state)
{
	struct ip_addr a = PEER4, b = PEER6;

	assert_int_equal(ip_pmtu(ip, &a), 1500);
	ip_pmtu_learn(ip, &a, 9000);
	assert_int_equal(ip_pmtu(ip, &a), 1500);
	ip_pmtu_learn(ip, &a, 1400);
	ip_pmtu_learn(ip, &a, 1450);
	assert_int_equal(ip_pmtu(ip, &a), 1400);
	/* H18: never below the protocol's minimum. */
	ip_pmtu_learn(ip, &a, 0);
	assert_int_equal(ip_pmtu(ip, &a), 68);
	ip_pmtu_learn(ip, &b, 100);
	assert_int_equal(ip_pmtu(ip, &b), 1280);
	ip_begin(ip, UINT64_C(602000000000));
	assert_int_equal(ip_pmtu(ip, &a), 1500);
}

static void flood_of_learned_mtus_stays_in_the_table(void **state)
{
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_addr a = v4(10, 0, 0, 3);

		a.b[0] = 0;
		a.w[3] = be32(0x0a000000 | (i % 250));
		ip_pmtu_learn(ip, &a, (uint16_t)(1400 - i / 250));
	}
	assert_true(ip_counters(ip)->pmtu_learned > 0);
}

/* RFC 4861 §6.3.4, §6.3.6 */
static void learned_routes_run_out_and_leave_configured_ones_alone(void **state)
{
	struct ip_addr far = {.b = {0x20, 2, [15] = 1}};
	struct ip_addr gw[2] = {{.b = {0xfe, 0x80, [15] = 1}}, {.b = {0xfe, 0x80, [15] = 2}}};
	struct ip_route r[2] = {{.gateway = gw[0], .metric = 1024},
				{.gateway = gw[1], .metric = 1024}};
	uint64_t start = 1000000000;

	assert_int_equal(ip_route_learn(ip, &r[0], 10), 0);
	assert_int_equal(ip_route_learn(ip, &r[1], 20), 0);
	assert_int_equal(ip_deadline(ip), start + 10000000000);
	/* Renewed, it holds longer. */
	ip_begin(ip, start + 5000000000);
	assert_int_equal(ip_route_learn(ip, &r[0], 10), 0);
	ip_begin(ip, start + 14000000000);
	assert_int_equal(ip_expire(ip, NULL, NULL, 0), 0);
	assert_true(ip_addr_eq(&ip_route_find(ip, &far)->gateway, &gw[0]));
	/* One that does not answer yields to the other, but the last one stays. */
	ip_gateway_failed(ip, 0, &gw[0]);
	assert_true(ip_addr_eq(&ip_route_find(ip, &far)->gateway, &gw[1]));
	ip_gateway_failed(ip, 0, &gw[1]);
	assert_non_null(ip_route_find(ip, &far));
	ip_begin(ip, start + 20000000000);
	assert_int_equal(ip_expire(ip, NULL, NULL, 0), 0);
	assert_null(ip_route_find(ip, &far));
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	/* A configured one is nobody else's to take. */
	assert_int_equal(ip_route_add(ip, &r[0]), 0);
	assert_int_equal(ip_route_learn(ip, &r[0], 0), -EEXIST);
	assert_non_null(ip_route_find(ip, &far));
}

/* H20: who floods us with routers does not fill the table. */
static void h20_learned_routes_are_bounded(void **state)
{
	struct ip_route own = {.prefix = v4(10, 9, 0, 0), .prefix_len = 16};
	unsigned taken = 0;

	for (unsigned i = 0; i < 1000; i++) {
		struct ip_route r = {
			.gateway = {
				.b = {0xfe, 0x80, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}}};

		taken += ip_route_learn(ip, &r, UINT32_MAX) == 0;
	}
	assert_int_equal(taken, 32);
	assert_int_equal(ip_route_add(ip, &own), 0);
}

static void mtu_of_a_router_counts_for_ipv6_only(void **state)
{
	struct ip_addr a6 = PEER6, a4 = PEER4;

	ip_if_mtu6(ip, 0, 1279);
	ip_if_mtu6(ip, 0, 1501);
	assert_int_equal(ip_pmtu(ip, &a6), 1500);
	ip_if_mtu6(ip, 0, 1400);
	assert_int_equal(ip_pmtu(ip, &a6), 1400);
	assert_int_equal(ip_pmtu(ip, &a4), 1500);
}

/* Random additions and removals against a list. */
static void lookup_agrees_with_a_list(void **state)
{
	bool have[2][64] = {{false}};
	uint32_t r = 1;

	for (unsigned n = 0; n < 5000; n++) {
		unsigned six, last;
		struct ip_ifaddr a = {.prefix_len = 16};
		struct ip_addr probe;

		r = r * 1664525 + 1013904223;
		six = r >> 31;
		last = r >> 20 & 31;
		a.addr = six ? v6((uint8_t)(10 + last)) : v4(10, 7, 0, (uint8_t)(10 + last));
		a.prefix_len = six ? 64 : 28;
		if (r & 1 << 10 && (six || last % 16 != 5))
			have[six][last] |= ip_addr_add(ip, &a) == 0;
		else
			have[six][last] &= ip_addr_del(ip, &a.addr) != 0;
		for (unsigned i = 0; i < 64; i++) {
			probe = i & 32 ? v6((uint8_t)(10 + i % 32))
				       : v4(10, 7, 0, (uint8_t)(10 + i % 32));
			assert_int_equal(ip_addr_find(ip, &probe) != NULL, have[i / 32][i % 32]);
		}
	}
	reports_drain();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(address_that_no_host_may_have_is_refused),
		T(address_added_and_deleted_brings_and_takes_its_route),
		T(several_routes_match_longest_prefix_then_metric_wins),
		T(source_is_of_same_scope_longest_match_and_not_tentative),
		T(learned_mtu_lowers_is_clamped_and_expires),
		T(flood_of_learned_mtus_stays_in_the_table),
		T(learned_routes_run_out_and_leave_configured_ones_alone),
		T(h20_learned_routes_are_bounded),
		T(mtu_of_a_router_counts_for_ipv6_only),
		T(lookup_agrees_with_a_list),
	};

	return run(tests, array_size(tests));
}
