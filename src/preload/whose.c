/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whose an AF_INET or AF_INET6 socket is: what is asked for, the rules (rules.h), and what holds
 * where none fits. The table is in decide.c.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "preload/address.h"
#include "preload/whose.h"

static bool loopback(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127) ||
	       IN6_IS_ADDR_LINKLOCAL(a);
}

/* What the address says. */
static bool case_from(struct wish *w, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	*w = (struct wish){.verb = ""};
	if (sa == NULL || len < sizeof(in))
		return false;
	memcpy(&in, sa, sizeof(in));
	if (in.sin_family == AF_INET) {
		w->c.addr.s6_addr16[5] = 0xffff;
		w->c.addr.s6_addr32[3] = in.sin_addr.s_addr;
		w->c.port = ntohs(in.sin_port);
		w->wildcard = in.sin_addr.s_addr == INADDR_ANY;
		w->loopback = loopback(&w->c.addr);
		return true;
	}
	if (in.sin_family != AF_INET6 || len < sizeof(in6))
		return false;
	memcpy(&in6, sa, sizeof(in6));
	w->c.addr = in6.sin6_addr;
	w->c.port = ntohs(in6.sin6_port);
	w->scope = in6.sin6_scope_id;
	w->wildcard = IN6_IS_ADDR_UNSPECIFIED(&w->c.addr) ||
		      (IN6_IS_ADDR_V4MAPPED(&w->c.addr) && w->c.addr.s6_addr32[3] == 0);
	w->loopback = loopback(&w->c.addr);
	return true;
}

bool wish_from(struct wish *w, int fd, const char *verb, const struct sockaddr *sa, socklen_t len)
{
	int type = 0;
	socklen_t n = sizeof(type);

	if (!case_from(w, sa, len) || real.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
		return false;
	w->verb = verb;
	w->fd = fd;
	w->c.udp = type == SOCK_DGRAM;
	return true;
}

/* As verbose says it (run.h). */
static const char *const said[TOLD_MAX] = {
	[TOLD_TAKEN] = "taken",
	[TOLD_TAKEN_RULE] = "taken: a rule",
	[TOLD_TAKEN_LOOPBACK] = "taken: loopback to one of ours",
	[TOLD_BOTH] = "both",
	[TOLD_BOTH_LOOPBACK] = "both: loopback",
	[TOLD_LOOPBACK] = "kernel: loopback",
	[TOLD_RULE] = "kernel: a rule",
	[TOLD_NOT_SUBNET] = "kernel: not on a subnet of the stack's",
	[TOLD_NOT_ADDRESS] = "kernel: not an address of the stack's",
	[TOLD_NO_STACK] = "no stack",
};

static void tell(const struct wish *w, const char *what)
{
	char text[INET6_ADDRSTRLEN];
	bool v4 = IN6_IS_ADDR_V4MAPPED(&w->c.addr);

	if (likely(!run_rules()->verbose))
		return;
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&w->c.addr.s6_addr32[3] : &w->c.addr,
		  text, sizeof(text));
	/* Another process's by the name that its supervisor has taken for it. */
	say("%s[%d]: %s %s %s%s%s:%u (fd %d): %s",
	    w->pid != 0 ? program_invocation_short_name : host_program(),
	    w->pid != 0 ? w->pid : getpid(),
	    w->c.udp ? "udp" : "tcp", w->verb, v4 ? "" : "[", text, v4 ? "" : "]", w->c.port, w->fd,
	    what);
}

/* It could not be made. */
static void no_room(const struct wish *w, int r)
{
	char text[80];

	count_socket(TOLD_NO_ROOM);
	snprintf(text, sizeof(text), "no room: %s", strerror(-r));
	tell(w, text);
}

/* Loopback is the kernel's, and beside it ours for TCP between programs of one service: what
 * listens there listens on both sides, and who connects goes where somebody listens, to ours first.
 * Never ENETDOWN: without a service it is the kernel's. */
static int loopback_whose(struct wish *w)
{
	w->why = TOLD_LOOPBACK;
	if (w->c.udp || IN6_IS_ADDR_LINKLOCAL(&w->c.addr) || run_rules()->no_loopback ||
	    start_embedded() || start_need() < 0 || !host_alive())
		return WHOSE_KERNEL;
	if (!w->c.connect) {
		w->why = TOLD_BOTH_LOOPBACK;
		return WHOSE_BOTH;
	}
	if (host_listens(w->c.addr.s6_addr, w->c.port) <= 0)
		return WHOSE_KERNEL;
	w->why = TOLD_TAKEN_LOOPBACK;
	return WHOSE_OURS;
}

/* A link-local address says little. Bound to, it may be the stack's own; what is to be reached is
 * the kernel's, unless it is said to be at an interface that the kernel does not have. */
static bool link_may_be_ours(const struct wish *w)
{
	return IN6_IS_ADDR_LINKLOCAL(&w->c.addr) && (!w->c.connect || chan_if_is_own(w->scope)) &&
	       start_need() == 0 && host_alive();
}

static bool prefix_fits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (bits > 128 || memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & (0xff00 >> bits % 8) & 0xff) == 0;
}

static bool is_group(const struct in6_addr *a)
{
	return IN6_IS_ADDR_MULTICAST(a) ||
	       (IN6_IS_ADDR_V4MAPPED(a) && IN_MULTICAST(ntohl(a->s6_addr32[3])));
}

static bool is_all(const struct in6_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr32[3] == INADDR_BROADCAST;
}

/* The broadcast address of the subnet of that address. */
static bool all_of(const struct chan_addr *own, const struct in6_addr *a)
{
	uint32_t mine, host, asked = ntohl(a->s6_addr32[3]);

	if (own->prefix_len < 96 || own->prefix_len > 126 || !IN6_IS_ADDR_V4MAPPED(a))
		return false;
	memcpy(&mine, own->addr + 12, sizeof(mine));
	host = UINT32_MAX >> (own->prefix_len - 96);
	return asked == (ntohl(mine) | host);
}

/* Where the stack stands to the address: it has it, or its subnet, or a gateway towards it. */
static int places(struct wish *w, bool *own, bool *near)
{
	struct chan_addr a[ADDRESSES_MAX];
	unsigned routes = 0;
	int n = stack_addresses(a, &routes);

	*own = *near = false;
	for (int i = 0; i < n; i++) {
		if (memcmp(a[i].addr, &w->c.addr, 16) == 0 ||
		    (w->c.udp && all_of(&a[i], &w->c.addr)))
			*own = true;
		if (prefix_fits(a[i].addr, w->c.addr.s6_addr, a[i].prefix_len))
			*near = true;
	}
	w->c.by_gateway =
		!*near && w->c.connect &&
		(routes & (IN6_IS_ADDR_V4MAPPED(&w->c.addr) ? CHAN_ROUTE_V4 : CHAN_ROUTE_V6)) != 0;
	return n < 0 ? n : 0;
}

static int whose_by_address(struct wish *w)
{
	enum rule_answer a = rules_ask(run_rules(), &w->c);
	bool own = false, near = false;
	int r;

	w->why = TOLD_NO_STACK;
	r = a != RULE_LEAVE ? places(w, &own, &near) : 0;
	if (r < 0)
		return room_error(r);
	a = rules_ask(run_rules(), &w->c);
	w->why = a == RULE_LEAVE ? TOLD_RULE : TOLD_TAKEN_RULE;
	if (a != RULE_NONE)
		return a == RULE_LEAVE ? WHOSE_KERNEL : WHOSE_OURS;
	w->why = TOLD_BOTH;
	if (!w->c.connect && (w->wildcard || (w->c.udp && is_all(&w->c.addr))))
		return WHOSE_BOTH;
	w->why = TOLD_TAKEN;
	if (w->c.connect ? near || (w->group_if && is_group(&w->c.addr)) : own)
		return WHOSE_OURS;
	w->why = w->c.connect ? TOLD_NOT_SUBNET : TOLD_NOT_ADDRESS;
	return WHOSE_KERNEL;
}

/* While there is no service it is as with the last one, or as it was when the program was started;
 * and what would be ours gets ENETDOWN. */
int whose(struct wish *w)
{
	int r;

	if (w->loopback && rules_ask(run_rules(), &w->c) == RULE_NONE && !link_may_be_ours(w))
		return loopback_whose(w);
	r = whose_by_address(w);
	if ((r != WHOSE_OURS && r != WHOSE_BOTH) || host_alive())
		return r;
	w->why = TOLD_NO_STACK;
	return -ENETDOWN;
}

void no_link_rule(int fd, const struct rule_case *c)
{
	int off = 0;

	if (unlikely(rules_no_link(run_rules(), c)))
		(void)zs_setsockopt(fd, SOL_ZSTACK, ZSO_SAME_NODE, &off, sizeof(off));
}

void no_link_rule_to(int fd, const struct sockaddr *sa, socklen_t len)
{
	int type = 0;
	socklen_t n = sizeof(type);
	struct wish w;

	if (likely(run_rules()->no_link == 0) ||
	    zs_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || !case_from(&w, sa, len))
		return;
	w.c.udp = type == SOCK_DGRAM;
	w.c.connect = true;
	no_link_rule(fd, &w.c);
}

int whose_told(struct wish *w)
{
	int r = whose(w);

	if (!lacks_room(r))
		tell(w, said[w->why]);
	return r;
}

void whose_unserved(const struct wish *w)
{
	tell(w, "kernel: UDP of a supervised program");
	count_socket(TOLD_OTHER_KIND);
}

/* What else went wrong than want of room is the program's affair: a port that is taken, a wrong
 * address. */
int whose_done(const struct wish *w, int r)
{
	if (r >= 0)
		count_socket(w->why);
	else if (r == -ENETDOWN)
		count_socket(TOLD_NO_STACK);
	else if (lacks_room(r))
		no_room(w, r);
	return r;
}
