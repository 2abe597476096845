/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rows without a far end: pcap, whose file is read back byte by byte, and null, which takes
 * all.
 */
#include "dev_test.h"

static char in[64], out[64];

/* A file of classic pcap, microseconds, Ethernet: global header, then a header and a frame each. */
static void file_header(FILE *f)
{
	const uint32_t h[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};

	assert_int_equal(fwrite(h, sizeof(h), 1, f), 1);
}

static void file_frame(FILE *f, const uint8_t *frame, uint32_t len)
{
	const uint32_t h[] = {1, 2, len, len};

	assert_int_equal(fwrite(h, sizeof(h), 1, f), 1);
	assert_int_equal(fwrite(frame, len, 1, f), 1);
}

static void frames_of_the_file_are_received(void **state)
{
	uint8_t want[FRAME_MAX], got[FRAME_MAX];
	struct pkt p;

	srand(1);
	for (uint32_t size = 18; size <= 1472; size += 97) {
		uint32_t len = frame_make(want, size);

		assert_int_equal(dev_rx_burst(port, 0, &p, 1, &drops), 1);
		assert_int_equal(pkt_copy_out(p.m, 0, sizeof(got), got), len);
		assert_memory_equal(got, want, len);
		pkt_free(p.m);
	}
	assert_int_equal(dev_rx_burst(port, 0, &p, 1, &drops), 0);
}

static void chains_and_outside_memory_go_into_the_file(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t f[FRAME_MAX];
	unsigned freed = 0;

	srand(2);
	for (uint32_t size = 18; size <= 1472; size += 97) {
		uint32_t len = frame_make(f, size);
		struct rte_mbuf *body =
			size & 1 ? body_make(f, len) : body_attach(f, len, &info, &freed);
		unsigned before = freed;

		assert_int_equal(send_one(chain_make(f, len, 4, body), PKT_F_L4_CSUM), 1);
		pkt_free(body);
		assert_int_equal(freed - before, size & 1 ? 0 : 1);
	}
	assert_int_equal(copied, 0);
	assert_int_equal(dev_wake_kind(port, 0), DEV_WAKE_TIMER);
}

static void null_takes_everything_and_gives_it_back(void **state)
{
	struct rte_mbuf_ext_shared_info info;
	uint8_t f[FRAME_MAX];
	unsigned freed = 0;
	uint32_t len = frame_make(f, 1000);
	struct rte_mbuf *body = body_attach(f, len, &info, &freed);
	struct pkt p = {.m = chain_make(f, len, 3, body), .flags = PKT_F_L4_CSUM};

	pkt_free(body);
	assert_int_equal(dev_tx_burst(far, 0, &p, 1, &pools, &drops, &copied), 1);
	assert_int_equal(freed, 1);
	assert_false(dev_tx_reclaim(far, 0));
}

/* After the port was closed: what was sent, and its checksums. */
static void file_holds_what_was_sent(void)
{
	uint8_t want[FRAME_MAX], got[FRAME_MAX];
	uint32_t h[6];
	FILE *f = fopen(out, "rb");

	assert_non_null(f);
	assert_int_equal(fread(h, 24, 1, f), 1);
	srand(2);
	for (uint32_t size = 18; size <= 1472; size += 97) {
		uint32_t len = frame_make(want, size);

		assert_int_equal(fread(h, 16, 1, f), 1);
		assert_int_equal(h[2], len);
		assert_int_equal(fread(got, len, 1, f), 1);
		assert_memory_equal(got, want, 40);
		assert_memory_equal(got + 42, want + 42, len - 42);
		assert_int_equal(udp_sum(got, len), 0xffff);
	}
	fclose(f);
}

static int setup(void **state)
{
	uint8_t f[FRAME_MAX];
	char spec[160];
	FILE *file;

	snprintf(in, sizeof(in), "/tmp/zs-in-%d.pcap", getpid());
	snprintf(out, sizeof(out), "/tmp/zs-out-%d.pcap", getpid());
	file = fopen(in, "wb");
	if (file == NULL)
		return -1;
	file_header(file);
	srand(1);
	for (uint32_t size = 18; size <= 1472; size += 97)
		file_frame(file, f, frame_make(f, size));
	fclose(file);
	snprintf(spec, sizeof(spec), "net_pcap0,rx_pcap=%s,tx_pcap=%s", in, out);
	return start(spec, "net_null0,no-rx=1", false);
}

static int teardown(void **state)
{
	stop(state);
	file_holds_what_was_sent();
	unlink(in);
	unlink(out);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_the_file_are_received),
		cmocka_unit_test(chains_and_outside_memory_go_into_the_file),
		cmocka_unit_test(null_takes_everything_and_gives_it_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
