/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine under test, and time. After every line the engine does all that is due; time passes
 * only where a line says so, from one deadline of the engine to the next.
 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

#define STUCK_MAX 4096 /* deadlines in a row at which nothing happens */

struct run run;

void engine_start(void)
{
	run.cfg.pools = &lab_pools;
	run.cfg.drops = &run.drops;
	run.t = tcp_create(&run.cfg);
	if (run.t == NULL)
		fail("tcp_create: no memory");
	tcp_begin(run.t, run.now);
	tcp_default_link(run.t, run.v->v6, &run.link);
}

void engine_stop(void)
{
	if (run.t != NULL)
		tcp_destroy(run.t);
	run.t = NULL;
	for (unsigned i = 0; i < run.n_out; i++)
		free(run.out[i].bytes);
	run.n_out = 0;
}

static struct peer *peer_of(uint16_t port)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (run.peer[i].used && run.peer[i].port == port)
			return &run.peer[i];
	fail("a segment to port %u", port);
}

static void catch (struct pkt *p)
{
	struct caught *c = &run.out[run.n_out];
	struct peer *to;

	if (run.n_out == array_size(run.out))
		fail("more than %zu segments at once", array_size(run.out));
	c->at = run.now;
	c->tso_segsz = p->flags & PKT_F_TSO ? p->m->tso_segsz : 0;
	if (p->flags & PKT_F_L4_CSUM)
		lab_csum_complete(p);
	c->bytes = malloc(LAB_SEG_MAX);
	if (c->bytes == NULL)
		abort();
	run.n_out++;
	if (!ip_addr_eq(&p->src, &run.us) || !ip_addr_eq(&p->dst, &run.them) ||
	    !(p->flags & PKT_F_V6) != !run.v->v6)
		fail("wrong addresses");
	if (p->m->pkt_len > run.link.mtu && c->tso_segsz == 0)
		fail("a packet of %u bytes", p->m->pkt_len);
	if (!lab_seg_read(p->m, 0, &p->src, &p->dst, c->bytes, &c->s))
		fail("malformed segment or bad checksum");
	if (p->sport != c->s.sport || p->dport != c->s.dport)
		fail("ports of packet and header differ");
	to = peer_of(c->s.dport);
	if (c->s.flags & TCP_SYN)
		to->iss = c->s.seq;
	note("> %s", seg_text(to, &c->s, true));
	peer_check(to, c);
}

/* Takes at most run.take of each offer. */
static bool output(void)
{
	struct tcp_tx tx[32];
	unsigned n = tcp_output(run.t, tx, array_size(tx));
	unsigned taken = n < run.take ? n : run.take;

	for (unsigned i = 0; i < taken; i++) {
		catch (&tx[i].p);
		pkt_free(tx[i].p.m);
	}
	tcp_output_done(run.t, tx, n, taken);
	tcp_check_all(run.t);
	return taken > 0;
}

static void collect_events(void)
{
	struct tcp_conn *c;
	uint32_t bits;

	while ((c = tcp_event_next(run.t, &bits)) != NULL)
		peer_of(tcp_conn_key(c)->rport)->events |= bits;
}

void pump(void)
{
	tcp_begin(run.t, run.now);
	for (unsigned i = 0; tcp_expire(run.t, 16) > 0; i++)
		if (i > STUCK_MAX)
			fail("timers are due without end");
	for (unsigned i = 0; output(); i++)
		if (i > STUCK_MAX)
			fail("segments without end");
	collect_events();
	tcp_check_all(run.t);
}

void advance(uint64_t until, bool stop)
{
	unsigned stuck = 0;

	while (!(stop && run.n_out > 0)) {
		uint64_t due = tcp_deadline(run.t);

		if (due > until)
			break;
		if (due <= run.now)
			due = run.now + 1000;
		if (++stuck > STUCK_MAX)
			fail("the deadline does not move");
		run.now = due < until ? due : until;
		pump();
		if (run.now == until)
			return;
	}
	if (!(stop && run.n_out > 0)) {
		run.now = until;
		pump();
	}
}

void deliver(const struct ip_addr *src, const uint8_t *l4, uint32_t n)
{
	struct pkt p = lab_rx(src, &run.us, l4, n, run.v->cut);
	struct tcp_seg s = {0};

	if (p.m == NULL)
		fail("no buffer for the script itself");
	if (run.t == NULL)
		engine_start();
	tcp_begin(run.t, run.now);
	if (tcp_parse(run.t, &p, &s) == NEXT_TCP) {
		tcp_lookup(run.t, &p, &s);
		tcp_input(run.t, &p, &s);
	} else {
		if (p.drop == DROP_NONE || p.drop >= DROP_MAX)
			fail("dropped without a reason");
		pkt_drop(&run.drops, p.m, p.drop);
	}
	tcp_check_all(run.t);
}

struct search {
	uint16_t port;
	struct tcp_conn *found;
};

static void match_port(void *arg, struct tcp_conn *c)
{
	struct search *s = arg;

	if (tcp_conn_key(c)->rport == s->port)
		s->found = c;
}

struct tcp_conn *conn_find(uint16_t port)
{
	struct search s = {.port = port};
	uint32_t cursor = 0;

	do
		tcp_each(run.t, &cursor, 64, match_port, &s);
	while (cursor != 0);
	return s.found;
}

/* ---- lines ---- */

static void no_segments(void)
{
	if (run.n_out > 0 && !run.silent_ok)
		fail("not in the script: > %s",
		     seg_text(peer_of(run.out[0].s.dport), &run.out[0].s, true));
}

static void take_first(void)
{
	free(run.out[0].bytes);
	memmove(run.out, run.out + 1, --run.n_out * sizeof(run.out[0]));
}

/* `> …`, and `?> …`: one that may be there. */
static void expect_segment(const struct line *l, bool optional)
{
	const char *differs;

	if (run.n_out == 0 && l->timed)
		advance(run.last + l->hi, true);
	differs = run.n_out > 0 ? peer_differs(l, 1, &run.out[0]) : "no segment";
	if (differs != NULL && optional)
		return;
	if (differs != NULL && run.n_out > 0)
		fail("%s: got %s", differs, seg_text(run.p, &run.out[0].s, true));
	if (differs != NULL)
		fail("no segment");
	if (l->timed && run.out[0].at < run.last + l->lo)
		fail("came %.6f s early", (double)(run.last + l->lo - run.out[0].at) / 1e9);
	run.last = run.out[0].at;
	take_first();
}

void execute(const struct line *l)
{
	const char *word = l->tok[0];

	run.line = l;
	if (strcmp(word, ">") == 0 || strcmp(word, "?>") == 0) {
		expect_segment(l, *word == '?');
		return;
	}
	if (strcmp(word, "ignore") == 0)
		run.silent_ok = true;
	no_segments();
	if (l->timed)
		advance(run.last + l->hi, false);
	no_segments();
	run.last = run.now;
	if (strcmp(word, "<") == 0)
		peer_input(l, 1);
	else if (!call(l, 0))
		fail("no such word: %s", word);
	if (!run.hold && run.t != NULL)
		pump();
}
