/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ICMP and ICMPv6: echo, and errors that quote packets (H18). The input is a row of messages: type,
 * code, and a quoted packet of ours, over which bytes of the input are written. Odd rows are UDP to
 * a port that nobody has, so that the host makes errors itself.
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_start();
	return 0;
}

/* The IP header of a frame with source and destination exchanged: a packet that we sent. */
static void quote(struct frame *f, bool v6, uint8_t proto, const uint8_t l4[8])
{
	struct frame q = {.n = 0};
	unsigned at = v6 ? 8 : 12, len = v6 ? 16 : 4;
	uint8_t addr[16];

	if (v6)
		frame_ip6(&q, proto);
	else
		frame_ip4(&q, proto);
	memcpy(addr, q.b + 14 + at, len);
	memcpy(q.b + 14 + at, q.b + 14 + at + len, len);
	memcpy(q.b + 14 + at + len, addr, len);
	frame_put(&q, l4, 8);
	frame_repair(&q);
	frame_put(f, q.b + 14, q.n - 14);
}

static void put_message(struct frame *f, struct choices *c, bool v6)
{
	uint8_t h[8];
	uint8_t l4[8] = {0, 53, 0x1f, 0x90, 0, 8};

	memset(h, 0, sizeof(h));
	choose_bytes(c, h, 8);
	frame_put(f, h, 8);
	quote(f, v6, choose8(c) & 1 ? 6 : 17, l4);
}

static void one(struct choices *c)
{
	uint8_t kind = choose8(c);
	uint8_t cut = choose8(c);
	bool v6 = kind & 1;
	struct frame f = {.n = 0};
	uint8_t b[64];
	uint32_t at, n;

	if (kind & 2) {
		uint8_t u[12] = {0x1f, 0x90, 0, (uint8_t)(kind & 4 ? 53 : 54), 0, 12};

		(v6 ? frame_ip6 : frame_ip4)(&f, 17);
		frame_put(&f, u, sizeof(u));
	} else {
		(v6 ? frame_ip6 : frame_ip4)(&f, v6 ? 58 : 1);
		put_message(&f, c, v6);
	}
	at = 14 + choose8(c) % (f.n - 14);
	n = choose_bytes(c, b, choose8(c) % sizeof(b));
	if (at + n > f.n)
		f.n = at + n;
	memcpy(f.b + at, b, n);
	if (kind & 8 && cut < f.n)
		f.n -= cut;
	if (kind & 0xf0)
		frame_repair(&f);
	if (kind > 0xf8)
		host_later((uint64_t)cut * 10000000);
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
