/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options about multicast groups whose values are too long for a SETOPT, or name a source (ip(7),
 * RFC 3678): they become joins of a group, or the command SOURCE.
 */
#include "client/membership.h"

/* In struct opt, under the names CHAN_OPT_LEVEL and CHAN_OPT_SOURCE. */
_Static_assert(sizeof(struct member) <= sizeof(((struct opt *)0)->value), "it is remembered");

static uint8_t source_verb(int name)
{
	switch (name) {
	case IP_ADD_SOURCE_MEMBERSHIP:
	case MCAST_JOIN_SOURCE_GROUP:
		return CHAN_SOURCE_JOIN;
	case IP_DROP_SOURCE_MEMBERSHIP:
	case MCAST_LEAVE_SOURCE_GROUP:
		return CHAN_SOURCE_LEAVE;
	case IP_BLOCK_SOURCE:
	case MCAST_BLOCK_SOURCE:
		return CHAN_SOURCE_BLOCK;
	case IP_UNBLOCK_SOURCE:
	case MCAST_UNBLOCK_SOURCE:
		return CHAN_SOURCE_UNBLOCK;
	}
	return 0;
}

bool member_address(int level, const struct sockaddr_storage *ss, uint8_t to[16])
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (ss->ss_family != (level == IPPROTO_IP ? AF_INET : AF_INET6))
		return false;
	memcpy(&in, ss, sizeof(in));
	memcpy(&in6, ss, sizeof(in6));
	if (level == IPPROTO_IP)
		member_mapped(to, &in.sin_addr);
	else
		memcpy(to, &in6.sin6_addr, 16);
	return true;
}

/* struct ip_mreq_source */
static int from_ip(struct member *m, const void *value, socklen_t len)
{
	struct ip_mreq_source r;

	if (len != sizeof(r))
		return -EINVAL;
	memcpy(&r, value, sizeof(r));
	member_mapped(m->group, &r.imr_multiaddr);
	member_mapped(m->source, &r.imr_sourceaddr);
	m->interface4 = r.imr_interface.s_addr;
	return 0;
}

/* struct group_req, struct group_source_req */
static int from_group(struct member *m, int level, const void *value, socklen_t len)
{
	struct group_source_req r = {0};
	struct group_req g;

	if (len < (m->what != 0 ? sizeof(r) : sizeof(g)))
		return -EINVAL;
	memcpy(&g, value, sizeof(g));
	if (m->what != 0)
		memcpy(&r, value, sizeof(r));
	if (!member_address(level, &g.gr_group, m->group) ||
	    (m->what != 0 && !member_address(level, &r.gsr_source, m->source)))
		return m->what == 0 && level == IPPROTO_IP ? -EINVAL : -EADDRNOTAVAIL;
	m->ifindex = g.gr_interface;
	return 0;
}

struct opt member_any(int level, const struct member *m)
{
	struct ipv6_mreq r6 = {.ipv6mr_interface = m->ifindex};
	struct ip_mreqn r4 = {.imr_address.s_addr = m->interface4, .imr_ifindex = (int)m->ifindex};
	struct opt o = {.level = (int16_t)level};

	if (level == IPPROTO_IP) {
		memcpy(&r4.imr_multiaddr, m->group + 12, 4);
		o.name = IP_ADD_MEMBERSHIP;
		o.len = sizeof(r4);
		memcpy(o.value, &r4, sizeof(r4));
		return o;
	}
	memcpy(&r6.ipv6mr_multiaddr, m->group, 16);
	o.name = IPV6_ADD_MEMBERSHIP;
	o.len = sizeof(r6);
	memcpy(o.value, &r6, sizeof(r6));
	return o;
}

static int join_or_leave(struct csock *s, int level, bool join, const struct member *m)
{
	struct opt o = member_any(level, m);
	int drop = level == IPPROTO_IP ? IP_DROP_MEMBERSHIP : IPV6_DROP_MEMBERSHIP;

	return option_set_service(s, level, join ? o.name : drop, o.value, o.len);
}

static void command(struct chan_sqe *cmd, const struct member *m)
{
	cmd->op = CHAN_OP_SOURCE;
	cmd->flags = m->what;
	cmd->port = (uint16_t)m->ifindex;
	cmd->len = m->interface4;
	memcpy(cmd->data, m->group, sizeof(m->group));
	memcpy(cmd->data + sizeof(m->group), m->source, sizeof(m->source));
}

bool membership_command(struct chan_sqe *cmd, const struct opt *o)
{
	struct member m;

	if (o->level != CHAN_OPT_LEVEL || o->name != CHAN_OPT_SOURCE)
		return false;
	memcpy(&m, o->value, sizeof(m));
	command(cmd, &m);
	return true;
}

static bool ends(uint8_t what)
{
	return what == CHAN_SOURCE_LEAVE || what == CHAN_SOURCE_UNBLOCK;
}

void member_remember(struct csock *s, const struct member *m)
{
	struct opt o = {.len = sizeof(*m), .level = CHAN_OPT_LEVEL, .name = CHAN_OPT_SOURCE};

	memcpy(o.value, m, sizeof(*m));
	option_remember(s, &o);
}

/* What it undoes is forgotten, what it does is remembered. */
static void keep(struct csock *s, const struct member *m)
{
	struct opt o = {.len = sizeof(*m), .level = CHAN_OPT_LEVEL, .name = CHAN_OPT_SOURCE};
	struct member undone = *m;

	if (ends(m->what)) {
		undone.what = m->what == CHAN_SOURCE_LEAVE ? CHAN_SOURCE_JOIN : CHAN_SOURCE_BLOCK;
		memcpy(o.value, &undone, sizeof(undone));
		option_forget(s, &o);
		return;
	}
	member_remember(s, m);
}

void membership_left(struct csock *s, const struct opt *o)
{
	unsigned n = o->level == IPPROTO_IP ? 4 : 16;

	for (unsigned i = 0; s->opts != NULL && i < s->opts->n;) {
		struct opt kept = s->opts->opt[i];
		struct member m;

		memcpy(&m, kept.value, sizeof(m));
		if (kept.level == CHAN_OPT_LEVEL && kept.name == CHAN_OPT_SOURCE &&
		    memcmp(m.group + 16 - n, o->value, n) == 0)
			option_forget(s, &kept);
		else
			i++;
	}
}

int membership_set(struct csock *s, int level, int name, const void *value, socklen_t len)
{
	bool by_ip = level == IPPROTO_IP && name >= IP_UNBLOCK_SOURCE &&
		     name <= IP_DROP_SOURCE_MEMBERSHIP;
	bool by_group = (level == IPPROTO_IP || level == IPPROTO_IPV6) &&
			name >= MCAST_JOIN_GROUP && name <= MCAST_LEAVE_SOURCE_GROUP;
	struct chan_sqe cmd = {0};
	struct member m;
	struct chan_cqe e;
	int r;

	if (s->type != SOCK_DGRAM || !(by_ip || by_group))
		return 1;
	memset(&m, 0, sizeof(m));
	m.what = source_verb(name);
	r = by_ip ? from_ip(&m, value, len) : from_group(&m, level, value, len);
	if (r < 0)
		return r;
	if (m.ifindex > UINT16_MAX)
		return -ENODEV;
	if (m.what == 0)
		return join_or_leave(s, level, name == MCAST_JOIN_GROUP, &m);
	command(&cmd, &m);
	r = group_call(s, &cmd, &e);
	if (r < 0)
		return r;
	keep(s, &m);
	return 0;
}
