/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sequence numbers. Inside the engine a stream position is a 64-bit offset that never wraps; the
 * wire carries its low 32 bits. They are unwrapped once, here, against a position that is known
 * (RCV.NXT for a sequence number, SND.UNA for an acknowledgement), so that no comparison elsewhere
 * is modular (RFC 9293 §3.4). The way back to the wire is a cast to uint32_t.
 *
 * A stream begins at seq_start(): then even the oldest duplicate unwraps to a position below the
 * start and stays positive.
 */
#ifndef ZS_BASE_SEQ_H
#define ZS_BASE_SEQ_H

#include <stdint.h>

/* The 64-bit position of an initial sequence number. */
static inline uint64_t seq_start(uint32_t isn)
{
	return (1ull << 32) + isn;
}

/* The position nearest to near whose low 32 bits are wire. Of the two at distance 2^31 it is the
 * lower, that is the old one. Where that would lie below 0 (only when near < 2^31), it is the next
 * one up instead: a caller that adds a length to it must not wrap around to a small number. */
static inline uint64_t seq_unwrap(uint64_t near, uint32_t wire)
{
	uint32_t ahead = wire - (uint32_t)near;
	uint64_t pos = near + ahead;

	if (ahead >= 1u << 31 && pos >= 1ull << 32)
		pos -= 1ull << 32;
	return pos;
}

#endif
