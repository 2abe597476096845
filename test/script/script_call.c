/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The words for user calls, settings and questions: one row of a table each.
 */
#include "script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int value;
} errnos[] = {{"none", 0},
	      {"ECONNRESET", ECONNRESET},
	      {"ECONNREFUSED", ECONNREFUSED},
	      {"ECONNABORTED", ECONNABORTED},
	      {"ETIMEDOUT", ETIMEDOUT},
	      {"EPIPE", EPIPE},
	      {"ENOTCONN", ENOTCONN},
	      {"EADDRINUSE", EADDRINUSE},
	      {"ENOBUFS", ENOBUFS},
	      {"EHOSTUNREACH", EHOSTUNREACH},
	      {"ENETUNREACH", ENETUNREACH},
	      {"ENOPROTOOPT", ENOPROTOOPT},
	      {"EMSGSIZE", EMSGSIZE},
	      {"EINVAL", EINVAL},
	      {"EAGAIN", EAGAIN}};

int errno_of(const char *s)
{
	for (unsigned i = 0; i < array_size(errnos); i++)
		if (strcmp(errnos[i].name, s) == 0)
			return errnos[i].value;
	fail("no such error: %s", s);
}

const char *errno_text(int e)
{
	for (unsigned i = 0; i < array_size(errnos); i++)
		if (errnos[i].value == e)
			return errnos[i].name;
	return strerror(e);
}

int64_t number(const char *s)
{
	char *end;
	int64_t v = strtoll(s, &end, 0);

	if (*s == '\0' || (*end != '\0' && strcmp(end, "M") != 0 && strcmp(end, "K") != 0))
		fail("not a number: %s", s);
	return *end == 'M' ? v << 20 : *end == 'K' ? v << 10 : v;
}

static const char *arg(const struct line *l, unsigned i)
{
	if (i >= l->n)
		fail("a word is missing");
	return l->tok[i];
}

static bool has(const struct line *l, unsigned from, const char *word)
{
	for (unsigned i = from; i < l->n; i++)
		if (strcmp(l->tok[i], word) == 0)
			return true;
	return false;
}

/* What stands behind `= ERROR` at the end of a line; 0 without it. */
static int wanted_error(const struct line *l)
{
	if (l->n >= 2 && strcmp(l->tok[l->n - 2], "=") == 0)
		return -errno_of(l->tok[l->n - 1]);
	return 0;
}

static void check_result(const struct line *l, int rc)
{
	int want = wanted_error(l);

	if (rc != want)
		fail("returned %s, not %s", errno_text(-rc), errno_text(-want));
}

static struct tcp_conn *conn(void)
{
	if (run.p->conn == NULL)
		fail("no connection is held");
	return run.p->conn;
}

/* ---- fields by name ---- */

enum type { U8, U16, U32, U64, BOOL, TEXT };

struct field {
	const char *name;
	enum type type;
	size_t off;
};

#define F(s, t, n)                                                                                 \
	{                                                                                          \
#n, t, offsetof(struct s, n)                                                       \
	}

static const struct field cfg_fields[] = {
	F(tcp_cfg, U32, max_conns),	F(tcp_cfg, U32, max_syn),
	F(tcp_cfg, U32, sndbuf_bytes),	F(tcp_cfg, U32, sndbuf_max_bytes),
	F(tcp_cfg, U32, rcvbuf_bytes),	F(tcp_cfg, U32, rcvbuf_max_bytes),
	F(tcp_cfg, U64, mem_max_bytes), F(tcp_cfg, U32, min_rto_us),
	F(tcp_cfg, U32, max_rto_us),	F(tcp_cfg, U32, delack_us),
	F(tcp_cfg, U32, msl_us),	F(tcp_cfg, U32, syn_retries),
	F(tcp_cfg, U32, retries_us),
};
static const struct field link_fields[] = {
	F(tcp_link, U16, mtu),
	F(tcp_link, U16, tso_segs),
	F(tcp_link, U32, tso_bytes),
};
static const struct field opt_fields[] = {
	F(tcp_opt, BOOL, nodelay),	  F(tcp_opt, BOOL, cork),	F(tcp_opt, BOOL, keepalive),
	F(tcp_opt, BOOL, quickack),	  F(tcp_opt, BOOL, oob_inline), F(tcp_opt, U16, mss_max),
	F(tcp_opt, U32, keepidle_s),	  F(tcp_opt, U32, keepintvl_s), F(tcp_opt, U32, keepcnt),
	F(tcp_opt, U32, user_timeout_ms), F(tcp_opt, U32, linger2_s),	F(tcp_opt, U32, sndbuf),
	F(tcp_opt, U32, rcvbuf),	  F(tcp_opt, TEXT, cc),
};
static const struct field info_fields[] = {
	F(tcp_info_full, U8, ca_state),	       F(tcp_info_full, BOOL, tstamps),
	F(tcp_info_full, BOOL, sack),	       F(tcp_info_full, U8, snd_wscale),
	F(tcp_info_full, U8, rcv_wscale),      F(tcp_info_full, U8, retransmits),
	F(tcp_info_full, U8, backoff),	       F(tcp_info_full, U8, probes),
	F(tcp_info_full, U32, rto_us),	       F(tcp_info_full, U32, srtt_us),
	F(tcp_info_full, U32, rttvar_us),      F(tcp_info_full, U32, min_rtt_us),
	F(tcp_info_full, U32, snd_mss),	       F(tcp_info_full, U32, advmss),
	F(tcp_info_full, U32, pmtu),	       F(tcp_info_full, U32, cwnd_bytes),
	F(tcp_info_full, U32, ssthresh_bytes), F(tcp_info_full, U32, snd_wnd),
	F(tcp_info_full, U32, rcv_wnd),	       F(tcp_info_full, U64, bytes_acked),
	F(tcp_info_full, U64, bytes_received), F(tcp_info_full, U64, bytes_sent),
	F(tcp_info_full, U64, bytes_retrans),  F(tcp_info_full, U32, total_retrans),
	F(tcp_info_full, U64, notsent_bytes),  F(tcp_info_full, U64, unread_bytes),
};

static const struct field *field(const struct field *f, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(f[i].name, name) == 0)
			return &f[i];
	return NULL;
}

static void field_set(void *object, const struct field *f, const char *text)
{
	char *at = (char *)object + f->off;

	switch (f->type) {
	case U8:
	case BOOL:
		*(uint8_t *)at = (uint8_t)number(text);
		break;
	case U16:
		*(uint16_t *)at = (uint16_t)number(text);
		break;
	case U32:
		*(uint32_t *)at = (uint32_t)number(text);
		break;
	case U64:
		*(uint64_t *)at = (uint64_t)number(text);
		break;
	case TEXT:
		snprintf(at, 16, "%s", text);
		break;
	}
}

static int64_t field_get(const void *object, const struct field *f)
{
	const char *at = (const char *)object + f->off;

	switch (f->type) {
	case U8:
	case BOOL:
		return *(const uint8_t *)at;
	case U16:
		return *(const uint16_t *)at;
	case U32:
		return *(const uint32_t *)at;
	case U64:
		return (int64_t) * (const uint64_t *)at;
	case TEXT:
		break;
	}
	fail("%s is text", f->name);
}

/* VALUE, or LO..HI, either end of which may be left out. */
static void check_value(const char *name, int64_t v, const char *want)
{
	char lo[32];
	const char *dots = strstr(want, "..");
	bool ok;

	snprintf(lo, sizeof(lo), "%.*s", dots ? (int)(dots - want) : (int)strlen(want), want);
	if (dots == NULL)
		ok = v == number(lo);
	else
		ok = (lo[0] == '\0' || v >= number(lo)) &&
		     (dots[2] == '\0' || v <= number(dots + 2));
	if (!ok)
		fail("%s is %ld", name, (long)v);
}

/* ---- words ---- */

static void do_config(const struct line *l, unsigned i)
{
	const char *name = arg(l, i);
	const struct field *f = field(cfg_fields, array_size(cfg_fields), name);

	if (run.t != NULL)
		fail("config comes first");
	if (f != NULL) {
		field_set(&run.cfg, f, arg(l, i + 1));
		return;
	}
	f = field(link_fields, array_size(link_fields), name);
	if (f == NULL)
		fail("no such setting: %s", name);
	field_set(&run.link, f, arg(l, i + 1));
	/* Segmentation is nothing without checksums. */
	run.link.l4_csum |= run.link.tso_segs > 1;
	/* Scripts count IPv4 headers; the wider one of IPv6 comes on top. */
	if (f->type == U16 && strcmp(name, "mtu") == 0 && run.v->v6)
		run.link.mtu += 20;
}

static void do_opt(const struct line *l, unsigned i)
{
	const struct field *f = field(opt_fields, array_size(opt_fields), arg(l, i));
	struct tcp_opt o;

	if (f == NULL)
		fail("no such option: %s", l->tok[i]);
	if (run.p->conn != NULL) {
		tcp_opt_get(run.p->conn, &o);
		field_set(&o, f, arg(l, i + 1));
		check_result(l, tcp_opt_set(run.t, run.p->conn, &o));
		return;
	}
	if (!run.opt_set)
		tcp_opt_defaults(run.t, &run.opt);
	run.opt_set = true;
	field_set(&run.opt, f, arg(l, i + 1));
}

static void do_listen(const struct line *l, unsigned i)
{
	struct tcp_listen li = {.laddr = run.us,
				.lport = 8080,
				.backlog = i < l->n ? (uint32_t)number(l->tok[i]) : 16,
				.opt = run.opt_set ? &run.opt : NULL};

	check_result(l, tcp_listen(run.t, &li, &run.listener));
}

static void do_connect(const struct line *l, unsigned i)
{
	struct tcp_open o = {
		.key = {.laddr = run.us, .raddr = run.them, .lport = 8080, .rport = run.p->port},
		.link = run.link,
		.opt = run.opt_set ? &run.opt : NULL};

	check_result(l, tcp_connect(run.t, &o, &run.p->conn));
}

static struct tcp_conn *accept_one(void)
{
	struct tcp_conn *c;

	if (run.listener == NULL)
		fail("nobody listens");
	(void)tcp_accept_next(run.t);
	c = tcp_accept(run.t, run.listener);
	if (c != NULL)
		tcp_conn_link(run.t, c, &run.link);
	return c;
}

static void do_accept(const struct line *l, unsigned i)
{
	struct tcp_conn *c = accept_one();

	if (has(l, i, "none")) {
		if (c != NULL)
			fail("accepted");
		return;
	}
	if (c == NULL)
		fail("nothing to accept");
	if (tcp_conn_key(c)->rport != run.p->port)
		fail("accepted port %u", tcp_conn_key(c)->rport);
	run.p->conn = c;
}

static struct rte_mbuf *stream(uint64_t off, uint32_t n)
{
	struct rte_mbuf *head = NULL, *m;
	uint32_t cut = run.v->cut < 700 ? 700 : 2000;

	do {
		uint32_t take = n < cut ? n : cut;
		uint8_t *to;

		m = rte_pktmbuf_alloc(lab_pools.rx);
		if (m == NULL)
			fail("no buffer for the script itself");
		to = pkt_put(m, (uint16_t)take);
		for (uint32_t i = 0; i < take; i++)
			to[i] = lab_byte(off + i, 0);
		off += take;
		n -= take;
		if (head == NULL)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			fail("a chain of too many segments");
	} while (n > 0);
	return head;
}

static void do_write(const struct line *l, unsigned i)
{
	uint32_t n = (uint32_t)number(arg(l, i));
	unsigned flags = (has(l, i, "more") ? TCP_SEND_MORE : 0) |
			 (has(l, i, "urgent") ? TCP_SEND_OOB : 0) |
			 (has(l, i, "copied") ? TCP_SEND_COPIED : 0);
	struct rte_mbuf *m = stream(run.p->written, n);
	int rc = tcp_send(run.t, conn(), m, flags);

	if (rc == 0)
		run.p->written += n;
	else
		pkt_free(m);
	check_result(l, rc);
}

/* Reads all there is. Returns the bytes. */
static uint32_t take_data(uint32_t *charge)
{
	struct rte_mbuf *m;
	uint32_t got = 0;

	while ((m = tcp_recv(run.t, conn(), 16)) != NULL) {
		uint32_t len = 0;

		for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
			const uint8_t *b = rte_pktmbuf_mtod(s, const uint8_t *);

			for (uint16_t k = 0; k < s->data_len; k++)
				if (b[k] != lab_byte(run.p->read + len + k, 1))
					fail("read a wrong byte at %lu",
					     (unsigned long)(run.p->read + len + k));
			len += s->data_len;
			*charge += pkt_charge(s);
		}
		if (len == 0 || len != m->pkt_len)
			fail("tcp_recv gave %u bytes, said %u", len, m->pkt_len);
		run.p->read += len;
		got += len;
		pkt_free(m);
	}
	return got;
}

static void do_read(const struct line *l, unsigned i)
{
	uint32_t charge = 0;
	uint32_t got = take_data(&charge);

	if (has(l, i, "borrow")) {
		run.p->charge += charge;
		run.p->borrowed += got;
	} else if (got > 0) {
		tcp_recv_done(run.t, conn(), charge, got);
	}
	if (strcmp(arg(l, i), "all") != 0)
		check_value("what can be read", got, l->tok[i]);
}

static void do_giveback(const struct line *l, unsigned i)
{
	tcp_recv_done(run.t, conn(), run.p->charge, run.p->borrowed);
	run.p->charge = run.p->borrowed = 0;
}

static void do_shutdown(const struct line *l, unsigned i)
{
	check_result(l, tcp_shutdown_send(run.t, conn()));
}

static void do_shutdown_recv(const struct line *l, unsigned i)
{
	tcp_shutdown_recv(run.t, conn());
}

static void do_close(const struct line *l, unsigned i)
{
	tcp_close(run.t, conn());
	run.p->conn = NULL;
}

static void do_abort(const struct line *l, unsigned i)
{
	tcp_abort(run.t, conn());
	run.p->conn = NULL;
}

static void do_unlisten(const struct line *l, unsigned i)
{
	tcp_unlisten(run.t, run.listener);
	run.listener = NULL;
}

static const struct {
	const char *name;
	uint32_t bit;
} events[] = {{"connected", TCP_EV_CONNECTED}, {"data", TCP_EV_DATA},	     {"fin", TCP_EV_FIN},
	      {"space", TCP_EV_SPACE},	       {"error", TCP_EV_ERROR},	     {"urgent", TCP_EV_URG},
	      {"closed", TCP_EV_CLOSED},       {"sent_fin", TCP_EV_SENT_FIN}};

static uint32_t event_bit(const char *name)
{
	for (unsigned i = 0; i < array_size(events); i++)
		if (strcmp(events[i].name, name) == 0)
			return events[i].bit;
	fail("no such event: %s", name);
}

static void do_event(const struct line *l, unsigned i)
{
	for (; i < l->n; i++) {
		uint32_t bit = event_bit(l->tok[i]);

		if (!(run.p->events & bit))
			fail("no event %s", l->tok[i]);
		run.p->events &= ~bit;
	}
}

static void do_noevent(const struct line *l, unsigned i)
{
	for (; i < l->n; i++)
		if (run.p->events & event_bit(l->tok[i]))
			fail("event %s", l->tok[i]);
}

static void do_state(const struct line *l, unsigned i)
{
	struct tcp_conn *c = run.p->conn ? run.p->conn : conn_find(run.p->port);
	enum tcp_state s = c != NULL ? tcp_conn_state(c) : TCP_CLOSED;
	static const char *const name[] = {"CLOSED",	  "LISTEN",	"SYN_SENT",   "SYN_RCVD",
					   "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
					   "CLOSING",	  "LAST_ACK",	"TIME_WAIT"};

	if (strcmp(arg(l, i), name[s]) != 0)
		fail("state is %s", name[s]);
}

static void do_error(const struct line *l, unsigned i)
{
	int e = tcp_conn_error(conn());

	if (e != -errno_of(arg(l, i)))
		fail("error is %s", errno_text(-e));
}

static void do_counter(const struct line *l, unsigned i)
{
	const uint64_t *v = (const uint64_t *)tcp_counters(run.t);
	static const char *const names[] = {
#define X(name) #name,
		TCP_COUNTERS(X)
#undef X
	};

	for (unsigned k = 0; k < array_size(names); k++)
		if (strcmp(names[k], arg(l, i)) == 0) {
			check_value(names[k], (int64_t)v[k], arg(l, i + 1));
			return;
		}
	fail("no such counter: %s", l->tok[i]);
}

static void do_drop(const struct line *l, unsigned i)
{
	for (unsigned k = 0; k < DROP_MAX; k++)
		if (strcmp(drop_name(k), arg(l, i)) == 0) {
			check_value(drop_name(k), (int64_t)run.drops.n[k], arg(l, i + 1));
			return;
		}
	fail("no such reason: %s", l->tok[i]);
}

static void do_info(const struct line *l, unsigned i)
{
	const struct field *f = field(info_fields, array_size(info_fields), arg(l, i));
	struct tcp_info_full info;

	if (f == NULL)
		fail("no such information: %s", l->tok[i]);
	tcp_conn_info(run.t, conn(), &info);
	check_value(f->name, field_get(&info, f), arg(l, i + 1));
}

static void do_icmp(const struct line *l, unsigned i)
{
	struct tcp_icmp e = {
		.key = {.laddr = run.us, .raddr = run.them, .lport = 8080, .rport = run.p->port},
		.err = errno_of(arg(l, i)),
		.hard = has(l, i, "hard")};

	for (i++; i + 1 < l->n; i++) {
		if (strcmp(l->tok[i], "seq") == 0)
			e.seq = run.p->iss + (uint32_t)number(l->tok[i + 1]);
		if (strcmp(l->tok[i], "mtu") == 0)
			e.mtu = (uint16_t)(number(l->tok[i + 1]) + (run.v->v6 ? 20 : 0));
	}
	tcp_icmp_error(run.t, &e);
}

static void do_urgent(const struct line *l, unsigned i)
{
	check_value("urgent mark", tcp_conn_urg(conn()), arg(l, i));
}

static void do_space(const struct line *l, unsigned i)
{
	check_value("send space", (int64_t)tcp_send_space(conn()), arg(l, i));
}

static void do_take(const struct line *l, unsigned i)
{
	run.take = (unsigned)number(arg(l, i));
}

static void do_fail(const struct line *l, unsigned i)
{
	lab_fail_at(number(arg(l, i)));
}

static void do_hold(const struct line *l, unsigned i)
{
	run.hold = true;
}

static void do_go(const struct line *l, unsigned i)
{
	run.hold = false;
}

static void do_wait(const struct line *l, unsigned i)
{
}

static void do_ignore(const struct line *l, unsigned i)
{
	run.silent_ok = !has(l, i, "no");
	for (unsigned k = 0; k < run.n_out; k++)
		free(run.out[k].bytes);
	run.n_out = 0;
}

/* Another peer, or the same port again as a new one: `peer PORT`, `reborn ADD`. */
static void do_peer(const struct line *l, unsigned i)
{
	uint16_t port = (uint16_t)number(arg(l, i));

	for (unsigned k = 0; k < PEERS_MAX; k++) {
		struct peer *p = &run.peer[k];

		if (p->used && p->port != port)
			continue;
		if (!p->used)
			peer_init(p, port, run.v->irs + k * 77777);
		run.p = p;
		return;
	}
	fail("too many peers");
}

static void do_reborn(const struct line *l, unsigned i)
{
	uint32_t add = (uint32_t)number(arg(l, i));
	struct tcp_conn *c = run.p->conn;
	uint32_t base = run.p->ts_base, iss = run.p->iss;

	peer_init(run.p, run.p->port, run.p->irs + add);
	run.p->ts_base = base;
	run.p->iss = iss;
	run.p->conn = c;
}

static const struct {
	const char *name;
	void (*f)(const struct line *l, unsigned i);
} words[] = {{"config", do_config},	{"opt", do_opt},
	     {"listen", do_listen},	{"unlisten", do_unlisten},
	     {"connect", do_connect},	{"accept", do_accept},
	     {"open", call_open},	{"write", do_write},
	     {"read", do_read},		{"giveback", do_giveback},
	     {"shutdown", do_shutdown}, {"shutdown_recv", do_shutdown_recv},
	     {"close", do_close},	{"abort", do_abort},
	     {"event", do_event},	{"noevent", do_noevent},
	     {"state", do_state},	{"error", do_error},
	     {"counter", do_counter},	{"drop", do_drop},
	     {"info", do_info},		{"icmp", do_icmp},
	     {"urgent", do_urgent},	{"space", do_space},
	     {"take", do_take},		{"fail", do_fail},
	     {"hold", do_hold},		{"go", do_go},
	     {"wait", do_wait},		{"ignore", do_ignore},
	     {"peer", do_peer},		{"reborn", do_reborn}};

bool call(const struct line *l, unsigned i)
{
	for (unsigned k = 0; k < array_size(words); k++)
		if (strcmp(words[k].name, l->tok[i]) == 0) {
			note("%s", l->text);
			if (run.t == NULL && words[k].f != do_config)
				engine_start();
			words[k].f(l, i + 1);
			return true;
		}
	return false;
}
