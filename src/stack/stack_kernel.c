/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's side of a shared port (docs/design/012): what nobody here claims goes to an
 * interface of the kernel's that has our addresses, and what the kernel sends there leaves by the
 * port.
 *
 *	port ──► switchboard ──► a socket of ours
 *	              │ refused as "not ours", TCP without connection, UDP without socket, ping
 *	              ▼
 *	            queue ──► kernel ──► the port's queue, as it is
 *
 * Who is meant is not asked in front: a packet takes our road, and the protocol that refuses it
 * says why (p->drop). Some of the reasons mean "of nobody here": kernel_wants(). What concerns both,
 * news of neighbours and of groups and datagrams to groups, is copied.
 *
 * A frame costs a system call, in which the kernel receives it and answers. Anybody can send frames
 * of nobody, so they have a part of the time only, unless there is nothing else to do (H24).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/csum.h"
#include "stack/stack_priv.h"
#include "wire/arp.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip6.h"
#include "wire/nd.h"

#define QUEUE	      256u /* a power of two */
#define PIECE	      8u   /* frames between two looks at the clock */
#define READ_MAX      32u  /* frames of the kernel's in a turn */
#define TIME_PART     4	   /* at most 1 / TIME_PART of the time */
#define CREDIT_MAX_NS 500000
/* A look at a quiet interface is a system call: not with every turn. */
#define LOOK_NS 20000

struct stack_kernel {
	struct dev_kernel *kernel;
	uint16_t queue;
	struct eth_addr mac;
	uint64_t look_ns; /* not before */
	uint32_t head, n;
	struct pkt q[QUEUE]; /* for the kernel */
};

int stack_share(struct stack *s, unsigned port, struct dev_kernel *k, uint16_t queue)
{
	struct stack_kernel *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return -ENOMEM;
	h->kernel = k;
	h->queue = queue;
	h->mac = stack_port_mac(s, port);
	rc = stack_wait_kernel(s, dev_kernel_fd(k, queue));
	if (rc < 0) {
		free(h);
		return rc;
	}
	s->kernel[port] = h;
	s->n_kernels++;
	return 0;
}

unsigned stack_if_kernel(const struct stack *s, unsigned ifindex)
{
	const struct eth_if *i =
		ifindex < eth_if_count(s->eth) ? eth_if_get(s->eth, ifindex) : NULL;

	if (i == NULL || i->vlan != 0)
		return 0;
	if (s->kernel[i->port] != NULL)
		return dev_kernel_index(s->kernel[i->port]->kernel);
	return dev_ifindex(s->cfg.port[i->port].dev);
}

void kernel_halt(struct stack *s)
{
	for (unsigned i = 0; i < s->cfg.n_ports; i++) {
		struct stack_kernel *h = s->kernel[i];

		for (; h != NULL && h->n > 0; h->n--)
			pkt_drop(&s->drops, h->q[h->head++ % QUEUE].m, DROP_SHUTDOWN);
		free(h);
		s->kernel[i] = NULL;
	}
	s->n_kernels = 0;
}

/* ---- what the kernel wants ---- */

/* The interface is that of the untagged network; a VLAN that we don't have may be the kernel's. Our
 * own frame, brought back by a loop or a mirror, is nobody's. */
void kernel_mark(const struct stack *s, struct pkt *p, enum next next)
{
	const struct stack_kernel *k = s->kernel[p->port];
	const struct wire_eth *h = (const void *)pkt_data(p->m);

	if (k == NULL || p->m->data_len < sizeof(*h) || eth_addr_eq(&h->src, &k->mac))
		return;
	if (p->vlan == 0 || (next == NEXT_DROP && p->drop == DROP_ETH_VLAN &&
			     !(p->m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)))
		p->flags |= PKT_F_SHARED;
}

static bool is_of_nobody(unsigned why)
{
	switch (why) {
	case DROP_ETH_NOT_OURS:
	case DROP_ETH_TYPE:
	case DROP_ETH_VLAN:
	case DROP_ARP_NOT_OURS:
	case DROP_ND_NOT_OURS:
	case DROP_REDIRECT:
	case DROP_IP_NOT_OURS:
	case DROP_IP_PROTO:
	case DROP_ICMP_TYPE:
	case DROP_ICMP_UNMATCHED:
	case DROP_UDP_NO_PORT:
		return true;
	default:
		return false;
	}
}

bool kernel_wants(const struct stack *s, const struct pkt *p)
{
	const struct wire_eth *h;

	if (!(p->flags & PKT_F_SHARED) || !is_of_nobody(p->drop) || p->m->data_len < sizeof(*h))
		return false;
	/* Frames to other stations reach a port that is open for all. */
	h = (const void *)pkt_data(p->m);
	return eth_addr_is_group(&h->dst) || eth_addr_eq(&h->dst, &s->kernel[p->port]->mac);
}

/* Who asks for an address of ours gets one answer. */
static bool asks_for_ours(const struct stack *s, const struct pkt *p, enum next next)
{
	struct wire_arp a;
	struct wire_nd nd;
	struct ip_addr target;

	if (next == NEXT_ARP) {
		if (pkt_copy_out(p->m, p->l3_off, sizeof(a), &a) != sizeof(a) ||
		    be16_host(a.op) != ARP_REQUEST)
			return false;
		target = ip_addr_v4(a.tpa);
	} else {
		if (pkt_copy_out(p->m, p->l4_off, sizeof(nd), &nd) != sizeof(nd) ||
		    nd.type != ND_NS)
			return false;
		memcpy(target.b, nd.target, sizeof(target.b));
	}
	return ip_addr_find(s->ip, &target) != NULL;
}

static void copy(struct stack *s, struct pkt *p)
{
	struct pkt c = *p;

	c.m = stack_another(&s->cfg.pools, p->m);
	p->flags &= (uint16_t)~PKT_F_SHARED; /* the kernel has it */
	if (c.m != NULL)
		kernel_put(s, &c);
	else
		pkt_drop(&s->drops, NULL, DROP_NO_MBUF);
}

void kernel_copy_news(struct stack *s, struct pkt *p, enum next next)
{
	if (next == NEXT_GROUP || !asks_for_ours(s, p, next))
		copy(s, p);
}

void kernel_copy_datagram(struct stack *s, struct pkt *p)
{
	if (p->flags & PKT_F_BCAST)
		copy(s, p);
}

bool kernel_is_echo(const struct pkt *p, bool v6)
{
	uint8_t type = 0;

	return pkt_copy_out(p->m, p->l4_off, 1, &type) == 1 &&
	       type == (v6 ? ICMP6_ECHO : ICMP4_ECHO);
}

/* ---- to the kernel ---- */

/* RFC 6946: a fragment header that says "all of it". 0: there is none where it should be. */
static unsigned fragment_header(const uint8_t *h, unsigned len)
{
	unsigned at = IP6_HDR_LEN;
	uint8_t next = ((const struct ip6_hdr *)(const void *)h)->next;

	while (next != IP6_NEXT_FRAGMENT && at + IP6_FRAG_LEN <= len) {
		next = h[at];
		at += (h[at + 1] + 1u) * 8;
	}
	return next == IP6_NEXT_FRAGMENT && at + IP6_FRAG_LEN <= len ? at : 0;
}

/* The header of a datagram that was put together is still that of its first fragment. */
static bool mend(struct pkt *p)
{
	unsigned hdr = (unsigned)p->l4_off - p->l3_off, at;
	uint32_t len = hdr + p->l4_len;
	uint8_t *h = pkt_data(p->m) + p->l3_off;
	struct ip4_hdr *h4 = (void *)h;
	be16_t off = {0};

	if (!pkt_is_private(p->m) || p->m->data_len < p->l4_off)
		return false;
	if (!(p->flags & PKT_F_V6)) {
		h4->total_len = be16((uint16_t)len);
		h4->frag = h4->csum = be16(0);
		h4->csum.v = csum_finish(csum_add(0, h, hdr));
		return len <= UINT16_MAX;
	}
	at = fragment_header(h, hdr);
	if (at == 0 || len - IP6_HDR_LEN > UINT16_MAX)
		return false;
	((struct ip6_hdr *)(void *)h)->payload_len = be16((uint16_t)(len - IP6_HDR_LEN));
	memcpy(h + at + offsetof(struct ip6_frag_hdr, off_m), &off, sizeof(off));
	return true;
}

void kernel_put(struct stack *s, struct pkt *p)
{
	struct stack_kernel *h = s->kernel[p->port];

	s->strangers++;
	if (p->l3_off == 0 && !alias_out(p, &h->mac)) {
		pkt_drop(&s->drops, p->m, DROP_TCP_NO_CONN);
		return;
	}
	if ((p->flags & PKT_F_FRAGMENTED) && !mend(p)) {
		pkt_drop(&s->drops, p->m, DROP_FRAG_BAD);
		return;
	}
	if (h->n == QUEUE) {
		pkt_drop(&s->drops, p->m, DROP_KERNEL_FULL);
		return;
	}
	h->q[(h->head + h->n++) % QUEUE] = *p;
}

static void piece_to_kernel(struct stack *s, struct stack_kernel *h)
{
	for (unsigned i = 0; i < PIECE && h->n > 0; i++, h->n--) {
		if (dev_kernel_tx(h->kernel, h->queue, &h->q[h->head++ % QUEUE]))
			s->to_kernel++;
		else
			pkt_drop(&s->drops, NULL, DROP_KERNEL_DOWN);
	}
}

/* ---- both ways ---- */

static bool is_to(const struct pkt *p, const struct eth_addr *mac)
{
	const struct wire_eth *h = (const void *)pkt_data(p->m);

	return p->m->data_len >= sizeof(*h) && eth_addr_eq(&h->dst, mac);
}

/* Frames of the kernel's: no more than find room at the port. */
static unsigned from_kernel(struct stack *s, struct stack_kernel *h, unsigned port)
{
	unsigned room = PKT_BURST - s->txq[port].n, n;
	struct pkt p[READ_MAX];

	room = room < READ_MAX ? room : READ_MAX;
	n = dev_kernel_rx(h->kernel, h->queue, p, room);
	if (n < room)
		h->look_ns = s->now + LOOK_NS;
	for (unsigned i = 0; i < n; i++) {
		p[i].port = (uint8_t)port;
		if (unlikely(is_to(&p[i], &h->mac)))
			alias_in(s, &p[i]);
		else
			stack_out(s, &p[i], NEXT_TX, 0);
	}
	s->from_kernel += n;
	return n;
}

/* Is there time for it? What is done in time that nobody wants costs nothing. */
static bool may_go_on(struct stack *s, uint64_t *since, bool idle)
{
	uint64_t now = clock_ns(&s->clock);

	if (!idle)
		s->kernel_credit_ns -= (int64_t)(now - *since);
	*since = now;
	return idle || s->kernel_credit_ns > 0;
}

unsigned kernel_turn(struct stack *s, unsigned done)
{
	bool idle = done <= s->strangers;
	unsigned worked = 0, before;
	uint64_t since = clock_ns(&s->clock);

	s->kernel_credit_ns += (int64_t)(s->now - s->kernel_ns) / TIME_PART;
	if (s->kernel_credit_ns > CREDIT_MAX_NS)
		s->kernel_credit_ns = CREDIT_MAX_NS;
	s->kernel_ns = s->now;
	s->strangers = 0;
	for (unsigned i = 0; i < s->cfg.n_ports; i++) {
		struct stack_kernel *h = s->kernel[i];

		if (h == NULL)
			continue;
		for (before = h->n; h->n > 0 && may_go_on(s, &since, idle);)
			piece_to_kernel(s, h);
		worked += before - h->n;
		if (s->now >= h->look_ns && may_go_on(s, &since, idle))
			worked += from_kernel(s, h, i);
	}
	(void)may_go_on(s, &since, idle);
	return worked;
}

bool kernel_pending(const struct stack *s)
{
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		if (s->kernel[i] != NULL && s->kernel[i]->n > 0)
			return true;
	return false;
}
