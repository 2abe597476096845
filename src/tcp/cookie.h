/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Initial sequence numbers (RFC 6528) and SYN cookies (RFC 4987 §3.6). Pure functions of a key, a
 * flow and the time: nothing is stored for a SYN that was answered with a cookie.
 */
#ifndef ZS_TCP_COOKIE_H
#define ZS_TCP_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/tcp.h"

/* What a cookie carries over from the SYN. Without time-stamps wscale and sack are lost. */
struct tcp_cookie {
	uint16_t mss;	/* rounded down to one of eight values */
	uint8_t wscale; /* the peer's; 15 = none */
	bool sack;
};
#define TCP_COOKIE_NO_WSCALE 15

/* RFC 6528 §3: ISN = M + F(flow, key), M a clock of 4 µs. */
uint32_t tcp_isn(const uint8_t key[16], const struct tcp_key *flow, uint64_t now_ns);

/* The SYN-ACK's sequence number for a SYN with sequence number irs. */
uint32_t tcp_cookie_make(const uint8_t key[16], const struct tcp_key *flow, uint32_t irs,
			 uint16_t mss, uint64_t now_ns);
/* Is `cookie` (ack - 1 of the third segment) ours, for irs (its seq - 1), and younger than 128 s?
 * Sets out->mss; the rest as of a peer without options. */
bool tcp_cookie_check(const uint8_t key[16], const struct tcp_key *flow, uint32_t irs,
		      uint32_t cookie, uint64_t now_ns, struct tcp_cookie *out) must_check;

/* For peers with time-stamps: the low five bits of the SYN-ACK's TSval carry wscale and sack; the
 * value is at most ts. And back from the TSecr of the third segment. */
uint32_t tcp_cookie_ts(uint32_t ts, const struct tcp_cookie *c);
void tcp_cookie_ts_read(uint32_t tsecr, struct tcp_cookie *out);

#endif
