/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the stack has of addresses and routes at a shared port, the kernel has at its interface:
 * at the start, and when they change. Addresses of a VLAN are the stack's alone.
 */
#include <errno.h>
#include <string.h>

#include "svc/knet.h"
#include "svc/shared.h"
#include "wire/eth.h"
#include "wire/prefix.h"

/* The address, and with one of IPv6 the link-local one that both make of the MAC. */
static void remember(struct service *s, const struct shared_addr *a)
{
	struct shared *sh = s->shared;
	struct eth_addr mac = stack_port_mac(s->node.core[0].stack, a->at->cfg.port);
	struct shared_addr ll = {eth_link_local6(&mac, 0), 64, a->at};
	bool has_ll = ip_addr_is_v4(&a->addr);

	for (unsigned i = 0; i < sh->n_addrs; i++)
		has_ll |= ip_addr_eq(&sh->addr[i].addr, &ll.addr);
	sh->addr[sh->n_addrs++] = *a;
	shared_ports_addr_add(s, a);
	if (has_ll)
		return;
	sh->addr[sh->n_addrs++] = ll;
	shared_ports_addr_add(s, &ll);
}

static int kernel_addr_add(struct service *s, const char *text, const struct svc_err *err)
{
	struct shared *sh = s->shared;
	struct svc_addr a;
	int rc = svc_addr_parse(text, &a, err->text, err->len);
	const struct shared_iface *f = rc == 0 && a.vlan == 0 ? shared_iface_of(s, a.port) : NULL;
	struct knet_addr k = {.addr = a.addr, .prefix_len = a.prefix_len};
	char other[16];

	if (f == NULL)
		return rc;
	if (knet_has(&a.addr, other))
		return svc_fail(err, -EEXIST,
				"--addr %s: the kernel has it at %s, where it would stay when the "
				"stack ends: take it away there",
				text, other);
	if (sh->n_addrs + 2 > SHARED_ADDRS_MAX)
		return svc_fail(err, -ENOSPC, "--addr %s: too many that the kernel shares", text);
	k.ifindex = dev_kernel_index(f->kernel);
	rc = knet_addr_add(&k);
	if (rc < 0)
		return svc_fail(err, rc, "--addr %s: the kernel does not take it for %s: %s", text,
				f->cfg.iface, strerror(-rc));
	remember(s, &(struct shared_addr){a.addr, a.prefix_len, f});
	return 0;
}

static void kernel_addr_del(struct service *s, const struct ip_addr *a)
{
	struct shared *sh = s->shared;
	struct knet_addr k;

	for (unsigned i = 0; i < sh->n_addrs; i++) {
		struct shared_addr *has = &sh->addr[i];

		if (!ip_addr_eq(&has->addr, a))
			continue;
		k = (struct knet_addr){dev_kernel_index(has->at->kernel), *a, has->prefix_len};
		(void)knet_addr_del(&k);
		*has = sh->addr[--sh->n_addrs];
		shared_ports_addr_del(s, a);
		return;
	}
}

/* Where the kernel reaches the gateway: at the interface with a prefix that it is in. */
static const struct shared_iface *iface_towards(const struct shared *sh, const struct ip_addr *via)
{
	for (unsigned i = 0; i < sh->n_addrs; i++) {
		const struct shared_addr *a = &sh->addr[i];

		if (ip_addr_on_link(&a->addr, a->prefix_len, via))
			return a->at;
	}
	return NULL;
}

/* A failure is said and no more: the kernel's own routes are the administrator's. */
static void kernel_route(struct service *s, const char *prefix, const char *via, bool add)
{
	struct knet_route r = {.prefix_len = 0};
	const struct shared_iface *f;
	struct svc_addr a = {.prefix_len = 0};
	char why[256];
	int rc;

	if (svc_gateway_parse(via, &r.gateway, why, sizeof(why)) < 0 ||
	    (strcmp(prefix, "default") != 0 && svc_addr_parse(prefix, &a, why, sizeof(why)) < 0))
		return;
	r.prefix = strcmp(prefix, "default") != 0 ? a.addr
		   : ip_addr_is_v4(&r.gateway)	  ? ip_addr_v4(be32(0))
						  : (struct ip_addr){0};
	r.prefix_len = a.prefix_len;
	f = iface_towards(s->shared, &r.gateway);
	if (f == NULL)
		return;
	r.ifindex = dev_kernel_index(f->kernel);
	rc = add ? knet_route_add(&r) : knet_route_del(&r);
	if (rc < 0)
		svc_log("%s: the kernel's route %s via %s could not be %s: %s", f->cfg.iface,
			prefix, via, add ? "added" : "taken away", strerror(-rc));
}

int shared_addrs_start(struct service *s, const struct svc_err *err)
{
	const struct embed_cfg *cfg = &s->cfg.node;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < svc_count(cfg->addrs); i++)
		rc = kernel_addr_add(s, cfg->addrs[i], err);
	for (unsigned i = 0; rc == 0 && i < svc_count(cfg->gateways); i++)
		kernel_route(s, "default", cfg->gateways[i], true);
	for (unsigned i = 0; rc == 0 && i < s->shared->n_ifaces; i++)
		svc_log("port %u is shared with the kernel, which has its addresses at %s",
			s->shared->iface[i].cfg.port, s->shared->iface[i].cfg.iface);
	return rc;
}

/* ---- both sides ---- */

static void unclaim(struct service *s, const char *text)
{
	struct svc_addr a;

	if (ip_addr_parse(text, &a.addr) == 0 || svc_addr_wrong(text, &a) == NULL)
		claim_drop(s, &a.addr);
}

int service_addr_add(struct service *s, const char *text, const struct svc_err *err)
{
	struct svc_err ignored = {(char[8]){0}, 8};
	int claimed = claim_take(s, text, err), rc = claimed;

	if (rc >= 0)
		rc = node_addr_add(&s->node, text, (uint16_t)s->cfg.node.mtu, err);
	if (rc == 0 && s->shared != NULL) {
		rc = kernel_addr_add(s, text, err);
		if (rc < 0)
			(void)!node_addr_del(&s->node, text, &ignored);
	}
	if (rc < 0 && claimed > 0)
		unclaim(s, text);
	return rc;
}

int service_addr_del(struct service *s, const char *text, const struct svc_err *err)
{
	struct svc_addr a;
	char why[8];
	int rc = node_addr_del(&s->node, text, err);

	if (rc < 0)
		return rc;
	unclaim(s, text);
	if (s->shared == NULL)
		return 0;
	if (ip_addr_parse(text, &a.addr) == 0 || svc_addr_parse(text, &a, why, sizeof(why)) == 0)
		kernel_addr_del(s, &a.addr);
	return 0;
}

int service_route_add(struct service *s, const char *prefix, const char *via,
		      const struct svc_err *err)
{
	int rc = node_route_add(&s->node, prefix, via, err);

	if (rc == 0 && s->shared != NULL)
		kernel_route(s, prefix, via, true);
	return rc;
}

int service_route_del(struct service *s, const char *prefix, const char *via,
		      const struct svc_err *err)
{
	int rc = node_route_del(&s->node, prefix, via, err);

	if (rc == 0 && s->shared != NULL)
		kernel_route(s, prefix, via, false);
	return rc;
}
