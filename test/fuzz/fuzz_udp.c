/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP input (H03) with hostile lengths and checksums, over both families, unicast and group. The
 * input is a row of datagrams.
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_start();
	return 0;
}

static void one(struct choices *c)
{
	uint8_t kind = choose8(c);
	uint8_t cut = choose8(c);
	uint16_t said = choose16(c);
	struct frame f = {.n = 0};
	uint8_t u[8 + 255] = {0x1f, 0x90, 0, 53};
	uint32_t n = choose_bytes(c, u + 8, choose8(c));

	(kind & 1 ? frame_ip6 : frame_ip4)(&f, 17);
	if (kind & 2)
		said = (uint16_t)(8 + n);
	u[4] = (uint8_t)(said >> 8);
	u[5] = (uint8_t)said;
	if (kind & 4)
		memcpy(u, u + 8, 4); /* ports */
	if ((kind & 24) == 24 && !(kind & 1))
		memset(f.b + 30, 0xff, 4); /* broadcast */
	frame_put(&f, u, kind & 32 ? n % 9 : 8 + n);
	if (!(kind & 64))
		frame_repair(&f);
	if (kind & 128 && f.n > 41)
		memset(f.b + 40, 0, 2); /* no checksum */
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
