/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See shared.h. A port that is chosen for a connection must be nobody else's: the stack's ephemeral
 * ports are a range beside the kernel's.
 */
#include "svc/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "svc/knet.h"

/* Buffers on each core: two for each frame that can be on its way from the kernel to a port. */
#define KERNEL_BUFS 1024

/* The larger one of what is left below and above the kernel's range. */
static int ports_choose(struct node *n, const struct svc_err *err)
{
	unsigned first, last, below, above;
	int rc = knet_port_range(&first, &last);

	if (rc < 0)
		return svc_fail(err, rc,
				"--share: which ports the kernel chooses from is not "
				"known: net.ipv4.ip_local_port_range: %s",
				strerror(-rc));
	below = first > SHARED_PORTS_FROM ? first - SHARED_PORTS_FROM : 0;
	above = UINT16_MAX - last;
	if (below < SHARED_PORTS_MIN && above < SHARED_PORTS_MIN)
		return svc_fail(err, -EADDRINUSE,
				"--share: the kernel chooses ports from %u to %u and leaves none "
				"for the stack; give it fewer by net.ipv4.ip_local_port_range",
				first, last);
	n->port_min = (uint16_t)(below >= above ? SHARED_PORTS_FROM : last + 1);
	n->port_max = (uint16_t)(below >= above ? first - 1 : UINT16_MAX);
	svc_log("ephemeral ports: %u to %u, beside the kernel's %u to %u", n->port_min, n->port_max,
		first, last);
	return 0;
}

static int ifaces_parse(struct shared *sh, const char *const *texts, const struct svc_err *err)
{
	for (unsigned i = 0; i < svc_count(texts); i++) {
		struct shared_iface *f = &sh->iface[sh->n_ifaces];
		int rc = sh->n_ifaces < STACK_PORTS_MAX ? 0 : -ENOSPC;

		if (rc < 0)
			return svc_fail(err, rc, "--share %s: too many of these", texts[i]);
		rc = svc_share_parse(texts[i], &f->cfg, err->text, err->len);
		if (rc < 0)
			return rc;
		for (unsigned k = 0; k < sh->n_ifaces; k++)
			if (sh->iface[k].cfg.port == f->cfg.port)
				return svc_fail(err, -EEXIST,
						"--share %s: port %u is shared already", texts[i],
						f->cfg.port);
		snprintf(f->text, sizeof(f->text), "%s", texts[i]);
		sh->n_ifaces++;
	}
	return 0;
}

int shared_begin(struct service *s, const struct svc_err *err)
{
	int rc;

	if (svc_count(s->cfg.shares) == 0)
		return 0;
	s->shared = calloc(1, sizeof(*s->shared));
	if (s->shared == NULL)
		return svc_fail(err, -ENOMEM, "no memory");
	list_init(&s->shared->ports);
	rc = ifaces_parse(s->shared, s->cfg.shares, err);
	if (rc == 0)
		rc = ports_choose(&s->node, err);
	if (rc == 0)
		rc = shared_ports_open(s, err);
	s->node.more_bufs = KERNEL_BUFS;
	return rc;
}

uint32_t shared_free_ports_from(const struct service *s, const struct policy_domain *d)
{
	return s->shared != NULL ? UINT16_MAX + 1u : policy_free_ports_from(d);
}

/* ---- interfaces ---- */

static int pools_open(struct service *s, const struct svc_err *err)
{
	for (unsigned i = 0; i < s->node.n; i++) {
		s->shared->pool[i] = dev_pool_create("kernel", i, KERNEL_BUFS, 0, NULL);
		if (s->shared->pool[i] == NULL)
			return svc_fail(err, -ENOMEM,
					"--share: no memory for the kernel's packets; give more "
					"(--mem)");
	}
	return 0;
}

static int iface_open(struct service *s, struct shared_iface *f, const struct svc_err *err)
{
	struct node *n = &s->node;
	struct dev_kernel_cfg cfg = {
		.name = f->cfg.iface, .n_queues = (uint16_t)n->n, .pools = s->shared->pool};
	int rc = 0;

	if (f->cfg.port >= n->n_dev)
		return svc_fail(err, -ENODEV, "--share %s: there is no port %u", f->text,
				f->cfg.port);
	cfg.mac = stack_port_mac(n->core[0].stack, f->cfg.port);
	cfg.mtu = dev_mtu(n->dev[f->cfg.port]);
	rc = dev_kernel_open(n->dev[f->cfg.port], &cfg, &f->kernel, err->text, err->len);
	for (unsigned i = 0; rc == 0 && i < n->n; i++) {
		rc = stack_share(n->core[i].stack, f->cfg.port, f->kernel, (uint16_t)i);
		if (rc < 0)
			svc_fail(err, rc, "--share %s: %s", f->text, strerror(-rc));
	}
	return rc;
}

int shared_open(struct service *s, const struct svc_err *err)
{
	int rc = s->shared != NULL ? pools_open(s, err) : 0;

	for (unsigned i = 0; rc == 0 && s->shared != NULL && i < s->shared->n_ifaces; i++)
		rc = iface_open(s, &s->shared->iface[i], err);
	return rc;
}

/* Our end of connections to the kernel, as it knows it (stack_alias.c): a neighbour, which IPv4
 * needs a route to. Without IPv6 in the kernel there is none of its family. */
static int alias_add(const struct service *s, const struct shared_iface *f)
{
	struct knet_neigh n = {.ifindex = dev_kernel_index(f->kernel),
			       .addr = stack_alias(f->cfg.port, false),
			       .mac = stack_port_mac(s->node.core[0].stack, f->cfg.port)};
	struct knet_route r = {n.ifindex, n.addr, ip_addr_v4(be32(0)), 32};
	int rc = knet_route_add(&r);

	if (rc == 0)
		rc = knet_neigh_add(&n);
	n.addr = stack_alias(f->cfg.port, true);
	(void)!knet_neigh_add(&n);
	return rc;
}

static int iface_up(const struct service *s, const struct shared_iface *f,
		    const struct svc_err *err)
{
	int rc;

	/* Its link-local address is the stack's, which has seen to it that it is nobody else's. */
	knet_set6(f->cfg.iface, "accept_dad", 0);
	rc = knet_up(f->cfg.iface);
	if (rc == 0)
		rc = alias_add(s, f);
	return rc < 0 ? svc_fail(err, rc, "--share %s: cannot be brought up: %s", f->text,
				 strerror(-rc))
		      : 0;
}

int shared_start(struct service *s, const struct svc_err *err)
{
	int rc = 0;

	if (s->shared == NULL)
		return 0;
	for (unsigned i = 0; rc == 0 && i < s->shared->n_ifaces; i++)
		rc = iface_up(s, &s->shared->iface[i], err);
	return rc == 0 ? shared_addrs_start(s, err) : rc;
}

void shared_close(struct service *s)
{
	struct shared *sh = s->shared;

	if (sh == NULL)
		return;
	shared_ports_close(s);
	for (unsigned i = 0; i < sh->n_ifaces; i++)
		dev_kernel_close(sh->iface[i].kernel);
	for (unsigned i = 0; i < s->node.n; i++)
		if (sh->pool[i] != NULL)
			dev_pool_destroy(sh->pool[i]);
	free(sh);
	s->shared = NULL;
}

const struct shared_iface *shared_iface_of(const struct service *s, unsigned port)
{
	for (unsigned i = 0; s->shared != NULL && i < s->shared->n_ifaces; i++)
		if (s->shared->iface[i].cfg.port == port)
			return &s->shared->iface[i];
	return NULL;
}
