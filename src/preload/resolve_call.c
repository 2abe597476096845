/* SPDX-License-Identifier: BSD-3-Clause
 *
 * getaddrinfo() with AI_ADDRCONFIG: addresses of those families alone that this host has itself,
 * loopback aside. The C library asks the kernel, past all hooks, and where that has no address of a
 * family (only loopback, with the stack beside it) says that there is none, even of 10.0.0.2. Where
 * the stack has what the kernel lacks the question is put without the flag.
 */
#include <netdb.h>
#include <string.h>

#include "preload/interface.h"
#include "preload/preload.h"

struct families {
	bool v4, v6;
};

static bool counts(const struct sockaddr *sa)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET;
	return sa->sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static struct families of_kernel(void)
{
	struct families f = {.v4 = false};
	struct ifaddrs *list = NULL;

	/* Not known: the C library's answer stays. */
	if (real.getifaddrs(&list) < 0)
		return (struct families){true, true};
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
		if (counts(i->ifa_addr))
			*(i->ifa_addr->sa_family == AF_INET ? &f.v4 : &f.v6) = true;
	freeifaddrs(list);
	return f;
}

static struct families of_stack(void)
{
	struct chan_addr a[ADDRESSES_MAX];
	struct families f = {.v4 = false};
	unsigned routes;
	int n;

	enter();
	n = stack_addresses(a, &routes);
	for (int i = 0; i < n; i++) {
		struct in6_addr in6;

		memcpy(&in6, a[i].addr, sizeof(in6));
		*(IN6_IS_ADDR_V4MAPPED(&in6) ? &f.v4 : &f.v6) = true;
	}
	leave(0);
	return f;
}

/* What AI_ADDRCONFIG comes to, when the C library would come to something else. */
static bool narrow(struct addrinfo *hints)
{
	struct families kernel = of_kernel(), all = of_stack();
	bool more = (all.v4 && !kernel.v4) || (all.v6 && !kernel.v6);

	all.v4 |= kernel.v4;
	all.v6 |= kernel.v6;
	if (!more || (hints->ai_family == AF_INET && !all.v4) ||
	    (hints->ai_family == AF_INET6 && !all.v6))
		return false;
	hints->ai_flags &= ~AI_ADDRCONFIG;
	if (hints->ai_family == AF_UNSPEC && all.v4 != all.v6)
		hints->ai_family = all.v4 ? AF_INET : AF_INET6;
	return true;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
	struct addrinfo asked;
	int err = errno;

	if (hints == NULL || (hints->ai_flags & AI_ADDRCONFIG) == 0 || is_inside() || in_sandbox())
		return real.getaddrinfo(node, service, hints, out);
	asked = *hints;
	if (narrow(&asked))
		hints = &asked;
	errno = err;
	return real.getaddrinfo(node, service, hints, out);
}
