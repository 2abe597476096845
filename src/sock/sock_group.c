/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups of a UDP socket, and from which sources it wants each (RFC 3376 §2, RFC 3678
 * §4), as Linux has it: a membership is of any source until one is named; those that are blocked
 * are left out, those that were joined come alone. What arrives for a group that the socket has not
 * joined it gets all the same when it came from the link (IP_MULTICAST_ALL).
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "sock/sock_udp.h"

/* What Linux allows (igmp_max_msf), and what an interface has. */
#define SOURCES_MAX_V4 10
#define SOURCES_MAX_V6 32

/* The interface that a membership without one means: that of the route, else the first. */
static int default_if(struct socks *s, const struct ip_addr *group)
{
	const struct ip_ifaddr *own = ip_source_for(s->cfg.ip, group);

	if (own == NULL)
		own = ip_addr_at(s->cfg.ip, 0);
	return own != NULL ? own->ifindex : -1;
}

bool udp_group_member(const struct sock *k, const struct ip_addr *group)
{
	for (uint32_t i = 0; i < k->udp->n_groups; i++) {
		if (ip_addr_eq(&k->udp->group[i].addr, group))
			return true;
	}
	return false;
}

static struct ip_addr *source_find(const struct udp_group *g, const struct ip_addr *src)
{
	for (unsigned i = 0; i < g->n; i++)
		if (ip_addr_eq(&g->source[i], src))
			return &g->source[i];
	return NULL;
}

bool udp_group_wants(const struct sock *k, const struct pkt *p)
{
	bool joined = false, wanted = false;

	for (uint32_t i = 0; i < k->udp->n_groups; i++) {
		const struct udp_group *g = &k->udp->group[i];

		if (!ip_addr_eq(&g->addr, &p->dst))
			continue;
		joined = true;
		wanted |= (source_find(g, &p->src) != NULL) != g->exclude;
	}
	return wanted || (!joined && k->udp->mcast_all);
}

static struct udp_group *group_find(struct sock_udp *u, const struct ip_addr *g, int ifindex)
{
	for (uint32_t i = 0; i < u->n_groups; i++) {
		if (u->group[i].ifindex == ifindex && ip_addr_eq(&u->group[i].addr, g))
			return &u->group[i];
	}
	return NULL;
}

static struct ip_filter filter(const struct udp_group *g)
{
	return (struct ip_filter){.exclude = g->exclude, .n = g->n, .source = g->source};
}

/* The interface, or -errno. */
static int interface_of(struct sock *k, const struct ip_addr *group, int ifindex)
{
	if (!ip_addr_is_multicast(group))
		return -EINVAL;
	if (ifindex < 0)
		ifindex = default_if(k->app->s, group);
	return ifindex < 0 || ifindex > UINT8_MAX ? -ENODEV : ifindex;
}

static int add(struct sock *k, const struct udp_group *g)
{
	struct ip_filter f = filter(g);
	struct sock_udp *u = k->udp;
	int err;

	if (u->n_groups == UDP_GROUPS_MAX)
		return -ENOBUFS;
	err = ip_group_filter(k->app->s->cfg.ip, g->ifindex, &g->addr, NULL, &f);
	if (err == 0)
		u->group[u->n_groups++] = *g;
	return err;
}

static int leave(struct sock *k, struct udp_group *g)
{
	struct ip_filter f = filter(g);
	struct sock_udp *u = k->udp;
	int err = ip_group_filter(k->app->s->cfg.ip, g->ifindex, &g->addr, &f, NULL);

	free(g->source);
	*g = u->group[--u->n_groups];
	return err;
}

int udp_group_join(struct sock *k, const struct ip_addr *group, int ifindex)
{
	struct udp_group g = {.addr = *group, .exclude = true};

	ifindex = interface_of(k, group, ifindex);
	if (ifindex < 0)
		return ifindex;
	if (group_find(k->udp, group, ifindex) != NULL)
		return -EADDRINUSE;
	g.ifindex = (uint8_t)ifindex;
	return add(k, &g);
}

int udp_group_leave(struct sock *k, const struct ip_addr *group, int ifindex)
{
	struct udp_group *g;

	if (ifindex < 0)
		ifindex = default_if(k->app->s, group);
	g = group_find(k->udp, group, ifindex);
	return g != NULL ? leave(k, g) : -EADDRNOTAVAIL;
}

void udp_groups_leave(struct sock *k)
{
	while (k->udp->n_groups != 0)
		(void)leave(k, &k->udp->group[k->udp->n_groups - 1]);
}

/* ---- sources ---- */

/* The group as it is to be; *is has a list of its own. */
static int change(struct sock *k, struct udp_group *g, const struct udp_group *is)
{
	struct ip_filter before = filter(g), after = filter(is);
	int err = ip_group_filter(k->app->s->cfg.ip, g->ifindex, &g->addr, &before, &after);

	if (err != 0) {
		free(is->source);
		return err;
	}
	free(g->source);
	*g = *is;
	return 0;
}

/* A copy of its list with room for one more. */
static int copy(const struct udp_group *g, struct udp_group *out)
{
	*out = *g;
	out->source = malloc((g->n + 1u) * sizeof(*out->source));
	if (out->source == NULL)
		return -ENOBUFS;
	if (g->n != 0)
		memcpy(out->source, g->source, g->n * sizeof(*out->source));
	return 0;
}

static int source_add(struct sock *k, struct udp_group *g, const struct ip_addr *src, bool exclude)
{
	unsigned max = ip_addr_is_v4(&g->addr) ? SOURCES_MAX_V4 : SOURCES_MAX_V6;
	struct udp_group is;
	int err;

	if (g->n >= max)
		return -ENOBUFS;
	if (source_find(g, src) != NULL)
		return -EADDRNOTAVAIL;
	err = copy(g, &is);
	if (err != 0)
		return err;
	is.exclude = exclude;
	is.source[is.n++] = *src;
	return change(k, g, &is);
}

static int source_drop(struct sock *k, struct udp_group *g, const struct ip_addr *src)
{
	const struct ip_addr *at = source_find(g, src);
	struct udp_group is;
	int err;

	if (at == NULL)
		return -EADDRNOTAVAIL;
	/* Of no source is not at all. */
	if (g->n == 1 && !g->exclude)
		return leave(k, g);
	err = copy(g, &is);
	if (err != 0)
		return err;
	is.n--;
	is.source[at - g->source] = is.source[is.n];
	return change(k, g, &is);
}

static int source_join(struct sock *k, const struct ip_addr *group, int ifindex,
		       const struct ip_addr *src)
{
	struct udp_group g = {.addr = *group, .ifindex = (uint8_t)ifindex, .n = 1};
	int err;

	g.source = malloc(sizeof(*g.source));
	if (g.source == NULL)
		return -ENOBUFS;
	g.source[0] = *src;
	err = add(k, &g);
	if (err != 0)
		free(g.source);
	return err;
}

/* ip_mc_source() of Linux. */
static int source_set(struct sock *k, const struct ip_addr *group, int ifindex,
		      const struct ip_addr *src, enum chan_source what)
{
	bool exclude = what == CHAN_SOURCE_BLOCK || what == CHAN_SOURCE_UNBLOCK;
	struct udp_group *g = group_find(k->udp, group, ifindex);

	if (g == NULL && what == CHAN_SOURCE_JOIN)
		return source_join(k, group, ifindex, src);
	/* Once there was a list it stays what it is. */
	if (g == NULL || (g->source != NULL && g->exclude != exclude))
		return -EINVAL;
	if (what == CHAN_SOURCE_JOIN || what == CHAN_SOURCE_BLOCK)
		return source_add(k, g, src, exclude);
	return source_drop(k, g, src);
}

/* The interface that has this address of IPv4: its index, -1 if that is the wildcard, or -ENODEV.
 */
static int interface_at(const struct sock *k, uint32_t v4)
{
	struct ip_addr a = ip_addr_v4((be32_t){v4});
	const struct ip_ifaddr *own = ip_addr_find(k->app->s->cfg.ip, &a);

	if (v4 == 0)
		return -1;
	return own != NULL ? own->ifindex : -ENODEV;
}

/* Of a command that names a group, and perhaps a port or an address of IPv4. */
static int named_interface(const struct sock_cmd *c, const struct ip_addr *group, uint32_t v4)
{
	int ifindex = sock_interface(c->k, c->q->port);

	if (ifindex < 0 && ip_addr_is_v4(group)) {
		ifindex = interface_at(c->k, v4);
		if (ifindex < -1)
			return ifindex;
	}
	return interface_of(c->k, group, ifindex);
}

int cmd_source(struct sock_cmd *c)
{
	struct ip_addr group, src;
	int ifindex;

	if (c->k->kind != SOCK_UDP)
		return -ENOPROTOOPT;
	if (c->q->flags < CHAN_SOURCE_JOIN || c->q->flags > CHAN_SOURCE_UNBLOCK)
		return -EINVAL;
	memcpy(&group, c->q->data, sizeof(group));
	memcpy(&src, c->q->data + sizeof(group), sizeof(src));
	if (ip_addr_is_v4(&group) != ip_addr_is_v4(&src) ||
	    ip_addr_is_v4(&group) != (c->k->domain == AF_INET))
		return -EINVAL;
	ifindex = named_interface(c, &group, c->q->len);
	return ifindex < 0 ? ifindex : source_set(c->k, &group, ifindex, &src, c->q->flags);
}

/* ---- all of them at once ---- */

/* Copied once: the application may write there. False: it is no list of that family. */
static bool list_take(const struct sock_cmd *c, bool v4, struct ip_addr *list, unsigned *n)
{
	uint64_t bytes = c->app->end.hdr.arena_bytes;
	const struct chan_sqe *q = c->q;

	*n = q->len / sizeof(*list);
	if (q->len % sizeof(*list) != 0 || *n > CHAN_FILTER_MAX || q->off > bytes ||
	    q->len > bytes - q->off)
		return false;
	memcpy(list, (const uint8_t *)c->app->map->arena + q->off, q->len);
	for (unsigned i = 0; i < *n; i++)
		if (ip_addr_is_v4(&list[i]) != v4)
			return false;
	return true;
}

/* ip_mc_msfilter() of Linux. */
static int filter_set(struct sock_cmd *c, const struct ip_addr *group, int ifindex)
{
	bool v4 = ip_addr_is_v4(group), exclude = c->q->flags == CHAN_FILTER_EXCLUDE;
	struct ip_addr list[CHAN_FILTER_MAX];
	struct udp_group *g = group_find(c->k->udp, group, ifindex), is;
	unsigned n;

	if (!list_take(c, v4, list, &n)) {
		c->s->n.bad_commands++;
		return -EINVAL;
	}
	if (n > (v4 ? SOURCES_MAX_V4 : SOURCES_MAX_V6))
		return -ENOBUFS;
	/* Of no source is not at all. */
	if (!exclude && n == 0)
		return udp_group_leave(c->k, group, ifindex);
	if (g == NULL)
		return -EINVAL;
	is = *g;
	is.exclude = exclude;
	is.n = (uint8_t)n;
	is.source = n > 0 ? malloc(n * sizeof(list[0])) : NULL;
	if (is.source == NULL && n > 0)
		return -ENOBUFS;
	if (n > 0)
		memcpy(is.source, list, n * sizeof(list[0]));
	return change(c->k, g, &is);
}

static int filter_get(struct sock_cmd *c, const struct ip_addr *group, int ifindex)
{
	const struct udp_group *g = group_find(c->k->udp, group, ifindex);
	const struct chan_sqe *q = c->q;
	unsigned n;

	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	if (g == NULL)
		return -EADDRNOTAVAIL;
	n = q->len / sizeof(g->source[0]);
	n = n < g->n ? n : g->n;
	if (n > 0)
		memcpy(c->app->end.scratch + q->off, g->source, n * sizeof(g->source[0]));
	c->out.aux = g->exclude ? CHAN_FILTER_EXCLUDE : CHAN_FILTER_INCLUDE;
	return g->n;
}

int cmd_filter(struct sock_cmd *c)
{
	struct ip_addr group;
	uint32_t v4;
	int ifindex;

	if (c->k->kind != SOCK_UDP)
		return -ENOPROTOOPT;
	memcpy(&group, c->q->data, sizeof(group));
	memcpy(&v4, c->q->data + sizeof(group), sizeof(v4));
	if (c->q->flags > CHAN_FILTER_EXCLUDE || ip_addr_is_v4(&group) != (c->k->domain == AF_INET))
		return -EINVAL;
	ifindex = named_interface(c, &group, v4);
	if (ifindex < 0)
		return ifindex;
	return c->q->flags == CHAN_FILTER_READ ? filter_get(c, &group, ifindex)
					       : filter_set(c, &group, ifindex);
}
