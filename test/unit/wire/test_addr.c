/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>

#include "base/rand.h"
#include "wire/addr.h"

/* RFC 5952 §4 and §5. */
static void text_is_the_canonical_form(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"255.255.255.255", "255.255.255.255"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"2001:0DB8::0001", "2001:db8::1"},
		{"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"},
		{"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};
	char buf[ADDR_TEXT_MAX];
	struct ip_addr a;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(ip_addr_parse(t[i].in, &a), 0);
		assert_string_equal(ip_addr_text(&a, buf), t[i].out);
	}
}

static void parse_of_garbage_is_refused_and_writes_nothing(void **state)
{
	static const char *bad[] = {
		"",	    "1.2.3",  "1.2.3.256", "1.2.3.4.5", ":::",	    "1::2::3",	"g::",
		"1.2.3.4 ", "::1%lo", "12345::",   "1:2:3",	"host.org", "0x1.2.3.4"};
	struct ip_addr a = {.q = {7, 8}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ip_addr_parse(bad[i], &a), -EINVAL);
		assert_true(a.q[0] == 7 && a.q[1] == 8);
	}
}

static void any_address_survives_text_and_back(void **state)
{
	struct rand r;
	char buf[ADDR_TEXT_MAX];

	rand_init(&r, 1);
	for (int n = 0; n < 50000; n++) {
		struct ip_addr a = {.q = {rand_u64(&r), rand_u64(&r)}}, b;
		uint32_t holes = rand_u32(&r);

		for (int i = 0; i < 16; i++)
			if (holes >> (i / 2) & 1 || holes >> (8 + i) & 1)
				a.b[i] = 0;
		assert_int_equal(ip_addr_parse(ip_addr_text(&a, buf), &b), 0);
		assert_true(ip_addr_eq(&a, &b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_the_canonical_form),
		cmocka_unit_test(parse_of_garbage_is_refused_and_writes_nothing),
		cmocka_unit_test(any_address_survives_text_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
