/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups that this host listens to, and when it says so to routers and snooping switches:
 * the host's part of IGMP (RFC 2236 §3, RFC 3376 §5) and MLD (RFC 2710 §4, RFC 3810 §6). What the
 * messages look like is in group_msg.c.
 *
 * A change is reported REPORTS times; a query is answered after a random delay within what it
 * allows. For a while after a query of an older version only that version is spoken, and another
 * host's report makes ours superfluous (RFC 3376 §7.2, RFC 3810 §8.2). Groups are joined for any
 * source: a query about sources is answered as one about the group.
 *
 * Solicited-node groups of our addresses are joined like those of sockets; all-nodes and
 * all-systems are implied and never reported. Not done: source filters, the querier's robustness
 * variable and interval (their defaults are taken).
 */
#include <errno.h>

#include "ip/ip_priv.h"

enum { REPORTS = 2 };			     /* robustness variable */
#define REPORT_INTERVAL_NS SECOND_NS	     /* between the reports of one change, at most */
#define OLD_QUERIER_NS	   (260 * SECOND_NS) /* RFC 3376 §8.12 */

static struct group *group_find(const struct ip *ip, uint8_t ifindex, const struct ip_addr *g)
{
	for (unsigned i = 0; i < ip->n_groups; i++) {
		if (ip->groups[i].ifindex == ifindex && ip_addr_eq(&ip->groups[i].addr, g))
			return (struct group *)&ip->groups[i];
	}
	return NULL;
}

/* 224.0.0.1; ff0x::1 with x 1 or 2. */
static bool group_is_implied(const struct ip_addr *g)
{
	static const uint8_t zero[13];

	if (ip_addr_is_v4(g))
		return be32_host(g->w[3]) == 0xe0000001;
	return (g->b[1] == 1 || g->b[1] == 2) && g->b[15] == 1 && memcmp(g->b + 2, zero, 13) == 0;
}

/* RFC 3376 §6: all-systems never; RFC 3810 §6: nor what stays in this host. */
static bool group_is_reported(const struct ip_addr *g)
{
	return !group_is_implied(g) && (ip_addr_is_v4(g) || (g->b[1] & 15) > 1);
}

static void due_at(struct ip *ip, struct group *g, uint64_t when)
{
	g->due_ns = when;
	if (when < ip->group_due_ns)
		ip->group_due_ns = when;
}

static void changed(struct ip *ip, struct group *g)
{
	g->reports = group_is_reported(&g->addr) ? REPORTS : 0;
	g->answer = false;
	due_at(ip, g, ip->now_ns);
}

int ip_group_join(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	struct group *g = group_find(ip, ifindex, group);

	if (!ip_addr_is_multicast(group) || ifindex >= IP_IFS_MAX || !ip->ifs[ifindex].used)
		return -EINVAL;
	if (g == NULL && ip->n_groups == IP_GROUPS_MAX)
		return -ENOSPC;
	if (g == NULL) {
		g = &ip->groups[ip->n_groups++];
		*g = (struct group){.addr = *group, .ifindex = ifindex};
	}
	if (g->users == UINT16_MAX)
		return -ENOSPC;
	if (g->users++ == 0)
		changed(ip, g);
	return 0;
}

int ip_group_leave(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	struct group *g = group_find(ip, ifindex, group);

	if (g == NULL || g->users == 0)
		return -ENOENT;
	if (--g->users > 0)
		return 0;
	/* The entry stays until this is reported. The first version of IGMP has no word for it. */
	changed(ip, g);
	if (group_version_of(ip, ifindex, !ip_addr_is_v4(group)) == GROUP_OLDEST)
		g->reports = 0;
	return 0;
}

bool ip_group_wanted(const struct ip *ip, uint8_t ifindex, const struct ip_addr *g)
{
	const struct group *found;

	if (group_is_implied(g))
		return true;
	found = group_find(ip, ifindex, g);
	return found != NULL && found->users > 0;
}

void group_report_again(struct ip *ip, uint8_t ifindex)
{
	for (unsigned i = 0; i < ip->n_groups; i++) {
		struct group *g = &ip->groups[i];

		if (g->ifindex == ifindex && !ip_addr_is_v4(&g->addr) && g->users > 0)
			changed(ip, g);
	}
}

enum group_version group_version_of(const struct ip *ip, uint8_t ifindex, bool v6)
{
	const struct ip_if *i = &ip->ifs[ifindex];

	if (i->older_until_ns[v6][GROUP_OLDEST] > ip->now_ns)
		return GROUP_OLDEST;
	if (i->older_until_ns[v6][GROUP_OLD] > ip->now_ns)
		return GROUP_OLD;
	return GROUP_NEWEST;
}

/* RFC 3376 §5.2, RFC 3810 §6.2: an earlier answer stands. The newest version answers for all groups
 * of an interface in one message, so they get one delay. */
void group_query(struct ip *ip, uint8_t ifindex, const struct ip_addr *about, bool v6,
		 const struct group_asked *q)
{
	uint64_t one = ip->now_ns + ip_random(ip) % (q->max_resp_ns + 1);

	ip->counters.group_queries_in++;
	if (q->version != GROUP_NEWEST)
		ip->ifs[ifindex].older_until_ns[v6][q->version] = ip->now_ns + OLD_QUERIER_NS;
	for (unsigned i = 0; i < ip->n_groups; i++) {
		struct group *g = &ip->groups[i];

		if (g->ifindex != ifindex || ip_addr_is_v4(&g->addr) == v6 || g->users == 0 ||
		    !group_is_reported(&g->addr) ||
		    (!ip_addr_is_any(about) && !ip_addr_eq(about, &g->addr)))
			continue;
		if (q->version != GROUP_NEWEST)
			one = ip->now_ns + ip_random(ip) % (q->max_resp_ns + 1);
		if ((g->answer || g->reports > 0) && g->due_ns <= one)
			continue;
		g->answer = true;
		due_at(ip, g, one);
	}
}

void group_heard(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	struct group *g = group_find(ip, ifindex, group);

	if (g != NULL && g->answer &&
	    group_version_of(ip, ifindex, !ip_addr_is_v4(group)) != GROUP_NEWEST)
		g->answer = false;
}

/* The report that is due, as a record type; 0: none. */
static uint8_t record_type(const struct ip *ip, const struct group *g)
{
	if (g->due_ns > ip->now_ns)
		return 0;
	if (g->reports > 0)
		return g->users > 0 ? GROUP_TO_EXCLUDE : GROUP_TO_INCLUDE;
	return g->answer ? GROUP_IS_EXCLUDE : 0;
}

/* One report was made of it. */
static void reported(struct ip *ip, struct group *g)
{
	g->answer = false;
	if (g->reports > 0 && --g->reports > 0)
		due_at(ip, g, ip->now_ns + ip_random(ip) % REPORT_INTERVAL_NS);
}

/* One message: with the newest version about all groups of that interface and family that are due.
 * False: there is no buffer. */
static bool report(struct ip *ip, unsigned first, struct pkt *out, uint8_t *ifindex)
{
	struct group *g = &ip->groups[first];
	bool v6 = !ip_addr_is_v4(&g->addr);
	struct group_report r;

	*ifindex = g->ifindex;
	if (!group_report_begin(ip, g->ifindex, v6, &r))
		return false;
	for (unsigned i = first; i < ip->n_groups; i++) {
		struct group *o = &ip->groups[i];
		uint8_t type = record_type(ip, o);

		if (type == 0 || o->ifindex != *ifindex || ip_addr_is_v4(&o->addr) == v6)
			continue;
		if (!group_report_add(&r, &o->addr, type))
			break;
		reported(ip, o);
	}
	group_report_end(ip, &r, out);
	ip->counters.group_reports_out++;
	return true;
}

/* Those that were left and have nothing more to say; and when the next has. */
static void tidy(struct ip *ip)
{
	ip->group_due_ns = UINT64_MAX;
	for (unsigned i = 0; i < ip->n_groups;) {
		struct group *g = &ip->groups[i];

		if (g->users == 0 && g->reports == 0) {
			*g = ip->groups[--ip->n_groups];
			continue;
		}
		if (g->reports > 0 || g->answer)
			due_at(ip, g, g->due_ns);
		i++;
	}
}

unsigned group_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n)
{
	unsigned made = 0;

	if (ip->group_due_ns > ip->now_ns)
		return 0;
	for (unsigned i = 0; i < ip->n_groups && made < n; i++) {
		while (made < n && record_type(ip, &ip->groups[i]) != 0) {
			if (!report(ip, i, &out[made], &ifindex[made])) {
				/* Without a buffer: a little later. */
				due_at(ip, &ip->groups[i], ip->now_ns + SECOND_NS / 10);
				break;
			}
			made++;
		}
	}
	tidy(ip);
	return made;
}
