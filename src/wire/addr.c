/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Addresses as text. IPv6 in the one canonical form of RFC 5952 §4: lower case, no leading zeros,
 * the longest run of two or more zero groups (the first of equals) as "::". Mapped IPv4 is printed
 * as IPv4, since that is what it means here. Reading is left to inet_pton, which is strict and has
 * no state. Not done: scopes ("%eth0").
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "wire/addr.h"

static uint16_t group(const struct ip_addr *a, int i)
{
	return (uint16_t)(a->b[2 * i] << 8 | a->b[2 * i + 1]);
}

/* Where the run to be shortened starts, 8 if there is none; its length in *len. */
static int longest_zeros(const struct ip_addr *a, int *len)
{
	int best = 8, run = 0;

	*len = 1; /* RFC 5952 §4.2.2: one group alone is not shortened */
	for (int i = 0; i < 8; i++) {
		run = group(a, i) == 0 ? run + 1 : 0;
		if (run > *len) {
			*len = run;
			best = i + 1 - run;
		}
	}
	return best;
}

const char *ip_addr_text(const struct ip_addr *a, char buf[ADDR_TEXT_MAX])
{
	int len, n = 0;

	if (ip_addr_is_v4(a)) {
		snprintf(buf, ADDR_TEXT_MAX, "%u.%u.%u.%u", a->b[12], a->b[13], a->b[14], a->b[15]);
		return buf;
	}
	int zeros = longest_zeros(a, &len);

	for (int i = 0; i < 8; i++) {
		if (i == zeros) {
			n += snprintf(buf + n, ADDR_TEXT_MAX - n, "::");
			i += len - 1;
			continue;
		}
		bool colon = i > 0 && buf[n - 1] != ':';

		n += snprintf(buf + n, ADDR_TEXT_MAX - n, "%s%x", colon ? ":" : "", group(a, i));
	}
	return buf;
}

int ip_addr_parse(const char *text, struct ip_addr *out)
{
	struct ip_addr a;
	be32_t v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		*out = ip_addr_v4(v4);
	else if (inet_pton(AF_INET6, text, &a) == 1)
		*out = a;
	else
		return -EINVAL;
	return 0;
}
