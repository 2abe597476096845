/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who talks to whom in a packet that lies in one piece: for those who only look (captures, the
 * tool, errors about a packet that was not sent). What comes in for us is checked and taken apart
 * by src/ip; what goes out is laid out for the port by src/dev, where each cycle counts.
 *
 * The bytes may be anything, and may be only the beginning of the packet.
 */
#ifndef ZS_WIRE_FLOW_H
#define ZS_WIRE_FLOW_H

#include "base/assert.h"
#include "wire/addr.h"

struct wire_flow {
	struct ip_addr src, dst;
	uint32_t l4;	       /* where the transport header begins, from the IP header on */
	uint32_t l4_len;       /* bytes behind there, by what IP says: there may be fewer at hand */
	uint32_t frag;	       /* offset of a fragment, bytes; 0: none, or the first */
	uint16_t sport, dport; /* TCP and UDP, if has_ports */
	uint8_t proto;	       /* of the transport, behind IPv6's extension headers */
	bool v6;
	bool has_ports;
};

/* Reads a packet that begins with its IP header, of which len bytes are at hand. False: it is no
 * IP, or ends within the IP headers. */
bool wire_flow_read(const uint8_t *ip, uint32_t len, struct wire_flow *f) must_check;

/* The type of an Ethernet frame, behind a VLAN tag if there is one, and where its payload begins.
 * 0: too short. */
uint16_t wire_frame_type(const uint8_t *frame, uint32_t len, uint32_t *payload);

#endif
