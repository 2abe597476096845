/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text dumps: sockets in the manner of `ss`, and counters as lines "name value". A dump is made of
 * whole lines; what does not fit goes on at the cursor in the next command, and a command looks at
 * a bounded number of places, so that it never holds the loop up.
 *
 * The sockets' cursor: 0 start; else 1 + place, places of the applications one after the other.
 * Then come the connections that no socket has (closing in the background, TIME-WAIT), with
 * CURSOR_CONNS set.
 */
#include <stdarg.h>
#include <stdio.h>

#include "sock/sock_opt.h"
#include "sock/sock_udp.h"

#define LINE_MAX_BYTES 512
#define PLACES_MAX     4096 /* looked at in one command */
#define CURSOR_CONNS   (1u << 30)

/* Where lines go. */
struct text {
	char *out;
	uint32_t used, len;
};

static bool text_room(const struct text *t)
{
	return t->len - t->used >= LINE_MAX_BYTES;
}

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->out + t->used, LINE_MAX_BYTES, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += (uint32_t)(n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES - 1);
}

/* ---- sockets ---- */

/* 10.0.0.1:80, [2001:db8::1]:80, *:80 */
static void end_text(const struct ip_addr *a, uint16_t port, char *out, size_t len)
{
	char t[ADDR_TEXT_MAX];

	if (ip_addr_is_any(a))
		snprintf(out, len, "*:%u", port);
	else if (ip_addr_is_v4(a))
		snprintf(out, len, "%s:%u", ip_addr_text(a, t), port);
	else
		snprintf(out, len, "[%s]:%u", ip_addr_text(a, t), port);
}

static void line(struct text *t, const char *proto, const char *state, uint64_t rq, uint64_t sq,
		 const struct tcp_key *key)
{
	char l[ADDR_TEXT_MAX + 8], r[ADDR_TEXT_MAX + 8];

	end_text(&key->laddr, key->lport, l, sizeof(l));
	end_text(&key->raddr, key->rport, r, sizeof(r));
	text_add(t, "%-3s %-12s %6llu %6llu %-28s %-28s", proto, state, (unsigned long long)rq,
		 (unsigned long long)sq, l, key->rport != 0 ? r : "*");
}

static void conn_line(struct socks *s, const struct tcp_conn *conn, uint32_t unacked,
		      struct text *t)
{
	struct tcp_info_full i;

	tcp_conn_info(s->cfg.tcp, conn, &i);
	line(t, "tcp", tcp_state_name(i.state), i.unread_bytes, unacked, tcp_conn_key(conn));
	text_add(t, " %s rto:%.3f rtt:%.3f/%.3f mss:%u cwnd:%u", i.cc, i.rto_us / 1e3,
		 i.srtt_us / 1e3, i.rttvar_us / 1e3, i.snd_mss, i.cwnd_bytes);
	text_add(t, " wnd:%u/%u acked:%llu received:%llu", i.snd_wnd, i.rcv_wnd,
		 (unsigned long long)i.bytes_acked, (unsigned long long)i.bytes_received);
	if (i.total_retrans != 0 || i.lost != 0)
		text_add(t, " retrans:%u/%u lost:%u", i.retrans, i.total_retrans, i.lost);
	if (i.notsent_bytes != 0)
		text_add(t, " notsent:%llu", (unsigned long long)i.notsent_bytes);
	text_add(t, "\n");
}

static struct tcp_key bound_key(const struct sock *k)
{
	struct tcp_key key = {.laddr = k->laddr, .lport = k->lport};

	if (k->kind == SOCK_UDP && k->pcb != NULL) {
		const struct udp_bind *b = udp_binding(k->pcb);

		key = (struct tcp_key){
			.laddr = b->laddr, .raddr = b->raddr, .lport = b->lport, .rport = b->rport};
	}
	return key;
}

static void sock_line(const struct sock *k, struct text *t)
{
	struct tcp_key key = bound_key(k);

	switch (k->kind) {
	case SOCK_CONN:
	case SOCK_CONNECTING:
		conn_line(k->app->s, k->conn, k->unacked, t);
		return;
	case SOCK_LINGER:
		if (k->conn != NULL)
			conn_line(k->app->s, k->conn, k->unacked, t);
		return;
	case SOCK_LISTEN:
		line(t, "tcp", "LISTEN", k->announced, k->backlog, &key);
		break;
	case SOCK_UDP:
		line(t, "udp", key.rport != 0 ? "CONNECTED" : "UNCONNECTED", k->udp->charge,
		     k->unacked, &key);
		break;
	default:
		line(t, "tcp", "CLOSED", 0, 0, &key);
	}
	text_add(t, "\n");
}

/* The place-th socket's place of all applications that `asks` may see; false past the last one. */
static bool place(const struct sock_app *asks, uint32_t n, struct sock **k)
{
	LIST_EACH (l, &asks->s->apps) {
		struct sock_app *a = container_of(l, struct sock_app, link);

		if (asks->alone && a != asks)
			continue;
		if (n < a->socks.used) {
			*k = slab_is_live(&a->socks, n) ? slab_at(&a->socks, n) : NULL;
			return true;
		}
		n -= a->socks.used;
	}
	return false;
}

/* Connections that live without a socket; those that wait for accept are among them. */
struct conns_dump {
	struct socks *s;
	struct text *t;
};

static void orphan_line(void *arg, struct tcp_conn *conn)
{
	struct conns_dump *d = arg;

	if (tcp_conn_user(conn) == 0)
		conn_line(d->s, conn, 0, d->t);
}

static uint32_t dump_conns(const struct sock_app *asks, uint32_t cursor, struct text *t)
{
	struct socks *s = asks->s;
	struct conns_dump d = {s, t};
	uint32_t at = cursor & ~CURSOR_CONNS;

	if (asks->alone)
		return 0;
	for (unsigned i = 0; i < PLACES_MAX; i++) {
		if (!text_room(t))
			break;
		tcp_each(s->cfg.tcp, &at, 1, orphan_line, &d);
		if (at == 0)
			return 0;
	}
	return at | CURSOR_CONNS;
}

static uint32_t dump_socks(const struct sock_app *asks, uint32_t cursor, struct text *t)
{
	uint32_t at = cursor != 0 ? cursor - 1 : 0;
	struct sock *k;

	if (cursor & CURSOR_CONNS)
		return dump_conns(asks, cursor, t);
	if (cursor == 0)
		text_add(t, "%-3s %-12s %6s %6s %-28s %-28s\n", "", "State", "Recv-Q", "Send-Q",
			 "Local", "Peer");
	for (unsigned i = 0; i < PLACES_MAX && text_room(t); i++, at++) {
		if (!place(asks, at, &k))
			return text_room(t) ? dump_conns(asks, CURSOR_CONNS, t) : CURSOR_CONNS;
		if (k != NULL)
			sock_line(k, t);
	}
	return at + 1;
}

/* ---- counters ---- */

struct counter {
	const char *name;
	uint64_t value;
	const char *text; /* NULL, or a sentence */
};

static const char *const tcp_names[] = {
#define X(name) "tcp_" #name,
	TCP_COUNTERS(X)
#undef X
};
_Static_assert(sizeof(struct tcp_counters) == array_size(tcp_names) * sizeof(uint64_t),
	       "read as an array");

static const char *const ip_names[] = {
#define X(name) "ip_" #name,
	IP_COUNTERS(X)
#undef X
};
_Static_assert(sizeof(struct ip_counters) == array_size(ip_names) * sizeof(uint64_t),
	       "read as an array");

static const char *const udp_names[] = {"udp_in_datagrams", "udp_out_datagrams", "udp_no_ports",
					"udp_in_errors"};
_Static_assert(sizeof(struct udp_counters) == array_size(udp_names) * sizeof(uint64_t),
	       "read as an array");

static const char *const sock_names[] = {"sock_commands",
					 "sock_bad_commands",
					 "sock_events",
					 "sock_events_delayed",
					 "sock_loans",
					 "sock_loans_bad_return",
					 "sock_tokens_bad",
					 "sock_doorbells",
					 "sock_pressure_copied_bytes",
					 "sock_loop_copied_bytes",
					 "sock_domain_copied_bytes"};
_Static_assert(sizeof(struct socks_counters) == array_size(sock_names) * sizeof(uint64_t),
	       "read as an array");

/* The n-th of the names of one struct of counters; false: n was not there, and is reduced. */
static bool pick(const char *const *names, uint32_t count, const void *values, uint32_t *n,
		 struct counter *c)
{
	if (*n >= count) {
		*n -= count;
		return false;
	}
	c->name = names[*n];
	memcpy(&c->value, (const char *)values + *n * sizeof(uint64_t), sizeof(uint64_t));
	return true;
}

static bool gauge(const struct socks *s, uint32_t *n, struct counter *c)
{
	const char *const names[] = {"sock_sockets", "sock_lent_buffers", "sock_lent_max"};
	const uint64_t values[] = {s->n_socks, s->lent, s->lent_max};

	return pick(names, array_size(names), values, n, c);
}

static bool counter_at(struct socks *s, uint32_t n, struct counter *c)
{
	c->text = NULL;
	if (pick(tcp_names, array_size(tcp_names), tcp_counters(s->cfg.tcp), &n, c) ||
	    pick(ip_names, array_size(ip_names), ip_counters(s->cfg.ip), &n, c) ||
	    pick(udp_names, array_size(udp_names), udp_counters(s->cfg.udp), &n, c) ||
	    pick(sock_names, array_size(sock_names), &s->n, &n, c) || gauge(s, &n, c))
		return true;
	n++; /* the first reason is "not dropped" */
	if (n >= DROP_MAX)
		return false;
	c->name = drop_name((enum drop_reason)n);
	c->text = drop_text((enum drop_reason)n);
	c->value = s->cfg.drops->n[n];
	return true;
}

/* Behind our own counters come those of the stack, in later calls. */
#define CURSOR_STACK (1u << 20)

static uint32_t dump_counters(struct socks *s, uint32_t cursor, struct text *t)
{
	struct counter c;

	for (; text_room(t); cursor++) {
		if (!counter_at(s, cursor, &c))
			return s->cfg.dump != NULL ? CURSOR_STACK : 0;
		if (c.text == NULL)
			text_add(t, "%s %llu\n", c.name, (unsigned long long)c.value);
		else if (c.value == 0)
			text_add(t, "drop_%s 0\n", c.name);
		else
			text_add(t, "drop_%s %llu # %s\n", c.name, (unsigned long long)c.value,
				 c.text);
	}
	return cursor;
}

static int dump_other(struct sock_cmd *c, uint32_t *cursor, struct text *t)
{
	const struct socks_cfg *cfg = &c->s->cfg;
	uint32_t base = c->q->arg[0] == CHAN_DUMP_COUNTERS ? CURSOR_STACK : 0;
	int n;

	if (cfg->dump == NULL)
		return -EINVAL;
	*cursor -= base;
	n = cfg->dump(cfg->stack, c->q->arg[0], cursor, t->out, t->len);
	if (*cursor != 0)
		*cursor += base;
	if (n > 0)
		t->used = (uint32_t)n;
	return n < 0 ? n : 0;
}

int cmd_dump(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	uint32_t cursor = (uint32_t)q->arg[1];
	struct text t = {.len = q->len};
	int err = 0;

	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	if (q->len < LINE_MAX_BYTES)
		return -ENOSPC;
	t.out = (char *)c->app->end.scratch + q->off;
	if (q->arg[0] == CHAN_DUMP_SOCKETS)
		cursor = dump_socks(c->app, cursor, &t);
	else if (q->arg[0] == CHAN_DUMP_COUNTERS && cursor < CURSOR_STACK)
		cursor = dump_counters(c->s, cursor, &t);
	else
		err = dump_other(c, &cursor, &t);
	if (err != 0)
		return err;
	c->out.aux = cursor;
	return (int)t.used;
}
