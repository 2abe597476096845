/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The peer: makes segments from lines, and judges the engine's. What it checks of every segment:
 *
 *   checksum, addresses, ports, known flags               RFC 9293 §3.1
 *   the right edge of the window never moves left         RFC 9293 §3.8.6
 *   data lies in the window we offered (a probe may not)  RFC 9293 §3.8.4, §3.8.6.1
 *   no segment is larger than the effective MSS           RFC 9293 §3.7.1
 *   nothing is acknowledged that was not sent             RFC 9293 §3.4
 *   ACK is set once there is something to acknowledge     RFC 9293 §3.10
 *   a time-stamp is there if and only if agreed           RFC 7323 §3.2
 *   its value never goes back, its echo is TS.Recent      RFC 7323 §4.3
 *   SACK blocks only when agreed, of data that was sent   RFC 2018 §3, §4
 *   every payload byte is the stream's
 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

#include "base/seq.h"

enum { WHO_ENGINE, WHO_PEER };

static const struct {
	char letter;
	uint8_t bit;
} flag_letters[] = {{'S', TCP_SYN}, {'F', TCP_FIN}, {'R', TCP_RST}, {'P', TCP_PSH},
		    {'U', TCP_URG}, {'E', TCP_ECE}, {'W', TCP_CWR}, {'.', TCP_ACK}};

static bool agreed_ts(const struct peer *p)
{
	return p->syn_in.have_ts && p->syn_out.have_ts;
}

static bool agreed_ws(const struct peer *p)
{
	return p->syn_in.have_wscale && p->syn_out.have_wscale;
}

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

void peer_init(struct peer *p, uint16_t port, uint32_t irs)
{
	*p = (struct peer){.port = port, .irs = irs, .used = true, .win = 65535};
	/* Its clock wraps in the runs whose numbers do. */
	p->ts_base = irs - (uint32_t)(run.now / MS);
}

const char *seg_text(const struct peer *p, const struct lab_seg *s, bool from_engine)
{
	static char text[512];
	uint32_t seq = s->seq - (from_engine ? p->iss : p->irs);
	uint32_t ack = s->flags & TCP_ACK ? s->ack - (from_engine ? p->irs : p->iss) : 0;
	bool v_ws = agreed_ws(p) && !(s->flags & TCP_SYN);
	uint8_t shift = !v_ws ? 0 : from_engine ? p->syn_out.wscale : p->syn_in.wscale;
	char *o = text, *end = text + sizeof(text);

	for (unsigned i = 0; i < array_size(flag_letters); i++)
		if (s->flags & flag_letters[i].bit)
			*o++ = flag_letters[i].letter;
	o += snprintf(o, (size_t)(end - o), " %u:%u", seq, seq + s->len);
	if (s->flags & TCP_ACK)
		o += snprintf(o, (size_t)(end - o), " ack %u", ack);
	o += snprintf(o, (size_t)(end - o), " win %u", (uint32_t)s->wnd << shift);
	if (s->flags & TCP_URG)
		o += snprintf(o, (size_t)(end - o), " urg %u", s->urg);
	o += snprintf(o, (size_t)(end - o), " <");
	if (s->opts.have_mss)
		o += snprintf(o, (size_t)(end - o), "mss %u,", s->opts.mss);
	if (s->opts.sack_ok)
		o += snprintf(o, (size_t)(end - o), "sackOK,");
	if (s->opts.have_wscale)
		o += snprintf(o, (size_t)(end - o), "ws %u,", s->opts.wscale);
	if (s->opts.have_ts)
		o += snprintf(o, (size_t)(end - o), "ts %u %u,", s->opts.ts_val, s->opts.ts_ecr);
	for (unsigned i = 0; i < s->opts.n_sack; i++)
		o += snprintf(o, (size_t)(end - o), "sack %u:%u,",
			      s->opts.sack[i].start - (from_engine ? p->irs : p->iss),
			      s->opts.sack[i].end - (from_engine ? p->irs : p->iss));
	snprintf(o, (size_t)(end - o), ">");
	return text;
}

/* ---- lines ---- */

struct said {
	uint8_t flags;
	bool psh_any;
	uint32_t start, end;
	bool have_ack, have_win, have_urg, junk, tso, bad_csum, ts_none, ts_any, oldest;
	uint32_t ack, urg;
	int64_t win;
	char win_op;
	struct tcp_opts opts;
	bool ws_any;
	int64_t ts_add, ecr_add;
	uint8_t raw[40], raw_len, off;
	const char *from;
};

static uint8_t flags_of(const char *s, struct said *w)
{
	uint8_t flags = 0;

	for (; *s; s++) {
		unsigned i = 0;

		if (*s == '?') {
			w->psh_any = true;
			continue;
		}
		if (*s == '-')
			continue;
		while (i < array_size(flag_letters) && flag_letters[i].letter != *s)
			i++;
		if (i == array_size(flag_letters))
			fail("no such flag: %c", *s);
		flags |= flag_letters[i].bit;
	}
	return flags;
}

static void range_of(const char *s, uint32_t *start, uint32_t *end)
{
	const char *colon = strchr(s, ':');

	if (colon == NULL)
		fail("expected START:END, not %s", s);
	*start = (uint32_t)strtoll(s, NULL, 0);
	*end = (uint32_t)strtoll(colon + 1, NULL, 0);
}

/* Between < and >. Returns the index behind. */
static unsigned options_of(const struct line *l, unsigned i, struct said *w)
{
	for (; i < l->n && strcmp(l->tok[i], ">") != 0; i++) {
		const char *t = l->tok[i];
		bool more = i + 1 < l->n && strcmp(l->tok[i + 1], ">") != 0;

		if (strcmp(t, "mss") == 0 && more) {
			w->opts.have_mss = true;
			w->opts.mss = (uint16_t)number(l->tok[++i]);
		} else if (strcmp(t, "sackOK") == 0) {
			w->opts.sack_ok = true;
		} else if (strcmp(t, "ws") == 0) {
			w->opts.have_wscale = true;
			w->ws_any = !more || !strchr("0123456789", l->tok[i + 1][0]);
			if (!w->ws_any)
				w->opts.wscale = (uint8_t)number(l->tok[++i]);
		} else if (strcmp(t, "ts") == 0) {
			w->opts.have_ts = true;
		} else if (strcmp(t, "sack") == 0) {
			while (i + 1 < l->n && strchr(l->tok[i + 1], ':') != NULL) {
				struct tcp_sack_block *b = &w->opts.sack[w->opts.n_sack++];

				range_of(l->tok[++i], &b->start, &b->end);
			}
		} else {
			fail("no such option: %s", t);
		}
	}
	return i + 1;
}

static void raw_of(const char *hex, struct said *w)
{
	for (w->raw_len = 0; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
		char byte[3] = {hex[0], hex[1], '\0'};

		if (w->raw_len == sizeof(w->raw))
			fail("more than 40 bytes of options");
		w->raw[w->raw_len++] = (uint8_t)strtoul(byte, NULL, 16);
	}
	if (w->raw_len % 4 != 0)
		fail("options are a multiple of four bytes");
}

static void window_of(const char *s, struct said *w)
{
	w->have_win = true;
	w->win_op = *s == '>' || *s == '<' ? *s++ : '=';
	w->win = number(s);
}

static struct said words_of(const struct line *l, unsigned i)
{
	struct said w = {.flags = flags_of(l->tok[i], &w)};

	if (i + 1 >= l->n)
		fail("a segment needs START:END");
	range_of(l->tok[i + 1], &w.start, &w.end);
	for (i += 2; i < l->n; i++) {
		const char *t = l->tok[i];
		bool more = i + 1 < l->n;

		if (strcmp(t, "ack") == 0 && more) {
			w.have_ack = true;
			w.ack = (uint32_t)number(l->tok[++i]);
		} else if (strcmp(t, "win") == 0 && more) {
			window_of(l->tok[++i], &w);
		} else if (strcmp(t, "urg") == 0 && more) {
			w.have_urg = true;
			w.urg = (uint32_t)number(l->tok[++i]);
		} else if (strcmp(t, "tsval") == 0 && more) {
			w.ts_add = number(l->tok[++i]);
		} else if (strcmp(t, "tsecr") == 0 && more) {
			w.ecr_add = number(l->tok[++i]);
		} else if (strcmp(t, "raw") == 0 && more) {
			raw_of(l->tok[++i], &w);
		} else if (strcmp(t, "off") == 0 && more) {
			w.off = (uint8_t)number(l->tok[++i]);
		} else if (strcmp(t, "from") == 0 && more) {
			w.from = l->tok[++i];
		} else if (strcmp(t, "<") == 0) {
			i = options_of(l, i + 1, &w) - 1;
		} else if (strcmp(t, "junk") == 0) {
			w.junk = true;
		} else if (strcmp(t, "nots") == 0) {
			w.ts_none = true;
		} else if (strcmp(t, "anyts") == 0) {
			w.ts_any = true;
		} else if (strcmp(t, "tso") == 0) {
			w.tso = true;
		} else if (strcmp(t, "badsum") == 0) {
			w.bad_csum = true;
		} else {
			fail("no such word in a segment: %s", t);
		}
	}
	return w;
}

/* ---- to the engine ---- */

static void advance_in_nxt(struct peer *p, uint32_t start, uint32_t end)
{
	if (p->n_ahead < array_size(p->ahead)) {
		p->ahead[p->n_ahead].start = start;
		p->ahead[p->n_ahead++].end = end;
	}
	for (unsigned i = 0; i < p->n_ahead;) {
		if (before(p->in_nxt, p->ahead[i].start)) {
			i++;
			continue;
		}
		if (before(p->in_nxt, p->ahead[i].end)) {
			p->in_nxt = p->ahead[i].end;
			p->ahead[i] = p->ahead[--p->n_ahead];
			i = 0;
		} else {
			p->ahead[i] = p->ahead[--p->n_ahead];
		}
	}
}

/* RFC 7323 §4.3: what the engine has to echo after this segment. */
static void learn_ts_recent(struct peer *p, const struct lab_seg *s, uint32_t seq, uint32_t end,
			    bool first)
{
	bool acceptable = end == seq ? !before(seq, p->in_nxt) : before(p->in_nxt, end);
	bool later;

	if (!s->opts.have_ts || s->flags & TCP_RST)
		return;
	/* §5.5: what is older than 24 days says nothing. */
	later = !before(s->opts.ts_val, p->ts_recent) ||
		run.now - p->ts_recent_at > 24 * 86400 * SEC;
	if (first || (acceptable && !before(p->last_ack, seq) && later)) {
		p->ts_recent = s->opts.ts_val;
		p->ts_recent_at = run.now;
	}
}

static void learn_input(struct peer *p, const struct lab_seg *s)
{
	uint32_t seq = s->seq - p->irs;
	uint32_t end = seq + s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	bool first = s->flags & TCP_SYN && !p->saw_in;

	if (first) {
		p->saw_in = true;
		p->syn_in = s->opts;
		p->in_nxt = p->in_max = 0;
	}
	learn_ts_recent(p, s, seq, end, first);
	if (s->flags & TCP_ACK && !(s->flags & TCP_RST)) {
		bool scaled = agreed_ws(p) && !(s->flags & TCP_SYN);
		uint32_t edge =
			s->ack - p->iss + ((uint32_t)s->wnd << (scaled ? p->syn_in.wscale : 0));

		if (before(p->edge_in, edge))
			p->edge_in = edge;
	}
	if (before(p->in_max, end))
		p->in_max = end;
	if (s->flags & TCP_FIN)
		p->fin_seen = true;
	advance_in_nxt(p, seq, end);
}

static uint16_t window_word(const struct peer *p, const struct said *w)
{
	bool scaled = agreed_ws(p) && !(w->flags & TCP_SYN);
	uint8_t shift = scaled ? p->syn_in.wscale : 0;
	int64_t win = w->have_win ? w->win : p->win >> shift << shift;

	if (win & ((1 << shift) - 1) || win >> shift > 65535)
		fail("a window of %ld can't be sent with a shift of %u", (long)win, shift);
	return (uint16_t)(win >> shift);
}

/* H17: `from us` (LAND), group, nobody. */
static void forge_source(struct lab_seg *s, const char *from)
{
	if (strcmp(from, "us") == 0) {
		s->src = run.us;
		s->sport = s->dport;
	} else if (strcmp(from, "group") == 0) {
		s->src = run.v->v6 ? (struct ip_addr){.b = {0xff, 2, [15] = 1}}
				   : ip_addr_v4(be32(0xe0000001));
	} else if (strcmp(from, "nobody") == 0) {
		s->src = run.v->v6 ? (struct ip_addr){.q = {0, 0}} : ip_addr_v4(be32(0));
	} else {
		fail("no such source: %s", from);
	}
}

void peer_input(const struct line *l, unsigned i)
{
	static uint8_t payload[65536], bytes[LAB_SEG_MAX];
	struct peer *p = run.p;
	struct said w = words_of(l, i);
	struct lab_seg s = {.src = run.them,
			    .dst = run.us,
			    .sport = p->port,
			    .dport = 8080,
			    .seq = p->irs + w.start,
			    .ack = w.have_ack ? p->iss + w.ack : 0,
			    .urg = (uint16_t)w.urg,
			    .flags = w.flags,
			    .opts = w.opts,
			    .len = w.end - w.start,
			    .payload = payload,
			    .raw = w.raw,
			    .raw_len = w.raw_len,
			    .off = w.off};
	uint32_t n;

	if (w.have_ack != !!(w.flags & TCP_ACK))
		fail("flag . and word ack go together");
	if (s.len >= sizeof(payload))
		fail("a segment of %u bytes", s.len);
	s.wnd = window_word(p, &w);
	if (w.have_win)
		p->win = w.win;
	for (uint32_t k = 0; k < s.len; k++)
		payload[k] = (uint8_t)(lab_byte(w.start - 1 + k, WHO_PEER) ^ (w.junk ? 0x55 : 0));
	if (!(w.flags & TCP_SYN) && agreed_ts(p) && !w.ts_none)
		s.opts.have_ts = true;
	s.opts.ts_val = p->ts_base + (uint32_t)(run.now / MS) + (uint32_t)w.ts_add;
	s.opts.ts_ecr = w.flags & TCP_ACK ? p->ts_out + (uint32_t)w.ecr_add : 0;
	for (unsigned k = 0; k < s.opts.n_sack; k++) {
		s.opts.sack[k].start += p->iss;
		s.opts.sack[k].end += p->iss;
	}
	if (w.from != NULL)
		forge_source(&s, w.from);
	n = lab_seg_write(&s, bytes);
	if (w.bad_csum)
		bytes[16] ^= 1;
	note("< %s", seg_text(p, &s, false));
	if (!w.bad_csum && !w.junk && w.off == 0 && w.from == NULL)
		learn_input(p, &s);
	deliver(&s.src, bytes, n);
}

/* ---- from the engine ---- */

static uint32_t mss_of(const struct peer *p)
{
	uint32_t mss = p->syn_in.have_mss ? p->syn_in.mss : run.v->v6 ? 1220 : 536;
	uint32_t ours = run.link.mtu - (run.v->v6 ? 60u : 40u);

	/* H07: a smaller one is not taken at its word. */
	if (mss < 88)
		mss = 536;
	return (mss < ours ? mss : ours) - (agreed_ts(p) ? 12 : 0);
}

static void check_options(const struct peer *p, const struct lab_seg *s)
{
	uint32_t limit = p->in_max;

	if (s->opts.n_sack > 0 && !(p->syn_in.sack_ok && p->syn_out.sack_ok))
		fail("SACK blocks without SACK-permitted");
	for (unsigned i = 0; i < s->opts.n_sack; i++)
		if (before(limit, s->opts.sack[i].end - p->irs) ||
		    !before(s->opts.sack[i].start, s->opts.sack[i].end))
			fail("SACK block of data that was not sent");
	if (s->flags & (TCP_SYN | TCP_RST))
		return;
	if (s->opts.have_ts != agreed_ts(p))
		fail("time-stamp %s", s->opts.have_ts ? "without agreement" : "missing");
	if (s->opts.have_mss || s->opts.have_wscale || s->opts.sack_ok)
		fail("an option of SYNs only");
}

static void check_ack(struct peer *p, const struct lab_seg *s)
{
	uint32_t ack = s->ack - p->irs;
	bool scaled = agreed_ws(p) && !(s->flags & TCP_SYN);
	uint32_t edge = ack + ((uint32_t)s->wnd << (scaled ? p->syn_out.wscale : 0));

	if (before(p->in_max, ack))
		fail("acknowledges %u, only %u was sent", ack, p->in_max);
	if (s->flags & TCP_RST)
		return;
	if (before(ack, p->last_ack))
		fail("acknowledgement went back from %u to %u", p->last_ack, ack);
	/* What is lost to rounding when windows are scaled doesn't count. */
	if (p->have_edge && before(edge + (1u << p->syn_out.wscale) - 1, p->edge_out))
		fail("right edge of the window moved left from %u to %u", p->edge_out, edge);
	if (!p->have_edge || before(p->edge_out, edge))
		p->edge_out = edge;
	p->have_edge = true;
	p->last_ack = ack;
}

static void check_data(const struct peer *p, const struct caught *c)
{
	const struct lab_seg *s = &c->s;
	uint32_t seq = s->seq - p->iss;
	uint32_t limit = mss_of(p);

	if (c->tso_segsz > limit || (c->tso_segsz == 0 && s->len > limit))
		fail("segment of %u bytes, MSS allows %u", s->len, limit);
	/* A probe of a closed window is one byte beyond it at most. */
	if (p->saw_in && s->len > 1 && before(p->edge_in, seq + s->len))
		fail("data to %u, the window ends at %u", seq + s->len, p->edge_in);
	for (uint32_t i = 0; i < s->len; i++)
		if (s->payload[i] != lab_byte(seq - 1 + i, WHO_ENGINE))
			fail("wrong byte at %u", seq + i);
}

static void check_ts(struct peer *p, const struct lab_seg *s)
{
	if (!s->opts.have_ts)
		return;
	/* Half a circle of milliseconds is 24.8 days. */
	if (p->have_ts_out && run.now - p->ts_out_at < 24 * 86400 * SEC &&
	    before(s->opts.ts_val, p->ts_out))
		fail("time-stamp went back from %u to %u", p->ts_out, s->opts.ts_val);
	p->ts_out = s->opts.ts_val;
	p->ts_out_at = run.now;
	p->have_ts_out = true;
	if (s->flags & TCP_ACK && !(s->flags & TCP_RST) && s->opts.ts_ecr != p->ts_recent)
		fail("echoes time-stamp %u, TS.Recent is %u", s->opts.ts_ecr, p->ts_recent);
}

void peer_check(struct peer *p, const struct caught *c)
{
	const struct lab_seg *s = &c->s;

	if (s->flags & TCP_SYN) {
		p->iss = s->seq;
		p->have_iss = true;
		p->saw_out = true;
		p->syn_out = s->opts;
	} else if (!(s->flags & TCP_RST) && !(s->flags & TCP_ACK)) {
		fail("a segment without ACK");
	}
	if (s->wnd != 0 && s->flags & TCP_RST && p->saw_out)
		note("a reset with a window");
	check_options(p, s);
	if (s->flags & TCP_ACK && p->saw_in)
		check_ack(p, s);
	if (s->len > 0)
		check_data(p, c);
	check_ts(p, s);
}

static bool window_matches(const struct peer *p, const struct said *w, const struct lab_seg *s)
{
	bool scaled = agreed_ws(p) && !(s->flags & TCP_SYN);
	int64_t win = (int64_t)s->wnd << (scaled ? p->syn_out.wscale : 0);

	return !w->have_win || (w->win_op == '>'   ? win > w->win
				: w->win_op == '<' ? win < w->win
						   : win == w->win);
}

static bool sack_matches(const struct peer *p, const struct said *w, const struct lab_seg *s)
{
	if (w->opts.n_sack != s->opts.n_sack)
		return false;
	for (unsigned i = 0; i < s->opts.n_sack; i++)
		if (s->opts.sack[i].start - p->irs != w->opts.sack[i].start ||
		    s->opts.sack[i].end - p->irs != w->opts.sack[i].end)
			return false;
	return true;
}

static bool syn_matches(const struct said *w, const struct lab_seg *s)
{
	const struct tcp_opts *a = &w->opts, *b = &s->opts;

	return a->have_mss == b->have_mss && a->mss == b->mss && a->sack_ok == b->sack_ok &&
	       a->have_ts == b->have_ts && a->have_wscale == b->have_wscale &&
	       (w->ws_any || a->wscale == b->wscale);
}

const char *peer_differs(const struct line *l, unsigned i, const struct caught *c)
{
	const struct peer *p = run.p;
	struct said w = words_of(l, i);
	const struct lab_seg *s = &c->s;
	uint8_t care = w.psh_any ? (uint8_t)~TCP_PSH : 0xff;
	uint32_t seq = s->seq - p->iss;

	if (s->sport != 8080 || s->dport != p->port)
		return "ports";
	if ((s->flags & care) != (w.flags & care))
		return "flags";
	if (seq != w.start || seq + s->len != w.end)
		return "numbers";
	if (w.flags & TCP_ACK && s->ack - p->irs != w.ack)
		return "acknowledgement";
	if (!window_matches(p, &w, s))
		return "window";
	if (w.have_urg && s->urg != w.urg)
		return "urgent pointer";
	if (!sack_matches(p, &w, s) || (s->flags & TCP_SYN && !syn_matches(&w, s)))
		return "options";
	return w.tso != (c->tso_segsz != 0) ? "segmentation offload" : NULL;
}
