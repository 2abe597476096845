/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The TCP header and its options, bytes <-> small structs (RFC 9293 §3.1, §3.2; RFC 7323; RFC
 * 2018). Everything in these structs but the header is in host order.
 *
 * Not done: authentication (RFC 5925), fast open (RFC 7413), user timeout (RFC 5482). They are read
 * past like any unknown option (RFC 9293 MUST-6).
 */
#ifndef ZS_WIRE_TCP_H
#define ZS_WIRE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/be.h"

struct tcp_hdr {
	be16_t sport;
	be16_t dport;
	be32_t seq;
	be32_t ack;
	uint8_t off; /* data offset in the upper four bits, in 32-bit words; the lower are reserved
		      */
	uint8_t flags;
	be16_t win;
	be16_t csum;
	be16_t urg;
};

_Static_assert(sizeof(struct tcp_hdr) == 20, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, seq) == 4, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, ack) == 8, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, off) == 12, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, flags) == 13, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, win) == 14, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, csum) == 16, "RFC 9293 §3.1");
_Static_assert(offsetof(struct tcp_hdr, urg) == 18, "RFC 9293 §3.1");

enum {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
	TCP_URG = 32,
	TCP_ECE = 64,
	TCP_CWR = 128,
};

#define TCP_OPTS_MAX   40 /* bytes: a data offset of 15 words less the header */
#define TCP_WSCALE_MAX 14 /* RFC 7323 §2.3 */
#define TCP_SACK_MAX   4  /* blocks: (40 - 2) / 8 */

/* Header with options, in bytes, as the header says: 0 to 60. Below 20 it is to be dropped (H03).
 */
static inline unsigned tcp_hdr_len(const struct tcp_hdr *h)
{
	return (h->off >> 4) * 4u;
}

/* The off byte of a header with opts_len bytes of options, a multiple of 4. */
static inline uint8_t tcp_hdr_off(unsigned opts_len)
{
	return (uint8_t)((sizeof(struct tcp_hdr) + opts_len) / 4 << 4);
}

/* Stream bytes [start, end) as sequence numbers. As received: not checked against anything. */
struct tcp_sack_block {
	uint32_t start;
	uint32_t end;
};

/* What a segment's options said. */
struct tcp_opts {
	bool have_mss;	  /* SYN only */
	bool have_wscale; /* SYN only */
	bool have_ts;
	bool sack_ok;	 /* SYN only: SACK-permitted */
	uint16_t mss;	 /* as sent, never 0; the engine applies its minimum (H07) */
	uint8_t wscale;	 /* at most TCP_WSCALE_MAX */
	uint8_t n_sack;	 /* blocks in sack[]; never on a SYN */
	uint32_t ts_val; /* with have_ts */
	uint32_t ts_ecr;
	struct tcp_sack_block sack[TCP_SACK_MAX];
};

/* What options to send. */
struct tcp_opts_out {
	uint16_t mss; /* 0 = no MSS option */
	bool have_wscale;
	bool have_ts;
	bool sack_ok;
	uint8_t wscale;
	uint8_t n_sack; /* at most TCP_SACK_MAX, the most important first: what has no room is left
			   out */
	uint32_t ts_val;
	uint32_t ts_ecr;
	struct tcp_sack_block sack[TCP_SACK_MAX];
};

/* Reads len bytes of options behind a TCP header. syn: the segment has SYN set; MSS, window scale
 * and SACK-permitted are ignored without it, SACK blocks with it. Reads at most len bytes, once. 0,
 * or -EBADMSG when the list can't be walked: an option of length 0 or 1 (H01) or one that goes past
 * the end (H02). *out is then what stood before it. */
int tcp_opts_parse(const uint8_t *opts, unsigned len, bool syn, struct tcp_opts *out) must_check;

/* Writes the options, padded with NOP to a multiple of 4 bytes. out has room for TCP_OPTS_MAX.
 * Returns the bytes written. Without the SYN options, timestamps and three blocks fill 40 bytes. */
unsigned tcp_opts_write(uint8_t *out, const struct tcp_opts_out *o);

#endif
