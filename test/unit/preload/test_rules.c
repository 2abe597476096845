/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "preload/rules.h"

static struct in6_addr in6(const char *text)
{
	struct in6_addr a = {0};

	if (inet_pton(AF_INET6, text, &a) == 1)
		return a;
	a.s6_addr[10] = a.s6_addr[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, text, &a.s6_addr[12]), 1);
	return a;
}

/* What the rules say about e.g. "tcp bind", "10.0.0.2", 80. */
static enum rule_answer ask(const char *env, const char *what, const char *addr, uint16_t port)
{
	struct rule_case c = {strstr(what, "udp") != NULL, strstr(what, "connect") != NULL,
			      strstr(what, "gateway") != NULL, in6(addr), port};
	struct rules rs;
	enum rule_answer a;

	assert_int_equal(rules_parse(&rs, env), 0);
	a = rules_ask(&rs, &c);
	rules_free(&rs);
	return a;
}

static void nothing_said_fits_nothing(void **state)
{
	assert_int_equal(ask(NULL, "tcp bind", "10.0.0.2", 80), RULE_NONE);
	assert_int_equal(ask("", "tcp bind", "10.0.0.2", 80), RULE_NONE);
	assert_int_equal(ask("verbose", "udp connect", "::1", 80), RULE_NONE);
}

static void loopback_can_be_left_to_the_kernel(void **state)
{
	struct rules rs;

	assert_int_equal(rules_parse(&rs, "verbose;take=:80"), 0);
	assert_false(rs.no_loopback);
	rules_free(&rs);
	assert_int_equal(rules_parse(&rs, "no-loopback;take=:80"), 0);
	assert_true(rs.no_loopback);
	assert_int_equal(rs.bad, 0);
	assert_int_equal(rs.n, 1);
	rules_free(&rs);
}

static void the_first_that_fits_decides(void **state)
{
	const char *env = "verbose;leave=:22;take=tcp 10.0.0.0/8;leave=";

	assert_int_equal(ask(env, "tcp bind", "10.0.0.2", 22), RULE_LEAVE);
	assert_int_equal(ask(env, "tcp bind", "10.0.0.2", 80), RULE_TAKE);
	assert_int_equal(ask(env, "udp bind", "10.0.0.2", 80), RULE_LEAVE);
	assert_int_equal(ask(env, "tcp bind", "fd00::1", 80), RULE_LEAVE);
}

static void no_link_decides_nothing_else(void **state)
{
	struct rule_case c = {.connect = true, .port = 80};
	struct rules rs;

	assert_int_equal(ask("no-link=:80;leave=:80", "tcp connect", "10.0.0.1", 80), RULE_LEAVE);
	assert_int_equal(ask("no-link=", "tcp bind", "10.0.0.1", 80), RULE_NONE);
	assert_int_equal(inet_pton(AF_INET6, "fd00::1", &c.addr), 1);
	assert_int_equal(rules_parse(&rs, "take=;no-link=connect fd00::/8"), 0);
	assert_true(rules_no_link(&rs, &c));
	c.connect = false;
	assert_false(rules_no_link(&rs, &c));
	rules_free(&rs);
	assert_int_equal(rules_parse(&rs, "take="), 0);
	assert_false(rules_no_link(&rs, &c));
	rules_free(&rs);
}

static void words_narrow_it(void **state)
{
	assert_int_equal(ask("take=udp", "udp bind", "::", 0), RULE_TAKE);
	assert_int_equal(ask("take=udp", "tcp bind", "::", 0), RULE_NONE);
	assert_int_equal(ask("take=bind", "tcp connect", "10.0.0.1", 1), RULE_NONE);
	assert_int_equal(ask("take=connect tcp", "tcp connect", "10.0.0.1", 1), RULE_TAKE);
	assert_int_equal(ask("take=connect tcp", "tcp bind", "10.0.0.1", 1), RULE_NONE);
}

static void addresses_and_prefixes(void **state)
{
	assert_int_equal(ask("take=10.1.2.3", "tcp bind", "10.1.2.3", 9), RULE_TAKE);
	assert_int_equal(ask("take=10.1.2.3", "tcp bind", "10.1.2.4", 9), RULE_NONE);
	assert_int_equal(ask("take=10.1.2.3/23", "tcp bind", "10.1.3.9", 9), RULE_TAKE);
	assert_int_equal(ask("take=10.1.2.3/23", "tcp bind", "10.1.4.9", 9), RULE_NONE);
	assert_int_equal(ask("take=0.0.0.0/0", "tcp bind", "9.9.9.9", 9), RULE_TAKE);
	assert_int_equal(ask("take=0.0.0.0/0", "tcp bind", "fd00::9", 9), RULE_NONE);
	assert_int_equal(ask("take=::/0", "tcp bind", "fd00::9", 9), RULE_TAKE);
	assert_int_equal(ask("take=::/0", "tcp bind", "9.9.9.9", 9), RULE_NONE);
	assert_int_equal(ask("take=fd00::/61", "tcp bind", "fd00:0:0:7::1", 9), RULE_TAKE);
	assert_int_equal(ask("take=fd00::/61", "tcp bind", "fd00:0:0:8::1", 9), RULE_NONE);
	assert_int_equal(ask("take=fd00::80", "tcp bind", "fd00::80", 9), RULE_TAKE);
}

static void ports_and_ranges(void **state)
{
	assert_int_equal(ask("take=:80", "tcp bind", "fd00::1", 80), RULE_TAKE);
	assert_int_equal(ask("take=:80", "tcp bind", "fd00::1", 81), RULE_NONE);
	assert_int_equal(ask("take=10.0.0.2:80-90", "tcp bind", "10.0.0.2", 90), RULE_TAKE);
	assert_int_equal(ask("take=10.0.0.2:80-90", "tcp bind", "10.0.0.2", 79), RULE_NONE);
	assert_int_equal(ask("take=10.0.0.2:80-90", "tcp bind", "10.0.0.2", 91), RULE_NONE);
	assert_int_equal(ask("take=[fd00::]/64:0-65535", "tcp bind", "fd00::1", 80), RULE_NONE);
	assert_int_equal(ask("take=[fd00::/64]:0-65535", "tcp bind", "fd00::1", 80), RULE_TAKE);
	assert_int_equal(ask("take=[fd00::1]:80", "tcp bind", "fd00::1", 80), RULE_TAKE);
}

static void gateway_is_for_what_is_behind_one(void **state)
{
	assert_int_equal(ask("take=gateway", "tcp connect gateway", "9.9.9.9", 80), RULE_TAKE);
	assert_int_equal(ask("take=gateway", "tcp connect", "9.9.9.9", 80), RULE_NONE);
	assert_int_equal(ask("take=gateway", "tcp bind gateway", "9.9.9.9", 80), RULE_NONE);
}

static void nonsense_is_skipped_and_counted(void **state)
{
	static const char *const bad[] = {
		"tcp udp",
		"bind connect",
		"10.0.0",
		"10.0.0.1/33",
		"fd00::/129",
		"fd00:::1",
		"[fd00::1",
		"[fd00::1]80",
		"[10.0.0.1]:80",
		":",
		":65536",
		":9-8",
		":9-",
		":9 x",
		"10.0.0.1:",
		"10.0.0.1/:8",
		"10.0.0.1/8x",
		"icmp",
		"10.0.0.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28",
	};
	struct rule r;
	struct rules rs;

	for (size_t i = 0; i < array_size(bad); i++)
		if (rule_parse(&r, RULE_TAKE, bad[i]) == NULL)
			fail_msg("%s is understood", bad[i]);
	assert_non_null(rule_parse(&r, RULE_LEAVE, "gateway"));
	assert_int_equal(rules_parse(&rs, "take=x;later;;leave=:9;take;verbose=1"), 0);
	assert_int_equal(rs.bad, 4);
	assert_int_equal(rs.n, 1);
	rules_free(&rs);
}

static void more_than_fit_are_skipped(void **state)
{
	char *env = calloc(RUN_RULES_MAX + 9, 8);
	struct rules rs;

	for (int i = 0; i < RUN_RULES_MAX + 8; i++)
		strcat(env, "take=:1;");
	assert_int_equal(rules_parse(&rs, env), 0);
	assert_int_equal(rs.n, RUN_RULES_MAX);
	assert_int_equal(rs.bad, 8);
	rules_free(&rs);
	free(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_fits_nothing),
		cmocka_unit_test(loopback_can_be_left_to_the_kernel),
		cmocka_unit_test(the_first_that_fits_decides),
		cmocka_unit_test(no_link_decides_nothing_else),
		cmocka_unit_test(words_narrow_it),
		cmocka_unit_test(addresses_and_prefixes),
		cmocka_unit_test(ports_and_ranges),
		cmocka_unit_test(gateway_is_for_what_is_behind_one),
		cmocka_unit_test(nonsense_is_skipped_and_counted),
		cmocka_unit_test(more_than_fit_are_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
