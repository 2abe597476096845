/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The capture file, read back block by block as the pcapng draft describes it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <rte_eal.h>

#include "base/csum.h"
#include "stack/stack_priv.h"

static struct pkt_pools pools;
static uint8_t file[16384];
static size_t file_len;

static int up(void **state)
{
	char *argv[] = {"t",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "64",	"--log-level",
			"1",	       NULL};

	if (rte_eal_init(9, argv) < 0)
		return -1;
	pools.hdr =
		rte_pktmbuf_pool_create("hdr", 63, 0, 0, RTE_PKTMBUF_HEADROOM + PKT_HDR_ROOM, 0);
	return pools.hdr == NULL ? -1 : 0;
}

/* Ethernet, IPv4, UDP with n bytes; the checksum field holds rubbish. */
static struct rte_mbuf *frame(unsigned n)
{
	static const uint8_t head[] = {2,    0, 0,  0, 0, 2, 2, 0, 0,  0,  0, 1, 8,    0,
				       0x45, 0, 0,  0, 0, 0, 0, 0, 64, 17, 0, 0, 10,   0,
				       0,    1, 10, 0, 0, 2, 0, 7, 0,  7,  0, 0, 0x12, 0x34};
	struct rte_mbuf *m = pkt_alloc_hdr(&pools);
	uint8_t *f = pkt_put(m, (uint16_t)(sizeof(head) + n));

	memcpy(f, head, sizeof(head));
	f[17] = (uint8_t)(28 + n);
	f[39] = (uint8_t)(8 + n);
	for (unsigned i = 0; i < n; i++)
		f[sizeof(head) + i] = (uint8_t)(i * 7);
	return m;
}

static void record(uint32_t snap, const struct pkt *p, unsigned n, bool out)
{
	char path[] = "/tmp/zs-capture-XXXXXX";
	int fd = mkstemp(path);
	struct capture *c;
	FILE *f;

	assert_true(fd >= 0);
	assert_int_equal(capture_open(path, snap, &c), 0);
	for (unsigned i = 0; i < n; i++)
		capture_frame(c, &p[i], p[i].port, out);
	capture_close(c);
	f = fdopen(fd, "r");
	file_len = fread(file, 1, sizeof(file), f);
	fclose(f);
	unlink(path);
}

static uint32_t word(size_t at)
{
	uint32_t v;

	assert_true(at + 4 <= file_len);
	memcpy(&v, file + at, 4);
	return v;
}

/* The block after `at`, whose two lengths must agree. */
static size_t next_block(size_t at)
{
	uint32_t len = word(at + 4);

	assert_int_equal(len % 4, 0);
	assert_int_equal(word(at + len - 4), len);
	return at + len;
}

static void a_frame_is_a_packet_block_behind_its_interface(void **state)
{
	struct pkt p = {.m = frame(11), .port = 1};
	size_t at = 0;

	record(0, &p, 1, false);
	assert_int_equal(word(at), 0x0a0d0d0a);
	assert_int_equal(word(8), 0x1a2b3c4d);
	for (int i = 0; i < 2; i++) {
		at = next_block(at);
		assert_int_equal(word(at), 1);
		assert_int_equal(word(at + 8) & 0xffff, 1); /* Ethernet */
	}
	at = next_block(at);
	assert_int_equal(word(at), 6);
	assert_int_equal(word(at + 8), 1);
	assert_int_equal(word(at + 20), 42 + 11);
	assert_int_equal(word(at + 24), 42 + 11);
	assert_memory_equal(file + at + 28, pkt_data(p.m), 42 + 11);
	assert_int_equal(next_block(at), file_len);
	pkt_free(p.m);
}

static void a_snap_length_cuts_what_is_kept(void **state)
{
	struct pkt p = {.m = frame(50)};
	size_t at;

	record(20, &p, 1, false);
	at = next_block(next_block(0));
	assert_int_equal(word(at + 20), 20);
	assert_int_equal(word(at + 24), 92);
	assert_int_equal(next_block(at), file_len);
	pkt_free(p.m);
}

/* What two frames of UDP port 7 between 10.0.0.1 and 10.0.0.2 leave in memory. */
static struct capture_count remember(size_t bytes, const struct capture_filter *f)
{
	struct pkt p = {.m = frame(11)};
	struct capture_count n;
	struct capture *c;
	size_t got;

	assert_int_equal(capture_open_memory(bytes, 0, f, &c), 0);
	assert_true(capture_fd(c) >= 0);
	capture_frame(c, &p, 0, false);
	capture_frame(c, &p, 0, true);
	file_len = 0;
	while ((got = capture_read(c, file + file_len, 50, &n)) != 0)
		file_len += got;
	capture_close(c);
	pkt_free(p.m);
	return n;
}

static void frames_in_memory_are_read_in_pieces(void **state)
{
	struct capture_filter all = {0};
	size_t at = 0;

	assert_int_equal(remember(4096, &all).frames, 2);
	for (int i = 0; i < 4; i++)
		at = next_block(at);
	assert_int_equal(at, file_len);
}

static void frames_that_find_no_room_are_lost_and_counted(void **state)
{
	struct capture_filter all = {0};
	struct capture_count n = remember(320, &all);

	assert_int_equal(n.frames, 1);
	assert_int_equal(n.lost, 1);
	assert_int_equal(next_block(next_block(next_block(0))), file_len);
}

static void a_filter_lets_through_what_it_names(void **state)
{
	struct ip_addr one = {.b = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}}, other = one;
	static const struct {
		uint16_t ether_type, port;
		uint8_t proto, host; /* 1 a host of the frame, 2 another */
		unsigned frames;
	} t[] = {{.frames = 2},
		 {.proto = 17, .frames = 2},
		 {.proto = 6},
		 {.ether_type = 0x0800, .port = 7, .frames = 2},
		 {.ether_type = 0x86dd},
		 {.port = 8},
		 {.host = 1, .proto = 17, .port = 7, .frames = 2},
		 {.host = 2}};

	other.b[15] = 9;
	for (unsigned i = 0; i < array_size(t); i++) {
		struct capture_filter f = {
			.ether_type = t[i].ether_type, .proto = t[i].proto, .port = t[i].port};

		if (t[i].host != 0)
			f.host = t[i].host == 1 ? one : other;
		assert_int_equal(remember(4096, &f).frames, t[i].frames);
	}
	assert_int_equal(remember(4096, &(struct capture_filter){.count = 1}).frames, 1);
}

static void a_checksum_left_to_the_port_is_completed_in_the_copy(void **state)
{
	struct pkt p = {.m = frame(11), .flags = PKT_F_L4_CSUM};
	struct ip_addr src = {.b = {[12] = 10, 0, 0, 1}}, dst = {.b = {[12] = 10, 0, 0, 2}};
	const uint8_t *udp;
	size_t at;

	record(0, &p, 1, true);
	at = next_block(next_block(0));
	udp = file + at + 28 + 34;
	assert_int_equal(csum_fold(csum_add(csum_pseudo(0, src.b, dst.b, false, 17, 19), udp, 19)),
			 0xffff);
	assert_int_equal(pkt_data(p.m)[40], 0x12); /* the frame itself is as it was */
	pkt_free(p.m);
}

static void a_file_that_cannot_be_opened_is_an_error(void **state)
{
	struct capture *c;

	assert_int_equal(capture_open("/nonexistent/x.pcapng", 0, &c), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_is_a_packet_block_behind_its_interface),
		cmocka_unit_test(a_snap_length_cuts_what_is_kept),
		cmocka_unit_test(frames_in_memory_are_read_in_pieces),
		cmocka_unit_test(frames_that_find_no_room_are_lost_and_counted),
		cmocka_unit_test(a_filter_lets_through_what_it_names),
		cmocka_unit_test(a_checksum_left_to_the_port_is_completed_in_the_copy),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_an_error),
	};

	return cmocka_run_group_tests(tests, up, NULL);
}
