/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters in DPDK's telemetry: /zstack/counters,CORE and /zstack/drops,CORE and /zstack/port,PORT.
 * Called in DPDK's thread, which asks the stacks like the control thread does.
 */
#include <errno.h>
#include <stdio.h>

#include "stack/look.h"
#include "svc/service.h"

/* One counter, or all of a port, from the stack's thread: DPDK's dictionary is filled outside. */
struct call {
	unsigned n, port;
	bool found;
	struct sock_counter c;
	struct stack_port_info info;
};

static void counter_take(struct node_core *core, void *arg)
{
	struct call *c = arg;

	c->found = stack_counter(core->stack, c->n, &c->c);
}

static void port_take(struct node_core *core, void *arg)
{
	struct call *c = arg;

	c->found = stack_port_at(core->stack, c->port, &c->info);
}

/* The core that the parameter names, 0 without one. */
static struct node_core *core_of(struct service *s, const char *params)
{
	unsigned core = 0;

	if (*params != '\0' && (sscanf(params, "%u", &core) != 1 || core >= s->node.n))
		return NULL;
	return &s->node.core[core];
}

static int fill(struct service *s, const char *params, void *dict, bool drops)
{
	struct node_core *core = core_of(s, params);
	struct call c = {.found = core != NULL};

	for (; c.found; c.n++) {
		node_call(core, counter_take, &c);
		if (c.found && (c.c.text != NULL) == drops)
			dev_telemetry_add(dict, c.c.name, c.c.value);
	}
	return core != NULL ? 0 : -EINVAL;
}

static int counters(void *arg, const char *params, void *dict)
{
	return fill(arg, params, dict, false);
}

static int drops(void *arg, const char *params, void *dict)
{
	return fill(arg, params, dict, true);
}

static int port(void *arg, const char *params, void *dict)
{
	struct service *s = arg;
	struct call c = {.port = 0};
	const char *name;
	uint64_t value;

	if (*params != '\0' && sscanf(params, "%u", &c.port) != 1)
		return -EINVAL;
	node_call(&s->node.core[0], port_take, &c);
	for (unsigned i = 0; c.found && (name = stack_port_counter(&c.info, i, &value)) != NULL;
	     i++)
		dev_telemetry_add(dict, name, value);
	return c.found ? 0 : -EINVAL;
}

int telemetry_open(struct service *s, const struct svc_err *err)
{
	int rc = 0;

	if (!s->cfg.telemetry)
		return 0;
	rc |= dev_telemetry_register("/zstack/counters", "Counters. Parameter: core", counters, s);
	rc |= dev_telemetry_register("/zstack/drops", "Dropped packets. Parameter: core", drops, s);
	rc |= dev_telemetry_register("/zstack/port", "Of a port. Parameter: its number", port, s);
	return rc == 0 ? 0 : svc_fail(err, -EIO, "--telemetry: DPDK takes no commands");
}
