/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reassembly (RFC 791 §3.2, RFC 8200 §4.5, RFC 5722, RFC 6946).
 *
 * A fixed table of datagrams, each with at most FRAGS_MAX fragments sorted by offset; buffers are
 * charged whole. When a limit is met the oldest datagram goes, so a flood can't hold the table for
 * longer than it lasts (H09). An overlap discards the datagram, and its entry stays dead until the
 * time is over, so that what follows is discarded too. An exact duplicate is only dropped itself.
 */
#include <stdlib.h>

#include "ip/ip_priv.h"

#define FRAGS_MAX 128 /* 64 KB over links of 576 bytes */

struct frag {
	uint32_t off, len;
	struct rte_mbuf *m; /* the fragment at 0 keeps its headers, the others are payload only */
};

struct datagram {
	uint64_t expires_ns; /* 0 = free */
	struct ip_addr src, dst;
	uint32_t id, total /* 0 = last fragment not seen */, have, bytes;
	uint8_t proto, n, ce;
	bool dead;
	struct pkt first; /* as parsed, valid once offset 0 is here */
	struct frag f[FRAGS_MAX];
};

struct frag_table {
	uint32_t max, live, bytes;
	struct datagram d[];
};

struct frag_table *frag_create(uint32_t max)
{
	struct frag_table *t = NULL;

	if (max > 0 && max <= 65536)
		t = calloc(1, sizeof(*t) + (size_t)max * sizeof(t->d[0]));
	if (t != NULL)
		t->max = max;
	return t;
}

/* Frees the buffers, each counted under that reason. */
static void empty(struct ip *ip, struct datagram *d, enum drop_reason why)
{
	for (unsigned i = 0; i < d->n; i++)
		pkt_drop(ip->cfg.drops, d->f[i].m, why);
	ip->frags->bytes -= d->bytes;
	d->bytes = 0;
	d->n = 0;
}

static void release(struct ip *ip, struct datagram *d, enum drop_reason why)
{
	empty(ip, d, why);
	d->expires_ns = 0;
	ip->frags->live--;
}

void frag_destroy(struct ip *ip)
{
	for (uint32_t i = 0; ip->frags != NULL && i < ip->frags->max; i++)
		empty(ip, &ip->frags->d[i], DROP_SHUTDOWN);
	free(ip->frags);
}

/* The datagram to which the fragment belongs; a new one where there is none. */
static struct datagram *find(struct ip *ip, const struct pkt *p, uint32_t id)
{
	struct frag_table *t = ip->frags;
	struct datagram *best = &t->d[0]; /* a free one, or else the oldest */
	/* RFC 8200 §4.5: the next header may differ between fragments; in IPv4 it is part of the
	 * key. */
	bool v6 = (p->flags & PKT_F_V6) != 0;
	uint8_t key = v6 ? 0 : p->proto;
	uint64_t life = ip->cfg.frag_timeout_ms * UINT64_C(1000000) * (v6 ? 2 : 1);

	for (uint32_t i = 0; i < t->max; i++) {
		struct datagram *d = &t->d[i];

		if (d->expires_ns > ip->now_ns && d->id == id && d->proto == key &&
		    ip_addr_eq(&d->src, &p->src) && ip_addr_eq(&d->dst, &p->dst))
			return d;
		best = d->expires_ns < best->expires_ns ? d : best;
	}
	if (best->expires_ns != 0)
		release(ip, best, DROP_FRAG_LIMIT);
	memset(best, 0, offsetof(struct datagram, f));
	best->expires_ns = ip->now_ns + life;
	best->src = p->src;
	best->dst = p->dst;
	best->id = id;
	best->proto = key;
	t->live++;
	return best;
}

/* Where the fragment goes, or why the datagram can't take it. */
static enum drop_reason place(const struct datagram *d, uint32_t off, uint32_t len, bool more,
			      unsigned *at)
{
	unsigned i = 0;

	while (i < d->n && d->f[i].off < off)
		i++;
	*at = i;
	if (i < d->n && d->f[i].off == off && d->f[i].len == len)
		return DROP_FRAG_BAD;
	if ((i < d->n && d->f[i].off < off + len) ||
	    (i > 0 && d->f[i - 1].off + d->f[i - 1].len > off))
		return DROP_FRAG_OVERLAP;
	if (d->total != 0 && (off + len > d->total || !more))
		return DROP_FRAG_OVERLAP;
	if (!more && d->n > 0 && d->f[d->n - 1].off + d->f[d->n - 1].len > off + len)
		return DROP_FRAG_OVERLAP;
	return d->n == FRAGS_MAX ? DROP_FRAG_LIMIT : DROP_NONE;
}

static void insert(struct ip *ip, struct datagram *d, struct pkt *p, unsigned at, struct frag f)
{
	uint32_t cost = 0;

	if (f.off == 0)
		d->first = *p;
	else
		p->m = pkt_trim_front(p->m, p->l4_off);
	f.m = p->m;
	for (const struct rte_mbuf *s = f.m; s != NULL; s = s->next)
		cost += pkt_charge(s);
	memmove(&d->f[at + 1], &d->f[at], (d->n - at) * sizeof(f));
	d->f[at] = f;
	d->n++;
	d->have += f.len;
	d->bytes += cost;
	d->ce |= (p->tos & 3) == 3;
	ip->frags->bytes += cost;
	p->m = NULL;
}

/* The fragments lie end to end: one packet of them, as if it had come whole. */
static void join(struct ip *ip, struct datagram *d, struct pkt *p)
{
	struct rte_mbuf *head = d->f[0].m;

	*p = d->first;
	p->m = head;
	for (unsigned i = 1; i < d->n; i++) {
		struct rte_mbuf *m = d->f[i].m;

		rte_pktmbuf_lastseg(head)->next = m;
		head->nb_segs += m->nb_segs;
		head->pkt_len += m->pkt_len;
	}
	d->n = 0;
	p->l4_len = d->total;
	p->flags = (uint16_t)((p->flags & ~PKT_F_CSUM_OK) | PKT_F_FRAGMENTED);
	p->tos |= d->ce ? 3 : 0; /* RFC 3168 §5.3 */
	release(ip, d, DROP_NONE);
	ip->counters.reasm_ok++;
}

/* Room for one more buffer: the oldest others go first. */
static bool make_room(struct ip *ip, const struct datagram *keep)
{
	struct frag_table *t = ip->frags;

	while (t->bytes > ip->cfg.max_frag_bytes) {
		struct datagram *old = NULL;

		for (uint32_t i = 0; i < t->max; i++) {
			struct datagram *d = &t->d[i];

			if (d != keep && d->n > 0 && (!old || d->expires_ns < old->expires_ns))
				old = d;
		}
		if (old == NULL)
			return false;
		release(ip, old, DROP_FRAG_LIMIT);
	}
	return true;
}

/* What the length field of the whole datagram's header counts besides the payload. */
static uint32_t uncut_len(const struct pkt *p)
{
	uint32_t headers = p->l4_off - p->l3_off;

	return p->flags & PKT_F_V6 ? headers - IP6_HDR_LEN - IP6_FRAG_LEN : headers;
}

bool frag_input(struct ip *ip, struct pkt *p, uint32_t id, uint32_t off, bool more, enum next *next)
{
	struct frag f = {.off = off, .len = p->l4_len};
	struct datagram *d;
	enum drop_reason why;
	unsigned at = 0;

	*next = NEXT_CONSUMED;
	if (f.len == 0 || (more && f.len % 8 != 0) || off + f.len + uncut_len(p) > UINT16_MAX) {
		*next = pkt_refuse(p, DROP_FRAG_BAD);
		return false;
	}
	d = find(ip, p, id);
	why = d->dead ? DROP_FRAG_OVERLAP : place(d, off, f.len, more, &at);
	if (why != DROP_NONE) {
		if (why != DROP_FRAG_BAD && !d->dead) {
			empty(ip, d, why);
			d->dead = true;
		}
		*next = pkt_refuse(p, why);
		return false;
	}
	if (!more)
		d->total = off + f.len;
	insert(ip, d, p, at, f);
	if (d->total != 0 && d->have == d->total) {
		join(ip, d, p);
		return true;
	}
	if (!make_room(ip, d))
		release(ip, d, DROP_FRAG_LIMIT);
	return false;
}

uint64_t frag_deadline(const struct ip *ip)
{
	uint64_t min = UINT64_MAX;

	for (uint32_t i = 0; ip->frags->live > 0 && i < ip->frags->max; i++) {
		uint64_t e = ip->frags->d[i].expires_ns;

		min = e != 0 && e < min ? e : min;
	}
	return min;
}

/* RFC 792, RFC 4443 §3.3: time exceeded is told only by who has the first fragment. */
static bool time_exceeded(struct ip *ip, struct datagram *d, struct pkt *out, uint8_t *ifindex)
{
	if (d->n == 0 || d->f[0].off != 0)
		return false;
	d->first.m = d->f[0].m;
	if (icmp_error_build(ip, &d->first, ICMP_WHY_REASSEMBLY, out) == NEXT_DROP)
		return false;
	if (ip_output(ip, out, ifindex) == NEXT_NEIGH_OUT)
		return true;
	pkt_drop(ip->cfg.drops, out->m, (enum drop_reason)out->drop);
	return false;
}

unsigned frag_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n)
{
	unsigned made = 0;

	for (uint32_t i = 0; ip->frags->live > 0 && i < ip->frags->max && made < n; i++) {
		struct datagram *d = &ip->frags->d[i];

		if (d->expires_ns == 0 || d->expires_ns > ip->now_ns)
			continue;
		made += time_exceeded(ip, d, &out[made], &ifindex[made]);
		release(ip, d, DROP_FRAG_TIMEOUT);
	}
	return made;
}
