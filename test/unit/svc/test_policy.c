/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who may attach and bind what: H37.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "svc/policy.h"

#define NOBODY_OF_OURS 65534

static struct policy p;
static char text[256];
static struct svc_err err = {text, sizeof(text)};

static int setup(void **state)
{
	p = (struct policy){0};
	text[0] = '\0';
	return 0;
}

static struct policy_domain *domain(const char *name, const char *users, const char *rules)
{
	struct policy_domain *d = policy_domain_add(&p, name, &err);

	assert_non_null(d);
	assert_int_equal(policy_users_add(d, users, &err), 0);
	assert_int_equal(policy_rules_add(d, rules, &err), 0);
	return d;
}

static struct ip_addr addr(const char *s)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(s, &a), 0);
	return a;
}

static bool may(const struct policy_domain *d, uid_t user, const char *at, uint16_t port)
{
	struct ip_addr a = at != NULL ? addr(at) : (struct ip_addr){0};

	return policy_may_bind(d, user, &a, port);
}

static void without_configuration_the_user_who_runs_it_may_attach(void **state)
{
	assert_int_equal(policy_complete(&p, &err), 0);
	assert_int_equal(p.n_domains, 1);
	assert_ptr_equal(policy_find(&p, geteuid()), &p.domain[0]);
	assert_ptr_equal(policy_find(&p, 0), &p.domain[0]);
	assert_null(policy_find(&p, geteuid() + 1));
}

/* H37: a user of another user namespace has no number here. */
static void h37_unknown_user_gets_nothing_unless_named(void **state)
{
	domain("all", "*", "");
	assert_non_null(policy_find(&p, 1000));
	assert_null(policy_find(&p, NOBODY_OF_OURS));
	domain("named", "65534", "");
	assert_ptr_equal(policy_find(&p, NOBODY_OF_OURS), &p.domain[1]);
}

static void user_named_somewhere_is_not_of_the_domain_of_everybody(void **state)
{
	domain("all", " * ", "");
	domain("web", "1001 , 1002,", "");
	assert_ptr_equal(policy_find(&p, 1001), &p.domain[1]);
	assert_ptr_equal(policy_find(&p, 1002), &p.domain[1]);
	assert_ptr_equal(policy_find(&p, 1003), &p.domain[0]);
}

static void root_is_of_the_first_domain_unless_named(void **state)
{
	domain("a", "1001", "");
	domain("b", "root", "");
	assert_ptr_equal(policy_find(&p, 0), &p.domain[1]);
	p.domain[1].n_users = 0;
	assert_ptr_equal(policy_find(&p, 0), &p.domain[0]);
}

static void without_rules_low_ports_are_roots(void **state)
{
	struct policy_domain *d = domain("a", "1001", "");

	assert_false(may(d, 1001, NULL, 1023));
	assert_true(may(d, 1001, NULL, 1024));
	assert_true(may(d, 0, NULL, 1));
	assert_int_equal(policy_free_ports_from(d), 1024);
}

static void with_rules_nothing_else_may_be_bound(void **state)
{
	struct policy_domain *d =
		domain("a", "1001", "80, 8000-8999, 10.0.0.2:53, [fd00::2]:53-54");

	assert_int_equal(policy_free_ports_from(d), 65536);
	assert_true(may(d, 1001, NULL, 80));
	assert_true(may(d, 1001, "10.0.0.9", 80));
	assert_false(may(d, 1001, NULL, 81));
	assert_false(may(d, 0, NULL, 81));
	assert_true(may(d, 1001, "fd00::7", 8999));
	assert_false(may(d, 1001, NULL, 9000));
	assert_true(may(d, 1001, "10.0.0.2", 53));
	assert_false(may(d, 1001, "10.0.0.3", 53));
	assert_false(may(d, 1001, NULL, 53));
	assert_true(may(d, 1001, "fd00::2", 54));
	assert_false(may(d, 1001, "10.0.0.2", 54));
}

static void any_is_every_port(void **state)
{
	struct policy_domain *d = domain("a", "1001", "any");

	assert_true(may(d, 1001, NULL, 1));
	assert_true(may(d, 1001, "::1", 65535));
}

static void wrong_rules_are_shown_with_the_right_form(void **state)
{
	static const char *const bad[] = {"0",		 "65536",      "80-79",	    "80-",
					  "-80",	 "http",       "10.0.0.2:", "10.0.0:5",
					  "[fd00::2:53", "80x",	       "80-90x",    "80 - 90",
					  "99999999999", "4294967376", ":80"};
	struct policy_domain *d = policy_domain_add(&p, "a", &err);

	for (unsigned i = 0; i < array_size(bad); i++) {
		text[0] = '\0';
		if (policy_rules_add(d, bad[i], &err) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
		assert_non_null(strstr(text, bad[i]));
		assert_non_null(strstr(text, "8000-8999"));
	}
	assert_int_equal(d->n_rules, 0);
}

static void wrong_users_are_named(void **state)
{
	static const char *const bad[] = {"no-such-user-here", "12x", "4294967295", "-1",
					  "99999999999999999999"};
	struct policy_domain *d = policy_domain_add(&p, "a", &err);

	for (unsigned i = 0; i < array_size(bad); i++) {
		assert_int_equal(policy_users_add(d, bad[i], &err), -EINVAL);
		assert_non_null(strstr(text, bad[i]));
	}
	assert_int_equal(policy_complete(&p, &err), -EINVAL);
	assert_non_null(strstr(text, "no users"));
}

static void limits_of_the_tables_hold(void **state)
{
	struct policy_domain *d = policy_domain_add(&p, "d0", &err);
	char name[64];

	for (unsigned i = 0; i < POLICY_USERS_MAX; i++)
		assert_int_equal(policy_users_add(d, "1001", &err), 0);
	assert_int_equal(policy_users_add(d, "1001", &err), -EINVAL);
	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		assert_int_equal(policy_rules_add(d, "80", &err), 0);
	assert_int_equal(policy_rules_add(d, "80", &err), -EINVAL);
	for (unsigned i = 1; i < POLICY_DOMAINS_MAX; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		assert_non_null(policy_domain_add(&p, name, &err));
	}
	assert_null(policy_domain_add(&p, "more", &err));
	p.n_domains = 1;
	assert_null(policy_domain_add(&p, "d0", &err));
	memset(name, 'x', sizeof(name));
	name[32] = '\0';
	assert_null(policy_domain_add(&p, name, &err));
	name[31] = '\0';
	assert_non_null(policy_domain_add(&p, name, &err));
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_configuration_the_user_who_runs_it_may_attach),
		TEST(h37_unknown_user_gets_nothing_unless_named),
		TEST(user_named_somewhere_is_not_of_the_domain_of_everybody),
		TEST(root_is_of_the_first_domain_unless_named),
		TEST(without_rules_low_ports_are_roots),
		TEST(with_rules_nothing_else_may_be_bound),
		TEST(any_is_every_port),
		TEST(wrong_rules_are_shown_with_the_right_form),
		TEST(wrong_users_are_named),
		TEST(limits_of_the_tables_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
