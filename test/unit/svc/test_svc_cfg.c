/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Texts of the configuration: what is understood, and that everything else is refused with a
 * sentence.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "svc/svc_cfg.h"

static char err[200];

static int addr(const char *text, struct svc_addr *a)
{
	err[0] = '\0';
	return svc_addr_parse(text, a, err, sizeof(err));
}

static void addr_with_place_is_split(void **state)
{
	struct svc_addr a;

	assert_int_equal(addr("10.0.0.2/24", &a), 0);
	assert_true(ip_addr_is_v4(&a.addr));
	assert_int_equal(a.prefix_len, 24);
	assert_int_equal(a.port, 0);
	assert_int_equal(a.vlan, 0);
	assert_int_equal(addr("fd00::2/64@1.4094", &a), 0);
	assert_false(ip_addr_is_v4(&a.addr));
	assert_int_equal(a.prefix_len, 64);
	assert_int_equal(a.port, 1);
	assert_int_equal(a.vlan, 4094);
}

static void addr_malformed_is_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"",
		"10.0.0.2",
		"10.0.0.2/",
		"10.0.0.2/33",
		"fd00::2/129",
		"10.0.0/24",
		"10.0.0.2/24x",
		"10.0.0.2/24@",
		"10.0.0.2/-1",
		"10.0.0.2/ 24",
		"10.0.0.2/24@0.",
		"10.0.0.2/24@0.4095",
		"x/24",
		"10.0.0.2/24@256",
		"10.0.0.2/24@0.0",
		"10.0.0.2/24@0.1.2",
		"::ffff:10.0.0.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20/24",
	};

	for (unsigned i = 0; i < array_size(bad); i++) {
		struct svc_addr a;

		assert_int_equal(addr(bad[i], &a), -EINVAL);
		assert_non_null(strstr(err, "--addr"));
	}
}

static void addr_out_of_range_says_which_number(void **state)
{
	static const char *const bad[][2] = {
		{"10.0.0.2/33", "0 to 32"},	     {"fd00::2/129", "0 to 128"},
		{"10.0.0.2/24@0.4095", "1 to 4094"}, {"10.0.0.2/24@0.0", "1 to 4094"},
		{"10.0.0.2/24@x", "port's number"},  {"10.0.0.2", "IP/LEN"},
	};
	struct svc_addr a;

	for (unsigned i = 0; i < array_size(bad); i++) {
		assert_int_equal(addr(bad[i][0], &a), -EINVAL);
		assert_non_null(strstr(err, bad[i][1]));
	}
}

static void gateway_malformed_is_refused_with_a_sentence(void **state)
{
	struct ip_addr gw;

	assert_int_equal(svc_gateway_parse("10.0.0.1", &gw, err, sizeof(err)), 0);
	assert_int_equal(svc_gateway_parse("10.0.0.1/24", &gw, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "--gateway 10.0.0.1/24"));
}

static void share_names_an_interface_and_a_port(void **state)
{
	static const char *const bad[] = {"",	     "@1",  "zs0@", "zs0@x",	       "zs0@256",
					  "zs0@1.5", "a/b", "a b",  "a23456789012345x"};
	struct svc_share s;

	assert_int_equal(svc_share_parse("zs0", &s, err, sizeof(err)), 0);
	assert_string_equal(s.iface, "zs0");
	assert_int_equal(s.port, 0);
	assert_int_equal(svc_share_parse("a-b_c.123456789@12", &s, err, sizeof(err)), 0);
	assert_string_equal(s.iface, "a-b_c.123456789");
	assert_int_equal(s.port, 12);
	for (unsigned i = 0; i < array_size(bad); i++) {
		err[0] = '\0';
		assert_int_equal(svc_share_parse(bad[i], &s, err, sizeof(err)), -EINVAL);
		assert_non_null(strstr(err, "--share "));
	}
}

static int cpus(const char *text, unsigned *cpu, unsigned *n)
{
	err[0] = '\0';
	return svc_cpus_parse(text, cpu, n, err, sizeof(err));
}

static void cpus_list_is_expanded(void **state)
{
	unsigned cpu[SVC_CPUS_MAX], n;

	assert_int_equal(cpus("0", cpu, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(cpu[0], 0);
	assert_int_equal(cpus("0-0", cpu, &n), 0);
	assert_int_equal(n, 1);
}

static void cpus_malformed_is_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {"",	 "a",  "0,",  ",0",   "0-",	"1-0", "0,0",
					  "0;1", "-1", "0x0", "1000", "0-9999", " 0",  "0--1"};
	unsigned cpu[SVC_CPUS_MAX], n;

	for (unsigned i = 0; i < array_size(bad); i++) {
		assert_int_equal(cpus(bad[i], cpu, &n), -EINVAL);
		assert_non_null(strstr(err, "--cores"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_with_place_is_split),
		cmocka_unit_test(addr_malformed_is_refused_with_a_sentence),
		cmocka_unit_test(addr_out_of_range_says_which_number),
		cmocka_unit_test(gateway_malformed_is_refused_with_a_sentence),
		cmocka_unit_test(share_names_an_interface_and_a_port),
		cmocka_unit_test(cpus_list_is_expanded),
		cmocka_unit_test(cpus_malformed_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
