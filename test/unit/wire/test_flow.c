/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "wire/flow.h"

static const uint8_t tcp4[] = {0x46, 0, 0, 52, 0, 1, 0x40, 0, 64,   6,	  0, 0,	 192, 0, 2, 1,
			       192,  0, 2, 2,  1, 1, 1,	   1, 0x12, 0x34, 0, 80, 0,   0, 0, 1};

/* RFC 791 §3.1: the header length counts the options. */
static void ipv4_with_options(void **state)
{
	struct wire_flow f;
	struct ip_addr a;

	assert_true(wire_flow_read(tcp4, sizeof(tcp4), &f));
	assert_int_equal(ip_addr_parse("192.0.2.2", &a), 0);
	assert_true(ip_addr_eq(&f.dst, &a));
	assert_int_equal(f.l4, 24);
	assert_int_equal(f.l4_len, 28);
	assert_true(f.has_ports && !f.v6);
	assert_int_equal(f.sport, 0x1234);
	assert_int_equal(f.dport, 80);
}

/* RFC 791 §3.2: only the first fragment has a transport header. */
static void later_fragment_has_no_ports(void **state)
{
	uint8_t p[sizeof(tcp4)];
	struct wire_flow f;

	memcpy(p, tcp4, sizeof(p));
	p[7] = 3;
	assert_true(wire_flow_read(p, sizeof(p), &f));
	assert_int_equal(f.frag, 24);
	assert_false(f.has_ports);
}

/* RFC 8200 §4: hop-by-hop, then a first fragment, then UDP. */
static void ipv6_extension_headers_are_walked(void **state)
{
	uint8_t p[40 + 8 + 8 + 8] = {
		[0] = 0x60, [5] = 24,  [6] = 0,	 [7] = 64,    [23] = 1,	   [39] = 2,
		[40] = 44,  [48] = 17, [51] = 1, [56] = 0x12, [57] = 0x34, [59] = 53};
	struct wire_flow f;

	assert_true(wire_flow_read(p, sizeof(p), &f));
	assert_true(f.v6 && f.has_ports);
	assert_int_equal(f.proto, 17);
	assert_int_equal(f.l4, 56);
	assert_int_equal(f.l4_len, 8);
	assert_int_equal(f.sport, 0x1234);
	assert_int_equal(f.dport, 53);
	p[51] = 0;
	p[50] = 1;
	assert_true(wire_flow_read(p, sizeof(p), &f));
	assert_int_equal(f.frag, 256);
	assert_false(f.has_ports);
}

/* H04, H05, H21: lengths that lie. */
static void lies_are_refused(void **state)
{
	uint8_t p[sizeof(tcp4)];
	struct wire_flow f;

	for (uint32_t len = 0; len < 24; len++)
		assert_false(wire_flow_read(tcp4, len, &f));
	memcpy(p, tcp4, sizeof(p));
	p[0] = 0x44;
	assert_false(wire_flow_read(p, sizeof(p), &f));
	p[0] = 0x45;
	p[3] = 19;
	assert_false(wire_flow_read(p, sizeof(p), &f));
	p[0] = 0x56;
	assert_false(wire_flow_read(p, sizeof(p), &f));
}

/* H21: whatever the bytes, no offset lies behind what is at hand. */
static void random_bytes_stay_inside(void **state)
{
	struct rand r;
	uint8_t p[128];
	struct wire_flow f;

	rand_init(&r, 7);
	for (int i = 0; i < 200000; i++) {
		uint32_t len = (uint32_t)rand_below(&r, sizeof(p) + 1);

		for (uint32_t k = 0; k < len; k++)
			p[k] = (uint8_t)rand_u32(&r);
		if (len > 6 && i % 2)
			p[0] = (uint8_t)(i % 4 == 1 ? 0x60 : 0x45), p[6] = (uint8_t)(i % 64);
		if (wire_flow_read(p, len, &f))
			assert_true(f.l4 <= len && (!f.has_ports || f.l4 + 4 <= len));
	}
}

/* IEEE 802.1Q: the tag stands before the type. */
static void frame_type_is_behind_the_tag(void **state)
{
	uint8_t f[18] = {[12] = 0x81, [16] = 0x86, [17] = 0xdd};
	uint32_t at;

	assert_int_equal(wire_frame_type(f, 18, &at), 0x86dd);
	assert_int_equal(at, 18);
	assert_int_equal(wire_frame_type(f, 17, &at), 0);
	f[12] = 8;
	assert_int_equal(wire_frame_type(f, 17, &at), 0x0800);
	assert_int_equal(at, 14);
	assert_int_equal(wire_frame_type(f, 13, &at), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_with_options),
		cmocka_unit_test(later_fragment_has_no_ports),
		cmocka_unit_test(ipv6_extension_headers_are_walked),
		cmocka_unit_test(lies_are_refused),
		cmocka_unit_test(random_bytes_stay_inside),
		cmocka_unit_test(frame_type_is_behind_the_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
