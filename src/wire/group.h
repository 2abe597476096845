/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages about multicast groups: IGMP (RFC 1112, 2236, 3376 §4) and MLD (RFC 2710, 3810 §5). The
 * two families differ in the size of an address and in where the delay stands; record types are
 * the same. Lengths are checked by the reader before it looks.
 */
#ifndef ZS_WIRE_GROUP_H
#define ZS_WIRE_GROUP_H

#include "base/be.h"

enum {
	IGMP_QUERY = 0x11,
	IGMP_V1_REPORT = 0x12,
	IGMP_V2_REPORT = 0x16,
	IGMP_V2_LEAVE = 0x17,
	IGMP_V3_REPORT = 0x22,

	MLD_QUERY = 130,
	MLD_V1_REPORT = 131,
	MLD_V1_DONE = 132,
	MLD_V2_REPORT = 143,

	GROUP_IS_INCLUDE = 1,
	GROUP_IS_EXCLUDE = 2, /* with no sources: we listen to all of them */
	GROUP_TO_INCLUDE = 3, /* with no sources: we left */
	GROUP_TO_EXCLUDE = 4, /* with no sources: we joined */
	GROUP_ALLOW = 5,
	GROUP_BLOCK = 6,
};

/* A query, and a report before version 3. */
struct wire_igmp {
	uint8_t type;
	uint8_t max_resp; /* queries: in 100 ms, 0 in version 1, a float from 128 on in version 3 */
	be16_t csum;
	be32_t group; /* 0: about all groups */
};
#define IGMP_V3_QUERY_LEN 12 /* and longer; those before have 8 bytes */

/* A query, and a report or done before version 2. */
struct wire_mld {
	uint8_t type;
	uint8_t code;
	be16_t csum;
	be16_t max_resp; /* queries: ms, a float from 32768 on in version 2 */
	be16_t reserved;
	uint8_t group[16];
};
#define MLD_V2_QUERY_LEN 28

/* IGMPv3 and MLDv2 reports: then n records. */
struct wire_report {
	uint8_t type;
	uint8_t reserved;
	be16_t csum;
	be16_t reserved2;
	be16_t n;
};

/* Then the group: 4 or 16 bytes. */
struct wire_record {
	uint8_t type;
	uint8_t aux_len;
	be16_t sources;
};

_Static_assert(sizeof(struct wire_igmp) == 8, "RFC 2236 §2");
_Static_assert(sizeof(struct wire_mld) == 24, "RFC 2710 §3");
_Static_assert(sizeof(struct wire_report) == 8, "RFC 3376 §4.2");
_Static_assert(sizeof(struct wire_record) == 4, "RFC 3376 §4.2");

#endif
