/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What membership.c and msfilter.c have in common: one membership, as the command has it and as it
 * is remembered.
 */
#ifndef ZS_CLIENT_MEMBERSHIP_H
#define ZS_CLIENT_MEMBERSHIP_H

#include <netinet/in.h>
#include <string.h>

#include "client/client_priv.h"

struct member {
	uint8_t group[16], source[16];
	uint32_t interface4; /* address of the interface, in network order, or 0 */
	uint32_t ifindex;    /* from 1, 0: choose */
	uint8_t what;	     /* enum chan_source; 0: of any source */
};

static inline void member_mapped(uint8_t to[16], const struct in_addr *a)
{
	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, a, 4);
}

/* An address of the family of the level. False: it is another's. */
bool member_address(int level, const struct sockaddr_storage *ss, uint8_t to[16]) must_check;
/* That it is joined, of any source: an option that there has always been. */
struct opt member_any(int level, const struct member *m);
/* One source of it is joined or blocked. */
void member_remember(struct csock *s, const struct member *m);

#endif
