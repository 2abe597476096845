/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups that this host listens to, and when it says so to routers and snooping switches:
 * the host's part of IGMP (RFC 2236 §3, RFC 3376 §5) and MLD (RFC 2710 §4, RFC 3810 §6). What the
 * messages look like is in group_msg.c.
 *
 * A change is reported REPORTS times; a query is answered after a random delay within what it
 * allows. For a while after a query of an older version only that version is spoken, and another
 * host's report makes ours superfluous (RFC 3376 §7.2, RFC 3810 §8.2). From which sources a group
 * is listened to is in group_source.c; a query about sources is answered as one about the group.
 *
 * Solicited-node groups of our addresses are joined like those of sockets; all-nodes and
 * all-systems are implied and never reported. Not done: the querier's robustness variable and
 * interval (their defaults are taken).
 */
#include <errno.h>
#include <stdlib.h>

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

static bool pends(const struct group *g)
{
	return g->reports > 0 || group_sources_pend(g);
}

/* It is listened to, or no more, or in the other mode. */
static void changed(struct ip *ip, struct group *g, bool other_mode)
{
	g->reports = group_is_reported(&g->addr) ? REPORTS : 0;
	g->other_mode = other_mode;
	g->answer = g->said = false;
	due_at(ip, g, ip->now_ns);
}

static struct group *group_new(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	struct group *g = &ip->groups[ip->n_groups];

	if (ip->n_groups == IP_GROUPS_MAX)
		return NULL;
	ip->n_groups++;
	*g = (struct group){.addr = *group, .ifindex = ifindex};
	return g;
}

/* The first version of IGMP has no word for leaving, and only the newest knows sources. */
static void unsaid(struct ip *ip, struct group *g)
{
	enum group_version v = group_version_of(ip, g->ifindex, !ip_addr_is_v4(&g->addr));

	if (v == GROUP_OLDEST && g->users == 0)
		g->reports = 0;
	if (v != GROUP_NEWEST || !group_is_reported(&g->addr))
		group_sources_due(g, 0, false);
}

static int recount(struct ip *ip, struct group *g, const struct ip_filter *was,
		   const struct ip_filter *is)
{
	bool was_user = g->users > 0, was_excluding = g->excluders > 0, news = false;
	uint8_t reports = group_is_reported(&g->addr) ? REPORTS : 0;
	int err = group_count(g, was, is, reports, &news);

	if (err != 0)
		return err;
	if ((g->excluders > 0) != was_excluding) {
		group_sources_due(g, 0, false);
		changed(ip, g, true);
	} else if ((g->users > 0) != was_user) {
		changed(ip, g, false);
	}
	/* The entry of one that was left stays until this is reported. */
	unsaid(ip, g);
	if (news && pends(g))
		due_at(ip, g, ip->now_ns);
	return 0;
}

static void tidy(struct ip *ip);

int ip_group_filter(struct ip *ip, uint8_t ifindex, const struct ip_addr *group,
		    const struct ip_filter *was, const struct ip_filter *is)
{
	struct group *g = group_find(ip, ifindex, group);
	int err;

	if (!ip_addr_is_multicast(group) || ifindex >= IP_IFS_MAX || !ip->ifs[ifindex].used)
		return -EINVAL;
	if (was != NULL && (g == NULL || g->users == 0))
		return -ENOENT;
	if (g == NULL)
		g = group_new(ip, ifindex, group);
	if (g == NULL || (was == NULL && g->users == UINT16_MAX))
		return -ENOSPC;
	err = recount(ip, g, was, is);
	if (err != 0)
		tidy(ip);
	return err;
}

static const struct ip_filter any_source = {.exclude = true};

int ip_group_join(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	return ip_group_filter(ip, ifindex, group, NULL, &any_source);
}

int ip_group_leave(struct ip *ip, uint8_t ifindex, const struct ip_addr *group)
{
	return ip_group_filter(ip, ifindex, group, &any_source, NULL);
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

		if (g->ifindex != ifindex || ip_addr_is_v4(&g->addr) || g->users == 0)
			continue;
		changed(ip, g, g->excluders > 0);
		if (g->excluders == 0)
			group_sources_due(g, g->reports, true);
		unsaid(ip, g);
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
		if ((g->answer || pends(g)) && g->due_ns <= one)
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
		g->answer = g->said = false;
}

static bool is_due(const struct ip *ip, const struct group *g)
{
	return g->due_ns <= ip->now_ns && (pends(g) || g->answer);
}

/* What of it is to be said: the whole list, or only what changed, which is no answer to a query:
 * then the one is said after the other. */
static bool says_changes(const struct group_report *r, const struct group *g)
{
	return r->version == GROUP_NEWEST && pends(g) && !(g->reports > 0 && g->other_mode) &&
	       !g->said;
}

static uint8_t whole_type(const struct group_report *r, const struct group *g)
{
	bool is = g->reports == 0 || g->said;

	/* Before the newest version: listens or not. */
	if (r->version != GROUP_NEWEST)
		return g->users > 0 ? GROUP_TO_EXCLUDE : GROUP_TO_INCLUDE;
	if (g->excluders > 0)
		return is ? GROUP_IS_EXCLUDE : GROUP_TO_EXCLUDE;
	return is ? GROUP_IS_INCLUDE : GROUP_TO_INCLUDE;
}

/* False: there is no room for it. */
static bool records_add(struct group_report *r, const struct group *g)
{
	struct ip_addr a[GROUP_SOURCES_MAX], b[GROUP_SOURCES_MAX];
	unsigned n, m;

	if (!says_changes(r, g)) {
		n = group_pick(g, GROUP_LISTED, a);
		return group_report_add(r, &g->addr, whole_type(r, g), a, n);
	}
	n = group_pick(g, GROUP_ALLOWED, a);
	m = group_pick(g, GROUP_BLOCKED, b);
	if (!group_report_room(r, 2, n + m))
		return false;
	if (n > 0 && !group_report_add(r, &g->addr, GROUP_ALLOW, a, n))
		return false;
	return m == 0 || group_report_add(r, &g->addr, GROUP_BLOCK, b, m);
}

/* One report was made of it. */
static void reported(struct ip *ip, const struct group_report *r, struct group *g)
{
	if (g->said) {
		g->answer = g->said = false;
	} else {
		g->said = says_changes(r, g) && g->answer;
		g->answer = g->said;
		g->reports -= g->reports > 0;
		group_sources_reported(g);
	}
	if (g->answer)
		due_at(ip, g, ip->now_ns);
	else if (pends(g))
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

		if (!is_due(ip, o) || o->ifindex != *ifindex || ip_addr_is_v4(&o->addr) == v6)
			continue;
		if (!records_add(&r, o))
			break;
		reported(ip, &r, o);
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

		group_sources_tidy(g);
		if (g->users == 0 && !pends(g)) {
			*g = ip->groups[--ip->n_groups];
			continue;
		}
		if (pends(g) || g->answer)
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
		while (made < n && is_due(ip, &ip->groups[i])) {
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

void groups_destroy(struct ip *ip)
{
	for (unsigned i = 0; i < ip->n_groups; i++)
		free(ip->groups[i].sources);
}
