/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames in words, as zstack capture prints them: the usual ones, and what is cut or nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "zstack.h"

#define ETHER(type) 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, (type) >> 8, (type)&0xff

static const uint8_t tcp4[] = {ETHER(0x0800),
			       0x45,
			       0,
			       0,
			       42,
			       0,
			       0,
			       0,
			       0,
			       64,
			       6,
			       0,
			       0,
			       10,
			       0,
			       0,
			       1,
			       10,
			       0,
			       0,
			       2,
			       0x1f,
			       0x90,
			       0,
			       80,
			       0,
			       0,
			       0,
			       7,
			       0,
			       0,
			       0,
			       9,
			       0x50,
			       0x18,
			       0x01,
			       0x00,
			       0,
			       0,
			       0,
			       0,
			       'h',
			       'i'};
static const uint8_t arp[] = {ETHER(0x0806),
			      0,
			      1,
			      8,
			      0,
			      6,
			      4,
			      0,
			      1,
			      2,
			      0,
			      0,
			      0,
			      0,
			      1,
			      10,
			      0,
			      0,
			      1,
			      0,
			      0,
			      0,
			      0,
			      0,
			      0,
			      10,
			      0,
			      0,
			      2};
static const uint8_t icmp6[] = {ETHER(0x86dd),
				0x60,
				0,
				0,
				0,
				0,
				8,
				58,
				64,
				0xfd,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				1,
				0xfd,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				0,
				2,
				128,
				0,
				0,
				0,
				0,
				0,
				0,
				0};

static void says(const uint8_t *f, size_t len, const char *proto, const char *src, const char *dst,
		 const char *info)
{
	json_t *o = frame_json(f, len);

	assert_string_equal(text_of(o, "proto"), proto);
	assert_string_equal(text_of(o, "src"), src);
	assert_string_equal(text_of(o, "dst"), dst);
	assert_string_equal(text_of(o, "info"), info);
	json_decref(o);
}

const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void usual_frames_are_named(void **state)
{
	says(tcp4, sizeof(tcp4), "tcp", "10.0.0.1:8080", "10.0.0.2:80",
	     "PA seq 7 ack 9 win 256 data 2");
	says(arp, sizeof(arp), "arp", "10.0.0.1", "10.0.0.2", "who has");
	says(icmp6, sizeof(icmp6), "icmp6", "[fd00::1]", "[fd00::2]", "type 128 code 0");
}

static void a_later_fragment_has_no_ports(void **state)
{
	uint8_t f[sizeof(tcp4)];

	memcpy(f, tcp4, sizeof(f));
	f[14 + 7] = 2;
	says(f, sizeof(f), "ip", "10.0.0.1", "10.0.0.2", "fragment at 16");
}

static void a_vlan_tag_is_looked_through(void **state)
{
	uint8_t f[sizeof(tcp4) + 4] = {0};

	memcpy(f, tcp4, 12);
	f[12] = 0x81;
	memcpy(f + 16, tcp4 + 12, sizeof(tcp4) - 12);
	says(f, sizeof(f), "tcp", "10.0.0.1:8080", "10.0.0.2:80", "PA seq 7 ack 9 win 256 data 2");
}

/* Each in memory of its own length, so that a sanitizer sees what is read behind it. */
static void anything_cut_anywhere_is_said_somehow(void **state)
{
	static const struct {
		const uint8_t *f;
		size_t len;
	} whole[] = {{tcp4, sizeof(tcp4)}, {arp, sizeof(arp)}, {icmp6, sizeof(icmp6)}};

	srand(1);
	for (unsigned i = 0; i < 3000; i++) {
		size_t len = (size_t)rand() % (whole[i % 3].len + 1);
		uint8_t *f = malloc(len + 1);
		json_t *o;

		memcpy(f, whole[i % 3].f, len);
		for (unsigned k = 0; len > 14 && i >= 300 && k < 3; k++)
			f[12 + (size_t)rand() % (len - 12)] = (uint8_t)rand();
		o = frame_json(f, len);
		assert_non_null(o);
		json_decref(o);
		free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_frames_are_named),
		cmocka_unit_test(a_later_fragment_has_no_ports),
		cmocka_unit_test(a_vlan_tag_is_looked_through),
		cmocka_unit_test(anything_cut_anywhere_is_said_somehow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
