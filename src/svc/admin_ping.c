/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One echo request, from the stack of core 0. Its reply may arrive at any core; the stacks note
 * when, and this thread asks them now and then, so what it takes to ask does not count.
 */
#include <errno.h>
#include <string.h>

#include "svc/admin.h"

#define LOOK_FIRST_NS 500000
#define LOOK_MAX_NS   20000000
#define WAIT_MAX_MS   60000

struct ping_call {
	struct admin *a;
	int rc;
	enum drop_reason why;
	bool answered;
	struct ip_pong pong;
};

static void expect(struct node_core *core, void *arg)
{
	struct ping_call *c = arg;
	int rc = stack_ping_expect(core->stack, &c->a->ping);

	c->rc = rc < 0 ? rc : c->rc;
}

static void send_it(struct node_core *core, void *arg)
{
	struct ping_call *c = arg;

	c->why = stack_ping_send(core->stack, &c->a->ping, &c->a->ping_ns);
}

static void look(struct node_core *core, void *arg)
{
	struct ping_call *c = arg;

	if (!c->answered)
		c->answered = stack_ping_answered(core->stack, c->a->ping.id, &c->pong);
}

static void forget(struct node_core *core, void *arg)
{
	stack_ping_forget(core->stack, ((struct ping_call *)arg)->a->ping.id);
}

static void each_core(struct admin *a, void (*fn)(struct node_core *core, void *arg),
		      struct ping_call *c)
{
	for (unsigned i = 0; i < a->s->node.n; i++)
		node_call(&a->s->node.core[i], fn, c);
}

static enum admin_step begin(struct admin *a)
{
	struct ping_call c = {.a = a};
	int64_t seq = admin_number(a, "seq", 0), bytes = admin_number(a, "bytes", 56);
	int64_t wait_ms = admin_number(a, "wait_ms", 1000);
	const char *to = admin_text(a, "to", "");

	if (ip_addr_parse(to, &a->ping.dst) < 0 || ip_addr_is_any(&a->ping.dst))
		return admin_fail(a, -EINVAL, "ping %s: write an IP address", to);
	if (bytes < 0 || bytes > IP_PING_MAX || wait_ms < 1 || wait_ms > WAIT_MAX_MS)
		return admin_fail(a, -EINVAL, "ping: at most %d bytes, at most %d s", IP_PING_MAX,
				  WAIT_MAX_MS / 1000);
	a->part = LOOK_FIRST_NS;
	a->ping.seq = (uint16_t)seq;
	a->ping.bytes = (uint16_t)bytes;
	a->ping.id = (uint16_t)++a->s->next_ping;
	a->ping_end_ns = node_now_ns() + wait_ms * 1000000;
	each_core(a, expect, &c);
	if (c.rc < 0)
		return admin_fail(a, c.rc, "ping: too many at the same time");
	node_call(&a->s->node.core[0], send_it, &c);
	if (c.why != DROP_NONE)
		return admin_fail(a, -EHOSTUNREACH, "ping %s: %s", to, drop_text(c.why));
	a->due_ns = node_now_ns() + a->part;
	return ADMIN_WAIT;
}

enum admin_step admin_ping(struct admin *a)
{
	struct ping_call c = {.a = a};
	int64_t now = node_now_ns();

	if (a->part == 0)
		return begin(a);
	each_core(a, look, &c);
	if (c.answered) {
		admin_say(a, json_pack("{s:i, s:i, s:i, s:f}", "seq", a->ping.seq, "bytes",
				       a->ping.bytes, "ttl", c.pong.ttl, "rtt_us",
				       (double)(int64_t)(c.pong.at_ns - a->ping_ns) / 1e3));
		return ADMIN_DONE;
	}
	if (now >= a->ping_end_ns) {
		admin_say(a, json_pack("{s:i, s:b}", "seq", a->ping.seq, "timeout", 1));
		return ADMIN_DONE;
	}
	a->part = a->part * 2 < LOOK_MAX_NS ? a->part * 2 : LOOK_MAX_NS;
	a->due_ns = now + a->part;
	return ADMIN_WAIT;
}

void admin_ping_end(struct admin *a)
{
	struct ping_call c = {.a = a};

	if (a->part != 0)
		each_core(a, forget, &c);
}
