/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack's addresses: as the service says them, or as they were when it was last there, or when
 * the program was started.
 */
#include "preload/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "preload/handover.h"
#include "preload/preload.h"

/* "10.0.0.2/24". False: it makes no sense. */
static bool addr_from(struct chan_addr *a, const char *text)
{
	char addr[INET6_ADDRSTRLEN];
	struct in6_addr in6 = {.s6_addr = {[10] = 0xff, 0xff}};
	size_t n = strcspn(text, "/");
	unsigned long len;

	if (text[n] != '/' || n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = '\0';
	len = strtoul(text + n + 1, NULL, 10);
	if (inet_pton(AF_INET, addr, &in6.s6_addr[12]) == 1)
		len += 96;
	else if (inet_pton(AF_INET6, addr, &in6) != 1)
		return false;
	if (len > 128)
		return false;
	memcpy(a->addr, &in6, sizeof(a->addr));
	a->prefix_len = (uint8_t)len;
	return true;
}

/* As `zstack run` found them (run.h). How many, or -ENETDOWN. */
static int known_at_start(struct chan_addr *a)
{
	const char *at = run_env(RUN_ENV_ADDRS);
	unsigned n = 0;

	while (at != NULL && *at != '\0' && n < ADDRESSES_MAX) {
		n += addr_from(&a[n], at);
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	return n > 0 ? (int)n : -ENETDOWN;
}

static int at_most(int n)
{
	return n < ADDRESSES_MAX ? n : ADDRESSES_MAX;
}

/* Without a service to ask a gateway is possible. */
int stack_addresses(struct chan_addr a[ADDRESSES_MAX], unsigned *routes)
{
	int r = start_need();

	if (r == 0)
		return at_most(host_addresses(a, ADDRESSES_MAX, routes));
	*routes = CHAN_ROUTE_V4 | CHAN_ROUTE_V6;
	return r == -ENETDOWN && !start_embedded() ? known_at_start(a) : r;
}

/* A service that is gone is not waited for: what it had is known. */
static int ask_now(struct chan_addr *a)
{
	int r;

	enter();
	host_wait_for_service(false);
	r = host_addresses_now(a, ADDRESSES_MAX);
	host_wait_for_service(true);
	leave(0);
	return r;
}

int stack_addresses_now(struct chan_addr a[ADDRESSES_MAX])
{
	int r = start_need();

	if (r == 0)
		return at_most(ask_now(a));
	return r == -ENETDOWN && !start_embedded() ? known_at_start(a) : r;
}
