/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IPv4 and IPv6 input: headers, options, extension headers (H21), fragments and their reassembly
 * (H09), messages about groups. The input is a row of packets: fields that the fuzzer shall find
 * early are choices of their own, the rest are bytes over good headers.
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_start();
	return 0;
}

static void put_rest(struct frame *f, struct choices *c)
{
	uint8_t b[1400];
	uint32_t fill = choose16(c) % 1400;
	uint32_t n;

	memset(b, 0x5a, sizeof(b));
	n = choose_bytes(c, b, choose8(c));
	frame_put(f, b, n > fill ? n : fill);
}

/* Byte `at` of the IP header, counted from 0. */
static uint8_t *l3(struct frame *f, unsigned at)
{
	return f->b + 14 + at;
}

static void packet4(struct frame *f, struct choices *c, uint8_t how)
{
	uint16_t frag = choose16(c);
	uint8_t options = how & 3 ? 0 : choose8(c) % 40 & ~3u;
	uint8_t b[40];

	frame_ip4(f, (how & 4) ? 17 : choose8(c));
	*l3(f, 0) = (uint8_t)(0x45 + options / 4);
	*l3(f, 5) = how & 0x18; /* few identifications, so that fragments meet */
	*l3(f, 6) = (uint8_t)(frag >> 8 & 0x3f);
	*l3(f, 7) = (uint8_t)frag;
	memset(b, 1, sizeof(b));
	choose_bytes(c, b, options);
	frame_put(f, b, options);
}

static void put_ext(struct frame *f, struct choices *c, uint8_t next)
{
	uint8_t len = choose8(c) % 4;
	uint8_t b[32] = {next, len, 1, 4};

	choose_bytes(c, b + 2, choose8(c) % ((len + 1u) * 8 - 1));
	frame_put(f, b, (len + 1u) * 8);
}

static void packet6(struct frame *f, struct choices *c, uint8_t how)
{
	static const uint8_t ext[] = {0, 43, 44, 60, 60, 44, 59, 17};
	uint8_t chain[8], n = how & 7;

	for (unsigned i = 0; i < n; i++)
		chain[i] = ext[choose8(c) % sizeof(ext)];
	frame_ip6(f, n > 0 ? chain[0] : choose8(c));
	for (unsigned i = 0; i < n; i++) {
		uint8_t next = i + 1 < n ? chain[i + 1] : 17;
		uint16_t frag = choose16(c);
		uint8_t b[8] = {next, 0, (uint8_t)(frag >> 8), (uint8_t)frag, [7] = how & 0x18};

		if (chain[i] == 44)
			frame_put(f, b, sizeof(b));
		else
			put_ext(f, c, next);
	}
}

/* One of four pieces of 16 bytes that fit together, of one of two datagrams. */
static void tile(struct frame *f, struct choices *c, bool v6)
{
	uint8_t which = choose8(c);
	uint8_t i = which % 4, more = i < 3, id = which & 64;
	uint8_t l4[16] = {0x1f, 0x90, 0, 53, 0, 64};
	uint8_t ext[8] = {17, 0, 0, (uint8_t)(i * 16 | more), [7] = id};

	if (v6) {
		frame_ip6(f, 44);
		frame_put(f, ext, sizeof(ext));
	} else {
		frame_ip4(f, 17);
		*l3(f, 5) = id;
		*l3(f, 6) = (uint8_t)(more << 5);
		*l3(f, 7) = (uint8_t)(i * 2);
	}
	if (i > 0)
		memset(l4, which, sizeof(l4));
	frame_put(f, l4, sizeof(l4) - (i == 3 ? which >> 4 & 3 : 0));
}

/* IGMP or MLD from a neighbour to all, so that it reaches its parser. */
static void group_message(struct frame *f, struct choices *c, bool v6)
{
	static const uint8_t type4[] = {0x11, 0x12, 0x16, 0x17, 0x22};
	static const uint8_t type6[] = {130, 131, 132, 143};
	uint8_t b[64] = {0}, len = choose8(c) % 64;

	choose_bytes(c, b, len);
	if (v6) {
		frame_ip6(f, 58);
		*l3(f, 7) = 1;
		memcpy(l3(f, 8), "\xfe\x80", 2);
		memset(l3(f, 24), 0, 16);
		memcpy(l3(f, 24), "\xff\2", 2);
		*l3(f, 39) = 1;
		b[0] = type6[b[0] % sizeof(type6)];
		b[1] = 0;
	} else {
		frame_ip4(f, 2);
		memcpy(l3(f, 16), "\xe0\0\0\1", 4);
		b[0] = type4[b[0] % sizeof(type4)];
	}
	memcpy(f->b, v6 ? "\x33\x33\0\0\0\1" : "\1\0\x5e\0\0\1", 6);
	frame_put(f, b, len);
}

static void one(struct choices *c)
{
	uint8_t kind = choose8(c);
	uint8_t cut = choose8(c);
	struct frame f = {.n = 0};

	if (kind % 16 == 15) {
		host_later((uint64_t)cut * 1000000000);
		return;
	}
	if (kind % 16 == 14) {
		tile(&f, c, kind & 0x80);
	} else if (kind % 16 == 13) {
		group_message(&f, c, kind & 0x80);
	} else {
		(kind & 0x80 ? packet6 : packet4)(&f, c, kind);
		put_rest(&f, c);
	}
	if (kind & 0x20 || cut < 250)
		frame_repair(&f);
	if ((kind & 0x40) && cut < 100)
		f.n -= f.n > cut ? cut : 0;
	if (cut > 240)
		*l3(&f, choose8(c) % 40) ^= choose8(c);
	host_frame(&f, cut & 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};

	host_up(choose8(&c));
	while (c.left > 0)
		one(&c);
	host_down();
	return 0;
}
