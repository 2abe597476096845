/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What there is to see, as structures: sockets, counters by name, an application's share. The text
 * dump (sock_dump.c) and whoever manages the service make words of them.
 *
 * A walk over sockets is done in steps: each looks at a bounded number of places, so that it never
 * holds the loop up. What changes meanwhile may be seen or not.
 *
 * The cursor: 0 start; else 1 + place, places of the applications one after the other. Then come
 * the connections that no socket has (closing in the background, TIME-WAIT, waiting for accept),
 * with CURSOR_CONNS set.
 */
#include "sock/sock_opt.h"
#include "sock/sock_share.h"
#include "sock/sock_udp.h"

#define PLACES_MAX   1024 /* looked at in one step */
#define CURSOR_CONNS (1u << 30)

static void conn_fill(const struct socks *s, const struct tcp_conn *conn, struct sock_info *i)
{
	tcp_conn_info(s->cfg.tcp, conn, &i->tcp);
	i->has_tcp = true;
	i->state = tcp_state_name(i->tcp.state);
	i->recv_queue = i->tcp.unread_bytes;
	i->key = *tcp_conn_key(conn);
}

static void udp_fill(const struct sock *k, struct sock_info *i)
{
	if (k->pcb != NULL) {
		const struct udp_bind *b = udp_binding(k->pcb);

		i->key = (struct tcp_key){
			.laddr = b->laddr, .raddr = b->raddr, .lport = b->lport, .rport = b->rport};
	}
	i->udp = true;
	i->state = i->key.rport != 0 ? "CONNECTED" : "UNCONNECTED";
	i->recv_queue = k->udp->charge;
	i->send_queue = k->unacked;
}

/* False: there is nothing to be told of it. */
static bool sock_fill(const struct sock *k, struct sock_info *i)
{
	*i = (struct sock_info){.map = k->app->map,
				.state = "CLOSED",
				.no_link = (k->flags & SOCKF_NO_LINK) != 0,
				.records = k->records,
				.shared = sock_is_shared(k) ? k->share->id : 0,
				.key = {.laddr = k->laddr, .lport = k->lport}};
	switch (k->kind) {
	case SOCK_LINGER:
		if (k->conn == NULL)
			return false;
		/* fall through */
	case SOCK_CONN:
	case SOCK_CONNECTING:
		conn_fill(k->app->s, k->conn, i);
		i->link = sock_link_id(k);
		i->link_whole = sock_link_all(k);
		i->send_queue = k->unacked;
		break;
	case SOCK_LISTEN:
		i->state = tcp_state_name(TCP_LISTEN);
		i->listens = true;
		i->recv_queue = tcp_sock_waiting(k);
		i->send_queue = k->backlog;
		break;
	case SOCK_UDP:
		udp_fill(k, i);
		break;
	default:
		break;
	}
	return true;
}

/* The n-th place of all applications, or of the only one; false past the last. */
static bool place(const struct socks *s, const struct sock_app *only, uint32_t n, struct sock **k)
{
	LIST_EACH (l, &s->apps) {
		struct sock_app *a = container_of(l, struct sock_app, link);

		if (only != NULL && a != only)
			continue;
		if (n < a->socks.used) {
			*k = slab_is_live(&a->socks, n) ? slab_at(&a->socks, n) : NULL;
			return true;
		}
		n -= a->socks.used;
	}
	return false;
}

struct orphans {
	const struct socks *s;
	sock_info_fn fn;
	void *arg;
	unsigned n;
};

static void orphan(void *arg, struct tcp_conn *conn)
{
	struct orphans *o = arg;
	struct sock_info i = {.map = NULL};

	if (tcp_conn_user(conn) != 0)
		return;
	conn_fill(o->s, conn, &i);
	o->fn(o->arg, &i);
	o->n++;
}

static unsigned each_orphan(struct socks *s, uint32_t *cursor, unsigned n, sock_info_fn fn,
			    void *arg)
{
	struct orphans o = {s, fn, arg, 0};
	uint32_t at = *cursor & ~CURSOR_CONNS;

	*cursor = CURSOR_CONNS;
	for (unsigned i = 0; i < PLACES_MAX && o.n < n; i++) {
		tcp_each(s->cfg.tcp, &at, 1, orphan, &o);
		if (at == 0) {
			*cursor = 0;
			return o.n;
		}
	}
	*cursor |= at;
	return o.n;
}

unsigned socks_each(struct socks *s, const struct sock_app *only, uint32_t *cursor, unsigned n,
		    sock_info_fn fn, void *arg)
{
	uint32_t at = *cursor != 0 ? *cursor - 1 : 0;
	struct sock_info info;
	unsigned done = 0;
	struct sock *k;

	if (*cursor & CURSOR_CONNS)
		return each_orphan(s, cursor, n, fn, arg);
	for (unsigned i = 0; i < PLACES_MAX && done < n; i++, at++) {
		if (!place(s, only, at, &k)) {
			*cursor = only == NULL ? CURSOR_CONNS : 0;
			return done;
		}
		if (k != NULL && sock_fill(k, &info)) {
			fn(arg, &info);
			done++;
		}
	}
	*cursor = at + 1;
	return done;
}

void socks_app_share(const struct sock_app *a, struct sock_share *out)
{
	*out = (struct sock_share){.sockets = a->socks.live,
				   .sockets_max = a->socks.max,
				   .lent = a->loans.held,
				   .lent_max = a->loans.quota,
				   .sends = a->tokens.count,
				   .commands = a->commands};
}

/* ---- counters ---- */

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

static const char *const sock_names[] = {
	"sock_commands",	  "sock_bad_commands",	  "sock_events",
	"sock_events_delayed",	  "sock_loans",		  "sock_loans_bad_return",
	"sock_tokens_bad",	  "sock_doorbells",	  "sock_pressure_copied_bytes",
	"sock_loop_copied_bytes", "sock_loop_lent_bytes", "sock_domain_copied_bytes",
	"sock_home_copied_bytes", "sock_leases",	  "sock_leases_ended"};
_Static_assert(sizeof(struct socks_counters) == array_size(sock_names) * sizeof(uint64_t),
	       "read as an array");

/* The n-th of the names of one struct of counters; false: n was not there, and is reduced. */
static bool pick(const char *const *names, uint32_t count, const void *values, uint32_t *n,
		 struct sock_counter *c)
{
	if (*n >= count) {
		*n -= count;
		return false;
	}
	c->name = names[*n];
	memcpy(&c->value, (const char *)values + *n * sizeof(uint64_t), sizeof(uint64_t));
	return true;
}

static bool gauge(const struct socks *s, uint32_t *n, struct sock_counter *c)
{
	const char *const names[] = {"sock_applications", "sock_sockets", "sock_lent_buffers",
				     "sock_lent_max"};
	const uint64_t values[] = {s->n_apps, s->n_socks, s->lent, s->lent_max};

	c->gauge = pick(names, array_size(names), values, n, c);
	return c->gauge;
}

bool socks_counter(struct socks *s, uint32_t n, struct sock_counter *c)
{
	*c = (struct sock_counter){0};
	if (pick(tcp_names, array_size(tcp_names), tcp_counters(s->cfg.tcp), &n, c) ||
	    pick(ip_names, array_size(ip_names), ip_counters(s->cfg.ip), &n, c) ||
	    pick(udp_names, array_size(udp_names), udp_counters(s->cfg.udp), &n, c) ||
	    pick(sock_names, array_size(sock_names), &s->n, &n, c) || gauge(s, &n, c)) {
		c->gauge = c->gauge || strcmp(c->name, "tcp_curr_estab") == 0;
		return true;
	}
	n++; /* the first reason is "not dropped" */
	if (n >= DROP_MAX)
		return false;
	c->name = drop_name((enum drop_reason)n);
	c->text = drop_text((enum drop_reason)n);
	c->value = s->cfg.drops->n[n];
	return true;
}
