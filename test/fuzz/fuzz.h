/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the fuzz targets share: the input as a row of choices, and a host of Ethernet, IP and UDP to
 * which frames are given as the stack's switchboard does it.
 */
#ifndef ZS_FUZZ_H
#define ZS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void expect(bool ok)
{
	if (!ok)
		abort();
}

/* What is left of the input. Past the end every choice is 0. */
struct choices {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t choose8(struct choices *c)
{
	if (c->left == 0)
		return 0;
	c->left--;
	return *c->p++;
}

static inline uint16_t choose16(struct choices *c)
{
	uint16_t hi = choose8(c);

	return (uint16_t)(hi << 8 | choose8(c));
}

static inline uint32_t choose32(struct choices *c)
{
	uint32_t hi = choose16(c);

	return hi << 16 | choose16(c);
}

/* Copies at most n bytes; returns how many there were. */
static inline uint32_t choose_bytes(struct choices *c, void *out, uint32_t n)
{
	if (n > c->left)
		n = (uint32_t)c->left;
	memcpy(out, c->p, n);
	c->p += n;
	c->left -= n;
	return n;
}

/* ---- the host: 02:…:01, 10.0.0.1/24, 2001:db8::1/64, UDP port 53 ---- */

#define FRAME_MAX 2048

struct frame {
	uint8_t b[FRAME_MAX];
	uint32_t n;
};

void host_start(void);
/* A fresh host; everything is back in its pool after host_down. After that many allocations one
 * fails (H22); 0: none. */
void host_up(uint8_t fail_at);
void host_down(void);
/* Gives a frame, in memory of that exact size or in segments of at most `cut` bytes (cut > 0). */
void host_frame(const struct frame *f, uint8_t cut);
void host_later(uint64_t ns);
/* A packet of the host's own to 10.0.0.x or 2001:db8::x. */
void host_send(bool v6, uint8_t x);

/* Frames by layers; each may be spoiled before the next one is put behind it. */
void frame_eth(struct frame *f, uint16_t type);
void frame_put(struct frame *f, const void *bytes, uint32_t n);
void frame_ip4(struct frame *f, uint8_t proto);
void frame_ip6(struct frame *f, uint8_t next);
/* Makes lengths and checksums right where they can be found: IPv4 total length and header checksum,
 * IPv6 payload length, and the L4 checksum of a packet without options and fragments. */
void frame_repair(struct frame *f);

#endif
