/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Socket addresses of the program ↔ 16 bytes and a port (host order), as the channel has them: IPv4
 * as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
 */
#include <netinet/in.h>
#include <string.h>

#include "client/client_priv.h"

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

int endpoint_from(struct endpoint *e, int domain, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa == NULL || len < sizeof(sa->sa_family))
		return -EINVAL;
	memset(e, 0, sizeof(*e));
	if (domain == AF_INET) {
		if (len < sizeof(in))
			return -EINVAL;
		memcpy(&in, sa, sizeof(in));
		if (in.sin_family != AF_INET)
			return -EAFNOSUPPORT;
		memcpy(e->addr, v4_prefix, 12);
		memcpy(e->addr + 12, &in.sin_addr, 4);
		e->port = ntohs(in.sin_port);
		return 0;
	}
	if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
		return -EINVAL;
	if (sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memset(&in6, 0, sizeof(in6));
	memcpy(&in6, sa, len < sizeof(in6) ? len : sizeof(in6));
	memcpy(e->addr, &in6.sin6_addr, 16);
	e->port = ntohs(in6.sin6_port);
	e->scope = in6.sin6_scope_id;
	return 0;
}

void endpoint_to(const uint8_t addr[16], uint16_t port, uint32_t scope, int domain,
		 struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const void *from = &in6;
	socklen_t size = sizeof(in6);

	if (sa == NULL || len == NULL)
		return;
	if (domain == AF_INET) {
		memcpy(&in.sin_addr, addr + 12, 4);
		from = &in;
		size = sizeof(in);
	}
	memcpy(&in6.sin6_addr, addr, 16);
	if (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80)
		in6.sin6_scope_id = scope;
	memcpy(sa, from, *len < size ? *len : size);
	*len = size;
}
