/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Our own addresses. With duplicate detection: wait a random moment, probe, and if nobody objects
 * the address is usable and is announced.
 *
 *   IPv4 (RFC 5227 §2.1.1): 3 probes 1 to 2 s apart, 2 s of silence; 2 announcements 2 s apart
 *   IPv6 (RFC 4862 §5.4.2): 1 probe, 1 s of silence; 2 announcements 2 s apart (RFC 4861 §7.2.6)
 *
 * A usable address that another station claims is defended by at most one announcement in 10 s
 * (RFC 5227 §2.4 (c): never given up; an appliance's address is configured by its owner).
 * Not done: RFC 5227's rate limit of address changes (we choose no addresses ourselves).
 */
#include <errno.h>

#include "eth/eth_priv.h"

#define PROBE_MIN_NS	 SEC_NS
#define ANNOUNCE_WAIT_NS (2 * SEC_NS)
#define ANNOUNCE_INT_NS	 (2 * SEC_NS)
#define DEFEND_NS	 (10 * SEC_NS)
#define NO_BUFFER_NS	 (SEC_NS / 10)

enum { PROBES_V4 = 3, PROBES_V6 = 1, ANNOUNCES = 2 };

struct own *own_find(struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	for (unsigned i = 0; i < e->n_own; i++)
		if (e->own[i].ifindex == ifindex && ip_addr_eq(&e->own[i].addr, a))
			return &e->own[i];
	return NULL;
}

static unsigned common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	unsigned i = 0;

	while (i < 16 && a->b[i] == b->b[i])
		i++;
	if (i == 16)
		return 128;
	return i * 8 + (unsigned)__builtin_clz((uint32_t)(a->b[i] ^ b->b[i]) << 24);
}

const struct own *own_nearest(const struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	const struct own *best = NULL;
	unsigned best_bits = 0;

	for (unsigned i = 0; i < e->n_own; i++) {
		const struct own *o = &e->own[i];
		unsigned bits = common_bits(&o->addr, a);

		if (o->ifindex != ifindex || o->state != OWN_USABLE ||
		    ip_addr_is_v4(&o->addr) != ip_addr_is_v4(a))
			continue;
		if (best == NULL || bits > best_bits) {
			best = o;
			best_bits = bits;
		}
	}
	return best;
}

static void due_update(struct eth *e)
{
	e->own_due = UINT64_MAX;
	for (unsigned i = 0; i < e->n_own; i++)
		if (e->own[i].due < e->own_due)
			e->own_due = e->own[i].due;
	for (unsigned i = 0; i < e->n_ifs; i++)
		if (e->nd[i].due < e->own_due)
			e->own_due = e->nd[i].due;
}

/* RFC 4861 §6.3.7. The random delay that it wants was that of the probe. */
static void routers_ask(struct eth *e, uint8_t ifindex)
{
	struct if_nd *nd = &e->nd[ifindex];

	if (nd->asked)
		return;
	nd->asked = true;
	nd->solicits = RS_TRIES;
	nd->due = e->now;
}

void routers_heard(struct eth *e, uint8_t ifindex)
{
	e->nd[ifindex].asked = true;
	e->nd[ifindex].due = UINT64_MAX;
	due_update(e);
}

static bool routers_step(struct eth *e, uint8_t ifindex, struct pkt *p)
{
	struct if_nd *nd = &e->nd[ifindex];

	*p = (struct pkt){0};
	if (!nd_solicit_routers(e, ifindex, p)) {
		nd->due = e->now + NO_BUFFER_NS;
		return false;
	}
	nd->due = --nd->solicits > 0 ? e->now + RS_INTERVAL_NS : UINT64_MAX;
	return true;
}

static void event_set(struct eth *e, struct own *o, int kind)
{
	e->own_events += o->event < 0;
	o->event = (int8_t)kind;
}

/* When an address starts to be probed. RFC 4862 §5.4.2: the random delay is for the first message
 * of an interface, so addresses that come together are probed together. */
static uint64_t probe_start(struct eth *e, uint8_t ifindex, bool v6)
{
	for (unsigned i = 0; i < e->n_own && v6; i++) {
		const struct own *o = &e->own[i];

		if (o->ifindex == ifindex && o->state == OWN_TENTATIVE && o->probes == PROBES_V6 &&
		    !ip_addr_is_v4(&o->addr))
			return o->due;
	}
	return e->now + eth_random(e) % SEC_NS;
}

int eth_addr_add(struct eth *e, unsigned ifindex, const struct ip_addr *a, bool dad)
{
	uint64_t due;
	struct own *o;

	if (ifindex >= e->n_ifs || ip_addr_is_any(a) || ip_addr_is_multicast(a))
		return -EINVAL;
	if (own_find(e, (uint8_t)ifindex, a) != NULL)
		return -EEXIST;
	if (e->n_own == ETH_ADDR_MAX)
		return -ENOSPC;
	due = dad ? probe_start(e, (uint8_t)ifindex, !ip_addr_is_v4(a)) : e->now;
	o = &e->own[e->n_own++];
	*o = (struct own){.addr = *a, .ifindex = (uint8_t)ifindex, .event = -1, .due = due};
	o->announces = ANNOUNCES;
	o->state = dad ? OWN_TENTATIVE : OWN_USABLE;
	if (dad)
		o->probes = ip_addr_is_v4(a) ? PROBES_V4 : PROBES_V6;
	due_update(e);
	return 0;
}

int eth_addr_del(struct eth *e, unsigned ifindex, const struct ip_addr *a)
{
	struct own *o = ifindex < e->n_ifs ? own_find(e, (uint8_t)ifindex, a) : NULL;

	if (o == NULL)
		return -ENOENT;
	e->own_events -= o->event >= 0;
	*o = e->own[--e->n_own];
	due_update(e);
	return 0;
}

void own_conflict(struct eth *e, struct own *o)
{
	if (o->state == OWN_TENTATIVE) {
		o->state = OWN_DUPLICATE;
		o->due = UINT64_MAX;
		event_set(e, o, ETH_EV_ADDR_DUPLICATE);
	} else if (o->state == OWN_USABLE &&
		   (o->defended == 0 || e->now - o->defended >= DEFEND_NS)) {
		o->defended = e->now;
		if (o->announces == 0)
			o->announces = 1;
		o->due = e->now;
	}
	due_update(e);
}

/* One step of one address; true: a frame is in p. */
static bool own_step(struct eth *e, struct own *o, struct pkt *p)
{
	bool v4 = ip_addr_is_v4(&o->addr), sent = false;

	*p = (struct pkt){0};
	if (o->probes > 0) {
		sent = v4 ? arp_probe(e, o, p) : nd_probe(e, o, p);
		o->probes -= sent;
		o->due = e->now + (!v4		    ? NEIGH_RETRANS_NS
				   : o->probes == 0 ? ANNOUNCE_WAIT_NS
						    : PROBE_MIN_NS + eth_random(e) % SEC_NS);
	} else if (o->announces > 0) {
		if (o->state == OWN_TENTATIVE) {
			o->state = OWN_USABLE;
			event_set(e, o, ETH_EV_ADDR_OK);
			if (!v4)
				routers_ask(e, o->ifindex);
		}
		sent = v4 ? arp_announce(e, o, p) : nd_announce(e, o, p);
		o->announces -= sent;
		o->due = o->announces > 0 ? e->now + ANNOUNCE_INT_NS : UINT64_MAX;
	} else {
		o->due = UINT64_MAX;
	}
	if (!sent && o->due != UINT64_MAX)
		o->due = e->now + NO_BUFFER_NS;
	return sent;
}

unsigned own_poll(struct eth *e, struct pkt *out, unsigned n)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < e->n_own && sent < n; i++)
		if (e->own[i].due <= e->now)
			sent += own_step(e, &e->own[i], &out[sent]);
	for (unsigned i = 0; i < e->n_ifs && sent < n; i++)
		if (e->nd[i].due <= e->now)
			sent += routers_step(e, (uint8_t)i, &out[sent]);
	due_update(e);
	return sent;
}

bool own_event_next(struct eth *e, struct eth_event *ev)
{
	if (e->own_events == 0)
		return false;
	for (unsigned i = 0; i < e->n_own; i++) {
		struct own *o = &e->own[i];

		if (o->event < 0)
			continue;
		*ev = (struct eth_event){.addr = o->addr, .ifindex = o->ifindex};
		ev->kind = o->event;
		o->event = -1;
		e->own_events--;
		return true;
	}
	return false;
}
