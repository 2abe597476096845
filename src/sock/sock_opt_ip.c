/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options of the levels IPPROTO_IP and IPPROTO_IPV6. Interfaces are counted from 1 here, as Linux
 * counts them; 0 means "choose".
 *
 * What names a source of a group is in sock_group.c. Not done: IP_OPTIONS, IP_HDRINCL.
 */
#include <netinet/in.h>

#include "sock/sock_opt.h"
#include "sock/sock_udp.h"

/* ---- TOS and TTL ---- */

static int set_tos(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (v < -1 || v > 255)
		return -EINVAL;
	v = v < 0 ? 0 : v;
	if (k->kind == SOCK_UDP) {
		k->udp->tos = (uint8_t)v;
		return 0;
	}
	err = opt_tcp_load(k, &o);
	if (err != 0)
		return err;
	o.tos = (uint8_t)v & 0xfc; /* the ECN bits are TCP's (RFC 3168 §6.1) */
	return opt_tcp_store(k, &o);
}

static int get_tos(struct sock *k, struct opt_value *out)
{
	struct tcp_opt o = {.tos = k->kind == SOCK_UDP ? k->udp->tos : 0};
	int err = k->kind == SOCK_UDP ? 0 : opt_tcp_load(k, &o);

	return err != 0 ? err : opt_put_int(out, o.tos);
}

static int set_ttl(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (v < -1 || v == 0 || v > 255)
		return -EINVAL;
	v = v < 0 ? 0 : v;
	if (k->kind == SOCK_UDP) {
		k->udp->ttl = (uint8_t)v;
		return 0;
	}
	err = opt_tcp_load(k, &o);
	if (err != 0)
		return err;
	o.ttl = (uint8_t)v;
	return opt_tcp_store(k, &o);
}

static int get_ttl(struct sock *k, struct opt_value *out)
{
	struct tcp_opt o = {.ttl = k->kind == SOCK_UDP ? k->udp->ttl : 0};
	int err = k->kind == SOCK_UDP ? 0 : opt_tcp_load(k, &o);

	return err != 0 ? err : opt_put_int(out, o.ttl != 0 ? o.ttl : 64);
}

/* ---- path MTU ---- */

static int set_mtu_discover(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (v < IP_PMTUDISC_DONT || v > IP_PMTUDISC_INTERFACE)
		return -EINVAL;
	if (k->kind != SOCK_UDP)
		return v == IP_PMTUDISC_WANT || v == IP_PMTUDISC_DO ? 0 : -EOPNOTSUPP;
	if (v == IP_PMTUDISC_DONT || v == IP_PMTUDISC_INTERFACE)
		k->udp->pmtu = UDP_PMTU_DONT;
	else
		k->udp->pmtu = v == IP_PMTUDISC_WANT ? UDP_PMTU_WANT : UDP_PMTU_DO;
	return 0;
}

static int get_mtu_discover(struct sock *k, struct opt_value *out)
{
	static const int names[] = {IP_PMTUDISC_WANT, IP_PMTUDISC_DONT, IP_PMTUDISC_DO};

	return opt_put_int(out, k->kind == SOCK_UDP ? names[k->udp->pmtu] : IP_PMTUDISC_WANT);
}

/* Of the connected peer's path. */
static int get_mtu(struct sock *k, struct opt_value *out)
{
	struct tcp_info_full i;

	if (k->kind == SOCK_CONN) {
		tcp_conn_info(k->app->s->cfg.tcp, k->conn, &i);
		return opt_put_int(out, (int)i.pmtu);
	}
	if (k->kind != SOCK_UDP || k->pcb == NULL || udp_binding(k->pcb)->rport == 0)
		return -ENOTCONN;
	return opt_put_int(out, ip_pmtu(k->app->s->cfg.ip, &udp_binding(k->pcb)->raddr));
}

/* ---- flags ---- */

#define UDP_BOOL_OPTION(field)                                                                     \
	static int set_##field(struct sock *k, const struct opt_value *in)                         \
	{                                                                                          \
		int v, err = opt_int(in, &v);                                                      \
                                                                                                   \
		if (err == 0)                                                                      \
			k->udp->field = v != 0;                                                    \
		return err;                                                                        \
	}                                                                                          \
	static int get_##field(struct sock *k, struct opt_value *out)                              \
	{                                                                                          \
		return opt_put_int(out, k->udp->field);                                            \
	}

UDP_BOOL_OPTION(mcast_loop)
UDP_BOOL_OPTION(pktinfo)
UDP_BOOL_OPTION(mcast_all)

static int set_recverr(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (k->kind == SOCK_UDP)
		k->udp->recverr = v != 0;
	else
		k->recverr = v != 0;
	return 0;
}

static int get_recverr(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->kind == SOCK_UDP ? k->udp->recverr : k->recverr);
}

static int set_freebind(struct sock *k, const struct opt_value *in)
{
	return opt_set_flag(k, in, SOCKF_FREEBIND);
}

static int get_freebind(struct sock *k, struct opt_value *out)
{
	return opt_get_flag(k, out, SOCKF_FREEBIND);
}

static int set_v6only(struct sock *k, const struct opt_value *in)
{
	if (k->domain != AF_INET6)
		return -ENOPROTOOPT;
	if (k->flags & SOCKF_BOUND)
		return -EINVAL;
	return opt_set_flag(k, in, SOCKF_V6ONLY);
}

static int get_v6only(struct sock *k, struct opt_value *out)
{
	return opt_get_flag(k, out, SOCKF_V6ONLY);
}

/* ---- groups ---- */

static int set_mcast_ttl(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (v < -1 || v > 255)
		return -EINVAL;
	k->udp->mcast_ttl = (uint8_t)(v < 0 ? 1 : v);
	return 0;
}

static int get_mcast_ttl(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->udp->mcast_ttl);
}

/* The interface that has this address; -1: the address is the wildcard, -2: nobody has it. */
static int if_of_addr(const struct sock *k, be32_t v4)
{
	struct ip_addr a = ip_addr_v4(v4);
	const struct ip_ifaddr *own;

	if (v4.v == 0)
		return -1;
	own = ip_addr_find(k->app->s->cfg.ip, &a);
	return own != NULL ? own->ifindex : -2;
}

/* struct ip_mreq, struct ip_mreqn: group, address of the interface, index. */
static int mreq(const struct sock *k, const struct opt_value *in, struct ip_addr *group,
		int *ifindex)
{
	struct ip_mreqn r = {0};
	be32_t g, a;

	if (in->len < sizeof(struct ip_mreq))
		return -EINVAL;
	memcpy(&r, in->v, in->len < sizeof(r) ? sizeof(struct ip_mreq) : sizeof(r));
	memcpy(&g, &r.imr_multiaddr, sizeof(g));
	memcpy(&a, &r.imr_address, sizeof(a));
	*group = ip_addr_v4(g);
	*ifindex =
		r.imr_ifindex > 0 ? sock_interface(k, (uint32_t)r.imr_ifindex) : if_of_addr(k, a);
	return *ifindex == -2 ? -ENODEV : 0;
}

static int add_member4(struct sock *k, const struct opt_value *in)
{
	struct ip_addr group;
	int ifindex, err = mreq(k, in, &group, &ifindex);

	return err != 0 ? err : udp_group_join(k, &group, ifindex);
}

static int drop_member4(struct sock *k, const struct opt_value *in)
{
	struct ip_addr group;
	int ifindex, err = mreq(k, in, &group, &ifindex);

	return err != 0 ? err : udp_group_leave(k, &group, ifindex);
}

static int mreq6(const struct sock *k, const struct opt_value *in, struct ip_addr *group,
		 int *ifindex)
{
	struct ipv6_mreq r;

	if (in->len < sizeof(r))
		return -EINVAL;
	memcpy(&r, in->v, sizeof(r));
	memcpy(group, &r.ipv6mr_multiaddr, sizeof(*group));
	*ifindex = sock_interface(k, r.ipv6mr_interface);
	return ip_addr_is_v4(group) ? -EINVAL : 0;
}

static int add_member6(struct sock *k, const struct opt_value *in)
{
	struct ip_addr group;
	int ifindex, err = mreq6(k, in, &group, &ifindex);

	return err != 0 ? err : udp_group_join(k, &group, ifindex);
}

static int drop_member6(struct sock *k, const struct opt_value *in)
{
	struct ip_addr group;
	int ifindex, err = mreq6(k, in, &group, &ifindex);

	return err != 0 ? err : udp_group_leave(k, &group, ifindex);
}

/* struct in_addr, struct ip_mreq or struct ip_mreqn. */
static int set_mcast_if4(struct sock *k, const struct opt_value *in)
{
	struct ip_addr ignored;
	int ifindex, err;
	be32_t a;

	if (in->len >= sizeof(struct ip_mreq)) {
		err = mreq(k, in, &ignored, &ifindex);
		if (err != 0)
			return err;
	} else {
		if (in->len < sizeof(a))
			return -EINVAL;
		memcpy(&a, in->v, sizeof(a));
		ifindex = if_of_addr(k, a);
		if (ifindex == -2)
			return -EADDRNOTAVAIL;
	}
	k->udp->mcast_if = ifindex;
	return 0;
}

/* The first address of the interface. */
static int get_mcast_if4(struct sock *k, struct opt_value *out)
{
	be32_t a = {0};
	const struct ip_ifaddr *own;

	for (unsigned i = 0; (own = ip_addr_at(k->app->s->cfg.ip, i)) != NULL; i++) {
		if (own->ifindex != k->udp->mcast_if || !ip_addr_is_v4(&own->addr))
			continue;
		a = own->addr.w[3];
		break;
	}
	memcpy(out->v, &a, sizeof(a));
	out->len = sizeof(a);
	return 0;
}

static int set_mcast_if6(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	v = v < 0 ? UINT8_MAX + 1 : sock_interface(k, (uint32_t)v);
	if (v > UINT8_MAX)
		return -ENODEV;
	k->udp->mcast_if = v;
	return 0;
}

static int get_mcast_if6(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, sock_interface_name(k, k->udp->mcast_if));
}

static const struct sock_option ip_options[] = {
	{IP_TOS, OPT_BOTH, set_tos, get_tos},
	{IP_TTL, OPT_BOTH, set_ttl, get_ttl},
	{IP_MTU_DISCOVER, OPT_BOTH, set_mtu_discover, get_mtu_discover},
	{IP_MTU, OPT_BOTH, NULL, get_mtu},
	{IP_FREEBIND, OPT_BOTH, set_freebind, get_freebind},
	{IP_RECVERR, OPT_BOTH, set_recverr, get_recverr},
	{IP_PKTINFO, OPT_UDP, set_pktinfo, get_pktinfo},
	{IP_MULTICAST_TTL, OPT_UDP, set_mcast_ttl, get_mcast_ttl},
	{IP_MULTICAST_LOOP, OPT_UDP, set_mcast_loop, get_mcast_loop},
	{IP_MULTICAST_IF, OPT_UDP, set_mcast_if4, get_mcast_if4},
	{IP_MULTICAST_ALL, OPT_UDP, set_mcast_all, get_mcast_all},
	{IP_ADD_MEMBERSHIP, OPT_UDP, add_member4, NULL},
	{IP_DROP_MEMBERSHIP, OPT_UDP, drop_member4, NULL},
};

static const struct sock_option ip6_options[] = {
	{IPV6_TCLASS, OPT_BOTH, set_tos, get_tos},
	{IPV6_UNICAST_HOPS, OPT_BOTH, set_ttl, get_ttl},
	{IPV6_MTU_DISCOVER, OPT_BOTH, set_mtu_discover, get_mtu_discover},
	{IPV6_MTU, OPT_BOTH, NULL, get_mtu},
	{IPV6_V6ONLY, OPT_BOTH, set_v6only, get_v6only},
	{IPV6_RECVERR, OPT_BOTH, set_recverr, get_recverr},
	{IPV6_RECVPKTINFO, OPT_UDP, set_pktinfo, get_pktinfo},
	{IPV6_MULTICAST_HOPS, OPT_UDP, set_mcast_ttl, get_mcast_ttl},
	{IPV6_MULTICAST_LOOP, OPT_UDP, set_mcast_loop, get_mcast_loop},
	{IPV6_MULTICAST_IF, OPT_UDP, set_mcast_if6, get_mcast_if6},
	{IPV6_MULTICAST_ALL, OPT_UDP, set_mcast_all, get_mcast_all},
	{IPV6_ADD_MEMBERSHIP, OPT_UDP, add_member6, NULL},
	{IPV6_DROP_MEMBERSHIP, OPT_UDP, drop_member6, NULL},
};

const struct opt_level opt_ip = {ip_options, array_size(ip_options)};
const struct opt_level opt_ip6 = {ip6_options, array_size(ip6_options)};
