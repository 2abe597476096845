/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ethernet, VLAN, ARP and neighbour discovery. The input is a row of
 *	kind, length, bytes
 * where the bytes go over a good frame of that kind from some offset on, or time passes, or the
 * host sends to a neighbour.
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_start();
	return 0;
}

static void put_good_arp(struct frame *f, uint8_t op)
{
	uint8_t a[28] = {0,  1, 8, 0, 6, 4, 0, op, 2, 0, 0,  0, 0, 2,
			 10, 0, 0, 2, 2, 0, 0, 0,  0, 1, 10, 0, 0, 1};

	frame_eth(f, 0x0806);
	frame_put(f, a, sizeof(a));
}

static void put_good_nd(struct frame *f, uint8_t type)
{
	uint8_t n[32] = {type, 0,	 0,	   0, 0x60, 0, 0, 0, 0x20, 1, 0x0d,
			 0xb8, [23] = 1, [24] = 1, 1, 2,    0, 0, 0, 0,	   2};

	frame_ip6(f, 58);
	frame_put(f, n, sizeof(n));
}

/* Bytes of the input over the frame, and perhaps a new length. */
static void spoil(struct frame *f, struct choices *c)
{
	uint8_t n = choose8(c);
	uint32_t off = choose8(c);
	uint8_t b[255];

	n = (uint8_t)choose_bytes(c, b, n);
	if (off > f->n)
		off = f->n;
	if (off + n > f->n)
		f->n = off + n;
	memcpy(f->b + off, b, n);
}

static void one(struct choices *c)
{
	uint8_t kind = choose8(c);
	uint8_t cut = choose8(c);
	struct frame f = {.n = 0};

	switch (kind % 8) {
	case 0:
	case 1:
		put_good_arp(&f, kind % 8 + 1);
		break;
	case 2:
	case 3:
		put_good_nd(&f, (uint8_t)(133 + (kind >> 3) % 5));
		break;
	case 4:
		frame_eth(&f, choose16(c));
		break;
	case 5:
		host_send(cut & 1, (uint8_t)(2 + (kind >> 3)));
		return;
	case 6:
		host_later((uint64_t)(cut + 1) * 200000000);
		return;
	}
	spoil(&f, c);
	if (kind & 0x80)
		frame_repair(&f);
	if ((kind & 0x40) && cut < f.n)
		f.n = cut;
	host_frame(&f, cut & 63);
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
