/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The host of fuzz.h. Whatever comes in, each function keeps its promises: a refused packet has a
 * reason, a delivered one lies inside its mbufs, and all buffers come home.
 */
#include "fuzz.h"

#include "base/csum.h"
#include "eth/eth.h"
#include "ip/ip.h"
#include "lab.h"
#include "udp/udp.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define L3_OFF 14

static const struct eth_addr mac_us = {{2, 0, 0, 0, 0, 1}}, mac_peer = {{2, 0, 0, 0, 0, 2}};
static struct drop_counters drops;
static struct eth *eth;
static struct ip *ip;
static struct udp *udp;
static uint64_t now;

static struct ip_addr addr4(uint8_t last)
{
	return ip_addr_v4(be32(0x0a000000u | last));
}

static struct ip_addr addr6(uint8_t last)
{
	return (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = last}};
}

void host_start(void)
{
	lab_start(1024, 512, 1024);
}

static void add_addr(struct ip_addr a, uint8_t prefix_len)
{
	struct ip_ifaddr ifa = {.addr = a, .prefix_len = prefix_len};

	expect(ip_addr_add(ip, &ifa) == 0);
	expect(eth_addr_add(eth, 0, &a, false) == 0);
}

void host_up(uint8_t fail_at)
{
	struct udp_bind any = {.lport = 53};
	struct udp_pcb *pcb;
	struct eth_cfg ec;
	struct ip_cfg ic;

	now = 1000000000;
	eth_cfg_defaults(&ec);
	ec.max_neigh = 8;
	ec.queue_max = 3;
	ec.pools = &lab_pools;
	ec.drops = &drops;
	eth = eth_create(&ec);
	ip_cfg_defaults(&ic);
	ic.max_frag_bytes = 1 << 18;
	ic.max_frag_datagrams = 4;
	ic.pools = &lab_pools;
	ic.drops = &drops;
	ip = ip_create(&ic);
	udp = udp_create(8, 1, &drops);
	expect(eth != NULL && ip != NULL && udp != NULL);
	eth_begin(eth, now);
	ip_begin(ip, now);
	expect(eth_if_add(eth, &(struct eth_if){.mtu = 1500, .mac = mac_us}) == 0);
	expect(ip_if_add(ip, 0, 1500, &mac_us) == 0);
	add_addr(addr4(1), 24);
	add_addr(addr6(1), 64);
	expect(udp_bind(udp, &any, &pcb) == 0);
	lab_fail_at(fail_at != 0 ? fail_at : -1);
}

void host_down(void)
{
	eth_destroy(eth);
	ip_destroy(ip);
	udp_destroy(udp);
	expect(lab_in_use() == 0);
}

/* Reads every byte, for the sanitizer, and frees. */
static void sent(struct rte_mbuf *m)
{
	expect(m->pkt_len >= L3_OFF);
	(void)pkt_csum(m, 0, m->pkt_len);
	pkt_free(m);
}

static void refused(struct pkt *p)
{
	expect(p->drop > DROP_NONE && p->drop < DROP_MAX);
	pkt_free(p->m);
}

static void neigh_out(struct pkt *p, uint8_t ifindex)
{
	enum next n = eth_output(eth, p, ifindex);

	expect(n == NEXT_TX || n == NEXT_CONSUMED || n == NEXT_DROP);
	if (n == NEXT_TX)
		sent(p->m);
	else if (n == NEXT_DROP)
		refused(p);
}

static void fragments_out(struct pkt *p)
{
	struct pkt f[IP_FRAGMENTS_MAX];
	uint8_t ifindex = 0;
	int n = ip_fragment(ip, p, f, IP_FRAGMENTS_MAX, &ifindex);

	expect(n != 0);
	for (int i = 0; i < n; i++)
		neigh_out(&f[i], ifindex);
}

static void ip_out(struct pkt *p)
{
	uint8_t ifindex = 0;
	enum next n = ip_output(ip, p, &ifindex);

	if (n == NEXT_NEIGH_OUT)
		neigh_out(p, ifindex);
	else if (p->drop == DROP_IP_TOO_BIG && !(p->flags & PKT_F_DF))
		fragments_out(p);
	else
		refused(p);
}

static void unreachable(struct pkt *p, enum icmp_why why)
{
	struct pkt reply;

	if (icmp_error_build(ip, p, why, &reply) == NEXT_IP_OUT)
		ip_out(&reply);
	pkt_free(p->m);
}

static void check_l4(const struct pkt *p)
{
	uint8_t byte;

	expect((uint32_t)p->l4_off + p->l4_len <= p->m->pkt_len);
	if (p->l4_len > 0)
		expect(pkt_copy_out(p->m, p->l4_off + p->l4_len - 1, 1, &byte) == 1);
}

static enum next udp_in(struct pkt *p)
{
	struct udp_pcb *pcb = NULL;
	enum next n = udp_input(udp, p, &pcb);

	if (n != NEXT_CONSUMED)
		return n;
	expect(pcb != NULL);
	while (pcb != NULL && (p->flags & PKT_F_BCAST))
		pcb = udp_next_match(udp, p, pcb);
	(void)pkt_csum(p->m, 0, p->m->pkt_len);
	pkt_free(p->m);
	return n;
}

static void icmp_error(struct pkt *p, const struct icmp_error *e)
{
	expect(e->err > 0);
	if (e->err == EMSGSIZE) {
		/* H18 */
		expect(e->mtu >= (ip_addr_is_v4(&e->dst) ? 68 : 1280));
		ip_pmtu_learn(ip, &e->dst, e->mtu);
		expect(ip_pmtu(ip, &e->dst) >= (ip_addr_is_v4(&e->dst) ? 68 : 1280));
	}
	pkt_free(p->m);
}

/* One step of a received packet's road; NEXT_CONSUMED ends it. */
static enum next step(struct pkt *p, enum next n, uint8_t ifindex)
{
	struct icmp_error err = {0};

	switch (n) {
	case NEXT_ARP:
		return arp_input(eth, p, ifindex);
	case NEXT_IP4:
		return ip4_input(ip, p, ifindex);
	case NEXT_IP6:
		return ip6_input(ip, p, ifindex);
	case NEXT_ICMP4:
	case NEXT_ICMP6:
		check_l4(p);
		n = n == NEXT_ICMP4 ? icmp4_input(ip, p, &err) : icmp6_input(ip, p, &err);
		if (n == NEXT_ICMP_ERROR)
			icmp_error(p, &err);
		return n == NEXT_ICMP_ERROR ? NEXT_CONSUMED : n;
	case NEXT_GROUP:
		return ip_group_input(ip, p, ifindex);
	case NEXT_ND:
		return nd_input(eth, p, ifindex);
	case NEXT_UDP:
		check_l4(p);
		return udp_in(p);
	case NEXT_TCP:
		check_l4(p);
		pkt_free(p->m);
		return NEXT_CONSUMED;
	case NEXT_UNREACH_PORT:
	case NEXT_UNREACH_PROTO:
		unreachable(p, n == NEXT_UNREACH_PORT ? ICMP_WHY_PORT : ICMP_WHY_PROTO);
		return NEXT_CONSUMED;
	case NEXT_IP_OUT:
		ip_out(p);
		return NEXT_CONSUMED;
	case NEXT_TX:
		sent(p->m);
		return NEXT_CONSUMED;
	case NEXT_DROP:
		refused(p);
		return NEXT_CONSUMED;
	default:
		abort();
	}
}

static void poll_all(void)
{
	struct pkt out[8];
	uint8_t ifindex[8];
	struct eth_event ev;
	unsigned n;

	for (int i = 0; i < 16 && (n = eth_poll(eth, out, 8)) > 0; i++)
		while (n > 0)
			sent(out[--n].m);
	while (eth_event_next(eth, &ev))
		pkt_free(ev.m);
	for (int i = 0; i < 16 && (n = ip_expire(ip, out, ifindex, 8)) > 0; i++)
		for (; n > 0; n--)
			neigh_out(&out[n - 1], ifindex[n - 1]);
}

void host_frame(const struct frame *f, uint8_t cut)
{
	struct pkt p = {.m = cut != 0 ? lab_packet(f->b, f->n, 0, cut)
				      : lab_packet_exact(f->b, f->n)};
	uint8_t ifindex = 0;
	enum next n;

	if (p.m == NULL)
		return;
	n = eth_input(eth, &p, &ifindex);
	for (unsigned steps = 0; n != NEXT_CONSUMED; steps++) {
		expect(steps < 8);
		n = step(&p, n, ifindex);
	}
	poll_all();
}

void host_later(uint64_t ns)
{
	now += ns;
	eth_begin(eth, now);
	ip_begin(ip, now);
	poll_all();
}

void host_send(bool v6, uint8_t x)
{
	struct pkt p = {.m = pkt_alloc_hdr(&lab_pools),
			.proto = 17,
			.flags = v6 ? PKT_F_V6 : 0,
			.src = v6 ? addr6(1) : addr4(1),
			.dst = v6 ? addr6(x) : addr4(x)};

	if (p.m == NULL)
		return;
	memset(pkt_put(p.m, 20), x, 20);
	ip_out(&p);
	poll_all();
}

/* ---- frames ---- */

void frame_put(struct frame *f, const void *bytes, uint32_t n)
{
	if (n > FRAME_MAX - f->n)
		n = FRAME_MAX - f->n;
	memcpy(f->b + f->n, bytes, n);
	f->n += n;
}

void frame_eth(struct frame *f, uint16_t type)
{
	struct wire_eth h = {mac_us, mac_peer, be16(type)};

	f->n = 0;
	frame_put(f, &h, sizeof(h));
}

void frame_ip4(struct frame *f, uint8_t proto)
{
	struct ip4_hdr h = {.ver_ihl = 0x45,
			    .ttl = 64,
			    .proto = proto,
			    .src = addr4(2).w[3],
			    .dst = addr4(1).w[3]};

	frame_eth(f, 0x0800);
	frame_put(f, &h, sizeof(h));
}

void frame_ip6(struct frame *f, uint8_t next)
{
	struct ip6_hdr h = {.ver_tc_flow = be32(6u << 28), .next = next, .hop_limit = 255};
	struct ip_addr src = addr6(2), dst = addr6(1);

	memcpy(h.src, src.b, 16);
	memcpy(h.dst, dst.b, 16);
	frame_eth(f, 0x86dd);
	frame_put(f, &h, sizeof(h));
}

/* Where the checksum stands in an L4 header; 0: a protocol without one. */
static unsigned csum_at(uint8_t proto)
{
	return proto == 1 || proto == 2 || proto == 58 ? 2 : proto == 17 ? 6 : proto == 6 ? 16 : 0;
}

static void repair_l4(struct frame *f, uint32_t off, uint8_t proto, uint32_t pseudo)
{
	unsigned at = csum_at(proto);
	uint16_t sum = 0;

	if (at == 0 || f->n < off + at + 2)
		return;
	memcpy(f->b + off + at, &sum, 2);
	sum = csum_finish(csum_add(proto < 6 ? 0 : pseudo, f->b + off, f->n - off));
	memcpy(f->b + off + at, &sum, 2);
}

static void repair4(struct frame *f)
{
	struct ip4_hdr *h = (void *)(f->b + L3_OFF);
	unsigned ihl = (h->ver_ihl & 15) * 4u;
	struct ip_addr src = ip_addr_v4(h->src), dst = ip_addr_v4(h->dst);
	uint32_t l4 = f->n - L3_OFF - ihl;

	if (ihl < IP4_HDR_LEN || f->n < L3_OFF + ihl)
		return;
	h->total_len = be16((uint16_t)(f->n - L3_OFF));
	h->csum.v = 0;
	h->csum.v = csum_finish(csum_add(0, h, ihl));
	repair_l4(f, L3_OFF + ihl, h->proto, csum_pseudo(0, src.b, dst.b, false, h->proto, l4));
}

static void repair6(struct frame *f)
{
	struct ip6_hdr *h = (void *)(f->b + L3_OFF);
	uint32_t l4 = f->n - L3_OFF - IP6_HDR_LEN;

	h->payload_len = be16((uint16_t)l4);
	repair_l4(f, L3_OFF + IP6_HDR_LEN, h->next,
		  csum_pseudo(0, h->src, h->dst, true, h->next, l4));
}

void frame_repair(struct frame *f)
{
	if (f->n >= L3_OFF + IP6_HDR_LEN && f->b[12] == 0x86)
		repair6(f);
	else if (f->n >= L3_OFF + IP4_HDR_LEN && f->b[12] == 0x08 && f->b[13] == 0)
		repair4(f);
}
