/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interfaces, addresses and routes of a node: every stack is told the same.
 */
#include <errno.h>
#include <string.h>

#include "chan/netns.h"
#include "stack/look.h"
#include "svc/node.h"
#include "wire/eth.h"

/* RFC 4291 §2.1: an IPv6 interface has a link-local address. */
static int add_link_local(struct stack *s, unsigned ifindex, uint16_t vlan)
{
	struct eth_addr mac = stack_if_mac(s, ifindex);
	struct ip_addr ll = eth_link_local6(&mac, vlan);
	int rc = stack_addr_add(s, ifindex, &ll, 64);

	return rc == -EEXIST ? 0 : rc;
}

static int add_addr(struct node *n, struct stack *s, const char *text, uint16_t mtu,
		    const struct svc_err *err)
{
	struct svc_addr a;
	int ifindex, rc = svc_addr_parse(text, &a, err->text, err->len);

	if (rc < 0)
		return rc;
	if (a.port >= n->n_dev)
		return svc_fail(err, -ENODEV, "--addr %s: there is no port %u", text, a.port);
	ifindex = stack_if(s, a.port, a.vlan, mtu);
	if (ifindex < 0)
		return svc_fail(err, ifindex, "--addr %s: %s", text,
				ifindex == -ENOSPC ? "too many interfaces" : strerror(-ifindex));
	rc = ip_addr_is_loopback(&a.addr)
		     ? -EINVAL
		     : stack_addr_add(s, (unsigned)ifindex, &a.addr, a.prefix_len);
	if (rc == 0 && !ip_addr_is_v4(&a.addr))
		rc = add_link_local(s, (unsigned)ifindex, a.vlan);
	switch (rc) {
	case 0:
		return 0;
	case -EEXIST:
		return svc_fail(err, rc, "--addr %s: is there already", text);
	case -EINVAL:
		return svc_fail(err, rc, "--addr %s: no host can have this address", text);
	default:
		return svc_fail(err, rc, "--addr %s: %s", text, strerror(-rc));
	}
}

/* have[v6] says whether the family has a gateway already. */
static int add_gateway(struct stack *s, const char *text, bool have[2], const struct svc_err *err)
{
	struct ip_addr gw;
	int rc = svc_gateway_parse(text, &gw, err->text, err->len);
	bool *family;

	if (rc < 0)
		return rc;
	family = &have[!ip_addr_is_v4(&gw)];
	if (*family)
		return svc_fail(err, -EINVAL, "--gateway %s: there is another one for IPv%c", text,
				ip_addr_is_v4(&gw) ? '4' : '6');
	*family = true;
	rc = stack_gateway_add(s, &gw);
	if (rc == -EHOSTUNREACH)
		return svc_fail(err, rc, "--gateway %s: no --addr has a prefix that it is in",
				text);
	return rc < 0 ? svc_fail(err, rc, "--gateway %s: %s", text, strerror(-rc)) : 0;
}

int node_addrs_add(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < n->n; i++) {
		struct stack *s = n->core[i].stack;
		bool have[2] = {false, false};

		for (unsigned k = 0; rc == 0 && k < svc_count(cfg->addrs); k++)
			rc = add_addr(n, s, cfg->addrs[k], (uint16_t)cfg->mtu, err);
		for (unsigned k = 0; rc == 0 && k < svc_count(cfg->gateways); k++)
			rc = add_gateway(s, cfg->gateways[k], have, err);
	}
	return rc;
}

void node_kernel_ifs(const struct stack *s, void *rings)
{
	struct chan_hdr *h = rings;

	for (unsigned i = 0; i < CHAN_IFS_MAX; i++)
		h->kernel_if[i] =
			stack_if_kernel(s, i) != 0 ? stack_if_kernel(s, i) : CHAN_IF_OWN + i;
	h->netns = netns_id();
}

/* ---- while the stacks run ---- */

struct change {
	void (*undo)(struct node_core *c, void *arg);
	const char *text;
	uint16_t mtu;
	struct svc_addr addr;
	bool any_len, any_place; /* of addr only the rest was said */
	struct stack_route route;
	const struct svc_err *err;
	int rc;
};

/* do_it on each core; when one refuses, what the ones before it did is undone. */
static int on_all(struct node *n, void (*do_it)(struct node_core *c, void *arg), struct change *ch)
{
	unsigned i = 0;
	int rc;

	ch->rc = 0;
	for (; i < n->n && ch->rc == 0; i++)
		node_call(&n->core[i], do_it, ch);
	rc = ch->rc;
	if (rc < 0 && ch->undo != NULL)
		for (i--; i > 0; i--)
			node_call(&n->core[i - 1], ch->undo, ch);
	return rc;
}

static void addr_add(struct node_core *c, void *arg)
{
	struct change *ch = arg;

	ch->rc = add_addr(c->node, c->stack, ch->text, ch->mtu, ch->err);
}

static bool is_meant(const struct stack *s, const struct ip_ifaddr *ia, const struct change *ch)
{
	const struct eth_if *at = stack_if_at(s, ia->ifindex);

	return ip_addr_eq(&ia->addr, &ch->addr.addr) &&
	       (ch->any_len || ia->prefix_len == ch->addr.prefix_len) &&
	       (ch->any_place ||
		(at != NULL && at->port == ch->addr.port && at->vlan == ch->addr.vlan));
}

static void addr_del(struct node_core *c, void *arg)
{
	struct change *ch = arg;
	const struct ip_ifaddr *ia;

	ch->rc = -ENOENT;
	for (unsigned i = 0; (ia = stack_addr_at(c->stack, i)) != NULL; i++) {
		if (is_meant(c->stack, ia, ch)) {
			ch->rc = stack_addr_del(c->stack, &ch->addr.addr);
			return;
		}
	}
}

static void route_add(struct node_core *c, void *arg)
{
	struct change *ch = arg;

	ch->rc = stack_route_add(c->stack, &ch->route);
}

static void route_del(struct node_core *c, void *arg)
{
	struct change *ch = arg;

	ch->rc = stack_route_del(c->stack, &ch->route);
}

int node_addr_add(struct node *n, const char *text, uint16_t mtu, const struct svc_err *err)
{
	struct change ch = {.undo = addr_del, .text = text, .mtu = mtu, .err = err};
	int rc = svc_addr_parse(text, &ch.addr, err->text, err->len);

	return rc < 0 ? rc : on_all(n, addr_add, &ch);
}

int node_addr_del(struct node *n, const char *text, const struct svc_err *err)
{
	struct change ch = {.err = err};
	int rc = ip_addr_parse(text, &ch.addr.addr);

	ch.any_len = rc == 0;
	ch.any_place = strchr(text, '@') == NULL;
	if (rc < 0)
		rc = svc_addr_parse(text, &ch.addr, err->text, err->len);
	if (rc < 0)
		return rc;
	rc = on_all(n, addr_del, &ch);
	return rc < 0 ? svc_fail(err, rc, "--addr %s: there is no such address", text) : 0;
}

static int route_parse(const char *prefix, const char *via, struct stack_route *r,
		       const struct svc_err *err)
{
	struct ip_addr gw;
	struct svc_addr a;
	int rc = svc_gateway_parse(via, &gw, err->text, err->len);

	*r = stack_route_default(&gw);
	if (rc < 0 || strcmp(prefix, "default") == 0)
		return rc;
	if (svc_addr_parse(prefix, &a, err->text, err->len) < 0 || strchr(prefix, '@') != NULL)
		return svc_fail(err, -EINVAL,
				"route %s: write IP/LEN or default, for example 10.1.0.0/16",
				prefix);
	if (ip_addr_is_v4(&a.addr) != ip_addr_is_v4(&gw))
		return svc_fail(err, -EINVAL, "route %s via %s: one is IPv4, the other IPv6",
				prefix, via);
	r->prefix = a.addr;
	r->prefix_len = a.prefix_len;
	return 0;
}

static int route_failed(int rc, const char *prefix, const char *via, const struct svc_err *err)
{
	const char *why = rc == -EHOSTUNREACH ? "the gateway is on no link of ours"
			  : rc == -EINVAL     ? "the prefix has bits behind its length"
			  : rc == -EEXIST     ? "is there already"
			  : rc == -ENOENT     ? "there is no such route"
			  : rc == -ENOSPC     ? "too many routes"
					      : strerror(-rc);

	return svc_fail(err, rc, "route %s via %s: %s", prefix, via, why);
}

int node_route_add(struct node *n, const char *prefix, const char *via, const struct svc_err *err)
{
	struct change ch = {.undo = route_del, .err = err};
	int rc = route_parse(prefix, via, &ch.route, err);

	if (rc < 0)
		return rc;
	rc = on_all(n, route_add, &ch);
	return rc < 0 ? route_failed(rc, prefix, via, err) : 0;
}

int node_route_del(struct node *n, const char *prefix, const char *via, const struct svc_err *err)
{
	struct change ch = {.err = err};
	int rc = route_parse(prefix, via, &ch.route, err);

	if (rc < 0)
		return rc;
	rc = on_all(n, route_del, &ch);
	return rc < 0 ? route_failed(rc, prefix, via, err) : 0;
}
