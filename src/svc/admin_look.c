/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What there is to see, as JSON objects: a step copies a bounded piece in the stack's thread, and
 * makes words of it in this one.
 */
#include "svc/admin.h"
#include "svc/shared.h"

#include <stdio.h>
#include <string.h>

#define SLICE	     64 /* sockets, neighbours of one step */
#define COUNTERS_MAX 512

static json_t *integer(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *addr_json(const struct ip_addr *a)
{
	char text[ADDR_TEXT_MAX];

	return json_string(ip_addr_is_any(a) ? "*" : ip_addr_text(a, text));
}

/* ---- sockets ---- */

struct sockets_call {
	const struct sock_app *only;
	uint32_t cursor;
	unsigned n;
	struct sock_info info[SLICE];
};

static void socket_take(void *arg, const struct sock_info *i)
{
	struct sockets_call *c = arg;

	c->info[c->n++] = *i;
}

static void sockets_slice(struct node_core *core, void *arg)
{
	struct sockets_call *c = arg;

	stack_socks_each(core->stack, c->only, &c->cursor, SLICE, socket_take, c);
}

static json_t *tcp_json(const struct tcp_info_full *i)
{
	json_t *o = json_pack("{s:s, s:i, s:b, s:b, s:b, s:i, s:i}", "cc", i->cc, "ca_state",
			      i->ca_state, "timestamps", i->tstamps, "sack", i->sack, "ecn", i->ecn,
			      "snd_wscale", i->snd_wscale, "rcv_wscale", i->rcv_wscale);
	const struct {
		const char *name;
		uint64_t value;
	} n[] = {
#define N(field) {#field, i->field}
		N(rto_us),
		N(srtt_us),
		N(rttvar_us),
		N(min_rtt_us),
		N(ato_us),
		N(snd_mss),
		N(rcv_mss),
		N(advmss),
		N(pmtu),
		N(cwnd_bytes),
		N(ssthresh_bytes),
		N(snd_wnd),
		N(rcv_wnd),
		N(rcv_space),
		N(bytes_acked),
		N(bytes_received),
		N(bytes_sent),
		N(bytes_retrans),
		N(segs_in),
		N(segs_out),
		N(data_segs_in),
		N(data_segs_out),
		N(unacked),
		N(sacked),
		N(lost),
		N(retrans),
		N(total_retrans),
		N(reordering),
		N(dsack_dups),
		N(retransmits),
		N(backoff),
		N(probes),
		N(notsent_bytes),
		N(unread_bytes),
		N(sndbuf),
		N(rcvbuf),
		N(last_data_sent_ns),
		N(last_data_recv_ns),
		N(last_ack_recv_ns),
#undef N
	};

	for (unsigned k = 0; k < array_size(n); k++)
		json_object_set_new(o, n[k].name, integer(n[k].value));
	return o;
}

/* Of the link, which all streams between the two programs share. */
static void link_json(const struct service *s, const struct app *app, const struct sock_info *i,
		      json_t *o)
{
	struct link_count n;

	if (i->link == 0 || app == NULL || !link_counted(s, i->link, app, &n))
		return;
	json_object_set_new(o, "link", integer(i->link));
	json_object_set_new(o, "link_both_ways", json_boolean(i->link_whole));
	json_object_set_new(o, "link_out_bytes", integer(n.out_bytes));
	json_object_set_new(o, "link_out_messages", integer(n.out_messages));
	json_object_set_new(o, "link_in_bytes", integer(n.in_bytes));
	json_object_set_new(o, "link_in_messages", integer(n.in_messages));
}

static json_t *socket_json(const struct admin *a, const struct sock_info *i)
{
	const struct app *app = i->map != NULL ? admin_app_of(a->s, a->core, i->map) : NULL;
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:o, s:i, s:o, s:i, s:b, s:i}", "proto",
			      i->udp ? "udp" : "tcp", "state", i->state, "recv_q",
			      (json_int_t)i->recv_queue, "send_q", (json_int_t)i->send_queue,
			      "local", addr_json(&i->key.laddr), "local_port", i->key.lport, "peer",
			      addr_json(&i->key.raddr), "peer_port", i->key.rport, "listens",
			      i->listens, "core", a->core);

	if (app != NULL) {
		json_object_set_new(o, "app", integer(app->id));
		json_object_set_new(o, "program", json_string(app->program));
		json_object_set_new(o, "pid", json_integer(app->pid));
		json_object_set_new(o, "user", json_integer(app->uid));
	}
	link_json(a->s, app, i, o);
	if (i->shared != 0)
		json_object_set_new(o, "shared", integer(i->shared));
	if (i->records)
		json_object_set_new(o, "records", json_true());
	if (i->no_link)
		json_object_set_new(o, "no_link", json_true());
	if (i->has_tcp && json_is_true(json_object_get(a->ask, "info")))
		json_object_set_new(o, "info", tcp_json(&i->tcp));
	return o;
}

/* The user's next attached program, from this id on. */
static const struct app *own_app(const struct admin *a)
{
	LIST_EACH (l, &a->s->apps) {
		const struct app *app = container_of(l, struct app, link);

		if (app->id >= a->app && app->uid == a->uid && app->state == APP_READY)
			return app;
	}
	return NULL;
}

enum admin_step admin_sockets(struct admin *a)
{
	struct sockets_call c = {.cursor = a->cursor};

	if (!a->all) {
		const struct app *app = own_app(a);

		c.cursor = app != NULL && app->id == a->app ? c.cursor : 0;
		a->app = app != NULL ? app->id : UINT64_MAX;
		c.only = app != NULL ? app->chan[a->core].app : NULL;
	}
	if (a->all || c.only != NULL)
		node_call(&a->s->node.core[a->core], sockets_slice, &c);
	for (unsigned i = 0; i < c.n; i++)
		admin_say(a, socket_json(a, &c.info[i]));
	a->cursor = c.cursor;
	if (c.cursor != 0)
		return ADMIN_MORE;
	if (c.only != NULL) {
		a->app++;
		return ADMIN_MORE;
	}
	a->app = 0;
	return ++a->core < a->s->node.n ? ADMIN_MORE : ADMIN_DONE;
}

/* ---- programs ---- */

struct share_call {
	const struct app *app;
	struct sock_share sum;
};

static void share_add(struct node_core *core, void *arg)
{
	struct share_call *c = arg;
	struct sock_share one;

	socks_app_share(c->app->chan[core - core->node->core].app, &one);
	c->sum.sockets += one.sockets;
	c->sum.sockets_max += one.sockets_max;
	c->sum.lent += one.lent;
	c->sum.lent_max += one.lent_max;
	c->sum.sends += one.sends;
	c->sum.commands += one.commands;
}

/* What the program says of its sockets: nobody else's numbers depend on it. */
static const struct {
	const char *whose, *why;
} told[TOLD_MAX] = {
	[TOLD_TAKEN] = {"taken", "address"},
	[TOLD_TAKEN_RULE] = {"taken", "rule"},
	[TOLD_TAKEN_LOOPBACK] = {"taken", "loopback"},
	[TOLD_ACCEPTED] = {"taken", "accepted"},
	[TOLD_BOTH] = {"both", "wildcard"},
	[TOLD_BOTH_LOOPBACK] = {"both", "loopback"},
	[TOLD_LOOPBACK] = {"kernel", "loopback"},
	[TOLD_RULE] = {"kernel", "rule"},
	[TOLD_NOT_SUBNET] = {"kernel", "other_subnet"},
	[TOLD_NOT_ADDRESS] = {"kernel", "other_address"},
	[TOLD_UNIX] = {"kernel", "unix"},
	[TOLD_OTHER_KIND] = {"kernel", "other_kind"},
	[TOLD_KERNEL_ACCEPTED] = {"kernel", "accepted"},
	[TOLD_NO_STACK] = {"failed", "no_service"},
	[TOLD_NO_ROOM] = {"failed", "no_room"},
};
#define TOLD_MOST (1ull << 53) /* that JSON's readers have in common */

static json_t *told_json(const struct app *app)
{
	json_t *o = json_pack("{s:{}, s:{}, s:{}, s:{}}", "taken", "both", "kernel", "failed");
	const struct app_chan *c = &app->chan[0];
	const struct chan_tally *t = c->map.base != NULL ? chan_told_of(&c->map, &c->hdr) : NULL;

	for (unsigned i = 0; t != NULL && i < TOLD_MAX; i++) {
		uint64_t n = atomic_load_explicit(&t->n[i], memory_order_relaxed);

		json_object_set_new(json_object_get(o, told[i].whose), told[i].why,
				    integer(n < TOLD_MOST ? n : TOLD_MOST));
	}
	return o;
}

static json_t *app_json(const struct admin *a, const struct app *app)
{
	static const char *const state[] = {[APP_NEW] = "new",
					    [APP_MAPPING] = "mapping",
					    [APP_FORKED] = "forked",
					    [APP_READY] = "attached",
					    [APP_LEAVING] = "leaving"};
	struct share_call c = {.app = app};
	uint64_t memory = 0;

	for (unsigned i = 0; i < a->s->node.n; i++) {
		memory += app->chan[i].arena.bytes + app->chan[i].rings.bytes;
		if (app->state == APP_READY || app->state == APP_FORKED)
			node_call(&a->s->node.core[i], share_add, &c);
	}
	return json_pack("{s:I, s:s, s:i, s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:o}",
			 "app", (json_int_t)app->id, "program", app->program, "pid", (int)app->pid,
			 "user", (int)app->uid, "domain", a->s->cfg.policy.domain[app->domain].name,
			 "state", state[app->state], "sockets", c.sum.sockets, "sockets_max",
			 c.sum.sockets_max, "lent", c.sum.lent, "lent_max", c.sum.lent_max, "sends",
			 c.sum.sends, "commands", (json_int_t)c.sum.commands, "memory",
			 (json_int_t)memory, "told", told_json(app));
}

/* One program each step. */
enum admin_step admin_apps(struct admin *a)
{
	LIST_EACH (l, &a->s->apps) {
		const struct app *app = container_of(l, struct app, link);

		if (app->id < a->app || (!a->all && app->uid != a->uid) || app->state == APP_NEW)
			continue;
		a->app = app->id + 1;
		admin_say(a, app_json(a, app));
		return ADMIN_MORE;
	}
	return ADMIN_DONE;
}

/* ---- counters ---- */

struct counters_call {
	unsigned n;
	struct sock_counter c[COUNTERS_MAX];
	struct stack_port_info port;
	unsigned want_port;
	bool has_port;
};

static void counters_take(struct node_core *core, void *arg)
{
	struct counters_call *c = arg;

	while (c->n < COUNTERS_MAX && stack_counter(core->stack, c->n, &c->c[c->n]))
		c->n++;
}

static void port_take(struct node_core *core, void *arg)
{
	struct counters_call *c = arg;

	c->has_port = stack_port_at(core->stack, c->want_port, &c->port);
}

static void core_counters(struct admin *a)
{
	struct counters_call c = {.n = 0};
	json_t *counters = json_object(), *gauges = json_object(), *drops = json_object();

	node_call(&a->s->node.core[a->core], counters_take, &c);
	for (unsigned i = 0; i < c.n; i++) {
		const struct sock_counter *k = &c.c[i];

		if (k->text != NULL)
			json_object_set_new(drops, k->name,
					    json_pack("{s:I, s:s}", "value", (json_int_t)k->value,
						      "text", k->text));
		else
			json_object_set_new(k->gauge ? gauges : counters, k->name,
					    integer(k->value));
	}
	admin_say(a, json_pack("{s:i, s:o, s:o, s:o}", "core", a->core, "counters", counters,
			       "gauges", gauges, "drops", drops));
}

static bool port_counters(struct admin *a)
{
	struct counters_call c = {.want_port = a->part};
	json_t *counters = json_object();
	const char *name;
	uint64_t value;

	node_call(&a->s->node.core[0], port_take, &c);
	for (unsigned i = 0; c.has_port && (name = stack_port_counter(&c.port, i, &value)) != NULL;
	     i++)
		json_object_set_new(counters, name, integer(value));
	if (!c.has_port) {
		json_decref(counters);
		return false;
	}
	admin_say(a, json_pack("{s:i, s:s, s:s, s:i, s:s, s:b, s:o}", "port", a->part, "name",
			       c.port.name, "driver", c.port.driver, "mtu", c.port.mtu, "wake",
			       c.port.wake, "link", c.port.link_up, "counters", counters));
	return true;
}

enum admin_step admin_counters(struct admin *a)
{
	const struct svc_counters *n = &a->s->n;

	if (a->core < a->s->node.n) {
		core_counters(a);
		a->core++;
		return ADMIN_MORE;
	}
	if (port_counters(a)) {
		a->part++;
		return ADMIN_MORE;
	}
	admin_say(a, json_pack("{s:{s:I, s:I, s:I, s:I}, s:{s:i, s:i, s:i}}", "service", "attached",
			       (json_int_t)n->attached, "refused", (json_int_t)n->refused, "died",
			       (json_int_t)n->died, "grants_refused", (json_int_t)n->grants_refused,
			       "gauges", "programs", a->s->n_apps, "managers", a->s->n_admins,
			       "reserved_ports",
			       a->s->shared != NULL ? (int)a->s->shared->n_reserved : 0));
	return ADMIN_DONE;
}

/* ---- cores ---- */

struct loop_call {
	struct stack_loop loop;
};

static void loop_take(struct node_core *core, void *arg)
{
	((struct loop_call *)arg)->loop = stack_loop_at(core->stack);
}

enum admin_step admin_cores(struct admin *a)
{
	struct node_core *core = &a->s->node.core[a->core];
	struct loop_call c;
	json_t *o;

	node_call(core, loop_take, &c);
	o = json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "core", a->core, "now_ns",
		      (json_int_t)c.loop.now_ns, "busy_ns", (json_int_t)c.loop.busy_ns, "polls",
		      (json_int_t)c.loop.polls, "idle_polls", (json_int_t)c.loop.idle_polls,
		      "sleeps", (json_int_t)c.loop.sleeps);
	if (core->has_cpu)
		json_object_set_new(o, "cpu", json_integer(core->cpu));
	admin_say(a, o);
	return ++a->core < a->s->node.n ? ADMIN_MORE : ADMIN_DONE;
}

/* ---- addresses, routes ---- */

struct ip_call {
	unsigned at;
	bool found;
	struct ip_ifaddr addr;
	struct ip_route route;
	struct eth_if link;
};

static void link_take(const struct stack *s, unsigned ifindex, struct ip_call *c)
{
	const struct eth_if *l = stack_if_at(s, ifindex);

	c->found = true;
	if (l != NULL)
		c->link = *l;
}

static void addr_take(struct node_core *core, void *arg)
{
	struct ip_call *c = arg;
	const struct ip_ifaddr *ia = stack_addr_at(core->stack, c->at);

	if (ia == NULL)
		return;
	c->addr = *ia;
	link_take(core->stack, ia->ifindex, c);
}

static void route_take(struct node_core *core, void *arg)
{
	struct ip_call *c = arg;
	const struct ip_route *r = stack_route_at(core->stack, c->at);

	if (r == NULL)
		return;
	c->route = *r;
	link_take(core->stack, r->ifindex, c);
}

/* "fd00::2/64" */
static json_t *prefix_json(const struct ip_addr *a, unsigned len)
{
	char text[ADDR_TEXT_MAX + 4], addr[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), "%s/%u", ip_addr_text(a, addr), len);
	return json_string(text);
}

static const char *addr_state(const struct ip_ifaddr *a)
{
	return a->duplicate ? "duplicate" : a->tentative ? "tentative" : "valid";
}

/* Core 0 probes addresses for all. */
enum admin_step admin_addrs(struct admin *a)
{
	struct ip_call c = {.at = a->part++};
	const struct shared_iface *f;
	json_t *o;

	node_call(&a->s->node.core[0], addr_take, &c);
	if (!c.found)
		return ADMIN_DONE;
	o = json_pack("{s:o, s:i, s:i, s:i, s:s}", "addr",
		      prefix_json(&c.addr.addr, c.addr.prefix_len), "port", c.link.port, "vlan",
		      c.link.vlan, "mtu", c.link.mtu, "state", addr_state(&c.addr));
	f = c.link.vlan == 0 ? shared_iface_of(a->s, c.link.port) : NULL;
	if (f != NULL)
		json_object_set_new(o, "shared", json_string(f->cfg.iface));
	admin_say(a, o);
	return ADMIN_MORE;
}

enum admin_step admin_routes(struct admin *a)
{
	struct ip_call c = {.at = a->part++};
	json_t *o;

	node_call(&a->s->node.core[0], route_take, &c);
	if (!c.found)
		return ADMIN_DONE;
	o = json_pack("{s:o, s:i, s:i, s:i}", "prefix",
		      prefix_json(&c.route.prefix, c.route.prefix_len), "port", c.link.port, "vlan",
		      c.link.vlan, "metric", (int)c.route.metric);
	if (!ip_addr_is_any(&c.route.gateway))
		json_object_set_new(o, "via", addr_json(&c.route.gateway));
	admin_say(a, o);
	return ADMIN_MORE;
}

/* ---- neighbours ---- */

struct neigh_call {
	uint32_t cursor;
	unsigned n;
	struct neigh_info info[SLICE];
	struct eth_if link[SLICE];
	struct stack *stack;
};

static void neigh_take(void *arg, const struct neigh_info *i)
{
	struct neigh_call *c = arg;
	const struct eth_if *l = stack_if_at(c->stack, i->ifindex);

	c->link[c->n] = l != NULL ? *l : (struct eth_if){0};
	c->info[c->n++] = *i;
}

static void neigh_slice(struct node_core *core, void *arg)
{
	struct neigh_call *c = arg;

	c->stack = core->stack;
	stack_neigh_each(core->stack, &c->cursor, SLICE, neigh_take, c);
}

enum admin_step admin_neigh(struct admin *a)
{
	struct neigh_call c = {.cursor = a->cursor};

	node_call(&a->s->node.core[a->core], neigh_slice, &c);
	for (unsigned i = 0; i < c.n; i++) {
		const uint8_t *m = c.info[i].mac.b;
		char mac[18];

		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		admin_say(a, json_pack("{s:o, s:s, s:s, s:f, s:i, s:i, s:i}", "addr",
				       addr_json(&c.info[i].addr), "mac", mac, "state",
				       c.info[i].state, "age_s", (double)c.info[i].age_ns / 1e9,
				       "port", c.link[i].port, "vlan", c.link[i].vlan, "core",
				       a->core));
	}
	a->cursor = c.cursor;
	if (c.cursor != 0)
		return ADMIN_MORE;
	return ++a->core < a->s->node.n ? ADMIN_MORE : ADMIN_DONE;
}
