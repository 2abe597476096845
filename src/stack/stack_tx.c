/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The road of a sent packet: from the protocols to the ports' queues.
 *
 * Replies, solicitations and datagrams wait in a short queue per port until it takes them. Segments
 * do not: TCP offers as many as the ports have room for, learns how many went, and offers the rest
 * again when there is room (docs/design/001 point 2). The taken ones are a prefix of the offer, so
 * with several ports the burst is cut into runs for one port, and ends where a port is full.
 *
 * A connection remembers its resolved neighbour as a path; a stale one is looked up anew and
 * remembered again on the way.
 */
#include "stack/stack_priv.h"

enum {
	TCP_BURSTS = 4,	    /* most bursts of TCP in one poll */
	PROGRESS_MS = 5000, /* RFC 4861 §10: DELAY_FIRST_PROBE_TIME */
};

/* Offers n frames to their port; returns how many it took. */
static unsigned send_frames(struct stack *s, unsigned port, struct pkt *p, unsigned n)
{
	const struct stack_port *sp = &s->cfg.port[port];
	unsigned sent = 0;

	s->reclaim = true;
	if (likely(s->n_captures == 0))
		return dev_tx_burst(sp->dev, sp->queue, p, n, &s->cfg.pools, &s->drops,
				    &s->copied_bytes);
	/* One by one: only what the port takes is captured, and it is gone when it was taken. */
	while (sent < n && dev_tx_room(sp->dev, sp->queue, 1) != 0) {
		captures_frame(s, &p[sent], port, true);
		if (dev_tx_burst(sp->dev, sp->queue, &p[sent], 1, &s->cfg.pools, &s->drops,
				 &s->copied_bytes) == 0)
			break;
		sent++;
	}
	return sent;
}

static void flush(struct stack *s, unsigned port)
{
	struct stack_txq *q = &s->txq[port];
	unsigned sent;

	if (q->n == 0)
		return;
	sent = send_frames(s, port, q->p, q->n);
	q->n -= sent;
	for (unsigned i = 0; i < q->n; i++)
		q->p[i] = q->p[sent + i];
}

static void enqueue(struct stack *s, struct pkt *p)
{
	struct stack_txq *q = &s->txq[p->port];

	if (q->n == PKT_BURST)
		flush(s, p->port);
	if (q->n == PKT_BURST)
		pkt_drop(&s->drops, p->m, DROP_TX_FULL);
	else
		q->p[q->n++] = *p;
}

/* Larger than the path takes, and may be cut. */
static void fragment(struct stack *s, struct pkt *p)
{
	struct pkt part[IP_FRAGMENTS_MAX];
	uint8_t ifindex = 0;
	int n = ip_fragment(s->ip, p, part, IP_FRAGMENTS_MAX, &ifindex);

	if (n < 0)
		pkt_drop(&s->drops, NULL, n == -ENOBUFS ? DROP_NO_MBUF : DROP_IP_TOO_BIG);
	for (int i = 0; i < n; i++)
		stack_out(s, &part[i], NEXT_NEIGH_OUT, ifindex);
}

void stack_out(struct stack *s, struct pkt *p, enum next next, uint8_t ifindex)
{
	if (next == NEXT_IP_OUT) {
		next = ip_output(s->ip, p, &ifindex);
		if (unlikely(next == NEXT_DROP && p->drop == DROP_IP_TOO_BIG &&
			     !(p->flags & PKT_F_DF))) {
			fragment(s, p);
			return;
		}
	}
	if (next == NEXT_NEIGH_OUT)
		next = eth_output(s->eth, p, ifindex);
	if (next == NEXT_TX)
		enqueue(s, p);
	else if (next != NEXT_CONSUMED)
		pkt_drop(&s->drops, p->m, (enum drop_reason)p->drop);
}

/* ---- TCP ---- */

/* No path, or a stale one: by route and neighbour, and remembers the path for next time. */
static slow_path enum next segment_routed(struct stack *s, struct tcp_tx *tx)
{
	struct pkt *p = &tx->p;
	uint8_t ifindex = 0;
	enum next next;

	if (stack_is_own(s, &p->dst))
		return NEXT_SELF;
	p->path = PATH_NONE;
	next = ip_output(s->ip, p, &ifindex);
	if (next == NEXT_NEIGH_OUT)
		next = eth_output(s->eth, p, ifindex);
	if (next == NEXT_TX && tx->conn != NULL)
		tcp_conn_set_path(tx->conn, eth_path(s->eth, ifindex, &p->nexthop));
	return next;
}

static enum next segment_out(struct stack *s, struct tcp_tx *tx)
{
	struct pkt *p = &tx->p;
	int ifindex = eth_path_if(s->eth, p->path);
	uint8_t i = (uint8_t)ifindex;
	enum next next;

	if (unlikely(ifindex < 0))
		return segment_routed(s, tx);
	next = ip_output(s->ip, p, &i);
	if (unlikely(next != NEXT_NEIGH_OUT))
		return next;
	return likely(eth_output_path(s->eth, p)) ? NEXT_TX : pkt_refuse(p, DROP_TX_DOWN);
}

/* RFC 4861 §7.3.1: a neighbour through which a connection makes progress needs no probe. */
static cold_path void confirm(struct stack *s, const struct tcp_tx *tx, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (tx[i].conn != NULL && tcp_conn_progress_ms(s->tcp, tx[i].conn) < PROGRESS_MS)
			eth_path_confirm(s->eth, tx[i].p.path);
}

/* Frames of one port in a row, and which segments they are. */
struct run {
	struct pkt p[PKT_BURST];
	uint16_t at[PKT_BURST]; /* index of the segment */
	unsigned n;
};

/* Sends the run. *taken: segments in front of the first that the port did not take. */
static bool run_send(struct stack *s, struct run *r, unsigned *taken)
{
	unsigned sent = r->n == 0 ? 0 : send_frames(s, r->p[0].port, r->p, r->n);
	bool all = sent == r->n;

	if (!all)
		*taken = r->at[sent];
	r->n = 0;
	return all;
}

/* Sends n offered segments in order; returns how many are gone: a prefix. */
static unsigned segments_send(struct stack *s, struct tcp_tx *tx, unsigned n)
{
	struct run r;
	unsigned taken = n;

	r.n = 0;
	for (unsigned i = 0; i < n; i++) {
		enum next next = segment_out(s, &tx[i]);

		if (likely(next == NEXT_TX)) {
			if (unlikely(r.n > 0 && r.p[0].port != tx[i].p.port) &&
			    !run_send(s, &r, &taken))
				return taken;
			r.at[r.n] = (uint16_t)i;
			r.p[r.n++] = tx[i].p;
			continue;
		}
		if (next == NEXT_SELF && !stack_self_put(s, &tx[i].p, true)) {
			run_send(s, &r, &taken);
			return taken < i ? taken : i;
		}
		if (next == NEXT_DROP)
			pkt_drop(&s->drops, tx[i].p.m, (enum drop_reason)tx[i].p.drop);
		tx[i].p.m = NULL; /* gone, also if the port refuses one before it */
	}
	run_send(s, &r, &taken);
	return taken;
}

/* Room in the queues of all ports: which one a segment needs is not known before it is offered. */
static unsigned tx_room(struct stack *s)
{
	unsigned room = PKT_BURST;

	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		room = dev_tx_room(s->cfg.port[i].dev, s->cfg.port[i].queue, room);
	return room;
}

static unsigned tcp_tx(struct stack *s)
{
	struct tcp_tx tx[PKT_BURST];
	unsigned done = 0;

	for (unsigned b = 0; b < TCP_BURSTS && tcp_output_pending(s->tcp); b++) {
		unsigned room = tx_room(s), n, taken;

		if (room == 0)
			break;
		n = tcp_output(s->tcp, tx, room);
		if (unlikely(eth_confirm_wanted(s->eth)))
			confirm(s, tx, n);
		taken = segments_send(s, tx, n);
		tcp_output_done(s->tcp, tx, n, taken);
		done += taken;
		if (taken < n || n < room)
			break;
	}
	return done;
}

/* ---- UDP ---- */

static unsigned udp_tx(struct stack *s)
{
	struct pkt p[16];
	unsigned done = 0;

	while (socks_output_pending(s->socks) && done < PKT_BURST) {
		unsigned room = tx_room(s), n;

		for (unsigned i = 0; i < s->cfg.n_ports; i++)
			if (PKT_BURST - s->txq[i].n < room)
				room = PKT_BURST - s->txq[i].n;
		if (room == 0)
			break;
		n = socks_output(s->socks, p, room < array_size(p) ? room : array_size(p));
		if (n == 0)
			break;
		for (unsigned i = 0; i < n; i++)
			stack_out(s, &p[i], NEXT_IP_OUT, 0);
		done += n;
	}
	return done;
}

/* After a route or an address changed, connections ask for their way again. */
static void forget_path(void *arg, struct tcp_conn *c)
{
	tcp_conn_set_path(c, PATH_NONE);
}

static cold_path void forget_paths(struct stack *s)
{
	uint32_t cursor = 0;

	do
		tcp_each(s->tcp, &cursor, 1024, forget_path, NULL);
	while (cursor != 0);
	s->path_generation = ip_generation(s->ip);
	stack_default_links(s);
}

unsigned stack_tx(struct stack *s)
{
	unsigned done;

	if (unlikely(ip_generation(s->ip) != s->path_generation))
		forget_paths(s);
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		flush(s, i);
	done = tcp_tx(s);
	if (socks_output_pending(s->socks)) {
		done += udp_tx(s);
		for (unsigned i = 0; i < s->cfg.n_ports; i++)
			flush(s, i);
	}
	return done;
}

bool stack_tx_pending(const struct stack *s)
{
	if (s->self.n != 0 || (s->n_kernels != 0 && kernel_pending(s)))
		return true;
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		if (s->txq[i].n != 0)
			return true;
	return tcp_output_pending(s->tcp) || socks_output_pending(s->socks);
}
